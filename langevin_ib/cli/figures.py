"""The command line that the figures share: seeds, steps, which parts are run, where the folder goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langevin_ib.cli.command import guarded, new_parser
from langevin_ib.cli.options import add_output, add_settings, typed_settings
from langevin_ib.config.kinds import POSITIVE, OneOf
from langevin_ib.config.settings import Setting
from langevin_ib.errors import FailedRunError
from langevin_ib.output.folders import check_writable, print_json
from langevin_ib.output.outcome import save_outcome, show
from langevin_ib.output.progress import console, stages
from langevin_ib.stages import Stages
from langevin_ib.studies.request import PARTS, Request


def main(
    program: str,
    description: str,
    run: Callable[[Request, Stages], Any],
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
        run: from a request and a progress report to an `Outcome`.
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
        return _execute(Request(**typed, extra=own), run, arguments["out"], arguments["quiet"], arguments["json"])

    return guarded(f"python -m {program}", work, interrupted="nothing of this run was saved")


def positive(text: str) -> Setting:
    """A setting of one figure that is a positive number; the paper's by default."""
    return Setting(default=None, help=text, kind=POSITIVE, shown="the paper's")


def choice(text: str, *allowed: str) -> Setting:
    """A setting of one figure that is one of some words, the first by default."""
    return Setting(default=None, help=text, kind=OneOf(*allowed), shown=allowed[0])


def _execute(request: Request, run: Callable[[Request, Stages], Any], out: str, quiet: bool, as_json: bool) -> int:
    check_writable(out)
    with stages(quiet or as_json) as report:
        outcome = run(request, report)
        try:
            folder = save_outcome(outcome, out)
        except OSError as error:
            raise FailedRunError(f"cannot write the run folder: {error.strerror or error}") from None
    if as_json:
        print_json(outcome.summary)
    elif not quiet:
        show(outcome, console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0
