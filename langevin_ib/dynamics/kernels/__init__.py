"""Samplers as kernels `(draw, init, step)`, one file each."""
