"""The test of dependence: level with weights and autocorrelation, and power; draws that stand for a weighted law."""

import numpy as np

from langevin_ib.config.run import RunConfig
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.runs.doubts import joint_doubts
from langevin_ib.runs.verdicts import Joint, LawResult
from langevin_ib.statistics import energy
from langevin_ib.statistics.compare import Comparison
from langevin_ib.statistics.energy import Dependence, JointTest
from langevin_ib.statistics.records import Absent


def chains(rng, count, draws, correlation=0.0, stay=0.0):
    """Chains of normal pairs that stay where they are with a probability."""
    x = rng.standard_normal((count, draws, 2))
    for k in range(1, draws):
        x[:, k] = np.where(rng.random((count, 1)) < stay, x[:, k - 1], x[:, k])
    return np.stack([x[..., 0], correlation * x[..., 0] + np.sqrt(1 - correlation**2) * x[..., 1]], axis=-1)


def p_value(first, second, weight=None):
    ones = np.ones(first.shape[:2])
    return energy.dependence_test(first, ones, second, np.ones(second.shape[:2]) if weight is None else weight).p_value


def test_dependence_is_level_for_sticky_chains_of_different_numbers():
    """Of 400 p-values 20 ± 4.4 are below 0.05: at most 38 and at least 4, each wrong in 1e-4 of keys."""
    rng = np.random.default_rng(0)
    p = [p_value(chains(rng, 64, 8, 0.3, 0.5), chains(rng, 128, 12, 0.3)) for _ in range(400)]
    assert 4 <= np.sum(np.array(p) < 0.05) <= 38


def test_dependence_has_power_where_the_energy_distance_has_little():
    """256 chains × 8 draws, as a run has at least; `sims/bench/joint.py` has the powers."""
    rng = np.random.default_rng(1)
    p = [p_value(chains(rng, 256, 8, 0.3), chains(rng, 256, 8)) for _ in range(20)]
    assert max(p) < 1e-4


def test_weights_make_one_law_of_another():
    """Draws with correlation 0 weighted as those with 0.3: no difference; unweighted: one."""
    rng = np.random.default_rng(2)
    base, other = chains(rng, 256, 100), chains(rng, 256, 16, 0.3)
    x, y = base[..., 0], base[..., 1]
    weight = np.exp((0.3 * x * y - 0.045 * (x**2 + y**2)) / 0.91)
    assert p_value(other, base, weight) > 1e-4
    assert p_value(other, base) < 1e-6
    few = np.concatenate(energy.resampled(base, weight, 8, rng))
    assert 1500 < len(few) <= 2048
    assert abs(np.corrcoef(few.T)[0, 1] - 0.3) < 5 / len(few) ** 0.5


def test_equal_weights_leave_draws_at_evenly_spaced_times():
    values = np.arange(20.0).reshape(2, 10, 1)
    kept = energy.resampled(values, np.ones((2, 10)), 4, np.random.default_rng(0))
    assert [chain.ravel().tolist() for chain in kept] == [[0.0, 3.0, 6.0, 9.0], [10.0, 13.0, 16.0, 19.0]]


def test_the_energy_test_can_be_sure():
    rng = np.random.default_rng(3)
    found = energy.energy_test(list(chains(rng, 64, 4)), list(chains(rng, 64, 4) + 1.0), rng)
    assert found.p_value == 1 / (1 + energy.MORE_PERMUTATIONS)


MARGIN = 0.01


def marginals(verdict):
    """The exact law beside two scalars, with one verdict for both."""
    comparison = Comparison(0.001, 0.001, 0.0, 0.005, 0.5, verdict)
    law = LawResult(LawAbout("exact", "dσ_S", "", "own"), np.ones(1), np.zeros(1), None, 1.0, comparison, 0.5)
    return {"a": {"exact": law}, "b": {"exact": law}}


def joint(p_value=0.5, law="exact", **change):
    pair = {"pair": (0, 1), "first": 0.3, "second": 0.0, "se": 0.02, "p_value": 1e-9}
    return Joint(law, JointTest(0.1, p_value, 64), Dependence(**(pair | change)), ("a", "b", "ℓ/T"))


def test_a_joint_law_that_is_not_exact_is_a_doubt_where_its_marginals_are():
    agrees, differs = marginals("agrees"), marginals("differs")
    assert "a and b depend on each other" in joint_doubts(agrees, joint(), MARGIN)[0].text
    assert "together" in joint_doubts(agrees, joint(5e-5), MARGIN)[1].text
    assert joint_doubts(agrees, joint(first=0.03, se=0.002), MARGIN) == []  # within the margin
    assert joint_doubts(agrees, joint(law="slice"), MARGIN) == []  # a limit
    assert joint_doubts(differs, joint(), MARGIN) == []  # said already
    assert joint_doubts(agrees, None, MARGIN) == joint_doubts(agrees, Absent("exact", "few chains"), MARGIN) == []


def test_the_number_of_the_laws_draws_leaves_other_configurations_as_they_were():
    assert "law_draws" not in RunConfig(model="relu").to_dict()
    assert RunConfig(model="relu", law_draws=50_000).to_dict()["law_draws"] == 50_000
    assert RunConfig(model="relu", law_draws=50_000).digest() != RunConfig(model="relu").digest()
