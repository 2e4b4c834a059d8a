"""The coefficient c of the family p_c ∝ base · e^{c t}, t = −½ log det G, by maximum likelihood.

Error bars come from the scatter *between* chains: only chains are taken as independent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Num

from langevin_ib.statistics.compare import LEVEL
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, ratio, weights_of

C_RANGE = (-60.0, 60.0)
CONSTANT = 1e-6  # a range of log det G below this share of its size is rounding, that of float32 draws at least


class Coefficient(NamedTuple):
    """The maximum-likelihood c of the family (F).

    Attributes:
        c, se, ci95: estimate, standard error, 95% confidence interval.
        chains: those with a draw that counts.
    """

    c: float
    se: float
    ci95: tuple[float, float]
    chains: int

    def __str__(self) -> str:
        return f"{self.c:z.3f} ± {self.se:.3f}"


def estimate_correction(
    statistic_sum: Float[np.ndarray, " chain"],
    draws: Num[np.ndarray, " chain"],
    log_base: Float[np.ndarray, " n"],
    statistic: Float[np.ndarray, " n"],
) -> Coefficient:
    """Maximum-likelihood c of p_c ∝ base · e^{c t} inside the window, with a chain-wise standard error.

    The likelihood equation is E_c[t] = t̄. The standard error is that of the ratio t̄ = Σ_i S_i / Σ_i N_i over chains,
    divided by Var_c(t): it holds for autocorrelated draws, since only chains are taken as independent.

    Args:
        statistic_sum: S_i, sum over the in-window draws of chain i of t = −½ log det G(s(z)).
        draws: N_i, their number.
        log_base: log of (c = 0 density × quadrature weight) at nodes in the window.
        statistic: t at the nodes.

    Raises:
        ValueError: no finite c solves the equation (draws at one edge only), or t is constant on the window.

    Source: one-parameter exponential family; sandwich variance, e.g. van der Vaart, Asymptotic Statistics, section 5.3.
    """
    draws = np.asarray(draws, np.float64)
    chains = draws.size
    mean, variance_of_mean = ratio(statistic_sum, draws)
    c = solve_family(mean, log_base, statistic)
    se = variance_of_mean**0.5 / family_moments(c, log_base, statistic)[1]
    half = float(scipy.stats.t.ppf(0.5 + LEVEL / 2, chains - 1)) * se
    return Coefficient(c, se, (c - half, c + half), int(np.count_nonzero(draws)))


def estimate_correction_by_reweighting(
    statistic_sum: Float[np.ndarray, " chain"],
    draws: Num[np.ndarray, " chain"],
    reference: Float[np.ndarray, "ref_chain ref_draw"],
    log_base: Float[np.ndarray, "ref_chain ref_draw"],
) -> Coefficient:
    """Maximum-likelihood c where the normaliser of p_c is unknown, from draws of a neighbouring law.

    E_c[t] is a self-normalised mean over reference draws with weights base · e^{c t}. To the chains' standard error
    comes that of this mean, with the reference's chains as its independent units.

    Args:
        statistic_sum: S_i, sum over the draws of chain i of t = −½ log det G(s(z)).
        draws: N_i, their number.
        reference: t at the reference draws.
        log_base: log of (c = 0 density / density that the reference draws have) there.

    Raises:
        ValueError: no c solves the equation, or the weights rest on too small a share of the reference draws.

    Source: Geyer & Thompson, J. R. Statist. Soc. B 54, 657–699 (1992).
    """
    flat_base, flat_t = log_base.ravel(), reference.ravel()
    mean, variance_of_mean = ratio(statistic_sum, np.asarray(draws, np.float64))
    low, high = float(flat_t.min()), float(flat_t.max())
    if not low < mean < high:
        raise ValueError(
            f"the mean statistic {mean:.4g} lies outside the reference draws' range {low:.4g} to {high:.4g}"
        )
    c = solve_family(mean, flat_base, flat_t)
    weight = weights_of(log_base + c * reference)
    share = effective_share(weight)
    if share < MIN_SHARE:
        raise ValueError(
            f"at c = {c:.2f} the weights rest on {share:.1%} of the reference draws, below {MIN_SHARE:.0%}: "
            "the laws are too far apart"
        )
    _, variance_of_reference = ratio((weight * reference).sum(axis=1), weight.sum(axis=1))
    spread = family_moments(c, flat_base, flat_t)[1]
    se = float(np.sqrt(variance_of_mean + variance_of_reference)) / spread
    fewest = min(np.count_nonzero(np.asarray(draws)), reference.shape[0])
    half = float(scipy.stats.t.ppf(0.5 + LEVEL / 2, fewest - 1)) * se
    return Coefficient(c, se, (c - half, c + half), int(np.count_nonzero(draws)))


def can_be(of_law: float | None, low: float | None, high: float | None) -> bool:
    """Whether a law's c lies in the 95% interval of the draws'; true where there is none to be held against another.

    A distance can be below the margin at another c: that of `hard` under weight decay is, at c = −0.1.

    >>> can_be(1.0, 0.99, 1.02), can_be(0.0, -0.107, -0.095), can_be(None, 0.9, 1.1)
    (True, False, True)
    """
    return of_law is None or low is None or high is None or low <= of_law <= high


def is_constant(statistic: Float[np.ndarray, "*shape"]) -> bool:
    """Whether log det G varies by no more than rounding, so that the laws of all c are one law.

    >>> is_constant(np.array([1.0, 1.0 + 1e-12])), is_constant(np.array([1.0, 1.01]))
    (True, False)
    """
    size = max(1.0, float(np.max(np.abs(statistic), initial=0.0)))
    return float(np.ptp(statistic)) <= CONSTANT * size


def solve_family(mean: float, log_base: Float[np.ndarray, " n"], statistic: Float[np.ndarray, " n"]) -> float:
    """The c for which E_c[t] has a given value."""

    def gap(c: float) -> float:
        return float(_family_weights(c, log_base, statistic) @ statistic) - mean

    low, high = C_RANGE
    if not gap(low) < 0 < gap(high):
        raise ValueError(f"no c in [{low:g}, {high:g}] gives the mean statistic {mean:.6g}")
    return float(scipy.optimize.brentq(gap, low, high, xtol=1e-12))  # pyright: ignore[reportArgumentType]  # untyped overload


def family_moments(c: float, log_base: np.ndarray, statistic: np.ndarray) -> tuple[float, float]:
    """Mean and variance of t under p_c."""
    weight = _family_weights(c, log_base, statistic)
    mean = float(weight @ statistic)
    return mean, float(weight @ (statistic - mean) ** 2)


def _family_weights(c: float, log_base: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    log_p = log_base + c * statistic
    weight = np.exp(log_p - log_p.max())
    return weight / weight.sum()
