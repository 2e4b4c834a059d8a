"""blackjax.sgld: Euler and Maruyama's step, ε = hT on log p = −V/T, in the two forms that its arguments allow."""

from __future__ import annotations

from typing import Any

import jax

from langevin_ib.devices import load_blackjax
from sims.bench.peers.base import Job
from sims.bench.peers.loops import Stepwise


def by_chain(job: Job) -> Stepwise:
    """Its step of one chain under `vmap`, with a key for each."""
    step, size = _step(job)

    def advance(key: Any, state: Any) -> Any:
        keys = jax.random.split(key, jax.tree.leaves(state)[0].shape[0])
        return jax.vmap(lambda own, params: step(own, params, None, size))(keys, state)

    return Stepwise(advance)


def all_chains(job: Job) -> Stepwise:
    """Its step with all chains as one position: one key, one draw."""
    step, size = _step(job, together=True)
    return Stepwise(lambda key, state: step(key, state, None, size))


def _step(job: Job, together: bool = False) -> tuple[Any, float]:
    def gradient(params: Any, minibatch: Any) -> Any:
        del minibatch
        return jax.grad(lambda here: -job.potential(here) / job.temperature)(params)

    estimator = jax.vmap(gradient, in_axes=(0, None)) if together else gradient
    return load_blackjax().sgld(estimator).step, job.step_size * job.temperature
