"""A temperature at several step sizes and stiffnesses, extrapolated to a step of size zero."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

FLAT = 0.01  # p-value above which temperatures are taken to be one and the same at all steps
ORDERS = (0.5, 6.0)


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


class Fit(NamedTuple):
    """T(x) = T₀ (1 + b x^k (1 + c x)), x = hκ.

    Attributes:
        temperature: T₀.
        order: k; None where T does not change with x beyond its errors.
        slope: b; 0 then.
        p_value: of the residuals: small where T depends on more than x.
    """

    temperature: Estimate
    order: Estimate | None
    slope: float
    p_value: float


def fit(x: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Fit:
    """By weighted least squares: a constant if that will do, else with a bias whose order is fitted.

    >>> x = np.array([0.2, 0.1, 0.1, 0.05, 0.05, 0.025, 0.0125])
    >>> euler = fit(x, 0.1 / (1 - x / 2), np.full(7, 1e-5))
    >>> round(euler.temperature.value, 4), round(euler.order.value, 1)
    (0.1, 1.0)
    """
    weights = errors**-2.0
    mean = float(np.sum(weights * values) / np.sum(weights))
    p_flat = _p_value(values - mean, errors, 1)
    if p_flat > FLAT:
        return Fit(Estimate(mean, float(np.sum(weights) ** -0.5)), None, 0.0, p_flat)

    def curve(x, temperature, slope, order, bend):
        return temperature * (1.0 + slope * x**order * (1.0 + bend * x))

    best = None
    for start in (1.0, 2.0):
        try:
            found, covariance = optimize.curve_fit(
                curve,
                x,
                values,
                p0=(mean, 0.1, start, 0.0),
                sigma=errors,
                absolute_sigma=True,
                bounds=((-np.inf, -np.inf, ORDERS[0], -5.0), (np.inf, np.inf, ORDERS[1], 5.0)),
                max_nfev=4000,
            )
        except RuntimeError:  # it does not converge from there
            continue
        p_value = _p_value(values - curve(x, *found), errors, 4)
        if best is None or p_value > best[2]:
            best = found, np.sqrt(np.diag(covariance)), p_value
    if best is None:
        return Fit(Estimate(mean, float(np.sum(weights) ** -0.5)), None, 0.0, p_flat)
    found, error, p_value = best
    return Fit(Estimate(float(found[0]), float(error[0])), Estimate(float(found[2]), float(error[2])), float(found[1]), p_value)


def richardson(steps: np.ndarray, values: np.ndarray, errors: np.ndarray, order: int) -> Estimate:
    """The value at h = 0 of a + b h^k, by weighted least squares."""
    design = np.stack([np.ones_like(steps), steps**order], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return Estimate(float((covariance @ design.T @ (values / errors))[0]), float(covariance[0, 0] ** 0.5))


def _p_value(residuals: np.ndarray, errors: np.ndarray, parameters: int) -> float:
    return float(stats.chi2.sf(np.sum((residuals / errors) ** 2), len(residuals) - parameters))
