"""`python -m langevin_ib.judge`: draws of one's own against the laws, a command beside the function of that name."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from langevin_ib.cli.judge import main

    sys.exit(main())

from langevin_ib.runs.own_draws import judge

# An import of this module would hide the function of the package, which has its name: it is the function then too.
sys.modules[__name__] = judge  # pyright: ignore[reportArgumentType]
