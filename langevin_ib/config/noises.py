"""What the configuration's rules ask of the built-in noises of SGD, whose settings are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class NoiseSettings:
    """Base of the settings of a noise.

    One that takes `label_noise` and has no batch has no other source of noise: `label_noise` has to be positive then.

    Attributes:
        takes: which of `label_noise`, `batch_size`, `replacement` and `momentum` mean something with it.
        batched: whether a step sees some examples only, so that it needs a batch size.
    """

    takes: ClassVar[tuple[str, ...]] = ("momentum",)
    batched: ClassVar[bool] = False


class LabelSettings(NoiseSettings):
    """All examples, noisy labels."""

    takes: ClassVar[tuple[str, ...]] = ("label_noise", "momentum")


class MinibatchSettings(NoiseSettings):
    """Some examples of the data set."""

    takes: ClassVar[tuple[str, ...]] = ("label_noise", "batch_size", "replacement", "momentum")
    batched: ClassVar[bool] = True


class FreshSettings(NoiseSettings):
    """New examples in every step."""

    takes: ClassVar[tuple[str, ...]] = ("label_noise", "batch_size", "momentum")
    batched: ClassVar[bool] = True


class BernoulliSettings(NoiseSettings):
    """Examples kept by a coin."""


class IsotropicSettings(NoiseSettings):
    """As strong as that of minibatches or labels, in a random direction."""

    takes: ClassVar[tuple[str, ...]] = ("label_noise", "batch_size")


class NoNoiseSettings(NoiseSettings):
    """Gradient descent."""
