"""Samplers of Langevin dynamics as kernels `(draw, init, step)`, one file each."""
