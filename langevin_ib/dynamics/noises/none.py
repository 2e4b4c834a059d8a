"""Gradient descent: the gradient of the loss itself, without noise."""

from __future__ import annotations

from typing import Any

import jax

from langevin_ib.config.noises import NoNoiseSettings
from langevin_ib.dynamics.covariance import no_covariance
from langevin_ib.dynamics.cumulants import gaussian_cumulants
from langevin_ib.dynamics.noise import Noise, NoiseKind
from langevin_ib.dynamics.noise_records import Lesson, Source
from langevin_ib.models.base import Model, Params
from langevin_ib.models.training import Training


def check(noise: Noise, model: Model, training: Training) -> None:
    """Any model will do."""
    del noise, model, training


def gradient(source: Source, drawn: Any, params: Params, lesson: Lesson, memory: Any) -> tuple[Params, Any]:
    """∇L(θ)."""
    del source, drawn
    return jax.grad(lesson.loss)(params), memory


NOISE = NoiseKind(
    settings=NoNoiseSettings,
    words="no noise",
    covariance=no_covariance,
    check=check,
    gradient=gradient,
    cumulants=gaussian_cumulants,
    noiseless=True,
)
