"""`python -m langevin_ib.attribute`: which mechanism balances the factors of a model?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langevin_ib import signals
from langevin_ib.cli.command import Parser, guarded, new_parser
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.cli.options import Origins, add_output, add_settings, typed_settings
from langevin_ib.config.extensions import of_others
from langevin_ib.devices import use_all_cores
from langevin_ib.stages import Stages
from langevin_ib.studies.config import AttributionConfig, from_setup, setup_settings

if TYPE_CHECKING:
    from langevin_ib.studies.result import StudyResult

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
    setup, declared = arguments["setup"], AttributionConfig.declared()
    origins = Origins(
        declared,
        {name for name in declared if arguments.get(name) is not None},
        {} if setup is None else setup_settings(setup),
        f"from setup {setup}",
    )
    with origins.named():
        typed = typed_settings(arguments, declared)
        typed.pop("setup", None)
        config = AttributionConfig(**typed) if setup is None else from_setup(setup, **typed)

    use_all_cores()
    # After the settings are known to be good, so that a typing error is answered at once; after the devices are set.
    with signals.held():
        from langevin_ib.output.attribution import attribution_report  # noqa: PLC0415
        from langevin_ib.output.store import save_study, study_summary  # noqa: PLC0415
        from langevin_ib.session import Session  # noqa: PLC0415
        from langevin_ib.studies.mechanisms import attribute  # noqa: PLC0415

    def of_rest(name: str) -> str:
        return "set by rule" if getattr(config, name) is None else "a default"

    def work(report: Stages) -> StudyResult:
        with Session(report).open() as session:
            return attribute(config, session, output.checkpoints)

    output = Output.of(arguments)
    job = Job(
        work=work,
        report=attribution_report,
        save=partial(save_study, settings=True),
        summary=study_summary,
        owned=of_others([("model", config.model), ("noise", config.noise)]),
    )
    return execute(job, output, origins.named(of_rest))
