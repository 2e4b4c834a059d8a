"""Run the main runs under each planted fault, and print which line of a run's own output caught it.

    python -m tests.faults [FAULT …] [--list] [--json FILE] [--store] [--draw] [--jobs N] [--no-control]

A fault is caught by a doubt, by a verdict of the run's own law that is not `agrees`, or by a run that fails with a line
that says why. First the runs are made without a fault, as a control: each has to be healthy. Every fault has a process
of its own. The exit status is 1 where a run of the control is not healthy, a fault is missed that a run can see, or one
is caught that it is said not to see. `--store` writes docs/results/faults.json, and the table into docs/trust.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import one
from .catalogue import FAULTS, RUNS
from .table import CRASHED, Row, draw, outcome_of, store

LONGEST = 900  # seconds of one process
SLOW = ("jax", "jax.numpy", "optax", "scipy.stats", "scipy.optimize", "arviz", "xarray")  # none of which starts JAX

Task = tuple[str, tuple[str, ...]]  # a fault or `none`, and runs


def told_by(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the runs of each task say, as they end; of one that ends its process, `crashed`.

    Each in a fork of this process, which has imported the libraries that are slow to import, and none of the modules
    that faults are planted in.
    """
    for slow in SLOW:
        importlib.import_module(slow)
    waiting, going = list(tasks), {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or going:
            while waiting and len(going) < jobs:
                task = waiting.pop(0)
                going[_forked(task, _output(folder, task))] = task
            process, status = os.wait()
            task = going.pop(process)
            yield task[0], _read(_output(folder, task), task, failed=status != 0)


def _output(folder: str, task: Task) -> Path:
    return Path(folder, "-".join((task[0], *task[1])).replace("/", "-"))


def _forked(task: Task, output: Path) -> int:
    """The process that writes what the runs say into a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of JAX, which has been imported, and has not started
        process = os.fork()
    if process:
        return process
    status = 1
    try:
        signal.alarm(LONGEST)
        with output.open("w") as file:
            os.dup2(file.fileno(), 2)
            sys.stdout = file
            try:
                one.main([task[0], *task[1]])
                status = 0
            except BaseException as error:  # of a fault, whatever it is
                print(f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _read(output: Path, task: Task, *, failed: bool) -> list[dict[str, Any]]:
    lines = output.read_text().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    if failed:
        last = (lines or ["it ended without a word"])[-1]
        told.append({"fault": task[0], "run": task[1][len(told)], "caught": None, CRASHED: last, "own": {}})
    return told


def control(runs: Sequence[str], jobs: int) -> bool:
    """Whether each run is healthy without a fault; a line for each."""
    healthy = True
    for _, told in told_by([("none", (run,)) for run in runs], jobs):
        for said in told:
            line = said["caught"] or said.get(CRASHED)
            own = ", ".join(f"{name}: {verdict}, TV {tv}" for name, (verdict, tv, _) in said["own"].items())
            words = f"NOT HEALTHY: {line}" if line is not None else f"healthy, {own}, {said['cpu_s']:.1f} s of a core"
            print(f"control  {said['run']:<10} {words}", flush=True)
            healthy = healthy and line is None
    return healthy


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="by name; all by default")
    parser.add_argument("--list", action="store_true", help="print the faults, and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--store", action="store_true", help="write docs/results/faults.json and the page's table")
    parser.add_argument("--draw", action="store_true", help="run nothing, write the page's table from the result file")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time [2]")
    parser.add_argument("--no-control", action="store_true", help="without the runs that have no fault")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.faults) - {fault.name for fault in FAULTS})
    if unknown:
        parser.error(f"FAULT must be one of those that --list prints, got {', '.join(unknown)}")
    if given.jobs < 1:
        parser.error(f"--jobs must be a whole number from 1, got {given.jobs}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    given = parsed(arguments)
    chosen = {fault.name: fault for fault in FAULTS if not given.faults or fault.name in given.faults}
    if given.list:
        for fault in chosen.values():
            unseen = f"; not seen: {fault.unseen}" if fault.unseen else ""
            print(f"{fault.name:<40} {fault.module}.{fault.function} [{', '.join(fault.runs)}{unseen}]")
        return 0
    if given.draw:
        draw()
        return 0
    began = time.perf_counter()
    runs = [run for run in RUNS if any(run in fault.runs for fault in chosen.values())]
    healthy = given.no_control or control(runs, given.jobs)
    rows: list[Row] = []
    for name, told in told_by([(fault.name, fault.runs) for fault in chosen.values()], given.jobs):
        rows.append(outcome_of(chosen[name], told))
        print(f"{name:<40} {rows[-1].run:<10} {rows[-1].line} {list(rows[-1].by)}", flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps([row._asdict() for row in rows]))
    if given.store:
        store(rows, shlex.join(["python", "-m", "tests.faults", *given.faults, "--store"]))
    unlike = [row.fault for row in rows if row.missed != bool(chosen[row.fault].unseen)]
    seconds = time.perf_counter() - began
    print(
        f"{sum(not row.missed for row in rows)} of {len(rows)} caught, {seconds:.0f} s; unlike what is expected:",
        *(unlike or ["none"]),
    )
    return 0 if healthy and not unlike else 1


if __name__ == "__main__":
    sys.exit(main())
