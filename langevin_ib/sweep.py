"""`python -m langevin_ib.sweep`: runs of a grid of settings, one table and one figure."""

from __future__ import annotations

import sys

from langevin_ib.cli.sweep import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
