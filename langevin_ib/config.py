"""One frozen, validated run configuration; TOML in and out; its hash names the run folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from langevin_ib.errors import ConfigError

AUTO = "auto"
Auto = Literal["auto"]

CONFINEMENTS = ("stiff", "weight-decay", "none", "hard", "hard-fixman")
CONSTRAINED = ("hard", "hard-fixman")
INTEGRATORS = ("leimkuhler-matthews", "euler-maruyama", "mala", "projected")
REFERENCES = ("mala", "none")
LAWS = ("exact", "slice", "hard", "pushforward", "printed", "naive")

DEFAULT_TARGET, DEFAULT_DEPTH = 1.0, 2  # of uv
# (one coordinate, many coordinates): with many, a step costs more, and a softer confinement allows larger ones; it is
# compared at its finite κ all the same.
DEFAULT_KAPPA = (100.0, 20.0)
DEFAULT_CHAINS = (4096, 1024)
DEFAULT_STEPS = (100_000, 50_000)
DEFAULT_BINS = (40, 20)
SCALAR_MODELS = ("uv", "rotation")
DEFAULT_WEIGHT_DECAY = 0.3
MIN_CHAINS = 16  # chains are the independent unit of every error bar; fewer carry none
MAX_BINS = 1000
MAX_DEPTH = 16
MAX_TARGET = 1e6
LIMIT = 2**31 - 1


def _option(default: Any, group: str, text: str, **parse: Any) -> Any:
    """A field with what the command line needs to show and parse it."""
    return field(default=default, metadata={"group": group, "help": text, **parse})


def _of(defaults: tuple[float, float]) -> str:
    """Both defaults of a setting, for its help text."""
    return f"[{defaults[0]:g}; {defaults[1]:g} except uv, rotation]"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of one run; `auto` values are filled in by `langevin_ib.plan.resolve`.

    Temperature is T = σ²/β, one Euler step is θ' = θ − h∇V + √(2hT) ξ with h = `step_size`.

    Raises:
        ConfigError: a value is of the wrong kind, outside its range, or belongs to another protocol.

    >>> RunConfig(beta=10.0).temperature
    0.1
    >>> RunConfig(beta=-1.0)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: beta must be a positive number, got -1.0
    """

    model: str = _option(
        "uv", "model", "uv, hadamard, relu, attention, matrix, rotation, or module:function", kind="name"
    )
    options: dict[str, Any] | None = _option(None, "model", "options of the model, NAME=VALUE each", kind="options")
    beta: float = _option(10.0, "model", "inverse temperature β", kind="positive")
    sigma: float = _option(1.0, "model", "noise level σ; the temperature is T = σ²/β", kind="positive")
    target: float | None = _option(
        None, "model", f"uv: target y of the loss ½(z − y)² [{DEFAULT_TARGET:g}]", kind="number"
    )
    depth: int | None = _option(
        None, "model", f"uv: number of factors D in z = u₁⋯u_D [{DEFAULT_DEPTH}]", kind="count", low=2, high=MAX_DEPTH
    )
    metric: tuple[float, ...] | None = _option(
        None,
        "model",
        "diagonal of a constant metric g on the parameters; dynamics preconditioned by g⁻¹",
        kind="metric",
    )

    confine: str = _option("stiff", "protocol", "what makes the measure proper", choices=CONFINEMENTS)
    kappa: float | None = _option(None, "protocol", f"κ of κ|χ|²/2, with stiff {_of(DEFAULT_KAPPA)}", kind="positive")
    weight_decay: float | None = _option(
        None, "protocol", f"λ of λ|θ|²/2, with weight-decay [{DEFAULT_WEIGHT_DECAY:g}]", kind="positive"
    )
    slab: float | None = _option(
        None,
        "protocol",
        "keep draws with |χ| < ε, with none [window's top × dimension of the group / 20]",
        kind="positive",
    )

    integrator: str | Auto = _option(
        AUTO, "dynamics", "kernel of the chains; auto: leimkuhler-matthews, or projected if hard", choices=INTEGRATORS
    )
    step_size: float | Auto = _option(AUTO, "dynamics", "h; auto: from the curvature, checked at h/2", kind="positive")
    chains: int = _option(
        AUTO,
        "dynamics",
        f"independent chains {_of(DEFAULT_CHAINS)}",
        kind="count",
        low=MIN_CHAINS,
        high=10**7,
        auto=True,
    )
    steps: int = _option(
        AUTO,
        "dynamics",
        f"steps of a chain, with burn-in {_of(DEFAULT_STEPS)}",
        kind="count",
        low=10,
        high=LIMIT,
        auto=True,
    )
    burn_in: int | Auto = _option(
        AUTO, "dynamics", "steps to discard; auto: a fifth (unconfined: 1/32 to 1/4)", kind="count", low=0, high=LIMIT
    )
    thin: int | Auto = _option(
        AUTO, "dynamics", "steps between recorded draws; auto: from the curvature", kind="count", low=1, high=10**6
    )
    step_check: bool | Auto = _option(
        AUTO, "dynamics", "companion run at h/2; auto: if h is auto", choices=("yes", "no", AUTO)
    )
    precision: int = _option(32, "dynamics", "bits of the chains' floats", choices=(32, 64))
    seed: int = _option(0, "dynamics", "seed of all randomness", kind="count", low=0, high=LIMIT)

    window: tuple[float, float] | Auto = _option(
        AUTO, "comparison", "LO HI: range of z that is compared", kind="interval"
    )
    invariant: tuple[str, ...] | None = _option(
        None, "comparison", "invariants to compare [all of the model]", kind="names", many=True
    )
    bins: int = _option(
        AUTO,
        "comparison",
        f"histogram bins in the window {_of(DEFAULT_BINS)}",
        kind="count",
        low=2,
        high=MAX_BINS,
        auto=True,
    )
    laws: tuple[str, ...] = _option(LAWS, "comparison", "laws to compare with", choices=LAWS, many=True)
    margin: float = _option(0.01, "comparison", "equivalence margin on total variation", kind="positive")
    reference: str = _option("mala", "comparison", "reference sampler", choices=REFERENCES)

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = _checked(spec.name, getattr(self, spec.name), spec)
            object.__setattr__(self, spec.name, value)
        self._settle_model()
        self._settle_protocol()
        if self.burn_in != AUTO and self.burn_in >= self.steps:
            raise ConfigError("burn_in", f"below steps ({self.steps})", self.burn_in)
        if self.margin >= 1:
            raise ConfigError("margin", "below 1 (a total-variation distance)", self.margin)
        if self.target is not None and abs(self.target) > MAX_TARGET:
            raise ConfigError("target", f"between −{MAX_TARGET:g} and {MAX_TARGET:g}", f"{self.target:g}")
        if not (self.sigma < 1e100 and 1e-8 <= self.temperature <= 1e8):
            raise ConfigError("beta", "such that T = sigma²/beta lies in [1e-8, 1e8]", f"{self.beta:g}")

    def _settle_model(self) -> None:
        if self.model == "uv":
            if self.options:
                raise ConfigError("options", "left out for uv, which has --target and --depth", repr(self.options))
            for name, default in (("target", DEFAULT_TARGET), ("depth", DEFAULT_DEPTH)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, default)
        for name in ("target", "depth"):
            if self.model != "uv" and getattr(self, name) is not None:
                raise ConfigError(name, "left out unless model is uv", getattr(self, name))

    def _settle_protocol(self) -> None:
        many = self.model not in SCALAR_MODELS
        strength = {
            "kappa": ("stiff", DEFAULT_KAPPA[many]),
            "weight_decay": ("weight-decay", DEFAULT_WEIGHT_DECAY),
            "slab": ("none", None),
        }
        for name, (protocol, default) in strength.items():
            if self.confine == protocol and getattr(self, name) is None:
                object.__setattr__(self, name, default)
            if self.confine != protocol and getattr(self, name) is not None:
                raise ConfigError(name, f"left out unless confine is {protocol}", f"{getattr(self, name):g}")
        projected = self.confine in CONSTRAINED
        rules = {
            "integrator": "projected" if projected else "leimkuhler-matthews",
            "chains": DEFAULT_CHAINS[many],
            "steps": DEFAULT_STEPS[many],
            "bins": DEFAULT_BINS[many],
        }
        for name, value in rules.items():
            if getattr(self, name) == AUTO:
                object.__setattr__(self, name, value)
        if (self.integrator == "projected") != projected:
            wanted = "projected" if projected else "another than projected"
            raise ConfigError("integrator", f"{wanted} when confine is {self.confine}", self.integrator)

    def model_options(self) -> dict[str, Any]:
        """What the model's builder is called with."""
        return {"target": self.target, "depth": self.depth} if self.model == "uv" else dict(self.options or {})

    @property
    def temperature(self) -> float:
        """T = σ²/β."""
        return self.sigma**2 / self.beta

    def replace(self, **changes: Any) -> RunConfig:
        """A copy with some settings changed, validated again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the fields; settings of other protocols (None) are left out."""
        values = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of `to_dict`; an unknown name is a `ConfigError`."""
        known = {spec.name for spec in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError("config", f"made of known settings ({', '.join(sorted(known))})", repr(name))
        return cls(**values)

    def to_toml(self) -> str:
        """The configuration as TOML text.

        >>> RunConfig.from_dict(tomllib.loads(RunConfig(beta=3.0).to_toml())) == RunConfig(beta=3.0)
        True
        """
        return tomli_w.dumps(self.to_dict())

    def digest(self) -> str:
        """Eight hexadecimal digits that name this configuration."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_toml(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ConfigError: the file is missing, unreadable, or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("config", "a readable TOML file", f"{path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError("config", "a TOML file in UTF-8", f"{path} (not UTF-8 text)") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", "valid TOML", f"{path} ({str(error).splitlines()[0]})") from None


def _checked(name: str, value: Any, spec: dataclasses.Field) -> Any:
    """`value` in its canonical type, or a ConfigError."""
    meta = spec.metadata
    auto_allowed = AUTO in str(spec.type).lower() or meta.get("auto", False)
    if value is None and "None" in str(spec.type):
        return None
    if isinstance(value, str) and value == AUTO and auto_allowed:
        return value
    if "choices" in meta:
        return _checked_choice(name, value, meta)
    suffix = " (or auto)" if auto_allowed else ""
    if meta["kind"] in ("options", "metric", "names"):
        return {"options": _checked_options, "metric": _checked_metric, "names": _checked_names}[meta["kind"]](
            name, value
        )
    if meta["kind"] == "interval":
        return _checked_interval(name, value, suffix)
    if meta["kind"] == "name":
        if not isinstance(value, str) or not value:
            raise ConfigError(name, "a name", repr(value) if isinstance(value, str) else f"a {type(value).__name__}")
        return value
    if meta["kind"] == "count":
        low, high = meta["low"], meta["high"]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(name, f"a whole number from {low} to {high}{suffix}", value)
        return value
    wanted = {"positive": "a positive number", "number": "a finite number"}[meta["kind"]] + suffix
    number = _finite(value)
    if number is None or (meta["kind"] == "positive" and number <= 0):
        raise ConfigError(name, wanted, value)
    return number


def _checked_choice(name: str, value: Any, meta: Any) -> Any:
    choices = meta["choices"]
    if name == "step_check":
        value = {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ConfigError(name, "yes, no or auto", value)
        return value
    wanted = "one of " + ", ".join(str(c) for c in choices)
    if meta.get("many"):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(name, "a list of laws", value)
        for item in value:
            if item not in choices:
                raise ConfigError(name, f"laws among {', '.join(choices)}", item)
        if not value:
            raise ConfigError(name, "at least one law", "none")
        return tuple(choice for choice in choices if choice in value)
    if isinstance(value, bool | float) or value not in choices:
        raise ConfigError(name, wanted, value)
    return value


def _checked_interval(name: str, value: Any, suffix: str) -> tuple[float, float]:
    wanted = f"two finite numbers LO < HI{suffix}"
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        raise ConfigError(name, wanted, value)
    low, high = _finite(value[0]), _finite(value[1])
    if low is None or high is None or not low < high:
        raise ConfigError(name, wanted, f"{value[0]} {value[1]}")
    return low, high


def _checked_options(name: str, value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        raise ConfigError(name, "a table of NAME = VALUE", value)
    for key, item in value.items():
        if isinstance(item, float) and not math.isfinite(item):
            raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item}")
        if not isinstance(key, str) or not isinstance(item, bool | int | float | str):
            raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item!r}")
    return dict(sorted(value.items())) or None


def _checked_metric(name: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ConfigError(name, "positive numbers, one for each parameter", value)
    found = [_finite(item) for item in value]
    if not found or any(item is None or item <= 0 for item in found):
        raise ConfigError(name, "positive numbers, one for each parameter", " ".join(str(item) for item in value))
    return tuple(item for item in found if item is not None)


def _checked_names(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__") or not all(isinstance(item, str) for item in value):
        raise ConfigError(name, "a list of names", value)
    if not value:
        raise ConfigError(name, "at least one name", "none")
    return tuple(dict.fromkeys(value))


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the range of floats
        return None
    return number if math.isfinite(number) else None
