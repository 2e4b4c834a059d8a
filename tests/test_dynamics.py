"""Kernels: the exact step, then the stationary law on the quadratic, where everything is known."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.util import generate_gaussian_noise

from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.dynamics.kernels.projected import constrained_langevin
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.ensemble.tuning import tune_step_size

KAPPA, T = 3.0, 0.7


def quadratic(params):
    return 0.5 * KAPPA * jnp.sum(params["x"] ** 2)


LIKE = {"x": jnp.zeros(2)}
START = {"x": jnp.array([1.0, -2.0])}


@pytest.mark.parametrize("build", [euler_maruyama, leimkuhler_matthews])
def test_at_zero_temperature_a_step_is_gradient_descent(build):
    kernel = build(quadratic, LIKE, temperature=0.0, step_size=0.1)
    noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
    state, _ = kernel.step(noise, kernel.init(START, None), None)
    np.testing.assert_allclose(state.position["x"], (1 - 0.1 * KAPPA) * START["x"], rtol=1e-6)


def test_euler_maruyama_is_its_equation():
    h = 0.01
    kernel = euler_maruyama(quadratic, LIKE, temperature=T, step_size=h)
    noise = {"x": jnp.array([0.3, -1.2])}
    state, _ = kernel.step(noise, kernel.init(START, None), None)
    np.testing.assert_allclose(
        state.position["x"], START["x"] * (1 - h * KAPPA) + np.sqrt(2 * h * T) * noise["x"], rtol=1e-6
    )


def test_leimkuhler_matthews_uses_each_noise_twice():
    h = 0.01
    kernel = leimkuhler_matthews(quadratic, LIKE, temperature=T, step_size=h)
    a, b = {"x": jnp.array([0.3, -1.2])}, {"x": jnp.array([-0.8, 0.4])}
    first, _ = kernel.step(a, kernel.init(START, None), None)
    second, _ = kernel.step(b, first, None)
    wanted = first.position["x"] * (1 - h * KAPPA) + np.sqrt(h * T / 2) * (a["x"] + b["x"])
    np.testing.assert_allclose(second.position["x"], wanted, rtol=1e-6)


@pytest.mark.full
def test_a_mala_proposal_is_the_euler_step():
    """The convention of blackjax: its step size is hT. Accepted with certainty here, as h is small."""
    h, key = 1e-4, jax.random.key(3)
    kernel = mala(quadratic, temperature=T, step_size=h)
    state, info = kernel.step(key, kernel.init(START, None), None)
    xi = generate_gaussian_noise(jax.random.split(key)[0], START)
    assert bool(info.is_accepted)
    wanted = START["x"] * (1 - h * KAPPA) + np.sqrt(2 * h * T) * xi["x"]
    np.testing.assert_allclose(state.position["x"], wanted, rtol=1e-6)


@pytest.mark.full
def test_mala_takes_the_precision_of_the_chain_also_inside_x64(x64):
    for dtype in (jnp.float32, jnp.float64):
        start = {"x": jnp.array([1.0, -2.0], dtype)}
        kernel = mala(quadratic, temperature=T, step_size=0.01)
        state, _ = kernel.step(jax.random.key(0), kernel.init(start, None), None)
        assert state.position["x"].dtype == dtype


def test_a_batched_draw_gives_chain_i_the_same_noise_for_any_number_of_chains():
    kernel = euler_maruyama(quadratic, LIKE, temperature=T, step_size=0.1)
    few, many = (kernel.draw(jax.random.key(5), n)["x"] for n in (16, 100))
    np.testing.assert_array_equal(few, many[:16])


def stationary_variance(kernel, chains=2000, records=200):
    """Variance of x over the ensemble and its standard error, chains as the unit."""
    with jax.enable_x64(True):
        part = moments((2,))
        observer = Observer(lambda state: state.position["x"], part, lambda draw: {"x": draw})
        starts = {"x": np.float32(np.sqrt(T / KAPPA)) * jax.random.normal(jax.random.key(1), (chains, 2), jnp.float32)}
        result = run_ensemble(
            kernel, starts, observer, key=jax.random.key(2), schedule=Schedule(100, 5, records, (records,)),
            limit=Limit(0.0), stage=Stage("test"),
        )  # fmt: skip
        acc = result.segments[0]
        second = (acc.m2 / acc.n[:, None] + acc.mean**2).mean(axis=1)  # E[x²] of each chain; the mean is known: 0
    return second.mean(), second.std(ddof=1) / np.sqrt(chains)


@pytest.mark.full
@pytest.mark.parametrize("h_kappa", [0.1, 0.4, 1.0])
def test_stationary_variance_on_the_quadratic(h_kappa):
    """Euler–Maruyama: T/(κ(1 − hκ/2)); Leimkuhler–Matthews: T/κ exactly. |z| > 4 for a right law: 6e-5 a case."""
    h = h_kappa / KAPPA
    em, em_se = stationary_variance(euler_maruyama(quadratic, LIKE, temperature=T, step_size=h))
    lm, lm_se = stationary_variance(leimkuhler_matthews(quadratic, LIKE, temperature=T, step_size=h))
    assert abs(em - T / (KAPPA * (1 - h_kappa / 2))) < 4 * em_se
    assert abs(lm - T / KAPPA) < 4 * lm_se
    assert abs(em - T / KAPPA) > 6 * em_se  # negative control: the exact law is rejected at the same sample size


@pytest.mark.full
def test_mala_has_no_bias_on_the_quadratic_at_a_large_step():
    variance, se = stationary_variance(mala(quadratic, temperature=T, step_size=1.0 / KAPPA))
    assert abs(variance - T / KAPPA) < 4 * se


@pytest.mark.full
def test_dual_averaging_reaches_the_target_acceptance():
    with jax.enable_x64(True):
        starts = {"x": np.sqrt(T / KAPPA) * jax.random.normal(jax.random.key(1), (512, 2))}

        def build(step_size):
            return mala(quadratic, temperature=T, step_size=step_size)

        h, _ = tune_step_size(build, starts, key=jax.random.key(4), initial=0.01, stages=((0.57, 400),))
        kernel = build(h)
        state = jax.vmap(kernel.init)(starts, None)
        rates = []
        for n in range(50):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(6), n), 512)
            state, info = jax.vmap(kernel.step)(keys, state, None)
            rates.append(float(info.acceptance_rate.mean()))
    assert np.mean(rates) == pytest.approx(0.57, abs=0.02)


def test_the_sampler_is_blackjax():
    assert isinstance(mala(quadratic, temperature=T, step_size=0.1).init(START, None), blackjax.mcmc.mala.MALAState)


@pytest.mark.full(only=["kernel2"])
@pytest.mark.parametrize(
    "kernel",
    [
        euler_maruyama(quadratic, LIKE, temperature=T, step_size=0.1),
        leimkuhler_matthews(quadratic, LIKE, temperature=T, step_size=0.1),
        constrained_langevin(quadratic, lambda p: p["x"][:1] - p["x"][1:], LIKE, temperature=T, step_size=0.1),
        mala(quadratic, temperature=T, step_size=0.1),
    ],
)
def test_a_kernel_of_one_potential_refuses_a_task(kernel):
    """It would not be looked at."""
    noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(0), 1))
    state = kernel.init(START, None)
    kernel.step(noise, state, None)
    with pytest.raises(ValueError, match="takes no tasks"):
        kernel.init(START, {"x": jnp.zeros(2)})
    with pytest.raises(ValueError, match="takes no tasks"):
        kernel.step(noise, state, {"x": jnp.zeros(2)})
