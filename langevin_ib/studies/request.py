"""What is asked of a figure: seeds, steps, which parts are run, whose data. No JAX: a wrong option is answered soon."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from langevin_ib.config.kinds import LIMIT, POSITIVE, Switch, Text, Whole
from langevin_ib.config.settings import Settings, setting
from langevin_ib.plain import JsonObject
from langevin_ib.studies.config import MAX_SEEDS

MIN_STEPS = 20
PARTS = ("attribution", "baselines", "variants")


@dataclass(frozen=True)
class Request(Settings):
    """What is to be run of a figure; `extra` has the settings of one figure alone.

    Raises:
        ConfigError: a value is of the wrong kind or outside its range.
    """

    seeds: int = setting(32, "independent seeds, each with its own task", Whole(1, MAX_SEEDS))
    seed: int = setting(0, "seed of all randomness", Whole(0, LIMIT))
    steps: int | None = setting(None, "steps of the study's own run", Whole(MIN_STEPS, LIMIT), shown="the study's")
    lr: float | None = setting(None, "learning rate of the study's own run", POSITIVE, shown="the study's")
    attribution: bool = setting(True, "leave out the runs without noise, with noise and from other starts", Switch())
    baselines: bool = setting(True, "leave out the convex baselines", Switch())
    variants: bool = setting(True, "leave out the other reading of text and code", Switch())
    data: str | None = setting(
        None, "your own data, an .npz file; its keys are in docs/experiments.md", Text("a path", metavar="FILE")
    )
    extra: Mapping[str, str | float] = dataclasses.field(default_factory=dict)

    @property
    def papers(self) -> bool:
        """Whether data, steps and η are the paper's, so that its caption can be set against the result."""
        return self.data is None and self.steps is None and self.lr is None

    def word(self, name: str, default: str) -> str:
        """A setting of one figure alone that is one of some words."""
        return str(self.extra.get(name, default))

    def number(self, name: str, default: float) -> float:
        """A setting of one figure alone that is a number."""
        return float(self.extra.get(name, default))

    def to_dict(self) -> JsonObject:
        """Plain values; a file by its name and a digest of its content."""
        settings = super().to_dict()
        if self.data is not None:
            path = Path(self.data)
            settings["data"] = f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        return {**settings, **self.extra}
