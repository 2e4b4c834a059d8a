"""Unadjusted overdamped Langevin integrators of dθ = −∇V dt + √(2T) dW, eq. (2) of arXiv:2601.06597."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.dynamics.base import Kernel, refuse_task
from langevin_ib.models.base import Params

Potential = Callable[[Params], Float[Array, ""]]


class EulerMaruyamaState(NamedTuple):
    """Position of one chain."""

    position: Params


class LeimkuhlerMatthewsState(NamedTuple):
    """Position of one chain and the normal variates of its last step, which the next step uses again."""

    position: Params
    last_noise: Params


class LangevinInfo(NamedTuple):
    """An unadjusted step has nothing to report: faults show in the position itself."""


def euler_maruyama(potential: Potential, like: Params, *, temperature: float, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(2hT) ξ, ξ ~ N(0, I); the stationary law is off by O(h).

    Args:
        potential: V.
        like: a parameter pytree whose shapes and dtype the noise takes.
        temperature: T = σ²/β, not negative; 0 gives gradient descent.
        step_size: h > 0.
    """
    step_size = float(step_size)  # a NumPy scalar would promote a float32 chain to float64
    amplitude = math.sqrt(2.0 * step_size * temperature)

    def init(params: Params, task: PyTree) -> EulerMaruyamaState:
        refuse_task(task)
        return EulerMaruyamaState(params)

    def step(noise: Params, state: EulerMaruyamaState, task: PyTree) -> tuple[EulerMaruyamaState, LangevinInfo]:
        refuse_task(task)
        gradient = jax.grad(potential)(state.position)
        position = jax.tree.map(lambda x, g, n: x - step_size * g + amplitude * n, state.position, gradient, noise)
        return EulerMaruyamaState(position), LangevinInfo()

    return Kernel(draw=normal_like(like), init=init, step=step)


def leimkuhler_matthews(potential: Potential, like: Params, *, temperature: float, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(hT/2) (ξ_n + ξ_{n+1}); one gradient a step, the stationary law is off by O(h²).

    Exact in the stationary law of a quadratic V. Arguments as for `euler_maruyama`.

    Source: Leimkuhler & Matthews, Appl. Math. Res. eXpress 2013(1), 34–56 (2013).
    """
    step_size = float(step_size)
    amplitude = math.sqrt(0.5 * step_size * temperature)

    def init(params: Params, task: PyTree) -> LeimkuhlerMatthewsState:
        refuse_task(task)
        # ξ_0 = 0 instead of a normal: it only shortens the first step's kick, deep inside the burn-in.
        return LeimkuhlerMatthewsState(params, jax.tree.map(jnp.zeros_like, params))

    def step(
        noise: Params, state: LeimkuhlerMatthewsState, task: PyTree
    ) -> tuple[LeimkuhlerMatthewsState, LangevinInfo]:
        refuse_task(task)
        gradient = jax.grad(potential)(state.position)
        position = jax.tree.map(
            lambda x, g, old, new: x - step_size * g + amplitude * (old + new),
            state.position,
            gradient,
            state.last_noise,
            noise,
        )
        return LeimkuhlerMatthewsState(position, noise), LangevinInfo()

    return Kernel(draw=normal_like(like), init=init, step=step)


def normal_like(like: Params) -> Callable[[Key[Array, ""], int], Params]:
    """One (chains, q) normal a step for the whole ensemble, cut into the leaves of `like`.

    One batched draw is 2–3 times faster than a key per chain (uv, two cores; `sims/bench/throughput.py`).
    """
    flat, _ = ravel_pytree(like)
    leaves, treedef = jax.tree.flatten(like)
    sizes = [leaf.size for leaf in leaves]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]

    def draw(key, chains: int) -> Params:
        noise = jax.random.normal(key, (chains, flat.size), flat.dtype)
        parts = [
            noise[:, start : start + size].reshape((chains, *leaf.shape))
            for start, size, leaf in zip(starts, sizes, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, parts)

    return draw
