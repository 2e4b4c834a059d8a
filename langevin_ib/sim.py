"""`python -m langevin_ib.sim`: one run, from settings to a verdict."""

from __future__ import annotations

import sys

from langevin_ib.cli.run import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
