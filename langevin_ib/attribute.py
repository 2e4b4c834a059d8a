"""`python -m langevin_ib.attribute`: which mechanism balances the factors of a model?"""

from __future__ import annotations

import sys

from langevin_ib.cli.balance import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
