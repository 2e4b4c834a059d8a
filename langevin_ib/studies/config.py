"""The configuration of an attribution, and the set-ups of the paper as such configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langevin_ib.config.kinds import (
    BELOW_ONE,
    LIMIT,
    NON_NEGATIVE,
    POSITIVE,
    Extension,
    OneOf,
    Options,
    Switch,
    Text,
    Whole,
)
from langevin_ib.config.noises import NOISES
from langevin_ib.config.settings import Settings, setting
from langevin_ib.errors import ConfigError
from langevin_ib.plain import JsonObject
from langevin_ib.studies.presets import PRESETS

MIN_SEEDS, MAX_SEEDS = 8, 4096  # seeds are the independent unit of every error bar; fewer carry none


class Batches(Extension):
    """A noise whose steps see examples drawn at random; of another package's this is known when it is imported."""

    def __init__(self):
        super().__init__("noise", tuple(name for name, record in NOISES.items() if record.random_examples))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in super().names if self.is_known(name))

    def is_known(self, value: str) -> bool:
        return value in self.built_in or (value not in NOISES and super().is_known(value))

    def choices_in_help(self) -> str:
        return f": {', '.join(self.built_in)}"


@dataclass(frozen=True)
class AttributionConfig(Settings):
    """Everything that decides the numbers of one attribution; None stands for a rule of `settling.settle`.

    `to_toml` has an inverse: `AttributionConfig(**tomllib.loads(text))`.

    Raises:
        ConfigError: a value is of the wrong kind or outside its range.

    >>> AttributionConfig(seeds=4)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: seeds must be a whole number from 8 to 4096, got 4
    """

    model: str = setting("uv", "a model of the package, or module:function", Text())
    options: dict[str, Any] | None = setting(None, "options of the model", Options())
    setup: str | None = setting(None, "a set-up of the paper, which options override", OneOf(*PRESETS))
    lr: float | None = setting(
        None, "η, the same for every mechanism", POSITIVE, shown="0.05 over the median of the curvatures at the starts"
    )
    noise: str | None = setting(
        None, "batches", Batches(), shown="minibatch if there is a data set of more than one example, else fresh"
    )
    batch_size: int = setting(4, "B, examples in a batch", Whole(1, 10**6))
    data_noise: float = setting(
        0.0, "s₀, label noise that belongs to the data, in every run with batches", NON_NEGATIVE
    )
    label_noise: float | None = setting(
        None, "s, what the mechanism label noise adds to it", POSITIVE, shown="root mean square of the labels"
    )
    weight_decay: float | None = setting(
        None, "λ of the mechanism weight decay", POSITIVE, shown="1/4t, t = nη/(1 − μ) the time of the run"
    )
    momentum: float = setting(0.0, "μ of heavy-ball momentum, in every run but Langevin's", BELOW_ONE)
    steps: int | None = setting(
        None, "n, steps of each run", Whole(20, LIMIT), shown="20000; 2000 with a compact group"
    )
    seeds: int = setting(
        32, "starts, each with a task of its own where the model can draw some", Whole(MIN_SEEDS, MAX_SEEDS)
    )
    seed: int = setting(0, "seed of all randomness", Whole(0, LIMIT))
    one_task: bool = setting(False, "all seeds train on the model's own task", Switch())
    # Charges are then known to 1e-4 or to 1e-12.
    precision: int = setting(64, "bits of the parameters", OneOf(32, 64, wanted="32 or 64"), option=False)

    @property
    def rate(self) -> float:
        """η/(1 − μ), the effective learning rate over times long against the momentum's memory 1/(1 − μ)."""
        if self.lr is None:
            raise ValueError("lr is not settled yet")
        return self.lr / (1.0 - self.momentum)

    @property
    def time(self) -> float:
        """t = nη/(1 − μ)."""
        return self.rate * float(self.steps or 0)

    @property
    def name(self) -> str:
        """The model's name as a part of a file name."""
        return self.model.replace(":", "-")


def setup_settings(setup: str) -> JsonObject:
    """The settings of a set-up of the paper, by name.

    Raises:
        ConfigError: there is no such set-up.
    """
    if setup not in PRESETS:
        raise ConfigError("setup", f"one of {', '.join(PRESETS)}", setup)
    preset = PRESETS[setup]
    return {**vars(preset), "options": dict(preset.options)}


def from_setup(setup: str, **changes: Any) -> AttributionConfig:
    """A set-up of the paper, some settings changed; options are added to its own unless the model is another.

    Raises:
        ConfigError: there is no such set-up, or a value is out of range.

    >>> from_setup("figure-2", steps=1000, options={"width": 8}).options["width"]
    8
    """
    settings: dict[str, Any] = setup_settings(setup)
    model = PRESETS[setup].model
    if changes.get("model", model) != model:
        raise ConfigError("model", f"{model} with setup {setup}", changes["model"])
    options = {**PRESETS[setup].options, **(changes.pop("options", None) or {})}
    return AttributionConfig(**(settings | changes | {"options": options, "setup": setup}))
