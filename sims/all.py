"""Every figure of the paper, with the wall time of each.

    python -m sims.all [--seeds 32] [--figure-only]

Each figure is a process of its own, `python -m sims.<name>`, and is given as many cores as it has blocks of seeds;
where cores are left, further figures run beside it. With `--figure-only` attribution, baselines and variants are left
out.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from langevin_ib.cli import guarded, new_parser, number, usable_cores
from langevin_ib.experiments.command import Request
from langevin_ib.recording import BLOCK

# The longest first, so that none is left alone at the end.
FIGURES = (
    "fig3_attention",
    "fig2_relu",
    "fig4_completion",
    "fig6_piecewise_constant",
    "fig1_orbits",
    "fig5_sparse_spectral",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all figures; returns the first exit code that is not 0, 0 if there is none."""
    parser = new_parser("python -m sims.all", "Every figure of the paper, and the wall time of each.")
    parser.add_argument("--seeds", metavar="N", default="32", help="independent seeds of each figure [32]")
    parser.add_argument("--seed", metavar="N", default="0", help="seed of all randomness [0]")
    parser.add_argument("--steps", metavar="N", help="steps of each figure's own run [the paper's]")
    parser.add_argument("--figure-only", action="store_true", help="each figure's own run alone")
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the run folders go [runs]")

    def work() -> int:
        given = parser.parse_args(argv)
        request = Request(
            seeds=number(given.seeds),
            seed=number(given.seed),
            steps=None if given.steps is None else number(given.steps),
        )
        options = ["--seeds", str(request.seeds), "--seed", str(request.seed), "--out", given.out]
        options += ["--figure-only"] * given.figure_only
        options += [] if request.steps is None else ["--steps", str(request.steps)]
        began = time.perf_counter()
        codes = run_figures(FIGURES, options, shares(usable_cores(), -(-request.seeds // BLOCK)))
        print(f"all: {time.perf_counter() - began:.1f} s")
        return next((code for code in codes if code), 0)

    return guarded("python -m sims.all", work)


def shares(cores: list[int], blocks: int) -> list[list[int]]:
    """The cores in groups that are as large as a figure can use.

    >>> shares([0, 1, 2, 3, 4], 2)
    [[0, 1], [2, 3, 4]]
    >>> shares([0, 1], 7)
    [[0, 1]]
    """
    groups = max(len(cores) // blocks, 1)
    cuts = [len(cores) * i // groups for i in range(groups + 1)]
    return [cores[low:high] for low, high in itertools.pairwise(cuts)]


def run_figures(names: Sequence[str], options: list[str], groups: list[list[int]]) -> list[int]:
    """Run `python -m sims.<name>` for each name, one at a time on each group of cores; returns the exit codes.

    What they print is shown as it comes where they run one after the other, else when each has ended.
    """
    free: SimpleQueue[list[int]] = SimpleQueue()
    for group in groups:
        free.put(group)

    def run(name: str) -> int:
        cores, began = free.get(), time.perf_counter()
        try:
            # Of this thread alone, and of the process that it starts: XLA then makes no more threads than cores.
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, cores)
            command = [sys.executable, "-m", f"sims.{name}", *options]
            done = subprocess.run(command, check=False, text=True, capture_output=len(groups) > 1)
        finally:
            free.put(cores)
        sys.stderr.write(done.stderr or "")
        print(f"{done.stdout or ''}{name}: {time.perf_counter() - began:.1f} s\n", flush=True)
        return done.returncode

    with ThreadPoolExecutor(len(groups)) as pool:
        return list(pool.map(run, names))


if __name__ == "__main__":
    sys.exit(main())
