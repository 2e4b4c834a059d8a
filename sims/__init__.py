"""Studies and benchmarks, one module each, and the paper's figures by their old names: `python -m sims.<name>`.

The modules stand in `paper/` and `studies/`; their names are those of this package, so that a command needs no folder:
`python -m sims.fig5_sparse_spectral` is `python -m sims.paper.fig5_sparse_spectral`, and `langevin-ib figures 5`.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from langevin_ib.cli.command import called_as, guarded
from langevin_ib.devices import start_for_command
from langevin_ib.figures.catalogue import CATALOGUE, main_of

__path__ += [str(Path(__file__).parent / room) for room in ("paper", "studies")]

# Here and not in their `main`: importing blackjax starts JAX's backend, after which the number of devices is fixed.
if code := guarded("python -m sims", lambda: start_for_command() or 0):
    raise SystemExit(code)


def described(text: str | None) -> argparse.ArgumentParser:
    """The options of a module whose docstring, as it stands, is its help."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def figure(number: int) -> Callable[..., int]:
    """`main` of a figure of the paper, whose errors name it as a module of this package."""

    def main(argv: Sequence[str] | None = None) -> int:
        with called_as(f"python -m sims.{CATALOGUE[number].module}"):
            return main_of(number, argv)

    return main
