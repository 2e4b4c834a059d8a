"""Draws of a law with a hole near an edge are told from those without one."""

import numpy as np

from langevin_ib.runs.coverage import EXACT_FACTOR, tails

FACTS = {"factor": EXACT_FACTOR, "law_ess": 1e4, "other_ess": 5e3}
LEVEL = 1e-4 / 12


def chains(rng, count, draws, keep=None):
    """Chains of s^{1/2} e^{−s} ds that stay where they are for four draws, as correlated ones do; where `keep` says."""
    x = rng.gamma(1.5, 1.0, (count, draws // 4))
    while keep is not None and not keep(x).all():
        x = np.where(keep(x), x, rng.gamma(1.5, 1.0, x.shape))
    return np.repeat(x, 4, axis=1)


def p_values(law, weight, other, **changes):
    found = tails(law, weight, other, np.ones(other.shape, bool), **FACTS | changes)
    return {tail.side: (tail.law_misses, tail.other_misses) for tail in found}


def test_draws_of_the_same_law_raise_no_doubt():
    """40 pairs × 4 tests at 8e-6: a right test fails here once in 800 keys, if its level is what it says."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        found = p_values(chains(rng, 128, 400), np.ones((128, 400)), chains(rng, 256, 200))
        assert min(min(p) for p in found.values()) > LEVEL


def test_a_hole_in_the_laws_draws_is_seen_where_it_is():
    """1.2% of the law lie below 0.067; without them its quantile of 0.1% lies where others have 1.3%."""
    rng = np.random.default_rng(1)
    found = p_values(chains(rng, 128, 400, lambda x: x > 0.067), np.ones((128, 400)), chains(rng, 256, 200))
    assert found["below"][0] < LEVEL
    assert found["above"][0] > LEVEL
    found = p_values(chains(rng, 128, 400, lambda x: x < 5.0), np.ones((128, 400)), chains(rng, 256, 200))
    assert found["above"][0] < LEVEL


def test_chains_that_do_not_reach_the_edge_are_seen_too():
    rng = np.random.default_rng(2)
    law = chains(rng, 512, 2000)
    stuck = chains(rng, 256, 2000, lambda x: x > 0.067)
    found = tails(law, np.ones(law.shape), stuck, np.ones(stuck.shape, bool), **FACTS | {"other_ess": 1e5})
    assert found[0].other_misses < LEVEL
    # A run worth a hundred draws can say nothing of a thousandth.
    found = tails(law, np.ones(law.shape), stuck, np.ones(stuck.shape, bool), **FACTS | {"other_ess": 100.0})
    assert found[0].other_misses > LEVEL


def test_weights_are_those_of_the_law_that_is_compared():
    """Draws of e^{−s/2} ds weighted as s^{1/2} e^{−s} ds raise no doubt; unweighted they are another law."""
    rng = np.random.default_rng(3)
    base = rng.exponential(2.0, (512, 800))
    other = chains(rng, 256, 400)
    assert min(min(p) for p in p_values(base, np.sqrt(base) * np.exp(-0.5 * base), other).values()) > LEVEL
    assert p_values(base, np.ones(base.shape), other, other_ess=1e5)["above"][1] < LEVEL
