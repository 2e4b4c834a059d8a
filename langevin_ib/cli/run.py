"""`python -m langevin_ib.sim`: from options, a file and plug-ins to the configuration of a run, and to its result."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from langevin_ib import signals
from langevin_ib.cli.command import Parser, beside, flag, guarded, new_parser, own_output
from langevin_ib.cli.job import Job, Output, execute
from langevin_ib.cli.options import Origins, add_output, add_settings, list_choices, typed_settings
from langevin_ib.cli.scheduler import add_scheduler, parse_scheduler
from langevin_ib.config import extensions
from langevin_ib.config.choices import BUILT_IN, Classes, flat_settings, reconciled
from langevin_ib.config.kinds import AUTO, number
from langevin_ib.config.run import LAWS, RunConfig
from langevin_ib.config.settings import Setting, read_settings
from langevin_ib.devices import start_for_command
from langevin_ib.errors import ConfigError, LangevinIBError
from langevin_ib.stages import Stages

if TYPE_CHECKING:
    from langevin_ib.output.blocks import Report
    from langevin_ib.runs.result import Result

PROGRAM = "python -m langevin_ib.sim"
TITLES = {
    "model": "model and temperature",
    "protocol": "confinement",
    "dynamics": "chains",
    "descent": "stochastic gradient descent, with --sampler sgd",
    "comparison": "comparison",
}
LEADING = ("model", "options", "beta", "confine", "sampler", "lr", "chains", "steps", "seed", "out")  # in `--help`
EXAMPLES = """examples:
  {program} --model uv --beta 10
      the law of z = uv under noise at T = 1/10, with chains held near the slice
  {program} --model hadamard --confine weight-decay --chains 1024
      another model, another protocol, fewer chains
  {program} --sampler sgd --lr 0.01
      SGD with label noise in place of Langevin dynamics
"""
# The settings that may name a plug-in, which is imported before all others are read: it may have settings of its own.
CHOICES: dict[str, extensions.Kind] = {
    extensions.SETTING[kind]: kind for kind in get_args(extensions.Kind) if kind != "model"
}
# What a run needs once its chains are drawn, in the order in which it does. Dask, where it is installed, only because
# xarray then imports it: for the first array that it is given, and for the first file that it writes.
AFTERWARDS = (
    "scipy.stats", "arviz", "dask.array", "langevin_ib.output.report", "langevin_ib.output.store",
    "langevin_ib.output.terminal", "h5netcdf", "distributed",
)  # fmt: skip


def build_parser(choices: Mapping[str, Any] | None = None, classes: Classes | None = None) -> Parser:
    """Options are the settings of every built-in choice, in groups, and those of the plug-ins that are chosen."""
    parser = new_parser(
        PROGRAM, "Simulate noisy training of a symmetric model and measure which reduced law its draws obey."
    )
    declared = flat_settings(classes)
    for key, title in TITLES.items():
        group = {name: one for name, one in declared.items() if one.group == key}
        add_settings(parser.add_argument_group(title), group)
    for kind, chosen in (classes or {}).items():
        own = {name: one for name, one in chosen.declared().items() if one.group not in TITLES}
        if own:
            title = f"settings of {flag(extensions.SETTING[kind])} {(choices or {}).get(extensions.SETTING[kind])}"
            add_settings(parser.add_argument_group(title), own)
    output = parser.add_argument_group("input and output")
    output.add_argument("--config", metavar="FILE", help="TOML or JSON file of settings; options override it")
    output.add_argument(
        "--extend", metavar="STEPS", help="go on with a finished run of these settings for so many steps more"
    )
    output.add_argument("--chunk", metavar="N", help="records per device call; changes no number [auto]")
    add_scheduler(output, "blocks of chains go")
    add_output(output)
    list_choices(parser, declared)
    parser.several = _several_values("FILE")
    parser.lead_with(LEADING, EXAMPLES.format(program=parser.prog))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    return guarded(PROGRAM, lambda: _simulate(sys.argv[1:] if argv is None else argv))


def _simulate(argv: Sequence[str]) -> int:
    choices, classes, path, settings = choose(argv)
    arguments = vars(build_parser(choices, classes).parse_args(argv))
    output = Output.of(arguments)
    chunk, more = (_parse_count(name, arguments[name]) for name in ("chunk", "extend"))
    scheduler = parse_scheduler(arguments["scheduler"])
    declared = flat_settings(classes)
    typed = typed_settings(arguments, declared)
    # An error of the option --config is one about a name in the file.
    origins = Origins({*declared, "config"}, typed, {*settings, "config"}, f"from {path}")
    with _sweep_named(settings | typed, path), origins.named():
        config = RunConfig.from_dict(settings | typed)
    retained = _retained(settings, typed, declared)
    extends = None
    if more is not None:
        if output.fresh:
            raise ConfigError("extend", "left out with --fresh, which begins anew", more)
        config, extends = _longer(config, more, output.out)

    start_for_command()

    def of_rest(name: str) -> str:
        origin = config.origin_of(name)
        rulers = [flag(other) for other in typed if declared[other].feeds]
        return f"{origin} from {', '.join(rulers)}" if rulers and origin == "set by rule" else origin

    notes = [f"note: kept from {path}: {', '.join(retained)}; give one as auto to set it anew"] if retained else []
    return execute(job_of(config, output, chunk, scheduler, notes, extends), output, origins.named(of_rest))


def job_of(
    config: RunConfig,
    output: Output,
    chunk: int | None = None,
    scheduler: str | None = None,
    notes: Sequence[str] = (),
    extends: Path | None = None,
) -> Job[Result]:
    """A run as a job.

    Args:
        config: what is run.
        output: where it saves its states, and whether it begins anew.
        chunk: records of a call.
        scheduler: of who computes.
        notes: for standard error, once it is saved.
        extends: where the states of a finished run lie that it takes up.
    """
    # After the settings are known to be good, so that a typing error is answered at once; after JAX has started.
    with signals.held():
        from langevin_ib.runs.run import run  # noqa: PLC0415

    def work(report: Stages) -> Result:
        return run(
            config,
            report=report,
            chunk_records=chunk,
            checkpoints=output.checkpoints,
            extends=extends,
            fresh=output.fresh,
            scheduler=scheduler,
            compilation_cache=output.compilation_cache,
        )

    def report(result: Result) -> Report:
        from langevin_ib.output.report import run_report  # noqa: PLC0415

        return run_report(result)

    def save(result: Result, _: Report, out: str) -> Path:
        from langevin_ib.output import store  # noqa: PLC0415

        return store.save(result, out)

    return Job(
        name=config.run_name,
        work=work,
        report=report,
        save=save,
        summary=lambda result, _: result.summary,
        owned=of_others(config),
        modules=AFTERWARDS,
        notes=notes,
    )


class Chosen(NamedTuple):
    """What is chosen, by name and by settings class, the file's path, and its settings."""

    choices: Mapping[str, object]
    classes: Classes
    path: str | None
    settings: dict[str, object]


def choose(argv: Sequence[str]) -> Chosen:
    """Read the file and the options that choose something; plug-ins are imported.

    What the file sets of choices that are others now is left out, before anything that it names has to be there.
    """
    first = Parser(add_help=False, allow_abbrev=False)
    for name in ("model", *CHOICES):
        first.add_argument(flag(name), dest=name, nargs="*" if flat_settings()[name].kind.many else "?")
    first.add_argument("--config", nargs="?")
    found = vars(first.parse_known_args(argv)[0])
    path = found.pop("config")
    typed = {name: text for name, text in found.items() if text is not None}
    settings: dict[str, object] = {}
    try:
        if path is not None:
            settings = dict(read_settings(path))
        if any(_is_plug_in(kind, given.get(name)) for name, kind in CHOICES.items() for given in (settings, typed)):
            start_for_command()  # before a plug-in starts JAX
        with own_output():
            settings = reconciled(settings, typed)
        choices = {name: value for name, value in (settings | typed).items() if name in CHOICES}
        origins = Origins(flat_settings(), typed, settings, f"from {path}")
        with _sweep_named(settings | typed, path), origins.named(), own_output():
            return Chosen(choices, RunConfig.classes_of(settings | typed), path, settings)
    except LangevinIBError:
        if {"-h", "--help", "--help-all", "--version"} & set(argv):
            return Chosen({}, {}, None, {})
        raise


@contextlib.contextmanager
def _sweep_named(values: Mapping[str, Any], path: str | None) -> Iterator[None]:
    """Add to an error about a setting that has several values which command takes them."""
    try:
        yield
    except ConfigError as error:
        name = "options" if error.option == "set" else error.option
        value, declared = values.get(name), flat_settings().get(name)
        each = value.values() if isinstance(value, Mapping) else [value]
        listed = name != "options" and declared is not None and declared.kind.many  # a list is its one value
        if listed or not any(map(_is_several, each)):
            raise
        hint = _several_values(path or "FILE")
        raise error.said_of(f"{error.origin}; {hint}" if error.origin else hint) from None


def _several_values(file: str) -> str:
    return f"several values are a sweep: {beside(PROGRAM, 'sweep')} {file}"


def _is_several(value: Any) -> bool:
    """Whether it is a list, or words with commas between them."""
    words = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else []
    return len(words) > 1 and all(words)


def _is_plug_in(kind: extensions.Kind, chosen: Any) -> bool:
    known = {AUTO, *LAWS, *BUILT_IN.get(kind, ())}
    names = chosen if isinstance(chosen, list) else [chosen]
    return any(isinstance(name, str) and name not in known and extensions.is_known(kind, name) for name in names)


def of_others(config: RunConfig) -> list[str]:
    """What of a run is not the package's own."""
    laws: list[tuple[extensions.Kind, Any]] = [("law", name) for name in config.laws or ()]
    return extensions.of_others(
        [
            ("model", config.model_name),
            ("process", config.sampler),
            ("confinement", config.confine),
            ("kernel", config.integrator),
            ("noise", config.noise),
            *laws,
        ]
    )


def _retained(settings: Mapping[str, Any], typed: Mapping[str, Any], declared: Mapping[str, Setting]) -> list[str]:
    """The file's numbers that a rule would now set otherwise."""
    if not any(declared[name].feeds for name in typed):
        return []
    ruled = (name for name, one in declared.items() if one.ruled and name not in typed)
    return [name for name in ruled if settings.get(name, AUTO) != AUTO]


def _longer(config: RunConfig, steps: int, out: str) -> tuple[RunConfig, Path]:
    """What a finished run is with more steps, and where it left its chains."""
    with signals.held():
        from langevin_ib.output.extension import finished, longer  # noqa: PLC0415 - with NumPy

    folder = finished(config, Path(out))
    return longer(folder, steps), folder


def _parse_count(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    value = number(text)
    if not isinstance(value, int) or value < 1:
        raise ConfigError(name, "a whole number from 1", text)
    return value
