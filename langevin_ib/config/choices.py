"""Which records of settings a run has, by what it chooses: known of what is built in, imported with a plug-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

from langevin_ib.config import extensions
from langevin_ib.config.confinements import CONFINEMENTS, ConfinementSettings
from langevin_ib.config.core import ChainSettings, ChoiceSettings, ComparisonSettings
from langevin_ib.config.kernels import KERNELS
from langevin_ib.config.kinds import AUTO, Extension
from langevin_ib.config.models import MODELS, settings_of_model
from langevin_ib.config.noises import NOISES
from langevin_ib.config.processes import PROCESSES, ProcessSettings
from langevin_ib.config.settings import Setting, Settings, in_order
from langevin_ib.errors import ConfigError

# Settings classes of what is chosen by name, known without importing the chosen.
BUILT_IN: dict[extensions.Kind, Mapping[str, type[Settings]]] = {
    "process": PROCESSES,
    "model": MODELS,
    "confinement": CONFINEMENTS,
    "kernel": KERNELS,
    "noise": NOISES,
}
CORE = (ChoiceSettings, ChainSettings, ComparisonSettings)  # of every run
# What no setting of a plug-in may be called: options that are no settings, and what a `RunConfig` says of itself.
RESERVED = {
    *("chunk", "config", "help", "json", "out", "quiet", "set", "version"),
    *("confinement", "feeds", "given", "group", "model_name", "place", "process", "records", "temperature"),
}

Classes = Mapping[extensions.Kind, type[Settings]]


def chosen_classes(values: Mapping[str, Any]) -> dict[extensions.Kind, type[Settings]]:
    """The settings classes of what flat settings choose, plug-ins imported; `auto` resolved as for a run.

    Raises:
        ConfigError: nothing goes by a chosen name, or a plug-in declares a setting that exists already.
    """
    own = ChoiceSettings.declared()

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
            classes[kind] = _class_of(kind, confinement.kernel if kind == "kernel" and name == AUTO else name)
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
    if any(isinstance(value, dataclasses.Field) for value in vars(declared).values()):
        raise ConfigError(extensions.SETTING[kind], f"a {kind} whose `settings` is a frozen dataclass", name)
    return declared


def _check_names(classes: Classes) -> None:
    """Refuse plug-ins whose settings are called as others are, unless they are the same ones (`same_as`)."""
    known = {name: (owner.__name__, one) for name, (owner, one) in _built_in_settings().items()}
    for chosen in classes.values():
        for name, one in chosen.declared().items():
            if name in RESERVED:
                raise ConfigError(name, "the name of no setting", f"one of {chosen.__name__}")
            owner, other = known.setdefault(name, (chosen.__name__, one))
            if other.kind is not one.kind or other.help != one.help:
                raise ConfigError(name, f"a setting of {owner} alone", f"another of {chosen.__name__}")


def all_declared(classes: Classes) -> Iterator[tuple[str, Setting]]:
    """Name and declaration of every setting of a run with these choices."""
    for chosen in (*CORE, *classes.values()):
        yield from chosen.declared().items()


def flat_settings(classes: Classes | None = None) -> dict[str, Setting]:
    """Every setting by its flat name, in the order of files: those of the built-in choices, and of `classes`."""
    built_in = {name: one for name, (_, one) in _built_in_settings().items()}
    return in_order((built_in | dict(all_declared(classes or {}))).items())


@cache
def _built_in_settings() -> dict[str, tuple[type[Settings], Setting]]:
    """{flat name: its record and declaration} of all built-in choices."""
    records = [*CORE, *(record for table in BUILT_IN.values() for record in table.values())]
    return {name: (record, one) for record in records for name, one in record.declared().items()}


def names_of_run(values: Mapping[str, Any]) -> set[str]:
    """The flat names of the settings that a run with what these settings choose has."""
    classes = chosen_classes(values)
    process = cast(type[ProcessSettings], classes["process"])
    return {name for name, one in all_declared(classes) if process.can_use(one)}


def check_known(values: Mapping[str, Any], known: Mapping[str, Setting]) -> None:
    """Refuse what is no setting."""
    for name in values:
        if name not in known:
            raise ConfigError("config", f"made of known settings ({', '.join(sorted(known))})", repr(name))


def check_process(given: Mapping[str, Any], classes: Classes) -> None:
    """Refuse settings of another process."""
    for other in PROCESSES.values():
        for name in other.declared():
            if name in given and name not in classes["process"].declared():
                sampler = given.get("sampler", ChoiceSettings.declared()["sampler"].default)
                raise ConfigError(name, f"left out with sampler {sampler}", given[name])
