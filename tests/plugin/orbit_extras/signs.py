"""All examples at every step, each label moved up or down by a fair coin."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.noises import NoiseSettings
from langevin_ib.config.settings import setting
from langevin_ib.dynamics.noise import Batch, Cumulants, NoiseKind
from langevin_ib.models import Examples


@dataclass(frozen=True)
class SignsSettings(NoiseSettings):
    """The size of a move."""

    move: float = setting(1.0, "by how much a label is moved, up or down", POSITIVE)


def draw(source, key, chains):
    """±1 for each chain and label."""
    return jax.random.rademacher(key, (chains, *jnp.shape(source.task["y"])), source.dtype)


def batch(source, drawn, task, memory):
    """The data set with its labels of this step."""
    moved = task["y"] + source.noise.settings.move * drawn
    return Batch(Examples(task["x"], moved), task["weight"], memory)


def covariance(noise, each):
    """Σ = w² m² E J_iᵀJ_i/n, that of Gaussian labels of the same variance."""
    spread = (each.weight * noise.settings.move) ** 2 / each.share.size
    return spread * jnp.einsum("i,ioq,iop->qp", each.share, each.jacobian, each.jacobian)


def cumulants(noise, along):
    """Of a coin they are 1, 0 and −2, and a sum's are the sum of its parts'; label noise on top is normal."""
    n = along.share.size
    pushes = noise.settings.move * along.response / n
    second = jnp.sum(pushes**2) + along.share @ along.label / n
    return Cumulants(second, jnp.zeros_like(second), -2.0 * jnp.sum(pushes**4))


SIGNS = NoiseKind(
    settings=SignsSettings,
    words="labels moved by a coin",
    covariance=covariance,
    batch=batch,
    draw=draw,
    cumulants=cumulants,
)
