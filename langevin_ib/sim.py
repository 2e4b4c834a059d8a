"""`python -m langevin_ib.sim`: parse, call, print."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from langevin_ib.config import AUTO, RunConfig, read_toml
from langevin_ib.errors import ConfigError, DivergenceError, LawError, ModelError

PROGRAM = "python -m langevin_ib.sim"
BAD_INPUT, FAILED_RUN, INTERRUPTED = 2, 3, 130
MAX_DEVICES = 64
RULED = ("window", "slab", "step_size", "thin", "burn_in")
FROM_RULES_OF = {
    *("model", "options", "beta", "sigma", "target", "depth", "metric"),
    *("confine", "kappa", "weight_decay", "integrator", "steps"),
}
TITLES = {
    "model": "model and temperature",
    "protocol": "confinement",
    "dynamics": "chains",
    "comparison": "comparison",
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message.replace("argument ", "", 1))


class _UsageError(Exception):
    """A command line that cannot be parsed."""


def build_parser() -> argparse.ArgumentParser:
    """Options are the fields of `RunConfig`, in its groups; None stands for 'not given', so that a file can fill it."""
    parser = _Parser(
        prog=PROGRAM,
        description="Simulate noisy training of a symmetric model and measure which reduced law its draws obey.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=118),
        allow_abbrev=False,
    )
    groups = {key: parser.add_argument_group(title) for key, title in TITLES.items()}
    for spec in dataclasses.fields(RunConfig):
        _add_option(groups[spec.metadata["group"]], spec)
    output = parser.add_argument_group("input and output")
    output.add_argument("--config", metavar="FILE", help="TOML file of settings; options override it")
    output.add_argument("--out", metavar="DIR", default="runs", help="where the run folder goes [runs]")
    output.add_argument("--chunk", metavar="N", help="records per device call; changes no number [auto]")
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    output.add_argument(
        "--json", action="store_true", help="print summary.json on standard output instead of the table"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    try:
        arguments = vars(build_parser().parse_args(argv))
        return _simulate(arguments)
    except _UsageError as error:
        return _fail(str(error), BAD_INPUT)
    except ConfigError as error:
        return _fail(f"{_flag(error.option)}{str(error)[len(error.option) :]}", BAD_INPUT)
    except (LawError, ModelError) as error:
        return _fail(str(error), BAD_INPUT)
    except DivergenceError as error:
        return _fail(f"{error}; no run folder was written", FAILED_RUN)
    except MemoryError as error:
        return _fail(f"out of memory: use fewer chains or bins ({error})", FAILED_RUN)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's way to say the same
            raise
        return _fail("out of memory: use fewer chains or bins", FAILED_RUN)
    except OSError as error:
        return _fail(f"cannot write: {error.strerror or error}", FAILED_RUN)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; if a stage ran for over half a minute, the same command goes on from its checkpoint",
            INTERRUPTED,
        )


def _simulate(arguments: dict[str, Any]) -> int:
    out, quiet, as_json = arguments.pop("out"), arguments.pop("quiet"), arguments.pop("json")
    chunk = _chunk(arguments.pop("chunk"))
    path = arguments.pop("config")
    settings = read_toml(path) if path else {}
    given = {name: _parsed(name, text) for name, text in arguments.items() if text is not None}
    kept = _reconcile(settings, given)
    config = RunConfig.from_dict(settings | given)

    use_all_cores()
    # After the settings are known to be good, so that a typing error is answered at once; after the devices are set.
    from langevin_ib.experiment import run  # noqa: PLC0415
    from langevin_ib.progress import console, stages  # noqa: PLC0415
    from langevin_ib.report import print_report  # noqa: PLC0415
    from langevin_ib.store import CHECKPOINTS, check_writable, save, summary_json, tidy  # noqa: PLC0415

    check_writable(out)
    with stages(quiet or as_json) as report:
        result = run(config, report=report, chunk_records=chunk, checkpoints=Path(out) / CHECKPOINTS)
        report("writing")
        try:
            folder = save(result, out)
        except OSError as error:
            return _fail(f"cannot write the run folder: {error.strerror or error}", FAILED_RUN)
    if kept and not quiet:
        print(f"note: kept from {path}: {', '.join(kept)}; give one as auto to set it anew", file=sys.stderr)
    tidy(out)
    if as_json:
        sys.stdout.write(summary_json(result.summary))
    elif not quiet:
        print_report(result.summary, console())
        console().print(f"saved in {folder}", soft_wrap=True, highlight=False)
    return 0


def _reconcile(settings: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Drop the file's constants of another protocol; name the file's numbers that a rule would now set differently."""
    if given.get("confine", settings.get("confine")) != settings.get("confine"):
        for constant in ("kappa", "weight_decay", "slab", "integrator"):
            settings.pop(constant, None)
    if given.get("model", settings.get("model", "uv")) != settings.get("model", "uv"):
        for constant in ("options", "target", "depth", "metric", "invariant"):
            settings.pop(constant, None)
    if not FROM_RULES_OF & given.keys():
        return []
    return [name for name in RULED if settings.get(name, AUTO) != AUTO and name not in given]


def use_all_cores() -> None:
    """Every core a device of its own: XLA by itself splits only large loops over cores."""
    import jax  # noqa: PLC0415

    # RuntimeError: a caller in the same process has started the backend already; the numbers are the same.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(_cores(), MAX_DEVICES))


def _cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container or under taskset."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _add_option(group: Any, spec: dataclasses.Field) -> None:
    meta = spec.metadata
    flag = _flag(spec.name)
    text = meta["help"]
    if meta.get("many") and "choices" in meta:
        text += f": {', '.join(meta['choices'])} [all]"
    elif "choices" in meta:
        text += f": {', '.join(str(c) for c in meta['choices'])} [{spec.default}]"
    elif spec.default is not None and spec.name != "model":
        text += f" [{spec.default}]"
    metavar = "X" if meta.get("kind") in ("positive", "number") else "N" if meta.get("kind") == "count" else "NAME"
    extra: dict[str, Any] = {"metavar": metavar}
    if spec.name == "window":
        extra = {"metavar": "Z", "nargs": "+"}
    elif spec.name == "options":
        extra = {"metavar": "NAME=VALUE", "nargs": "+"}
    elif spec.name == "metric":
        extra = {"metavar": "X", "nargs": "+"}
    elif meta.get("many"):
        extra = {"metavar": "NAME", "nargs": "+"}
    group.add_argument(flag, dest=spec.name, help=text.replace("%", "%%"), **extra)


def _parsed(name: str, text: str | list[str]) -> Any:
    """Text as the number it spells, or as itself: `RunConfig` says what is wrong with it."""
    if name == "options":
        return _options(text)
    if name in ("invariant", "laws"):
        return text
    if isinstance(text, list):
        values = [_number(part) for part in text]
        return AUTO if values == [AUTO] else values
    return text if name == "model" else _number(text)


def _options(pairs: Any) -> dict[str, Any]:
    """NAME=VALUE … as a table; yes and no are truth values."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign and value):
            raise ConfigError("set", "NAME=VALUE pairs", pair)
        found[name] = {"yes": True, "no": False}.get(value, _number(value))
    return found


def _flag(name: str) -> str:
    """The option of a setting."""
    return "--set" if name == "options" else "--" + name.replace("_", "-")


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _chunk(text: str | None) -> int | None:
    if text is None:
        return None
    value = _number(text)
    if not isinstance(value, int) or value < 1:
        raise ConfigError("chunk", "a whole number from 1", text)
    return value


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"{PROGRAM}: error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
