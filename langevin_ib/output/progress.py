"""Progress on standard error: a bar for each stage of a run, or lines where standard error is not a terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text
from rich.theme import Theme

from langevin_ib import signals
from langevin_ib.output.spelling import fitting
from langevin_ib.stages import Stages, told

NARROW = 120
EVERY_SECONDS = 10.0  # between lines
BAR = 30  # characters of one, so that all of its line fits into 80
# Rich's own yellow and pink are hard to read on white: see `terminal.GREEN`.
THEME = Theme(
    {
        **dict.fromkeys(("bar.complete", "bar.finished", "bar.pulse"), "color(28)"),
        **dict.fromkeys(("progress.elapsed", "progress.percentage"), "none"),
    }
)


def console() -> Console:
    """Standard output, without markup; wide enough for the table when it is not a terminal."""
    screen = _Plain()
    return screen if screen.is_terminal else _Plain(width=max(NARROW, screen.width))


class _Plain(Console):
    """A console without markup, whose cells are as wide as the text in the stream's encoding."""

    def __init__(self, **options: Any):
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, "theme": THEME, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(fitting(text, self.encoding), **options)


class _Left(ProgressColumn):
    """How long the stage will still take, at the pace of its last half minute."""

    def render(self, task: Task) -> Text:
        left = None if task.finished else task.time_remaining
        return Text("" if left is None else f"about {duration(left)} left")


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    >>> duration(7.2), duration(75), duration(7300)
    ('7 s', '1 min 15 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def stages(silent: bool) -> Iterator[Stages]:
    """A callback that opens a bar for each stage named to it.

    A bar says which stage runs, and what it is at where that is told (`stages.doing`), how far it is, for how long it
    has run and how long it will still take. Where standard error is not a terminal, a line every ten seconds says the
    same.
    What the package logs, such as that a stage resumes, is printed there too. Nothing of this if silent.
    """
    screen = _Plain(stderr=True)
    description = TextColumn("{task.description:>12}", markup=False)
    columns = (description, BarColumn(BAR), TaskProgressColumn(), TimeElapsedColumn(), _Left())
    bars = Progress(*columns, console=screen, disable=silent or not screen.is_terminal, transient=True)
    pulse = _Pulse(screen)

    def at(what: str) -> None:
        for task in bars.tasks[-1:]:
            bars.update(task.id, description=f"{pulse.named}: {what}")
        pulse.at(what)

    log_shown, beating = _show_log(None if silent else screen), pulse.beating(not silent and _is_file_or_pipe(screen))
    with bars, log_shown, beating, told(at):

        def report(stage: str):
            signals.check()  # a library may have swallowed the exception of an earlier signal
            for previous in bars.tasks[-1:]:
                bars.update(previous.id, total=1, completed=1)
                bars.stop_task(previous.id)
            task = bars.add_task(stage, total=None)
            pulse.begin(stage)

            def progress(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)
                pulse.moved(stage, done, total)

            return progress

        yield report


def _is_file_or_pipe(screen: Console) -> bool:
    """Whether standard error is a file or a pipe: neither a terminal nor a buffer in memory."""
    try:
        screen.file.fileno()
    except (OSError, AttributeError):
        return False
    return not screen.is_terminal


class _Stage(NamedTuple):
    """The current stage, when it began, the share of it that is done, if that is known, and what it is at."""

    name: str
    began: float
    share: float | None
    at: str = ""

    def __str__(self) -> str:
        """The share, and what is left at the pace so far."""
        if self.share is None:
            return ""
        left = (time.monotonic() - self.began) * (1.0 - self.share) / self.share if self.share > 0 else None
        return f", {self.share:.0%}" + ("" if left is None or self.share == 1.0 else f", about {duration(left)} left")


class _Pulse:
    """Lines from a thread of its own, so that they appear during compilation too."""

    def __init__(self, screen: Console):
        self._screen = screen
        self._stage: _Stage | None = None

    def begin(self, name: str) -> None:
        """A stage begins."""
        self._stage = _Stage(name, time.monotonic(), None)

    def moved(self, name: str, done: int, total: int) -> None:
        """So many steps of it are done."""
        if self._stage is not None and self._stage.name == name and total:
            self._stage = self._stage._replace(share=done / total)

    @property
    def named(self) -> str:
        """The current stage; empty before the first."""
        return "" if self._stage is None else self._stage.name

    def at(self, what: str) -> None:
        """What it is at."""
        if self._stage is not None:
            self._stage = self._stage._replace(at=f", {what}")

    @contextmanager
    def beating(self, wanted: bool) -> Iterator[None]:
        """A line every ten seconds, for as long as this is open."""
        ended, began = threading.Event(), time.monotonic()

        def beat() -> None:
            while not ended.wait(EVERY_SECONDS):
                if (stage := self._stage) is not None:
                    elapsed = duration(time.monotonic() - began)
                    self._screen.print(f"{stage.name}: {elapsed}{stage.at}{stage}", soft_wrap=True)

        thread = threading.Thread(target=beat, name="progress", daemon=True)
        if wanted:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if wanted:
                thread.join()


class _Lines(logging.Handler):
    """Log records as lines of a console, above its bars."""

    def __init__(self, screen: Console):
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.print(record.getMessage(), soft_wrap=True)


@contextmanager
def _show_log(screen: Console | None) -> Iterator[None]:
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
