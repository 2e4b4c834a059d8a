"""Numbers that may be missing, and reasons not to trust those that are there."""

from __future__ import annotations

from typing import NamedTuple

from langevin_ib.statistics.tails import Tail


class Absent(NamedTuple):
    """What does not exist here, and why."""

    what: str
    why: str


class Doubt(NamedTuple):
    """A reason why no verdict is given.

    Attributes:
        about: which number: "r_hat", "drift", "step", "mala", "c", "share", "coverage", "joint", "law",
            "identity", "settings", "counts", "starts", "trace", "independence", "errors", "clock"; of SGD "charge",
            "epochs".
        text: the sentence, with the number in it.
        number: what was measured, as the text has it: a p-value, a distance, R-hat; None where it is no single one.
        limit: what it was compared with.
        cure: the end of the text that says what to do, where that is one of its own.
    """

    about: str
    text: str
    number: float | None = None
    limit: float | None = None
    cure: str = ""

    def __str__(self) -> str:
        return self.text


class Meter(NamedTuple):
    """How far the gradient noise of SGD at a point is from isotropic; explained at `dynamics.meter.measure`."""

    trace: float
    temperature: float
    anisotropy: float
    effective_rank: float
    orbit_share: float
    misfit: float


class Uncertain(NamedTuple):
    """A number and its standard error; None where it is known without one."""

    value: float
    error: float | None


class NoiseMeasured(NamedTuple):
    """What was found out of a gradient noise at the minimum of the loss, besides its `Meter`.

    Attributes:
        draws: behind it; None where all is stated.
        errors: standard errors of the meter, in its order; None where Σ is stated, or does not exist.
        skewness: of e·ĝ, e the normal of each coordinate; empty where it is not known, or does not exist.
        tail: how heavy the tail of the draws is; None where nothing was drawn.
    """

    draws: int | None
    errors: tuple[float, ...] | None
    skewness: dict[str, Uncertain]
    tail: Tail | None
