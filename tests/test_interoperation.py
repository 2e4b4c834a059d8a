"""Kernels in blackjax's loop and blackjax's in ours: the same numbers where they are the same steps, else the law."""

from typing import NamedTuple

import blackjax_kernels
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import stage_of
from scipy import stats

from langevin_ib import ConfigError, RunConfig, as_blackjax, from_blackjax, run
from langevin_ib.devices import load_blackjax
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import Limit, Observer, Schedule
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.ensemble.tuning import tune_step_size
from langevin_ib.models import uv

STEPS, H, T = 40, 0.05, 0.5
KEY = 7
FALSE_POSITIVE = 1e-3  # of each test of a law, at its fixed key


def confined(params):
    """uv with κχ²/2."""
    model = uv()
    return model.loss(params) + 2.0 * jnp.sum(model.moment_map(params) ** 2)


KERNELS = {
    "euler-maruyama": lambda: euler_maruyama(confined, jnp.zeros(2), temperature=T, step_size=H),
    "leimkuhler-matthews": lambda: leimkuhler_matthews(confined, jnp.zeros(2), temperature=T, step_size=H),
    "mala": lambda: mala(confined, temperature=T, step_size=H),
}


def in_our_loop(kernel, starts, *, steps=STEPS, thin=None, width=1):
    """Draws of some chains, each a block of its own."""
    thin = steps if thin is None else thin
    return run_ensemble(
        kernel,
        jnp.asarray(starts),
        Observer(lambda state: state.position, count(), lambda x: {"x": x}, trace_chains=len(starts)),
        key=jax.random.key(KEY),
        schedule=Schedule(0, thin, steps // thin, (steps // thin,)),
        limit=Limit(H),
        stage=stage_of("test", width=width),
    )


def in_blackjaxs_loop(algorithm, start, keys):
    """blackjax's own loop: a scan of `step` over keys."""

    @jax.jit
    def loop(position, keys):
        state = algorithm.init(position)
        return jax.lax.scan(lambda state, key: (algorithm.step(key, state)[0],) * 2, state, keys)[1].position

    return loop(start, keys)


def keys_of_chain(i, steps=STEPS):
    """Those that `run_ensemble` gives to the only chain of block i."""
    own = jax.random.fold_in(jax.random.key(KEY), i)
    return jax.vmap(lambda n: jax.random.fold_in(own, n))(jnp.arange(steps))


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_takes_the_same_steps_in_blackjaxs_loop(name, x64):
    """Up to the rounding of two compiled loops, and not at another chain's keys."""
    starts = np.array([[1.0, 0.8], [0.7, 1.2]])
    ours = in_our_loop(KERNELS[name](), starts).position
    for i in range(2):
        theirs = in_blackjaxs_loop(as_blackjax(KERNELS[name]()), jnp.asarray(starts[i]), keys_of_chain(i))[-1]
        np.testing.assert_allclose(theirs, ours[i], rtol=1e-12)
    other = in_blackjaxs_loop(as_blackjax(KERNELS[name]()), jnp.asarray(starts[0]), keys_of_chain(1))[-1]
    assert np.abs(other - ours[0]).max() > 1e-3


@pytest.mark.parametrize("name", KERNELS)
def test_one_step_is_the_kernels_own_to_the_last_bit(name, x64):
    kernel, key, start = KERNELS[name](), jax.random.key(3), jnp.array([1.0, 0.8])
    algorithm = as_blackjax(kernel)
    theirs, _ = algorithm.step(key, algorithm.init(start))
    with jax.threefry_partitionable(False):
        ours, _ = kernel.step(jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1)), kernel.init(start, None), None)
    for first, second in zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True):
        np.testing.assert_array_equal(first, second)


def test_there_and_back_is_the_same_kernel(x64):
    """`from_blackjax(as_blackjax(kernel))` draws from split(split(key, 1)[0], 1)[0] in place of split(key, 1)[0]."""
    kernel = KERNELS["mala"]()
    back = from_blackjax(as_blackjax(kernel))
    noise = back.draw(jax.random.key(0), 1)[0]
    state = kernel.init(jnp.array([1.0, 0.8]), None)
    theirs, info = back.step(noise, state, None)
    with jax.threefry_partitionable(False):
        ours, own = kernel.step(kernel.draw(noise, 1)[0], state, None)
    np.testing.assert_array_equal(theirs.position, ours.position)
    assert info.acceptance_rate == own.acceptance_rate


def test_blackjaxs_mala_is_ours(x64):
    """Bit for bit: the built-in kernel is blackjax's MALA at ε = hT."""
    algorithm = load_blackjax().mala(lambda params: -confined(params) / T, H * T)
    starts = np.array([[1.0, 0.8], [0.7, 1.2]])
    theirs, ours = (in_our_loop(kernel, starts).position for kernel in (from_blackjax(algorithm), KERNELS["mala"]()))
    np.testing.assert_array_equal(theirs, ours)


def normal_hmc(scale=1.0):
    """HMC on N(0, scale²)."""
    return load_blackjax().hmc(lambda x: -0.5 * jnp.sum((x / scale) ** 2), 0.3 * scale, jnp.ones(1), 5)


def p_value(draws):
    """Of one draw of each chain, chains being independent, against N(0, 1)."""
    return stats.kstest(np.asarray(draws).ravel(), "norm").pvalue


@pytest.mark.full
def test_hmc_in_our_loop_has_its_law(x64):
    """The last draw of 4096 chains against N(0, 1), and not those of a normal that is 15% wider."""
    starts = np.full((4096, 1), 3.0)
    right = in_our_loop(from_blackjax(normal_hmc()), starts, width=256)
    assert p_value(right.position) > FALSE_POSITIVE
    assert right.info["acceptance_rate"].mean() > 0.8
    wrong = in_our_loop(from_blackjax(normal_hmc(1.15)), starts, width=256)
    assert p_value(wrong.position) < FALSE_POSITIVE


def test_a_kernel_in_blackjaxs_loop_has_its_law(x64):
    """Leimkuhler and Matthews' is exact on a quadratic; Euler and Maruyama's variance 1/(1 − h/2), the control."""
    starts = jnp.zeros((4096, 1))
    keys = jax.vmap(lambda key: jax.random.split(key, 60))(jax.random.split(jax.random.key(KEY), 4096))

    def last(build):
        kernel = build(lambda x: 0.5 * jnp.sum(x**2), jnp.zeros(1), temperature=1.0, step_size=0.5)
        algorithm = as_blackjax(kernel)
        return jax.vmap(lambda start, keys: in_blackjaxs_loop(algorithm, start, keys)[-1])(starts, keys)

    assert p_value(last(leimkuhler_matthews)) > FALSE_POSITIVE
    assert p_value(last(euler_maruyama)) < FALSE_POSITIVE


def test_a_float32_chain_stays_one():
    kernel = from_blackjax(normal_hmc())
    state = kernel.init(jnp.ones(1, jnp.float32), None)
    moved, _ = kernel.step(jax.random.key(0), state, None)
    assert moved.position.dtype == jnp.float32


def test_a_sampler_without_a_position_and_a_task_are_refused(x64):
    algorithm = as_blackjax(KERNELS["mala"]())
    with pytest.raises(ValueError, match="field position, got tuple"):
        from_blackjax(algorithm._replace(init=lambda position, rng_key=None: (position,))).init(jnp.zeros(2), None)
    with pytest.raises(ValueError, match="takes no tasks"):
        from_blackjax(algorithm).init(jnp.zeros(2), {"x": jnp.zeros(1)})


@pytest.mark.parametrize("name", ["mclmc", "dynamic_hmc", "ghmc"])
def test_a_sampler_that_starts_with_a_key_is_refused_in_one_sentence(name, x64):
    blackjax = load_blackjax()
    make = {
        "mclmc": lambda log_p: blackjax.mclmc(log_p, L=1.0, step_size=0.1),
        "dynamic_hmc": lambda log_p: blackjax.dynamic_hmc(log_p, 0.1, jnp.ones(2)),
        "ghmc": lambda log_p: blackjax.ghmc(log_p, 0.1, jnp.ones(2), 0.5, 0.1),
    }[name]
    kernel = from_blackjax(make(lambda x: -0.5 * jnp.sum(x**2)))
    with pytest.raises(ConfigError, match="a sampler that starts without a key") as refused:
        kernel.init(jnp.ones(2), None)
    assert "\n" not in str(refused.value)


def test_a_fault_of_the_density_itself_is_not_taken_for_a_missing_key(x64):
    kernel = from_blackjax(load_blackjax().hmc(lambda x: x.no_such_field, 0.1, jnp.ones(1), 2))
    with pytest.raises(AttributeError, match="no_such_field"):
        kernel.init(jnp.ones(1), None)


def test_a_kernel_without_an_acceptance_rate_cannot_be_tuned(x64):
    with pytest.raises(ConfigError, match="tuning must be left out of a kernel that reports no acceptance_rate"):
        tune_step_size(
            as_kernel_without_acceptance,
            jnp.ones((2, 2)),
            key=jax.random.key(0),
            initial=0.1,
            stages=((0.8, 2),),
        )


def as_kernel_without_acceptance(step_size):
    """HMC whose report is its energy alone."""
    algorithm = load_blackjax().hmc(lambda x: -0.5 * jnp.sum(x**2), step_size, jnp.ones(2), 2)

    def step(key, state):
        moved, info = algorithm.step(key, state)
        return moved, Energy(info.energy)

    return from_blackjax(algorithm._replace(step=step))


class Energy(NamedTuple):
    """A report."""

    energy: object


@pytest.mark.full
def test_hmc_as_an_integrator_obeys_the_exact_law():
    """`--integrator blackjax_kernels:HMC`: the draws agree with the exact law, and differ from the naive one."""
    result = run(RunConfig(beta=10.0, integrator="blackjax_kernels:HMC", chains=512, steps=4000, reference="none"))
    assert result.verdicts["exact"] == "agrees"
    assert result.verdicts["naive"] == "differs"
    assert blackjax_kernels.HMC.adjusted
