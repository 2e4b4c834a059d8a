"""Leimkuhler and Matthews' integrator of dθ = −∇V dt + √(2T) dW: one gradient a step, stationary law to O(h²)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from langevin_ib.config.kernels import LeimkuhlerMatthewsSettings
from langevin_ib.dynamics.kernel import (
    Kernel,
    KernelKind,
    LangevinInfo,
    Potential,
    Target,
    gaussian_mean,
    normal_like,
    refuse_task,
)
from langevin_ib.models.base import Params


class LeimkuhlerMatthewsState(NamedTuple):
    """Position of one chain and the normal variates of its last step, which the next step uses again."""

    position: Params
    last_noise: Params


def leimkuhler_matthews(potential: Potential, like: Params, *, temperature: float, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(hT/2) (ζ_n + ξ_{n+1}); one gradient a step, the stationary law is off by O(h²).

    Exact in the stationary law of a quadratic V. Arguments as for Euler and Maruyama's: V, a parameter pytree
    of the noise's shapes and dtype, T ≥ 0, h > 0.

    Source: Leimkuhler & Matthews, Appl. Math. Res. eXpress 2013(1), 34–56 (2013).
    """
    step_size = float(step_size)
    amplitude = math.sqrt(0.5 * step_size * temperature)

    def init(params: Params, task: PyTree) -> LeimkuhlerMatthewsState:
        refuse_task(task)
        # ζ_0 = 0 instead of a normal: it only shortens the first step's kick, deep inside the burn-in.
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

    def mean_after(phi: Potential, state: LeimkuhlerMatthewsState, task: PyTree) -> Float[Array, ""]:
        """φ(θ − h∇V + aζ_n) + ½ a² tr D²φ, a = √(hT/2)."""
        refuse_task(task)
        gradient = jax.grad(potential)(state.position)
        drifted = jax.tree.map(
            lambda x, g, old: x - step_size * g + amplitude * old, state.position, gradient, state.last_noise
        )
        return gaussian_mean(phi, drifted, amplitude**2)

    return Kernel(normal_like(like), init, step, mean_after, like)


def build(settings: LeimkuhlerMatthewsSettings, target: Target, step_size: float) -> Kernel:
    """For a target."""
    del settings
    return leimkuhler_matthews(target.potential, target.like, temperature=target.temperature, step_size=step_size)


KERNEL = KernelKind(LeimkuhlerMatthewsSettings, build, stability=0.5, weak_order=2)
