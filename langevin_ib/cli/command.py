"""Shared by the package's command lines: parsing with one-line errors, exit codes."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import difflib
import gc
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

from langevin_ib import __version__, signals
from langevin_ib.config.choices import LIKE, WORDS_OF_T, flat_settings
from langevin_ib.errors import (
    BreachError,
    ConfigError,
    DivergenceError,
    DrawsError,
    FailedRunError,
    LawError,
    ModelError,
    ProcessError,
    UsageError,
)
from langevin_ib.output.spelling import spell_out

WIDTH = 118  # of help, at most
COLUMN = 32  # at which the texts of its options begin, at most
# New objects at which Python's collector looks through them, and rounds of a generation before one of the next. Imports
# and traces leave hundreds of thousands that stay, which at its own numbers it goes through again and again.
COLLECTED_AT = (200_000, 10, 10)
VERBS = r"\b((?:raise|lower|higher|smaller|larger|wider) )(\w+(?: or \w+)*)"  # before what is to be set otherwise
BAD_INPUT, FAILED_RUN, INTERRUPTED = 2, 3, 130
SHORT = {"options": "--set", "from_run": "--from"}  # options that are called otherwise than their settings


_CALLED: ContextVar[str | None] = ContextVar("called", default=None)


@contextlib.contextmanager
def called_as(program: str) -> Iterator[None]:
    """Meanwhile help and errors name the program so, as it was called, whatever a command is called by itself."""
    token = _CALLED.set(program)
    try:
        yield
    finally:
        _CALLED.reset(token)


def called(program: str) -> str:
    """What the program was called as; the name that is given, where nobody has said.

    >>> with called_as("langevin-ib sim"):
    ...     called("python -m langevin_ib.sim")
    'langevin-ib sim'
    """
    return _CALLED.get() or program


def beside(program: str, other: str) -> str:
    """What another command is called, beside one as it was called.

    >>> beside("python -m langevin_ib.sim", "sweep"), beside("langevin-ib run", "sweep")
    ('python -m langevin_ib.sweep', 'langevin-ib sweep')
    """
    return re.sub(r"\w+$", other, called(program))


def near(word: str, known: Sequence[str], likeness: float = 0.0) -> str:
    """The known word that is nearest to one that is not, as the end of an error; empty if none is as like as that.

    >>> near("swep", ["sim", "sweep"]), near("--spread", ["--seeds"], 0.7)
    ('; the nearest is sweep', '')
    """
    return "".join(f"; the nearest is {each}" for each in difflib.get_close_matches(word, known, n=1, cutoff=likeness))


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help may have two levels.

    Attributes:
        appendix: what is put under its whole help, made when that is printed.
        leading: the options of its short help, by the names of their values; None where all are shown.
        examples: below the short help.
        several: what is said of a word too many, which may be one of several values.
    """

    appendix: Callable[[], str] = staticmethod(lambda: "")
    leading: tuple[str, ...] | None = None
    examples: str = ""
    several: str = ""

    def lead_with(self, leading: Sequence[str], examples: str = "") -> None:
        """Let `--help` show these options and examples alone, and `--help-all` everything."""
        self.leading, self.examples = tuple(leading), examples
        self.add_argument("--help-all", action=_HelpAll, help="show all options")

    def format_help(self) -> str:
        return super().format_help() + self.appendix() if self.leading is None else self._format_leading(self.leading)

    def format_all(self) -> str:
        """The whole help, whatever leads."""
        return super().format_help() + self.appendix()

    def _format_leading(self, leading: Sequence[str]) -> str:
        formatter = self._get_formatter()
        words = "".join(f"{one.metavar} " for one in self._get_positional_actions())
        formatter.add_usage(f"%(prog)s {words}[options]", [], [])
        formatter.add_text(self.description)
        formatter.start_section("options to begin with")
        known = {action.dest: action for action in self._actions if action.help != argparse.SUPPRESS}
        formatter.add_arguments([known[name] for name in leading if name in known])
        formatter.end_section()
        rest = sum(action.help != argparse.SUPPRESS for action in self._actions) - len({*leading} & {*known})
        parts = [formatter.format_help(), f"--help-all shows these and {rest} more.\n"]
        return "\n".join([*parts, self.examples] if self.examples else parts)

    def error(self, message: str) -> NoReturn:
        _, unknown, words = message.partition("unrecognized arguments: ")
        raise UsageError(message.replace("argument ", "", 1) + (self._meant(words.split()) if unknown else ""))

    def _meant(self, words: Sequence[str]) -> str:
        """What may have been meant by words that nothing takes, as the end of an error."""
        options = [word.partition("=")[0] for word in words if word.startswith("-")]
        known = [option for action in self._actions for option in action.option_strings]
        if not options:
            return self.several and f"; {self.several}"
        if options[0].lstrip("-") in WORDS_OF_T and "--beta" in known:
            return "; T is sigma²/beta: give --beta 1/T"
        return near(options[0], known, LIKE)


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(parser.format_all() if isinstance(parser, Parser) else parser.format_help(), end="")
        parser.exit()


def help_width() -> int:
    """Of the terminal, and no more than a line can well be read; the whole of that where there is no terminal."""
    return min(WIDTH, shutil.get_terminal_size((WIDTH + 2, 24)).columns - 2)


def new_parser(program: str, description: str) -> Parser:
    """A parser with help as wide as the terminal and no abbreviations, which knows the package's version."""
    width = help_width()
    column = min(COLUMN, width // 3)
    parser = Parser(
        prog=called(program),
        description=description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=column, width=width),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"langevin_ib {__version__}")
    return parser


def guarded(program: str, work: Callable[[], int], *, interrupted: str | None = None) -> int:
    """Do the work and return its exit code: 0 done, 2 bad input (nothing written), 3 failed run, 130 interrupted.

    Args:
        program: named in errors.
        work: what is done.
        interrupted: the message about results when it is stopped; None for that about the checkpoint.
    """
    program = called(program)
    spell_out()
    try:
        with _seldom_collected(), signals.caught():
            return work()
    except KeyboardInterrupt:
        return _fail(program, f"interrupted; {interrupted or signals.left()}", INTERRUPTED)
    except Exception as error:
        found = fault(error)
        if found is None:
            raise
        left = f"; {interrupted or signals.left()}" if isinstance(error, OSError) else ""
        line = found.line if isinstance(error, ConfigError) else with_options(found.line)
        return _fail(program, line + left, found.code)


class Fault(NamedTuple):
    """What a foreseeable error comes to: a line, and the exit code."""

    line: str
    code: int


def fault(error: Exception) -> Fault | None:
    """What an error comes to; None where it is none that a user can meet."""
    match error:
        case ConfigError():
            settings = error.origin or flag(error.option) == "--set"  # of a file, or of a model
            wanted = error.wanted if settings else with_options(error.wanted)
            return Fault(str(ConfigError(flag(error.option), wanted, error.got, error.origin)), BAD_INPUT)
        case UsageError() | LawError() | ModelError() | DrawsError():
            return Fault(str(error), BAD_INPUT)
        case BreachError() | DivergenceError():
            return Fault(f"{error}; no run folder was written", FAILED_RUN)
        case FailedRunError() | ProcessError():
            return Fault(str(error), FAILED_RUN)
        case MemoryError():
            return Fault(f"out of memory: use fewer chains or bins ({error})", FAILED_RUN)
        case RuntimeError() if "RESOURCE_EXHAUSTED" in str(error):  # XLA's way to say the same
            return Fault("out of memory: use fewer chains or bins", FAILED_RUN)
        case OSError():
            return Fault(f"cannot write: {error.strerror or error}", FAILED_RUN)
        case _:
            return None


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Python's collector runs seldom meanwhile, and not over all that is left once the process ends."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTED_AT)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def flag(name: str) -> str:
    """The option of a setting."""
    return SHORT.get(name) or "--" + name.replace("_", "-")


def with_options(text: str) -> str:
    """A sentence of a result in which settings, where it says what to do about them, are the options of a command.

    Python and files spell them with underscores. One that is an English word too is an option after a verb alone.

    >>> with_options("use a smaller step_size, or a lower beta; raise burn_in or steps; 400 steps")
    'use a smaller --step-size, or a lower --beta; raise --burn-in or --steps; 400 steps'
    """
    known = {name for name, one in flat_settings().items() if one.option}

    def spelled(words: str) -> str:
        return re.sub(r"\w+", lambda word: flag(word[0]) if word[0] in known else word[0], words)

    text = re.sub(VERBS, lambda found: found[1] + spelled(found[2]), text)
    return re.sub(r"(?<![\w.:/-])[a-z]+_[a-z_]+(?![\w.:(/])", lambda found: spelled(found[0]), text)


def own_output() -> contextlib.AbstractContextManager[Any]:
    """What is printed meanwhile, by a model of the user's, goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr)


def _fail(program: str, message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"{program}: error: {line}", file=sys.stderr)
    return code
