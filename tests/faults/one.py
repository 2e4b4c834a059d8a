"""One fault in one process: the main runs under it, and what each says; a line of JSON for each run.

It ends with the first run that catches the fault: the runs before it have missed it, those behind it are not made.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, NamedTuple

from .catalogue import FAULTS, RUNS
from .plant import plant


class Said(NamedTuple):
    """What a run says of itself.

    Attributes:
        line: the first that speaks against it; None if it says that all is well.
        by: every kind of doubt that it has, and `verdict` where its own law would not have agreed either.
        own: verdict, TV and p-value of its own law.
    """

    line: str | None
    by: tuple[str, ...] = ()
    own: dict[str, Any] = {}  # noqa: RUF012 - never changed


def caught_by(settings: dict[str, Any]) -> Said:
    """What a run of these settings says against itself."""
    from langevin_ib import RunConfig, run  # noqa: PLC0415 - the fault is planted before
    from langevin_ib.errors import LangevinIBError  # noqa: PLC0415

    try:
        result = run(RunConfig(**settings))
    except (LangevinIBError, ValueError, FloatingPointError) as error:
        return Said(f"failed: {type(error).__name__}: {error}", ("failed",))
    rows = {
        f"{law.about.name} of {scalar}": law.comparison
        for scalar, shown in result.invariants.items()
        for law in shown.laws.values()
        if law.about.role == "own"
    }
    numbers = {name: [row.verdict, round(row.tv, 4), row.p_value] for name, row in rows.items()}
    by = tuple(sorted({doubt.about for doubt in result.doubts}))
    if any(row.tv_upper95 >= result.plan.config.margin for row in rows.values()):
        by += ("verdict",)
    if result.doubts:
        return Said(f"doubt [{result.doubts[0].about}]: {result.doubts[0]}", by, numbers)
    for name, row in rows.items():
        if row.verdict != "agrees":
            return Said(f"verdict: {name} {row.verdict}, TV {row.tv:.4f}", by, numbers)
    return Said(None, (), numbers)


def main(arguments: list[str]) -> None:
    """`FAULT RUN…`, FAULT a name or `none`."""
    name, *runs = arguments
    if name != "none":
        plant(next(fault for fault in FAULTS if fault.name == name))
    for run in runs:
        began = time.process_time()
        said = caught_by(RUNS[run])
        told = {"fault": name, "run": run, "caught": said.line, "by": said.by, "own": said.own}
        print(json.dumps(told | {"cpu_s": time.process_time() - began}), flush=True)
        if said.line is not None and name != "none":
            break


if __name__ == "__main__":
    main(sys.argv[1:])
