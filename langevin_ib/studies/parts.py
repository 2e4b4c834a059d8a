"""The parts of a figure's study as they run: their seconds, and the notes on those that failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from langevin_ib.ensemble.trajectories import ROWS
from langevin_ib.errors import ConfigError, DivergenceError, FailedRunError
from langevin_ib.plain import JsonObject
from langevin_ib.session import Session
from langevin_ib.studies.balance import Balance
from langevin_ib.studies.config import MIN_SEEDS, from_setup
from langevin_ib.studies.mechanisms import attribute
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Recorded, Trained
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm, train

NOT_THE_PAPERS = "data, steps or η are not the paper's, whose caption is therefore left out"
NOT_ITS_OWN = "data, steps or η are not the study's own"
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Parts:
    """What is run of a figure, one part after the other.

    Attributes:
        session: an open one.
        notes: qualifications of the numbers; one more for each part that failed.
        wall_s: seconds of each part.
    """

    session: Session
    notes: list[str] = field(default_factory=list)
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """The seconds of what is done within, under a name."""
        began = time.perf_counter()
        yield
        self.wall_s[part] = time.perf_counter() - began

    @contextmanager
    def failures_noted(self) -> Iterator[None]:
        """What may fail and leave the rest standing: a note says why it is left out."""
        try:
            yield
        except (ConfigError, DivergenceError, FailedRunError) as error:
            self.notes.append(f"left out, for it failed: {error}")

    def train(self, problem: Problem, arm: Arm, stage: str, rows: int = ROWS) -> Trained:
        """Train every seed, its progress shown under the name of the stage."""
        return train_kept(self.session, problem, arm, stage, rows=rows)

    def train_own(self, problem: Problem, arm: Arm) -> Trained:
        """The figure's own run: a failure of it is one of the study."""
        own = self.train(problem, arm, "training")
        self.wall_s["training"] = own.wall_s
        return own

    def measure_each(
        self, problem: Problem, arms: Mapping[str, Arm], measure: Callable[[Trained], Measured], rows: int = ROWS
    ) -> dict[str, Measured]:
        """What is measured of each arm; those that fail are left out."""
        measured: dict[str, Measured] = {}
        for name, arm in arms.items():
            with self.failures_noted():
                measured[name] = measure(self.train(problem, arm, name, rows))
        return measured

    def attribute_balance(
        self, setup: str, request: Request, lr: float, steps: int, *, part: str, called: str
    ) -> Balance | None:
        """Which mechanism balances the factors of a set-up of the paper; None where it fails, or has too few seeds.

        Args:
            setup: name of the preset.
            request: seeds and seed.
            lr: η.
            steps: of each mechanism.
            part: its name before its notes, and for its seconds.
            called: its name in a sentence.
        """
        if request.seeds < MIN_SEEDS:
            self.notes.append(f"{called} needs {MIN_SEEDS} seeds at least, for seeds are its unit of error")
            return None
        with self.timed(part), self.failures_noted():
            config = from_setup(setup, seeds=request.seeds, seed=request.seed, steps=steps, lr=lr, precision=32)
            result = attribute(config, self.session.within(f"{part}-{setup}"))
            self.notes.extend(f"{part}: {note}" for note in result.notes)
            return result.balance
        return None


def train_kept(
    session: Session, problem: Problem, arm: Arm, stage: str, *, rows: int = ROWS, starts: Recorded | None = None
) -> Trained:
    """Train every seed as one long stage of a study: its progress is shown, and its state saved, under its name.

    No two stages of a study have one name: each would refuse what the other has saved.
    """
    kept = session.checkpoint("", stage)  # what it computes, starts and tasks included, is all that decides its numbers
    progress = session.report(stage)
    return train(problem, arm, stage=stage, rows=rows, progress=progress, starts=starts, checkpoint=kept)


def config_of(request: Request, arm: Arm) -> JsonObject:
    """Everything that decides a figure's numbers."""
    return request.to_dict() | {"lr": arm.lr, "steps": arm.steps}


def stated_numbers(
    caption: Mapping[str, Mapping[str, float]], own: str, variants: Mapping[str, Arm], rows: Mapping[str, object]
) -> dict[str, dict[str, float]]:
    """The caption's numbers for the rows that there are, those of the figure's own run for its other readings too.

    >>> stated_numbers({"own": {"loss": 1.0}}, "own", {}, {"own": None, "other": None})
    {'own': {'loss': 1.0}}
    """
    readings = dict.fromkeys(variants, caption[own]) if own in caption else {}
    return {name: dict(numbers) for name, numbers in {**readings, **caption}.items() if name in rows}
