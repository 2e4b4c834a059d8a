"""The configuration of an attribution, and the set-ups of the paper as such configurations."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import tomli_w

from langevin_ib.config.run import LIMIT, NUMBERS, checked_options, plain
from langevin_ib.errors import ConfigError

NOISES = ("minibatch", "bernoulli", "fresh")
PRECISIONS = (32, 64)
MIN_SEEDS, MAX_SEEDS = 8, 4096  # seeds are the independent unit of every error bar; fewer carry none
COUNTS = {"batch_size": (1, 10**6), "steps": (20, LIMIT), "seeds": (MIN_SEEDS, MAX_SEEDS), "seed": (0, LIMIT)}
KINDS = {
    "lr": "positive",
    "data_noise": "non-negative",
    "label_noise": "positive",
    "weight_decay": "positive",
    "momentum": "momentum",
}

SETUPS: dict[str, dict[str, Any]] = {
    "figure-2": {
        "model": "relu",
        "options": {"inputs": 3, "width": 16, "population": True, "ridge": 0.0, "gain": 2.0, "teacher_scale": 1.5,
                    "start_scale": 0.05, "skew": 1.2},
        "lr": 5e-5, "noise": "fresh", "batch_size": 8, "data_noise": 0.1, "steps": 40_000,
    },
    "figure-3": {
        "model": "attention",
        # Half the gain, of the sum over 8 output channels: the mean squared error over all entries.
        "options": {"inputs": 16, "width": 8, "length": 8, "samples": 64, "ridge": 0.0, "gain": 0.25,
                    "train_values": True, "teacher_scale": 0.75, "start_scale": 0.1, "skew": 1.2, "boost": True},
        "lr": 1e-3, "noise": "fresh", "batch_size": 16, "data_noise": 0.02, "steps": 20_000,
    },
    "figure-4": {
        "model": "matrix",
        "options": {"rows": 20, "cols": 20, "rank": 20, "observed": 0.2, "ridge": 0.0, "spectrum": "15,5",
                    "start_scale": 0.1},
        # The paper's 1e-3 is for the mean over all 400 entries of the squared error of those kept, half of the observed
        # ones at each step, which on the average is 1/400 of the loss here.
        "lr": 2.5e-6, "noise": "bernoulli", "steps": 500_000,
    },
}  # fmt: skip


@dataclass(frozen=True)
class AttributionConfig:
    """Everything that decides the numbers of one attribution; None stands for a rule of `attribution.runs.settle`.

    Attributes:
        model: name in the registry, or `module:function`.
        options: of the model.
        setup: the set-up of the paper that the others come from; a name only.
        lr: η; None: 0.05 over the median of the largest curvatures at the starts.
        noise: `minibatch`, `bernoulli` or `fresh`; None: the former where there is a data set of more than one example.
        batch_size: B.
        data_noise: s₀, standard deviation of the label noise that belongs to the data, in every run with batches.
        label_noise: s, of the noise that `label noise` adds to that; None: the root mean square of the labels.
        weight_decay: λ of `weight decay`; None: 1/4t, t = nη/(1 − μ) the time that is run for.
        momentum: μ of heavy-ball momentum, in every run but Langevin's.
        steps: n; None: 20 000, or 2000 with a compact group.
        seeds: starts, each with a task of its own.
        seed: of all randomness.
        one_task: whether all seeds train on the model's own task.
        precision: bits of the parameters, 32 or 64: charges are then known to 1e-4 or to 1e-12.

    Raises:
        ConfigError: a value is of the wrong kind or outside its range.

    >>> AttributionConfig(seeds=4)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: seeds must be a whole number from 8 to 4096, got 4
    """

    model: str = "uv"
    options: dict[str, Any] | None = None
    setup: str | None = None
    lr: float | None = None
    noise: str | None = None
    batch_size: int = 4
    data_noise: float = 0.0
    label_noise: float | None = None
    weight_decay: float | None = None
    momentum: float = 0.0
    steps: int | None = None
    seeds: int = 32
    seed: int = 0
    one_task: bool = False
    precision: int = 64

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, plain(getattr(self, spec.name)))
        if not isinstance(self.model, str) or not self.model:
            raise ConfigError("model", "a name", repr(self.model))
        if self.options is not None:
            object.__setattr__(self, "options", checked_options("options", self.options))
        if not isinstance(self.one_task, bool):
            raise ConfigError("one_task", "yes or no", self.one_task)
        if self.setup is not None and self.setup not in SETUPS:
            raise ConfigError("setup", f"one of {', '.join(SETUPS)}", self.setup)
        if self.noise is not None and self.noise not in NOISES:
            raise ConfigError("noise", f"one of {', '.join(NOISES)}", self.noise)
        if isinstance(self.precision, bool | float) or self.precision not in PRECISIONS:
            raise ConfigError("precision", "32 or 64", self.precision)
        for name, (low, high) in COUNTS.items():
            value = getattr(self, name)
            if name == "steps" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(name, f"a whole number from {low} to {high}", value)
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if spec.name in KINDS and not (value is None and spec.default is None):
                object.__setattr__(self, spec.name, _as_float(spec.name, value))

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the fields; None is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def to_toml(self) -> str:
        """The configuration as TOML text; `AttributionConfig(**tomllib.loads(text))` is its inverse."""
        return tomli_w.dumps(self.to_dict())

    def digest(self) -> str:
        """Eight hexadecimal digits that name this configuration."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:8]


def _as_float(name: str, value: Any) -> float:
    wanted, allowed = NUMBERS[KINDS[name]]
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not (number and allowed(value)):
        raise ConfigError(name, wanted, value)
    return float(value)


def from_setup(setup: str, **changes: Any) -> AttributionConfig:
    """A set-up of the paper, some settings changed; options are added to its own unless the model is another.

    Raises:
        ConfigError: there is no such set-up, or a value is out of range.

    >>> from_setup("figure-2", steps=1000, options={"width": 8}).options["width"]
    8
    """
    if setup not in SETUPS:
        raise ConfigError("setup", f"one of {', '.join(SETUPS)}", setup)
    preset = SETUPS[setup]
    if changes.get("model", preset["model"]) != preset["model"]:
        raise ConfigError("model", f"{preset['model']} with setup {setup}", changes["model"])
    options = preset["options"] | (changes.pop("options", None) or {})
    return AttributionConfig(**(preset | changes | {"options": options, "setup": setup}))
