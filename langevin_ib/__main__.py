"""`python -m langevin_ib`: the command `langevin-ib`."""

from __future__ import annotations

import sys

from langevin_ib.cli.main import main

if __name__ == "__main__":
    sys.exit(main(program="python -m langevin_ib"))
