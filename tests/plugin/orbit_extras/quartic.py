"""C = q |χ|⁴/4: flat at the slice, steep away from it."""
