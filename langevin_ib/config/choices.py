"""Which records of settings a run has, by what it chooses: known of what is built in, imported with a plug-in."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, cast

from langevin_ib.config import extensions
from langevin_ib.config.confinements import CONFINEMENTS, ConfinementSettings
from langevin_ib.config.core import ChainSettings, ChoiceSettings, ComparisonSettings
from langevin_ib.config.kernels import KERNELS, KernelSettings
from langevin_ib.config.kinds import AUTO, Extension
from langevin_ib.config.models import MODELS, ModelSettings, settings_of_model
from langevin_ib.config.noises import NOISES, HookSettings, NoiseSettings
from langevin_ib.config.processes import PROCESSES, ProcessSettings
from langevin_ib.config.settings import Setting, Settings, in_order
from langevin_ib.errors import ConfigError, LangevinIBError

# Settings classes of what is chosen by name, known without importing the chosen.
BUILT_IN: dict[extensions.Kind, Mapping[str, type[Settings]]] = {
    "process": PROCESSES,
    "model": MODELS,
    "confinement": CONFINEMENTS,
    "kernel": KERNELS,
    "noise": NOISES,
}
# What the settings class of a choice derives from: whatever asks a record asks for what its base has.
BASES: dict[extensions.Kind, type[Settings]] = {
    "process": ProcessSettings,
    "model": ModelSettings,
    "confinement": ConfinementSettings,
    "kernel": KernelSettings,
    "noise": NoiseSettings,
}
CORE = (ChoiceSettings, ChainSettings, ComparisonSettings)  # of every run
OPTIONS = {"chunk", "config", "help", "json", "out", "quiet", "set", "version"}  # of the command line, no settings
LIKE = 0.7  # of a name to one that is not known, from which it may have been meant
WORDS_OF_T = "temperature", "T"
IDLE = {"step_check": False, "reference": "none"}  # values of checks that ask for none

Classes = Mapping[extensions.Kind, type[Settings]]


class Choice(NamedTuple):
    """What is chosen of a kind.

    Attributes:
        setting: that chooses it.
        name: of what is chosen, `auto` resolved; a model may stand for itself.
        settings: the class of its settings.
    """

    setting: str
    name: Any
    settings: type[Settings]


def chosen(values: Mapping[str, object], *, lenient: bool = False) -> dict[extensions.Kind, Choice]:
    """What flat settings choose, of each kind; `auto` resolved as for a run, plug-ins imported.

    Args:
        values: flat settings.
        lenient: whether what cannot be chosen stands for one without settings; else it is an error.

    Raises:
        ConfigError: nothing goes by a chosen name.
    """
    own = ChoiceSettings.declared()

    def choose(kind: extensions.Kind, setting: str, declared: Setting, auto: str) -> Choice:
        value = values.get(setting)
        name = declared.default if value is None else value
        try:
            name = declared.check(setting, name)
            name = auto if name == AUTO else name
            return Choice(setting, name, _class_of(kind, name))
        except LangevinIBError:
            if lenient:
                return Choice(setting, name, BASES[kind])
            raise

    process = choose("process", "sampler", own["sampler"], AUTO)
    process_class = cast(type[ProcessSettings], process.settings)
    model = values.get("model", own["model"].default)
    confinement = choose("confinement", "confine", own["confine"], process_class.confine)
    choices: dict[extensions.Kind, Choice] = {
        "process": process,
        "model": Choice("model", model, settings_of_model(model)),
        "confinement": confinement,
    }
    kernel = cast(type[ConfinementSettings], confinement.settings).kernel
    for setting, declared in process_class.declared().items():
        if isinstance(declared.kind, Extension) and declared.kind.kind in BUILT_IN:
            kind = declared.kind.kind
            choices[kind] = choose(kind, setting, declared, kernel if kind == "kernel" else AUTO)
    return choices


def chosen_classes(
    values: Mapping[str, object], reserved: Collection[str] = ()
) -> dict[extensions.Kind, type[Settings]]:
    """The settings classes of what flat settings choose.

    Args:
        values: flat settings.
        reserved: what no setting of a plug-in may be called, besides options that are no settings.

    Raises:
        ConfigError: nothing goes by a chosen name, or a plug-in declares a setting of a name that is taken.
    """
    classes = _classes(chosen(values))
    _check_names(classes, reserved)
    return classes


def own_class(kind: extensions.Kind, name: str, reserved: Collection[str]) -> type[Settings]:
    """The settings class of one choice by itself, where there are no others; a plug-in is imported.

    Args:
        kind: of what is chosen.
        name: of what is chosen.
        reserved: what no setting of a plug-in may be called, besides options that are no settings.

    Raises:
        ConfigError: nothing goes by that name, or a plug-in declares a setting of a name that is taken.
    """
    declared = _class_of(kind, name)
    _check_free(declared.declared(), declared, {*OPTIONS, *reserved})
    return declared


def _classes(choices: Mapping[extensions.Kind, Choice]) -> dict[extensions.Kind, type[Settings]]:
    return {kind: choice.settings for kind, choice in choices.items()}


def _class_of(kind: extensions.Kind, name: str) -> type[Settings]:
    """The settings class of one extension: that of a built-in one is known, any other is imported."""
    if name in BUILT_IN[kind]:
        return BUILT_IN[kind][name]
    loaded = extensions.load(kind, name)
    declared = getattr(loaded, "settings", None)
    if kind == "noise" and declared is None and callable(loaded):  # a noise may be one function
        return HookSettings
    if not (isinstance(declared, type) and issubclass(declared, BASES[kind])):
        wanted = f"a {kind} whose `settings` is a class derived from {BASES[kind].__name__}"
        raise ConfigError(extensions.SETTING[kind], wanted, name)
    if any(isinstance(value, dataclasses.Field) for value in vars(declared).values()):
        raise ConfigError(extensions.SETTING[kind], f"a {kind} whose `settings` is a frozen dataclass", name)
    # Before anything is asked of the class: a setting stands in the place of what its base calls so.
    own = (spec.name for spec in dataclasses.fields(declared) if "setting" in spec.metadata)
    _check_free(own, declared, dir(BASES[kind]))
    return declared


def _check_free(names: Iterable[str], record: type[Settings], taken: Collection[str]) -> None:
    """Refuse settings of a record that are called as what is taken, or as what is private."""
    for name in names:
        if name in taken or name.startswith("_"):
            raise ConfigError(name, "the name of no setting", f"one of {record.__name__}")


def _check_names(classes: Classes, reserved: Collection[str]) -> None:
    """Refuse plug-ins whose settings are called as others are, unless they are the same ones (`same_as`)."""
    known = {name: (owner.__name__, one) for name, (owner, one) in _built_in_settings().items()}
    for record in classes.values():
        _check_free(record.declared(), record, {*OPTIONS, *reserved})
        for name, one in record.declared().items():
            owner, other = known.setdefault(name, (record.__name__, one))
            if other.kind is not one.kind or other.help != one.help:
                raise ConfigError(name, f"a setting of {owner} alone", f"another of {record.__name__}")


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
    settings: dict[str, tuple[type[Settings], Setting]] = {}
    for record in records:
        for name, one in record.declared().items():
            settings.setdefault(name, (record, one))  # the default that help shows is that of the first
    return settings


def reconciled(settings: Mapping[str, object], typed: Mapping[str, object]) -> dict[str, object]:
    """The settings of a file under choices that were typed: without what belongs to choices that are others now.

    One rule for all: choices are compared as they are resolved, `auto` as what it stands for. With one that stays the
    same, what the file sets stays; with one that changes, what follows it goes, and what the run no longer has. What
    cannot be chosen has no settings, so that a file may name what is gone if another is typed.

    >>> reconciled({"kappa": 50.0, "integrator": "mala"}, {"confine": "stiff"})
    {'kappa': 50.0, 'integrator': 'mala'}
    >>> reconciled({"kappa": 50.0, "beta": 3.0}, {"confine": "none"})
    {'beta': 3.0}
    """
    kept = dict(settings)
    if not typed:
        return kept
    if "data" in typed:  # the digest is that of the file's file
        kept.pop("data_sha256", None)
    for name, one in flat_settings().items():  # a value and its schedule stand for each other
        if one.changes is not None:
            stale = {one.changes} if name in typed else {name} if one.changes in typed else set()
            kept = {key: value for key, value in kept.items() if key not in stale}
    before = chosen(settings, lenient=True)
    while True:  # what goes may be a choice itself: the confinement follows the process
        now = chosen({**kept, **typed}, lenient=True)
        changed = {now[kind].setting for kind in before.keys() & now.keys() if now[kind].name != before[kind].name}
        declared = flat_settings(_classes(now))
        follows = {name for name, one in declared.items() if changed.intersection(one.follows)}
        stale = (follows | (_names_of_run(before) - _names_of_run(now))) & kept.keys()
        if not stale:
            return kept
        kept = {name: value for name, value in kept.items() if name not in stale}


def _names_of_run(choices: Mapping[extensions.Kind, Choice]) -> set[str]:
    """The flat names of the settings that a run with these choices has."""
    process = cast(type[ProcessSettings], choices["process"].settings)
    return {name for name, one in all_declared(_classes(choices)) if process.can_use(one)}


def check_known(values: Mapping[str, object], known: Mapping[str, Setting]) -> None:
    """Refuse what is no setting."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=LIKE)
            hint = (
                "; T is sigma²/beta: give beta = 1/T"
                if name in WORDS_OF_T
                else "".join(f"; the nearest is {each}" for each in near)
            )
            raise ConfigError(
                "config", "made of known settings", f"{name!r}{hint}; the settings are {', '.join(sorted(known))}"
            )


def without_idle(given: Mapping[str, object], classes: Classes) -> dict[str, object]:
    """Settings without those of other processes that ask for nothing: a check that the chosen one never makes.

    So `step_check = False` and `reference = "none"`, as quick runs have them, do for every process.
    """
    own = classes["process"].declared()
    return {name: value for name, value in given.items() if name in own or not _idle(name, value)}


def _idle(name: str, value: object) -> bool:
    for other in PROCESSES.values():
        declared = other.declared().get(name)
        if name in IDLE and declared is not None:
            return declared.check(name, value) == IDLE[name]
    return False


def check_left_out(given: Mapping[str, object], classes: Classes) -> None:
    """Refuse settings of built-in processes that the chosen one has not: they must be left out."""
    for other in PROCESSES.values():
        for name in other.declared():
            if name in given and name not in classes["process"].declared():
                sampler = given.get("sampler", ChoiceSettings.declared()["sampler"].default)
                raise ConfigError(name, f"left out with sampler {sampler}", given[name])
