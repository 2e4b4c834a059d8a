"""λ̂ = (E ℓ − ℓ_min)/T, the local learning coefficient that the draws of a run show at its temperature.

Of a density ∝ exp(−ℓ/T) μ(dθ) whose μ gives the set ℓ < ℓ_min + ε a mass ~ ε^λ (−log ε)^(m−1), E (ℓ − ℓ_min)/T → λ as
T → 0. A loss that is regular across the orbits of a group of dimension m has λ = (q − m)/2.

Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), and JMLR 14, 867 (2013), where E ℓ at one
temperature gives it; Lau, Furman, Wang, Murfet & Wei, arXiv:2308.12108, where the local prior is left out of ℓ, as a
confinement is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy

from langevin_ib.statistics.records import Absent
from langevin_ib.statistics.sample import Moments, Sample, Sums
from langevin_ib.statistics.weights import ratio

ROUNDED = 32  # roundings of ℓ that the lowest loss of a draw may lie below the minimum


class Measured(NamedTuple):
    """A mean over draws, and its standard error from the scatter of chains."""

    value: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.se:.2g}"


class Lowest(NamedTuple):
    """The lowest loss that an optimiser has found.

    Attributes:
        loss: ℓ_min.
        tolerance: how much lower its last steps say that the loss may come still.
        starts: of the model, that it came down from.
        ends: of chains, that it came down from too.
        endless: whether the loss goes on falling on the ray to the place, so that it has no minimum.
    """

    loss: float
    tolerance: float
    starts: int
    ends: int = 0
    endless: bool = False


@dataclass(frozen=True)
class LearningCoefficient:
    """λ̂ of a run.

    Attributes:
        all_draws: over all draws; of a measure that cannot be normalised none.
        window: over the draws that laws are held against, where these are not all.
        regular: (q − m)/2.
        lowest: ℓ_min.
        seen: the lowest loss of a draw.
        below: by how much that is below ℓ_min, beyond the tolerance and rounding; 0 if it is not.
        step_change: by how much λ̂ of the companion at h/2 is higher; None without one.
        temperature: T.
    """

    all_draws: Measured | Absent
    window: Measured | Absent | None
    regular: float
    lowest: Lowest
    seen: float
    below: float
    step_change: Measured | None
    temperature: float


def mean_of(moments: Moments) -> Measured:
    """Of a number over all draws: every chain has as many."""
    means = np.asarray(moments.mean, np.float64)
    return Measured(float(means.mean()), float(scipy.stats.sem(means)))


def mean_of_sums(sums: Sums) -> Measured | Absent:
    """Of a number over the draws that count, of which chains have more or fewer."""
    total, n = np.asarray(sums.total, np.float64), np.asarray(sums.n)
    chains = int(np.count_nonzero(n))
    if chains < 2:
        return Absent("λ̂", "fewer than two chains have a draw that counts")
    value, variance = ratio(total, n, chains)
    return Measured(value, float(np.sqrt(variance)))


def learning_coefficient(
    sample: Sample,
    lowest: Lowest,
    *,
    temperature: float,
    dimensions: tuple[int, int],
    improper: str | None = None,
    companion: Sample | None = None,
) -> LearningCoefficient | Absent:
    """λ̂ with its error over chains.

    Args:
        sample: the run's draws, with sums of ℓ/T.
        lowest: ℓ_min.
        temperature: T.
        dimensions: q, and m of the symmetry.
        improper: why a mean over all draws means nothing; None if it does.
        companion: the draws at h/2.
    """
    whole = sample.whole
    if whole.loss is None or whole.lowest is None or whole.counted.loss is None:
        return Absent("λ̂", "ℓ was not summed over the draws")
    if lowest.endless:
        return Absent("λ̂", "ℓ has no minimum: from the lowest place that was found it falls along a ray, for ever")
    floor = lowest.loss / temperature
    all_draws = Absent("λ̂", improper) if improper else _above(mean_of(whole.loss), floor)
    counted = whole.counted.loss
    every = int(np.sum(counted.n)) == int(np.sum(whole.loss.n))
    window = None if every else _above(mean_of_sums(counted), floor)
    q, m = dimensions
    seen = float(np.min(whole.lowest)) * temperature
    # ℓ is computed in the precision of the chains, at worst from terms of its own mean size.
    size = max(abs(lowest.loss), abs(float(np.mean(whole.loss.mean))) * temperature)
    below = lowest.loss - seen - lowest.tolerance - ROUNDED * float(np.finfo(np.float32).eps) * size
    return LearningCoefficient(
        all_draws=all_draws,
        window=window,
        regular=0.5 * (q - m),
        lowest=lowest,
        seen=seen,
        below=below if below > 0 else 0.0,
        step_change=_change(sample, companion, improper=improper is not None),
        temperature=temperature,
    )


def _above(mean: Measured | Absent, floor: float) -> Measured | Absent:
    return mean if isinstance(mean, Absent) else mean._replace(value=mean.value - floor)


def _change(sample: Sample, companion: Sample | None, *, improper: bool) -> Measured | None:
    """ℓ_min is the same, so that it falls out."""
    if companion is None:
        return None
    first, second = (_mean_at(each, improper=improper) for each in (sample, companion))
    if first is None or second is None:
        return None
    return Measured(second.value - first.value, float(np.hypot(first.se, second.se)))


def _mean_at(sample: Sample, *, improper: bool) -> Measured | None:
    """E ℓ/T over the draws that have a law."""
    counted, every = sample.whole.counted.loss, sample.whole.loss
    if counted is None or every is None:
        return None
    mean = mean_of_sums(counted) if improper else mean_of(every)
    return None if isinstance(mean, Absent) else mean
