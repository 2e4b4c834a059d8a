"""Run the main runs under each planted fault, and print which line of a run's own output caught it.

    python -m tests.faults [FAULT …] [--list] [--json FILE] [--jobs N] [--no-control]

A fault is caught by a doubt, by a verdict of the run's own law that is not `agrees`, or by a run that fails with a line
that says why. First the runs are made without a fault, as a control: each has to be healthy. Every fault has a process
of its own. The exit status is 1 where a run of the control is not healthy, or a fault is missed that waits for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .catalogue import FAULTS, RUNS
from .plant import ROOT, Fault

LONGEST = 900  # seconds of one process
CRASHED = "crashed"


def told_by(fault: str, runs: Sequence[str]) -> list[dict[str, Any]]:
    """What the runs say under a fault, or under none; one that ends its process has `crashed`."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.faults.one", fault, *runs]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return [{"fault": fault, "run": runs[0], "caught": None, CRASHED: f"not done after {LONGEST} s", "own": {}}]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
        told.append({"fault": fault, "run": runs[len(told)], "caught": None, CRASHED: last[0], "own": {}})
    return told


def outcome_of(fault: Fault, told: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """The fault, the run that caught it, and the line; or all runs, and that they missed it."""
    for said in told:
        if said["caught"] is not None:
            return fault.name, said["run"], said["caught"]
        if CRASHED in said:
            return fault.name, said["run"], f"{CRASHED}: {said[CRASHED]}"
    return fault.name, ", ".join(fault.runs), f"MISSED, waits for {fault.waits}" if fault.waits else "MISSED"


def control(runs: Sequence[str], jobs: int) -> bool:
    """Whether each run is healthy without a fault; a line for each."""
    with ThreadPoolExecutor(jobs) as pool:
        told = [said for each in pool.map(lambda run: told_by("none", [run]), runs) for said in each]
    for said in told:
        line = said["caught"] or said.get(CRASHED)
        own = ", ".join(f"{name}: {verdict}, TV {tv}" for name, (verdict, tv, _) in said["own"].items())
        print(f"control  {said['run']:<10} {'healthy, ' + own if line is None else 'NOT HEALTHY: ' + line}", flush=True)
    return all(said["caught"] is None and CRASHED not in said for said in told)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="by name; all by default")
    parser.add_argument("--list", action="store_true", help="print the faults, and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time [2]")
    parser.add_argument("--no-control", action="store_true", help="without the runs that have no fault")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.faults) - {fault.name for fault in FAULTS})
    if unknown:
        parser.error(f"FAULT must be one of those that --list prints, got {', '.join(unknown)}")
    if given.jobs < 1:
        parser.error(f"--jobs must be a whole number from 1, got {given.jobs}")
    chosen = [fault for fault in FAULTS if not given.faults or fault.name in given.faults]
    if given.list:
        for fault in chosen:
            waits = f"; waits for {fault.waits}" if fault.waits else ""
            print(f"{fault.name:<40} {fault.module}.{fault.function} [{', '.join(fault.runs)}{waits}]")
        return 0
    began = time.perf_counter()
    runs = [run for run in RUNS if any(run in fault.runs for fault in chosen)]
    healthy = given.no_control or control(runs, given.jobs)
    rows = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for fault, told in zip(chosen, pool.map(lambda f: told_by(f.name, f.runs), chosen), strict=True):
            rows.append(outcome_of(fault, told))
            print(f"{rows[-1][0]:<40} {rows[-1][1]:<10} {rows[-1][2]}", flush=True)
    missed = [fault.name for fault, row in zip(chosen, rows, strict=True) if row[2].startswith(("MISSED", CRASHED))]
    waiting = [fault.name for fault in chosen if fault.name in missed and fault.waits]
    print(
        f"{len(chosen) - len(missed)} of {len(chosen)} caught, {len(waiting)} wait, {time.perf_counter() - began:.0f} s"
    )
    if given.json is not None:
        given.json.write_text(json.dumps([dict(zip(("fault", "run", "line"), row, strict=True)) for row in rows]))
    return 0 if healthy and len(missed) == len(waiting) else 1


if __name__ == "__main__":
    sys.exit(main())
