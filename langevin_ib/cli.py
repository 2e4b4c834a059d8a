"""What the package's command lines share: parsing that answers in one line, exit codes, the number of devices."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from langevin_ib import __version__, signals
from langevin_ib.errors import BreachError, ConfigError, DivergenceError, LawError, ModelError, ProcessError, one_line
from langevin_ib.spelling import spell_out

BAD_INPUT, FAILED_RUN, INTERRUPTED = 2, 3, 130
MAX_DEVICES = 64


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.replace("argument ", "", 1))


class UsageError(Exception):
    """A command line that cannot be parsed, or an environment that no run can start in."""


class FailedRunError(Exception):
    """A run that ended without its result, for a reason that is one line."""


def new_parser(program: str, description: str) -> Parser:
    """A parser with wide help and no abbreviations, which knows the package's version."""
    parser = Parser(
        prog=program,
        description=description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=118),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"langevin_ib {__version__}")
    return parser


def guarded(program: str, work: Callable[[], int], *, interrupted: str | None = None) -> int:
    """Do the work and return its exit code: 0 done, 2 bad input (nothing written), 3 failed run, 130 interrupted.

    Args:
        program: named in errors.
        work: what is done.
        interrupted: what is said of the results when it is stopped; None for the checkpoint that there is.
    """
    spell_out()
    try:
        with signals.caught():
            return work()
    except UsageError as error:
        return _fail(program, str(error), BAD_INPUT)
    except ConfigError as error:
        return _fail(program, f"{flag(error.option)}{str(error)[len(error.option) :]}", BAD_INPUT)
    except (LawError, ModelError) as error:
        return _fail(program, str(error), BAD_INPUT)
    except (BreachError, DivergenceError) as error:
        return _fail(program, f"{error}; no run folder was written", FAILED_RUN)
    except (FailedRunError, ProcessError) as error:
        return _fail(program, str(error), FAILED_RUN)
    except MemoryError as error:
        return _fail(program, f"out of memory: use fewer chains or bins ({error})", FAILED_RUN)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's way to say the same
            raise
        return _fail(program, "out of memory: use fewer chains or bins", FAILED_RUN)
    except OSError as error:
        return _fail(program, f"cannot write: {error.strerror or error}; {interrupted or signals.left()}", FAILED_RUN)
    except KeyboardInterrupt:
        return _fail(program, f"interrupted; {interrupted or signals.left()}", INTERRUPTED)


def flag(name: str) -> str:
    """The option of a setting."""
    return "--set" if name == "options" else "--" + name.replace("_", "-")


def number(text: str) -> Any:
    """Text as the number it spells, or as itself: whole numbers of thousands of digits too, which Python does not read.

    >>> number("3"), number("0.5"), number("a"), number("9" * 5000) == "9" * 5000
    (3, 0.5, 'a', True)
    """
    for kind in (int, float):
        try:
            return text if kind is float and text.strip("+-").isdigit() else kind(text)
        except ValueError:
            continue
    return text


def own_output() -> contextlib.AbstractContextManager[Any]:
    """What is printed meanwhile, by a model of the user's, goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr)


def options(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE … as a table; yes and no are truth values.

    Raises:
        ConfigError: a pair is none.

    >>> options(["width=3", "population=yes"])
    {'width': 3, 'population': True}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign and value):
            raise ConfigError("set", "NAME=VALUE pairs", pair)
        found[name] = {"yes": True, "no": False}.get(value, number(value))
    return found


def use_all_cores() -> None:
    """Every core a device of its own, unless their number has been set: XLA by itself splits only large loops.

    Raises:
        UsageError: JAX or matplotlib cannot start with what the environment's variables ask for.
    """
    try:
        import jax  # noqa: PLC0415
    except ValueError as error:  # a variable of JAX's own, which it names
        raise UsageError(f"JAX cannot be imported: {one_line(error)}") from None
    if devices_asked() is None:
        # RuntimeError: a caller in the same process has started the backend already; the numbers are the same.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(len(usable_cores()), MAX_DEVICES))
    _start_backends()


def _start_backends() -> None:
    """Start JAX, and matplotlib without a screen: here, for what fails inside an import leaves pages of a traceback."""
    import jax  # noqa: PLC0415

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        asked = getattr(jax.config, "jax_platforms", None)
        if not asked:
            raise
        got = f"{asked} ({one_line(error) if str(error) else 'it has no such device'})"
        raise UsageError(f"JAX_PLATFORMS must be what JAX can start here, such as cpu, got {got}") from None
    try:
        import matplotlib  # noqa: PLC0415
    except ValueError as error:
        got, allowed = os.environ.get("MPLBACKEND"), str(error).partition("; ")[2]
        raise UsageError(f"MPLBACKEND must be a backend of matplotlib, such as agg, got {got} ({allowed})") from None
    if "matplotlib.pyplot" not in sys.modules:  # a notebook's backend stays; a command line only writes files
        matplotlib.use("agg")


def devices_asked() -> int | None:
    """The number of devices that JAX was told to make of the CPU; None if it was left alone."""
    import jax  # noqa: PLC0415

    number = getattr(jax.config, "jax_num_cpu_devices", -1)
    return number if number > 0 else None


def usable_cores() -> list[int]:
    """Cores that this process may use: fewer than the machine has in a container or under taskset."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def _fail(program: str, message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"{program}: error: {line}", file=sys.stderr)
    return code
