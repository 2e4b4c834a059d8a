"""A noise of somebody's own, and records that are none."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.noises import NoiseSettings
from langevin_ib.config.settings import setting
from langevin_ib.dynamics.noise import Cumulants, NoiseKind


@dataclass(frozen=True)
class WeightSettings(NoiseSettings):
    """Each example counts as much as an exponential number says, of mean one and of a spread about it."""

    spread: float = setting(1.0, "standard deviation of the weights", POSITIVE)


def draw(source, key, chains):
    drawn = jax.random.exponential(key, (chains, source.examples), source.dtype)
    return 1.0 + source.noise.settings.spread * (drawn - 1.0)


def gradient(source, drawn, params, lesson, memory):
    return jax.grad(partial(source.training.risk, {**lesson.task, "mask": drawn}))(params), memory


def covariance(noise, each):
    return noise.settings.spread**2 * (each.share[:, None] * each.gradients).T @ each.gradients / each.share.size


def cumulants(noise, along):
    size, spread = along.share.size, noise.settings.spread
    moments = [spread**k * along.share @ along.gradient**k / size ** (k - 1) for k in (2, 3, 4)]
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
TWICE = dataclasses.replace(WEIGHTS, covariance=lambda noise, each: 2.0 * covariance(noise, each))
FLAT = dataclasses.replace(WEIGHTS, covariance=lambda noise, each: jnp.diag(covariance(noise, each)))
LEANING = dataclasses.replace(WEIGHTS, draw=lambda source, key, chains: 0.5 + draw(source, key, chains))
WEAK = dataclasses.replace(
    WEIGHTS,
    gradient=lambda *step: (jax.tree.map(lambda leaf: 0.8 * leaf, gradient(*step)[0]), step[-1]),
    covariance=lambda noise, each: 0.64 * covariance(noise, each),
)
IDLE = dataclasses.replace(WEIGHTS, gradient=None)
NUMBER = jnp.pi
