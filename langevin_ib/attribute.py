"""`python -m langevin_ib.attribute`: which mechanism balances the factors of a model? Parse, call, print, save."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langevin_ib import signals
from langevin_ib.attribution.config import NOISES, SETUPS, AttributionConfig, from_setup
from langevin_ib.cli.command import Parser, guarded, new_parser, number, options, own_output
from langevin_ib.devices import use_all_cores
from langevin_ib.errors import ConfigError, FailedRunError

PROGRAM = "python -m langevin_ib.attribute"
VALUES = {
    "lr": ("X", "η, the same for every mechanism [0.05 over the curvature at the starts]"),
    "batch_size": ("N", "B, examples in a batch [4]"),
    "data_noise": ("X", "s₀, label noise that belongs to the data, in every run with batches [0]"),
    "label_noise": ("X", "s, what the mechanism label noise adds to it [root mean square of the labels]"),
    "weight_decay": ("X", "λ of the mechanism weight decay [1/4t, t the time of the run]"),
    "momentum": ("X", "μ of heavy-ball momentum [0]"),
    "steps": ("N", "steps of each run [20000; 2000 with a compact group]"),
    "seeds": ("N", "starts, each with a task of its own where the model can draw some [32]"),
    "seed": ("N", "seed of all randomness [0]"),
}


def build_parser() -> Parser:
    """Options are the fields of `AttributionConfig`; None stands for 'not given'."""
    parser = new_parser(
        PROGRAM,
        "Train one model from the same starts by gradient descent, SGD, label noise, isotropic noise, weight decay and "
        "Langevin dynamics, and say which of them balances its factors.",
    )
    parser.add_argument("--model", metavar="NAME", help="a model of the package, or module:function [uv]")
    parser.add_argument(
        "--set", dest="options", metavar="NAME=VALUE", nargs="+", action="extend", help="options of the model"
    )
    parser.add_argument(
        "--setup", metavar="NAME", help=f"a set-up of the paper: {', '.join(SETUPS)}; options override it"
    )
    parser.add_argument(
        "--noise", metavar="NAME", help=f"batches: {' or '.join(NOISES)} [minibatch if there is a data set, else fresh]"
    )
    for name, (metavar, text) in VALUES.items():
        parser.add_argument("--" + name.replace("_", "-"), metavar=metavar, help=text)
    parser.add_argument("--one-task", action="store_true", help="all seeds train on the model's own task")
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the run folder goes [runs]")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--json", action="store_true", help="print summary.json on standard output instead of the table"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    return guarded(PROGRAM, lambda: _run_attribution(vars(build_parser().parse_args(argv))))


def _run_attribution(arguments: dict[str, Any]) -> int:
    out, quiet, as_json = arguments.pop("out"), arguments.pop("quiet"), arguments.pop("json")
    given = {name for name, value in arguments.items() if value is not None}
    with _name_origin(given, arguments.get("setup")):
        config = _build_config(arguments)

    use_all_cores()
    # After the settings are known to be good, so that a typing error is answered at once; after the devices are set.
    with signals.held():
        from langevin_ib.attribution.mechanisms import attribute  # noqa: PLC0415
        from langevin_ib.attribution.report import print_attribution, save_attribution, sentences  # noqa: PLC0415
        from langevin_ib.models.registry import faults_of  # noqa: PLC0415
        from langevin_ib.output.folders import CHECKPOINTS, check_writable, print_json, tidy  # noqa: PLC0415
        from langevin_ib.output.progress import console, stages  # noqa: PLC0415

    check_writable(out)
    # Standard output is for the result: what a model of the user's prints goes to standard error.
    with (
        stages(quiet or as_json) as report,
        _name_origin(given, config.setup, config),
        own_output(),
        faults_of(config.model),
    ):
        result = attribute(config, report=report, checkpoints=Path(out) / CHECKPOINTS)
        report("writing")
        try:
            folder = save_attribution(result, out)
        except OSError as error:
            reason = error.strerror or error
            raise FailedRunError(f"cannot write the run folder: {reason}; {signals.left()}") from None
    tidy(out)
    if as_json:
        print_json(result.summary | {"sentences": sentences(result.summary)})
    elif not quiet:
        print_attribution(result.summary, console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0


@contextlib.contextmanager
def _name_origin(given: set[str], setup: str | None, config: AttributionConfig | None = None) -> Iterator[None]:
    """Add to an error about a value that was not typed where it comes from: a set-up, a rule, a default."""
    try:
        yield
    except ConfigError as error:
        name = "options" if error.option == "set" else error.option
        fields = {spec.name for spec in dataclasses.fields(AttributionConfig)}
        origin = ""
        if name in fields - given - {"setup"}:
            by_rule = config is not None and getattr(config, name) is None
            in_setup = setup is not None and name in SETUPS.get(setup, {})
            origin = f"from setup {setup}" if in_setup else "set by rule" if by_rule else "a default"
        raise error.said_of(origin) from None


def _build_config(arguments: dict[str, Any]) -> AttributionConfig:
    """Numbers parsed, other text as it is: `AttributionConfig` validates it."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in VALUES:
        if name in given:
            given[name] = number(given[name])
    if "options" in given:
        given["options"] = options(given["options"])
    setup = given.pop("setup", None)
    return AttributionConfig(**given) if setup is None else from_setup(setup, **given)


if __name__ == "__main__":
    sys.exit(main())
