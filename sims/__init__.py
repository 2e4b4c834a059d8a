"""Figures of the paper and studies, one module each: `python -m sims.<name>`."""

from langevin_ib.cli.command import guarded
from langevin_ib.devices import use_all_cores

# Here and not in their `main`: importing blackjax starts JAX's backend, after which the number of devices is fixed.
if code := guarded("python -m sims", lambda: use_all_cores() or 0):
    raise SystemExit(code)
