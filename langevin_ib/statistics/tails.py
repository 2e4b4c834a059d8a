"""How heavy the tail of a noise is, from draws of its size: which of its moments exist.

Hill's γ is the mean of log(X/x) over the draws above x, and estimates 1/α where P(X > x) ~ x^−α: the moments from the
α-th on do not exist. It is taken at two thresholds in independent batches, and a moment of order k is said not to exist
where γ exceeds 1/k by three standard errors at both: one alone is misled by rare large values of a finite size.

Source: Hill, Ann. Statist. 3, 1163–1174 (1975).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

SHARES = (0.02, 0.0025)  # of the draws, above the two thresholds
SIGMAS = 3.0


class Tail(NamedTuple):
    """The tail of a noise.

    Attributes:
        exponent: Hill's estimate of α by the higher threshold; infinite where the largest values are alike.
        error: its standard error.
        draws: it is from.
        mean: whether a mean exists without doubt.
        highest: order of the highest moment, up to the fourth, of which the draws do not show that it does not exist.
    """

    exponent: float
    error: float
    draws: int
    mean: bool
    highest: int

    @property
    def variance(self) -> bool:
        """Whether it may have a variance."""
        return self.highest >= 2

    @property
    def words(self) -> str:
        """The exponent with its error."""
        return f"tail index {self.exponent:.3g} ± {self.error:.1g} of {self.draws} draws"


def tail_of(sizes: Float[np.ndarray, "batch draw"]) -> Tail:
    """The tail of positive numbers, drawn in independent batches.

    >>> random = np.random.default_rng(0)
    >>> heavy, light = random.standard_t(1.5, (16, 16384)), random.normal(size=(16, 16384))
    >>> tail_of(np.abs(heavy)).highest, tail_of(np.abs(light)).highest
    (1, 4)
    """
    batches, draws = sizes.shape
    ordered = np.sort(np.maximum(sizes, 1e-300), axis=1)
    low, high = [], []
    gamma = error = 0.0
    for share in SHARES:
        count = max(int(share * draws), 2)
        above, threshold = ordered[:, -count:], ordered[:, -count - 1, None]
        each = np.log(above / threshold).mean(axis=1)
        gamma, error = float(each.mean()), float(each.std(ddof=1)) / batches**0.5
        low.append(gamma - SIGMAS * error)
        high.append(gamma + SIGMAS * error)
    missing = [order for order in (2, 3, 4) if min(low) > 1.0 / order]
    exponent = 1.0 / gamma if gamma > 1e-12 else float("inf")
    return Tail(
        exponent=exponent,
        error=error * exponent**2 if np.isfinite(exponent) else 0.0,
        draws=sizes.size,
        mean=max(high) < 1.0 or not missing,
        highest=min(missing, default=5) - 1,
    )
