"""`python -m langevin_ib.compare`: several runs on one page."""

from __future__ import annotations

import sys

from langevin_ib.cli.compare import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
