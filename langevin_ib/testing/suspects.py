"""The usual mistakes in a Langevin step, each with what it makes of the temperature and of the time scale.

A step is θ' = θ − d ∇V + √v ξ. Right is d = h and v = 2hT. At small steps it samples T̂ = v/2d, and relaxes at d/h times
the right rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

NEAR = 0.03  # relative, within which a measured number counts as a predicted one
CLOCK = 0.08  # the same of a time scale, which is extrapolated from two steps


@dataclass(frozen=True)
class Suspect:
    """One mistake: what is said of it, v(h, T), and d(h, T)."""

    words: str
    variance: Callable[[float, float], float]
    drift: Callable[[float, float], float] = lambda h, T: h

    def temperature(self, h: float, T: float) -> float:
        """T̂ of small steps."""
        return self.variance(h, T) / (2.0 * self.drift(h, T))

    def power(self, h: float, T: float) -> float:
        """d log T̂/d log h."""
        return math.log2(self.temperature(2.0 * h, T) / self.temperature(h, T))


SUSPECTS = (
    Suspect("the noise has twice the variance it should: √(4hT) for √(2hT)", lambda h, T: 4 * h * T),
    Suspect("the noise has half the variance it should: √(hT) for √(2hT)", lambda h, T: h * T),
    Suspect("the noise has four times the variance it should: 2√(2hT) for √(2hT)", lambda h, T: 8 * h * T),
    Suspect("the noise has a quarter of the variance it should: √(hT/2) for √(2hT)", lambda h, T: h * T / 2),
    Suspect("the temperature enters twice in the noise: √(2h) T for √(2hT)", lambda h, T: 2 * h * T**2),
    Suspect("the temperature is left out of the noise: √(2h) for √(2hT)", lambda h, T: 2 * h),
    Suspect("1/T stands for T in the noise: √(2h/T) for √(2hT)", lambda h, T: 2 * h / T),
    Suspect("the root of T is taken twice in the noise: √(2h √T) for √(2hT)", lambda h, T: 2 * h * T**0.5),
    Suspect("neither T nor the factor 2 is in the noise: √h for √(2hT)", lambda h, T: h),
    Suspect("the step size stands for its root: h √(2T) for √(2hT)", lambda h, T: 2 * h**2 * T),
    Suspect("the step size stands for its root, without the factor 2: h √T for √(2hT)", lambda h, T: h**2 * T),
    Suspect("the root of the noise is left out: 2hT for √(2hT)", lambda h, T: (2 * h * T) ** 2),
    Suspect("the step size is left out of the noise: √(2T) for √(2hT)", lambda h, T: 2 * T),
    Suspect("the root is taken twice: (2hT)^¼ for √(2hT)", lambda h, T: (2 * h * T) ** 0.5),
    Suspect(
        "the drift is halved and the noise is not: (h/2)∇V with √(2hT)", lambda h, T: 2 * h * T, lambda h, T: h / 2
    ),
    Suspect("the drift is doubled and the noise is not: 2h∇V with √(2hT)", lambda h, T: 2 * h * T, lambda h, T: 2 * h),
    Suspect(
        "the temperature enters twice: h∇V/T, the gradient of a log density, with √(2hT); with it the noise is √(2h)",
        lambda h, T: 2 * h * T,
        lambda h, T: h / T,
    ),
)
# Of the time scale alone, where the temperature is right: d/h, and what is said.
CLOCKS: tuple[tuple[Callable[[float], float], str], ...] = (
    (lambda T: 0.5, "its step size means h/2: (h/2)∇V with √(hT)"),
    (lambda T: 2.0, "its step size means 2h"),
    (lambda T: 1.0 / T, "its step size means h/T: ∇V/T with √(2h), the gradient of a log density; give it hT"),
    (lambda T: T, "its step size means hT"),
)

# T̂/T of samplers that are no explicit overdamped step: a momentum of its own, or an acceptance step.
KINETIC: tuple[tuple[float, str], ...] = (
    (0.5, "in a kinetic sampler friction enters twice, or the noise of the momenta has half the variance it should"),
    (2.0, "in a kinetic sampler friction enters half, or the noise of the momenta has twice the variance it should"),
)
ACCEPTED: tuple[tuple[float, str], ...] = (
    (0.5, "the acceptance leaves out the ratio of the proposals, q(x | x′)/q(x′ | x)"),
)


def near(measured: float, error: float, wanted: float, share: float = NEAR) -> bool:
    """Whether a number is a predicted one, within a share of it or four of its standard errors.

    >>> near(0.201, 0.001, 0.2), near(0.22, 0.001, 0.2)
    (True, False)
    """
    return abs(measured - wanted) <= max(share * abs(wanted), 4.0 * error)


def named(
    temperature: tuple[float, float], power: int | float, clock: tuple[float, float] | None, at: tuple[float, float]
) -> list[str]:
    """Sentences on the mistakes that fit.

    Args:
        temperature: T̂ at h, and its error.
        power: of h in T̂.
        clock: the measured d/h and its error; None if it has none.
        at: h and the claimed T.
    """
    h, T = at
    return [
        suspect.words
        for suspect in SUSPECTS
        if near(*temperature, suspect.temperature(h, T))
        and abs(suspect.power(h, T) - power) < 0.2
        and (clock is None or near(*clock, suspect.drift(h, T) / h, CLOCK))
    ]


def clocks(clock: tuple[float, float], temperature: float) -> list[str]:
    """Sentences on a time scale that is wrong by a known factor."""
    return [words for factor, words in CLOCKS if near(*clock, factor(temperature), CLOCK)]


def otherwise(temperature: tuple[float, float], claimed: float, *, kinetic: bool, bounded: bool) -> list[str]:
    """Sentences on a wrong T̂ of other samplers.

    Args:
        temperature: T̂ and its error.
        claimed: T.
        kinetic: whether no overdamped step has this T̂ and this time scale.
        bounded: whether it stays bounded at every step, as only a sampler with an acceptance step does.

    >>> otherwise((0.05, 0.0001), 0.1, kinetic=False, bounded=True)
    ['the acceptance leaves out the ratio of the proposals, q(x | x′)/q(x′ | x)']
    """
    known = (*(KINETIC if kinetic else ()), *(ACCEPTED if bounded else ()))
    return [words for factor, words in known if near(*temperature, factor * claimed)]
