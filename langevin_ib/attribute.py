"""`python -m langevin_ib.attribute`: which mechanism balances the factors of a model? Parse, call, print, save."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langevin_ib import signals
from langevin_ib.cli.command import Parser, guarded, new_parser, own_output
from langevin_ib.cli.options import Origins, add_output, add_settings, typed_settings
from langevin_ib.config.extensions import of_others
from langevin_ib.devices import use_all_cores
from langevin_ib.errors import FailedRunError
from langevin_ib.studies.config import SETUPS, AttributionConfig, from_setup

PROGRAM = "python -m langevin_ib.attribute"


def build_parser() -> Parser:
    """Options are the settings of `AttributionConfig`; None stands for 'not given'."""
    parser = new_parser(
        PROGRAM,
        "Train one model from the same starts by gradient descent, SGD, label noise, isotropized noise, weight decay "
        "and Langevin dynamics, and say which of them balances its factors.",
    )
    add_settings(parser, AttributionConfig.declared())
    add_output(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    return guarded(PROGRAM, lambda: _run_attribution(vars(build_parser().parse_args(argv))))


def _run_attribution(arguments: Mapping[str, Any]) -> int:
    out, quiet, as_json = arguments["out"], arguments["quiet"], arguments["json"]
    setup, declared = arguments["setup"], AttributionConfig.declared()
    origins = Origins(
        declared,
        {name for name in declared if arguments.get(name) is not None},
        SETUPS.get(setup, {}),
        f"from setup {setup}",
    )
    with origins.named():
        typed = typed_settings(arguments, declared)
        typed.pop("setup", None)
        config = AttributionConfig(**typed) if setup is None else from_setup(setup, **typed)

    use_all_cores()
    # After the settings are known to be good, so that a typing error is answered at once; after the devices are set.
    with signals.held():
        from langevin_ib.models.registry import faults_of  # noqa: PLC0415
        from langevin_ib.output.attribution import print_attribution, save_attribution, sentences  # noqa: PLC0415
        from langevin_ib.output.folders import CHECKPOINTS, check_writable, print_json, tidy  # noqa: PLC0415
        from langevin_ib.output.progress import console, stages  # noqa: PLC0415
        from langevin_ib.studies.mechanisms import attribute  # noqa: PLC0415

    def of_rest(name: str) -> str:
        return "set by rule" if getattr(config, name) is None else "a default"

    check_writable(out)
    # Standard output is for the result: what a model of the user's prints goes to standard error.
    with (
        stages(quiet or as_json) as report,
        origins.named(of_rest),
        own_output(),
        faults_of(of_others([("model", config.model)])),
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


if __name__ == "__main__":
    sys.exit(main())
