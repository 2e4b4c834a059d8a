"""Losses of unusual shapes: each has a window, and a step to cross it, or is refused in one line that says why."""

import jax.numpy as jnp
import numpy as np
import odd_losses
import pytest

import langevin_ib
from langevin_ib import sim
from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError, LawError, ModelError
from langevin_ib.laws.law import law_kinds
from langevin_ib.runs.plan import build_reduction, resolve, resolve_many
from langevin_ib.runs.predictions import quadrature
from langevin_ib.runs.wells import lowest_point, minimum
from langevin_ib.runs.windows import cut_windows, rounded_window, scalar_window

pytestmark = pytest.mark.usefixtures("x64")

NO_MINIMUM = "has no minimum on the branch \\(0, inf\\) of z: there is no stationary law"


def placed(name, **settings):
    config = RunConfig(model=f"odd_losses:{name}", kappa=100.0, **settings)
    return scalar_window(config, build_reduction(config))


# At T = 0.1 the loss is 0.8 above its minimum at either end, or the window covers one decade, or leaves out 1%.
WINDOWS = {
    "two_wells": (1.5 - (1 + 0.2**0.5) ** 0.5, 1.5 + (1 + 0.2**0.5) ** 0.5),
    "flat_bottom": (1.0 - 0.2**0.5, 2.0 + 0.2**0.5),
    "kink": (0.2, 1.8),
    "rising": (0.2846, 2.846),
    "nan_far_away": (0.2265, 2.265),
    "small": (1e-5 - 4e-7 * 10**0.5, 1e-5 + 4e-7 * 10**0.5),
    "large": (1e5 - 4e2 * 10**0.5, 1e5 + 4e2 * 10**0.5),
    "half_line": (0.5 + 0.1 * 1.76491, 2.26491),
    "segment": (0.51, 1.49),
    "on_the_line": (300 - 1.6**0.5, 300 + 1.6**0.5),
    "compass": (1 - np.arccos(0.2), 1 + np.arccos(0.2)),
    "across_the_cut": (-0.98 * np.pi, 0.98 * np.pi),
    "blind": (-0.98 * np.pi, 0.98 * np.pi),
}
REFUSED = {
    "bounded": ({}, LawError, NO_MINIMUM),
    "constant": ({}, LawError, NO_MINIMUM),
    "bounded_on_the_line": ({}, LawError, r"has no minimum on the branch \(-inf, inf\) of z"),
    "plateau": ({"beta": 5.0}, LawError, r"rises only 5 T above its minimum towards z = inf .* no stationary law"),
    "falling": ({}, LawError, "falls without bound towards z = 0 .* by 1.2 T over the last decade"),
    "partly_nan": ({}, ModelError, "its loss is not a number at z = 1.5"),
    "nowhere_finite": ({}, ModelError, "its loss is finite nowhere on the branch of z"),
}


@pytest.mark.full(but=["two_wells", "kink", "across_the_cut"])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_reaches_as_far_as_the_law_whatever_the_shape_of_its_loss(name):
    branch, window, elsewhere = placed(name)
    width = WINDOWS[name][1] - WINDOWS[name][0]
    assert window == pytest.approx(WINDOWS[name], abs=6e-3 * width, rel=0)
    assert branch[0] < window[0] < window[1] < branch[1]
    assert elsewhere == ()


@pytest.mark.full(but=["bounded", "plateau", "partly_nan"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_loss_without_a_stationary_law_is_refused_in_one_line(name):
    settings, error, text = REFUSED[name]
    with pytest.raises(error, match=text) as caught:
        placed(name, **settings)
    assert "\n" not in str(caught.value)


def test_what_is_refused_turns_on_the_temperature_and_the_confinement():
    assert placed("plateau", beta=20.0).window == pytest.approx((0.2854, 1.715), abs=2e-3)
    config = RunConfig(model="odd_losses:constant", confine="weight-decay")
    low, high = scalar_window(config, build_reduction(config)).window
    assert high == pytest.approx(0.8 / 0.3, rel=1e-3)
    assert low == pytest.approx(0.1 * high, rel=1e-3)
    with pytest.raises(ModelError, match=r"not a number at z = 1\.50"):
        placed("partly_nan", window=(0.5, 2.0))
    assert placed("falling", window=(0.2, 2.0)).window == (0.2, 2.0)


@pytest.mark.full
def test_a_loss_of_many_coordinates_without_a_minimum_is_refused_too():
    config = RunConfig(model="odd_losses:bounded_in_each")
    reduction = build_reduction(config)
    with pytest.raises(LawError, match="the loss of model odd has no minimum: there is no stationary law"):
        cut_windows(config, reduction, minimum(reduction))


@pytest.mark.full
def test_a_minimum_outside_the_window_is_in_the_plan():
    """Behind a barrier, that is: the flank of the well that the window lies on is no minimum of its own."""
    assert placed("two_wells", window=(0.3, 1.2)).elsewhere == (pytest.approx((2.5, 0.0), abs=1e-3),)
    assert placed("two_wells", window=(2.6, 2.7)).elsewhere == (pytest.approx((0.5, 0.0), abs=1e-3),)
    assert placed("kink", window=(1.2, 1.8)).elsewhere == ()
    _, window, elsewhere = placed("far_wells")
    assert window == pytest.approx((0.5 - 0.008**0.5, 0.5 + 0.008**0.5), abs=1e-3)
    assert elsewhere == (pytest.approx((8.0, 1.0), abs=1e-3),)
    config = RunConfig(model="odd_losses:two_wells", window=(0.3, 1.2))
    assert resolve(config).elsewhere == placed("two_wells", window=(0.3, 1.2)).elsewhere


@pytest.mark.full
def test_wells_of_different_depth_on_the_line_are_covered_together():
    low, high = placed("wells_on_the_line").window
    loss = odd_losses.wells_on_the_line().loss
    lowest = min(float(loss(jnp.array([z, 0.0]))) for z in np.linspace(-1.1, -0.9, 2001))
    for end in (low, high):
        assert float(loss(jnp.array([end, 0.0]))) - lowest == pytest.approx(0.8, abs=0.02)
    assert low < -1.0
    assert high > 1.0


def test_windows_round_as_finely_as_their_width_needs_and_no_finer():
    random = np.random.default_rng(0)
    for middle, width in zip(10 ** random.uniform(-5, 6, 50), 10 ** random.uniform(-6, 0, 50), strict=True):
        low, high = middle * (1 - width / 2), middle * (1 + width / 2)
        found = rounded_window(low, high)
        assert np.max(np.abs(np.subtract(found, (low, high)))) <= 5.001e-3 * (high - low)
    assert rounded_window(0.226508, 2.26491) == (0.2265, 2.265)


@pytest.mark.parametrize(("target", "beta"), [(10.0, 1e6), (1000.0, 1e6), (1e6, 1e8)])
def test_a_cold_law_far_from_zero_has_its_whole_window(target, beta):
    config = RunConfig(target=target, beta=beta)
    low, high = scalar_window(config, build_reduction(config)).window
    spread = 4 * config.temperature**0.5
    assert (low - target, high - target) == pytest.approx((-spread, spread), abs=0.02 * spread)


@pytest.mark.full
def test_a_law_that_cannot_be_had_costs_its_row_and_not_the_run():
    config = RunConfig(model="odd_losses:compass", confine="weight-decay")
    plan = resolve(config)
    predictions = quadrature(
        plan.reduction, plan.edges["phi"], plan.singular_ends, kinds=law_kinds(config.laws), margin=config.margin
    )
    assert [law.about.name for law in predictions.candidates] == ["slice", "hard", "pushforward", "printed", "naive"]
    assert len(predictions.missing) == 1
    assert "law exact [dz]: the orbit quadrature does not converge" in predictions.missing[0]
    with pytest.raises(LawError, match="none of the requested laws exists here: law exact"):
        quadrature(plan.reduction, plan.edges["phi"], plan.singular_ends, kinds=law_kinds(("exact",)), margin=0.01)
    plan = resolve(RunConfig(window=(0.0, 2.0)))
    predictions = quadrature(
        plan.reduction, plan.edges["z"], plan.singular_ends, kinds=law_kinds(config.laws), margin=config.margin
    )
    assert [law.about.name for law in predictions.candidates] == ["exact", "hard", "pushforward", "printed", "naive"]
    assert predictions.missing[0].startswith("law slice [dσ_S] is not normalisable on the window [0, 2]")


@pytest.mark.full
def test_where_a_confinement_leaves_chains_near_a_singular_point_its_mass_decides_the_step():
    config = resolve(RunConfig(model="odd_losses:compass", confine="weight-decay")).config
    # That loss has no scale of |v|: where it is tiny the curvature has no bound, but no mass either.
    assert 1e-4 < float(config.step_size) < 0.1


@pytest.mark.full
def test_a_singular_point_of_no_mass_does_not_decide_the_step(monkeypatch):
    """Weight normalisation: near v = 0 the curvature has no bound, and the stiff term does not keep chains from it."""
    config = RunConfig(model="odd_losses:normalised", kappa=20.0)
    reduction = build_reduction(config)
    lowest = minimum(reduction)
    random = np.random.default_rng(0)
    draws = lowest.x + config.temperature**0.5 * random.normal(size=(128, 2))
    windows = {"w_1": (0.2, 2.2), "w_2": (-0.5, 1.5)}
    step = float(resolve_many(config, reduction, windows, lowest, draws).config.step_size)
    assert 3e-4 < step < 0.03
    monkeypatch.setattr("langevin_ib.runs.steps.FETCHED", np.inf)
    with pytest.raises(ConfigError, match=r"step_size must be given here.*on the orbit through w_1 = "):
        resolve_many(config, reduction, windows, lowest, draws)


@pytest.mark.full
def test_a_step_that_goes_nowhere_is_refused_before_the_run(capsys):
    with pytest.raises(ConfigError, match="step_size must be larger, for chains to cross the window in 400000 steps"):
        resolve(RunConfig(step_size=1e-11, precision=64))
    with pytest.raises(ConfigError, match=r"step_size must be given here.*set by the curvature .* z = "):
        resolve(RunConfig(kappa=1e9))
    resolve(RunConfig(step_size=1e-7, precision=64))  # slow, but more steps help
    assert sim.main(["--step-size", "1e-11", "--precision", "64"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


RUNS = {"kink": ("exact", "naive"), "flat_bottom": ("exact", "naive")}


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_short_runs_obey_their_law_and_no_other(name):
    """p of equality above 1e-4, so that one of two runs fails for no reason with probability 2e-4."""
    law, control = RUNS[name]
    config = RunConfig(
        model=f"odd_losses:{name}", kappa=100.0, chains=256, steps=10_000, bins=20, step_check=False, reference="none"
    )
    (found,) = langevin_ib.run(config).summary["invariants"].values()
    assert found["laws"][law]["p_value"] > 1e-4
    assert found["laws"][control]["p_value"] < 1e-6


@pytest.mark.full(but=["bounded"])
@pytest.mark.parametrize("name", ["bounded", "constant", "bounded_on_the_line"])
def test_training_on_a_loss_without_a_minimum_is_refused(name):
    """SGD looks for the minimum before it asks for a window; the control has one."""
    with pytest.raises(LawError, match=r"has no minimum .* training does not come to rest there"):
        lowest_point(build_reduction(RunConfig(model=f"odd_losses:{name}", sampler="sgd", noise="none"), 1.0))
    assert lowest_point(build_reduction(RunConfig(sampler="sgd"), 1.0)) == pytest.approx(1.0, abs=1e-3)
