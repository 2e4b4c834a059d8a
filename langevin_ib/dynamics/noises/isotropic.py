"""As strong as minibatch or label at the minimum, but in every direction.

Gaussian noise of covariance (tr Σ₀/q) I at every point, Σ₀ that of minibatches of the batch size given, or of label
noise, at the minimum of the loss: Langevin dynamics at the temperature T = η tr Σ₀/2q.
"""

from __future__ import annotations

from jaxtyping import Array, Float

from langevin_ib.config.noises import IsotropicSettings
from langevin_ib.dynamics.covariance import covariance_of, isotropic_covariance
from langevin_ib.dynamics.noise import Noise, NoiseKind
from langevin_ib.dynamics.noise_records import Each
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model
from langevin_ib.models.training import Training


def matched(noise: Noise) -> Noise:
    """The noise that it is as strong as."""
    kind = "label" if noise.batch_size is None else "minibatch"
    return Noise(kind, noise.batch_size, noise.label_noise, flip_rate=noise.flip_rate)


def check(noise: Noise, model: Model, training: Training) -> None:
    """What the matched noise needs."""
    del training
    try:
        matched(noise).check(model)
    except ConfigError as error:
        raise ConfigError(error.option, error.wanted, noise.given) from None


def covariance(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """(tr Σ/q) I, Σ that of the matched noise: at the minimum, this noise's own."""
    return isotropic_covariance(covariance_of(matched(noise), each))


NOISE = NoiseKind(
    settings=IsotropicSettings,
    words="isotropic noise",
    covariance=covariance,
    check=check,
    across=False,
    constant=True,
)
