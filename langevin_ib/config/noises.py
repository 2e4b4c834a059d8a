"""Which of SGD's settings each built-in noise takes, known without importing JAX."""

from __future__ import annotations

from typing import ClassVar


class NoiseSettings:
    """What a noise takes of `label_noise`, `batch_size`, `replacement` and `momentum`, and whether it needs a batch.

    One that takes `label_noise` and no batch has no other source of noise, so that `label_noise` has to be positive.
    """

    takes: ClassVar[tuple[str, ...]] = ("momentum",)
    batched: ClassVar[bool] = False


class LabelNoise(NoiseSettings):
    """Of `label`."""

    takes = ("label_noise", "momentum")


class Minibatch(NoiseSettings):
    """Of `minibatch`."""

    takes = ("label_noise", "batch_size", "replacement", "momentum")
    batched = True


class Fresh(NoiseSettings):
    """Of `fresh`."""

    takes = ("label_noise", "batch_size", "momentum")
    batched = True


class Bernoulli(NoiseSettings):
    """Of `bernoulli`."""


class IsotropicNoise(NoiseSettings):
    """Of `isotropic`: those of the noise that it is as strong as, that of a batch if one is given."""

    takes = ("label_noise", "batch_size")


class NoNoise(NoiseSettings):
    """Of `none`."""
