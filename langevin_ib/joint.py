"""A joint test of all invariants at once: energy distance between two sets of chains, whole chains permuted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class JointTest(NamedTuple):
    """Energy distance between two sets of chains, its permutation p-value, and the chains taken of each."""

    energy_distance: float
    p_value: float
    chains: int


def energy_test(
    first: list[Float[np.ndarray, "_ feature"]],
    second: list[Float[np.ndarray, "_ feature"]],
    rng: np.random.Generator,
    permutations: int = 999,
) -> JointTest:
    """Are two sets of chains draws of one joint law? Energy distance, with whole chains permuted between the sets.

    E = 2 E|X − Y| − E|X − X'| − E|Y − Y'|, zero only for equal laws, estimated over draws of different chains. Features
    are scaled by their pooled standard deviation first. Chains may bring different numbers of draws (those inside a
    window), as long as both sets have the same numbers of them: each draw weighs the same. Under the null the chains
    are then exchangeable if both sets are as autocorrelated; give draws far enough apart.

    Source: Székely & Rizzo, J. Stat. Plan. Infer. 143, 1249–1272 (2013); Phipson & Smyth, Stat. Appl. Genet. Mol. Biol.
    9(1), 39 (2010) for the p-value.
    """
    chains = min(len(first), len(second))
    pooled = [*first[:chains], *second[:chains]]
    scale = np.concatenate(pooled).std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    distance, size = _chain_distances([chain / scale for chain in pooled])
    label = np.repeat([1.0, 0.0], chains)
    shuffled = np.stack([label, *(rng.permutation(label) for _ in range(permutations))])
    one, two = shuffled, 1.0 - shuffled

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> np.ndarray:
        """Mean distance between draws of the chains in a and in b, of different chains, for each labelling."""
        pairs = (a @ size) * (b @ size) - ((a * b) @ size**2 if same else 0.0)
        return ((a @ distance) * b).sum(axis=1) / pairs

    statistic = 2 * mean(one, two, False) - mean(one, one, True) - mean(two, two, True)
    p_value = float(np.mean(statistic >= statistic[0]))  # the observed labelling is among them
    return JointTest(float(statistic[0]), p_value, chains)


def _chain_distances(chains: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Summed Euclidean distances between the draws of every two chains, zero on the diagonal; and draws per chain."""
    size = np.array([len(chain) for chain in chains])
    flat, owner = np.concatenate(chains), np.repeat(np.arange(len(chains)), size)
    found = np.zeros((len(chains), len(chains)))
    for i, chain in enumerate(chains):
        gaps = np.sqrt(((chain[:, None] - flat[None]) ** 2).sum(axis=-1)).sum(axis=0)
        found[i] = np.bincount(owner, weights=gaps, minlength=len(chains))
    np.fill_diagonal(found, 0.0)
    return found, size.astype(np.float64)
