"""The machine behind every settings record: one declaration validates, prints, and gives a schema and an option.

A record is a frozen dataclass derived from `Settings` whose fields are made by `setting`: a default, what `--help`
says, and a kind (`kinds.py`), which knows the words of an error, the JSON schema and how text of a command line is
read. All else (the constructor, TOML, JSON, `--help`, the schema) is derived from these declarations.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import tomli_w

from langevin_ib.config.kinds import AUTO, Kind, plain
from langevin_ib.errors import ConfigError
from langevin_ib.plain import JsonObject

GROUPS = ("model", "protocol", "dynamics", "descent", "comparison")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of one setting.

    Attributes:
        default: its value where none is given; None: it may be missing.
        help: what it is, for `--help`.
        kind: its values.
        auto: whether `auto` is allowed, for a rule to fill in.
        sized: the defaults of a model of one coordinate and of one of many, where they differ.
        shown: the default in words, where it is not `default`; empty for none.
        group: of options; None for that of its record.
        place: among the settings of its group, in files and in `--help`; None for that of its record.
        feeds: whether rules of the plan read it; None for what its record says.
        ruled: whether a rule of the plan sets it from others.
        follows: choices, such as `sampler`, with another of which a value from a file is dropped.
        gibbs_only: whether it means something only with a process that samples a Gibbs measure.
        changes: the setting whose value it changes along a run (`value_schedules`), which is then not given itself.
        option: whether the command line has it.
    """

    default: Any
    help: str
    kind: Kind
    auto: bool = False
    sized: tuple[Any, Any] | None = None
    shown: str | None = None
    group: str | None = None
    place: int | None = None
    feeds: bool | None = None
    ruled: bool = False
    follows: tuple[str, ...] = ()
    gibbs_only: bool = False
    changes: str | None = None
    option: bool = True

    def check(self, name: str, value: Any) -> Any:
        """A value in its canonical type.

        Raises:
            ConfigError: it is none that this setting takes.
        """
        if (value is None and self.default is None) or (self.auto and isinstance(value, str) and value == AUTO):
            return value
        return self.kind.check(name, plain(value), " (or auto)" if self.auto else "")

    def schema(self) -> JsonObject:
        """Its JSON schema, with its description and, where it is a value, its default."""
        of_kind = self.kind.schema()
        return {
            **({"anyOf": [of_kind, {"const": AUTO}]} if self.auto else of_kind),
            "description": self.help,
            **({} if self.default is None else {"default": jsonable(self.default)}),
        }

    def text(self, one_coordinate: Sequence[str]) -> str:
        """Help with the default, `number of chains [64]`; the models of one coordinate are named where that matters."""
        if self.shown is not None:
            default = self.shown
        elif self.sized is not None:
            default = f"{self.sized[0]:g}; {self.sized[1]:g} except {', '.join(one_coordinate)}"
        else:
            default = "" if self.default is None else self.kind.spell(self.default)
        choices = self.kind.choices_in_help()
        more = ", auto" if choices and self.auto else ""
        return f"{self.help}{choices}{more}{default and f' [{default}]'}"


def setting(default: Any, text: str, kind: Kind, **more: Any) -> Any:
    """A field of a `Settings` record; `more` are attributes of `Setting`."""
    return field(default=default, metadata={"setting": Setting(default=default, help=text, kind=kind, **more)})


def same_as(other: type[Settings], name: str) -> Any:
    """A field that another record declares too, for a process that takes β as Langevin dynamics does, for instance."""
    declared = other.declared()[name]
    return field(default=declared.default, metadata={"setting": declared})


@dataclass(frozen=True)
class Settings:
    """Base of the records: validated when it is made, equal by value, printed to TOML and JSON.

    >>> from langevin_ib.config.kinds import POSITIVE
    >>> @dataclass(frozen=True)
    ... class RingSettings(Settings):
    ...     radius: float = setting(1.0, "radius of the ring", POSITIVE)
    >>> RingSettings(radius=2).to_toml()
    'radius = 2.0\\n'
    >>> RingSettings(radius=-2)
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ConfigError: radius must be a positive number, got -2
    """

    group: ClassVar[str] = "own"
    place: ClassVar[int] = 1
    feeds: ClassVar[bool] = True
    # Each value is checked by its kind, which says what it wants: a checker of types would come before it.
    __no_type_check__: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, declared in type(self).declared().items():
            value = getattr(self, name)
            if value is None and declared.sized is not None:
                value = declared.sized[0]
            object.__setattr__(self, name, declared.check(name, value))

    @classmethod
    def declared(cls) -> dict[str, Setting]:
        """{name: declaration} in the order of the fields."""
        return dict(_declared(cls))

    @classmethod
    def json_schema(cls) -> JsonObject:
        """The JSON schema of `to_dict`."""
        return schema_of(cls.declared())

    def to_dict(self) -> JsonObject:
        """Plain values in the order of the fields; None is left out."""
        values = {name: getattr(self, name) for name in type(self).declared()}
        return {name: jsonable(value) for name, value in values.items() if value is not None}

    def to_toml(self) -> str:
        """The settings as TOML text."""
        return tomli_w.dumps(self.to_dict())

    def to_json(self) -> str:
        """The settings as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    def digest(self, *, without: Collection[str] = ()) -> str:
        """Eight hexadecimal digits that name these settings, or all but some of them."""
        import hashlib  # noqa: PLC0415 - loads OpenSSL, which `--help` needs not wait for

        named = {name: value for name, value in self.to_dict().items() if name not in without}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:8]

    def changed(self, **values: Any) -> Any:
        """A copy with other values, validated; itself if there are none."""
        return dataclasses.replace(self, **values) if values else self


@cache
def _declared(cls: type[Settings]) -> dict[str, Setting]:
    declared = {}
    for spec in dataclasses.fields(cls):
        if "setting" in spec.metadata:
            # Of the record that declares it, where another is composed of several.
            record = next(base for base in cls.__mro__ if spec.name in inspect.get_annotations(base))
            one: Setting = spec.metadata["setting"]
            rest = {key: getattr(record, key) for key in ("group", "place", "feeds") if getattr(one, key) is None}
            declared[spec.name] = dataclasses.replace(one, **rest)
    return declared


def schema_of(declared: Mapping[str, Setting]) -> JsonObject:
    """The JSON schema of a flat table of settings."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: one.schema() for name, one in declared.items()},
        "additionalProperties": False,
    }


def in_order(declared: Iterable[tuple[str, Setting]]) -> dict[str, Setting]:
    """Settings of several records in the order of files and of `--help`: by group and place; those of plug-ins last."""

    def rank(item: tuple[str, Setting]) -> tuple[int, int]:
        group = item[1].group
        return (GROUPS.index(group) if group in GROUPS else len(GROUPS)), item[1].place or 0

    return dict(sorted(declared, key=rank))


def jsonable(value: Any) -> Any:
    """Tuples as lists."""
    return list(value) if isinstance(value, tuple) else value


def read_settings(path: str | Path) -> JsonObject:
    """The settings in a file of TOML, or of JSON if its name ends so.

    Raises:
        ConfigError: the file is missing, unreadable, or not what its name says.
    """
    wanted = "JSON" if str(path).endswith(".json") else "TOML"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors put a BOM in front
        values = json.loads(text) if wanted == "JSON" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError("config", f"a readable {wanted} file", f"{path or repr(path)} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError("config", f"a {wanted} file in UTF-8", f"{path} (not UTF-8 text)") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigError("config", f"valid {wanted}", f"{path} ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise ConfigError("config", f"valid {wanted}", f"{path} (nested too deeply)") from None
    except ValueError as error:
        fault = "a number of too many digits" if "digits" in str(error) else str(error)  # else: the path is none
        raise ConfigError("config", f"valid {wanted}", f"{path!r} ({fault})") from None
    if not isinstance(values, dict):
        raise ConfigError("config", "a table of settings", f"{path}, a JSON {type(values).__name__}")
    return values
