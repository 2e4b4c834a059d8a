"""Computations on host arrays alone: comparisons, the coefficient c, joint tests, convergence.

Chains are the independent unit. Nothing here knows where draws or laws come from.
"""
