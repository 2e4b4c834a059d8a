"""The effect of a mechanism on the balance of factors: split into growth and charge, and against gradient descent.

For a vector pair ρ = log |a|/|b| = arsinh(χ/s), s = |a||b|. With D(t) the mean of |ρ| over the generators and
D₀(t) the mean of |arsinh(χ(0)/s(t))|, the imbalance at the initial charge, exactly

    D(0) − D(t) = [D(0) − D₀(t)] + [D₀(t) − D(t)],

the first by growth of the norms alone, the second by change of charge. Seeds are the unit of every error bar. A
mechanism's reduction of the imbalance is R = 1 − D(T)/D(0) with D summed over the seeds: the mean of the seeds' own R
would hang on those that start in balance. All mechanisms share D(0).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from langevin_ib.geometry.charges import log_ratio_at

BAND = (0.05, 0.5, 0.95)


class Paths(NamedTuple):
    """One mechanism's runs: χ, s and ρ of every generator, and the loss."""

    charge: Any  # (seed, time, m)
    size: Any
    log_ratio: Any
    loss: Any  # (seed, time)


def median_band(values: Float[np.ndarray, "seed ..."]) -> dict[str, Any]:
    """Median over seeds, with the band that holds 90% of them."""
    low, median, high = np.quantile(values, BAND, axis=0)
    return {"median": median.tolist(), "low90": low.tolist(), "high90": high.tolist()}


def median_interval(values: Float[np.ndarray, " seed"]) -> list[float]:
    """The exact 95% interval of the median over seeds, of whatever distribution.

    >>> median_interval(np.arange(32.0))
    [9.0, 22.0]
    """
    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return [float(interval.low), float(interval.high)]


def mean(values: Float[np.ndarray, " seed"]) -> dict[str, float]:
    """Mean over seeds, its standard error and Student's 95% interval.

    >>> mean(np.array([1.0, 2.0, 3.0]))["value"]
    2.0
    """
    return _estimate(float(values.mean()), float(values.std(ddof=1)), values.size)


def ratio_of_sums(top: Float[np.ndarray, " seed"], bottom: Float[np.ndarray, " seed"]) -> dict[str, float]:
    """Σ top/Σ bottom, paired over seeds, with the standard error of its linearisation.

    >>> ratio_of_sums(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))["value"]
    0.5
    """
    value = float(top.sum() / bottom.sum())
    return _estimate(value, float(np.std(top - value * bottom, ddof=1) / abs(bottom.mean())), top.size)


def _estimate(value: float, deviation: float, seeds: int) -> dict[str, float]:
    se = deviation / seeds**0.5
    half_width = float(stats.t.ppf(0.975, seeds - 1)) * se
    return {"value": value, "se": se, "low95": value - half_width, "high95": value + half_width}


def mean_imbalance(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """D(t), the mean of |ρ| over the generators."""
    return np.abs(paths.log_ratio).mean(axis=-1)


def imbalance_by_growth(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """D₀(t), the mean of |arsinh(χ(0)/s(t))|: the imbalance if each pair had kept its charge."""
    return np.abs(np.asarray(log_ratio_at(paths.charge[:, :1], paths.size))).mean(axis=-1)


def removed(paths: Paths) -> Float[np.ndarray, " seed"]:
    """D(0) − D(T)."""
    D = mean_imbalance(paths)
    return D[:, 0] - D[:, -1]


def ratio_factor(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """The factor by which a typical pair is off, exp(median |ρ|) over the generators."""
    return np.exp(np.median(np.abs(paths.log_ratio), axis=-1))


def charge_left(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """The median of |χ(t)/χ(0)| over the generators."""
    return np.median(np.abs(paths.charge / paths.charge[:, :1]), axis=-1)


def state(paths: Paths, time: int) -> dict[str, Any]:
    """Ratios, imbalance and loss of the seeds at one recorded time."""
    ratios = np.exp(paths.log_ratio[:, time])
    return {
        "ratio_factor": median_band(ratio_factor(paths)[:, time]),
        "ratio_smallest": median_band(ratios.min(axis=-1)),
        "ratio_largest": median_band(ratios.max(axis=-1)),
        "imbalance": mean(mean_imbalance(paths)[:, time]),
        "loss": median_band(paths.loss[:, time]),
    }


def describe(paths: Paths) -> dict[str, Any]:
    """A mechanism's entry in the summary: final state, reduction of the imbalance and its two parts, curves in time.

    `growth` and `charge_change` are the two parts of D(0) − D(T). They are shares of it only where `reduction` is
    positive with 95% confidence; else `shares` is None.
    """
    D, grown, left = mean_imbalance(paths), imbalance_by_growth(paths), charge_left(paths)
    total = removed(paths)
    by_growth, by_charge = D[:, 0] - grown[:, -1], grown[:, -1] - D[:, -1]
    reduction, shares = ratio_of_sums(total, D[:, 0]), None
    if reduction["low95"] > 0:
        shares = {"growth": ratio_of_sums(by_growth, total), "charge": ratio_of_sums(by_charge, total)}
    return {
        "diverged": None,
        **state(paths, -1),
        "charge_left": {
            **median_band(left[:, -1]),
            "mean": mean(left[:, -1]),
            "median95": median_interval(left[:, -1]),
        },
        "reduction": {**reduction, "by_seed": median_band(total / D[:, 0]) | {"mean": mean(total / D[:, 0])}},
        "removed": mean(total),
        "growth": mean(by_growth),
        "charge_change": mean(by_charge),
        "shares": shares,
        "curves": {
            "ratio_factor": median_band(ratio_factor(paths)),
            "charge_left": median_band(left),
            "loss": median_band(paths.loss),
        },
    }


def across(paths: dict[str, Paths], descent: str, sgd: str) -> dict[str, Any]:
    """Mechanisms against gradient descent, paired over seeds.

    Returns:
        `descent_share`: R of gradient descent over R of SGD, None where the latter is not positive with 95% confidence
            (that of its `reduction`);
        `added`: R_k − R of gradient descent of every other mechanism k.
    """
    start = mean_imbalance(paths[descent])[:, 0]
    total = {name: removed(path) for name, path in paths.items()}
    share = ratio_of_sums(total[descent], total[sgd]) if ratio_of_sums(total[sgd], start)["low95"] > 0 else None
    added = {name: ratio_of_sums(removal - total[descent], start) for name, removal in total.items() if name != descent}
    return {"descent_share": share, "added": added}
