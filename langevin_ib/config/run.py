"""One frozen, validated run configuration; TOML in and out; its hash names the run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, cast

from langevin_ib.config import extensions
from langevin_ib.config.choices import (
    BUILT_IN,
    Classes,
    all_declared,
    check_known,
    check_left_out,
    chosen_classes,
    flat_settings,
    without_idle,
)
from langevin_ib.config.confinements import CONFINEMENTS, ConfinementSettings
from langevin_ib.config.core import MIN_CHAINS, ChainSettings, ChoiceSettings, ComparisonSettings
from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.kinds import AUTO, NO_LAWS, plain
from langevin_ib.config.models import ModelSettings
from langevin_ib.config.processes import LAWS, ProcessSettings
from langevin_ib.config.settings import Settings, in_order, jsonable, schema_of
from langevin_ib.config.value_schedules import ValueSchedule, read_schedule
from langevin_ib.errors import ConfigError
from langevin_ib.plain import JsonObject

if TYPE_CHECKING:
    from langevin_ib.models.base import Model

LAST_SHARE = 10  # the last stretch of a run whose values still change is one of so many parts of its steps

__all__ = ["AUTO", "LAWS", "MIN_CHAINS", "RunConfig", "named_origins"]


@dataclass(frozen=True, init=False, repr=False)
class RunConfig(ChoiceSettings, ChainSettings, ComparisonSettings):
    """Everything that decides the numbers of one run; `auto` values are filled in by `langevin_ib.runs.plan.resolve`.

    The constructor, files and digests are flat: `RunConfig(beta=3.0, kappa=50.0)`. Inside, fields are what every run
    has; what the chosen model, process, confinement, kernel and noise have of their own is a record of each. A setting
    can be read by its flat name too, `config.kappa`; it is None where it is not of this run. `RunConfig.json_schema()`
    and `--help` list all settings.

    Attributes:
        records: the own settings of what was chosen, by kind; see `settings_of`.

    Raises:
        ConfigError: a value is of the wrong kind, outside its range, or belongs to another protocol.

    >>> RunConfig(beta=10.0).process.temperature
    0.1
    >>> RunConfig(kappa=50.0).confinement.kappa
    50.0
    >>> RunConfig(beta=-1.0)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: beta must be a positive number, got -1.0
    """

    records: dict[extensions.Kind, Settings] = field(default_factory=dict, hash=False)

    def __init__(self, /, model: Any = "uv", **settings: Any):
        for record in settings.pop("records", {}).values():  # of `dataclasses.replace`
            settings = record.to_dict() | settings
        values = {name: plain(value) for name, value in {"model": model, **settings}.items()}
        own = type(self).declared()
        classes = self.classes_of(values)
        check_known(values, flat_settings(classes))
        given = {
            name: value
            for name, value in values.items()
            if value is not None and not (name in own and _same_setting(value, own[name].default))
        }
        given = without_idle(given, classes)
        check_left_out(given, classes)
        for name, declared in own.items():
            object.__setattr__(self, name, declared.check(name, values.get(name, declared.default)))
        checked = {name: getattr(self, name) if name in own else value for name, value in given.items()}
        object.__setattr__(self, "_given", {name: value for name, value in checked.items() if value is not None})
        self._settle(classes, given)

    def _settle(self, classes: Classes, given: Mapping[str, object]) -> None:
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
                kernel = records.get("kernel")
                dear = kernel.dear if name == "steps" and isinstance(kernel, KernelSettings) else 1
                object.__setattr__(self, name, declared.sized[many] // dear)
        self._check_confinement(given)
        self._settle_schedules(records)
        if self.from_run is not None and not self.process.continues:
            raise ConfigError("from_run", f"left out with sampler {self.sampler}", self.from_run)
        if self.from_cyclic is not None and self.from_run is None:
            raise ConfigError("from_cyclic", "left out without from_run", self.from_cyclic)
        records["process"] = self.process.settled(self)
        if isinstance(self.burn_in, int) and isinstance(self.steps, int) and self.burn_in >= self.steps:
            raise ConfigError("burn_in", f"below steps ({self.steps})", self.burn_in)
        if self.margin >= 1:
            raise ConfigError("margin", "below 1 (a total-variation distance)", self.margin)

    def _settle_schedules(self, records: dict[extensions.Kind, Settings]) -> None:
        """The values that laws and rules go by, of what changes along the run: those at which its draws are judged."""
        schedules = self.schedules
        for name in schedules:
            option, text = f"{name}_schedule", getattr(self, f"{name}_schedule")
            if name in self._given:
                got = self._given[name]
                raise ConfigError(name, f"left out with {option}, which says it", f"{got:g}" if got != AUTO else got)
            if not self.process.scheduled:
                raise ConfigError(option, f"left out with sampler {self.sampler}, whose steps take one value", text)
        lengths = [schedule.length or 0 for schedule in schedules.values()]
        if schedules and "steps" not in self._given and isinstance(self.steps, int):
            object.__setattr__(self, "steps", self.steps + max(lengths))
        judged = {name: self.judged_value(name) for name in schedules}
        for kind, own in records.items():
            records[kind] = own.changed(**{name: judged[name] for name in judged.keys() & own.declared().keys()})

    def _check_own(self, given: Mapping[str, object], classes: Classes) -> None:
        """Refuse settings of what was not chosen, and options of the model that have a setting of their own."""
        for name in self.options or {}:
            if name in classes["model"].declared():
                raise ConfigError("options", f"without {name}, which has an option of its own, --{name}", name)
        chosen = dict(all_declared(classes))
        for kind, table in BUILT_IN.items():
            for other in table.values():
                for name in given.keys() & (other.declared().keys() - chosen.keys()):
                    value = other.declared()[name].check(name, given[name])
                    got = f"{value:g}" if kind == "confinement" and isinstance(value, float) else value
                    choices = [choice for choice, record in table.items() if name in record.declared()]
                    wanted = f"left out unless {extensions.SETTING[kind]} is {', '.join(choices)}"
                    raise ConfigError(name, wanted, got)

    def _check_confinement(self, given: Mapping[str, object]) -> None:
        """Whether the process can use the confinement, and each setting that was given of it."""
        if not self.process.can_use(self.confinement):
            fitting = [name for name, other in CONFINEMENTS.items() if self.process.can_use(other)]
            fitting.sort(key=lambda name: name != self.process.confine)
            raise ConfigError("confine", f"{' or '.join(fitting)} with sampler {self.sampler}", self.confine)
        for name, declared in type(self.confinement).declared().items():
            if name in given and not self.process.can_use(declared):
                got = f"{value:g}" if isinstance(value := self._given[name], float) else value
                raise ConfigError(name, f"left out with sampler {self.sampler}", got)

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
    def given(self) -> dict[str, object]:
        """The settings that were given, not filled in: those that a rule or a default may not change.

        >>> list(RunConfig(beta=3.0).given)
        ['beta']
        """
        return dict(self.__dict__["_given"])

    def model_options(self) -> JsonObject:
        """The arguments of the model's builder."""
        return self.records["model"].to_dict() | (self.options or {})

    @property
    def measures_only(self) -> bool:
        """Whether no law is asked for.

        >>> RunConfig(laws="none").measures_only, RunConfig().measures_only
        (True, False)
        """
        return self.laws == (NO_LAWS,)

    @property
    def temperature(self) -> float:
        """T, of a process that has one by its settings, as Langevin dynamics: σ²/β."""
        return self.process.temperature

    @property
    def schedules(self) -> dict[str, ValueSchedule]:
        """What changes along the run, by the setting whose value it is: beta, kappa, weight_decay, lr.

        >>> RunConfig(beta_schedule="linear 1 100 20000").schedules["beta"].at(10_000)
        50.5
        """
        found = {}
        for record in self.records.values():
            for name, declared in type(record).declared().items():
                if declared.changes is not None and getattr(record, name) is not None:
                    found[declared.changes] = read_schedule(getattr(record, name))
        return found

    @property
    def last_step(self) -> int:
        """The number of steps, where it is known; else that of the longest schedule."""
        lengths = [schedule.length or 0 for schedule in self.schedules.values()]
        return self.steps if isinstance(self.steps, int) else max(lengths, default=0)

    @property
    def stretch(self) -> tuple[int, int] | None:
        """The last steps of a run whose values still change while draws are taken: only their draws are judged.

        None where all values are constant by the first draw, or from the start.

        Raises:
            ConfigError: they change, and the number of steps is left to a rule.

        >>> RunConfig(beta_schedule="linear 1 100 20000", steps=10_000).stretch
        (9000, 10000)
        """
        schedules, steps, burn_in = self.schedules, self.steps, self.burn_in
        if isinstance(burn_in, int):
            settled = all(schedule.ends_within(burn_in) for schedule in schedules.values())
        elif isinstance(steps, int):
            settled = all(schedule.ends_within(steps - 1) for schedule in schedules.values())
        else:
            settled = all(schedule.length is not None for schedule in schedules.values())
        if settled:
            return None
        if not isinstance(steps, int):
            name = next(iter(schedules))
            raise ConfigError("steps", f"given with a {name}_schedule that goes on while draws are taken", steps)
        first = steps - max(1, steps // LAST_SHARE)
        return max(first, burn_in if isinstance(burn_in, int) else 0), steps

    def judged_value(self, name: str) -> float:
        """The value of a schedule that laws and rules go by: its end, or that in the middle of the last stretch.

        >>> RunConfig(beta_schedule="linear 1 100 20000", steps=10_000).judged_value("beta")
        48.025
        """
        schedule, stretch = self.schedules[name], self.stretch
        return schedule.values[-1] if stretch is None else schedule.at(0.5 * sum(stretch))

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

    @property
    def run_name(self) -> str:
        """What the folder of the run is called: the model's name, as file names take it, and the digest.

        >>> RunConfig(model="wells:double").run_name.rpartition("-")[0]
        'wells-double'
        """
        return f"{self.model_name.replace(':', '-')}-{self.digest()}"

    def __getstate__(self) -> dict[str, object]:
        # Functions do not pickle: a model that stands for itself goes by its name, from which it cannot be built again.
        state = {name: value for name, value in self.__dict__.items() if name != "_model"}
        if not isinstance(self.model, str) and "@" in self.model_name:
            state |= {"model": self.model_name, "_given": self.given | {"model": self.model_name}}
        return state

    def _classes(self) -> dict[extensions.Kind, type[Settings]]:
        return {kind: type(record) for kind, record in self.records.items()}

    def _flat(self) -> dict[str, object]:
        """Every setting of this run, in the order of files."""
        said = self.schedules  # and with it the value that it changes
        values = {name: getattr(self, name) for name in in_order(all_declared(self._classes())) if name not in said}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> JsonObject:
        """Plain values of all settings of this run, flat."""
        return {name: jsonable(value) for name, value in (self._flat() | {"model": self.model_name}).items()}

    @classmethod
    def classes_of(cls, values: Mapping[str, object]) -> dict[extensions.Kind, type[Settings]]:
        """The settings classes of what flat settings choose, plug-ins imported.

        Raises:
            ConfigError: nothing goes by a chosen name, or a plug-in declares a setting of a name that is taken.
        """
        own = {*dir(cls), *(spec.name for spec in fields(cls))} - cls.declared().keys()
        return chosen_classes(values, reserved=own)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> RunConfig:
        """The inverse of `to_dict`; an unknown name is a `ConfigError`."""
        check_known(dict.fromkeys(values.keys() & {"records"}), flat_settings())
        return cls(**values)

    @classmethod
    def json_schema(cls, values: Mapping[str, object] | None = None) -> JsonObject:
        """The JSON schema of `to_dict`: of all built-in settings, and those of plug-ins that `values` choose.

        >>> RunConfig.json_schema()["properties"]["beta"]["exclusiveMinimum"]
        0
        """
        return schema_of(flat_settings(cls.classes_of(values or {})))


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
