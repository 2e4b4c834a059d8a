"""`python -m langevin_ib.figures N`: a figure of the paper, or all of them."""

from __future__ import annotations

import sys

from langevin_ib.cli.command import called_as
from langevin_ib.figures.catalogue import main

if __name__ == "__main__":
    with called_as("python -m langevin_ib.figures"):
        code = main()
    sys.exit(code)
