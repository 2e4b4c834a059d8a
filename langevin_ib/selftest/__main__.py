"""`python -m langevin_ib.selftest`: a line for each check, and whether all have passed."""

from __future__ import annotations

import sys

from langevin_ib.cli.selftest import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
