"""Figures of the paper and studies, one module each: `python -m sims.<name>`."""

from langevin_ib.cli import use_all_cores

# Here and not in their `main`: importing blackjax starts JAX's backend, after which the number of devices is fixed.
use_all_cores()
