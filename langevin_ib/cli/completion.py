"""`langevin-ib completion SHELL`: a script for the shell, made by shtab from the parsers of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

import shtab

from langevin_ib.cli.command import Parser, guarded, new_parser
from langevin_ib.cli.main import COMMANDS, PROGRAM
from langevin_ib.config import extensions
from langevin_ib.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")
CHOSEN: dict[str, extensions.Kind] = {extensions.SETTING[kind]: kind for kind in get_args(extensions.Kind)}
FILES, FOLDERS = ("config", "data", "file"), ("from_run", "out")
USE = """to have it in every shell, put what is printed into
  bash   ~/.local/share/bash-completion/completions/langevin-ib
  zsh    the file _langevin-ib in a folder of $fpath
  fish   ~/.config/fish/completions/langevin-ib.fish
or, in bash, for this shell alone:
  eval "$(langevin-ib completion bash)"
"""


def build_parser() -> Parser:
    """Its one argument."""
    parser = new_parser(f"{PROGRAM} completion", "Print the completion of langevin-ib for a shell.")
    parser.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    parser.appendix = lambda: f"\n{USE}"
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script; returns the exit code: 0 done, 2 bad input."""
    return guarded(f"{PROGRAM} completion", lambda: _print_script(build_parser().parse_args(argv).shell))


def _print_script(shell: str) -> int:
    if shell not in SHELLS:
        raise ConfigError("shell", f"one of {', '.join(SHELLS)}", shell)
    print(shtab.complete(whole_parser(), shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """All commands in one parser, with what can be typed after each option where that is known."""
    parser = argparse.ArgumentParser(prog=PROGRAM)
    parser.add_argument("--version", action="store_true", help="the package's version")
    commands = parser.add_subparsers(parser_class=argparse.ArgumentParser)
    for name, command in COMMANDS.items():
        if not command.here:
            continue
        module = command.load()
        own = getattr(module, "completed_parser", module.build_parser)()
        for action in own._actions:
            _complete(action)
        commands.add_parser(
            name, parents=[own], add_help=False, help=command.text, aliases=[command.alias] if command.alias else []
        )
    return parser


def _complete(action: argparse.Action) -> None:
    """Add what can be typed after an option: a name of the package, a file, a folder."""
    kind = CHOSEN.get(action.dest)
    if kind is not None and not action.choices:
        action.choices = extensions.names(kind)
    elif action.dest in FILES:
        action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]  # as shtab has it
    elif action.dest in FOLDERS:
        action.complete = shtab.DIRECTORY  # pyright: ignore[reportAttributeAccessIssue]
    elif action.dest == "shell":
        action.choices = SHELLS
