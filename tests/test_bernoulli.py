"""Examples kept at random: fair and independent coins, a mean and a covariance as stated, each chain's own mask."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.noise import Noise, standard_normals
from langevin_ib.dynamics.noises.bernoulli import coins
from langevin_ib.errors import ConfigError
from langevin_ib.models import build_model, stack_tasks
from langevin_ib.studies.balance import ISOTROPIZED, LABEL, SGD
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.following import follow
from langevin_ib.studies.recorded import Trained
from langevin_ib.studies.settling import arms, settle
from langevin_ib.studies.training import train

DRAWS = 40_000
LIMIT = 5.0  # standard errors; over at most 105 of them, with normal tails, too few in 6e-5 of keys
DATA = {"matrix": {"observed": 0.6, "rank": 2, "seed": 1}, "relu": {"samples": 6, "width": 3, "inputs": 2}}
SMALL = {"model": "uv", "options": {"samples": 4}, "noise": "bernoulli", "steps": 40, "seeds": 8, "lr": 0.02}


def flat(params):
    return np.asarray(ravel_pytree(params)[0])


def drawn_gradients(model, params, noise, draws=DRAWS):
    """θ − θ' at η = 1 of as many independent steps from one point."""
    kernel = sgd(model, params, noise=noise, lr=1.0)

    def gradient(drawn):
        moved = kernel.step(drawn, kernel.init(params, None), None)[0].position
        return ravel_pytree(params)[0] - ravel_pytree(moved)[0]

    drawn = kernel.draw(jax.random.key(7), draws)
    return np.asarray(jax.jit(jax.vmap(gradient))(drawn))


def stated(model, noise, params):
    return jax.jit(lambda p: gradient_noise(model.training, noise, p))(params)


def deviation(products, wanted):
    """Of a mean over draws from what it should be: the largest, in standard errors; what does not vary is exact."""
    error = products.std(axis=0, ddof=1) / np.sqrt(len(products))
    return float(np.max(np.abs(products.mean(axis=0) - wanted) / (error + 1e-10)))


def second_moments(gradients, mean):
    i, j = np.triu_indices(gradients.shape[1])
    return (gradients[:, i] - mean[i]) * (gradients[:, j] - mean[j]), (i, j)


@pytest.mark.full
@pytest.mark.parametrize("name", DATA)
def test_mean_and_covariance_are_those_stated_and_not_those_of_half_a_batch(name, x64):
    """Negative control: minibatches of n/2 with replacement, whose Σ is 2 Cov g/n where this is E g gᵀ/n."""
    model = build_model(name, DATA[name])
    (params,) = starts(model, 1)
    found = stated(model, Noise("bernoulli"), params)
    mean, covariance = np.asarray(found.mean), np.asarray(found.covariance)
    np.testing.assert_allclose(mean, flat(jax.grad(model.loss)(params)), rtol=1e-10, atol=1e-12)
    gradients = drawn_gradients(model, params, Noise("bernoulli"))
    products, upper = second_moments(gradients, mean)
    assert deviation(gradients, mean) < LIMIT
    assert deviation(products, covariance[upper]) < LIMIT

    half = Noise("minibatch", model.training.size // 2)
    other, _ = second_moments(drawn_gradients(model, params, half), mean)
    assert deviation(other, np.asarray(stated(model, half, params).covariance)[upper]) < LIMIT
    assert deviation(other, covariance[upper]) > 4 * LIMIT
    # A mean that is off by a twentieth of the noise of one step would be seen.
    assert deviation(gradients, mean + 0.05 * np.sqrt(np.diag(covariance))) > LIMIT


@pytest.mark.full
def test_covariance_is_that_of_all_masks(x64):
    """By enumeration of the 2⁶ subsets of a data set, to rounding."""
    model = build_model("relu", DATA["relu"])
    (params,) = starts(model, 1)
    task = model.training.task
    masks = jnp.asarray(list(itertools.product([0.0, 2.0], repeat=len(task["y"]))))
    gradients = np.asarray(
        jax.lax.map(
            lambda mask: ravel_pytree(jax.grad(partial(model.training.risk, {**task, "mask": mask}))(params))[0], masks
        )
    )
    found = gradient_noise(model.training, Noise("bernoulli"), params)
    np.testing.assert_allclose(found.mean, gradients.mean(axis=0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(gradients.T, bias=True), rtol=1e-9, atol=1e-12)


def correlation(coins):
    """Largest |correlation| between two rows of tosses, times the root of their number: normal if they are fair."""
    signs = 2.0 * coins - 1.0
    found = signs @ signs.T / np.sqrt(signs.shape[1])
    return float(np.abs(found[np.triu_indices(len(found), 1)]).max())


@pytest.mark.full
def test_coins_are_fair_and_independent_between_chains_bits_and_steps():
    """256 chains of 4000 tosses: 32 640 pairs of chains |z| < 6, 8 × 10⁶ pairs of tosses < 7, the others < 5.

    With a fair coin one of these fails in 5e-4 of keys.
    """
    chains, size = 256, 4000
    first, second = (np.asarray(coins(jax.random.key(k), chains, (size,))) for k in (0, 1))
    assert first.shape == (chains, size)
    assert set(np.unique(first)) == {0.0, 1.0}
    assert np.abs((first.mean(axis=1) - 0.5) * 2 * np.sqrt(size)).max() < 5
    places = first.reshape(chains, -1, 32).mean(axis=(0, 1))  # of a word's 32 bits
    assert np.abs((places - 0.5) * 2 * np.sqrt(first.size / 32)).max() < 5
    assert correlation(first) < 6
    assert correlation(first.T) < 7
    steps = (2.0 * first - 1.0) * (2.0 * second - 1.0)
    assert np.abs(steps.sum(axis=1) / np.sqrt(size)).max() < 5
    # Controls: two chains that share an eighth of their words, and a coin of 55%.
    shared = first.copy()
    shared[1, : size // 8] = first[0, : size // 8]
    assert correlation(shared) > 6
    biased = np.random.default_rng(0).uniform(size=first.shape) < 0.55
    assert np.abs((biased.mean(axis=1) - 0.5) * 2 * np.sqrt(size)).max() > 5


@pytest.mark.full(only=["shape2"])
@pytest.mark.parametrize("shape", [(35,), (5, 7), (3, 64)])
def test_a_chain_tosses_the_same_whatever_their_number(shape):
    many, few = (np.asarray(coins(jax.random.key(3), chains, shape)) for chains in (9, 4))
    assert many.shape == (9, *shape)
    np.testing.assert_array_equal(many[:4], few)


@pytest.mark.full
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5)])
def test_normals_are_standard_whatever_their_order_in_memory(shape):
    """|z| < 4.5 for each of two means over 4000 chains: 3e-5 of keys a shape."""
    drawn = np.asarray(standard_normals(jax.random.key(4), 4000, shape, jnp.float32), float)
    assert drawn.shape == (4000, *shape)
    sums = drawn.reshape(4000, -1).sum(axis=1) / np.sqrt(np.prod(shape))
    assert abs(sums.mean()) * np.sqrt(4000) < 4.5
    assert abs((sums**2).mean() - 1.0) * np.sqrt(4000 / 2) < 4.5
    few = np.asarray(standard_normals(jax.random.key(4), 3, shape, jnp.float32))
    np.testing.assert_array_equal(drawn[:3].astype(np.float32), few)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_noise": 0.1}, "label_noise must be left out with noise bernoulli, got 0.1"),
        ({"batch_size": 2}, "batch_size must be left out with noise bernoulli, which takes all examples, got 2"),
        ({"replace": False}, "replace must be yes with noise bernoulli, got no"),
    ],
)
def test_contradictions_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Noise("bernoulli", **settings)


def test_a_model_without_a_data_set_is_refused():
    with pytest.raises(ConfigError, match="fresh or none for relu here: it has no data set, got bernoulli"):
        Noise("bernoulli").check(build_model("relu", {"population": True}))


def moved(model, tasks, params, i):
    """Gradient of chain i at θ, and its coins."""
    stacked = stack_tasks(tasks)
    task = jax.tree.map(lambda leaf: leaf[i], stacked)
    kernel = sgd(model, params, noise=Noise("bernoulli"), lr=1.0, task_like=task)
    drawn = kernel.draw(jax.random.key(5), len(tasks))
    state, _ = kernel.step(jax.tree.map(lambda leaf: leaf[i], drawn), kernel.init(params, task), task)
    return jax.tree.map(lambda a, b: np.asarray(a - b), params, state.position), np.asarray(drawn.own[i], float)


@pytest.mark.full
def test_every_chain_completes_its_own_matrix_from_its_own_mask(x64):
    model = build_model("matrix", {"observed": 0.5, "rank": 2, "ridge": 0.0})
    tasks = [model.training.draw_task(np.random.default_rng([1, i])) for i in range(3)]
    assert len({len(task["x"]) for task in tasks}) > 1
    (params,) = starts(model, 1)
    U, V = (np.asarray(params[name]) for name in "UV")
    coins_seen = []
    for i, task in enumerate(tasks):
        found, coins = moved(model, tasks, params, i)
        residual = 2.0 * coins * task["mask"] * (U @ V.T - task["target"])
        np.testing.assert_allclose(found["U"], residual @ V, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found["V"], residual.T @ U, rtol=0, atol=1e-12)
        other = 2.0 * coins * tasks[i - 1]["mask"] * (U @ V.T - task["target"])
        assert np.abs(found["U"] - other @ V).max() > 1e-3
        coins_seen.append(coins)
    assert not np.array_equal(coins_seen[0], coins_seen[1])


@pytest.mark.full
def test_every_chain_drops_examples_of_its_own_data_set(x64):
    model = build_model("relu", {**DATA["relu"], "ridge": 0.0, "gain": 2.0})
    tasks = [model.training.draw_task(np.random.default_rng([1, i])) for i in range(3)]
    (params,) = starts(model, 1)
    for i, task in enumerate(tasks):
        found, coins = moved(model, tasks, params, i)
        hidden = np.maximum(task["x"] @ np.asarray(params["W"]).T, 0.0)
        error = hidden @ np.asarray(params["v"]) - task["y"]
        wanted = 2.0 * np.mean((2.0 * coins * error)[:, None] * hidden, axis=0)
        np.testing.assert_allclose(found["v"], wanted, rtol=0, atol=1e-12)


def test_attribution_with_kept_examples_has_label_noise_on_the_whole_data_set():
    found = arms(AttributionConfig(**SMALL, data_noise=0.3, label_noise=0.4))
    assert found[SGD].noise == Noise("bernoulli")
    assert found[ISOTROPIZED].noise == Noise("bernoulli", isotropized=True)
    assert found[LABEL].noise == Noise("label", None, 0.5)


@pytest.mark.full
def test_single_precision_keeps_the_charges_of_double_precision_to_1e_4(x64):
    paths = {}
    for precision in (32, 64):
        problem, config = settle(AttributionConfig(**SMALL, label_noise=1.0, precision=precision))
        found = train(problem, arms(config)[SGD], stage="SGD").flat
        assert found.dtype == np.dtype(f"float{precision}")
        paths[precision] = found.astype(float)
    charges = {precision: 0.5 * (found[..., 0] ** 2 - found[..., 1] ** 2) for precision, found in paths.items()}
    assert 0 < np.abs(charges[32] - charges[64]).max() < 1e-4 * (paths[64] ** 2).max()
    with pytest.raises(ConfigError, match="precision must be 32 or 64, got 16"):
        AttributionConfig(precision=16)


def test_ratios_of_single_precision_runs_are_finite_however_far_off_balance(x64):
    """|a|/|b| = 10⁶, of which float32 makes tanh ρ = 1."""
    problem, _ = settle(AttributionConfig(**SMALL, label_noise=1.0, precision=32))
    flat = np.tile(np.float32([1e3, 1e-3]), (8, 2, 1))
    found = follow(problem, Trained(np.arange(2.0), flat, flat[0, 0], 0.0))
    np.testing.assert_allclose(found.ratio, 1e6, rtol=1e-3)
