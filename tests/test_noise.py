"""The covariance of gradient noise against enumeration, and how SGD's noise lies to the orbits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib import ConfigError
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.meter import measure
from langevin_ib.dynamics.noise import Noise
from langevin_ib.models import Examples, build_model, uv
from langevin_ib.models.training import cast

MODELS = [
    ("uv", {}),
    ("uv", {"depth": 3}),
    ("hadamard", {}),
    ("relu", {}),
    ("attention", {}),
    ("matrix", {}),
    ("matrix", {"group": "gl", "rank": 3}),
    ("rotation", {}),
]


def batch_gradients(model, params, batches):
    """The gradient of every batch of a list, one after the other."""
    task = cast(model.training.task, params)

    def one(batch):
        examples = Examples(task["x"][batch], task["y"][batch])
        return ravel_pytree(jax.grad(model.training.batch_loss)(params, examples, task["weight"]))[0]

    return np.asarray(jax.lax.map(one, jnp.asarray(batches)))


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"), [("uv", {"samples": 5}), ("relu", {"samples": 5}), ("matrix", {"rows": 2})]
)
@pytest.mark.parametrize("replace", [True, False])
def test_minibatch_covariance_is_that_of_all_batches(name, options, replace, x64):
    model = build_model(name, options)
    n = model.training.size
    (params,) = starts(model, 1)
    pairs = itertools.product(range(n), repeat=2) if replace else itertools.combinations(range(n), 2)
    gradients = batch_gradients(model, params, list(pairs))
    found = gradient_noise(model.training, Noise("minibatch", 2, replace=replace), params)
    np.testing.assert_allclose(found.mean, gradients.mean(axis=0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(gradients.T, bias=True), rtol=1e-9, atol=1e-12)


@pytest.mark.full
def test_label_noise_covariance_is_that_of_its_two_signs(x64):
    """Labels moved by ±s one at a time: for a quadratic loss the gradient is linear in them."""
    model = build_model("relu", {"samples": 4})
    (params,) = starts(model, 1)
    task = cast(model.training.task, params)
    s, total = 0.7, 0.0
    for i in range(4):
        moved = [
            ravel_pytree(
                jax.grad(model.training.batch_loss)(
                    params, Examples(task["x"], task["y"].at[i].add(sign * s)), task["weight"]
                )
            )[0]
            for sign in (1.0, -1.0)
        ]
        kick = np.asarray(moved[0] - moved[1]) / 2
        total = total + np.outer(kick, kick)
    found = gradient_noise(model.training, Noise("label", None, s), params)
    np.testing.assert_allclose(found.covariance, total, rtol=1e-10, atol=1e-13)


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), MODELS)
def test_noise_of_sgd_has_no_part_along_the_orbit_and_isotropic_noise_has(name, options, x64):
    model = build_model(name, options)
    for params in starts(model, 2):
        q = ravel_pytree(params)[0].size
        for noise in (Noise("minibatch", 2, 0.3), Noise("label", None, 1.0), Noise("fresh", 2, 0.1)):
            found = gradient_noise(model.training, noise, params)
            assert abs(measure(model, found.covariance, params, 0.1).orbit_share) < 1e-13
        isotropized = gradient_noise(model.training, Noise("label", None, 1.0, isotropized=True), params)
        report = measure(model, isotropized.covariance, params, 0.1)
        np.testing.assert_allclose(report.orbit_share, (model.group_dim + model.compact_dim) / q, rtol=1e-10)
        np.testing.assert_allclose([report.anisotropy, report.effective_rank, report.misfit], [1, q, 0], atol=1e-7)
        np.testing.assert_allclose(report.trace, jnp.trace(isotropized.covariance))


def test_temperature_of_the_meter_is_that_of_the_same_kicks(x64):
    """√(2hT) ξ at h = η against η times the noise: 2ηT q = η² tr Σ."""
    model = uv()
    params = jnp.array([1.0, 1.0])
    report = measure(model, gradient_noise(model.training, Noise("label", None, 2.0), params).covariance, params, 0.01)
    assert report.trace == pytest.approx(8.0)
    assert 2 * 0.01 * report.temperature * 2 == pytest.approx(0.01**2 * 8.0)
    assert report.misfit == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "pink"}, "noise must be one of"),
        ({"kind": "minibatch"}, "batch_size must be a whole number from 1"),
        ({"kind": "label", "batch_size": 3, "label_noise": 1.0}, "batch_size must be left out with noise label"),
        ({"kind": "label"}, "label_noise must be a positive number"),
        ({"kind": "none", "label_noise": 1.0}, "label_noise must be left out"),
        ({"kind": "fresh", "batch_size": 2, "replace": False}, "replace must be yes with noise fresh"),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Noise(**settings)


@pytest.mark.parametrize(
    ("name", "options", "noise", "message"),
    [
        ("relu", {"population": True}, Noise("minibatch", 2), "it has no data set"),
        ("matrix", {"observed": 0.5}, Noise("fresh", 2), "its loss is no population's"),
        ("uv", {"samples": 4}, Noise("minibatch", 5, replace=False), "at most the 4 examples of an epoch"),
    ],
)
def test_a_model_without_what_the_noise_needs_is_refused(name, options, noise, message):
    with pytest.raises(ConfigError, match=message):
        noise.check(build_model(name, options))
