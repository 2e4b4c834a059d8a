"""Joint tests of all invariants at once: of their dependence, and by the energy distance between two sets of chains.

Power at level 5%, of 256 chains × 8 draws of three normal variables, two of which are correlated; 400 replicates, of
the energy distance 50 (`sims/bench/joint.py`):

| correlation            | 0     | 0.1   | 0.2   | 0.3   |
|------------------------|-------|-------|-------|-------|
| energy distance        | 0.02  | 0.08  | –     | –     |
| dependence             | 0.02  | 0.81  | 1.00  | 1.00  |
| dependence, AR(1) 0.5  | 0.07  | 0.58  | 1.00  | 1.00  |
| dependence, 64 draws   | 0.06  | 1.00  | 1.00  | 1.00  |

The test of dependence does not see a shift or a scale (0.04, 0.05), which are the marginals'; the energy distance does.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from langevin_ib.statistics.weights import ratio

PERMUTATIONS, MORE_PERMUTATIONS = 999, 19_999
TRUNCATED = 0.999
BLOCK = 1000  # permutations at a time
LEAST_RANK = 1e-5  # beyond this quantile scores do not grow: no single draw decides


class Dependence(NamedTuple):
    """The pair of features whose dependence differs most.

    Attributes:
        pair: which two.
        first, second: mean product of their normal scores in either sample: the correlation, if they are normal.
        se: standard error of the difference.
        p_value: of equality for all pairs, each by a t-test of chains, with Bonferroni's factor.
    """

    pair: tuple[int, int]
    first: float
    second: float
    se: float
    p_value: float


def dependence_test(
    first: Float[np.ndarray, "c1 d1 feature"],
    first_weight: Float[np.ndarray, "c1 d1"],
    second: Float[np.ndarray, "c2 d2 feature"],
    second_weight: Float[np.ndarray, "c2 d2"],
) -> Dependence:
    """Do two features depend on each other alike in both samples? Mean products of normal scores, chains as the unit.

    Scores are those of the ranks in the second sample, z = Φ⁻¹(F(x)): dependence is tested apart from marginals, and
    no tail outweighs the rest. Means are Σ w z_i z_j / Σ w, their variances from the scatter of chains, so draws may be
    autocorrelated and weighted; chains need not bring as many draws as each other.

    Source: van der Waerden's scores, Hájek & Šidák, Theory of Rank Tests, 1967, section III.6 for the correlation.
    """
    scored = [_scores(x, second, second_weight) for x in (first, second)]
    pairs = list(combinations(range(first.shape[-1]), 2))
    tested = []
    for i, j in pairs:
        (mean, variance), (other, other_variance) = (
            _weighted_mean(z[..., i] * z[..., j], w) for z, w in zip(scored, (first_weight, second_weight), strict=True)
        )
        se = float(np.sqrt(variance + other_variance))
        dof = min(np.count_nonzero(w.sum(axis=1)) for w in (first_weight, second_weight)) - 1
        p = float(2 * scipy.stats.t.sf(abs(mean - other) / se, dof)) if se > 0 else 1.0
        tested.append(Dependence((i, j), mean, other, se, min(1.0, p * len(pairs))))
    return min(tested, key=lambda dependence: dependence.p_value)


def _scores(x: np.ndarray, base: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Normal scores of each feature by the weighted ranks of `base`."""
    scores = np.empty(x.shape)
    flat = weight.ravel()
    for i in range(x.shape[-1]):
        values = base[..., i].ravel()
        order = np.argsort(values)
        mass = flat[order]
        rank = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
        scores[..., i] = scipy.stats.norm.ppf(
            np.clip(np.interp(x[..., i], values[order], rank), LEAST_RANK, 1 - LEAST_RANK)
        )
    return scores


def _weighted_mean(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Σ w v / Σ w and its variance, from the residuals of chains (delta method)."""
    # A draw that does not count may lie where a feature is not defined.
    total, size = np.where(weight > 0, weight * values, 0.0).sum(axis=1), weight.sum(axis=1)
    return ratio(total, size, int(np.count_nonzero(size)))


class JointTest(NamedTuple):
    """Energy distance between two sets of chains, its permutation p-value, and the chains taken of each."""

    energy_distance: float
    p_value: float
    chains: int


def energy_test(
    first: list[Float[np.ndarray, "_ feature"]],
    second: list[Float[np.ndarray, "_ feature"]],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> JointTest:
    """Are two sets of chains draws of one joint law? Energy distance, with whole chains permuted between the sets.

    E = 2 E|X − Y| − E|X − X'| − E|Y − Y'|, zero only for equal laws, estimated over draws of different chains. Features
    are scaled by their pooled standard deviation first. Chains may bring different numbers of draws (those inside a
    window), as long as both sets have the same numbers of them: each draw weighs the same. Under the null the chains
    are then exchangeable if both sets are as autocorrelated; give draws far enough apart. Where none of 999
    permutations is as far, 19 999 in all decide, so that p can fall to 5e-5: no level is exceeded more often for that.

    Source: Székely & Rizzo, J. Stat. Plan. Infer. 143, 1249–1272 (2013); Phipson & Smyth, Stat. Appl. Genet. Mol. Biol.
    9(1), 39 (2010) for the p-value.
    """
    chains = min(len(first), len(second))
    pooled = [*first[:chains], *second[:chains]]
    scale = np.concatenate(pooled).std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    distance, size = _chain_distances([chain / scale for chain in pooled])
    label = np.repeat([1.0, 0.0], chains)

    def statistic(labelling: np.ndarray) -> np.ndarray:
        """E for each row, a labelling of the pooled chains."""
        others = 1.0 - labelling

        def mean(a: np.ndarray, b: np.ndarray, same: bool) -> np.ndarray:
            """Mean distance between draws of the chains in a and in b, of different chains."""
            pairs = (a @ size) * (b @ size) - ((a * b) @ size**2 if same else 0.0)
            return ((a @ distance) * b).sum(axis=1) / pairs

        return 2 * mean(labelling, others, False) - mean(labelling, labelling, True) - mean(others, others, True)

    observed = float(statistic(label[None])[0])

    def count_beyond(count: int) -> int:
        """How many of so many permutations are as far apart as what was observed."""
        blocks = [BLOCK] * (count // BLOCK) + [count % BLOCK]
        return sum(
            int(np.sum(statistic(np.stack([rng.permutation(label) for _ in range(n)])) >= observed))
            for n in blocks if n
        )  # fmt: skip

    beyond, tried = count_beyond(permutations), permutations
    if beyond == 0 and permutations == PERMUTATIONS:
        beyond, tried = count_beyond(MORE_PERMUTATIONS - permutations), MORE_PERMUTATIONS
    return JointTest(observed, (1 + beyond) / (1 + tried), chains)


def resampled(
    values: Float[np.ndarray, "chain draw feature"],
    weight: Float[np.ndarray, "chain draw"],
    most: int,
    rng: np.random.Generator,
) -> list[Float[np.ndarray, "_ feature"]]:
    """Draws of each chain that stand for the weighted law: accepted with probability w / max w, `most` of them at most.

    Evenly spaced among the accepted ones. So that a few draws do not decide on how many are left, weights above their
    99.9% quantile count as that. With equal weights, the draws at evenly spaced times.
    """
    kept = np.ones(weight.shape, bool)
    if np.ptp(weight) > 0:
        kept = rng.random(weight.shape) < weight / np.quantile(weight, TRUNCATED)
    places = [np.flatnonzero(chain) for chain in kept]
    return [
        chain[here[np.linspace(0, here.size - 1, min(most, here.size)).round().astype(int)]]
        for chain, here in zip(values, places, strict=True)
    ]


def _chain_distances(chains: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Summed Euclidean distances between the draws of every two chains, zero on the diagonal; and draws per chain."""
    size = np.array([len(chain) for chain in chains])
    flat, owner = np.concatenate(chains), np.repeat(np.arange(len(chains)), size)
    distances = np.zeros((len(chains), len(chains)))
    for i, chain in enumerate(chains):
        gaps = np.sqrt(((chain[:, None] - flat[None]) ** 2).sum(axis=-1)).sum(axis=0)
        distances[i] = np.bincount(owner, weights=gaps, minlength=len(chains))
    np.fill_diagonal(distances, 0.0)
    return distances, size.astype(np.float64)
