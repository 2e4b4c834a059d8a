"""A temperature at several step sizes and stiffnesses, extrapolated to a step of size zero."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

FLAT = 0.01  # p-value above which temperatures are taken to be one and the same at all steps
POWERS = np.arange(3)


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


class Fit(NamedTuple):
    """T(x) = T₀ + b x + c x², x = hκ.

    Attributes:
        temperature: T₀.
        order: the slope of log |T − T₀| against log x; None where T does not change with x beyond its errors.
        p_value: of the residuals: small where T depends on more than x.
        worst: the largest residual over the error of its measurement.
    """

    temperature: Estimate
    order: Estimate | None
    p_value: float
    worst: float


def fit(x: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Fit:
    """By weighted least squares, always with both powers: to choose a model by the data would void T₀'s error.

    >>> x = np.array([0.2, 0.1, 0.1, 0.05, 0.05, 0.025, 0.0125])
    >>> euler = fit(x, 0.1 / (1 - x / 2), np.full(7, 1e-5))
    >>> round(euler.temperature.value, 4), round(euler.order.value, 1)
    (0.1, 1.1)
    """
    design = x[:, None] ** POWERS
    found, covariance, p_value = _least_squares(design, values, errors)
    worst = float(np.max(np.abs(values - design @ found) / errors))
    temperature = Estimate(float(found[0]), float(covariance[0, 0] ** 0.5))
    _, _, p_flat = _least_squares(np.ones((x.size, 1)), values, errors)
    flat = p_flat > FLAT
    order = None if flat else _order(x, values - temperature.value, np.hypot(errors, temperature.error))
    return Fit(temperature, order, p_value, worst)


def power(steps: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Estimate:
    """d log T/d log h over steps of sizes h, h/2, h/4, …, largest first, and its standard error.

    The weights are those of equal relative errors, not of the measured ones: where these come from few chains, they
    are correlated with the values, and would pull the slope.

    >>> round(power(np.array([0.1, 0.05, 0.025]), np.array([0.2, 0.1, 0.05]), np.full(3, 1e-3)).value, 9)
    1.0
    """
    weights = np.log(steps) - np.mean(np.log(steps))
    weights /= np.sum(weights**2)
    value = float(weights @ np.log(values))
    return Estimate(value, float(np.linalg.norm(weights * errors / values)))


def _order(x: np.ndarray, bias: np.ndarray, errors: np.ndarray) -> Estimate | None:
    """Slope of log |bias| against log x, of biases that are seen at all."""
    seen = np.abs(bias) > 2.0 * errors
    if len(set(x[seen])) < 2:
        return None
    design = np.stack([np.ones(seen.sum()), np.log(x[seen])], axis=1)
    found, covariance, _ = _least_squares(design, np.log(np.abs(bias[seen])), (errors / np.abs(bias))[seen])
    return Estimate(float(found[1]), float(covariance[1, 1] ** 0.5))


def at_zero(steps: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Estimate:
    """The value at h = 0 of a parabola through three steps."""
    found, covariance, _ = _least_squares(steps[:, None] ** POWERS, values, errors)
    return Estimate(float(found[0]), float(covariance[0, 0] ** 0.5))


def _least_squares(design: np.ndarray, values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients, their covariance, and the p-value of what is left."""
    scaled = design / errors[:, None]
    covariance = np.linalg.pinv(scaled.T @ scaled)
    found = covariance @ scaled.T @ (values / errors)
    left = np.sum(((values - design @ found) / errors) ** 2)
    freedom = len(values) - design.shape[1]
    return found, covariance, float(stats.chi2.sf(left, freedom)) if freedom else 1.0
