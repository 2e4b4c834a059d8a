"""Leimkuhler and Matthews' integrator of dθ = −∇V dt + √(2T) dW: one gradient a step, stationary law to O(h²)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from langevin_ib.dynamics.kernel import Kernel, LangevinInfo, Potential, normal_like, refuse_task
from langevin_ib.models.base import Params


class LeimkuhlerMatthewsState(NamedTuple):
    """Position of one chain and the normal variates of its last step, which the next step uses again."""

    position: Params
    last_noise: Params


def leimkuhler_matthews(potential: Potential, like: Params, *, temperature: float, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(hT/2) (ξ_n + ξ_{n+1}); one gradient a step, the stationary law is off by O(h²).

    Exact in the stationary law of a quadratic V. Arguments as for Euler and Maruyama's: V, a parameter pytree
    of the noise's shapes and dtype, T ≥ 0, h > 0.

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
