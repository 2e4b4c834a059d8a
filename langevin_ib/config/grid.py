"""A file of a run's settings in which lists of values stand for several runs: the grid of all their combinations.

One rule, by the kinds of the settings. A setting whose value is one thing, a number, a word, yes or no, is swept by a
list. One that is a list by itself (`laws`, `invariant`, `window`, `metric`: those whose option takes several words) is
swept by a list that has a list in it; any other list is its value. Options of the model, a table, are each swept by a
list. The first of the swept settings in the file varies slowest.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from langevin_ib.config.choices import flat_settings
from langevin_ib.config.run import RunConfig
from langevin_ib.config.settings import Setting
from langevin_ib.errors import ConfigError, UsageError

MOST = 10_000  # members
OPTIONS = "options"

Value: TypeAlias = Any  # of TOML


class Member(NamedTuple):
    """One run of a grid.

    Attributes:
        number: from 1.
        swept: the settings in which members differ, in the order of the file; `options.NAME` for one of the model.
        config: all of its settings.
    """

    number: int
    swept: dict[str, Value]
    config: RunConfig


class Grid(NamedTuple):
    """All runs of a file.

    Attributes:
        axes: values of each swept setting.
        members: their combinations.
    """

    axes: dict[str, list[Value]]
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """`sweep-<hash>`, the hash being that of what is swept and of every member's settings."""
        import hashlib  # noqa: PLC0415 - loads OpenSSL, which `--help` needs not wait for

        content = json.dumps([list(self.axes), *(member.config.digest() for member in self.members)])
        return f"sweep-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def grid(values: Mapping[str, Value]) -> Grid:
    """The grid of a file's settings; every member is validated.

    Raises:
        ConfigError: of a member, with its number and its swept settings; or of a list of values.
        UsageError: nothing is swept.

    >>> [member.config.given for member in grid({"depth": 3, "beta": [2, 5]}).members]
    [{'depth': 3, 'beta': 2.0}, {'depth': 3, 'beta': 5.0}]
    """
    axes = _axes(values)
    if not axes:
        raise UsageError("a sweep needs a setting with a list of values; a single run is python -m langevin_ib.sim")
    count = math.prod(len(axis) for axis in axes.values())
    if count > MOST:
        raise UsageError(f"a sweep has {MOST} members at most, this one {count}")
    members: dict[str, Member] = {}
    for number, chosen in enumerate(itertools.product(*axes.values()), 1):
        swept = dict(zip(axes, chosen, strict=True))
        config = _config(values, swept, f"member {number} of {count}: {label(swept)}")
        first = members.setdefault(config.digest(), Member(number, swept, config))
        if first.number != number:
            raise UsageError(f"members {first.number} and {number} are the same run: {label(swept)}")
    return Grid(axes, tuple(members.values()))


def spelled(value: Value) -> str:
    """A value in a label: lists as words, as on a command line.

    >>> spelled(True), spelled(["exact", "hard"]), spelled(0.5)
    ('yes', 'exact hard', '0.5')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(spelled, value)) if isinstance(value, list | tuple) else str(value)


def label(swept: Mapping[str, Value]) -> str:
    """Swept settings in words.

    >>> label({"beta": 2, "window": [0.5, 2.0]})
    'beta = 2, window = 0.5 2.0'
    """
    return ", ".join(f"{name} = {spelled(value)}" for name, value in swept.items())


def is_number(value: Value) -> bool:
    """Whether a value can be a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _axes(values: Mapping[str, Value]) -> dict[str, list[Value]]:
    declared = _declared(values)
    axes = {}
    for name, value in values.items():
        if name == OPTIONS and isinstance(value, dict):
            axes |= {f"{OPTIONS}.{key}": item for key, item in value.items() if isinstance(item, list)}
        elif isinstance(value, list) and (name not in declared or _is_swept(declared[name], value)):
            axes[name] = value
    for name, axis in axes.items():
        if not axis:
            raise ConfigError(_setting(name), "a value, or a list of at least one", "an empty list")
    return axes


def _is_swept(declared: Setting, value: list[Value]) -> bool:
    return not declared.kind.many or any(isinstance(item, list) for item in value)


def _declared(values: Mapping[str, Value]) -> Mapping[str, Setting]:
    """The settings that any member can have: of what is built in, and of every plug-in that is named."""
    declared = dict(flat_settings())
    names = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
    choices = {name: names[name] for name in ("model", "sampler", "confine", "integrator", "noise") if name in names}
    for chosen in itertools.product(*choices.values()):
        try:
            classes = RunConfig.classes_of(dict(zip(choices, chosen, strict=True)))
        except (ConfigError, TypeError):  # of a member, which says so by itself
            continue
        declared |= flat_settings(classes)
    return declared


def _config(values: Mapping[str, Value], swept: Mapping[str, Value], which: str) -> RunConfig:
    settings = dict(values)
    for name, value in swept.items():
        outer, _, key = name.partition(".")
        settings[outer] = settings[outer] | {key: value} if key else value
    try:
        return RunConfig.from_dict(settings)
    except ConfigError as error:
        raise error.said_of(which) from None


def _setting(name: str) -> str:
    return name.partition(".")[0]
