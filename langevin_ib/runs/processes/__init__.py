"""What a run can sample, one file each."""
