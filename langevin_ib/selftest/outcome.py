"""The record of one check."""

from __future__ import annotations

import math
from typing import NamedTuple

RARE = 1e-4  # share of keys in which a check of draws fails for a sound package


class Outcome(NamedTuple):
    """A figure, and the limits that it has to keep.

    Attributes:
        name: what is checked.
        figure: what came; NaN where the check itself has failed.
        low, high: limits, both allowed.
        what: what the figure is, in words.

    >>> Outcome("words", 1.0, 0.0, 0.0, "words that differ").passed
    False
    """

    name: str
    figure: float
    low: float
    high: float
    what: str

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limits; a NaN does not."""
        return bool(self.low <= self.figure <= self.high)  # of numbers that may be NumPy's

    def __str__(self) -> str:
        limits = f"at most {self.high:.4g}"
        if math.isinf(self.high):
            limits = f"at least {self.low:.4g}"
        elif self.low != 0.0:
            limits = f"{self.low:.4g} to {self.high:.4g}"
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.figure:.4g} ({limits}), {self.what}"
