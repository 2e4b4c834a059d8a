"""Errors of completed matrices against the share of their entries that is observed: what `shares` measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from langevin_ib.plain import JsonObject, plain
from langevin_ib.statistics.seeds import Band, Ratio, band, paired

SGD, QUIET, NUCLEAR = "SGD", "without noise", "nuclear norm"
RECOVERED = 0.05  # error on unobserved entries over that of predicting zero, below which a matrix counts as recovered

ByShare = Float[np.ndarray, "seed share"]


@dataclass(frozen=True)
class ShareCurve:
    """Errors of each method at each share of observed entries, over the error of predicting zero.

    Attributes:
        shares: probabilities for an entry to be observed.
        steps: of each run.
        lr: {suffix of a method's name: η}.
        errors: {method: its error on the entries that were not observed}.
        observed: {method: that on the observed ones}, a measure of convergence.
    """

    shares: tuple[float, ...]
    steps: int
    lr: Mapping[str, float]
    errors: Mapping[str, ByShare]
    observed: Mapping[str, ByShare]

    @property
    def seeds(self) -> int:
        """Matrices at each share."""
        return len(self.errors[NUCLEAR])

    def spread(self, method: str) -> list[Band]:
        """Of a method's error, at each share."""
        return [band(error) for error in self.errors[method].T]

    def recovered(self, method: str) -> list[int]:
        """The number of matrices that a method recovers, at each share."""
        return [int(count) for count in (self.errors[method] < RECOVERED).sum(axis=0)]

    def noise_against_none(self, suffix: str) -> list[Ratio | None]:
        """The error of SGD over that of gradient descent without noise, at each share."""
        pairs = zip(self.errors[SGD + suffix].T, self.errors[QUIET + suffix].T, strict=True)
        return [paired(noisy, quiet) for noisy, quiet in pairs]

    def to_dict(self) -> JsonObject:
        """`curve` of a summary."""
        methods = {
            name: {
                "relative_error": plain(self.spread(name)),
                "recovered": self.recovered(name),
                "observed_error": plain([band(error) for error in self.observed[name].T]),
            }
            for name in self.errors
        }
        return {
            "curve": {
                "shares": self.shares,
                "steps": self.steps,
                "lr": {SGD + suffix: lr for suffix, lr in self.lr.items()},
                **methods,
                "noise_against_none": {SGD + suffix: plain(self.noise_against_none(suffix)) for suffix in self.lr},
            }
        }
