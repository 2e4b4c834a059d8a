"""One of each thing that a run of langevin_ib can be made of, one file each."""
