"""The main command as whole processes: cold and warm wall time, and peak memory against the number of steps.

Cold is a process that finds no compiled program, in a cache folder of its own that is empty; warm is one that finds
what the cold one has left there. Where a version keeps no compiled programs both are the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sims.bench.sections.table import Scale, Table, spread

COMMAND = "-m", "langevin_ib.sim", "--quiet"
SHORT_QUICK = "--chains", "64", "--steps", "2000"
STEPS, STEPS_QUICK = (10_000, 40_000, 160_000, 640_000), (2000, 8000)
REPEATS = 3
CACHES = "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"  # where compiled programs may be found
MIB = 2**20


class Process(NamedTuple):
    """Wall time, processor time, peak resident memory in MiB, exit status."""

    wall: float
    cpu: float
    memory: float
    status: int


def run(arguments: tuple[str, ...], folder: Path) -> Process:
    """A Python process, with its cache and its results below a folder."""
    environment = {name: value for name, value in os.environ.items() if name not in CACHES}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    command = [sys.executable, *arguments, "--out", tempfile.mkdtemp(dir=folder)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Of this child alone: `getrusage` of all children has the largest that there ever was.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    resident = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB
    return Process(wall, used.ru_utime + used.ru_stime, resident, process.returncode)


def whole_commands(scale: Scale) -> Iterator[Table]:
    """Cold and warm, in turns; then memory."""
    extra = SHORT_QUICK if scale.quick else ()
    done: dict[str, list[Process]] = {"cold": [], "warm": []}
    for _ in range(1 if scale.quick else REPEATS):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for processes in done.values():
                processes.append(run((*COMMAND, *extra), Path(folder)))
    columns = "start", "wall [s]", "[least, most]", "processor [s]", "peak [MiB]", "exit"
    table = Table(f"python {' '.join((*COMMAND, *extra))}", columns)
    for name, processes in done.items():
        wall = spread([p.wall for p in processes])
        cpu, memory = (spread([getattr(p, what) for p in processes]).median for what in ("cpu", "memory"))
        ends = f"[{wall.low:.3g}, {wall.high:.3g}]"
        table.rows.append((name, wall.median, ends, cpu, memory, max(p.status for p in processes)))
    yield table
    yield _memory(("--chains", "64"), STEPS_QUICK) if scale.quick else _memory((), STEPS)


def _memory(extra: tuple[str, ...], numbers: tuple[int, ...]) -> Table:
    table = Table(
        "Peak memory of the main command against its steps", ("steps", "wall [s]", "peak [MiB]", "ratio", "exit")
    )
    first: float | None = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for steps in numbers:
            process = run((*COMMAND, *extra, "--steps", str(steps)), Path(folder))
            first = first or process.memory
            table.rows.append((steps, process.wall, process.memory, process.memory / first, process.status))
    return table
