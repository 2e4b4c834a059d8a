"""`python -m langevin_ib.attribute`: which mechanism balances the factors of a model?"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from langevin_ib import signals
from langevin_ib.cli.command import Parser, called, guarded, new_parser, own_output
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.cli.options import Origins, add_output, add_settings, spelled_options, typed_settings
from langevin_ib.config.extensions import is_known, of_others
from langevin_ib.config.noises import NOISES
from langevin_ib.config.settings import Setting
from langevin_ib.devices import start_for_command
from langevin_ib.errors import LangevinIBError
from langevin_ib.stages import Stages
from langevin_ib.studies.config import AttributionConfig, from_setup, setup_settings

if TYPE_CHECKING:
    from langevin_ib.studies.result import StudyResult

PROGRAM = "python -m langevin_ib.attribute"
LEADING = ("model", "options", "setup", "noise", "batch_size", "lr", "steps", "seeds", "seed", "out")  # in `--help`
EXAMPLES = """examples:
  {program} --model uv
      which of label noise, weight decay, SGD and their like balances u and v?
  {program} --setup figure-2 --seeds 16
      the same of the paper's ReLU network, with half as many seeds
"""


def build_parser(noise: str | None = None, own: Mapping[str, Setting] | None = None) -> Parser:
    """Options are the settings of `AttributionConfig`, and those that only the noise has; None stands for 'not given'.

    Args:
        noise: that is chosen.
        own: its own settings.
    """
    parser = new_parser(
        PROGRAM,
        "Train one model from the same starts by gradient descent, SGD, label noise, isotropized noise, weight decay "
        "and Langevin dynamics, and say which of them balances its factors.",
    )
    add_settings(parser, AttributionConfig.declared())
    if own:
        add_settings(parser.add_argument_group(f"settings of --noise {noise}"), own)
    add_output(parser)
    parser.lead_with(LEADING, EXAMPLES.format(program=parser.prog))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    return guarded(PROGRAM, lambda: _run_attribution(sys.argv[1:] if argv is None else argv))


def _run_attribution(argv: Sequence[str]) -> int:
    noise, own = _own_settings(argv)
    arguments = vars(build_parser(noise, own).parse_args(argv))
    setup, declared = arguments["setup"], AttributionConfig.declared() | own
    origins = Origins(
        declared,
        {name for name in declared if arguments.get(name) is not None},
        {} if setup is None else setup_settings(setup),
        f"from setup {setup}",
    )
    with origins.named():
        typed = typed_settings(arguments, declared)
        command = f"{called(PROGRAM)} {shlex.join(spelled_options(typed, declared))}".rstrip()
        typed.pop("setup", None)
        config = AttributionConfig(**typed) if setup is None else from_setup(setup, **typed)

    start_for_command()
    # After the settings are known to be good, so that a typing error is answered at once; after JAX has started.
    with signals.held():
        from langevin_ib.output.attribution import attribution_report  # noqa: PLC0415
        from langevin_ib.output.store import save_study, study_summary  # noqa: PLC0415
        from langevin_ib.studies.mechanisms import attribute  # noqa: PLC0415

    def of_rest(name: str) -> str:
        return "a default" if name in config.to_dict() else "set by rule"

    def work(report: Stages) -> StudyResult:
        with output.session(report, name).open() as session:
            return attribute(config, session)

    output = Output.of(arguments)
    name = f"attribution-{config.name}-{config.digest()}"
    job = Job(
        name=name,
        work=work,
        report=lambda result: dataclasses.replace(attribution_report(result), rerun=(command,)),
        save=partial(save_study, settings=True),
        summary=study_summary,
        owned=of_others([("model", config.model), ("noise", config.noise)]),
    )
    return execute(job, output, origins.named(of_rest))


def _own_settings(argv: Sequence[str]) -> tuple[str | None, dict[str, Setting]]:
    """A noise of one's own that is typed, and the settings that only it has; it is imported."""
    first = Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--noise", nargs="?")
    noise = first.parse_known_args(argv)[0].noise
    if noise is None or noise in NOISES or not is_known("noise", noise):
        return None, {}  # what is none is refused with the other settings
    start_for_command()  # before a plug-in starts JAX
    try:
        with own_output():
            return noise, AttributionConfig.noise_class(noise).declared()
    except LangevinIBError:
        if {"-h", "--help", "--help-all", "--version"} & set(argv):
            return None, {}
        raise
