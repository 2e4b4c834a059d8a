"""The command line that the figures share: seeds, steps, which parts are run, where the folder goes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin_ib.cli.command import guarded, new_parser
from langevin_ib.cli.options import add_output, add_settings, typed_settings
from langevin_ib.config.kinds import LIMIT, POSITIVE, OneOf, Switch, Text, Whole
from langevin_ib.config.settings import Setting, Settings, setting
from langevin_ib.ensemble.runner import Stages
from langevin_ib.errors import FailedRunError
from langevin_ib.experiments.outcome import save_outcome, show
from langevin_ib.output.folders import check_writable, print_json
from langevin_ib.output.progress import console, stages

MAX_SEEDS = 4096
MIN_STEPS = 20
PARTS = ("attribution", "baselines", "variants")


@dataclass(frozen=True)
class Request(Settings):
    """What is to be run of a figure; `extra` has the settings of one figure alone.

    Raises:
        ConfigError: a value is of the wrong kind or outside its range.
    """

    seeds: int = setting(32, "independent seeds, each with its own task", Whole(1, MAX_SEEDS))
    seed: int = setting(0, "seed of all randomness", Whole(0, LIMIT))
    steps: int | None = setting(None, "steps of the figure's own run", Whole(MIN_STEPS, LIMIT), shown="the paper's")
    lr: float | None = setting(None, "learning rate of the figure's own run", POSITIVE, shown="the paper's")
    attribution: bool = setting(True, "leave out the runs without noise, with noise and from other starts", Switch())
    baselines: bool = setting(True, "leave out the convex baselines", Switch())
    variants: bool = setting(True, "leave out the other reading of text and code", Switch())
    data: str | None = setting(
        None, "your own data, an .npz file; see the README for its keys", Text("a path", metavar="FILE")
    )
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def papers(self) -> bool:
        """Whether data, steps and η are the paper's, so that its caption can be set against the result."""
        return self.data is None and self.steps is None and self.lr is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a file by its name and a digest of its content."""
        settings = super().to_dict()
        if self.data is not None:
            path = Path(self.data)
            settings["data"] = f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        return {**settings, **self.extra}


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
        parser.add_argument("--figure-only", action="store_true", help="none of these: the figure's own run alone")
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
