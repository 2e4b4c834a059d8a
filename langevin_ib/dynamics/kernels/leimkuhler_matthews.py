"""Leimkuhler and Matthews' integrator of dθ = −∇V dt + √(2T) dW: one gradient a step, stationary law to O(h²)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from langevin_ib.config.kernels import LeimkuhlerMatthewsSettings
from langevin_ib.dynamics.kernel import (
    Innovation,
    Kernel,
    KernelKind,
    LangevinInfo,
    MeanAfter,
    Potential,
    Target,
    Temperature,
    gaussian_mean,
    normal_like,
    refuse_task,
    root,
)
from langevin_ib.models.base import Params


class LeimkuhlerMatthewsState(NamedTuple):
    """Position of one chain and the normal variates of its last step, which the next step uses again."""

    position: Params
    last_noise: Params


def leimkuhler_matthews(potential: Potential, like: Params, *, temperature: Temperature, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(hT/2) (ζ_n + ζ_{n+1}); one gradient a step, the stationary law is off by O(h²).

    Exact in the stationary law of a quadratic V. Arguments as for Euler and Maruyama's: V, a parameter pytree
    of the noise's shapes and dtype, T ≥ 0, h > 0.

    Source: Leimkuhler & Matthews, Appl. Math. Res. eXpress 2013(1), 34–56 (2013).
    """
    step_size = float(step_size)
    amplitude = root(0.5 * step_size * temperature)

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

    after = _mean_after(potential, temperature, step_size)
    return Kernel(normal_like(like), init, step, after, like)


def _mean_after(potential: Potential, temperature: Temperature, step_size: float) -> MeanAfter:
    """φ(θ − h∇V + aζ_n) + ½ a² tr D²φ, a² = hT/2, ζ_n the increment that the last step added.

    Of h and T by themselves: it shares no constant with the step that it is to be held to.
    """
    variance = step_size * temperature / 2.0

    def mean_after(phi: Callable[[Params], Any], state: LeimkuhlerMatthewsState, task: PyTree) -> Float[Array, "..."]:
        refuse_task(task)
        slope = jax.grad(potential)(state.position)
        mean = jax.tree.map(
            lambda x, g, last: x - step_size * g + variance**0.5 * last, state.position, slope, state.last_noise
        )
        return gaussian_mean(phi, mean, variance)

    return mean_after


def build(settings: LeimkuhlerMatthewsSettings, target: Target, step_size: float) -> Kernel:
    """For a target."""
    del settings
    return leimkuhler_matthews(target.potential, target.like, temperature=target.temperature, step_size=step_size)


def mean_after(settings: LeimkuhlerMatthewsSettings, target: Target, step_size: float) -> MeanAfter:
    """Of a step of size h at the temperature of the target."""
    del settings
    return _mean_after(target.potential, target.temperature, float(step_size))


def innovation(settings: LeimkuhlerMatthewsSettings, target: Target, step_size: float) -> Innovation:
    """φ(θ) − E_ζ φ(θ − aζ_n + aζ): of a mean E[φ(θ′) | state] its part aDφ ζ_n is nearly all of the noise."""
    del settings
    variance = float(step_size) * target.temperature / 2.0

    def surprise(phi: Callable[[Params], Any], state: LeimkuhlerMatthewsState) -> Float[Array, "..."]:
        before = jax.tree.map(lambda x, last: x - variance**0.5 * last, state.position, state.last_noise)
        return phi(state.position) - gaussian_mean(phi, before, variance)

    return surprise


KERNEL = KernelKind(
    LeimkuhlerMatthewsSettings, build, stability=0.5, weak_order=2, mean_after=mean_after, innovation=innovation
)
