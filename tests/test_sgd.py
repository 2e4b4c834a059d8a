"""SGD kernels: what one step does, exactly; what many do to χ; and that chains depend on nothing but their index."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import advance, starts
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import starting_points
from langevin_ib.geometry import charges
from langevin_ib.models import build_model, stack_tasks, uv
from langevin_ib.models.training import cast
from sims.sgd_charge import watched

MODELS = [
    ("uv", {"depth": 3, "samples": 6}),
    ("hadamard", {}),
    ("relu", {}),
    ("attention", {}),
    ("matrix", {}),
    ("matrix", {"group": "gl", "rank": 3}),
]


def flat(params):
    return np.asarray(ravel_pytree(params)[0])


@pytest.mark.full
def test_a_step_without_noise_is_gradient_descent_with_momentum_and_decay(x64):
    model, lr, mu, lam = build_model("relu"), 0.01, 0.9, 0.1
    (params,) = starts(model, 1)
    kernel = sgd(model, params, noise=Noise("none"), lr=lr, momentum=mu, weight_decay=lam)
    state, velocity, wanted = kernel.init(params, None), 0.0, flat(params)
    noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
    for _ in range(5):
        velocity = mu * velocity + flat(jax.grad(model.loss)(state.position)) + lam * wanted
        wanted = wanted - lr * velocity
        state, _ = kernel.step(noise, state, None)
        np.testing.assert_allclose(flat(state.position), wanted, rtol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), MODELS)
@pytest.mark.parametrize("noise", [Noise("minibatch", 2, 0.3), Noise("fresh", 3, 0.3), Noise("label", None, 0.5)])
def test_a_step_changes_the_charge_by_that_of_its_gradient(name, options, noise, x64):
    """χ(θ − ηĝ) = χ(θ) + η² χ(ĝ): the first order vanishes, whatever the batch. Not so under isotropic noise."""
    if noise.kind == "fresh":  # the population of uv goes without a data set
        options = {key: value for key, value in options.items() if key != "samples"}
    model, lr = build_model(name, options), 0.01
    for isotropized in (False, True):
        own = Noise(noise.kind, noise.batch_size, noise.label_noise, isotropized=isotropized)
        for params in starts(model, 2):
            kernel = sgd(model, params, noise=own, lr=lr)
            drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(1), 1))
            state, _ = kernel.step(drawn, kernel.init(params, None), None)
            gradient = jax.tree.map(lambda old, new: (old - new) / lr, params, state.position)
            change = model.moment_map(state.position) - model.moment_map(params)
            predicted = charges.charge_increment(model, gradient, lr)
            gap = np.max(np.abs(change - predicted))
            scale = np.sum(flat(params) ** 2) + np.sum(flat(gradient) ** 2) * lr
            assert gap > 1e-6 * scale if isotropized else gap < 1e-13 * scale


@pytest.mark.full
def test_the_product_formula_of_uv_holds_over_ten_thousand_steps(x64):
    model, lr, steps = uv(), 0.01, 10_000
    begin = jnp.array([[2.0, 0.5], [0.4, -1.5], [1.2, 0.3], [-1.0, 0.2]])
    kernel = sgd(model, begin[0], noise=Noise("label", None, 2.0), lr=lr, watch=watched(lr))
    result = advance(model, kernel, begin, steps)
    before, after = (np.asarray(jax.vmap(model.moment_map)(x))[:, 0] for x in (begin, jnp.asarray(result.position)))
    np.testing.assert_allclose(after, before * np.exp(steps * result.info["log_factor"]), rtol=1e-10)
    assert np.all(np.abs(after / before) < 0.1)


@pytest.mark.full
def test_gradient_descent_keeps_the_charge_to_first_order(x64):
    """Half the step, half the change at the same time: order one, to 5%."""
    model, begin = uv(), jnp.array([[2.0, 0.3]])
    changes = []
    for lr in (0.004, 0.002, 0.001):
        end = advance(model, sgd(model, begin[0], noise=Noise("none"), lr=lr), begin, round(2.0 / lr)).position
        changes.append(float(model.moment_map(jnp.asarray(end[0]))[0] - model.moment_map(begin[0])[0]))
    np.testing.assert_allclose(np.log2(np.array(changes[:-1]) / changes[1:]), 1.0, atol=0.05)


@pytest.mark.full
def test_label_noise_takes_the_charge_away_at_its_predicted_rate_and_isotropic_noise_does_not(x64):
    """Mean of (χ(n) − χ(0))/nη over 4096 chains from one start, 40 steps; |z| < 4 fails in one key of 10 000."""
    model, lr, steps = uv(), 1e-3, 40
    start = jnp.array([1.5, 1.0 / 1.5])
    begin = jnp.tile(start, (4096, 1))
    noise = Noise("label", None, 2.0)
    end = advance(model, sgd(model, start, noise=noise, lr=lr), begin, steps).position
    rates = (np.asarray(jax.vmap(model.moment_map)(jnp.asarray(end)) - model.moment_map(start)) / (steps * lr))[:, 0]
    predicted = float(charges.charge_rate(model, gradient_noise(model.training, noise, start), start, lr)[0])
    error = rates.std() / np.sqrt(rates.size)
    assert abs(rates.mean() - predicted) < 4 * error
    assert abs(rates.mean()) > 20 * error
    isotropized = Noise("label", None, 2.0, isotropized=True)
    end = advance(model, sgd(model, start, noise=isotropized, lr=lr), begin, steps).position
    rates = (np.asarray(jax.vmap(model.moment_map)(jnp.asarray(end)) - model.moment_map(start)) / (steps * lr))[:, 0]
    assert abs(rates.mean()) < 4 * rates.std() / np.sqrt(rates.size)


def test_an_epoch_takes_every_example_once(x64):
    """n = 7, B = 3: two steps an epoch, six different examples; over many epochs all seven about as often."""
    model = build_model("uv", {"samples": 7})
    (params,) = starts(model, 1)
    labels = np.asarray(model.training.task["y"])
    kernel = sgd(model, params, noise=Noise("minibatch", 3, replace=False), lr=1e-12)
    state = kernel.init(params, None)
    step = jax.jit(kernel.step)
    seen = np.zeros(7)
    for epoch in range(60):
        taken = []
        for half in range(2):
            drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(2 * epoch + half), 1))
            before = int(state.memory.used) % 6
            state, _ = step(drawn, state, None)
            taken += np.asarray(state.memory.order)[before : before + 3].tolist()
        assert len(set(taken)) == 6
        seen[taken] += 1
    assert labels.size == 7
    # Each is left out of an epoch with probability 1/7: 51 ± 2.7 of 60.
    assert np.all(np.abs(seen - 60 * 6 / 7) < 5 * 2.7)


def test_the_batch_of_an_epoch_is_the_deck(x64):
    """The gradient of a step is that of the examples which the deck says were dealt."""
    model = build_model("uv", {"samples": 6})
    (params,) = starts(model, 1)
    kernel = sgd(model, params, noise=Noise("minibatch", 2, replace=False), lr=0.1)
    drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(4), 1))
    state, _ = kernel.step(drawn, kernel.init(params, None), None)
    task, dealt = cast(model.training.task, params), state.memory.order[:2]
    z = params[0] * params[1]
    g = jnp.mean(task["x"][dealt] * (task["x"][dealt] * z - task["y"][dealt]))
    np.testing.assert_allclose(flat(state.position), flat(params - 0.1 * g * params[::-1]), rtol=1e-12)


@pytest.mark.full
def test_isotropized_noise_has_the_length_of_the_noise_that_it_replaces(x64):
    model, lr = build_model("relu"), 1.0
    (params,) = starts(model, 1)
    mean = flat(jax.grad(model.loss)(params))
    lengths = []
    for isotropized in (False, True):
        kernel = sgd(model, params, noise=Noise("minibatch", 2, 0.1, isotropized=isotropized), lr=lr)
        drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(5), 1))
        state, _ = kernel.step(drawn, kernel.init(params, None), None)
        lengths.append(np.linalg.norm(flat(params) - flat(state.position) - mean))
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-9)


@pytest.mark.full
@pytest.mark.parametrize("noise", [Noise("minibatch", 2), Noise("fresh", 2, 0.1), Noise("label", None, 0.1)])
def test_a_chain_depends_on_how_many_there_are_and_on_the_devices_by_rounding_alone(noise):
    """XLA compiles each number of chains on a device for itself; a few roundings of a float32 a step are allowed for.

    The controls, both further away than that: another chain, and the same chain with another key.
    """
    model, steps = build_model("relu"), 50
    begin = starting_points(model.init, jax.random.key(3), 6, jnp.float32)
    one = jax.tree.map(lambda leaf: leaf[0], begin)
    kernel = sgd(model, one, noise=noise, lr=0.01)
    two = jax.tree.map(lambda leaf: leaf[:2], begin)

    def ends(starts, **options):
        found = advance(model, kernel, starts, steps, dtype=jnp.float32, **options).position
        return np.stack([flat([leaf[i] for leaf in jax.tree.leaves(found)]) for i in range(2)])

    with jax.enable_x64(True):
        many, few, other = ends(begin), ends(two), ends(two, key=1)
        alone = ends(begin, devices=jax.devices()[:1])
    rounding = 4 * steps * np.finfo(np.float32).eps * np.max(np.abs(many))
    np.testing.assert_allclose(alone, many, rtol=0, atol=rounding)
    np.testing.assert_allclose(few, many, rtol=0, atol=rounding)
    assert np.max(np.abs(many[0] - many[1])) > 1000 * rounding
    assert np.min(np.max(np.abs(other - few), axis=1)) > 10 * rounding


@pytest.mark.full
def test_every_chain_learns_its_own_task(x64):
    """Two tasks side by side end where each of them ends alone."""
    model = build_model("relu", {"samples": 5})
    tasks = [model.training.draw_task(np.random.default_rng(i)) for i in range(2)]
    begin = starting_points(model.init, jax.random.key(3), 2, jnp.float64)
    kernel = sgd(model, jax.tree.map(lambda leaf: leaf[0], begin), noise=Noise("minibatch", 2), lr=0.01)
    together = advance(model, kernel, begin, 40, tasks=stack_tasks(tasks))
    same = advance(model, kernel, begin, 40, tasks=stack_tasks(tasks[:1] * 2))
    for a, b in zip(jax.tree.leaves(together.position), jax.tree.leaves(same.position), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert np.max(np.abs(a[1] - b[1])) > 1e-3


@pytest.mark.full
@pytest.mark.parametrize("noise", [Noise("bernoulli"), Noise("minibatch", 2, replace=False)])
def test_chains_with_tasks_on_two_devices_are_those_of_one(noise, x64):
    """Five matrices of unequal numbers of entries, an odd number of chains. The control: two tasks exchanged.

    That changes exactly these two chains.
    """
    model = build_model("matrix", {"observed": 0.6, "rank": 2})
    tasks = stack_tasks([model.training.draw_task(np.random.default_rng([0, i])) for i in range(5)])
    begin = starting_points(model.init, jax.random.key(3), 5, jnp.float64)
    like, task_like = jax.tree.map(lambda leaf: leaf[0], (begin, dict(tasks)))
    kernel = sgd(model, like, noise=noise, lr=0.02, task_like=task_like)

    def ends(tasks, devices):
        result = advance(model, kernel, begin, 20, tasks=tasks, devices=jax.devices()[:devices])
        return np.stack([flat(jax.tree.map(lambda leaf, i=i: leaf[i], result.position)) for i in range(5)])

    order = np.array([0, 3, 2, 1, 4])
    both, exchanged = ends(tasks, 2), ends(jax.tree.map(lambda leaf: leaf[order], dict(tasks)), 2)
    np.testing.assert_array_equal(ends(tasks, 1), both)
    assert np.flatnonzero(np.abs(exchanged - both).max(axis=1) > 0).tolist() == [1, 3]
    assert np.abs(exchanged - both)[[1, 3]].max(axis=1).min() > 1e-3


def test_noise_of_another_shape_than_the_task_is_an_error(x64):
    """Where tasks are filled up beyond the model's own, and the kernel was not told."""
    model = build_model("relu", {"samples": 5})
    (params,) = starts(model, 1)
    longer = build_model("relu", {"samples": 7}).training.task
    kernel = sgd(model, params, noise=Noise("label", None, 0.5), lr=0.01)
    drawn = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
    with pytest.raises(TypeError, match="incompatible shapes"):
        kernel.step(drawn, kernel.init(params, longer), longer)
