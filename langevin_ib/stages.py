"""What a long stage of a run says of itself: to whoever waits for it, and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

STATE = "state"  # in the folder of a run, that of where its chains ended
ASKED = "asked.json"  # in that folder, the settings as they were asked for
STATES = ("sampling", "check at h/2")  # stages that a longer run takes up where a finished one has left them

Progress = Callable[[int, int], None]  # (done, in all)
Stages = Callable[[str], Progress | None]  # the name of a stage ↦ who is told of its progress

_LISTENERS: list[Callable[[str], None]] = []


def doing(what: str) -> None:
    """Tell whoever shows progress what the current stage is at, as `minimum of the loss`; nobody may be listening."""
    for listener in tuple(_LISTENERS):
        listener(what)


@contextmanager
def told(listener: Callable[[str], None]) -> Iterator[None]:
    """Have a function called with what `doing` tells, for as long as this is open.

    >>> heard = []
    >>> with told(heard.append):
    ...     doing("minimum of the loss")
    >>> heard
    ['minimum of the loss']
    """
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def slug(stage: str) -> str:
    """A stage's name as one of a file.

    >>> slug("check at h/2")
    'check-at-h-2'
    """
    return stage.replace(" ", "-").replace("/", "-")


class Resumed(NamedTuple):
    """A stage that went on from a saved state: its name, the step it stood at, steps in all."""

    stage: str
    step: int
    steps: int


class Stillness(NamedTuple):
    """For how long chains did not move at all, each field an array over chains.

    Attributes:
        steps: the longest time, in steps, from record to record.
        until: the step at which it ended.
    """

    steps: Any
    until: Any


@dataclass(frozen=True)
class Engine:
    """How an ensemble was run.

    Attributes:
        threads: that ran.
        width: chains of a block.
        idle: what kept it from all cores, as a sentence; None if nothing.
        steps: that each block was told to take, counted where they are taken; None if nobody counted.
        spread: whether its chains began at more than one point; None if nobody looked.
    """

    threads: int
    width: int
    idle: str | None = None
    steps: tuple[int, ...] | None = None
    spread: bool | None = None
