"""Each example of the data set kept by a fair coin at each step, and weighted by 2.

ĝ = (1/n) Σ_i 2κ_i g_i + ∇ penalty, κ_i = 0 or 1, is ∇L + (1/n) Σ_i ε_i g_i with signs ε_i = 2κ_i − 1. So
Σ = (1/n) E g_i g_iᵀ, whose trace does not vanish where only the mean gradient does.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from langevin_ib.config.noises import BernoulliSettings
from langevin_ib.dynamics.kicks import coin_kicks
from langevin_ib.dynamics.noise import Noise, NoiseKind
from langevin_ib.dynamics.noise_records import Along, Cumulants, Each, Lesson, Source
from langevin_ib.models.base import Params


def draw(source: Source, key: Key[Array, ""], chains: int) -> Float[Array, "chain ..."]:
    """A coin for each example, or for each number that a task's mask weighs."""
    shape = jnp.shape(source.task["mask"]) if "mask" in source.task else (source.examples,)
    return coins(key, chains, shape)


def coins(key: Key[Array, ""], chains: int, shape: tuple[int, ...]) -> Float[Array, "chain ..."]:
    """Tosses of a fair coin, each one bit of a random word: a uniform number for each costs more than the gradient."""
    size = math.prod(shape)
    words = jax.random.bits(key, (chains, -(-size // 32)), jnp.uint32)
    bits = (words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return bits.reshape(chains, -1)[:, :size].reshape(chains, *shape).astype(jnp.float32)


def gradient(
    source: Source, drawn: Float[Array, "..."], params: Params, lesson: Lesson, memory: Any
) -> tuple[Params, Any]:
    """That of the loss with twice the weight on what is kept, and none on the rest."""
    kept = 2.0 * drawn.astype(source.dtype)
    task = {**lesson.task, "mask": lesson.task.get("mask", 1.0) * kept}
    return jax.grad(partial(source.training.risk, task))(params), memory


def covariance(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """Σ = (1/n) E g_i g_iᵀ."""
    del noise
    return (each.share[:, None] * each.gradients).T @ each.gradients / each.share.size


def cumulants(noise: Noise, along: Along) -> Cumulants:
    """Those of (1/n) Σ_i ε_i h_i, h_i = e·g_i: E h²/n, 0 and −2 E h⁴/n³, as 1, 0 and −2 are those of a sign."""
    del noise
    size, share = along.share.size, along.share
    second, fourth = share @ along.gradient**2 / size, -2.0 * (share @ along.gradient**4) / size**3
    return Cumulants(second, jnp.zeros_like(second), fourth)


NOISE = NoiseKind(
    settings=BernoulliSettings,
    words="examples kept by a coin",
    covariance=covariance,
    gradient=gradient,
    draw=draw,
    cumulants=cumulants,
    kicks=coin_kicks,
    batches="each example kept with probability 1/2",
)
