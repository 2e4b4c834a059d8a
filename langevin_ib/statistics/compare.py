"""Histograms against a law and against each other; chains are the independent unit.

Every error bar comes from the scatter *between* chains: whatever the autocorrelation inside a chain, its bin counts are
one independent vector. Nothing here knows where the samples or the law come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Num

from langevin_ib.statistics.weights import ratio

Verdict = Literal["agrees", "differs", "undecided"]

LEVEL = 0.95
MIN_EXPECTED = 25.0  # draws per merged bin under the law, so that a bin's chain-mean is near normal
CHAINS_PER_BIN = 8  # Hotelling's T² wants several chains for each bin that it weighs
# Effective share of the chains that fill a merged bin. A bin that a few stuck chains fill is no normal variate: with 50
# chains as the limit, MALA at β = 1, which sticks where the potential is steep, was rejected against its own exact law.
# `sims/bench/null.py` measures level and power with chains that stick like that.
MIN_VISITORS = 0.2
# A chain of this many draws in one single bin, where the typical chain fills several, has not moved in all of the run.
FROZEN_DRAWS, SEVERAL_BINS = 50, 5
FROZEN_SHARE = 1e-3  # of the chains: fewer frozen ones are left out of a test of equality, more forbid it
SINGULAR = 1e-10  # eigenvalue of a between-chain correlation matrix below which a direction carries no scatter
NOISE_DRAWS = 4000
SAME_LAW = 1e-9  # largest difference of bin masses of laws that are one law in the window


class SamplingNoise(NamedTuple):
    """What sampling noise of a given covariance does to a total-variation distance."""

    floor: float
    quantile: float
    worst_deviation: float


@dataclass(frozen=True)
class Histogram:
    """Bin counts of every chain in a window, reduced to what the tests need."""

    counts: Float[np.ndarray, "chain bins"]
    mass: Float[np.ndarray, " bins"]
    covariance: Float[np.ndarray, "bins bins"]

    @property
    def draws(self) -> float:
        """Draws inside the window."""
        return float(self.counts.sum())

    @cached_property
    def noise(self) -> SamplingNoise:
        """Computed once for all the laws that the ensemble is compared with."""
        return sampling_noise(self.covariance)


class Comparison(NamedTuple):
    """Distance, its noise, a p-value and a verdict.

    `tv` is the total-variation distance between the bin masses; `tv_floor` what sampling noise alone would give;
    `tv_lower95` and `tv_upper95` one-sided 95% bounds of the distance without noise; `p_value` of exact equality, None
    where the chains carry too little information for one, and then `why_no_p`.
    """

    tv: float
    tv_floor: float
    tv_lower95: float
    tv_upper95: float
    p_value: float | None
    verdict: Verdict
    why_no_p: str | None = None


class Equality(NamedTuple):
    """A p-value of exact equality, or None and the reason why the chains give none."""

    p_value: float | None
    why: str | None = None


def histogram_of(counts: Num[np.ndarray, "chain bins"]) -> Histogram:
    """Pooled bin masses q_b and their covariance from the scatter of the chains.

    q = Σ_i n_i / Σ_i N_i is a ratio, so its covariance is that of the residuals n_i − q N_i (delta method), with N_i
    the draws of chain i in the window.

    Raises:
        ValueError: fewer than two chains, or no draw in the window.
    """
    counts = np.asarray(counts, np.float64)
    chains = counts.shape[0]
    per_chain = counts.sum(axis=1)
    if chains < 2 or per_chain.sum() == 0:
        raise ValueError(f"at least two chains and one draw in the window are needed, got {chains} chains")
    mass = counts.sum(axis=0) / per_chain.sum()
    residual = counts - per_chain[:, None] * mass
    covariance = residual.T @ residual * (chains / (chains - 1) / per_chain.sum() ** 2)
    return Histogram(counts, mass, covariance)


def total_variation(p: Float[np.ndarray, " bins"], q: Float[np.ndarray, " bins"]) -> float:
    """½ Σ_b |p_b − q_b|: the largest difference of probability of any union of bins.

    >>> total_variation(np.array([0.5, 0.5]), np.array([0.75, 0.25]))
    0.25
    """
    return 0.5 * float(np.abs(np.asarray(p) - np.asarray(q)).sum())


def against_law(
    sample: Histogram, law_mass: Float[np.ndarray, " bins"], margin: float, level: float = LEVEL
) -> Comparison:
    """Compare an ensemble's histogram with a law's bin masses; the verdict errs with probability 1 − level at most.

    The p-value is Hotelling's: under the law the chain vectors d_i = n_i − p N_i are independent with mean exactly zero
    (the chains being stationary), however correlated the draws within a chain.
    """
    difference = sample.mass - law_mass
    noise = sample.noise if level == LEVEL else sampling_noise(sample.covariance, level)
    return _compare(difference, noise, margin, equality_to_law(sample.counts, law_mass), level)


def against_sample(first: Histogram, second: Histogram, margin: float, level: float = LEVEL) -> Comparison:
    """Compare two independent ensembles' histograms (two-sample form of `against_law`)."""
    noise = sampling_noise(first.covariance + second.covariance, level)
    return _compare(first.mass - second.mass, noise, margin, equality_of_samples(first, second), level)


def p_value_of_law(counts: Num[np.ndarray, "chain bins"], law_mass: Float[np.ndarray, " bins"]) -> float | None:
    """The p-value of `equality_to_law`, or None."""
    return equality_to_law(counts, law_mass).p_value


def equality_to_law(counts: Num[np.ndarray, "chain bins"], law_mass: Float[np.ndarray, " bins"]) -> Equality:
    """Probability under the law of chains as far from it as these, by Hotelling's T².

    Neighbouring bins are merged until each expects 25 draws, is filled by a fifth of the chains, and there are eight
    chains for each bin; the law's masses decide the first, the sample alone the others. There is no p-value where
    fewer than two groups are left, where some chains have not moved in all of the run (they carry the law of their
    starts, and the scatter between chains knows nothing of how long they would stay), or where chains repeat each other
    so that the scatter between them is singular.
    """
    counts = _moving(np.asarray(counts, np.float64))
    groups = merged_bins(law_mass, counts)
    unfit = _unfit(groups, counts)
    if unfit is not None:
        return Equality(None, unfit)
    merged = np.add.reduceat(counts, groups, axis=1)
    expected = np.add.reduceat(law_mass, groups)
    return _hotelling((merged - merged.sum(axis=1, keepdims=True) * expected)[:, :-1])


def p_value_of_drift(
    first: Num[np.ndarray, "chain bins"], second: Num[np.ndarray, "chain bins"], longer: float = 1.0
) -> float | None:
    """Probability, for stationary chains, of bin counts that change as much between two stretches.

    `longer` says how many times as long the first is as the second.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = first + second
    first = first / longer
    groups = merged_bins(both.sum(axis=0) / max(both.sum(), 1.0), both)
    return _hotelling(np.add.reduceat(second - first, groups, axis=1)).p_value


def p_value_of_change(first: Num[np.ndarray, "chain bins"], second: Num[np.ndarray, "chain bins"]) -> float | None:
    """The same for stretches of any length or share of counted draws; None where either has none.

    They are compared as two ensembles. Chains being in both, which makes them more alike, the level is at most nominal.
    """
    if min(np.sum(first), np.sum(second)) == 0:
        return None
    return p_value_of_samples(histogram_of(first), histogram_of(second))


def p_value_of_samples(first: Histogram, second: Histogram) -> float | None:
    """The p-value of `equality_of_samples`, or None."""
    return equality_of_samples(first, second).p_value


def equality_of_samples(first: Histogram, second: Histogram) -> Equality:
    """Probability of two histograms this far apart if both ensembles had one law; see `equality_to_law`."""
    first, second = (e if (moving := _moving(e.counts)) is e.counts else histogram_of(moving) for e in (first, second))
    chains = min(first.counts.shape[0], second.counts.shape[0])
    pooled = (first.mass * first.draws + second.mass * second.draws) / (first.draws + second.draws)
    groups = merged_bins(pooled, first.counts, second.counts)
    unfit = _unfit(groups, first.counts, second.counts)
    if unfit is not None:
        return Equality(None, unfit)
    parts = [histogram_of(np.add.reduceat(e.counts, groups, axis=1)) for e in (first, second)]
    difference = (parts[0].mass - parts[1].mass)[:-1]
    covariance = (parts[0].covariance + parts[1].covariance)[:-1, :-1]
    # The ensemble with fewer chains may carry nearly all of the covariance: its degrees of freedom are the safe ones.
    return _t_squared(covariance, difference, chains - 1)


def _unfit(groups: Num[np.ndarray, " groups"], *samples: Num[np.ndarray, "_ bins"]) -> str | None:
    """Why these chains carry too little information for a p-value; None if they do not."""
    chains = min(n.shape[0] for n in samples)
    if groups.size < 2 and CHAINS_PER_BIN / chains > 1 / 4:
        return f"{chains} chains are too few for a p-value: take at least {4 * CHAINS_PER_BIN}"
    frozen = [frozen_chains(n) for n in samples]
    if any(frozen):
        most = int(np.argmax(frozen))
        whose = " that these are held against" if most else ""
        return f"{frozen[most]} of {samples[most].shape[0]} chains{whose} have not left one bin in all of the run"
    if groups.size < 2:
        return f"the bins that a fifth of the {chains} chains fill are fewer than two: chains stay long where they are"
    return None


def frozen_chains(counts: Num[np.ndarray, "chain bins"]) -> int:
    """Chains with 50 draws or more, all in one bin, where the typical chain fills five bins at least.

    >>> moving = np.full((9, 8), 10)
    >>> frozen_chains(moving), frozen_chains(np.concatenate([moving, [[80, 0, 0, 0, 0, 0, 0, 0]]]))
    (0, 1)
    """
    return int(_frozen(counts).sum())


def _frozen(counts: Num[np.ndarray, "chain bins"]) -> np.ndarray:
    filled, draws = (np.asarray(counts) > 0).sum(axis=1), np.asarray(counts).sum(axis=1)
    sampled = draws >= FROZEN_DRAWS
    if not sampled.any() or np.median(filled[sampled]) < SEVERAL_BINS:
        return np.zeros(len(filled), bool)
    return sampled & (filled == 1)


def _moving(counts: Num[np.ndarray, "chain bins"]) -> Num[np.ndarray, "moving bins"]:
    """The counts without those of frozen chains, where these are so few that the margin does not feel them."""
    frozen = _frozen(counts)
    return counts[~frozen] if 0 < frozen.sum() <= FROZEN_SHARE * len(frozen) else counts


def merged_bins(mass: Float[np.ndarray, " bins"], *samples: Float[np.ndarray, "_ bins"]) -> Num[np.ndarray, " groups"]:
    """First indices of groups of neighbouring bins large enough, in every sample, for a normal approximation.

    A group expects 25 draws, holds a share of the mass of 8 over the number of chains, and is filled by a fifth of
    the chains, (Σ_i n_ib)² / Σ_i n_ib² summed over its bins. A remainder joins the last group.
    """
    draws, chains = min(n.sum() for n in samples), min(n.shape[0] for n in samples)
    least = max(MIN_EXPECTED / max(draws, 1.0), CHAINS_PER_BIN / chains)
    squares = [np.maximum((n**2).sum(axis=0), 1e-300) for n in samples]
    visitors = np.min([n.sum(axis=0) ** 2 / square for n, square in zip(samples, squares, strict=True)], axis=0)
    needed = MIN_VISITORS * chains
    starts, group_mass, group_visitors = [0], 0.0, 0.0
    for b in range(mass.size):
        if group_mass >= least and group_visitors >= needed:
            starts.append(b)
            group_mass = group_visitors = 0.0
        group_mass, group_visitors = group_mass + mass[b], group_visitors + visitors[b]
    if (group_mass < least or group_visitors < needed) and len(starts) > 1:
        starts.pop()
    return np.array(starts)


def p_value_of_share(inside: Num[np.ndarray, " chain"], total: Num[np.ndarray, " chain"], share: float) -> float | None:
    """Probability of a share of the draws this far from a law's own, two-sided, from the scatter of the chains.

    The error is that of the ratio Σ inside / Σ total over chains, scaled to what the law's own share would give where
    that is larger: where few draws are expected on one side, seeing too few of them makes the scatter small too. Chains
    of which none ever leaves the window have no scatter, and count as one draw each.

    >>> p_value_of_share(np.full(64, 10), np.full(64, 10), 0.5) < 1e-9
    True
    """
    inside, total = np.asarray(inside, np.float64), np.asarray(total, np.float64)
    if total.size < 2 or total.sum() == 0:
        return None
    observed, variance = ratio(inside, total)
    if variance == 0.0 or observed in (0.0, 1.0):
        variance = share * (1.0 - share) / total.size
    else:
        variance *= max(1.0, share * (1.0 - share) / (observed * (1.0 - observed)))
    return p_value_of_difference(observed - share, math.sqrt(variance), float(total.size - 1))


def p_value_of_difference(difference: float, se: float, dof: float = math.inf) -> float | None:
    """Two-sided p-value of a difference with a standard error, by Student's t; None without an error.

    >>> round(p_value_of_difference(1.96, 1.0), 3)
    0.05
    """
    if not se > 0:
        return None
    return float(2.0 * scipy.stats.t.sf(abs(difference) / se, dof))


def groups_within(
    masses: Mapping[str, list[Float[np.ndarray, " bins"]]], margin: float
) -> list[tuple[list[str], float]]:
    """Groups of two laws or more that all lie within the margin of each other, and the largest distance in each.

    The distance of two laws is their largest total variation over the scalars. Each law joins the first group all of
    whose members are that near; no draw enters.

    >>> half, tilted = [np.array([0.5, 0.5])], [np.array([0.505, 0.495])]
    >>> groups = groups_within({"a": half, "b": tilted, "c": [np.array([0.6, 0.4])]}, 0.01)
    >>> [(names, round(distance, 4)) for names, distance in groups]
    [(['a', 'b'], 0.005)]
    """

    def apart(first: str, second: str) -> float:
        return max(total_variation(p, q) for p, q in zip(masses[first], masses[second], strict=True))

    groups: list[list[str]] = []
    for name in masses:
        near = (group for group in groups if all(apart(name, member) <= margin for member in group))
        group = next(near, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    several = [group for group in groups if len(group) > 1]
    return [(group, max(apart(a, b) for a in group for b in group)) for group in several]


def sampling_noise(covariance: Float[np.ndarray, "bins bins"], level: float = LEVEL) -> SamplingNoise:
    """Mean and upper quantile of TV(noise), and the largest standard deviation of a signed half-sum of the noise."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    sample = np.random.default_rng(0).standard_normal((NOISE_DRAWS, values.size)) @ root.T
    return SamplingNoise(
        floor=0.5 * float(np.sqrt(2 / np.pi) * np.sqrt(np.diag(covariance)).sum()),
        quantile=float(np.quantile(0.5 * np.abs(sample).sum(axis=1), level)),
        worst_deviation=_largest_signed_deviation(covariance, vectors),
    )


def _compare(
    difference: np.ndarray, noise: SamplingNoise, margin: float, equality: Equality, level: float
) -> Comparison:
    p_value = equality.p_value
    tv = 0.5 * float(np.abs(difference).sum())
    # tv = ½ s·d for the true signs s, and ½ s·d̂ ≤ TV(d̂) for any signs: so the true distance exceeds the measured one by
    # no more than the normal noise of one signed sum, whatever s. The worst s gives a bound that holds for all.
    upper = tv + float(scipy.stats.norm.ppf(level)) * noise.worst_deviation
    # The triangle inequality: TV(d) ≥ TV(d̂) − TV(noise).
    lower = max(0.0, tv - noise.quantile)
    if upper <= margin:
        verdict: Verdict = "agrees"
    elif lower > margin and p_value is not None and p_value < 1 - level:
        # The p-value too: in a sparse sample empty bins have no measured noise, and the lower bound alone would err.
        verdict = "differs"
    else:
        verdict = "undecided"
    return Comparison(tv, noise.floor, lower, upper, p_value, verdict, equality.why)


def _largest_signed_deviation(covariance: np.ndarray, vectors: np.ndarray) -> float:
    """max over s ∈ {−1, 1}^B of sd(½ s·noise), by coordinate ascent from the signs of each leading eigenvector."""
    best, diagonal = 0.0, np.diag(covariance)
    for vector in vectors.T[-6:]:
        signs = np.where(vector >= 0, 1.0, -1.0)
        field = covariance @ signs - diagonal * signs
        for _ in range(20 * signs.size):
            b = int(np.argmin(signs * field))
            if signs[b] * field[b] >= 0:
                break
            signs[b] = -signs[b]
            field += 2 * signs[b] * covariance[:, b]
            field[b] -= 2 * signs[b] * diagonal[b]
        best = max(best, float(signs @ covariance @ signs))
    return 0.5 * float(np.sqrt(best))


def _hotelling(vectors: np.ndarray) -> Equality:
    """p-value of Hotelling's one-sample T² for a zero mean; rows are independent."""
    n, k = vectors.shape
    return _t_squared(np.cov(vectors, rowvar=False).reshape(k, k) / n, vectors.mean(axis=0), n - 1)


def _t_squared(covariance: np.ndarray, vector: np.ndarray, dof: int) -> Equality:
    """p-value of T² = vᵀ C⁻¹ v, C the estimated covariance of v with `dof` degrees of freedom.

    Directions without scatter (counts that add up to the same number in every chain) are left out if v has no part
    along them, as a linear constraint has it; if it has one, the chains repeat each other and say nothing of its error.
    """
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    along = vectors.T @ (vector / scale)
    known = values > SINGULAR * max(float(values[-1]), 0.0)
    k = int(known.sum())
    beyond = np.linalg.norm(along[~known])
    if k == 0 or beyond > np.sqrt(SINGULAR) * (1.0 + np.linalg.norm(along[known])):
        return Equality(None, "chains repeat each other: the scatter between them is singular")
    t2 = float(np.sum(along[known] ** 2 / values[known]))
    return Equality(float(scipy.stats.f.sf(t2 * (dof - k + 1) / (k * dof), k, dof - k + 1)))


def p_text(value: float | None) -> str:
    """A p-value in words; a dash where there is none.

    >>> p_text(0.0), p_text(0.0123), p_text(None)
    ('<1e-15', '0.012', '–')
    """
    if value is None:
        return "–"
    return "<1e-15" if value < 1e-15 else f"{value:.2g}"


def p_is(value: float | None) -> str:
    """The same in a sentence.

    >>> p_is(0.0), p_is(0.0123), p_is(None)
    ('p < 1e-15', 'p = 0.012', 'no p-value')
    """
    if value is None:
        return "no p-value"
    text = p_text(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
