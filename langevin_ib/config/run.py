"""One frozen, validated run configuration; TOML in and out; its hash names the run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from langevin_ib.config import extensions
from langevin_ib.config.confinements import CONFINEMENTS, ConfinementSettings
from langevin_ib.config.kernels import KERNELS
from langevin_ib.config.kinds import (
    AUTO,
    LIMIT,
    POSITIVE,
    Diagonal,
    Extension,
    Interval,
    ModelKind,
    Names,
    OneOf,
    Options,
    Whole,
    plain,
)
from langevin_ib.config.models import MODELS, ModelSettings, settings_of_model
from langevin_ib.config.noises import NOISES
from langevin_ib.config.processes import LAWS, PROCESSES, ProcessSettings
from langevin_ib.config.settings import Setting, Settings, in_order, jsonable, read_settings, schema_of, setting
from langevin_ib.errors import ConfigError

if TYPE_CHECKING:
    from langevin_ib.models.base import Model

__all__ = ["AUTO", "LAWS", "MIN_CHAINS", "RunConfig", "named_origins", "read_toml"]

Auto = Literal["auto"]
read_toml = read_settings

# (one coordinate, many coordinates)
DEFAULT_CHAINS = (4096, 1024)
DEFAULT_STEPS = (100_000, 50_000)
DEFAULT_BINS = (40, 20)
MIN_CHAINS = 16  # chains are the independent unit of every error bar; fewer carry none
MAX_BINS = 1000

# Settings classes of what is chosen by name, known without importing the chosen.
BUILT_IN: dict[extensions.Kind, Mapping[str, type[Settings]]] = {
    "process": PROCESSES,
    "model": MODELS,
    "confinement": CONFINEMENTS,
    "kernel": KERNELS,
    "noise": NOISES,
}
CONSTRAINED = tuple(name for name, chosen in CONFINEMENTS.items() if chosen.held)


@dataclass(frozen=True, init=False, repr=False)
class RunConfig(Settings):
    """Everything that decides the numbers of one run; `auto` values are filled in by `langevin_ib.runs.plan.resolve`.

    The constructor, files and digests are flat: `RunConfig(beta=3.0, kappa=50.0)`. Inside, fields are what every run
    has; what the chosen model, process, confinement, kernel and noise have of their own is a record of each. A setting
    can be read by its flat name too, `config.kappa`; it is None where it is not of this run.

    Attributes:
        records: the own settings of what was chosen, by kind; see `settings_of`.

    Raises:
        ConfigError: a value is of the wrong kind, outside its range, or belongs to another protocol.

    >>> RunConfig(beta=10.0).process.temperature
    0.1
    >>> RunConfig(kappa=50.0).confinement
    StiffSettings(kappa=50.0)
    >>> RunConfig(beta=-1.0)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: beta must be a positive number, got -1.0
    """

    place: ClassVar[int] = 0

    model: str | Model | Callable[..., Model] = setting(
        "uv",
        "uv, hadamard, relu, attention, matrix, rotation, or module:function",
        ModelKind(),
        shown="",
        group="model",
    )
    options: dict[str, Any] | None = setting(
        None,
        "options of the model, NAME=VALUE each",
        Options(),
        group="model",
        follows=("model",),
    )
    sampler: str = setting("langevin", "what trains the model", Extension("process", tuple(PROCESSES)), group="model")
    metric: tuple[float, ...] | None = setting(
        None,
        "diagonal of a constant metric g on the parameters; dynamics preconditioned by g⁻¹",
        Diagonal(),
        group="model",
        place=3,
        follows=("model",),
    )
    confine: str = setting(
        AUTO,
        "what makes the measure proper; auto: stiff, or none with sgd",
        Extension("confinement", tuple(CONFINEMENTS)),
        auto=True,
        group="protocol",
        follows=("sampler",),
    )
    chains: int = setting(
        AUTO,
        "independent chains",
        Whole(MIN_CHAINS, 10**7),
        auto=True,
        sized=DEFAULT_CHAINS,
        group="dynamics",
        feeds=False,
    )
    steps: int = setting(
        AUTO,
        "steps of a chain, with burn-in; sgd: 400 relaxation times after it",
        Whole(10, LIMIT),
        auto=True,
        sized=DEFAULT_STEPS,
        group="dynamics",
        follows=("sampler",),
    )
    burn_in: int | Auto = setting(
        AUTO,
        "steps to discard; auto: a fifth (unconfined: 1/32 to 1/4; sgd: until χ has decayed and z relaxed)",
        Whole(0, LIMIT),
        auto=True,
        group="dynamics",
        feeds=False,
        ruled=True,
        follows=("sampler",),
    )
    thin: int | Auto = setting(
        AUTO,
        "steps between recorded draws; auto: from the curvature",
        Whole(1, 10**6),
        auto=True,
        group="dynamics",
        feeds=False,
        ruled=True,
        follows=("sampler",),
    )
    precision: int = setting(32, "bits of the chains' floats", OneOf(32, 64), group="dynamics", place=2, feeds=False)
    seed: int = setting(0, "seed of all randomness", Whole(0, LIMIT), group="dynamics", place=2, feeds=False)
    window: tuple[float, float] | Auto = setting(
        AUTO,
        "LO HI: range of z that is compared",
        Interval(),
        auto=True,
        group="comparison",
        feeds=False,
        ruled=True,
        follows=("sampler",),
    )
    invariant: tuple[str, ...] | None = setting(
        None,
        "invariants to compare",
        Names(),
        shown="all of the model",
        group="comparison",
        feeds=False,
        follows=("model",),
    )
    bins: int = setting(
        AUTO,
        "histogram bins in the window",
        Whole(2, MAX_BINS),
        auto=True,
        sized=DEFAULT_BINS,
        group="comparison",
        feeds=False,
    )
    law_draws: int | None = setting(
        None,
        "many coordinates: draws of the law that predictions rest on",
        Whole(10_000, 10**8),
        shown="512000",
        group="comparison",
        place=2,
        feeds=False,
    )
    margin: float = setting(
        0.01, "equivalence margin on total variation", POSITIVE, group="comparison", place=2, feeds=False
    )
    records: dict[extensions.Kind, Settings] = field(default_factory=dict, hash=False)

    def __init__(self, /, model: Any = "uv", **settings: Any):
        for record in settings.pop("records", {}).values():  # of `dataclasses.replace`
            settings = record.to_dict() | settings
        values = {name: plain(value) for name, value in {"model": model, **settings}.items()}
        own = type(self).declared()
        classes = chosen_classes(values)
        _check_known(values, flat_settings(classes))
        given = {
            name: value
            for name, value in values.items()
            if value is not None and not (name in own and _same_setting(value, own[name].default))
        }
        _check_process(given, classes)
        for name, declared in own.items():
            object.__setattr__(self, name, declared.check(name, values.get(name, declared.default)))
        checked = {name: getattr(self, name) if name in own else value for name, value in given.items()}
        object.__setattr__(self, "_given", {name: value for name, value in checked.items() if value is not None})
        self._settle(classes, given)

    def _settle(self, classes: Mapping[extensions.Kind, type[Settings]], given: dict[str, Any]) -> None:
        """The records of what was chosen, and defaults that follow from it."""
        many = cast(type[ModelSettings], classes["model"]).many
        records: dict[extensions.Kind, Settings] = {}
        for kind, chosen in classes.items():
            values = {}
            for name, declared in chosen.declared().items():
                if name in given:
                    values[name] = self._given[name] = declared.check(name, given[name])
                elif declared.sized is not None:
                    values[name] = declared.sized[many]
            records[kind] = chosen(**values)
        object.__setattr__(self, "records", records)
        process = cast(type[ProcessSettings], classes["process"])
        self._check_own(given, classes)
        if self.confine == AUTO:
            object.__setattr__(self, "confine", process.confine)
        for name, declared in type(self).declared().items():
            by_plan = name == "steps" and process.steps_by_rule
            if declared.sized is not None and getattr(self, name) == AUTO and not by_plan:
                object.__setattr__(self, name, declared.sized[many])
        self._check_confinement(given)
        records["process"] = self.process.settled(self)
        if isinstance(self.burn_in, int) and isinstance(self.steps, int) and self.burn_in >= self.steps:
            raise ConfigError("burn_in", f"below steps ({self.steps})", self.burn_in)
        if self.margin >= 1:
            raise ConfigError("margin", "below 1 (a total-variation distance)", self.margin)

    def _check_own(self, given: dict[str, Any], classes: Mapping[extensions.Kind, type[Settings]]) -> None:
        """Refuse settings of what was not chosen, and options of the model that have a setting of their own."""
        for name in self.options or {}:
            if name in classes["model"].declared():
                raise ConfigError("options", f"without {name}, which has an option of its own, --{name}", name)
        chosen = dict(_all_declared(classes))
        for kind, table in BUILT_IN.items():
            for choice, other in table.items():
                for name in given.keys() & (other.declared().keys() - chosen.keys()):
                    value = other.declared()[name].check(name, given[name])
                    got = f"{value:g}" if kind == "confinement" and isinstance(value, float) else value
                    raise ConfigError(name, f"left out unless {extensions.SETTING[kind]} is {choice}", got)

    def _check_confinement(self, given: dict[str, Any]) -> None:
        """Whether a built-in process takes the confinement, and each setting that was given of it."""
        if self.sampler not in PROCESSES:
            return
        if self.sampler not in self.confinement.processes:
            fitting = [name for name, other in CONFINEMENTS.items() if self.sampler in other.processes]
            fitting.sort(key=lambda name: name != self.process.confine)
            raise ConfigError("confine", f"{' or '.join(fitting)} with sampler {self.sampler}", self.confine)
        for name, declared in type(self.confinement).declared().items():
            if name in given and declared.processes and self.sampler not in declared.processes:
                raise ConfigError(name, f"left out with sampler {self.sampler}", f"{self._given[name]:g}")

    def __getattr__(self, name: str) -> Any:
        # Only for what is no attribute: a setting of a record, or of one that was not chosen.
        for record in self.__dict__.get("records", {}).values():
            if name in type(record).declared():
                return getattr(record, name)
        if name.startswith("_") or name not in flat_settings():
            raise AttributeError(f"a RunConfig has no setting {name}")
        return None

    def __repr__(self) -> str:
        return f"RunConfig({', '.join(f'{name}={value!r}' for name, value in self._flat().items())})"

    @property
    def process(self) -> ProcessSettings:
        """The own settings of the process."""
        return cast(ProcessSettings, self.records["process"])

    @property
    def confinement(self) -> ConfinementSettings:
        """The own settings of the confinement."""
        return cast(ConfinementSettings, self.records["confinement"])

    def settings_of(self, kind: extensions.Kind) -> Any:
        """The own settings of what was chosen of a kind: confinement, kernel, model, noise, process.

        Raises:
            LookupError: the process chooses nothing of this kind.

        >>> RunConfig(sampler="sgd", noise="fresh").settings_of("noise").batched
        True
        """
        if kind not in self.records:
            raise LookupError(f"sampler {self.sampler} chooses no {kind}")
        return self.records[kind]

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were given, not filled in: those that a rule or a default may not change.

        >>> list(RunConfig(beta=3.0).given)
        ['beta']
        """
        return dict(self.__dict__["_given"])

    def model_options(self) -> dict[str, Any]:
        """The arguments of the model's builder."""
        return self.records["model"].to_dict() | (self.options or {})

    @property
    def temperature(self) -> float:
        """T, of a process that has one by its settings, as Langevin dynamics: σ²/β."""
        return self.process.temperature

    def origin_of(self, name: str) -> str:
        """Who set a setting that was not given: a default, or a rule where this configuration leaves it open.

        >>> RunConfig(beta=3.0).origin_of("beta"), RunConfig().origin_of("beta"), RunConfig().origin_of("window")
        ('', 'a default', 'set by rule')
        """
        if name in self.given or name not in flat_settings(self._classes()):
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

    def _classes(self) -> dict[extensions.Kind, type[Settings]]:
        return {kind: type(record) for kind, record in self.records.items()}

    def _flat(self) -> dict[str, Any]:
        """Every setting of this run, in the order of files."""
        values = {name: getattr(self, name) for name in in_order(_all_declared(self._classes()))}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values of all settings of this run, flat."""
        return {name: jsonable(value) for name, value in (self._flat() | {"model": self.model_name}).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of `to_dict`; an unknown name is a `ConfigError`."""
        _check_known(dict.fromkeys(values.keys() & {"records"}), flat_settings())
        return cls(**values)

    @classmethod
    def json_schema(cls, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON schema of `to_dict`: of all built-in settings, and those of plug-ins that `values` choose.

        >>> RunConfig.json_schema()["properties"]["beta"]["exclusiveMinimum"]
        0
        """
        return schema_of(flat_settings(chosen_classes(values or {})))


def chosen_classes(values: Mapping[str, Any]) -> dict[extensions.Kind, type[Settings]]:
    """The settings classes of what flat settings choose, plug-ins imported; `auto` resolved as for a run.

    Raises:
        ConfigError: nothing goes by a chosen name, or a plug-in declares a setting that exists already.
    """
    own = RunConfig.declared()

    def named(choice: str, declared: Setting) -> str:
        value = values.get(choice)
        return declared.check(choice, declared.default if value is None else value)

    process = cast(type[ProcessSettings], _class_of("process", named("sampler", own["sampler"])))
    confine = named("confine", own["confine"])
    confinement = cast(
        type[ConfinementSettings], _class_of("confinement", process.confine if confine == AUTO else confine)
    )
    classes: dict[extensions.Kind, type[Settings]] = {
        "process": process,
        "model": settings_of_model(values.get("model", own["model"].default)),
        "confinement": confinement,
    }
    for choice, declared in process.declared().items():
        if isinstance(declared.kind, Extension) and declared.kind.kind in BUILT_IN:
            name, kind = named(choice, declared), declared.kind.kind
            classes[kind] = _class_of(kind, confinement.kernel if name == AUTO else name)
    _check_names(classes)
    return classes


def _class_of(kind: extensions.Kind, name: str) -> type[Settings]:
    """The settings class of one extension: that of a built-in one is known, any other is imported."""
    if name in BUILT_IN[kind]:
        return BUILT_IN[kind][name]
    declared = getattr(extensions.load(kind, name), "settings", None)
    if not (isinstance(declared, type) and issubclass(declared, Settings)):
        wanted = f"a {kind} whose `settings` is a class derived from Settings"
        raise ConfigError(extensions.SETTING[kind], wanted, name)
    return declared


def _check_names(classes: Mapping[extensions.Kind, type[Settings]]) -> None:
    """Refuse plug-ins whose settings are called as others are, unless they are the same ones (`same_as`)."""
    known = {name: (owner.__name__, one) for name, (owner, one) in _built_in_settings().items()}
    for chosen in classes.values():
        for name, one in chosen.declared().items():
            owner, other = known.setdefault(name, (chosen.__name__, one))
            if other.kind is not one.kind or other.help != one.help:
                raise ConfigError(name, f"a setting of {owner} alone", f"another of {chosen.__name__}")


def _all_declared(classes: Mapping[extensions.Kind, type[Settings]]) -> Iterator[tuple[str, Setting]]:
    yield from RunConfig.declared().items()
    for chosen in classes.values():
        yield from chosen.declared().items()


def flat_settings(classes: Mapping[extensions.Kind, type[Settings]] | None = None) -> dict[str, Setting]:
    """Every setting by its flat name, in the order of files: those of the built-in choices, and of `classes`."""
    built_in = {name: one for name, (_, one) in _built_in_settings().items()}
    return in_order((built_in | dict(_all_declared(classes or {}))).items())


@cache
def _built_in_settings() -> dict[str, tuple[type[Settings], Setting]]:
    """{flat name: its record and declaration} of all built-in choices."""
    records = [RunConfig, *(record for table in BUILT_IN.values() for record in table.values())]
    return {name: (record, one) for record in records for name, one in record.declared().items()}


def names_of_run(values: Mapping[str, Any]) -> set[str]:
    """The flat names of the settings that a run with these choices has."""
    sampler = values.get("sampler", RunConfig.declared()["sampler"].default)
    declared = _all_declared(chosen_classes(values))
    return {name for name, one in declared if not one.processes or sampler in one.processes}


def _check_known(values: Mapping[str, Any], known: Mapping[str, Setting]) -> None:
    for name in values:
        if name not in known:
            raise ConfigError("config", f"made of known settings ({', '.join(sorted(known))})", repr(name))


def _check_process(given: Mapping[str, Any], classes: Mapping[extensions.Kind, type[Settings]]) -> None:
    """Refuse settings of another process."""
    for other in PROCESSES.values():
        for name in other.declared():
            if name in given and name not in classes["process"].declared():
                sampler = given.get("sampler", RunConfig.declared()["sampler"].default)
                raise ConfigError(name, f"left out with sampler {sampler}", given[name])


@contextlib.contextmanager
def named_origins(config: RunConfig) -> Iterator[None]:
    """Add to errors about settings who set a value that was not given."""
    try:
        yield
    except ConfigError as error:
        raise error.said_of(config.origin_of("options" if error.option == "set" else error.option)) from None


def _same_setting(value: Any, other: Any) -> bool:
    """Whether two settings are the same; models are compared by identity."""
    same_kind = type(value) is type(other)
    return value is other or (same_kind and isinstance(value, str | bool | int | float | tuple) and value == other)
