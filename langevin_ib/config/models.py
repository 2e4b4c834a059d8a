"""What the configuration's rules ask of models by name; options of all others are checked by the model's builder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from langevin_ib.config.kinds import POSITIVE, REAL, Text, Whole
from langevin_ib.config.settings import Settings, setting
from langevin_ib.errors import ConfigError

MAX_DEPTH = 16
MAX_TARGET = 1e6
DIGITS = 16  # of a file's digest


class ModelSettings(Settings):
    """Base of the settings of a model that have options of their own on the command line.

    Attributes:
        many: whether its quotient has many coordinates, as far as can be told before it is built.
    """

    group: ClassVar[str] = "model"
    place: ClassVar[int] = 2
    many: ClassVar[bool] = True


@dataclass(frozen=True)
class DataSettings(ModelSettings):
    """ℓ of each example, and the file that the examples are in, with the digest of its content."""

    loss: str | None = setting(
        None,
        "loss of each example: squared, logistic (labels −1 and 1), cross-entropy (class indices), huber, or "
        "module:function of prediction and label",
        Text("squared, logistic, cross-entropy, huber or module:function", "LOSS"),
        shown="squared",
    )
    huber_threshold: float | None = setting(None, "δ of huber, beyond which it is linear", POSITIVE, shown="1")
    data: str | None = setting(
        None, "an .npz file of examples of your own, in place of drawn ones", Text("a path", "FILE")
    )
    data_sha256: str | None = setting(None, "digest of that file's content", Text("a digest"), option=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_sha256 is not None and self.data is None:
            raise ConfigError("data_sha256", "left out without data", self.data_sha256)
        if self.data is not None and self.data_sha256 is None:
            object.__setattr__(self, "data_sha256", digest_of_file(self.data))
        if self.huber_threshold is not None and self.loss != "huber":
            raise ConfigError("huber_threshold", "left out unless loss is huber", f"{self.huber_threshold:g}")


@dataclass(frozen=True)
class UvSettings(DataSettings):
    """y and D of the loss ½(u₁⋯u_D − y)²."""

    many: ClassVar[bool] = False

    target: float = setting(1.0, "uv: target y of the loss ½(z − y)²", REAL)
    depth: int = setting(2, "uv: number of factors D in z = u₁⋯u_D", Whole(2, MAX_DEPTH))

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.target) > MAX_TARGET:
            raise ConfigError("target", f"between −{MAX_TARGET:g} and {MAX_TARGET:g}", f"{self.target:g}")
        if self.data is not None and self.target != UvSettings.declared()["target"].default:
            raise ConfigError("target", "left out with data, which decide it", f"{self.target:g}")


class RotationSettings(ModelSettings):
    """Nothing but the builder's options."""

    many: ClassVar[bool] = False


MODELS: dict[str, type[ModelSettings]] = {
    "uv": UvSettings,
    "rotation": RotationSettings,
    **dict.fromkeys(("attention", "hadamard", "matrix", "relu"), DataSettings),
}
ONE_COORDINATE = tuple(name for name, record in MODELS.items() if not record.many)


def digest_of_file(path: str) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a file's content.

    Raises:
        ConfigError: of the option `data`, it cannot be read.
    """
    import hashlib  # noqa: PLC0415 - loads OpenSSL, which `--help` needs not wait for

    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise ConfigError("data", "a file that can be read", f"{path}: {error.strerror or error}") from None


def settings_of_model(model: Any) -> type[ModelSettings]:
    """The class of a model's own settings, of those that go by a name."""
    return MODELS.get(model, ModelSettings) if isinstance(model, str) else ModelSettings
