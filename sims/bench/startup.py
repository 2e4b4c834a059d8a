"""How long the command lines take to answer, and where the time of a run goes that is not its chains'.

python -m sims.bench.startup [--repeats N] [--run 'OPTIONS OF langevin_ib.sim']

The answers are ratios over an empty program, of the least processor time of some. A run is timed in processes of its
own, with an empty folder of compiled programs (cold) and with a full one (warm): seconds of the wall clock. Tracing,
lowering and compiling are parts of planning and sampling, and are done in several threads: they are no sum of these.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import jax.monitoring

from langevin_ib import RunConfig, sim
from langevin_ib.compilation_cache import VARIABLE
from langevin_ib.runs.process import Process
from sims import described

EMPTY = ["-c", "pass"]
ANSWERS = {
    "import of the package": ["-c", "import langevin_ib"],
    "--help of sim": ["-m", "langevin_ib.sim", "--help"],
    "a value out of range": ["-m", "langevin_ib.sim", "--beta", "-1"],
    "an unknown name": ["-m", "langevin_ib.sim", "--confine", "box"],
    "--help of attribute": ["-m", "langevin_ib.attribute", "--help"],
}
RUN = "--model uv --beta 10"
# JAX's own clocks. The last one has what was read from the folder of compiled programs, too.
PARTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling, or loading",
}
COLUMNS = ("whole", "imports", "planning", *PARTS.values(), "sampling", "the rest")


def seconds(arguments: list[str], repeats: int) -> float:
    """User and system time of a Python process, the least of some."""
    taken = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def measure(options: list[str], began: float) -> dict[str, float]:
    """One run in this process: seconds of each part, and numbers of programs.

    `imports` are those before the run begins, `planning` all until the first chain moves, `sampling` the stages of the
    chains, and tracing, lowering and compiling are parts of these, in whatever thread.

    Args:
        options: of `langevin_ib.sim`.
        began: when the process was started, in seconds since the epoch.
    """
    from langevin_ib.runs import run as running  # noqa: PLC0415 - with JAX, which is timed

    parts = dict.fromkeys((*COLUMNS, "programs", "loaded"), 0.0)

    def count(event: str, **kwargs: str | int) -> None:
        del kwargs
        parts["loaded"] += event.endswith("/cache_hits")

    def clock(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if event in PARTS:
            parts[PARTS[event]] += duration_secs
            parts["programs"] += event.endswith("/backend_compile_duration")

    def clocked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            start = time.time()
            result = function(*given)
            parts[part] += time.time() - start
            return result

        return call

    process_of = running.process_of

    def clocked_process(config: RunConfig) -> Process:
        process = process_of(config)
        return process._replace(prepare=clocked("planning", process.prepare), draw=clocked("sampling", process.draw))

    jax.monitoring.register_event_listener(count)
    jax.monitoring.register_event_duration_secs_listener(clock)
    running.process_of = clocked_process
    parts["imports"] = time.time() - began
    if code := sim.main(options):
        raise SystemExit(code)
    parts["whole"] = time.time() - began
    parts["the rest"] = parts["whole"] - parts["imports"] - parts["planning"] - parts["sampling"]
    return parts


def time_run(options: str, cache: str) -> dict[str, float]:
    """The same in a process of its own, with a folder of compiled programs."""
    done = subprocess.run(
        [sys.executable, "-m", "sims.bench.startup", "--inside", str(time.time()), "--run", options],
        capture_output=True, text=True, env=os.environ | {VARIABLE: cache}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def print_run(options: str) -> None:
    """A table of a cold and a warm process."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = time_run(options, cache), time_run(options, cache)
    print(f"\npython -m langevin_ib.sim {options}")
    print(f"{'':<24} {'cold':>8} {'warm':>8}")
    for name in COLUMNS:
        print(f"{name:<24} {cold[name]:8.2f} {warm[name]:8.2f}")
    for name in ("programs", "loaded"):
        print(f"{name:<24} {cold[name]:8.0f} {warm[name]:8.0f}")


def main() -> None:
    """Print the time of each answer and its ratio, and the table of a run."""
    parser = described(__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="processes for each answer; 0: the run alone")
    parser.add_argument("--run", default=RUN, metavar="OPTIONS", help=f"of the run [{RUN}]")
    parser.add_argument(
        "--inside", type=float, metavar="T", help="time the run in this process, begun at T; prints JSON"
    )
    chosen = parser.parse_args()
    if chosen.inside is not None:
        with tempfile.TemporaryDirectory() as out, redirect_stdout(sys.stderr):
            parts = measure([*chosen.run.split(), "--out", out], chosen.inside)
        print(json.dumps(parts))
        return
    if chosen.repeats:
        empty = seconds(EMPTY, chosen.repeats)
        print(f"{'an empty program':<24} {empty:.3f} s")
        for name, arguments in ANSWERS.items():
            taken = seconds(arguments, chosen.repeats)
            print(f"{name:<24} {taken:.3f} s, {taken / empty:.1f} times an empty program")
    print_run(chosen.run)


if __name__ == "__main__":
    main()
