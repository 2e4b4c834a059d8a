"""The potentials on which a sampler's temperature is measured: springs of known stiffness, and one that is no spring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SPRINGS = (0.5, 1.0, 2.0)  # κ; each has a coordinate of its own, twice
COPIES = 2
WAVE = 0.5  # of the anharmonic coordinate: U(y) = y²/2 + ¼ cos 2y, whose curvature lies between 0 and 2


@dataclass(frozen=True)
class Target:
    """V(x) = Σ ½ κ_i x_i² over springs, plus T U(x_j/√T) over the other coordinates, U(y) = y²/2 + ¼ cos 2y.

    Coordinates do not see each other, so that a sampler that treats each alone gives as many measurements as there are
    coordinates. Under exp(−V/T) every coordinate has E[x ∂V/∂x] = T, by partial integration.

    Attributes:
        stiffness: κ of the springs, which are the first coordinates.
        waves: how many coordinates follow that are no springs.
        temperature: T, which sets the length on which U bends.
    """

    stiffness: Any
    waves: int
    temperature: float

    @property
    def size(self) -> int:
        """q."""
        return len(self.stiffness) + self.waves

    def gradient(self, xp: Any) -> Callable[[Any], Any]:
        """∇V of x, whose last axis is that of the coordinates; `xp` is NumPy or JAX's."""
        springs, length = len(self.stiffness), self.temperature**0.5

        def gradient(x: Any) -> Any:
            x = xp.asarray(x)
            rest = x[..., springs:]
            return xp.concatenate(
                [xp.asarray(self.stiffness, x.dtype) * x[..., :springs], rest - WAVE * length * xp.sin(2 * rest / length)],
                axis=-1,
            )

        return gradient

    def loss(self, xp: Any) -> Callable[[Any], Any]:
        """V of x, summed over the last axis."""
        springs, length = len(self.stiffness), self.temperature**0.5

        def loss(x: Any) -> Any:
            x = xp.asarray(x)
            rest = x[..., springs:]
            harmonic = 0.5 * xp.sum(xp.asarray(self.stiffness, x.dtype) * x[..., :springs] ** 2, axis=-1)
            wave = 0.5 * WAVE * self.temperature * xp.cos(2 * rest / length)
            return harmonic + xp.sum(0.5 * rest**2 + wave, axis=-1)

        return loss

    def widths(self) -> np.ndarray:
        """√(T/κ_i), and √T where there is no spring."""
        springs = (self.temperature / np.asarray(self.stiffness, float)) ** 0.5
        return np.concatenate([springs, np.full(self.waves, self.temperature**0.5)])


def standard(temperature: float) -> Target:
    """The one that temperatures are measured on."""
    return Target(tuple(np.repeat(SPRINGS, COPIES)), COPIES, temperature)
