"""Figures 2 to 6 of the paper, one after the other, with the wall time of each.

    python -m sims.all [--seeds 32] [--figure-only]

Each figure's module takes the same options; with `--figure-only` attribution, baselines and variants are left out.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence

FIGURES = ("fig2_relu", "fig3_attention", "fig4_completion", "fig5_sparse_spectral", "fig6_piecewise_constant")


def main(argv: Sequence[str] | None = None) -> int:
    """Run all figures; returns the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="32", help="independent seeds of each figure [32]")
    parser.add_argument("--seed", default="0", help="seed of all randomness [0]")
    parser.add_argument("--figure-only", action="store_true", help="each figure's own run alone")
    parser.add_argument("--out", default="runs", help="where the run folders go [runs]")
    given = parser.parse_args(argv)
    began = time.perf_counter()
    for name in FIGURES:
        start = time.perf_counter()
        options = ["--seeds", given.seeds, "--seed", given.seed, "--out", given.out]
        code = importlib.import_module(f"sims.{name}").main(options + ["--figure-only"] * given.figure_only)
        if code:
            return code
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    print(f"all: {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
