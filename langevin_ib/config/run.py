"""One frozen, validated run configuration; TOML in and out; its hash names the run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tomli_w

from langevin_ib.config import extensions
from langevin_ib.config.extensions import Kind
from langevin_ib.errors import ConfigError, shown

if TYPE_CHECKING:
    from langevin_ib.models.base import Model

AUTO = "auto"
Auto = Literal["auto"]

CONFINEMENTS = ("stiff", "weight-decay", "none", "hard", "hard-fixman")
CONSTRAINED = ("hard", "hard-fixman")
INTEGRATORS = ("leimkuhler-matthews", "euler-maruyama", "mala", "projected")
REFERENCES = ("mala", "none")
LAWS = ("exact", "slice", "hard", "pushforward", "printed", "naive")
SAMPLERS = ("langevin", "sgd")
NOISES = ("label", "minibatch", "fresh", "isotropic", "none")
# Settings of one sampler, with their defaults; None under the other.
LANGEVIN: dict[str, Any] = {
    "beta": 10.0,
    "sigma": 1.0,
    "integrator": AUTO,
    "step_size": AUTO,
    "step_check": AUTO,
    "laws": LAWS,
    "reference": "mala",
}
SGD: dict[str, Any] = {
    "noise": "label",
    "lr": AUTO,
    "label_noise": AUTO,
    "batch_size": AUTO,
    "momentum": 0.0,
    "replacement": True,
}

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
LARGEST_OPTION = 2**63 - 1  # of TOML


def _option(default: Any, group: str, text: str, **parse: Any) -> Any:
    """A field with what the command line needs to show and parse it."""
    return field(default=default, metadata={"group": group, "help": text, **parse})


def _default_help(defaults: tuple[float, float]) -> str:
    """Both defaults of a setting, for its help text."""
    return f"[{defaults[0]:g}; {defaults[1]:g} except uv, rotation]"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of one run; `auto` values are filled in by `langevin_ib.runs.plan.resolve`.

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

    model: str | Model | Callable[..., Model] = _option(
        "uv", "model", "uv, hadamard, relu, attention, matrix, rotation, or module:function", kind="model"
    )
    options: dict[str, Any] | None = _option(None, "model", "options of the model, NAME=VALUE each", kind="options")
    sampler: str = _option("langevin", "model", "what trains the model", choices=SAMPLERS)
    beta: float = _option(None, "model", "inverse temperature β [10]", kind="positive")
    sigma: float = _option(None, "model", "noise level σ; the temperature is T = σ²/β [1]", kind="positive")
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

    confine: str = _option(
        AUTO,
        "protocol",
        "what makes the measure proper; auto: stiff, or none with sgd",
        choices=CONFINEMENTS,
        auto=True,
    )
    kappa: float | None = _option(
        None, "protocol", f"κ of κ|χ|²/2, with stiff {_default_help(DEFAULT_KAPPA)}", kind="positive"
    )
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
        None,
        "dynamics",
        "kernel of the chains; auto: leimkuhler-matthews, or projected if hard [auto]",
        choices=INTEGRATORS,
    )
    step_size: float | Auto = _option(
        None, "dynamics", "h; auto: from the curvature, checked at h/2 [auto]", kind="positive"
    )
    chains: int = _option(
        AUTO,
        "dynamics",
        f"independent chains {_default_help(DEFAULT_CHAINS)}",
        kind="count",
        low=MIN_CHAINS,
        high=10**7,
        auto=True,
    )
    steps: int = _option(
        AUTO,
        "dynamics",
        f"steps of a chain, with burn-in {_default_help(DEFAULT_STEPS)[:-1]}; sgd: 400 relaxation times after it]",
        kind="count",
        low=10,
        high=LIMIT,
        auto=True,
    )
    burn_in: int | Auto = _option(
        AUTO,
        "dynamics",
        "steps to discard; auto: a fifth (unconfined: 1/32 to 1/4; sgd: until χ has decayed and z relaxed)",
        kind="count",
        low=0,
        high=LIMIT,
    )
    thin: int | Auto = _option(
        AUTO, "dynamics", "steps between recorded draws; auto: from the curvature", kind="count", low=1, high=10**6
    )
    step_check: bool | Auto = _option(
        None,
        "dynamics",
        "companion run at h/2; auto: yes, but for mala [auto]",
        choices=("yes", "no", AUTO),
    )
    precision: int = _option(32, "dynamics", "bits of the chains' floats", choices=(32, 64))
    seed: int = _option(0, "dynamics", "seed of all randomness", kind="count", low=0, high=LIMIT)

    noise: str | None = _option(
        None,
        "descent",
        "label: all examples, noisy labels; minibatch: of the data set; fresh: new examples; isotropic: as strong as "
        "minibatch (with --batch-size) or label, in a random direction; none: gradient descent [label]",
        choices=NOISES,
    )
    lr: float | Auto | None = _option(None, "descent", "learning rate η; auto: 0.01 (1 − μ)/curvature", kind="positive")
    label_noise: float | Auto | None = _option(
        None,
        "descent",
        "s, noise on the labels; auto: 2.8√(n/w) for n examples of weight w with label, 0 with others",
        kind="non-negative",
    )
    batch_size: int | Auto | None = _option(
        None, "descent", "B, examples in a step of minibatch or fresh; auto: 1", kind="count", low=1, high=10**6
    )
    momentum: float | None = _option(None, "descent", "μ of heavy-ball momentum [0]", kind="momentum")
    replacement: bool | None = _option(
        None, "descent", "minibatch: with replacement; else by epochs [yes]", choices=("yes", "no")
    )

    window: tuple[float, float] | Auto = _option(
        AUTO, "comparison", "LO HI: range of z that is compared", kind="interval"
    )
    invariant: tuple[str, ...] | None = _option(
        None, "comparison", "invariants to compare [all of the model]", kind="names", many=True
    )
    bins: int = _option(
        AUTO,
        "comparison",
        f"histogram bins in the window {_default_help(DEFAULT_BINS)}",
        kind="count",
        low=2,
        high=MAX_BINS,
        auto=True,
    )
    laws: tuple[str, ...] = _option(
        None, "comparison", "laws to compare with langevin (sgd has its own)", choices=LAWS, many=True
    )
    law_draws: int | None = _option(
        None,
        "comparison",
        "many coordinates: draws of the law that predictions rest on [512000]",
        kind="count",
        low=10_000,
        high=10**8,
    )
    margin: float = _option(0.01, "comparison", "equivalence margin on total variation", kind="positive")
    reference: str = _option(None, "comparison", "reference sampler [mala]", choices=REFERENCES)

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, plain(getattr(self, spec.name)))
        self._record_given()
        self._settle_sampler()
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if not (value is None and spec.name in (*LANGEVIN, *SGD)):  # the other sampler's
                object.__setattr__(self, spec.name, _checked(spec.name, value, spec))
        self._settle_model()
        self._settle_protocol()
        if isinstance(self.burn_in, int) and isinstance(self.steps, int) and self.burn_in >= self.steps:
            raise ConfigError("burn_in", f"below steps ({self.steps})", self.burn_in)
        if self.margin >= 1:
            raise ConfigError("margin", "below 1 (a total-variation distance)", self.margin)
        if self.target is not None and abs(self.target) > MAX_TARGET:
            raise ConfigError("target", f"between −{MAX_TARGET:g} and {MAX_TARGET:g}", f"{self.target:g}")
        if self.sampler == "langevin" and not (self.sigma < 1e100 and 1e-8 <= self.temperature <= 1e8):
            name, other = ("sigma", "beta") if "sigma" in self.given and "beta" not in self.given else ("beta", "sigma")
            got = f"{getattr(self, name):g} with {other} {getattr(self, other):g}"
            raise ConfigError(name, "such that T = sigma²/beta lies in [1e-8, 1e8]", got)

    def _record_given(self) -> None:
        """Record which settings were given, before rules and defaults resolve the others."""
        given = {
            spec.name: getattr(self, spec.name)
            for spec in dataclasses.fields(self)
            if not (getattr(self, spec.name) is None or _same_setting(getattr(self, spec.name), spec.default))
        }
        object.__setattr__(self, "_given", given)

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were given, not filled in: those that a rule or a default may not change.

        >>> list(RunConfig(beta=3.0).given)
        ['beta']
        """
        return dict(self.__dict__["_given"])

    def _settle_sampler(self) -> None:
        """Defaults of the sampler's own settings; those of the other have to be left out."""
        own, other = (SGD, LANGEVIN) if self.sampler == "sgd" else (LANGEVIN, SGD)
        for name, default in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        for name in other:
            if getattr(self, name) is not None:
                raise ConfigError(name, f"left out with sampler {self.sampler}", getattr(self, name))
        if self.confine == AUTO:
            object.__setattr__(self, "confine", "none" if self.sampler == "sgd" else "stiff")

    def _settle_noise(self) -> None:
        """Settings of SGD's noise that rules resolve, and those that contradict it."""
        if self.confine not in ("none", "weight-decay"):
            raise ConfigError("confine", "none or weight-decay with sampler sgd", self.confine)
        if self.slab is not None:
            raise ConfigError("slab", "left out with sampler sgd", f"{self.slab:g}")
        batched = self.noise in ("minibatch", "fresh")
        if self.batch_size == AUTO:
            object.__setattr__(self, "batch_size", 1 if batched else None)
        elif not batched and self.noise != "isotropic" and self.batch_size is not None:
            raise ConfigError(
                "batch_size", f"left out with noise {self.noise} (or noise minibatch given)", self.batch_size
            )
        if self.label_noise == AUTO and (self.noise == "none" or self.batch_size is not None):
            object.__setattr__(self, "label_noise", 0.0)
        if self.noise == "none" and self.label_noise:
            raise ConfigError("label_noise", "left out with noise none", self.label_noise)
        if self.label_noise == 0.0 and self.batch_size is None and self.noise != "none":
            raise ConfigError("label_noise", f"a positive number with noise {self.noise}", self.label_noise)
        if self.noise == "isotropic" and self.momentum:
            raise ConfigError("momentum", "left out with noise isotropic, whose steps are Langevin's", self.momentum)
        if not self.replacement and self.noise != "minibatch":
            raise ConfigError("replacement", f"yes with noise {self.noise}", "no")

    def _settle_model(self) -> None:
        if self.model == "uv":
            for name in ("target", "depth"):
                if name in (self.options or {}):
                    raise ConfigError("options", f"without {name}, which has an option of its own, --{name}", name)
            for name, default in (("target", DEFAULT_TARGET), ("depth", DEFAULT_DEPTH)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, default)
        for name in ("target", "depth"):
            if self.model != "uv" and getattr(self, name) is not None:
                raise ConfigError(name, "left out unless model is uv", getattr(self, name))

    def _settle_protocol(self) -> None:
        many = not (isinstance(self.model, str) and self.model in SCALAR_MODELS)
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
        rules: dict[str, Any] = {
            "chains": DEFAULT_CHAINS[many],
            "steps": DEFAULT_STEPS[many],
            "bins": DEFAULT_BINS[many],
        }
        if self.sampler == "langevin":
            rules["integrator"] = "projected" if projected else "leimkuhler-matthews"
        for name, value in rules.items():
            # With SGD the number of steps follows from how fast χ decays.
            if getattr(self, name) == AUTO and not (name == "steps" and self.sampler == "sgd"):
                object.__setattr__(self, name, value)
        if self.sampler == "sgd":
            self._settle_noise()
            return
        if (self.integrator == "projected") != projected:
            wanted = "projected" if projected else "another than projected"
            raise ConfigError("integrator", f"{wanted} when confine is {self.confine}", self.integrator)

    def model_options(self) -> dict[str, Any]:
        """The arguments of the model's builder."""
        own = {"target": self.target, "depth": self.depth} if self.model == "uv" else {}
        return own | (self.options or {})

    def settings_of(self, kind: Kind) -> Any:
        """The settings of the confinement or the kernel that is chosen, as its own record."""
        name = self.confine if kind == "confinement" else self.integrator
        own = extensions.load(kind, str(name)).settings
        return own(**{spec.name: getattr(self, spec.name) for spec in dataclasses.fields(own)})

    @property
    def temperature(self) -> float:
        """T = σ²/β, of Langevin dynamics."""
        return self.sigma**2 / self.beta

    def origin_of(self, name: str) -> str:
        """Who set a setting that was not given: a default, or a rule where this configuration leaves it open.

        >>> RunConfig(beta=3.0).origin_of("beta"), RunConfig().origin_of("beta"), RunConfig().origin_of("window")
        ('', 'a default', 'set by rule')
        """
        if name in self.given or name not in {spec.name for spec in dataclasses.fields(self)}:
            return ""
        return "set by rule" if getattr(self, name) in (AUTO, None) else "a default"

    def replace(self, **changes: Any) -> RunConfig:
        """A copy with some settings changed, validated again; defaults are resolved anew.

        >>> RunConfig().replace(confine="weight-decay").kappa is None
        True
        """
        changed = type(self)(**(self.given | changes))
        if _same_setting(changed.model, self.model) and changed.model_options() == self.model_options():
            for kept in ("_model", "_model_name"):
                if kept in self.__dict__:
                    object.__setattr__(changed, kept, self.__dict__[kept])
        return changed

    def build_model(self) -> Model:
        """The model, built once for this configuration and its copies with other settings of the run.

        Raises:
            ConfigError, ModelError: as `models.build_model`.
        """
        if "_model" not in self.__dict__:
            from langevin_ib.models.registry import build, build_model  # noqa: PLC0415 - needs JAX, settings do not

            options = self.model_options()
            model = build_model(self.model, options) if isinstance(self.model, str) else build(self.model, options)
            object.__setattr__(self, "_model", model)
        return self.__dict__["_model"]

    @property
    def model_name(self) -> str:
        """What the model is called in files: its name, `module:function`, or NAME@HASH of a `Model` or a function.

        The hash is of what the model computes. One that stands for an object cannot be built again from its name.
        """
        if isinstance(self.model, str):
            return self.model
        if "_model_name" not in self.__dict__:
            from langevin_ib.models.registry import name_of  # noqa: PLC0415

            object.__setattr__(self, "_model_name", name_of(self.model, self.build_model))
        return self.__dict__["_model_name"]

    def __getstate__(self) -> dict[str, Any]:
        # Functions do not pickle: a model that stands for itself goes by its name, from which it cannot be built again.
        state = {name: value for name, value in self.__dict__.items() if name != "_model"}
        if not isinstance(self.model, str) and "@" in self.model_name:
            state |= {"model": self.model_name, "_given": self.given | {"model": self.model_name}}
        return state

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the fields; settings of other protocols (None) are left out."""
        values = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        values["model"] = self.model_name
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


@contextlib.contextmanager
def named_origins(config: RunConfig) -> Iterator[None]:
    """Add to errors about settings who set a value that was not given."""
    try:
        yield
    except ConfigError as error:
        raise error.said_of(config.origin_of("options" if error.option == "set" else error.option)) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ConfigError: the file is missing, unreadable, or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # some editors put a BOM in front
    except OSError as error:
        raise ConfigError("config", "a readable TOML file", f"{path or repr(path)} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError("config", "a TOML file in UTF-8", f"{path} (not UTF-8 text)") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", "valid TOML", f"{path} ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise ConfigError("config", "valid TOML", f"{path} (nested too deeply)") from None
    except ValueError as error:
        fault = "a number of too many digits" if "digits" in str(error) else str(error)  # else: the path is none
        raise ConfigError("config", "valid TOML", f"{path!r} ({fault})") from None


def plain(value: Any) -> Any:
    """Numbers of NumPy and JAX as Python's, their arrays as lists; anything else as it is.

    >>> import numpy as np
    >>> plain(np.float32(0.5)), plain((np.int64(3), 4))
    (0.5, (3, 4))
    """
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if not (hasattr(value, "dtype") and hasattr(value, "tolist") and hasattr(value, "shape")):
        return value
    return value.tolist()


def _same_setting(value: Any, other: Any) -> bool:
    """Whether two settings are the same; models are compared by identity."""
    same_kind = type(value) is type(other)
    return value is other or (same_kind and isinstance(value, str | bool | int | float | tuple) and value == other)


NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "positive": ("a positive number", lambda x: x > 0),
    "non-negative": ("a number from 0", lambda x: x >= 0),
    "momentum": ("a number from 0 to below 1", lambda x: 0 <= x < 1),
    "number": ("a finite number", lambda x: True),
}


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
        return {"options": checked_options, "metric": _checked_metric, "names": _checked_names}[meta["kind"]](
            name, value
        )
    if meta["kind"] == "interval":
        return _checked_interval(name, value, suffix)
    if meta["kind"] == "model":
        return _checked_model(name, value)
    if meta["kind"] == "count":
        low, high = meta["low"], meta["high"]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(name, f"a whole number from {low} to {high}{suffix}", value)
        return value
    wanted, allowed = NUMBERS[meta["kind"]]
    number = _finite(value)
    if number is None or not allowed(number):
        raise ConfigError(name, wanted + suffix, value)
    return number


def _checked_model(name: str, value: Any) -> Any:
    """A name, a `Model`, or a function that builds one."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, str):
        from langevin_ib.models.base import Model  # noqa: PLC0415 - needs JAX, settings do not

        if isinstance(value, Model) or callable(value):
            return value
    got = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    raise ConfigError(name, "a name, a Model, or a function that builds one", got)


def _checked_choice(name: str, value: Any, meta: Any) -> Any:
    choices = meta["choices"]
    if name in ("step_check", "replacement"):
        value = {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ConfigError(name, "yes, no or auto" if AUTO in choices else "yes or no", value)
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


def checked_options(name: str, value: Any) -> dict[str, Any] | None:
    """Options of a model, NAME = VALUE, sorted by name; None if there are none.

    Raises:
        ConfigError: a value is none that a file of settings can hold.
    """
    if not isinstance(value, dict):
        raise ConfigError(name, "a table of NAME = VALUE", value)
    for key, item in value.items():
        if isinstance(item, float) and not math.isfinite(item):
            raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item}")
        if isinstance(item, int) and abs(item) > LARGEST_OPTION:
            raise ConfigError(name, "made of whole numbers of 64 bits at most", f"{key} = {shown(item)}")
        if not isinstance(key, str) or not isinstance(item, bool | int | float | str):
            raise ConfigError(name, "made of finite numbers, words, yes or no", f"{key} = {item!r}")
    return dict(sorted(value.items())) or None


def _checked_metric(name: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ConfigError(name, "positive numbers, one for each parameter", value)
    diagonal = [_finite(item) for item in value]
    if not diagonal or any(item is None or item <= 0 for item in diagonal):
        raise ConfigError(name, "positive numbers, one for each parameter", " ".join(str(item) for item in value))
    return tuple(item for item in diagonal if item is not None)


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
