"""Progress on standard error: a bar for each stage of a run."""

from __future__ import annotations

import logging
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
    """A callback that opens a bar for each stage named to it, without bars where standard error is not a terminal.

    What the package logs, such as that a stage resumes, is printed on standard error too unless silent.
    """
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=screen, disable=silent or not screen.is_terminal, transient=True)
    with bars, _logged(None if silent else screen):

        def report(stage: str):
            task = bars.add_task(stage, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield report


class _Lines(logging.Handler):
    """Log records as lines of a console, above its bars."""

    def __init__(self, screen: Console):
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.print(record.getMessage(), soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _logged(screen: Console | None) -> Iterator[None]:
    """The package's log on a console, for as long as this is open."""
    if screen is None:
        yield
        return
    log, lines = logging.getLogger("langevin_ib"), _Lines(screen)
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
