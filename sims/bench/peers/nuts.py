"""blackjax's MALA and NUTS as loops over steps of all chains, tuned before they are timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from langevin_ib.devices import load_blackjax
from langevin_ib.dynamics.kernels.mala import TUNING, mala
from langevin_ib.ensemble.tuning import tune_step_size
from sims.bench.peers.base import Job
from sims.bench.peers.loops import Stepwise

TUNED_CHAINS = 64
FIRST_MALA = 10.0  # of the job's step
NUTS_WARM_UP = 500


def tuned_mala(job: Job) -> Callable[[Job], Stepwise]:
    """Dual averaging towards an acceptance of 0.57, pooled over chains; then a step of every chain under `vmap`."""
    with jax.enable_x64(True):
        step_size, _ = tune_step_size(
            partial(_mala_of, job),
            job.starts(TUNED_CHAINS, 3),
            key=jax.random.key(3),
            initial=FIRST_MALA * job.step_size,
            stages=TUNING,
        )
    return partial(_mala_loop, step_size)


def _mala_of(job: Job, step_size: Any) -> Any:
    return mala(job.potential, temperature=job.temperature, step_size=step_size)


def _mala_loop(step_size: float, job: Job) -> Stepwise:
    algorithm = load_blackjax().mala(_log_density(job), step_size * job.temperature)
    return _loop(algorithm)


def tuned_nuts(job: Job) -> Callable[[Job], Stepwise]:
    """Step and diagonal mass by blackjax's window adaptation of one chain; then a trajectory of every chain."""
    blackjax = load_blackjax()
    start = jax.tree.map(lambda leaf: leaf[0], job.starts(1, 3))
    adaptation = blackjax.window_adaptation(blackjax.nuts, _log_density(job))
    (_, parameters), _ = jax.jit(partial(adaptation.run, num_steps=NUTS_WARM_UP))(jax.random.key(3), start)
    values = jax.tree.map(lambda leaf: jnp.asarray(jax.device_get(leaf)), parameters)
    return partial(_nuts_loop, values)


def _nuts_loop(parameters: Any, job: Job) -> Stepwise:
    return _loop(load_blackjax().nuts(_log_density(job), **parameters))


def _loop(algorithm: Any) -> Stepwise:
    def advance(key: Any, state: Any) -> Any:
        keys = jax.random.split(key, jax.tree.leaves(state)[0].shape[0])
        return jax.vmap(lambda own, here: algorithm.step(own, here)[0])(keys, state)

    return Stepwise(advance, jax.vmap(algorithm.init), lambda state: state.position)


def _log_density(job: Job) -> Callable[[Any], Any]:
    return lambda params: -job.potential(params) / job.temperature


def steepest(job: Job, positions: Any) -> float:
    """The largest curvature of V at some points: the largest eigenvalue of its Hessian at any of them."""

    def top(params: Any) -> Any:
        flat, unravel = ravel_pytree(params)
        return jnp.linalg.eigvalsh(jax.hessian(lambda x: job.potential(unravel(x)))(flat))[-1]

    value = float(jnp.max(jax.jit(jax.vmap(top))(positions)))
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"the curvature of {job.name} must be positive at its chains, got {value}")
    return value
