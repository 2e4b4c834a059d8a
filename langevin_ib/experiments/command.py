"""The command line that the figures share: seeds, steps, which parts are run, where the folder goes."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin_ib.cli.command import guarded, new_parser, number
from langevin_ib.config.run import LIMIT, NUMBERS
from langevin_ib.ensemble.runner import Stages
from langevin_ib.errors import ConfigError, FailedRunError
from langevin_ib.experiments.outcome import save_outcome, show
from langevin_ib.output.folders import check_writable, print_json
from langevin_ib.output.progress import console, stages

MAX_SEEDS = 4096
MIN_STEPS = 20
PARTS = ("attribution", "baselines", "variants")


@dataclass(frozen=True)
class Request:
    """What is to be run of a figure.

    Attributes:
        seeds: independent seeds, each with its task and start.
        seed: of all randomness.
        steps: of the figure's own run; None for the paper's.
        lr: η of the figure's own run; None for the paper's.
        attribution: whether to run it without noise, with noise and from other starts too.
        baselines: whether convex baselines are solved.
        variants: whether the other reading of text and code is run too.
        data: a file of the user's own, or None.
        extra: options of one figure.
    """

    seeds: int = 32
    seed: int = 0
    steps: int | None = None
    lr: float | None = None
    attribution: bool = True
    baselines: bool = True
    variants: bool = True
    data: str | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, low, high in (("seeds", 1, MAX_SEEDS), ("seed", 0, LIMIT), ("steps", MIN_STEPS, LIMIT)):
            value = getattr(self, name)
            if name == "steps" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(name, f"a whole number from {low} to {high}", value)

        if self.lr is not None:
            object.__setattr__(self, "lr", positive("lr", self.lr))

    @property
    def papers(self) -> bool:
        """Whether data, steps and η are the paper's, so that its caption can be set against the result."""
        return self.data is None and self.steps is None and self.lr is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a file by its name and a digest of its content."""
        settings = {
            key: value for key, value in dataclasses.asdict(self).items() if value is not None and key != "extra"
        }
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
    extra: dict[str, tuple[str, Callable[[str], Any]]] | None = None,
) -> int:
    """Parse, run, save, print; returns the exit code: 0 done, 2 bad input (nothing written), 3 failed run.

    Args:
        program: `python -m sims.…`.
        description: one sentence for `--help`.
        run: from a request and a progress report to an `Outcome`.
        argv: arguments, or None for those of the process.
        parts: which of `PARTS` the figure has.
        data: whether it takes a user's file.
        extra: {option: (help, text ↦ value)} of this figure.
    """
    parser = new_parser(f"python -m {program}", description)
    parser.add_argument("--seeds", metavar="N", default="32", help="independent seeds, each with its own task [32]")
    parser.add_argument("--seed", metavar="N", default="0", help="seed of all randomness [0]")
    parser.add_argument("--steps", metavar="N", help="steps of the figure's own run [the paper's]")
    parser.add_argument("--lr", metavar="X", help="learning rate of the figure's own run [the paper's]")
    for part in parts:
        parser.add_argument(f"--no-{part}", action="store_true", help=HELP[part])
    if parts:
        parser.add_argument("--figure-only", action="store_true", help="none of these: the figure's own run alone")
    if data:
        parser.add_argument("--data", metavar="FILE", help="your own data, an .npz file; see the README for its keys")
    for name, (text, _) in (extra or {}).items():
        parser.add_argument("--" + name.replace("_", "-"), metavar="X", help=text)
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the run folder goes [runs]")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print summary.json on standard output instead of tables")

    def work() -> int:
        options = vars(parser.parse_args(argv))
        figure_only = options.get("figure_only", False)
        request = Request(
            seeds=number(options["seeds"]),
            seed=number(options["seed"]),
            steps=None if options["steps"] is None else number(options["steps"]),
            lr=None if options["lr"] is None else number(options["lr"]),
            data=options.get("data"),
            extra={n: read(options[n]) for n, (_, read) in (extra or {}).items() if options[n] is not None},
            **{part: part in parts and not figure_only and not options[f"no_{part}"] for part in PARTS},
        )
        return _execute(request, run, options["out"], options["quiet"], options["json"])

    return guarded(f"python -m {program}", work, interrupted="nothing of this run was saved")


def positive(name: str, value: Any) -> float:
    """An option that is a positive number."""
    expected, allowed = NUMBERS["positive"]
    real = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not (real and allowed(value)):
        raise ConfigError(name, expected, value)
    return float(value)


def reader(name: str) -> Callable[[str], float]:
    """A reader of an option that is a positive number."""
    return lambda text: positive(name, number(text))


def choice(name: str, allowed: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of an option that is one of some words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ConfigError(name, f"one of {', '.join(allowed)}", text)
        return text

    return read


HELP = {
    "attribution": "leave out the runs without noise, with noise and from other starts",
    "baselines": "leave out the convex baselines",
    "variants": "leave out the other reading of text and code",
}


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
