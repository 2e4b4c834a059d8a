"""A noise of somebody's own, and records that are none."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from langevin_ib.config.noises import NoiseSettings
from langevin_ib.dynamics.noise import Cumulants, NoiseKind


class WeightSettings(NoiseSettings):
    """Each example counts as much as an exponential number says."""


def draw(source, key, chains):
    return jax.random.exponential(key, (chains, source.examples), source.dtype)


def gradient(source, drawn, params, lesson, memory):
    return jax.grad(partial(source.training.risk, {**lesson.task, "mask": drawn}))(params), memory


def covariance(noise, each):
    return (each.share[:, None] * each.gradients).T @ each.gradients / each.share.size


def cumulants(noise, along):
    size = along.share.size
    moments = [along.share @ along.gradient**k / size ** (k - 1) for k in (2, 3, 4)]
    return Cumulants(moments[0], 2.0 * moments[1], 6.0 * moments[2])


WEIGHTS = NoiseKind(
    settings=WeightSettings,
    words="exponential weights",
    covariance=covariance,
    gradient=gradient,
    draw=draw,
    cumulants=cumulants,
)
UNKNOWN = dataclasses.replace(WEIGHTS, cumulants=None)
IDLE = dataclasses.replace(WEIGHTS, gradient=None)
NUMBER = jnp.pi
