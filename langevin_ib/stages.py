"""What a long stage of a run says of itself: to whoever waits for it, and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Progress = Callable[[int, int], None]  # (done, in all)
Stages = Callable[[str], Progress | None]  # the name of a stage ↦ who is told of its progress


class Resumed(NamedTuple):
    """A stage that went on from a saved state: its name, the step it stood at, steps in all."""

    stage: str
    step: int
    steps: int
