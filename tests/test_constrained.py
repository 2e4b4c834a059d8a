"""Langevin dynamics on the slice: where it is, which law it obeys, and how its bias goes with the step."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.confinements.hard_fixman import hard_fixman
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.projected import constrained_langevin
from langevin_ib.ensemble.accumulators import WindowDraw, moments, window_histogram
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.geometry.correction import implicit_bias
from langevin_ib.laws import Reduction, bin_masses, family
from langevin_ib.models import hadamard, matrix, relu, uv
from langevin_ib.statistics import compare

T = 0.1
EDGES = np.linspace(0.2265, 2.265, 41)
CHAINS = 1024
pytestmark = pytest.mark.usefixtures("x64")


def kernel_of(model, potential, step_size, temperature=T):
    like = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(0)))
    return constrained_langevin(potential, model.moment_map, like, temperature=temperature, step_size=step_size)


def run(kernel, starts, observe, accumulator, schedule, key=0):
    return run_ensemble(
        kernel, starts, Observer(lambda state: observe(state.position), accumulator, lambda draw: {}),
        key=jax.random.key(key), schedule=schedule, limit=Limit(0.0), stage=Stage("test"),
    )  # fmt: skip


MODELS = {
    "uv": uv(),
    "uv of depth 4": uv(depth=4),
    "hadamard": hadamard(dim=2),
    "relu": relu(inputs=2, width=2),
    "matrix": matrix(rows=2, cols=2, rank=2, group="gl"),
}


@pytest.mark.full
@pytest.mark.parametrize("name", MODELS)
def test_a_start_far_from_the_slice_lands_on_it_and_the_chain_stays_there_to_rounding(name):
    model = MODELS[name]
    kernel = kernel_of(model, model.loss, step_size=0.002)
    starts = starting_points(model.init, jax.random.key(1), 64, jnp.float64)
    far = 2.0 * jax.random.normal(jax.random.key(2), (64, model.group_dim))
    starts = jax.vmap(model.act)(far, starts)

    def charge(params):
        return jnp.max(jnp.abs(model.moment_map(params)))

    assert np.median(jax.vmap(charge)(starts)) > 1.0
    landed = jax.vmap(kernel.init)(starts, None)
    assert jax.vmap(charge)(landed.position).max() < 1e-13
    accumulator = dataclasses.replace(  # the largest |χ| of all recorded draws
        moments(), init=lambda: jnp.zeros(()), update=jnp.maximum
    )
    result = run(kernel, starts, charge, accumulator, Schedule(0, 1, 400, (400,)))
    assert np.max(result.segments[0]) < 1e-13
    assert np.mean(result.info["rejected"]) < 0.01
    first, last = (ravel_pytree(position)[0] for position in (landed.position, result.position))
    assert np.median(np.abs(last - first)) > 0.01


def test_a_start_that_cannot_be_projected_is_not_a_number():
    """From (0, 1) the gradient of χ points at the origin, where the two lines of the slice of uv cross."""
    kernel = kernel_of(uv(), uv().loss, step_size=0.01)
    assert jnp.isnan(kernel.init(jnp.array([0.0, 1.0]), None).position).all()
    assert jnp.isfinite(kernel.init(jnp.array([0.1, 1.0]), None).position).all()


@pytest.mark.full
def test_at_zero_temperature_a_step_is_projected_gradient_descent():
    model, h = uv(depth=3), 1e-3
    kernel = kernel_of(model, model.loss, h, temperature=0.0)
    start = model.section({"z": jnp.asarray(2.0)})
    noise = kernel.draw(jax.random.key(0), 1)[0]
    state, info = kernel.step(noise, kernel.init(start, None), None)
    np.testing.assert_allclose(state.position, start - h * jax.grad(model.loss)(start), rtol=1e-12)
    assert info.rejected == 0


def circle(params):
    return 0.5 * (jnp.sum(params**2) - 1.0)[None]


def no_force(params):
    return 0.0 * jnp.sum(params)


@pytest.mark.full
def test_a_step_goes_along_the_old_gradient():
    """On the unit circle: from (1, 0) with the kick (k, l) the new point has the ordinate l."""
    h = 0.02
    kernel = constrained_langevin(no_force, circle, jnp.zeros(2), temperature=T, step_size=h)
    state, _ = kernel.step(jnp.array([0.7, 1.3]), kernel.init(jnp.array([1.0, 0.0]), None), None)
    second, _ = kernel.step(jnp.array([0.0, 0.0]), state, None)
    ordinate = np.sqrt(h * T / 2) * 1.3
    np.testing.assert_allclose(state.position, [np.sqrt(1 - ordinate**2), ordinate], rtol=1e-12)
    # No new noise: the old noise comes again, each being used in two steps, and moves the chain along the new tangent.
    tangent = jnp.array([-ordinate, state.position[0]])
    np.testing.assert_allclose(second.position @ tangent, np.sqrt(h * T / 2) * jnp.array([0.7, 1.3]) @ tangent)


@pytest.mark.full
def test_a_step_that_finds_no_point_of_the_slice_is_rejected_and_one_that_overflows_is_not_hidden():
    kernel = constrained_langevin(no_force, circle, jnp.zeros(2), temperature=T, step_size=1.0)
    state = kernel.init(jnp.array([1.0, 0.0]), None)
    stuck, info = kernel.step(jnp.array([0.0, 50.0]), state, None)  # the line x ↦ (x, 11) misses the circle
    assert info.rejected == 1
    np.testing.assert_array_equal(stuck.position, state.position)
    overrun, info = kernel.step(jnp.array([0.0, jnp.inf]), state, None)
    assert info.rejected == 0
    assert jnp.isnan(overrun.position).all()


def test_a_moment_map_of_the_wrong_shape_is_refused():
    for wrong in (jnp.sum, lambda p: jnp.concatenate([p, p])):
        with pytest.raises(ValueError, match="moment_map must give a vector of 1 to 2 components"):
            constrained_langevin(no_force, wrong, jnp.zeros(2), temperature=T, step_size=0.1)


def test_fixman_is_the_implicit_bias():
    params = jnp.array([1.0, 0.3])
    np.testing.assert_allclose(hard_fixman(T).energy(uv(), params), implicit_bias(uv(), params, T))


def rebalanced(model, step_size):
    """A step in the full space, then back to the slice along the orbit: a control that is no projection."""
    kernel = euler_maruyama(model.loss, jnp.zeros(2), temperature=T, step_size=step_size)

    def step(noise, state, task):
        moved, info = kernel.step(noise, state, task)
        return moved._replace(position=model.section(model.invariants(moved.position))), info

    return Kernel(kernel.draw, kernel.init, step)


def histogram(kernel, model, thin):
    """z in the window, from chains that start in the component z > 0 of the slice."""
    starts = starting_points(lambda k: jnp.abs(model.init(k)), jax.random.key(1), CHAINS, jnp.float64)

    def observe(params):
        return WindowDraw(model.invariants(params)["z"], jnp.asarray(True))

    return run(kernel, starts, observe, window_histogram(EDGES), Schedule(250, thin, 300, (300,)))


CASES = {
    "hard": (uv(), 0.0, 1e-4),
    "hard, depth 3": (uv(depth=3), 0.0, 0.01),
    # The law c = 1 diverges at z = 0, where Fixman's force does: what gets there jumps, and part of it is rejected.
    "hard-fixman": (uv(), 1.0, 0.03),
    "hard-fixman, depth 3": (uv(depth=3), 1.0, 0.2),
    "rebalanced": (uv(), 1.0, 0.0),
}


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_the_law_in_the_window_is_the_one_named_and_not_the_other(name):
    """p < 1e-3 for a right law: 1e-3 a case. The other law of the two is rejected by the same code."""
    model, c, rejections = CASES[name]
    if name == "rebalanced":
        kernel = rebalanced(model, step_size=0.005)
    else:
        correction = partial(hard_fixman(T).energy, model) if c == 1.0 else no_force
        kernel = kernel_of(model, lambda p: model.loss(p) + correction(p), step_size=0.02)
    result = histogram(kernel, model, thin=24 if name == "rebalanced" else 6)
    sample = compare.histogram_of(np.asarray(result.segments[0].counts))
    reduction = Reduction(model, unconfined(), T)
    right, wrong = (bin_masses(family(reduction, value, "law"), EDGES) for value in (c, 1.0 - c))
    found, other = (compare.against_law(sample, law, 0.01) for law in (right, wrong))
    assert found.p_value is not None
    assert found.p_value > 1e-3
    assert found.verdict != "differs"
    assert other.p_value is not None
    assert other.p_value < 1e-20
    assert other.verdict == "differs"
    if name != "rebalanced":
        assert np.mean(result.info["rejected"]) < rejections


def plain(kernel):
    """The same step with √(2hT) ξ_{n+1}: the noise that is averaged with the new one is the new one itself."""

    def step(noise, state, task):
        return kernel.step(noise, state._replace(last_noise=noise), task)

    return dataclasses.replace(kernel, step=step)


def mean_and_error(kernel, starts, observe, schedule):
    """The mean of a number over all draws, and its standard error with chains as the unit."""
    means = run(kernel, starts, observe, moments(), schedule).segments[0].mean
    return means.mean(), means.std(ddof=1) / np.sqrt(means.size)


@pytest.mark.full
def test_on_a_flat_slice_the_variance_of_a_quadratic_is_exact():
    """T/κ at any step; T/(κ(1 − hκ/2)) with plain noise. |z| > 4 for the right value: 6e-5 each.

    Each of the two values is rejected for the other kernel.
    """
    kappa, h = 3.0, 0.2

    def potential(params):
        return 0.5 * kappa * jnp.sum(params**2)

    def plane(params):
        return (params[0] + 2.0 * params[1] - params[2])[None]

    starts = 0.2 * jax.random.normal(jax.random.key(3), (2000, 3))
    kernel = constrained_langevin(potential, plane, starts[0], temperature=T, step_size=h)
    exact, biased = 2 * T / kappa, 2 * T / (kappa * (1 - h * kappa / 2))  # of |θ|², in two dimensions
    for used, right, wrong in ((kernel, exact, biased), (plain(kernel), biased, exact)):
        mean, error = mean_and_error(used, starts, lambda p: jnp.sum(p**2), Schedule(100, 5, 100, (100,)))
        assert abs(mean - right) < 4 * error
        assert abs(mean - wrong) > 10 * error


@pytest.mark.full
def test_on_a_curved_slice_the_bias_goes_with_the_step_and_is_smaller_than_with_plain_noise():
    """E x on the ellipse x² + 4y² = 1 under V = x/2, against quadrature over its arc.

    Halving the step has to halve the bias at least. Measured at h = 0.4 and 0.2: −0.0074 and −0.0026, standard errors
    4e-4 and 3e-4, so that a right kernel fails in 1e-3 of keys. The control is plain noise: 0.048 at h = 0.2.
    """
    angle = 2 * np.pi * np.arange(4000) / 4000
    weight = np.sqrt(np.sin(angle) ** 2 + np.cos(angle) ** 2 / 4) * np.exp(-np.cos(angle) / (2 * T))
    exact = weight @ np.cos(angle) / weight.sum()

    def ellipse(params):
        return 0.5 * (params[0] ** 2 + 4 * params[1] ** 2 - 1.0)[None]

    starts = jax.random.normal(jax.random.key(0), (2048, 2))

    def bias(h, chains, change=lambda kernel: kernel):
        kernel = change(constrained_langevin(lambda p: 0.5 * p[0], ellipse, starts[0], temperature=T, step_size=h))
        mean, error = mean_and_error(kernel, starts[:chains], lambda p: p[0], Schedule(200, 4, 600, (600,)))
        return mean - exact, error

    (coarse, coarse_error), (fine, fine_error), (control, _) = bias(0.4, 512), bias(0.2, 2048), bias(0.2, 512, plain)
    assert abs(coarse) > 10 * coarse_error
    assert abs(fine) < 0.5 * abs(coarse)
    assert abs(control) > 5 * (abs(fine) + 4 * fine_error)
