"""What a user sees of a result: tables, pictures, pages, folders."""
