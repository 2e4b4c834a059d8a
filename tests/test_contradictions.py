"""Doubts where the numbers of a run do not fit each other; p-values, c and verdicts where there is nothing to tell."""

import dataclasses
import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.laws.base import Law
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.laws.support import share_in_window
from langevin_ib.models import Model, uv
from langevin_ib.output.report import _remedy, findings
from langevin_ib.runs.doubts import by_cause, contradictions
from langevin_ib.runs.judge import group_of, laws_alike
from langevin_ib.runs.plan import build_reduction, say_slice
from langevin_ib.runs.processes.langevin import prepare
from langevin_ib.runs.verdicts import Difference, LawResult, Mixing, Reference, StepCheck, WindowShare
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Sums

SMALL = {"chains": 1024, "steps": 20_000, "kappa": 20.0, "reference": "none"}
UNIFORM = np.full(20, 0.05)


def two_wells() -> Model:
    """uv with ℓ = 4((z − 1.5)² − 1)²: equal wells at z = 0.5 and 2.5, forty T apart; every start is in the first."""

    def init(key):
        u = jax.random.uniform(key, (), minval=0.9, maxval=1.1)
        return jnp.stack([u, 0.5 / u])

    return dataclasses.replace(
        uv(), name="wells", loss=lambda p: 4.0 * ((p[0] * p[1] - 1.5) ** 2 - 1.0) ** 2, init=init, training=None
    )


def translations() -> Model:
    """p ∈ R² under p ↦ p + t·(1, 1), with a quadratic loss of z = p₁ − p₂: log det G = log 2 everywhere."""
    return Model(
        name="translations",
        group="R, translations",
        group_dim=1,
        loss=lambda p: 0.5 * (p[0] - p[1] - 1.0) ** 2,
        act=lambda t, p: p + t,
        moment_map=lambda p: jnp.stack([p[0] + p[1]]),
        invariants=lambda p: {"z": p[0] - p[1]},
        section=lambda z: jnp.stack([0.5 * z["z"], -0.5 * z["z"]]),
        init=lambda key: jax.random.normal(key, (2,)),
    )


@pytest.fixture(scope="module")
def euler():
    """Small steps by the margin, large ones by c: Euler's c is off by several standard errors."""
    return langevin_ib.run(RunConfig(**SMALL, integrator="euler-maruyama", step_size=0.008, margin=0.05))


@pytest.fixture(scope="module")
def sound():
    """The same with the integrator of second order."""
    return langevin_ib.run(RunConfig(**SMALL, step_size=0.008, margin=0.05))


@pytest.mark.full
def test_a_c_that_is_not_the_exact_law_s_is_a_doubt_inside_the_margin_too(euler):
    exact = euler.summary["invariants"]["z"]["laws"]["exact"]
    assert exact["tv_upper95"] < 0.05
    assert exact["verdict"] == "undecided"
    assert any("c of the draws" in doubt and "exact law" in doubt for doubt in euler.summary["doubts"])
    assert not any("p = 0)" in doubt or "p = 0 " in doubt for doubt in euler.summary["doubts"])


@pytest.mark.full
def test_a_sound_run_of_the_same_size_has_no_doubt(sound):
    """Each comparison is wrong in 1e-4 of keys, and there are three here."""
    assert sound.summary["doubts"] == []
    assert sound.summary["invariants"]["z"]["laws"]["exact"]["verdict"] == "agrees"


@pytest.mark.full
def test_a_step_that_is_given_is_checked_too_and_one_that_is_not_is_said_to_be(sound):
    assert sound.summary["diagnostics"]["step_check"]["companion_step_size"] == 0.004
    unchecked = dataclasses.replace(sound, step_check=None)
    assert any("not checked" in line for line, _ in findings(unchecked))
    assert not any("not checked" in line for line, _ in findings(sound))


def comparison(p=0.5):
    return Comparison(0.001, 0.001, 0.0, 0.005, p, "undecided")


def row(c=1.0, p=0.5):
    return LawResult(LawAbout("exact", "dσ_S", "", "own"), UNIFORM, 0.0 * UNIFORM, None, c, comparison(p), 0.0)


def measured(c, se=0.01):
    return Coefficient(c, se, (c - 2 * se, c + 2 * se), 256)


def mala(c=1.0, p=0.5, against_exact=0.5):
    mixing = Mixing(1.0, 1e4, 1e4, (256, 512), 0, 0.57, None, 0.5)
    exact = {"z": comparison(against_exact)}
    return Reference("blackjax.mala", 0.01, mixing, 10_000, {}, {}, {"z": comparison(p)}, exact, measured(c))


def halved(change):
    return StepCheck(0.01, 0.005, {"z": comparison()}, 4 / 3, Difference(change, 0.02, 63.0))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"coefficient": measured(1.1)}, "that of the exact law 1.000"),
        ({"step_check": halved(0.2)}, "when the step is halved"),
        ({"reference": mala(1.1)}, "that of MALA"),
        ({"reference": mala(p=1e-9), "laws": [row(p=1e-9)]}, "the draws are biased"),
        ({"reference": mala(p=1e-9, against_exact=1e-9), "laws": [row(p=1e-9)]}, None),
        ({"reference": mala(p=None), "laws": [row(p=1e-9)]}, None),
        ({"shares": {"z": WindowShare(0.95, 0.9, None, 1e-9)}}, "lie in the window"),
    ],
)
def test_each_contradiction_is_said_and_no_other(change, says):
    fitting = {
        "coefficient": measured(1.0),
        "laws": [row()],
        "step_check": halved(0.01),
        "reference": mala(),
        "shares": {"z": WindowShare(0.9, 0.9, None, 0.5)},
    }
    doubts = contradictions(**(fitting | change))
    assert (doubts == []) if says is None else any(says in doubt.text for doubt in doubts)


@pytest.mark.full
def test_mass_outside_the_window_that_no_chain_reaches_is_a_doubt():
    """The law has as much mass in the other well; the draws agree with it inside the window, and are doubted."""
    config = RunConfig(
        model=two_wells(), **SMALL, window=(0.2, 0.8), step_size=0.003, step_check=False, margin=0.05, bins=40
    )
    result = langevin_ib.run(config)
    share = result.summary["invariants"]["z"]["in_window_exact"]
    assert share["measured"] > 0.95
    assert share["share"] < 0.9
    assert share["p_value"] < 1e-9
    assert any("lie in the window" in doubt for doubt in result.summary["doubts"])
    assert any("minima outside the window too, at z = 2.5 (0.00 T above" in line for line, _ in findings(result))
    assert result.summary["verdicts"]["exact"] == "undecided"


def test_the_share_of_the_bessel_law_is_that_of_another_quadrature():
    """z ∈ ±(0, ∞) under weight decay: exp(−ℓ/T) K₀(λ|z|/T), by SciPy's adaptive rule."""
    T, lam = 0.1, 0.3
    law = Law("K₀", "dz", "", lambda z: -((z - 1.0) ** 2) / (2 * T) + np.log(special.k0(lam * np.abs(z) / T)))
    half_lines = ((-math.inf, 0.0), (0.0, math.inf))
    share = share_in_window(law, lambda z: (z - 1.0) ** 2 / (2 * T), half_lines, (0.2, 2.0))

    def mass(low, high):
        return integrate.quad(lambda z: np.exp(law.log_density(np.array(z))), low, high, epsabs=0, limit=200)[0]

    total = mass(-3.0, -1e-12) + mass(1e-12, 0.2) + mass(0.2, 2.0) + mass(2.0, 6.0)
    assert share == pytest.approx(mass(0.2, 2.0) / total, rel=1e-5)


@pytest.mark.parametrize("power", [-1.0, -1.5])
def test_a_law_that_is_not_integrable_at_an_end_has_no_share(power):
    law = Law("power", "dz", "", lambda z: power * np.log(z) - z)
    with pytest.raises(langevin_ib.errors.LawError, match="cannot be normalised"):
        share_in_window(law, lambda z: z, ((0.0, math.inf),), (0.1, 1.0))


def test_p_values_of_a_share_are_uniform_under_the_null_and_see_a_wrong_one():
    """Chains of unequal numbers of correlated draws; at level 0.05 a true 5% leaves 0.02–0.085 in 0.2% of keys."""
    rng = np.random.default_rng(4)

    def p_value(share):
        total = rng.integers(20, 200, size=300)
        own = rng.beta(8.0, 2.0, size=300)  # of each chain, of mean 0.8
        return compare.p_value_of_share(rng.binomial(total, own), total, share)

    p = np.array([p_value(0.8) for _ in range(400)])
    assert 0.02 <= np.mean(p < 0.05) <= 0.085
    assert max(p_value(0.7) for _ in range(20)) < 1e-4


@pytest.mark.full
def test_laws_that_no_verdict_tells_apart_are_known_before_the_first_draw():
    with jax.enable_x64(True):
        cold = prepare(RunConfig(beta=3000.0), Session())
        warm = prepare(RunConfig(), Session())

    def groups(prepared):
        return laws_alike({law.about: law.masses(None) for law in prepared.candidates}, prepared.plan)

    ((every, distance),) = groups(cold)
    assert every == ["exact", "slice", "hard", "pushforward", "printed", "naive"]
    assert 0.001 < distance <= 0.01
    assert [names for names, _ in groups(warm)] == [["exact", "slice"], ["hard", "printed"], ["pushforward", "naive"]]


@pytest.mark.full
def test_groups_are_said_before_sampling_and_have_one_verdict(caplog):
    with caplog.at_level(logging.INFO, logger="langevin_ib"):
        result = langevin_ib.run(
            RunConfig(chains=64, steps=2000, beta=3000.0, reference="none", step_check=False, step_size=0.0015)
        )
    assert any("one verdict for them together; these are all the laws" in text for text in caplog.messages)
    (group,) = result.summary["groups"]
    assert len(group["laws"]) == 6
    assert any("the run tells nothing between them" in line for line, _ in findings(result))


def test_a_slice_that_is_not_canonical_is_said_before_sampling(caplog):
    """χ = ½(u⁴ − v⁴) on uv has the slice of uv's own χ and another G; the control: its own χ, in another object."""

    def said(model):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="langevin_ib"):
            config = RunConfig(model)
            say_slice(config, build_reduction(config))
        return caplog.messages

    own = dataclasses.replace(uv(), name="mine")
    (line,) = said(dataclasses.replace(own, moment_map=lambda p: (p[0] ** 4 - p[1] ** 4)[None] / 2, slice_terms=None))
    assert line.startswith("the slice is not canonical: eq. (42) is off by ")
    assert "compare ∇χ with ξ" in line
    assert said(own) == said("uv") == []


def test_a_group_agrees_with_one_of_its_laws_and_differs_with_all():
    def verdict(*each):
        names = [f"law{i}" for i in range(len(each))]
        return group_of(names, 0.001, dict(zip(names, each, strict=True))).verdict

    assert verdict("agrees", "undecided") == "agrees"
    assert verdict("differs", "differs") == "differs"
    assert verdict("differs", "undecided") == "undecided"


@pytest.mark.full
def test_where_log_det_g_is_constant_there_is_no_c_and_the_laws_of_c_are_one():
    with jax.enable_x64(True):
        ordinary = prepare(RunConfig(**SMALL), Session()).own
        config = RunConfig(model=translations(), **SMALL, laws=("slice", "hard", "pushforward"))
        flat = prepare(config, Session()).own
        sums = Sums(np.full(64, -0.5 * math.log(2.0) * 10), np.full(64, 10))
        coefficient = flat.coefficient(sums)
    assert isinstance(coefficient, Absent)
    assert "constant" in coefficient.why
    assert "slice, hard and pushforward are one law" in coefficient.why
    assert [law.masses()["z"].c for law in flat.candidates] == [None] * 3
    assert ordinary.law_coefficient("slice") == pytest.approx(1.0)


def test_chains_that_repeat_each_other_or_never_move_give_no_p_value_and_say_why():
    rng = np.random.default_rng(3)
    healthy = rng.multinomial(1000, UNIFORM, size=256)
    assert compare.equality_to_law(healthy, UNIFORM).p_value > 1e-4  # fails in 1e-4 of keys
    same = np.tile(healthy[:1], (256, 1))
    frozen = healthy.copy()
    frozen[:3] = 0
    frozen[:3, 7] = 1000
    few = healthy[:16]
    for counts, why in ((same, "repeat each other"), (frozen, "3 of 256 chains"), (few, "at least 32")):
        found = compare.against_law(compare.histogram_of(counts), UNIFORM, 0.001)
        assert found.p_value is None
        assert why in found.why_no_p
        assert found.verdict != "differs"
    other = compare.equality_of_samples(compare.histogram_of(healthy), compare.histogram_of(frozen))
    assert other.p_value is None
    assert "3 of 256" in other.why


def test_counts_that_add_up_to_one_number_in_every_chain_still_give_a_p_value():
    """All draws in the window, in both halves: one linear constraint, and no repetition. Uniform to within noise."""
    rng = np.random.default_rng(5)
    p = [compare.p_value_of_drift(*rng.multinomial(500, UNIFORM, size=(2, 200))) for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.11  # exceeded by a true 5% in 1e-3 of keys
    shifted = UNIFORM * np.linspace(0.9, 1.1, 20)
    assert (
        compare.p_value_of_drift(rng.multinomial(500, UNIFORM, size=200), rng.multinomial(500, shifted, size=200))
        < 1e-6
    )


@pytest.mark.parametrize("branch", [(0.0, math.inf), (-math.inf, math.inf)])
@pytest.mark.parametrize("beta", [10.0, 100.0, 1e5])
def test_the_share_of_one_of_two_narrow_wells_is_a_half(branch, beta):
    """ℓ/T = 4β((z − 1.5)² − 1)²: each well is seen, however narrow; a window of four widths holds almost all of it."""

    def energy(z):
        return 4.0 * beta * ((z - 1.5) ** 2 - 1.0) ** 2

    law = Law("wells", "dz", "", lambda z: -energy(z))
    width = 4.0 / math.sqrt(32.0 * beta)
    shares = [share_in_window(law, energy, (branch,), (z - width, z + width), (0.5, 2.5)) for z in (0.5, 2.5)]
    assert shares == pytest.approx([0.5, 0.5], abs=2e-4)


def test_a_share_next_to_one_is_not_refuted_by_the_few_draws_outside():
    """Five are expected there. At level 1e-4 more than 6 of 3000 null replicates come up in 1e-6 of keys."""
    rng = np.random.default_rng(8)
    share = 1.0 - 5.0 / (256 * 100)
    total = np.full(256, 100)
    p = [compare.p_value_of_share(rng.binomial(total, share), total, share) for _ in range(3000)]
    assert sum(one < 1e-4 for one in p) <= 6
    assert compare.p_value_of_share(rng.binomial(total, 0.99), total, share) < 1e-4


def test_a_few_frozen_chains_of_many_leave_the_verdict():
    rng = np.random.default_rng(9)
    counts = rng.multinomial(1000, UNIFORM, size=2048)
    counts[0] = 0
    counts[0, 3] = 1000
    tilted = UNIFORM * np.linspace(0.5, 1.5, 20)
    found = compare.against_law(compare.histogram_of(counts), tilted, 0.01)
    assert found.verdict == "differs"
    assert compare.equality_to_law(counts, UNIFORM).p_value > 1e-4  # fails in 1e-4 of keys


def test_the_advice_names_the_budget_that_dominates_the_error():
    budgets = ("raise law_draws", "run more steps or more chains")
    assert _remedy(0.75, *budgets) == "75% of its variance is the law's draws': raise law_draws"
    assert _remedy(0.25, *budgets) == "75% of its variance is the run's: run more steps or more chains"
    assert _remedy(0.0, *budgets) == "run more steps or more chains"


def test_where_chains_have_not_mixed_that_comes_first_and_alone_has_a_cure():
    """Nothing is lost: as many doubts, with their numbers; what is no consequence keeps its words; the control."""
    off = contradictions(measured(1.5), [row()], halved(0.5), None, {})
    law = Doubt("law", "MALA has not mixed on the law slice", 2.0, 1.1)
    mixed = Doubt("r_hat", "the chains have not mixed: R-hat 2 > 1.1; run more steps", 2.0, 1.1)
    assert len(off) == 2
    assert all(doubt.text.endswith(doubt.cure) and doubt.cure for doubt in off)
    assert by_cause([law, *off]) == [law, *off]
    first, second, *rest = by_cause([law, *off, mixed])
    assert (first, second) == (mixed, law)
    for before, after in zip(off, rest, strict=True):
        assert after.text == before.text.removesuffix(before.cure) + "; probably the same cause"
        assert after[:1] + after[2:4] == before[:1] + before[2:4]
        assert "step_size" not in after.text
