"""What is computed from host arrays alone: comparisons, the coefficient c, joint tests, convergence.

Chains are the independent unit. Nothing here knows how draws or laws were made.
"""
