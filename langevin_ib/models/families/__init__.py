"""The models of the package, one file each."""
