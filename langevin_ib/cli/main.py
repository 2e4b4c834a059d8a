"""`langevin-ib`: one program, whose first word is the command. No command is imported but the one that is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from langevin_ib.cli.command import Parser, called_as, guarded, near, new_parser
from langevin_ib.errors import UsageError

PROGRAM = "langevin-ib"


class Command(NamedTuple):
    """A command: the module that has its `main(argv)`, what it does, and another word for it."""

    module: str
    text: str
    alias: str | None = None

    @property
    def here(self) -> bool:
        """Whether this installation has it."""
        return find_spec(self.module) is not None

    def load(self) -> ModuleType:
        """Its module."""
        return importlib.import_module(self.module)


COMMANDS = {
    "sim": Command("langevin_ib.cli.run", "one run: which reduced law do the draws obey?", "run"),
    "sweep": Command("langevin_ib.cli.sweep", "runs of a grid of settings, one table and one figure"),
    "compare": Command("langevin_ib.cli.compare", "finished runs beside each other on one page"),
    "judge": Command("langevin_ib.cli.judge", "draws of your own, of any sampler, against the laws"),
    "attribute": Command("langevin_ib.cli.balance", "which mechanism balances the factors of a model?", "balance"),
    "figures": Command("langevin_ib.figures.catalogue", "a figure of the paper, 1 to 6, or all"),
    "design": Command("langevin_ib.cli.design", "models whose noise induces a given bias, checked"),
    "selftest": Command("langevin_ib.cli.selftest", "what every result rests on, checked on this machine"),
    "completion": Command("langevin_ib.cli.completion", "completion for a shell: bash, zsh or fish"),
}
ALIASES = {command.alias: name for name, command in COMMANDS.items() if command.alias}
EXAMPLES = """examples:
  {program} sim --model uv --beta 10
      a run, from settings to a verdict
  {program} sim --help
      the ten options to begin with
  {program} figures 5 --seeds 4 --steps 2000 --figure-only
      a small figure 5, in seconds
"""


def main(argv: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Run a command; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run.

    Args:
        argv: the command and its options, or None for those of the process.
        program: as it was called, for help and errors.
    """
    given = sys.argv[1:] if argv is None else argv

    def work() -> int:
        if not given or given[0].startswith("-"):
            build_parser(program).parse_args(given or ["--help"])
            raise UsageError(f"the command must be one of {', '.join(COMMANDS)}, got nothing")
        word = given[0]
        name = ALIASES.get(word, word)
        if name not in COMMANDS:
            known = [*COMMANDS, *ALIASES]
            raise UsageError(f"the command must be one of {', '.join(COMMANDS)}, got {word}{near(word, known)}")
        command = COMMANDS[name]
        if not command.here:
            raise UsageError(f"{word} is not in this installation: it has no {command.module}")
        with called_as(f"{program} {word}"):
            return command.load().main(given[1:])

    return guarded(program, work)


def build_parser(program: str = PROGRAM) -> Parser:
    """What `--help` shows: the commands."""
    parser = new_parser(program, "Which reduced law does noisy training of a model with a continuous symmetry obey?")
    parser.usage = "%(prog)s COMMAND [options]"
    lines = []
    for name, command in COMMANDS.items():
        also = f" (also: {command.alias})" if command.alias else ""
        lines.append(f"  {name:<12}{command.text}{also}")
    parser.appendix = lambda: "\n".join(
        ["", "commands, each with --help:", *lines, "", EXAMPLES.format(program=program)]
    )
    return parser
