"""Potentials that keep chains near the slice, one file each."""
