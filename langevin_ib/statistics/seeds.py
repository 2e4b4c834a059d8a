"""Statistics over independent seeds: bands, means, and effects of one arm against another, paired over seeds.

Seeds are the unit of every error bar: each has its own task and start, and all arms of a study share them, so that a
seed's numbers under two arms differ by the arms alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy
from jaxtyping import Float, Shaped

BAND = (0.05, 0.5, 0.95)


class Band(NamedTuple):
    """Median over seeds, with the band that holds 90% of them."""

    median: float
    low90: float
    high90: float


class Curve(NamedTuple):
    """A band at each of several places, of times for instance."""

    median: Float[np.ndarray, " n"]
    low90: Float[np.ndarray, " n"]
    high90: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Count:
    """The number of seeds where something holds, of all."""

    count: int
    of: int


class Estimate(NamedTuple):
    """A value over seeds with its standard error and Student's 95% interval."""

    value: float
    se: float
    low95: float
    high95: float


class Ratio(NamedTuple):
    """Geometric mean of a ratio of two arms, paired over seeds, and its 95% interval."""

    ratio: float
    low95: float
    high95: float


Spread: TypeAlias = Band | Count


def band(values: Float[np.ndarray, " seed"]) -> Band:
    """Median and 90% band.

    >>> band(np.arange(21.0))
    Band(median=10.0, low90=1.0, high90=19.0)
    """
    low, median, high = np.quantile(values, BAND)
    return Band(float(median), float(low), float(high))


def curve(values: Float[np.ndarray, "seed n"]) -> Curve:
    """Median and 90% band at each place."""
    low, median, high = np.quantile(values, BAND, axis=0)
    return Curve(median, low, high)


def spread(values: Shaped[np.ndarray, " seed"]) -> Spread:
    """Median and 90% band of numbers; of booleans the number of seeds where they hold.

    >>> spread(np.array([True, False]))
    Count(count=1, of=2)
    """
    if values.dtype == bool:
        return Count(int(values.sum()), len(values))
    return band(np.asarray(values, float))


def median_interval(values: Float[np.ndarray, " seed"]) -> tuple[float, float]:
    """The exact 95% interval of the median over seeds, of whatever distribution.

    >>> median_interval(np.arange(32.0))
    (9.0, 22.0)
    """
    interval = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def mean(values: Float[np.ndarray, " seed"]) -> Estimate:
    """Mean over seeds.

    >>> mean(np.array([1.0, 2.0, 3.0])).value
    2.0
    """
    return _estimate(float(values.mean()), float(values.std(ddof=1)), values.size)


def ratio_of_sums(top: Float[np.ndarray, " seed"], bottom: Float[np.ndarray, " seed"]) -> Estimate:
    """Σ top/Σ bottom, paired over seeds, with the standard error of its linearisation.

    >>> ratio_of_sums(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])).value
    0.5
    """
    value = float(top.sum() / bottom.sum())
    return _estimate(value, float(np.std(top - value * bottom, ddof=1) / abs(bottom.mean())), top.size)


def paired(values: Float[np.ndarray, "..."], reference: Float[np.ndarray, "..."], comparisons: int = 1) -> Ratio | None:
    """Geometric mean of values/reference, paired over seeds, with Student's 95% interval; else None.

    There is none under two seeds, or where a value is 0. With several comparisons the interval is Bonferroni's: all of
    them hold together in 95%.

    Raises:
        ValueError: the two are not of the same seeds.

    >>> paired(np.array([2.0, 2.0]), np.array([1.0, 1.0])).ratio
    2.0
    """
    if np.shape(values) != np.shape(reference) or np.ndim(values) != 1:
        raise ValueError(f"values must be one for each seed of the reference, got {np.shape(values)}")
    if len(values) < 2 or not all(np.isfinite(errors).all() and (errors > 0).all() for errors in (values, reference)):
        return None
    logs = np.log(values) - np.log(reference)
    reach = (
        float(scipy.stats.t.ppf(1.0 - 0.025 / comparisons, len(logs) - 1)) * float(logs.std(ddof=1)) / len(logs) ** 0.5
    )
    middle = float(logs.mean())
    return Ratio(float(np.exp(middle)), float(np.exp(middle - reach)), float(np.exp(middle + reach)))


def _estimate(value: float, deviation: float, seeds: int) -> Estimate:
    se = deviation / seeds**0.5
    half_width = float(scipy.stats.t.ppf(0.975, seeds - 1)) * se
    return Estimate(value, se, value - half_width, value + half_width)
