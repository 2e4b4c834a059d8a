"""What the configuration's rules ask of models by name; options of all others are checked by the model's builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from langevin_ib.config.kinds import REAL, Whole
from langevin_ib.config.settings import Settings, setting
from langevin_ib.errors import ConfigError

MAX_DEPTH = 16
MAX_TARGET = 1e6


class ModelSettings(Settings):
    """Base of the settings of a model that have options of their own on the command line.

    Attributes:
        many: whether its quotient has many coordinates, as far as can be told before it is built.
    """

    group: ClassVar[str] = "model"
    place: ClassVar[int] = 2
    many: ClassVar[bool] = True


@dataclass(frozen=True)
class UvSettings(ModelSettings):
    """y and D of the loss ½(u₁⋯u_D − y)²."""

    many: ClassVar[bool] = False

    target: float = setting(1.0, "uv: target y of the loss ½(z − y)²", REAL)
    depth: int = setting(2, "uv: number of factors D in z = u₁⋯u_D", Whole(2, MAX_DEPTH))

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.target) > MAX_TARGET:
            raise ConfigError("target", f"between −{MAX_TARGET:g} and {MAX_TARGET:g}", f"{self.target:g}")


class RotationSettings(ModelSettings):
    """Nothing but the builder's options."""

    many: ClassVar[bool] = False


MODELS: dict[str, type[ModelSettings]] = {"uv": UvSettings, "rotation": RotationSettings}
ONE_COORDINATE = tuple(name for name, record in MODELS.items() if not record.many)


def settings_of_model(model: Any) -> type[ModelSettings]:
    """The class of a model's own settings, of those that go by a name."""
    return MODELS.get(model, ModelSettings) if isinstance(model, str) else ModelSettings
