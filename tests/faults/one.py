"""One fault in one process: the main runs under it, and what each says; a line of JSON for each run."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from .catalogue import FAULTS, RUNS
from .plant import plant


def caught_by(settings: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The line of a run that speaks against it, and numbers of it; None if it says that all is well."""
    from langevin_ib import RunConfig, run  # noqa: PLC0415 - the fault is planted before
    from langevin_ib.errors import LangevinIBError  # noqa: PLC0415

    try:
        result = run(RunConfig(**settings))
    except (LangevinIBError, ValueError, FloatingPointError) as error:
        return f"failed: {type(error).__name__}: {error}", {}
    rows = {
        f"{law.about.name} of {scalar}": law.comparison
        for scalar, shown in result.invariants.items()
        for law in shown.laws.values()
        if law.about.role == "own"
    }
    numbers = {name: [row.verdict, round(row.tv, 4), row.p_value] for name, row in rows.items()}
    if result.doubts:
        return f"doubt [{result.doubts[0].about}]: {result.doubts[0]}", numbers
    for name, row in rows.items():
        if row.verdict != "agrees":
            return f"verdict: {name} {row.verdict}, TV {row.tv:.4f}", numbers
    return None, numbers


def main(arguments: list[str]) -> None:
    """`FAULT RUN…`, FAULT a name or `none`."""
    name, *runs = arguments
    if name != "none":
        plant(next(fault for fault in FAULTS if fault.name == name))
    for run in runs:
        began = time.process_time()
        line, numbers = caught_by(RUNS[run])
        told = {"fault": name, "run": run, "caught": line, "own": numbers, "cpu_s": time.process_time() - began}
        print(json.dumps(told), flush=True)
        if line is not None and name != "none":
            break


if __name__ == "__main__":
    main(sys.argv[1:])
