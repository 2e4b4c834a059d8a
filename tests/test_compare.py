"""The judge itself: calibrated under the null, powerful against a wrong law, with bounds that cover.

Every test draws from a known law with a fixed key. False-positive rates are those of a binomial over the replicates and
are stated where they are used.
"""

import numpy as np
import pytest

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.laws import Reduction, bin_masses, family, formula
from langevin_ib.laws.base import bin_nodes
from langevin_ib.models import uv
from langevin_ib.statistics import coefficient, compare, energy

REPLICATES = 600
EDGES = np.linspace(0.2265, 2.265, 41)
REDUCTION = Reduction(uv(), stiff(100.0), 0.1)
SLICE = bin_masses(family(REDUCTION, 1.0, "slice"), EDGES)
PRINTED = bin_masses(REDUCTION.law(formula(REDUCTION, "printed")), EDGES)


def independent_chains(rng, chains=400, draws=120, mass=SLICE):
    """Every draw independent; the number of draws in the window varies between chains, as it does in a run."""
    return rng.multinomial(rng.poisson(draws, chains), mass)


def sticky_chains(rng, chains=400, draws=120, mass=SLICE, stay=0.8):
    """Stationary Markov chains that keep their bin with probability 0.8: autocorrelation time 9 draws."""
    state = rng.choice(mass.size, size=chains, p=mass)
    counts = np.zeros((chains, mass.size), int)
    for _ in range(draws):
        move = rng.random(chains) > stay
        state = np.where(move, rng.choice(mass.size, size=chains, p=mass), state)
        counts[np.arange(chains), state] += 1
    return counts


def null_p_values(maker, replicates=REPLICATES):
    rng = np.random.default_rng(7)
    return np.array([compare.p_value_of_law(maker(rng), SLICE) for _ in range(replicates)])


@pytest.mark.full
@pytest.mark.parametrize("maker", [independent_chains, sticky_chains])
def test_p_values_are_uniform_under_the_null(maker):
    """Of a test of level exactly 0.05, the share below 0.05 leaves 0.03–0.07 in 2.5% of keys (600 replicates)."""
    p = null_p_values(maker)
    assert 0.03 <= np.mean(p < 0.05) <= 0.07
    assert 0.42 <= np.mean(p < 0.5) <= 0.58


def test_a_judge_that_takes_correlated_draws_as_independent_would_fail_the_same_test():
    """Negative control: Pearson's chi-squared on the pooled counts of sticky chains rejects the true law."""
    from scipy import stats  # noqa: PLC0415

    rng = np.random.default_rng(7)
    pooled = [sticky_chains(rng).sum(axis=0) for _ in range(40)]
    p = [stats.chisquare(counts, counts.sum() * SLICE).pvalue for counts in pooled]
    assert np.mean(np.array(p) < 0.05) > 0.9


@pytest.mark.parametrize("maker", [independent_chains, sticky_chains])
def test_the_printed_law_is_rejected_in_every_replicate(maker):
    rng = np.random.default_rng(8)
    assert max(compare.p_value_of_law(maker(rng), PRINTED) for _ in range(50)) < 1e-6


@pytest.mark.full
def test_two_samples_of_one_law_give_uniform_p_values_and_of_two_laws_do_not():
    rng = np.random.default_rng(9)

    def p_value(mass):
        first = compare.histogram_of(sticky_chains(rng, draws=60))
        second = compare.histogram_of(independent_chains(rng, chains=300, draws=400, mass=mass))
        return compare.p_value_of_samples(first, second)

    same = np.array([p_value(SLICE) for _ in range(400)])
    assert 0.025 <= np.mean(same < 0.05) <= 0.08  # leaves this range in 1% of keys
    assert max(p_value(PRINTED) for _ in range(20)) < 1e-4


@pytest.mark.full
def test_drift_between_halves_is_found_and_not_invented():
    rng = np.random.default_rng(10)
    still = np.array([compare.p_value_of_drift(independent_chains(rng), independent_chains(rng)) for _ in range(400)])
    assert 0.025 <= np.mean(still < 0.05) <= 0.08
    assert compare.p_value_of_drift(independent_chains(rng), independent_chains(rng, mass=PRINTED)) < 1e-6


@pytest.mark.full
def test_change_between_unequal_stretches_is_found_and_not_invented():
    """At level 0.01 more than 12 of 400 null replicates come up in 3e-4 of keys."""
    rng = np.random.default_rng(8)
    still = [compare.p_value_of_change(independent_chains(rng), independent_chains(rng, draws=40)) for _ in range(400)]
    assert sum(p < 0.01 for p in still) <= 12
    assert compare.p_value_of_change(independent_chains(rng), independent_chains(rng, draws=40, mass=PRINTED)) < 1e-6
    assert compare.p_value_of_change(independent_chains(rng), np.zeros((400, SLICE.size))) is None


@pytest.mark.full
@pytest.mark.parametrize("true", [SLICE, PRINTED])
def test_the_bounds_of_the_distance_cover_it(true):
    """Each one-sided bound may fail in 5% of replicates; over 400 a true 5% exceeds 8% in 0.6% of keys."""
    rng = np.random.default_rng(11)
    distance = compare.total_variation(true, SLICE)
    found = [
        compare.against_law(compare.histogram_of(independent_chains(rng, chains=200, mass=true)), SLICE, 0.01)
        for _ in range(400)
    ]
    assert np.mean([f.tv_upper95 < distance for f in found]) < 0.08
    assert np.mean([f.tv_lower95 > distance for f in found]) < 0.08
    floors = np.mean([f.tv_floor for f in found])
    if true is SLICE:
        assert floors == pytest.approx(np.mean([f.tv for f in found]), rel=0.05)


@pytest.mark.full
@pytest.mark.parametrize(("chains", "draws", "stay"), [(16, 1, 0.0), (64, 1, 0.0), (64, 100, 0.98), (64, 400, 0.995)])
def test_a_true_law_is_not_said_to_differ_by_a_sparse_or_sticky_sample(chains, draws, stay):
    """The verdict may err in 5% of replicates; over 200 a true 5% exceeds 10% in 0.1% of keys."""
    rng = np.random.default_rng(15)
    found = [
        compare.against_law(compare.histogram_of(sticky_chains(rng, chains, draws, SLICE, stay)), SLICE, 0.01)
        for _ in range(200)
    ]
    assert np.mean([f.verdict == "differs" for f in found]) < 0.10
    assert not any(f.verdict == "agrees" for f in found)


def test_the_verdict_is_by_the_margin_and_not_by_significance():
    rng = np.random.default_rng(12)
    biased = SLICE * (1 + 0.008 * np.where(np.arange(40) % 2, 1, -1))  # TV 0.004
    biased /= biased.sum()
    large = compare.against_law(compare.histogram_of(independent_chains(rng, 4000, 5000, biased)), SLICE, 0.01)
    assert large.p_value < 1e-6
    assert large.verdict == "agrees"
    small = compare.against_law(compare.histogram_of(independent_chains(rng, 100, 20, SLICE)), SLICE, 0.01)
    assert small.verdict == "undecided"
    wrong = compare.against_law(compare.histogram_of(independent_chains(rng, mass=PRINTED)), SLICE, 0.01)
    assert wrong.verdict == "differs"


def test_too_few_chains_give_no_p_value():
    rng = np.random.default_rng(13)
    assert compare.p_value_of_law(independent_chains(rng, chains=10), SLICE) is None


@pytest.mark.full(only=["0.0"])
@pytest.mark.parametrize("c", [1.0, 0.0, -1.0])
def test_c_is_recovered_with_an_interval_that_covers_for_sticky_chains(c):
    """Coverage of a 95% interval over 300 replicates lies outside 0.915–0.98 in 1% of keys."""
    nodes = bin_nodes(EDGES, (False, False), 1)
    terms = REDUCTION.terms(nodes.z.ravel())
    log_base = nodes.log_weight.ravel() - terms.energy + terms.log_volume
    statistic = -0.5 * terms.log_det
    weight = np.exp(log_base + c * statistic)
    weight /= weight.sum()
    rng = np.random.default_rng(14)
    covered, errors = [], []
    for _ in range(300):
        values = statistic[rng.choice(weight.size, size=(200, 30), p=weight)]
        repeats = rng.integers(1, 20, size=values.shape)  # each value held for a while: correlated draws
        found = coefficient.estimate_correction((values * repeats).sum(1), repeats.sum(1), log_base, statistic)
        covered.append(found.ci95[0] <= c <= found.ci95[1])
        errors.append((found.c - c) / found.se)
    assert 0.915 <= np.mean(covered) <= 0.98
    assert abs(np.mean(errors)) < 0.25


def test_an_impossible_mean_has_no_c():
    statistic = np.linspace(0, 1, 50)
    with pytest.raises(ValueError, match="no c in"):
        coefficient.solve_family(2.0, np.zeros(50), statistic)


# A law of many coordinates: the normaliser of p_c is not known, draws of p_1 are.

GRID = np.linspace(*EDGES[[0, -1]], 4000)


def draws_of(rng, c, chains, draws):
    """Independent draws of p_c ∝ e^{−ℓ/T} z^{−(1 + c)/2} in the window, and t = −½ log 2z."""
    log_p = -((GRID - 1.0) ** 2) / 0.2 - 0.5 * (1 + c) * np.log(GRID)
    p = np.exp(log_p - log_p.max())
    return -0.5 * np.log(2.0 * rng.choice(GRID, size=(chains, draws), p=p / p.sum()))


def reweighted(rng, c, base=1.0):
    t, reference = draws_of(rng, c, 200, 50), draws_of(rng, base, 200, 50)
    return coefficient.estimate_correction_by_reweighting(t.sum(axis=1), np.full(200, 50), reference, -base * reference)


@pytest.mark.full
@pytest.mark.parametrize("c", [1.0, 0.0, -1.0])
def test_c_by_reweighting_has_an_interval_that_covers(c):
    """A true 95% leaves 90–99% in 0.3% of keys (200 replicates); the neighbouring c is never in the interval."""
    rng = np.random.default_rng(13)
    found = [reweighted(rng, c) for _ in range(200)]
    assert 0.90 <= np.mean([f.ci95[0] <= c <= f.ci95[1] for f in found]) <= 0.99
    assert not any(f.ci95[0] <= c + 1 <= f.ci95[1] for f in found)
    assert np.std([f.c for f in found]) == pytest.approx(np.mean([f.se for f in found]), rel=0.2)


def test_c_is_refused_where_the_weights_degenerate():
    rng = np.random.default_rng(14)
    with pytest.raises(ValueError, match=r"the weights rest on .* below 5%|lies outside"):
        reweighted(rng, -40.0)


@pytest.mark.full
def test_the_joint_test_is_level_under_the_null_also_for_sticky_chains_of_unequal_size():
    """Share of p ≤ 0.05 in 200 replicates: a true 5% exceeds 10% in 0.2% of keys."""
    rng = np.random.default_rng(15)

    def chains(shift=0.0, stay=0.5):
        centre = rng.standard_normal((40, 1, 2))
        draws = stay * centre + np.sqrt(1 - stay**2) * rng.standard_normal((40, 6, 2)) + shift
        return [chain[: rng.integers(1, 7)] for chain in draws]

    p = np.array([energy.energy_test(chains(), chains(stay=0.2), rng, 199).p_value for _ in range(200)])
    assert np.mean(p <= 0.05) <= 0.10
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.12)
    assert max(energy.energy_test(chains(), chains(shift=1.0), rng, 199).p_value for _ in range(20)) <= 0.01


def test_the_joint_test_sees_a_dependence_that_no_margin_shows():
    rng = np.random.default_rng(16)
    x = rng.standard_normal((60, 8, 2))
    y = rng.standard_normal((60, 8, 2))
    y[..., 1] = 0.9 * y[..., 0] + np.sqrt(1 - 0.81) * y[..., 1]
    assert energy.energy_test(list(x), list(y), rng, 199).p_value <= 0.01
