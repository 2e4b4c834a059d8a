"""A package that is not of langevin_ib brings one of each thing, and runs it from the command line by its name."""
