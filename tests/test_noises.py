"""Noises as records: somebody else's by name, what is refused, and cumulants against all subsets of a data set."""

import dataclasses
import itertools
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib import RunConfig, run
from langevin_ib.config import extensions
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.cumulants import cumulants
from langevin_ib.dynamics.descent import check_covariance, sgd
from langevin_ib.dynamics.noise import Noise, NoiseKind
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.laws.sgd import Coordinate, Descent, check_closed
from langevin_ib.models import build_model
from langevin_ib.output.report import run_title
from langevin_ib.runs.schema import summary_schema
from langevin_ib.sim import main

WEIGHTS = Noise("odd_noises:WEIGHTS")
OWN = {"sampler": "sgd", "noise": "odd_noises:WEIGHTS", "options": {"samples": 8}, "lr": 0.02, "chains": 32, "bins": 8}
PLUGIN = Path(__file__).parent / "plugin"
SMALL = ("relu", {"samples": 3, "width": 2, "inputs": 2})


def gradients_of(model, params, weights):
    """One for each row of weights of the examples."""
    task = model.training.task

    def one(mask):
        return ravel_pytree(jax.grad(partial(model.training.risk, {**task, "mask": mask}))(params))[0]

    return np.asarray(jax.lax.map(one, jnp.asarray(weights)))


def along(gradients):
    direction = np.random.default_rng(2).normal(size=gradients.shape[1])
    direction /= np.linalg.norm(direction)
    return gradients @ direction, jnp.asarray(direction)


def of_list(values):
    spread = values - values.mean()
    second = np.mean(spread**2)
    return [second, np.mean(spread**3), np.mean(spread**4) - 3.0 * second**2]


@pytest.mark.parametrize("name", ["bernoulli", "minibatch"])
def test_cumulants_are_those_of_all_subsets(name, x64):
    """2³ subsets that a coin keeps, and 3² batches of two; a minibatch of three is the control."""
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    if name == "bernoulli":
        noise, weights = Noise("bernoulli"), list(itertools.product([0.0, 2.0], repeat=3))
    else:
        noise = Noise("minibatch", 2)
        weights = [1.5 * (np.eye(3)[i] + np.eye(3)[j]) for i, j in itertools.product(range(3), repeat=2)]
    values, direction = along(gradients_of(model, params, weights))
    wanted = of_list(values)
    np.testing.assert_allclose(cumulants(model.training, noise, params, direction), wanted, rtol=1e-9, atol=1e-14)
    other = cumulants(model.training, Noise("minibatch", 3), params, direction)
    assert abs(float(other.fourth) - wanted[2]) > 0.1 * abs(wanted[2])


def test_cumulants_of_coins_on_labels_are_those_of_all_their_outcomes(x64, monkeypatch):
    """The plug-in's: 2³ moves of three labels; by those of normal moves the fourth is the control."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    noise = Noise("orbit_extras.signs:SIGNS")
    task, training = model.training.task, model.training
    moves = jnp.asarray(list(itertools.product([-1.0, 1.0], repeat=3)))

    def moved(move):
        return ravel_pytree(jax.grad(partial(training.risk, {**task, "y": task["y"] + move}))(params))[0]

    values, direction = along(np.asarray(jax.lax.map(moved, moves.reshape(-1, *task["y"].shape))))
    wanted = of_list(values)
    np.testing.assert_allclose(cumulants(training, noise, params, direction), wanted, rtol=1e-9, atol=1e-14)
    normal = cumulants(training, Noise("label", label_noise=1.0), params, direction)
    assert float(normal.second) == pytest.approx(wanted[0])
    assert abs(float(normal.fourth) - wanted[2]) > 0.1 * abs(wanted[2])


def test_a_noise_is_given_the_outputs_of_each_example(x64, monkeypatch):
    """As an own covariance sees them, n × o."""
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    seen = []

    def covariance(noise, each):
        seen.append(each.outputs)
        return jnp.zeros((each.jacobian.shape[2],) * 2)

    monkeypatch.setattr(Noise, "record", dataclasses.replace(WEIGHTS.record, covariance=covariance))
    gradient_noise(model.training, WEIGHTS, params)
    wanted = model.training.predict(params, model.training.task["x"])
    np.testing.assert_allclose(seen[0], np.reshape(wanted, (3, -1)), rtol=1e-12)


@pytest.mark.full
def test_a_noise_of_somebody_s_own_has_the_moments_that_it_states(x64):
    """20 000 steps from one point; 5 standard errors of a mean fail in 6e-7 of keys each. A coin's are the control."""
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    kernel = sgd(model, params, noise=WEIGHTS, lr=1.0)
    drawn = kernel.draw(jax.random.key(3), 20_000)
    moved = jax.vmap(lambda own: kernel.step(own, kernel.init(params, None), None)[0].position)(drawn)
    kicks = np.asarray(jax.vmap(lambda after: ravel_pytree(params)[0] - ravel_pytree(after)[0])(moved))
    stated = gradient_noise(model.training, WEIGHTS, params)
    values, direction = along(kicks - np.asarray(stated.mean))
    own, coin = (cumulants(model.training, noise, params, direction) for noise in (WEIGHTS, Noise("bernoulli")))
    assert float(own.second) == pytest.approx(float(direction @ stated.covariance @ direction))
    second = 3.0 * float(own.second) ** 2
    errors = {power: (values**power).std() / np.sqrt(len(values)) for power in (1, 2, 3, 4)}
    wanted = {1: 0.0, 2: own.second, 3: own.third, 4: own.fourth + second}
    assert all(abs((values**k).mean() - float(wanted[k])) < 5.0 * errors[k] for k in wanted)
    control = {3: coin.third, 4: coin.fourth + second}
    assert all(abs((values**k).mean() - float(control[k])) > 5.0 * errors[k] for k in control)


@pytest.mark.parametrize("name", ["odd_noises:WEIGHTS", "minibatch", "label", "bernoulli"])
def test_a_noise_that_is_what_it_says_passes_the_check_of_its_draws(name, x64):
    """Refused wrongly with probability below 1e-6; those below are the controls."""
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    settings = {"minibatch": {"batch_size": 2}, "label": {"label_noise": 0.3}}.get(name, {})
    check_covariance(model, Noise(name, **settings), params, jax.random.key(3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TWICE", "covariance that it states, got odd_noises:TWICE: along a direction, .* their variance is"),
        ("LEANING", "mean of the loss's gradient .*, got odd_noises:LEANING: along a direction, .* their mean is"),
        ("FLAT", "noise must be a NoiseKind whose covariance is a matrix of 6 × 6, got odd_noises:FLAT, with one of"),
    ],
)
def test_a_noise_that_is_not_what_it_says_is_refused(name, message, x64):
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    with pytest.raises(ConfigError, match=message):
        check_covariance(model, Noise(f"odd_noises:{name}"), params, jax.random.key(3))


def test_it_can_be_turned_into_a_random_direction(x64):
    model = build_model(*SMALL)
    (params,) = starts(model, 1)
    turned = dataclasses.replace(WEIGHTS, isotropized=True)
    lengths = []
    for noise in (WEIGHTS, turned):
        kernel = sgd(model, params, noise=noise, lr=1.0)
        drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(3), 1))
        after = kernel.step(drawn, kernel.init(params, None), None)[0].position
        kick = ravel_pytree(params)[0] - ravel_pytree(after)[0] - ravel_pytree(jax.grad(model.loss)(params))[0]
        lengths.append(float(jnp.linalg.norm(kick)))
    assert lengths[0] == pytest.approx(lengths[1])
    covariance = gradient_noise(model.training, turned, params).covariance
    assert float(jnp.trace(covariance)) == pytest.approx(
        float(jnp.trace(gradient_noise(model.training, WEIGHTS, params).covariance))
    )


@pytest.mark.full
def test_law_s_follows_from_its_covariance(x64):
    """At η → 0 that of batches of all examples: both have Σ = E g gᵀ/n where the mean gradient is nothing."""
    model = build_model("uv", {"samples": 8})
    laws = []
    for noise in (WEIGHTS, Noise("minibatch", 8)):
        descent = Descent(model, unconfined(), noise, 1e-3)
        check_closed(descent)
        laws.append(Coordinate(descent, 0, np.array([1.0]), model.home_of("z")))
    variances = [law.variance() for law in laws]
    assert variances[0] == pytest.approx(variances[1], rel=0.02)
    assert 0 < laws[0].error(np.linspace(*laws[0].window(1e-3), 11)).tv < 0.1


def test_without_cumulants_it_has_a_law_and_no_error_of_it(x64):
    model = build_model("uv", {"samples": 8})
    coordinate = Coordinate(
        Descent(model, unconfined(), Noise("odd_noises:UNKNOWN"), 1e-3), 0, np.array([1.0]), model.home_of("z")
    )
    low, high = coordinate.window(1e-3)
    assert np.isfinite(coordinate.law(low, high).log_density(np.linspace(low, high, 5))).all()
    with pytest.raises(LawError, match="the third and fourth cumulants of exponential weights are not known"):
        coordinate.error(np.linspace(low, high, 11))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "odd_noises:NUMBER"}, "noise must be a NoiseKind, got odd_noises:NUMBER, which is a float"),
        ({"kind": "odd_noises:IDLE"}, "noise must be a NoiseKind with a batch or a gradient, got odd_noises:IDLE"),
        ({"kind": "odd_noises:NONE"}, "noise must be an attribute of module odd_noises, got odd_noises:NONE"),
        ({"kind": "odd_noises:WEIGHTS", "batch_size": 2}, "batch_size must be left out with noise odd_noises:WEIGHTS"),
        ({"kind": "none", "isotropized": True}, "isotropized must be no with noise none, got yes"),
        (
            {"kind": "isotropic", "label_noise": 1.0, "isotropized": True},
            "isotropized must be no with noise isotropic, got yes",
        ),
        ({"kind": "isotropic"}, "label_noise must be a positive number with noise isotropic, got 0.0"),
    ],
)
def test_what_is_no_noise_is_refused_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Noise(**settings)
    assert "\n" not in str(caught.value)


def test_the_constant_isotropic_noise_is_no_step_of_sgd_and_as_strong_as_what_it_is_matched_to(x64):
    model = build_model("uv", {"samples": 4})
    (params,) = starts(model, 1)
    for own, matched in (
        (Noise("isotropic", None, 2.0), Noise("label", None, 2.0)),
        (Noise("isotropic", 2, 0.5), Noise("minibatch", 2, 0.5)),
    ):
        found = gradient_noise(model.training, own, params).covariance
        wanted = jnp.trace(gradient_noise(model.training, matched, params).covariance) / 2.0
        np.testing.assert_allclose(found, wanted * jnp.eye(2), rtol=1e-12)
        with pytest.raises(ConfigError, match="its strength is that at a minimum, got isotropic"):
            sgd(model, params, noise=own, lr=0.1)


@pytest.mark.full
def test_a_run_has_it_with_its_own_settings():
    """Σ goes with the square of the spread of the weights."""
    traces = []
    for spread in (1.0, 0.5):
        config = RunConfig(**OWN, spread=spread, steps=200, burn_in=100, precision=64)
        result = run(config)
        traces.append(result.details.meter.trace)
        summary = result.to_dict()
        jsonschema.validate(json.loads(json.dumps(summary)), summary_schema())
        assert next(iter(summary["verdicts"])) == "sgd"
        assert "exponential weights" in run_title(result)
    assert traces[0] == pytest.approx(4.0 * traces[1])


@pytest.mark.full
def test_its_law_is_that_of_its_chains():
    """The law's own error is 0.009; the nearest law of isotropic noise, at 0.022, is the control."""
    config = RunConfig(**OWN | {"chains": 1024}, spread=1.0, steps=12_000, burn_in=4000)
    laws = run(config).invariants["z"].laws
    assert laws["sgd"].comparison.tv_upper95 < 0.015 < laws["slice"].comparison.tv_lower95


@pytest.mark.full
def test_the_command_line_has_it_by_name(tmp_path, capsys):
    settings = ["--set", "samples=8", "--lr", "0.02", "--chains", "16", "--steps", "200", "--burn-in", "100"]
    command = ["--sampler", "sgd", "--noise", "odd_noises:WEIGHTS", "--spread", "0.5", *settings]
    main([*command, "--out", str(tmp_path)])
    assert "exponential weights" in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "summary.json").read_text())["descent"]["noise"] == "odd_noises:WEIGHTS"


@pytest.mark.parametrize("name", extensions.names("noise"))
def test_built_in_files_hold_records_with_a_line_of_help(name):
    record = extensions.load("noise", name)
    assert isinstance(record, NoiseKind)
    assert extensions.summary("noise", name).endswith(".")
    assert record.words
