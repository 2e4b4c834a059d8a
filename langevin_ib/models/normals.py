"""Standard normal numbers as points and weights."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

REACH = 8.5  # standard deviations, beyond which lies 2e-17


def normal_rule(points: int, reach: float = REACH) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """The trapezoidal rule for N(0, 1): exact to rounding for what is smooth, and to its step squared at a kink.

    Gauss and Hermite's rule is better for polynomials alone: of a slope that saturates its few nodes see little.

    >>> x, weights = normal_rule(33)
    >>> round(float(weights @ x**4), 12)
    3.0
    """
    x = np.linspace(-reach, reach, points)
    weights = np.exp(-0.5 * x**2)
    return x, weights / weights.sum()


def normal_grid(
    inputs: int, points: int, reach: float = REACH
) -> tuple[Float[np.ndarray, "n inputs"], Float[np.ndarray, " n"]]:
    """The product of such rules over several numbers."""
    x, weights = normal_rule(points, reach)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[x] * inputs, indexing="ij")], axis=-1)
    product = np.stack([axis.ravel() for axis in np.meshgrid(*[weights] * inputs, indexing="ij")])
    return grid, np.prod(product, axis=0)
