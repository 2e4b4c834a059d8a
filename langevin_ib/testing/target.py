"""The potentials on which a temperature is measured: springs of known stiffness, and one that is no spring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SPRINGS = (0.25, 0.5, 1.0)  # κ over the largest one; each has a coordinate of its own, twice
COPIES = 2
WAVE = 0.5  # of the anharmonic coordinate: U(y) = y²/2 + ¼ cos 2y, whose curvature lies between 0 and 2


@dataclass(frozen=True)
class Target:
    """V(x) = Σ ½ κ_i x_i² over springs, plus T U(x_j √(κ/T)) over the other coordinates, U(y) = y²/2 + ¼ cos 2y.

    Coordinates do not see each other, so that a sampler that treats each alone gives as many measurements as there are
    coordinates. Under exp(−V/T) every coordinate has E[x ∂V/∂x] = T, by partial integration.

    Attributes:
        stiffness: κ of the springs, which are the first coordinates.
        waves: how many coordinates follow that are no springs.
        temperature: T.
        curvature: κ of these; their second derivative lies between 0 and 2κ.
    """

    stiffness: Any
    waves: int
    temperature: float
    curvature: float = 1.0

    @property
    def size(self) -> int:
        """q."""
        return len(self.stiffness) + self.waves

    def gradient(self, xp: Any) -> Callable[[Any], Any]:
        """∇V of x, whose last axis is that of the coordinates; `xp` is NumPy or JAX's."""
        springs, length = len(self.stiffness), (self.temperature / self.curvature) ** 0.5

        def gradient(x: Any) -> Any:
            x = xp.asarray(x)
            rest = x[..., springs:]
            bent = rest - WAVE * length * xp.sin(2 * rest / length)
            return xp.concatenate(
                [xp.asarray(self.stiffness, x.dtype) * x[..., :springs], self.curvature * bent],
                axis=-1,
            )

        return gradient

    def loss(self, xp: Any) -> Callable[[Any], Any]:
        """V of x, summed over the last axis."""
        springs, length = len(self.stiffness), (self.temperature / self.curvature) ** 0.5

        def loss(x: Any) -> Any:
            x = xp.asarray(x)
            rest = x[..., springs:]
            harmonic = 0.5 * xp.sum(xp.asarray(self.stiffness, x.dtype) * x[..., :springs] ** 2, axis=-1)
            wave = 0.5 * WAVE * self.temperature * xp.cos(2 * rest / length)
            return harmonic + xp.sum(0.5 * self.curvature * rest**2 + wave, axis=-1)

        return loss

    def widths(self) -> np.ndarray:
        """√(T/κ) of every coordinate."""
        curvatures = np.concatenate([np.asarray(self.stiffness, float), np.full(self.waves, self.curvature)])
        return (self.temperature / curvatures) ** 0.5


def standard(temperature: float, stiffest: float) -> Target:
    """The one that temperatures are measured on, with no second derivative above κ = `stiffest`."""
    return Target(tuple(np.repeat(SPRINGS, COPIES) * stiffest), COPIES, temperature, 0.5 * stiffest)
