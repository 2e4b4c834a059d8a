"""`python -m langevin_ib.design`: the table of `verify` over all operators and constructions, and of refusals."""

from __future__ import annotations

import sys

from langevin_ib.cli.design import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
