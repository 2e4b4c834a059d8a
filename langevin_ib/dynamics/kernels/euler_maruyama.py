"""Euler and Maruyama's integrator of dθ = −∇V dt + √(2T) dW, eq. (2) of arXiv:2601.06597; weak order 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, PyTree

from langevin_ib.config.kernels import EulerMaruyamaSettings
from langevin_ib.dynamics.kernel import (
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


class EulerMaruyamaState(NamedTuple):
    """Position of one chain."""

    position: Params


def euler_maruyama(potential: Potential, like: Params, *, temperature: Temperature, step_size: float) -> Kernel:
    """θ' = θ − h∇V(θ) + √(2hT) ζ, ζ ~ N(0, I); the stationary law is off by O(h).

    Args:
        potential: V.
        like: a parameter pytree whose shapes and dtype the noise takes.
        temperature: T = σ²/β, not negative; 0 gives gradient descent.
        step_size: h > 0.
    """
    step_size = float(step_size)  # a NumPy scalar would promote a float32 chain to float64
    amplitude = root(2.0 * step_size * temperature)

    def init(params: Params, task: PyTree) -> EulerMaruyamaState:
        refuse_task(task)
        return EulerMaruyamaState(params)

    def step(noise: Params, state: EulerMaruyamaState, task: PyTree) -> tuple[EulerMaruyamaState, LangevinInfo]:
        refuse_task(task)
        gradient = jax.grad(potential)(state.position)
        position = jax.tree.map(lambda x, g, n: x - step_size * g + amplitude * n, state.position, gradient, noise)
        return EulerMaruyamaState(position), LangevinInfo()

    after = _mean_after(potential, temperature, step_size)
    return Kernel(normal_like(like), init, step, after, like)


def _mean_after(potential: Potential, temperature: Temperature, step_size: float) -> MeanAfter:
    """φ(θ − h∇V) + hT tr D²φ, of h and T by themselves: it shares no constant with the step that it judges."""

    def mean_after(phi: Callable[[Params], Any], state: EulerMaruyamaState, task: PyTree) -> Float[Array, "..."]:
        refuse_task(task)
        slope = jax.grad(potential)(state.position)
        drifted = jax.tree.map(lambda x, g: x - step_size * g, state.position, slope)
        return gaussian_mean(phi, drifted, 2.0 * step_size * temperature)

    return mean_after


def build(settings: EulerMaruyamaSettings, target: Target, step_size: float) -> Kernel:
    """For a target."""
    del settings
    return euler_maruyama(target.potential, target.like, temperature=target.temperature, step_size=step_size)


def mean_after(settings: EulerMaruyamaSettings, target: Target, step_size: float) -> MeanAfter:
    """Of a step of size h at the temperature of the target."""
    del settings
    return _mean_after(target.potential, target.temperature, float(step_size))


KERNEL = KernelKind(EulerMaruyamaSettings, build, stability=0.1, weak_order=1, mean_after=mean_after)
