"""Every figure of the paper, with the wall time of each.

    langevin-ib figures all [--seeds 32] [--figure-only]

Each figure is that of `langevin-ib figures N`. It is given as many cores as it has blocks of 16 seeds; where cores are
left, other figures run beside it, in a process of their own. With `--figure-only` attribution, baselines and variants
are left out.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from langevin_ib.cli.command import INTERRUPTED, guarded, new_parser
from langevin_ib.cli.options import add_settings, typed_settings
from langevin_ib.devices import start_for_command, usable_cores
from langevin_ib.errors import FailedRunError
from langevin_ib.figures.catalogue import CATALOGUE, main_of
from langevin_ib.studies.request import Request

PROGRAM = "langevin-ib figures all"
FIGURES = (3, 2, 4, 6, 1, 5)  # the longest first, so that none is left alone at the end


def main(argv: Sequence[str] | None = None) -> int:
    """Run all figures; returns the first exit code that is not 0, 0 if there is none."""
    parser = new_parser(PROGRAM, "Every figure of the paper, and the wall time of each.")
    declared = {name: Request.declared()[name] for name in ("seeds", "seed", "steps")}
    add_settings(parser, declared)
    parser.add_argument("--figure-only", action="store_true", help="each figure's own run alone")
    parser.add_argument("--fresh", action="store_true", help="begin anew, not where interrupted figures stood")
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the run folders go [runs]")

    def work() -> int:
        given = parser.parse_args(argv)
        request = Request(**typed_settings(vars(given), declared))
        options = ["--seeds", str(request.seeds), "--seed", str(request.seed), "--out", given.out]
        options += ["--figure-only"] * given.figure_only + ["--fresh"] * given.fresh
        options += [] if request.steps is None else ["--steps", str(request.steps)]
        start_for_command()
        from langevin_ib.ensemble.trajectories import BLOCK  # noqa: PLC0415 - with JAX

        began = time.perf_counter()
        codes = run_figures(FIGURES, options, shares(usable_cores(), -(-request.seeds // BLOCK)))
        print(f"all: {time.perf_counter() - began:.1f} s")
        return next((code for code in codes if code), 0)

    return guarded(PROGRAM, work, interrupted="figures that are saved stay")


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


def run_figures(numbers: Sequence[int], options: list[str], groups: list[list[int]]) -> list[int]:
    """Run each figure, one at a time on each group of cores; returns the exit codes.

    What they print is shown as it comes where they run one after the other, else when each has ended.
    """
    waiting, several = deque(numbers), len(groups) > 1

    def take_next() -> int | None:
        try:
            return waiting.popleft()
        except IndexError:
            return None

    def work(cores: list[int]) -> list[int]:
        # Of this thread, and of the process that it starts: XLA then makes no more threads than there are cores.
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        codes = []
        # Spawned: JAX cannot be forked.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            for number in iter(take_next, None):
                began = time.perf_counter()
                code, out, errors = process.submit(run_figure, number, options, several).result()
                sys.stderr.write(errors)
                print(f"{out}{CATALOGUE[number].module}: {time.perf_counter() - began:.1f} s\n", flush=True)
                codes.append(code)
                if code == INTERRUPTED:
                    waiting.clear()
        return codes

    with ThreadPoolExecutor(len(groups)) as threads:
        try:
            return list(itertools.chain.from_iterable(threads.map(work, groups)))
        except KeyboardInterrupt:
            waiting.clear()  # the figures that run are interrupted too, and no other is begun
            raise
        except BrokenProcessPool:
            raise FailedRunError("a figure's process was killed; figures that are saved stay") from None


def run_figure(number: int, options: list[str], silent: bool) -> tuple[int, str, str]:
    """Exit code of a figure, and what it printed on standard output and error if it was not to be shown at once."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        if silent:
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(errors))
        code = main_of(number, options)
    return code, out.getvalue(), errors.getvalue()
