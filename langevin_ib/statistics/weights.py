"""Ratios over chains, and weighted draws: the basis of every estimate from chains or from a reweighted law."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

MIN_SHARE = 0.05  # of the reference draws that a reweighted mean has to rest on


def weights_of(log_weight: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Importance weights scaled so that their sum is the effective number of draws (Σw)²/Σw²."""
    weight = np.exp(log_weight - log_weight.max())
    return weight * (weight.sum() / np.sum(weight**2))


def effective_share(weight: Float[np.ndarray, "*shape"]) -> float:
    """(Σw)² / (n Σw²): the share of the draws that weighted means rest on."""
    return float(weight.sum() ** 2 / (weight.size * np.sum(weight**2)))


def ratio(numerator: np.ndarray, denominator: np.ndarray, chains: int | None = None) -> tuple[float, float]:
    """Σ a_i / Σ b_i over chains, and its variance from the scatter of the residuals a_i − r b_i (delta method).

    `chains` is how many of them carry anything; all of them by default.

    >>> ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    (0.5, 0.0)
    """
    chains = numerator.size if chains is None else chains
    mean = float(numerator.sum() / denominator.sum())
    residual = numerator - mean * denominator
    return mean, float(np.sum(residual**2) * chains / (chains - 1) / denominator.sum() ** 2)
