"""What was sampled, and how much of it: records of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from langevin_ib.config.value_schedules import read_schedule
from langevin_ib.stages import Resumed


@dataclass(frozen=True)
class RunInfo:
    """How much was drawn, and how fast.

    Attributes:
        chains, steps, draws: numbers of chains, of steps of each, of draws of all.
        step_size: h, or η; None of draws of one's own.
        time: h × steps, or Σ η_n.
        threads: that ran the chains.
        wall_s: seconds of sampling.
        chain_steps_per_s: chains × steps over them.
        total_wall_s: seconds of the whole run.
        resumed: stages that went on from a checkpoint.
        refused: a sentence for each checkpoint that was found and not continued.
        note: what kept the run from all cores, as a sentence; None if nothing.
    """

    chains: int
    steps: int
    draws: int
    step_size: float | None
    time: float | None
    threads: int
    wall_s: float
    chain_steps_per_s: int
    total_wall_s: float = 0.0
    resumed: tuple[Resumed, ...] = ()
    refused: tuple[str, ...] = ()
    note: str | None = None


class Elsewhere(NamedTuple):
    """A minimum of the reduced loss that the window leaves out: where, and how far above the lowest in units of T."""

    at: float
    height: float


CANONICAL = 1e-6  # relative departure from eqs. (40) and (42) that counts as none


class SliceDepartures(NamedTuple):
    """How far χ is from eqs. (40) and (42), relative, and what the second changes in log det G; see `geometry`."""

    equation_40: float
    canonical_gap: float
    log_det_spread: float


class Changing(NamedTuple):
    """A value that changes: its schedule, its value that laws go by, and those at both ends of what is judged."""

    schedule: str
    judged: float
    ends: tuple[float, ...]


class Move(NamedTuple):
    """A stretch of a run whose values change: its steps, the values in the middle, of each scalar mean and distance.

    The distance `tv` is the total variation to the histogram of the last stretch.
    """

    steps: tuple[int, int]
    values: dict[str, float]
    mean: dict[str, float]
    tv: dict[str, float]


@dataclass(frozen=True)
class ScheduleInfo:
    """What is judged of a run whose values change along it.

    Attributes:
        values: of each setting that changes.
        steps: from, to: those whose draws are judged.
        ended: whether all values are constant by then.
        relaxation: steps in which the slowest coordinate relaxes, at the values that are judged.
        waited: relaxation times between the last change and the first draw; None where values go on.
        lag: the largest relative change of a value in a relaxation time, from five of them before those steps on; None
            where they have ended, as what follows.
        change: the largest relative change over the stretch.
        shift: total variation between the laws at both ends of it; None where they are not integrated.
        moves: how the histogram moves up to there.
    """

    values: dict[str, Changing]
    steps: tuple[int, int]
    ended: bool
    relaxation: float
    waited: float | None = None
    lag: float | None = None
    change: float | None = None
    shift: float | None = None
    moves: tuple[Move, ...] = ()

    @property
    def moved(self) -> float:
        """By how much the law moves while it is judged, as far as that is known."""
        return (self.change or 0.0) if self.shift is None else self.shift

    def words(self) -> str:
        """What is judged, in one sentence."""
        each = "; ".join(f"{name} {read_schedule(of.schedule).words()}" for name, of in self.values.items())
        values = ", ".join(f"{name} = {of.judged:.6g}" for name, of in self.values.items())
        if self.ended:
            return f"{each}: the draws from step {self.steps[0]} on are judged, at {values}, constant by then"
        return (
            f"{each}, while draws are taken: those of the last stretch are judged, steps {self.steps[0]} to "
            f"{self.steps[1]}, at the values in its middle, {values}; over it the law moves by "
            + (
                f"TV {self.shift:.3g}"
                if self.shift is not None
                else f"an unknown distance, values by {self.change:.2g}"
            )
        )


@dataclass(frozen=True)
class ProtocolInfo:
    """What was sampled.

    Attributes:
        group: the symmetry.
        coordinates: of the quotient.
        confinement: its energy as a formula.
        stationary: whether there is a stationary law.
        conditioned_on: the slab, in words; None without.
        elsewhere: other minima of the reduced loss.
        cut: windows that the laws are conditioned on.
        slice: how far χ is from canonical; None of a run that measures only.
        notes: of the model.
    """

    group: str
    coordinates: int
    confinement: str
    stationary: bool
    conditioned_on: str | None
    elsewhere: tuple[Elsewhere, ...]
    cut: dict[str, tuple[float, float]]
    slice: SliceDepartures | None
    notes: tuple[str, ...]
