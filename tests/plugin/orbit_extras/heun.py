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
    """θ′ = θ − (h/2)(∇V(θ) + ∇V(θ̃)) + √(2hT) ζ.

    The predictor θ̃ = θ − h∇V(θ) + √(2hT) ζ has the same ζ ~ N(0, I).
    """
    step_size = float(step_size)
    amplitude = math.sqrt(2.0 * step_size * temperature)

    def init(params, task):
        refuse_task(task)
        return HeunState(params)

    def step(noise, state, task):
        refuse_task(task)
        slope, start = jax.grad(potential), state.position

        def moved(x, g, n):
            return x - step_size * g + amplitude * n

        here = slope(start)
        there = slope(jax.tree.map(moved, start, here, noise))
        mean = jax.tree.map(lambda g, k: 0.5 * (g + k), here, there)
        return HeunState(jax.tree.map(moved, start, mean, noise)), LangevinInfo()

    return Kernel(draw=normal_like(like), init=init, step=step)


class HeunSettings(KernelSettings):
    """Nothing to set."""


def build(settings, target, step_size) -> Kernel:
    """For a target."""
    del settings
    return heun(target.potential, target.like, temperature=target.temperature, step_size=step_size)


# The bound on hΛ is Euler and Maruyama's: the predictor is such a step.
HEUN = KernelKind(HeunSettings, build, stability=0.1, weak_order=2)
