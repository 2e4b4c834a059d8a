"""The command line that the figures share: seeds, steps, which parts are run, where the folder goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langevin_ib.cli.command import guarded, new_parser
from langevin_ib.cli.options import add_output, add_settings, typed_settings
from langevin_ib.config.kinds import POSITIVE, OneOf
from langevin_ib.config.settings import Setting
from langevin_ib.errors import FailedRunError
from langevin_ib.output.blocks import Report
from langevin_ib.output.folders import check_writable, print_json
from langevin_ib.output.progress import console, stages
from langevin_ib.output.store import save_study, study_summary
from langevin_ib.output.terminal import show
from langevin_ib.session import Session
from langevin_ib.studies.request import PARTS, Request
from langevin_ib.studies.result import StudyResult

Study = Callable[[Request, Session], StudyResult]
Telling = Callable[[StudyResult], Report]


def main(
    program: str,
    description: str,
    study: Study,
    report: Telling,
    argv: Sequence[str] | None,
    *,
    parts: tuple[str, ...] = PARTS,
    data: bool = False,
    extra: Mapping[str, Setting] | None = None,
) -> int:
    """Parse, run, save, print; returns the exit code: 0 done, 2 bad input (nothing written), 3 failed run.

    Args:
        program: `python -m sims.…`.
        description: one sentence for `--help`.
        study: from a request and an open session to a result.
        report: from that to what is shown.
        argv: arguments, or None for those of the process.
        parts: which of `PARTS` the figure has.
        data: whether it takes a user's file.
        extra: {name: declaration} of settings of this figure alone.
    """
    extra = extra or {}
    left_out = {*PARTS} - {*parts} | ({"data"} if not data else set())
    declared = {name: one for name, one in Request.declared().items() if name not in left_out}
    parser = new_parser(f"python -m {program}", description)
    add_settings(parser, declared)
    if parts:
        parser.add_argument(
            "--figure-only", action="store_true", help="the figure's own run alone, as with every --no option"
        )
    add_settings(parser, extra)
    add_output(parser, "tables")

    def work() -> int:
        arguments = vars(parser.parse_args(argv))
        only = {*PARTS} if arguments.get("figure_only") else {*PARTS} - {*parts}
        own = {name: extra[name].check(name, value) for name, value in typed_settings(arguments, extra).items()}
        typed: dict[str, Any] = {**typed_settings(arguments, declared), **dict.fromkeys(only, False)}
        return _execute(
            Request(**typed, extra=own), study, report, arguments["out"], arguments["quiet"], arguments["json"]
        )

    return guarded(f"python -m {program}", work, interrupted="nothing of this run was saved")


def positive(text: str) -> Setting:
    """A setting of one figure that is a positive number; the paper's by default."""
    return Setting(default=None, help=text, kind=POSITIVE, shown="the paper's")


def choice(text: str, *allowed: str) -> Setting:
    """A setting of one figure that is one of some words, the first by default."""
    return Setting(default=None, help=text, kind=OneOf(*allowed), shown=allowed[0])


def _execute(request: Request, study: Study, report: Telling, out: str, quiet: bool, as_json: bool) -> int:
    check_writable(out)
    with stages(quiet or as_json) as told, Session(told).open() as session:
        result = study(request, session)
    shown = report(result)
    try:
        folder = save_study(result, shown, out)
    except OSError as error:
        raise FailedRunError(f"cannot write the run folder: {error.strerror or error}") from None
    if as_json:
        print_json(study_summary(result, shown))
    elif not quiet:
        show(shown, console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0
