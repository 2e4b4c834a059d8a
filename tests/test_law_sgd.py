"""Law (S): closed forms, where it does not exist, and that SGD obeys it where the fitted family does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import advance

import langevin_ib
from langevin_ib import ConfigError, LawError, RunConfig
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws import Law, bin_masses
from langevin_ib.laws.sgd import Coordinate, Descent, check_closed, label_noise_gamma
from langevin_ib.models import build_model
from langevin_ib.models.base import POSITIVE
from langevin_ib.output.histogram import figure
from langevin_ib.output.report import findings
from langevin_ib.output.store import draws as saved_draws
from langevin_ib.runs.descent_plan import AT_REST, resolve_descent
from langevin_ib.runs.result import Result
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.runs.steps import check_kick
from langevin_ib.statistics import compare

LABELS = Noise("label", None, 2.0)


def coordinate(model, noise, lr, confinement=None, middle=1.0):
    descent = Descent(model, confinement or unconfined(), noise, lr)
    check_closed(descent)
    name = descent.chart.scalar_names[0]
    return Coordinate(descent, 0, np.full(descent.chart.dim, middle), model.home_of(name))


def run(config) -> Result:
    with jax.enable_x64(True):
        return langevin_ib.run(config)


def masses(log_density, edges):
    return bin_masses(Law("oracle", "dz", "closed form", log_density), edges)


@pytest.mark.full
@pytest.mark.parametrize("target", [1.0, -0.7])
def test_under_label_noise_it_is_the_gamma_law(target, x64):
    found = coordinate(build_model("uv", {"target": target}), LABELS, 0.01, middle=target)
    window = found.window(1e-3)
    edges = np.linspace(*window, 31)
    gamma = label_noise_gamma(target, 0.01, 2.0)
    wanted = np.abs(np.diff(gamma.cdf(np.abs(edges))))
    np.testing.assert_allclose(bin_masses(found.law(*window), edges), wanted / wanted.sum(), atol=1e-12)
    outside = [gamma.cdf(np.abs(window).min()), gamma.sf(np.abs(window).max())]
    np.testing.assert_allclose(outside, 1e-3, rtol=0.2)


@pytest.mark.full
def test_weight_decay_only_shifts_the_target_of_the_gamma_law(x64):
    """ℓ' + λ = z − (y − λ): a Gamma law of target y − λ."""
    found = coordinate(build_model("uv"), LABELS, 0.01, weight_decay(0.3))
    edges = np.linspace(0.3, 1.3, 31)
    wanted = np.diff(label_noise_gamma(0.7, 0.01, 2.0).cdf(edges))
    np.testing.assert_allclose(bin_masses(found.law(0.3, 1.3), edges), wanted / wanted.sum(), atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize(("kind", "batch"), [("minibatch", 1), ("minibatch", 3), ("fresh", 2)])
def test_with_any_noise_it_is_the_formula_of_the_theory(kind, batch, x64):
    """z^{−3/2} S⁻¹ exp(−∫ℓ'/(ηzS) dz) with S(z) written out by hand and integrated by the trapezoidal rule."""
    lr = 0.01
    model = build_model("uv", {"samples": 9} if kind == "minibatch" else {})
    noise = Noise(kind, batch, 0.0 if kind == "minibatch" else 1.0)
    x, y = model.training.task["x"], model.training.task["y"]

    def spread(z):
        if kind == "fresh":  # x²(z − y) − x s ε over x ~ N(0, 1): variance 2(z − y)² + s²
            return (2.0 * (z - 1.0) ** 2 + 1.0) / batch
        return np.var(x * (x * z[:, None] - y), axis=1) / batch

    def slope(z):
        return z - 1.0 if kind == "fresh" else np.mean(x * (x * z[:, None] - y), axis=1)

    found = coordinate(model, noise, lr, middle=1.0)
    window = found.window(1e-3)
    nodes = np.linspace(*window, 200_001)
    rate = slope(nodes) / (lr * nodes * spread(nodes))
    rise = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(nodes))])
    edges = np.linspace(*window, 21)
    wanted = masses(lambda z: -1.5 * np.log(z) - np.log(spread(z)) - np.interp(z, nodes, rise), edges)
    np.testing.assert_allclose(bin_masses(found.law(*window), edges), wanted, atol=1e-7)


@pytest.mark.full
def test_hadamard_is_a_product_of_gamma_laws(x64):
    model = build_model("hadamard", {"dim": 2})
    descent = Descent(model, unconfined(), LABELS, 0.01)
    check_closed(descent)
    for i, target in enumerate((1.2, 0.8)):
        law = Coordinate(descent, i, np.array([1.2, 0.8]), POSITIVE).law(0.4, 1.6)
        edges = np.linspace(0.4, 1.6, 21)
        wanted = np.diff(label_noise_gamma(target, 0.01, 2.0).cdf(edges))
        np.testing.assert_allclose(bin_masses(law, edges), wanted / wanted.sum(), atol=1e-12)


@pytest.mark.full
def test_rotation_is_half_normal(x64):
    """On a ray the step is linear: r has the variance ηs²/2 of dr = −r dt + √η s dW, folded at 0."""
    found = coordinate(build_model("rotation"), LABELS, 0.01)
    edges = np.linspace(0.01, 0.5, 21)
    wanted = masses(lambda r: -(r**2) / (0.01 * 4.0), edges)
    np.testing.assert_allclose(bin_masses(found.law(0.01, 0.5), edges), wanted, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "noise", "lr", "message"),
    [
        ("uv", {}, LABELS, 0.6, r"cannot be normalised at z = 0, where its density is like \|z\|\^\(-1.08\)"),
        ("uv", {"samples": 8, "scatter": 0.0}, Noise("minibatch", 1), 0.01, "the noise vanishes near z = 1, where"),
        ("uv", {}, Noise("fresh", 1), 0.01, "the noise vanishes near z = 1, where chains come to rest"),
        ("uv", {}, Noise("none"), 0.01, "there is no noise"),
        ("uv", {"samples": 8}, Noise("minibatch", 2, replace=False), 0.01, "without replacement the noise of an epoch"),
        ("uv", {}, Noise("label", None, 1.0, isotropized=True), 0.01, "isotropized noise does not leave χ at zero"),
        ("hadamard", {"operator": "random"}, LABELS, 0.01, "the 3 coordinates do not go their own ways"),
        ("relu", {}, LABELS, 0.01, "on χ = 0 the noise moves χ at a rate up to"),
        ("attention", {}, LABELS, 0.01, "on χ = 0 the noise moves χ at a rate up to"),
    ],
)
def test_where_it_does_not_exist_it_says_why(name, options, noise, lr, message, x64):
    model = build_model(name, options)

    def law():
        found = coordinate(model, noise, lr)
        return found.law(*found.window(1e-3))

    with pytest.raises(LawError, match=message):
        law()


@pytest.mark.full
def test_too_strong_noise_collapses_the_product(x64):
    """ηs² = 2.2 ≥ 2y: the median of z over 256 chains is below 1e-3; at ηs² = 0.5 it is of order one."""
    with pytest.raises(LawError, match="no Gamma law, chains collapse to z = 0"):
        label_noise_gamma(1.0, 0.002, 33.2)
    model = build_model("uv")
    begin = jnp.tile(jnp.array([1.0, 1.0]), (256, 1))
    medians = []
    for strength in (33.2, 15.8):
        kernel = sgd(model, begin[0], noise=Noise("label", None, strength), lr=0.002)
        end = jnp.asarray(advance(model, kernel, begin, 30_000).position)
        medians.append(float(jnp.median(end[:, 0] * end[:, 1])))
    assert medians[0] < 1e-3
    assert 0.3 < medians[1] < 1.5


@pytest.fixture(scope="module")
def draws():
    """uv under label noise, ηs² = 0.04, at a small η, where (S) is exact to the accuracy of this sample."""
    with jax.enable_x64(True):
        config = RunConfig(sampler="sgd", lr=0.0025, label_noise=4.0, chains=512, steps=60_000, burn_in=20_000)
        prepared, drawn, _ = prepare_and_draw(config)
        return prepared.own, drawn.main


@pytest.mark.full
def test_sgd_obeys_it_and_not_its_neighbours(draws):
    """p > 1e-4 for the true law fails in 1e-4 of keys; S wrong by 10% and the fitted laws are the controls."""
    resolved, sample = draws
    edges, counts = resolved.edges["z"], sample.window("z").counts
    right = bin_masses(resolved.laws["z"], edges)
    assert compare.p_value_of_law(counts, right) > 1e-4
    wrong = np.diff(label_noise_gamma(1.0, 0.0025 * 1.1, 4.0).cdf(edges))
    assert compare.p_value_of_law(counts, wrong / wrong.sum()) < 1e-6
    means = sample.energy.mean, sample.statistic.mean
    for c in (1.0, 0.0, -1.0, None):
        fit = resolved.family.fit(*means, c)
        assert compare.p_value_of_law(counts, resolved.family.masses(fit, "z").mass) < 1e-6


@pytest.mark.full
def test_the_best_fitted_law_has_the_sample_s_means(draws):
    resolved, _ = draws
    for mean in (0.02, 0.05):
        fit = resolved.family.fit(mean, 0.0, 0.0)
        z = np.linspace(*resolved.edges["z"][[0, -1]], 20_001)
        density = np.exp(-((z - 1.0) ** 2) / (2 * fit.temperature)) / np.sqrt(z)
        assert np.sum(0.5 * (z - 1.0) ** 2 * density) / density.sum() == pytest.approx(mean, rel=1e-4)


@pytest.mark.full
def test_a_run_says_which_law_is_nearer():
    result = run(RunConfig(sampler="sgd", lr=0.01, label_noise=2.0, chains=256))
    summary = result.summary
    assert summary["verdicts"]["sgd"] == "agrees"
    assert summary["verdicts"]["slice"] == summary["verdicts"]["fitted"] == "differs"
    nearest = summary["descent"]["nearest"]
    assert nearest["law"] == "map"
    assert nearest["decided"]
    assert summary["descent"]["decay"] == pytest.approx(0.04, rel=1e-3)
    assert summary["descent"]["charge"]["draws"] < 1e-3 < summary["descent"]["charge"]["start"]
    assert summary["invariants"]["z"]["mean"] == pytest.approx(0.98, rel=0.01)
    laws = summary["invariants"]["z"]["laws"]
    assert laws["slice"]["formula"].endswith(f"T = {laws['slice']['temperature']:.4g}, c = 1")
    assert saved_draws(result)["posterior"].attrs["energy"] == "reduced loss"


@pytest.mark.full
@pytest.mark.parametrize(("noise", "options"), [("label", {}), ("minibatch", {"samples": 8, "seed": 1})])
def test_its_variance_is_that_of_its_density(noise, options, x64):
    """Against quadrature over the middle of the law, which leaves out 1e-6 of the mass at either end."""
    found = coordinate(build_model("uv", options), Noise(noise, 2 if options else None, 0.0 if options else 2.0), 0.005)
    low, high = found.window(1e-6)
    z = np.linspace(low, high, 200_001)
    log_density = found.law(low, high).log_density(z)
    density = np.exp(log_density - log_density.max())
    mass = density / density.sum()
    assert found.variance() == pytest.approx(mass @ (z - mass @ z) ** 2, rel=1e-3)


@pytest.mark.full
def test_by_epochs_no_law_is_judged_and_the_variance_is_set_against_independent_batches():
    options = {"samples": 16, "scatter": 2.0}
    config = RunConfig(
        options=options, sampler="sgd", noise="minibatch", batch_size=4, replacement=False, chains=64, steps=6000
    )
    result = run(config)
    summary = result.summary
    assert any("without replacement the noise of an epoch's steps cancels" in doubt for doubt in summary["doubts"])
    assert set(summary["verdicts"].values()) == {"undecided"}
    z = summary["invariants"]["z"]
    assert 0.003 < z["variance_to_independent"] < 0.1
    assert any("times that of law (S) of batches drawn with replacement" in line for line, _ in findings(result))
    independent = run(config.replace(replacement=True)).summary["invariants"]["z"]
    assert "variance_to_independent" not in independent
    assert z["variance"] / independent["variance"] == pytest.approx(z["variance_to_independent"], rel=0.2)


@pytest.mark.full
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_automatic_rate_is_that_of_a_step_with_its_momentum(momentum):
    with jax.enable_x64(True):
        found = resolve_descent(RunConfig(sampler="sgd", momentum=momentum), lambda _: {})
    assert found.config.lr / (1.0 - momentum) == pytest.approx(0.005, rel=1e-3)
    assert found.descent.lr == pytest.approx(0.005, rel=1e-3)


def test_strong_noise_that_float32_loses_asks_for_64_bits_and_is_none_that_vanishes():
    """Noise times 1e5 has a learning rate of 1e-10 of the usual, and kicks of 2e-7."""
    with pytest.raises(ConfigError, match=r"precision must be 64 here: a step's noise, 2e-07, is lost in float32"):
        run(RunConfig(sampler="sgd", noise_scale=1e5, chains=16, steps=2000))
    single, double = (RunConfig(sampler="sgd", precision=bits) for bits in (32, 64))
    check_kick(single, 1e-2, 1.0)
    check_kick(double, 2e-7, 1.0)


@pytest.mark.full
def test_minibatches_that_all_examples_agree_on_have_no_noise_at_the_minimum_and_say_so():
    """Chains come to rest, from the model's own starts: no law, no ratio of rounding errors, no empty panel."""
    result = run(RunConfig(model="hadamard", sampler="sgd", noise="minibatch", chains=16, steps=4000))
    summary = result.summary
    z = summary["invariants"]["z_1"]
    assert z["laws"] == {}
    assert z["unavailable"] == [AT_REST]
    assert summary["descent"]["start"] == "own"
    assert summary["descent"]["meter"]["anisotropy"] is None
    text = "\n".join(line for line, _ in findings(result))
    assert "the noise vanishes at the minimum" in text
    assert "own ways" not in text
    assert "tr Σ" not in text
    assert "R-hat" not in text
    assert len(figure(result).axes) == 3


@pytest.mark.full
def test_chains_that_still_carry_a_charge_leave_it_undecided():
    config = RunConfig(sampler="sgd", lr=0.01, label_noise=2.0, chains=64, steps=600, burn_in=100)
    summary = run(config).summary
    assert any("χ has not decayed" in doubt for doubt in summary["doubts"])
    assert set(summary["verdicts"].values()) == {"undecided"}


@pytest.mark.full
@pytest.mark.parametrize(
    ("model", "noise", "lam"),
    [
        ("uv", LABELS, 0.0),
        ("uv", LABELS, 0.3),
        ("uv", Noise("fresh", 2, 1.0), 0.0),
        ("rotation", LABELS, 0.0),
    ],
)
def test_its_terms_are_those_of_a_steps_own_series(model, noise, lam, x64, monkeypatch):
    """To 1e-3; control: a drift without half of Itô's term."""
    found = coordinate(build_model(model), noise, 0.01, weight_decay(lam) if lam else None, 1.0 - lam)
    assert found.check_terms() is None
    terms = found._of_a_step
    monkeypatch.setattr(found, "_of_a_step", lambda z: (terms(z)[0] + 0.25 * terms(z)[1], terms(z)[1]))
    assert "(S) is not the limit of these steps" in found.check_terms()
