"""What the configuration's rules ask of the built-in noises of SGD, whose settings are shared, in `SgdSettings`."""

from __future__ import annotations

from typing import ClassVar

from langevin_ib.config.settings import Settings


class NoiseSettings(Settings):
    """Base of the settings of a noise.

    One that takes `label_noise` and has no batch has no other source of noise: `label_noise` has to be positive then.

    Attributes:
        takes: which of `label_noise`, `batch_size`, `replacement` and `momentum` mean something with it.
        batched: whether a step sees some examples only, so that it needs a batch size.
        random_examples: whether a step sees examples drawn at random, whose noise an attribution can ask about.
        why_no_momentum: behind the refusal of `momentum`, where it is not taken.
        scheduled: whether its steps take a learning rate and a decay that change.
    """

    takes: ClassVar[tuple[str, ...]] = ("momentum",)
    batched: ClassVar[bool] = False
    random_examples: ClassVar[bool] = True
    why_no_momentum: ClassVar[str] = ""
    scheduled: ClassVar[bool] = True


class LabelSettings(NoiseSettings):
    """All examples, noisy labels."""

    takes: ClassVar[tuple[str, ...]] = ("label_noise", "momentum")
    random_examples: ClassVar[bool] = False


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
    random_examples: ClassVar[bool] = False
    why_no_momentum: ClassVar[str] = ", whose steps are Langevin's"
    scheduled: ClassVar[bool] = False


class NoNoiseSettings(NoiseSettings):
    """Gradient descent."""

    random_examples: ClassVar[bool] = False


class HookSettings(NoiseSettings):
    """A function of one's own, which has no settings."""

    random_examples: ClassVar[bool] = False


NOISES: dict[str, type[NoiseSettings]] = {
    "label": LabelSettings,
    "minibatch": MinibatchSettings,
    "fresh": FreshSettings,
    "bernoulli": BernoulliSettings,
    "isotropic": IsotropicSettings,
    "none": NoNoiseSettings,
}
