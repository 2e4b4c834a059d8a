"""Figures of the paper, studies and benchmarks, one module each: `python -m sims.<name>`.

The modules stand in `paper/` and `studies/`; their names are those of this package, so that a command needs no folder:
`python -m sims.fig5_sparse_spectral` is `python -m sims.paper.fig5_sparse_spectral`.
"""

import argparse
from pathlib import Path

from langevin_ib.cli.command import guarded
from langevin_ib.devices import start_for_command

__path__ += [str(Path(__file__).parent / room) for room in ("paper", "studies")]

# Here and not in their `main`: importing blackjax starts JAX's backend, after which the number of devices is fixed.
if code := guarded("python -m sims", lambda: start_for_command() or 0):
    raise SystemExit(code)


def described(text: str | None) -> argparse.ArgumentParser:
    """The options of a module whose docstring, as it stands, is its help."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
