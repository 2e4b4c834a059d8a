"""`python -m langevin_ib.sim`: parse, call, print."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langevin_ib import signals
from langevin_ib.cli.command import Parser, flag, guarded, new_parser, number, options, own_output
from langevin_ib.config.run import AUTO, LANGEVIN, NUMBERS, SGD, RunConfig, read_toml
from langevin_ib.devices import use_all_cores
from langevin_ib.errors import ConfigError, FailedRunError

PROGRAM = "python -m langevin_ib.sim"
RULED = ("window", "slab", "step_size", "thin", "burn_in")
FROM_RULES_OF = {
    *("model", "options", "sampler", "beta", "sigma", "target", "depth", "metric"),
    *("confine", "kappa", "weight_decay", "integrator", "steps"),
    *("noise", "lr", "label_noise", "batch_size", "momentum"),
}
TITLES = {
    "model": "model and temperature",
    "protocol": "confinement",
    "dynamics": "chains",
    "descent": "stochastic gradient descent, with --sampler sgd",
    "comparison": "comparison",
}


def build_parser() -> Parser:
    """Options are the fields of `RunConfig`, in its groups; None stands for 'not given', so that a file can fill it."""
    parser = new_parser(
        PROGRAM, "Simulate noisy training of a symmetric model and measure which reduced law its draws obey."
    )
    groups = {key: parser.add_argument_group(title) for key, title in TITLES.items()}
    for spec in dataclasses.fields(RunConfig):
        _add_option(groups[spec.metadata["group"]], spec)
    output = parser.add_argument_group("input and output")
    output.add_argument("--config", metavar="FILE", help="TOML file of settings; options override it")
    output.add_argument("--out", metavar="DIR", default="runs", help="where the run folder goes [runs]")
    output.add_argument("--chunk", metavar="N", help="records per device call; changes no number [auto]")
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    output.add_argument(
        "--json", action="store_true", help="print summary.json on standard output instead of the table"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 done, 2 bad input (nothing written), 3 failed run."""
    return guarded(PROGRAM, lambda: _simulate(vars(build_parser().parse_args(argv))))


def _simulate(arguments: dict[str, Any]) -> int:
    out, quiet, as_json = arguments.pop("out"), arguments.pop("quiet"), arguments.pop("json")
    chunk = _parse_chunk(arguments.pop("chunk"))
    path = arguments.pop("config")
    settings = {} if path is None else read_toml(path)
    given = {name: _parse_setting(name, text) for name, text in arguments.items() if text is not None}
    retained = _reconcile(settings, given)
    origins = Origins(given, settings, path)
    with origins.named():
        config = RunConfig.from_dict(settings | given)

    use_all_cores()
    # After the settings are known to be good, so that a typing error is answered at once; after the devices are set.
    with signals.held():
        from langevin_ib.models.registry import faults_of  # noqa: PLC0415
        from langevin_ib.output.folders import CHECKPOINTS, check_writable, print_json, tidy  # noqa: PLC0415
        from langevin_ib.output.progress import console, stages  # noqa: PLC0415
        from langevin_ib.output.report import print_report  # noqa: PLC0415
        from langevin_ib.output.store import save  # noqa: PLC0415
        from langevin_ib.runs.run import run  # noqa: PLC0415

    check_writable(out)
    # Standard output is for the result: what a model of the user's prints goes to standard error.
    with stages(quiet or as_json) as report, origins.named(config), own_output(), faults_of(config.model_name):
        result = run(config, report=report, chunk_records=chunk, checkpoints=Path(out) / CHECKPOINTS)
        report("writing")
        try:
            folder = save(result, out)
        except OSError as error:
            reason = error.strerror or error
            raise FailedRunError(f"cannot write the run folder: {reason}; {signals.left()}") from None
    if retained and not quiet:
        print(f"note: kept from {path}: {', '.join(retained)}; give one as auto to set it anew", file=sys.stderr)
    tidy(out)
    if as_json:
        print_json(result.summary)
    elif not quiet:
        print_report(result, console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0


@dataclasses.dataclass(frozen=True)
class Origins:
    """Where settings come from, so that an error about a value that was not typed names its origin.

    Attributes:
        given: typed on the command line.
        settings: in the file.
        path: of the file.
    """

    given: dict[str, Any]
    settings: dict[str, Any]
    path: str | None

    @contextlib.contextmanager
    def named(self, config: RunConfig | None = None) -> Iterator[None]:
        """Add the origin to errors about settings; given the configuration before its rules, of those too."""
        try:
            yield
        except ConfigError as error:
            raise error.said_of(self.of(error.option, config)) from None

    def of(self, option: str, config: RunConfig | None) -> str:
        """In words; nothing for what was typed, or is no setting."""
        name = "options" if option == "set" else option
        if name in self.given or name not in {spec.name for spec in dataclasses.fields(RunConfig)}:
            return ""
        if name in self.settings:
            return f"from {self.path}"
        origin = "a default" if config is None else config.origin_of(name)
        typed = [flag(other) for other in self.given if other in FROM_RULES_OF]
        return f"{origin} from {', '.join(typed)}" if typed and origin == "set by rule" else origin


def _reconcile(settings: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """Drop the file's constants of another protocol; name the file's numbers that a rule would now set differently."""
    if given.get("sampler", settings.get("sampler", "langevin")) != settings.get("sampler", "langevin"):
        for constant in (*LANGEVIN, *SGD, "confine", "kappa", "slab", "steps", "burn_in", "thin", "window"):
            settings.pop(constant, None)
    if given.get("confine", settings.get("confine")) != settings.get("confine"):
        for constant in ("kappa", "weight_decay", "slab", "integrator"):
            settings.pop(constant, None)
    if given.get("model", settings.get("model", "uv")) != settings.get("model", "uv"):
        for constant in ("options", "target", "depth", "metric", "invariant"):
            settings.pop(constant, None)
    if not FROM_RULES_OF & given.keys():
        return []
    return [name for name in RULED if settings.get(name, AUTO) != AUTO and name not in given]


def _add_option(group: Any, spec: dataclasses.Field) -> None:
    meta = spec.metadata
    option = flag(spec.name)
    text = meta["help"]
    if meta.get("many") and "choices" in meta:
        text += f": {', '.join(meta['choices'])} [all]"
    elif "choices" in meta:
        text += f": {', '.join(str(c) for c in meta['choices'])}"
        text += "" if spec.default is None else f" [{spec.default}]"
    elif spec.default is not None and spec.name != "model":
        text += f" [{spec.default}]"
    metavar = "X" if meta.get("kind") in NUMBERS else "N" if meta.get("kind") == "count" else "NAME"
    extra: dict[str, Any] = {"metavar": metavar}
    if spec.name == "window":
        extra = {"metavar": "Z", "nargs": "+"}
    elif spec.name == "options":
        extra = {"metavar": "NAME=VALUE", "nargs": "+"}
    elif spec.name == "metric":
        extra = {"metavar": "X", "nargs": "+"}
    elif meta.get("many"):
        extra = {"metavar": "NAME", "nargs": "+"}
    group.add_argument(option, dest=spec.name, help=text.replace("%", "%%"), **extra)


def _parse_setting(name: str, text: str | list[str]) -> Any:
    """Numbers parsed, other text as it is: `RunConfig` validates it."""
    if name == "options":
        return options(list(text))
    if name in ("invariant", "laws"):
        return text
    if isinstance(text, list):
        values = [number(part) for part in text]
        return AUTO if values == [AUTO] else values
    return text if name == "model" else number(text)


def _parse_chunk(text: str | None) -> int | None:
    if text is None:
        return None
    value = number(text)
    if not isinstance(value, int) or value < 1:
        raise ConfigError("chunk", "a whole number from 1", text)
    return value


if __name__ == "__main__":
    sys.exit(main())
