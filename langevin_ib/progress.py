"""Progress on standard error: a bar for each stage of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from langevin_ib.sampling import Report

NARROW = 120


def console() -> Console:
    """Standard output; wide enough for the table when it is not a terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=max(NARROW, found.width))


@contextmanager
def stages(silent: bool) -> Iterator[Report]:
    """A callback that opens a bar for each stage named to it; silent also where standard error is not a terminal."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=silent or not screen.is_terminal, transient=True) as bars:

        def report(stage: str):
            task = bars.add_task(stage, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield report
