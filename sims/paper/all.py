"""Every figure of the paper, `langevin_ib.figures.all`, under its name in `sims`.

python -m sims.all [--seeds 32] [--figure-only]
"""

import sys
from collections.abc import Sequence

from langevin_ib.cli.command import called_as
from langevin_ib.figures import all as every


def main(argv: Sequence[str] | None = None) -> int:
    """Run all figures; returns the first exit code that is not 0, 0 if there is none."""
    with called_as("python -m sims.all"):
        return every.main(argv)


if __name__ == "__main__":
    sys.exit(main())
