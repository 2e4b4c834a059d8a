"""The command line that the figures share: seeds, steps, which parts are run, where the folder goes."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langevin_ib import signals
from langevin_ib.cli.command import Parser, called, guarded, new_parser
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.cli.options import add_output, add_settings, spelled_options, typed_settings
from langevin_ib.config.kinds import POSITIVE, OneOf
from langevin_ib.config.settings import Setting, Settings
from langevin_ib.devices import start_for_command
from langevin_ib.stages import Stages
from langevin_ib.studies.request import PARTS, Request

if TYPE_CHECKING:
    from langevin_ib.output.blocks import Report
    from langevin_ib.session import Session
    from langevin_ib.studies.result import StudyResult

LEADING = ("seeds", "seed", "steps", "lr", "data", "variant", "figure_only", "out", "quiet", "json")  # in `--help`


def main(
    program: str,
    description: str,
    study: Callable[[Request, Session], StudyResult],
    report: Callable[[StudyResult], Report],
    argv: Sequence[str] | None,
    *,
    parts: tuple[str, ...] = PARTS,
    data: bool = False,
    extra: Mapping[str, Setting] | None = None,
) -> int:
    """Parse, run, save, print; returns the exit code: 0 done, 2 bad input (nothing written), 3 failed run.

    Args:
        program: its module, `sims.…`; its last part names the folder.
        description: one sentence for `--help`.
        study: from a request and an open session to a result.
        report: how that is told.
        argv: arguments, or None for those of the process.
        parts: which of `PARTS` the figure has.
        data: whether it takes a user's file.
        extra: {name: declaration} of settings of this figure alone.
    """
    extra = extra or {}
    program = f"python -m {program}"
    parser = figure_parser(program, description, parts, data=data, extra=extra)
    declared = declared_of(parts, data)

    def work() -> int:
        arguments = vars(parser.parse_args(argv))
        only = {*PARTS} if arguments.get("figure_only") else {*PARTS} - {*parts}
        own = {name: extra[name].check(name, value) for name, value in typed_settings(arguments, extra).items()}
        typed: dict[str, Any] = {**typed_settings(arguments, declared), **dict.fromkeys(only, False)}
        request = Request(**typed, extra=own)
        start_for_command()  # after the options are read, so that a typing error is answered at once
        every = {**declared, **extra}
        words = spelled_options(typed_settings(arguments, every), every)
        words += ["--figure-only"] if arguments.get("figure_only") else []
        command = f"{called(program)} {shlex.join(words)}".rstrip()

        def told(result: StudyResult) -> Report:
            return dataclasses.replace(report(result), rerun=(command,))

        return _run_study(_name(program, request), request, study, told, Output.of(arguments))

    return guarded(program, work)


def declared_of(parts: tuple[str, ...], data: bool) -> dict[str, Setting]:
    """The settings of `Request` that a figure with these parts has."""
    if unknown := {*parts} - {*PARTS}:
        raise ValueError(f"parts must be among {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    left_out = {*PARTS} - {*parts} | ({"data"} if not data else set())
    return {name: one for name, one in Request.declared().items() if name not in left_out}


def figure_parser(
    program: str, description: str, parts: tuple[str, ...], *, data: bool, extra: Mapping[str, Setting]
) -> Parser:
    """The options of a figure, as `main` has them."""
    parser = new_parser(program, description)
    add_settings(parser, declared_of(parts, data))
    if parts:
        parser.add_argument(
            "--figure-only", action="store_true", help="the figure's own run alone, as with every --no option"
        )
    add_settings(parser, extra)
    add_output(parser, "tables")
    parser.lead_with(LEADING)
    return parser


def positive(text: str) -> Setting:
    """A setting of one figure that is a positive number; the study's by default."""
    return Setting(default=None, help=text, kind=POSITIVE, shown="the study's")


def choice(text: str, *allowed: str) -> Setting:
    """A setting of one figure that is one of some words, the first by default."""
    return Setting(default=None, help=text, kind=OneOf(*allowed), shown=allowed[0])


def _name(program: str, request: Request) -> str:
    """The same for the same options; whether a user's data are, checkpoints know by what they compute."""
    import hashlib  # noqa: PLC0415 - loads OpenSSL, which `--help` needs not wait for

    options = json.dumps({**Settings.to_dict(request), **request.extra}, sort_keys=True)
    return f"{program.rsplit('.', maxsplit=1)[-1]}-{hashlib.sha256(options.encode()).hexdigest()[:8]}"


def _run_study(
    name: str,
    request: Request,
    study: Callable[[Request, Session], StudyResult],
    report: Callable[[StudyResult], Report],
    output: Output,
) -> int:
    with signals.held():
        from langevin_ib.ensemble.checkpoint import refusals  # noqa: PLC0415 - with NumPy
        from langevin_ib.output.store import save_study, study_summary  # noqa: PLC0415 - with Matplotlib

    place = output.checkpoints / name

    def work(progress: Stages) -> StudyResult:
        with output.session(progress, name).open() as session:
            result = study(request, session)
        return dataclasses.replace(result, notes=(*result.notes, *refusals(place)), checkpoints=place)

    return execute(Job(name, work, report, save_study, study_summary), output)
