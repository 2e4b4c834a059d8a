"""Laws that a run can be compared with, one file each."""
