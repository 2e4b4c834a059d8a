"""New examples of the population at every step.

Σ = (Cov g + w² s² E JᵀJ)/B over the population.
"""

from __future__ import annotations

from jaxtyping import Array, Float, Key

from langevin_ib.config.noises import FreshSettings
from langevin_ib.dynamics.covariance import batch_covariance
from langevin_ib.dynamics.cumulants import batch_cumulants
from langevin_ib.dynamics.kicks import batch_kicks
from langevin_ib.dynamics.noise import Noise, NoiseKind, standard_normals
from langevin_ib.dynamics.noise_records import Batch, Source
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model
from langevin_ib.models.training import Task, Training


def check(noise: Noise, model: Model, training: Training) -> None:
    """There has to be a population."""
    if training.fresh is None:
        raise ConfigError("noise", f"another for {model.name} here: its loss is no population's", noise.kind)


def draw(source: Source, key: Key[Array, ""], chains: int) -> Float[Array, "chain batch ..."]:
    """The normals behind B examples for each chain."""
    shape = (int(source.noise.batch_size or 0), *source.training.population.shape)
    return standard_normals(key, chains, shape, source.dtype)


def batch(source: Source, drawn: Float[Array, "batch ..."], task: Task, memory: None) -> Batch:
    """The examples that the normals stand for."""
    population = source.training.population
    return Batch(population.examples(task, drawn), population.weight, memory)


NOISE = NoiseKind(
    settings=FreshSettings,
    words="fresh batches",
    covariance=batch_covariance,
    check=check,
    batch=batch,
    draw=draw,
    cumulants=batch_cumulants,
    kicks=batch_kicks,
    outcomes=True,
    population=True,
)
