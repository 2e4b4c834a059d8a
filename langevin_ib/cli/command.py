"""Shared by the package's command lines: parsing with one-line errors, exit codes."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from langevin_ib import __version__, signals
from langevin_ib.errors import (
    BreachError,
    ConfigError,
    DivergenceError,
    FailedRunError,
    LawError,
    ModelError,
    ProcessError,
    UsageError,
)
from langevin_ib.output.spelling import spell_out

WIDTH = 118  # of help
# New objects at which Python's collector looks through them, and rounds of a generation before one of the next. Imports
# and traces leave hundreds of thousands that stay, which at its own numbers it goes through again and again.
COLLECTED_AT = (200_000, 10, 10)
BAD_INPUT, FAILED_RUN, INTERRUPTED = 2, 3, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line.

    Attributes:
        appendix: what is put under its help, made when that is printed.
    """

    appendix: Callable[[], str] = staticmethod(lambda: "")

    def format_help(self) -> str:
        return super().format_help() + self.appendix()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.replace("argument ", "", 1))


def new_parser(program: str, description: str) -> Parser:
    """A parser with wide help and no abbreviations, which knows the package's version."""
    parser = Parser(
        prog=program,
        description=description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=WIDTH),
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
        return _fail(program, found.line + left, found.code)


class Fault(NamedTuple):
    """What a foreseeable error comes to: a line, and the exit code."""

    line: str
    code: int


def fault(error: Exception) -> Fault | None:
    """What an error comes to; None where it is none that a user can meet."""
    match error:
        case ConfigError():
            return Fault(f"{flag(error.option)}{str(error)[len(error.option) :]}", BAD_INPUT)
        case UsageError() | LawError() | ModelError():
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
    return "--set" if name == "options" else "--" + name.replace("_", "-")


def own_output() -> contextlib.AbstractContextManager[Any]:
    """What is printed meanwhile, by a model of the user's, goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr)


def _fail(program: str, message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"{program}: error: {line}", file=sys.stderr)
    return code
