"""`python -m langevin_ib judge`: from a file of draws, and what they are said to be, to the verdicts of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langevin_ib import signals
from langevin_ib.cli.command import Parser, guarded, new_parser
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.cli.options import Origins, add_output, add_settings, list_choices, typed_settings
from langevin_ib.cli.run import AFTERWARDS, TITLES, choose, of_others
from langevin_ib.config.choices import Classes, flat_settings
from langevin_ib.config.core import ChainSettings
from langevin_ib.config.kernels import KERNELS
from langevin_ib.config.kinds import number
from langevin_ib.config.settings import Setting
from langevin_ib.devices import start_for_command
from langevin_ib.errors import ConfigError
from langevin_ib.stages import Stages

if TYPE_CHECKING:
    from langevin_ib.config.run import RunConfig
    from langevin_ib.output.blocks import Report
    from langevin_ib.runs.result import Result

PROGRAM = "python -m langevin_ib judge"
LEADING = ("file", "model", "options", "beta", "confine", "kappa", "sampler", "lr", "burn_in", "out")  # in `--help`
# Settings of a run's own chains: the draws are there.
OF_RUNS = {
    *(name for name in ChainSettings.declared() if name != "seed"),
    "integrator", "step_size", "step_check", "increments", "reference",
    *(name for kernel in KERNELS.values() for name in kernel.declared()),
}  # fmt: skip
EXAMPLES = """examples:
  {program} draws.npz --model uv --beta 10 --kappa 10
      are these draws of exp(−(L + κ|χ|²/2)/T) dθ, T = 1/10?
  {program} draws.nc --model hadamard --confine weight-decay
      of another model and another protocol, from ArviZ
  {program} draws.csv --sampler sgd --lr 0.01
      of SGD with label noise
"""


def build_parser(classes: Classes | None = None) -> Parser:
    """A file, and the settings that say what its draws are said to be."""
    parser = new_parser(PROGRAM, "Hold draws of any sampler against the laws: those of a file, chains and draws.")
    parser.add_argument(
        "file",
        metavar="FILE",
        help=".npz or .nc of arrays (chain, draw, …), or .csv with a column chain: parameters or invariants by name",
    )
    declared = _declared(classes)
    for key, title in TITLES.items():
        group = {name: one for name, one in declared.items() if one.group == key}
        add_settings(parser.add_argument_group(f"{title}" if key != "dynamics" else "randomness"), group)
    own = {name: one for name, one in declared.items() if one.group not in TITLES}
    if own:
        add_settings(parser.add_argument_group("settings of what was chosen"), own)
    output = parser.add_argument_group("input and output")
    output.add_argument("--burn-in", metavar="N", help="draws of each chain to leave out at its beginning [0]")
    output.add_argument("--config", metavar="FILE", help="TOML or JSON file of settings; options override it")
    add_output(output)
    list_choices(parser, declared)
    parser.lead_with(LEADING, EXAMPLES.format(program=parser.prog))
    return parser


def _declared(classes: Classes | None) -> dict[str, Setting]:
    return {name: one for name, one in flat_settings(classes).items() if name not in OF_RUNS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed."""
    return guarded(PROGRAM, lambda: _judge(sys.argv[1:] if argv is None else argv), interrupted="nothing is lost")


def _judge(argv: Sequence[str]) -> int:
    _, classes, path, settings = choose(argv)
    arguments = vars(build_parser(classes).parse_args(argv))
    output, declared = Output.of(arguments), _declared(classes)
    settings = {name: value for name, value in settings.items() if name not in OF_RUNS}
    burn_in = number(arguments["burn_in"] or "0")
    if not isinstance(burn_in, int) or burn_in < 0:
        raise ConfigError("burn_in", "a whole number from 0", arguments["burn_in"])
    typed = typed_settings(arguments, declared)
    origins = Origins({*declared, "config"}, typed, {*settings, "config"}, f"from {path}")
    start_for_command()
    with signals.held():
        from langevin_ib.runs.own_draws import asked  # noqa: PLC0415 - with JAX
    with origins.named():
        given = settings | typed
        config = asked(given.pop("model", "uv"), given)
    return execute(_job(arguments["file"], config, burn_in, output), output, origins.named(config.origin_of))


def _job(file: str, config: RunConfig, burn_in: int, output: Output) -> Job[Result]:
    """Draws of a file as a job."""
    from langevin_ib.config.run import named_origins  # noqa: PLC0415
    from langevin_ib.runs.own_draws import judge_within  # noqa: PLC0415

    name = f"{config.run_name}-{Path(file).stem}"

    def work(report: Stages) -> Result:
        with output.session(report, name).open() as session, named_origins(config):
            return judge_within(file, config, session, burn_in=burn_in)

    def report(result: Result) -> Report:
        from langevin_ib.output.report import run_report  # noqa: PLC0415

        return run_report(result)

    def save(result: Result, _: Report, out: str) -> Path:
        from langevin_ib.output import store  # noqa: PLC0415

        return store.save(result, out)

    def summary(result: Result, _: Report) -> Any:
        return result.summary

    return Job(name, work, report, save, summary, owned=of_others(config), modules=AFTERWARDS)
