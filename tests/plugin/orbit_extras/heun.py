"""Heun's integrator for additive noise: two gradients a step, weak order 2."""

import math
from typing import NamedTuple

import jax

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.dynamics.kernel import Kernel, KernelKind, LangevinInfo, normal_like, refuse_task


class HeunState(NamedTuple):
    """Position of one chain."""

    position: object


def heun(potential, like, *, temperature: float, step_size: float) -> Kernel:
    """θ′ = θ − (h/2)(∇V(θ) + ∇V(θ̃)) + √(2hT) ζ, with the predictor θ̃ = θ − h∇V(θ) + √(2hT) ζ of the same ζ."""
    step_size = float(step_size)
    amplitude = math.sqrt(2.0 * step_size * temperature)

    def init(params, task):
        refuse_task(task)
        return HeunState(params)

    def step(noise, state, task):
        refuse_task(task)
        slope = jax.grad(potential)
        here = slope(state.position)
        there = slope(jax.tree.map(lambda x, g, n: x - step_size * g + amplitude * n, state.position, here, noise))
        position = jax.tree.map(
            lambda x, g, k, n: x - 0.5 * step_size * (g + k) + amplitude * n, state.position, here, there, noise
        )
        return HeunState(position), LangevinInfo()

    return Kernel(draw=normal_like(like), init=init, step=step)


class HeunSettings(KernelSettings):
    """Nothing to set."""


def build(settings, target, step_size) -> Kernel:
    """For a target."""
    del settings
    return heun(target.potential, target.like, temperature=target.temperature, step_size=step_size)


# The bound on hΛ is Euler and Maruyama's: the predictor is such a step.
HEUN = KernelKind(HeunSettings, build, stability=0.1, weak_order=2)
