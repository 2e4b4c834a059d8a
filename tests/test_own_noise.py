"""A noise that is one function, what is estimated of it and refused, heavy tails, and noise that is scaled."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import own_noises
import pytest
from helpers import starts

from langevin_ib import RunConfig, run
from langevin_ib.config import extensions
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.cumulants import along_direction, cumulants, kicks_of
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kicks import AlongPlaces
from langevin_ib.dynamics.noise import Noise, own_noise
from langevin_ib.errors import ConfigError
from langevin_ib.laws import bin_masses
from langevin_ib.laws.sgd import Coordinate, Descent
from langevin_ib.models import build_model
from langevin_ib.models.base import Chart
from langevin_ib.runs.descent_laws import build_laws, laws_within
from langevin_ib.runs.hook_noise import measure_hook
from langevin_ib.runs.schema import summary_schema
from langevin_ib.sim import main
from langevin_ib.statistics.tails import tail_of
from langevin_ib.testing import check_noise

UV = ("uv", {"samples": 8, "scatter": 1.0})
DIRECTION = jnp.array([0.6, 0.8])


def measured(name, scale=1.0):
    model = build_model(*UV)
    start, other = starts(model, 2)
    return measure_hook(model, Noise(name, scale=scale), start, other, Chart(model), 0.1, jax.random.key(0))


@pytest.mark.full
def test_a_function_has_the_covariance_of_the_noise_that_it_is(x64):
    """16384 draws: five standard errors of a variance fail in 6e-7 of keys; that of scaled noise is the control."""
    model = build_model(*UV)
    (params,) = starts(model, 1)
    known = gradient_noise(model.training, Noise("label", label_noise=1.0), params)
    found = gradient_noise(model.training, Noise("own_noises:labelled"), params)
    np.testing.assert_allclose(found.mean, known.mean, rtol=1e-9)
    close = 5.0 * (2.0 / 16384) ** 0.5
    assert float(jnp.trace(found.covariance)) == pytest.approx(float(jnp.trace(known.covariance)), rel=close)
    scaled = gradient_noise(model.training, Noise("own_noises:labelled", scale=1.1), params)
    assert float(jnp.trace(scaled.covariance)) == pytest.approx(1.21 * float(jnp.trace(found.covariance)))
    assert abs(float(jnp.trace(scaled.covariance) / jnp.trace(known.covariance)) - 1.0) > close


def test_what_it_states_is_taken_and_the_rest_estimated(x64):
    model = build_model(*UV)
    (params,) = starts(model, 1)
    stated, guessed = (
        cumulants(model.training, Noise(f"own_noises:{name}"), params, DIRECTION) for name in ("STATED", "skewed")
    )
    assert float(stated.second) == pytest.approx(float(guessed.second), rel=0.1)
    assert float(stated.third) == pytest.approx(float(guessed.third), rel=0.3)
    assert float(stated.fourth) == pytest.approx(float(guessed.fourth), rel=0.1)
    assert float(stated.second) != float(guessed.second)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "biased",
            "noise must be a function whose mean over keys is the gradient of the loss, got own_noises:biased: ",
        ),
        ("TOO_STRONG", "got own_noises:TOO_STRONG: along a direction, at a point, their variance is"),
        ("TOO_SKEWED", "noise must be a function whose draws have the third cumulant that it states"),
        (
            "wide",
            "the form of the parameters, got wide, which gives an array of shape .3,. where the parameters are an",
        ),
        ("broken", "noise must be a function .* that JAX can trace, got broken: TypeError: dot_general"),
    ],
    ids=["biased", "TOO_STRONG", "TOO_SKEWED", "wide", "broken"],
)
@pytest.mark.full(but=["wide", "broken"])
def test_a_function_that_is_not_what_it_says_is_refused_in_one_line(name, message, x64):
    """A right one is refused with probability below 1e-6: those of the next test are not."""
    with pytest.raises(ConfigError, match=message) as caught:
        measured(f"own_noises:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_a_run_says_what_it_measured_of_a_function(x64):
    """Skewness and trace against what the noise states, at the same point, each within five standard errors."""
    report, guessed = measured("own_noises:skewed")
    stated_report, stated = measured("own_noises:STATED")
    assert abs(report.trace - stated_report.trace) < 5.0 * guessed.errors[0] < 0.2 * report.trace
    skewness = guessed.skewness["z"]
    assert stated.errors is None
    assert stated.skewness["z"].error is None
    assert abs(skewness.value - stated.skewness["z"].value) < 5.0 * skewness.error
    assert abs(skewness.value) > 5.0 * skewness.error  # it is skewed, and that is seen
    assert report.orbit_share < 1e-20
    _, scaled = measured("own_noises:STATED", scale=3.0)
    assert scaled.skewness["z"].value == pytest.approx(stated.skewness["z"].value)


@pytest.mark.full
def test_tails_that_have_no_variance_are_named_and_others_are_not():
    """Each of 20 samples; `python -m sims.bench.tails` has the rates of 200."""
    random, shape = np.random.default_rng(0), (16, 16384)
    for draw, low, high in (
        (lambda: random.normal(size=shape), 4, 4),
        (lambda: random.laplace(size=shape), 4, 4),
        (lambda: random.standard_t(5.0, shape), 3, 4),
        (lambda: random.standard_t(3.0, shape), 2, 3),
        (lambda: random.standard_t(1.5, shape), 1, 1),
        (lambda: random.standard_cauchy(shape), 0, 1),
    ):
        tails = [tail_of(np.abs(draw())) for _ in range(20)]
        assert all(low <= tail.highest <= high for tail in tails)
    assert not any(tail.mean for tail in tails)


def test_tails_of_few_outcomes_are_bounded():
    tail = tail_of(np.tile([1.0, 2.0], (16, 1000)))
    assert (tail.highest, tail.exponent, tail.variance) == (4, float("inf"), True)


@pytest.mark.full
def test_the_law_by_an_estimate_has_the_error_of_the_estimate(x64):
    """(S) of labels by draws is that of the label noise it is, within four of its own standard errors in each bin."""
    model = build_model(*UV)
    middle, edges = np.array([1.0]), np.linspace(0.6, 1.3, 6)
    own = build_laws(
        Descent(model, unconfined(), Noise("own_noises:labelled"), 0.2), middle, plain=False, cumulants=False
    )
    within = laws_within(own, {"z": (0.6, 1.3)}, {"z": edges})
    known = Coordinate(
        Descent(model, unconfined(), Noise("label", label_noise=1.0), 0.2), 0, middle, model.home_of("z")
    )
    wanted, between = bin_masses(known.law(0.6, 1.3), edges), within.between["z"]
    error = np.sqrt(np.diag(between.covariance))
    assert (np.abs(between.mass - wanted) < 4.0 * error + 1e-12).all()
    assert 1e-4 < error.max() < 0.01
    np.testing.assert_allclose(between.mass, bin_masses(within.laws["z"], edges))


def test_more_draws_behind_an_estimate_have_a_smaller_error(x64):
    """16 times as many: a quarter of the scatter of 64 batches, whose own error is a tenth."""
    model = build_model(*UV)
    (params,) = starts(model, 1)
    hooks = [own_noise(own_noises.skewed, draws=64 * each).hook for each in (16, 256)]
    batches = [np.asarray(hook.batches(model.training, params)) for hook in hooks]
    few, many = (np.trace(each, axis1=1, axis2=2).std() for each in batches)
    assert 2.5 < few / many < 6.0
    with pytest.raises(ConfigError, match="whose draws are a multiple of 64, twice it at least, got 100"):
        own_noise(own_noises.skewed, draws=100)


def test_a_noise_along_the_orbits_has_no_law_and_says_why(x64):
    model = build_model(*UV)
    own = build_laws(
        Descent(model, unconfined(), Noise("own_noises:everywhere"), 0.2), np.array([1.0]), plain=True, cumulants=False
    )
    assert own.coordinates is None
    assert "on χ = 0 the noise moves χ" in own.missing[0]


@pytest.mark.full
def test_a_run_of_a_heavy_tail_names_it_before_it_starts(tmp_path, capsys):
    settings = ["--set", "samples=8", "--lr", "0.02", "--chains", "32", "--steps", "400", "--burn-in", "100"]
    main(["--sampler", "sgd", "--noise", "own_noises:student", *settings, "--out", str(tmp_path)])
    printed = capsys.readouterr()
    before = printed.err + printed.out
    assert "the noise of student has no variance (tail index 1." in before
    (folder,) = tmp_path.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    jsonschema.validate(summary, summary_schema())
    descent = summary["descent"]
    assert descent["tail"]["highest"] == 1
    assert descent["meter"]["trace"] is None
    assert descent["skewness"] is None
    assert not {"sgd", "map"} & summary["verdicts"].keys()


@pytest.mark.full
def test_a_run_of_a_file_of_one_s_own(tmp_path, monkeypatch):
    """Under 20 lines, by its path; the summary has the error of what was estimated."""
    (tmp_path / "mine.py").write_text(
        "import jax\n\n\ndef skewed(key, params, examples):\n"
        "    return examples.gradient(params, weights=jax.random.exponential(key, (examples.size,)))\n"
    )
    settings = {"lr": 0.02, "chains": 32, "steps": 400, "burn_in": 100, "bins": 8, "options": UV[1]}
    result = run(RunConfig(sampler="sgd", noise=f"{tmp_path / 'mine.py'}:skewed", **settings))
    summary = result.to_dict()
    jsonschema.validate(json.loads(json.dumps(summary)), summary_schema())
    assert summary["descent"]["meter_errors"]["trace"] > 0
    assert summary["descent"]["skewness"]["z"]["error"] > 0
    assert result.invariants["z"].laws["sgd"].mass_se.max() > 0
    assert any("does not state" in str(one) for one in result.identities)
    assert any(line.startswith("law map:") for line in result.missing)


def test_a_file_without_the_function_or_that_cannot_be_run_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("raise ValueError('no')\n")
    (tmp_path / "other.py").write_text("")
    with pytest.raises(
        ConfigError, match=r"noise must be in a file that can be run, got .*mine.py:one: ValueError: no"
    ):
        extensions.load("noise", f"{tmp_path / 'mine.py'}:one")
    with pytest.raises(ConfigError, match=r"noise must be an attribute of the file other.py, got"):
        extensions.load("noise", f"{tmp_path / 'other.py'}:one")


SCALED = [
    Noise("label", label_noise=0.5),
    Noise("minibatch", 2, 0.3),
    Noise("bernoulli"),
    Noise("minibatch", 2, isotropized=True),
    Noise("own_noises:skewed"),
]


@pytest.mark.parametrize("noise", SCALED, ids=lambda noise: noise.given)
def test_noise_times_m_is_m_times_as_far_from_the_mean(noise, x64):
    """The same draw; a step of the noise itself is the control."""
    model = build_model(*UV)
    (params,) = starts(model, 1)
    scaled = dataclasses.replace(noise, scale=2.5)
    steps = []
    for one in (noise, scaled):
        kernel = sgd(model, params, noise=one, lr=1.0)
        drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(1), 3))
        after = kernel.step(drawn, kernel.init(params, None), None)[0].position
        steps.append(np.asarray(params - after - jax.grad(model.loss)(params)))
    np.testing.assert_allclose(steps[1], 2.5 * steps[0], rtol=1e-9)
    plain, strong = (gradient_noise(model.training, one, params).covariance for one in (noise, scaled))
    np.testing.assert_allclose(strong, 6.25 * plain, rtol=1e-12)
    if not noise.isotropized:
        few, many = (np.array(cumulants(model.training, one, params, DIRECTION)) for one in (noise, scaled))
        np.testing.assert_allclose(many, few * 2.5 ** np.array([2, 3, 4]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("noise", SCALED[:3], ids=lambda noise: noise.given)
def test_kicks_are_scaled_about_their_mean(noise, x64):
    model = build_model(*UV)
    (params,) = starts(model, 1)
    along = along_direction(model.training, noise, params, DIRECTION)
    places = AlongPlaces(*jax.tree.map(lambda part: np.asarray(part)[None], along))
    plain, strong = (kicks_of(one, places, 8) for one in (noise, dataclasses.replace(noise, scale=2.0)))
    mean = (plain.weights * plain.values).sum()
    np.testing.assert_allclose(strong.values - mean, 2.0 * (plain.values - mean), atol=1e-12)


def test_a_scale_of_one_is_no_setting():
    """A run without it is called as it was before there was one."""
    plain = RunConfig(sampler="sgd", lr=0.1)
    assert RunConfig(sampler="sgd", lr=0.1, noise_scale=1.0).digest() == plain.digest()
    assert plain.noise_scale is None
    assert RunConfig(sampler="sgd", lr=0.1, noise_scale=2.0).digest() != plain.digest()
    with pytest.raises(ConfigError, match="noise_scale must be left out with noise none, got 2"):
        RunConfig(sampler="sgd", noise="none", noise_scale=2.0)
    with pytest.raises(ConfigError, match="noise_scale must be a positive number, got 0"):
        RunConfig(sampler="sgd", noise_scale=0.0)


@pytest.mark.full
def test_law_s_depends_on_the_strength_alone_and_its_own_error_on_the_step(x64):
    """At fixed ηm², here 0.1: (S) is the same, and `map` comes nearer to it like η."""
    model, edges = build_model("uv"), np.linspace(0.4, 1.9, 21)
    far, laws = [], []
    for scale in (1.0, 2.0):
        noise = Noise("label", label_noise=0.8, scale=scale)
        own = build_laws(Descent(model, unconfined(), noise, 0.1 / scale**2), np.array([1.0]), True, cumulants=True)
        within = laws_within(own, {"z": (0.4, 1.9)}, {"z": edges})
        laws.append(bin_masses(within.laws["z"], edges))
        far.append(within.about["z"].from_s)
    np.testing.assert_allclose(*laws, atol=1e-9)
    assert 3.5 < far[0] / far[1] < 4.7


@pytest.mark.full
def test_the_kit_knows_a_function():
    check_noise("own_noises:STATED")
    check_noise("label", scale=2.0)


@pytest.mark.full
def test_the_kit_refuses_a_function_that_is_biased():
    with pytest.raises(Exception, match="whose mean over keys is the gradient of the loss"):
        check_noise("own_noises:biased")
