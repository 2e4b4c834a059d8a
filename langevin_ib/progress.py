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
    """A callback that opens a bar for each stage named to it, where standard error is a terminal.

    Unless silent, what the package logs as information goes to standard error too.
    """
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=silent or not screen.is_terminal, transient=True) as bars:

        def report(stage: str):
            task = bars.add_task(stage, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        said = _Lines(bars.console)
        logger = logging.getLogger("langevin_ib")
        level = logger.level
        if not silent:
            logger.addHandler(said)
            logger.setLevel(logging.INFO)
        try:
            yield report
        finally:
            logger.removeHandler(said)
            logger.setLevel(level)


class _Lines(logging.Handler):
    """What a run has to say before its end, a line each above the bars."""

    def __init__(self, screen: Console):
        super().__init__(logging.INFO)
        self.screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        self.screen.print(record.getMessage(), soft_wrap=True, markup=False, highlight=False)
