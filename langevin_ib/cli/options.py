"""Options of the command lines, made from declared settings; and where a setting came from, for errors about it."""

from __future__ import annotations

import argparse
import contextlib
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin_ib.cli.command import COLUMN, Parser, flag, help_width
from langevin_ib.config.kinds import Extension, Options, Switch
from langevin_ib.config.models import ONE_COORDINATE
from langevin_ib.config.settings import Setting
from langevin_ib.errors import ConfigError


def add_settings(group: Any, declared: Mapping[str, Setting]) -> None:
    """An option for every setting, in a parser or a group of one; None stands for 'not given'."""
    for name, one in declared.items():
        if not one.option:
            continue
        text = one.text(ONE_COORDINATE).replace("%", "%%")
        if isinstance(one.kind, Switch):
            option = f"--no-{flag(name)[2:]}" if one.default else flag(name)
            group.add_argument(option, dest=name, help=text, action="store_const", const=not one.default)
        else:
            several: dict[str, str] = {"nargs": "+"} if one.kind.many else {}
            if isinstance(one.kind, Options):
                several["action"] = "extend"
            group.add_argument(flag(name), dest=name, help=text, metavar=one.kind.metavar, **several)


def typed_settings(arguments: Mapping[str, Any], declared: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings that were typed: numbers read, other text as it is, for their record to validate."""
    return {name: one.kind.read(arguments[name]) for name, one in declared.items() if arguments.get(name) is not None}


def spelled_options(typed: Mapping[str, Any], declared: Mapping[str, Setting]) -> list[str]:
    """The words of a command line that give these settings; of a file of the user's its name without folders."""
    words: list[str] = []
    for name, value in typed.items():
        if isinstance(declared[name].kind, Switch):
            words.append(f"--no-{flag(name)[2:]}" if declared[name].default else flag(name))
        else:
            each = value if isinstance(value, list | tuple) else [value]
            words += [flag(name), *(Path(item).name if name == "data" else str(item) for item in each)]
    return words


def add_output(parser: Any, shown: str = "the table") -> None:
    """The options of where the result goes."""
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the run folder goes [runs]")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--fresh", action="store_true", help="begin anew, not where an interrupted run of the same stood"
    )
    again.add_argument("--resume", dest="fresh", action="store_false", default=False, help=argparse.SUPPRESS)
    parser.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="do not wait while another process is at the same run: refuse",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help=f"print summary.json on standard output instead of {shown}")
    parser.add_argument(
        "--no-compilation-cache", action="store_true", help="compile anew what an earlier command has compiled"
    )


def list_choices(parser: Parser, declared: Mapping[str, Setting]) -> None:
    """Put under the help what every setting that names extensions can be, third parties' too."""
    parser.appendix = lambda: _choices(declared)


def _choices(declared: Mapping[str, Setting]) -> str:
    lines = ["", "what can be chosen, beside module:attribute of your own:"]
    for name, one in declared.items():
        if isinstance(one.kind, Extension):
            lines.append(f"  {flag(name)}")
            lines += (_entry(choice, text) for choice, text in one.kind.summaries().items())
    return "\n".join(lines) + "\n"


def _entry(choice: str, text: str) -> str:
    """A line of a list, broken like the help above it."""
    line, width = f"{choice:<26}  {text}".rstrip(), help_width()
    return textwrap.fill(line, width, initial_indent=" " * 4, subsequent_indent=" " * COLUMN)


@dataclass(frozen=True)
class Origins:
    """Where settings come from, so that an error about a value that was not typed names its origin.

    Attributes:
        known: names of settings.
        typed: on the command line.
        given: elsewhere.
        where: that is, in words: `from run.toml`.
    """

    known: Collection[str]
    typed: Collection[str]
    given: Collection[str]
    where: str

    @contextlib.contextmanager
    def named(self, of_rest: Callable[[str], str] = lambda _: "a default") -> Iterator[None]:
        """Add the origin to errors about settings; `of_rest` says who set what was neither typed nor given."""
        try:
            yield
        except ConfigError as error:
            name = "options" if error.option == "set" else error.option
            origin = ""
            if name in self.known and name not in self.typed:
                origin = self.where if name in self.given else of_rest(name)
            raise error.said_of(origin) from None
