"""The configuration of an attribution, and the set-ups of the paper as such configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from langevin_ib.config.choices import check_known, own_class
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
from langevin_ib.config.models import DataSettings, digest_of_file, settings_of_model
from langevin_ib.config.noises import NOISES, NoiseSettings
from langevin_ib.config.settings import Settings, schema_of, setting
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


@dataclass(frozen=True, init=False)
class AttributionConfig(Settings):
    """Everything that decides the numbers of one attribution; None stands for a rule of `settling.settle`.

    The constructor, files and digests are flat, with the settings that a noise of one's own has. `to_toml` has an
    inverse: `AttributionConfig(**tomllib.loads(text))`.

    Attributes:
        own: the record of the settings that only the noise has, as that of `Noise`; None if it has none.

    Raises:
        ConfigError: a value is of the wrong kind or outside its range, or a noise of one's own cannot be imported.

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
    own: NoiseSettings | None = None

    def __init__(self, /, **settings: Any):
        if (own := settings.pop("own", None)) is not None:  # of `dataclasses.replace`
            settings = own.to_dict() | settings
        declared = type(self).declared()
        for name, one in declared.items():
            object.__setattr__(self, name, settings.get(name, one.default))
        self.__post_init__()
        object.__setattr__(self, "options", _with_digest(self.model, self.options))
        chosen = type(self).noise_class(self.noise)
        check_known(settings, declared | chosen.declared())
        many = settings_of_model(self.model).many
        sized = {name: one.sized[many] for name, one in chosen.declared().items() if one.sized is not None}
        given = {name: value for name, value in settings.items() if name not in declared and value is not None}
        object.__setattr__(self, "own", chosen(**(sized | given)) if chosen.declared() else None)

    @classmethod
    def noise_class(cls, noise: str | None) -> type[NoiseSettings]:
        """The class of the settings that only a noise has; one of another package is imported.

        Raises:
            ConfigError: nothing goes by that name, or a setting of it has a name that is taken.
        """
        if noise is None:
            return NoiseSettings
        return cast(type[NoiseSettings], own_class("noise", noise, [spec.name for spec in fields(cls)]))

    @classmethod
    def json_schema(cls, values: Mapping[str, object] | None = None) -> JsonObject:
        """The JSON schema of `to_dict`, with the own settings of the noise that `values` choose."""
        noise = cls.declared()["noise"].check("noise", (values or {}).get("noise"))
        return schema_of(cls.declared() | cls.noise_class(noise).declared())

    def to_dict(self) -> JsonObject:
        """Plain values, those of the noise last; None is left out."""
        return super().to_dict() | ({} if self.own is None else self.own.to_dict())

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


def _with_digest(model: str, options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Options with the digest of the file of data that they name, so that a changed file is another attribution."""
    if not (options and "data" in options and "data_sha256" not in options):
        return options
    if not issubclass(settings_of_model(model), DataSettings):
        return options
    return {**options, "data_sha256": digest_of_file(str(options["data"]))}


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
