"""What models are trained on: examples whose mean is the loss, fresh ones of the same mean, tasks side by side."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib import ModelError
from langevin_ib.config import extensions
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.noise import Noise
from langevin_ib.geometry import contract
from langevin_ib.models import Examples, build_model, stack_tasks, uv, with_metric
from langevin_ib.models.training import cast, imbalance

MODELS = [(name, {}) for name in extensions.names("model")] + [
    ("uv", {"depth": 3}),
    ("uv", {"samples": 12}),
    ("relu", {"population": True}),
    ("relu", {"teacher_scale": 1.5, "start_scale": 0.05, "skew": 1.2}),
    ("attention", {"train_values": True, "width": 2, "teacher_scale": 0.75, "start_scale": 0.1, "boost": True}),
    ("matrix", {"group": "gl", "rank": 3}),
    ("matrix", {"observed": 0.5, "spectrum": "4,1"}),
]


@pytest.mark.full(but=["uv-options5"])
@pytest.mark.parametrize(("name", "options"), MODELS)
def test_the_contract_of_training_holds(name, options):
    contract.check_model(build_model(name, options), jax.random.key(3))


def test_a_prediction_that_changes_along_the_orbit_is_refused():
    model = uv()
    broken = dataclasses.replace(model.training, predict=lambda params, x: x * params[0])
    with pytest.raises(ModelError, match="a prediction changes along the orbit by"):
        contract.check_model(dataclasses.replace(model, training=broken), jax.random.key(0))


def test_examples_whose_mean_is_another_loss_are_refused():
    model = uv(samples=8)
    other = {**model.training.task, "weight": 2.0}
    with pytest.raises(ModelError, match=r"squared errors.*the mean over the examples is not the loss, by"):
        contract.check_model(
            dataclasses.replace(model, training=dataclasses.replace(model.training, task=other)), jax.random.key(0)
        )


@pytest.mark.full(only=["hadamard"])
@pytest.mark.parametrize("name", ["uv", "hadamard", "rotation"])
def test_fresh_examples_have_the_loss_as_their_mean(name, x64):
    """By Gauss–Hermite quadrature, exact for these linear predictors."""
    model = build_model(name)
    for params in starts(model):
        found = gradient_noise(model.training, Noise("fresh", 1), params).mean
        wanted = ravel_pytree(jax.grad(model.loss)(params))[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.full
def test_fresh_examples_of_the_relu_population_have_the_loss_as_their_mean(x64):
    """Of 200 000 examples; four standard errors are missed by the true mean in one key of 10 000."""
    model = build_model("relu", {"population": True})
    (params,) = starts(model, 1)
    task = cast(model.training.task, params)
    examples = model.training.population.examples(task, jax.random.normal(jax.random.key(0), (200_000, 3)))
    square = (model.training.predict(params, examples.x) - examples.y) ** 2
    half = 0.5 * model.training.population.weight
    error = half * float(square.std()) / np.sqrt(square.size)
    expected = float(model.loss(params) - model.training.penalty(params))
    assert abs(half * float(square.mean()) - expected) < 4 * error
    assert abs(half * float(square.mean()) - 1.02 * expected) > 4 * error


@pytest.mark.full
@pytest.mark.parametrize("options", [{"observed": 0.4, "rank": 3}, {"observed": 0.4, "rows": 6, "cols": 5}])
def test_tasks_of_unequal_size_keep_their_loss_and_gradient_side_by_side(options, x64):
    model = build_model("matrix", options)
    tasks = [model.training.draw_task(np.random.default_rng([1, i])) for i in range(4)]
    assert len({len(task["x"]) for task in tasks}) > 1
    stacked = stack_tasks(tasks)
    (params,) = starts(model, 1)
    for i, task in enumerate(tasks):
        one = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), stacked)
        filled = model.training.batch_loss(params, Examples(one["x"], one["y"]), one["weight"])
        np.testing.assert_allclose(filled, model.training.risk(task, params), rtol=1e-12)


@pytest.mark.full
def test_the_whole_data_set_of_a_metric_model_is_that_of_its_base(x64):
    model = with_metric(uv(samples=8), np.array([4.0, 1.0]))
    contract.check_model(model, jax.random.key(0))


def test_imbalance_is_that_of_the_paper():
    """exp(2λ(i − 1)/(h − 1) − λ), eq. (63)."""
    wanted = [np.exp(2 * 1.2 * (i - 1) / 15 - 1.2) for i in range(1, 17)]
    np.testing.assert_allclose(imbalance(16, 1.2), wanted, rtol=1e-12)
