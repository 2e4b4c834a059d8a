"""Noises of a stochastic gradient, one file each."""
