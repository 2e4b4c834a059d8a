"""`python -m langevin_ib.sweep`: the runs of a file whose lists are a grid, here or on a scheduler."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from langevin_ib import signals
from langevin_ib.cli.command import FAILED_RUN, Parser, beside, called, fault, guarded, new_parser, own_output
from langevin_ib.cli.job import Output, perform
from langevin_ib.cli.run import job_of
from langevin_ib.cli.scheduler import add_scheduler, parse_scheduler
from langevin_ib.config.grid import Grid, Member, grid, label
from langevin_ib.config.run import RunConfig
from langevin_ib.config.settings import read_settings
from langevin_ib.devices import start_for_command
from langevin_ib.errors import ConfigError, UsageError, one_line

if TYPE_CHECKING:  # with NumPy and Matplotlib
    from langevin_ib.output.coefficients import Outcome

PROGRAM = "python -m langevin_ib.sweep"
LEFT = "the same command goes on with what is left"


class Task(NamedTuple):
    """A member on its way to whoever runs it.

    Attributes:
        number: of the member.
        settings: of its run.
        out: where its folder goes; absolute, of a disk that all workers share.
        fresh: whether it begins anew, whatever is there.
        quiet: whether no progress is shown.
        compilation_cache: whether compiled programs are kept from process to process.
    """

    number: int
    settings: dict[str, object]
    out: str
    fresh: bool
    quiet: bool
    compilation_cache: bool


def build_parser() -> Parser:
    """The options of a sweep."""
    parser = new_parser(PROGRAM, "Run every combination of the settings that a file gives lists of; compare their c.")
    parser.add_argument("file", metavar="FILE", help="TOML or JSON file of a run's settings; lists of values are swept")
    parser.add_argument("--out", metavar="DIR", default="runs", help="where the folders of runs and sweep go [runs]")
    add_scheduler(parser, "runs go")
    parser.add_argument("--fresh", action="store_true", help="run every member anew, finished ones too")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument(
        "--no-compilation-cache", action="store_true", help="compile anew what an earlier command has compiled"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code: 0 all members are done, 2 bad input, 3 some have failed."""
    return guarded(PROGRAM, lambda: _sweep(vars(build_parser().parse_args(argv))), interrupted=LEFT)


def _sweep(arguments: Mapping[str, object]) -> int:
    scheduler = parse_scheduler(arguments["scheduler"] if isinstance(arguments["scheduler"], str) else None)
    file, out, quiet = str(arguments["file"]), Path(str(arguments["out"])), bool(arguments["quiet"])
    made = _read(file)

    with signals.held():
        import tomli_w  # noqa: PLC0415

        from langevin_ib.output.folders import check_writable  # noqa: PLC0415 - with NumPy
    check_writable(out)
    fresh, cache = bool(arguments["fresh"]), not arguments["no_compilation_cache"]
    tasks = [
        Task(member.number, member.config.given, str(out.absolute()), fresh, quiet, cache) for member in made.members
    ]
    told = _Told(made, quiet)
    try:
        with closing(_outcomes(made, tasks, scheduler, told)) as coming:
            for number, outcome in coming:
                told.ended(number, outcome)
    finally:
        if told.outcomes:
            told.saved(_saved(made, tomli_w.dumps(read_settings(file)), told.outcomes, out))
    return told.failed()


def _read(file: str) -> Grid:
    try:
        return grid(read_settings(file))
    except ConfigError as error:
        if error.option != "config":
            raise
        raise UsageError(f"{file} must be {error.wanted}, got {error.got}") from None


def _saved(made: Grid, settings: str, outcomes: Mapping[int, Outcome], out: Path) -> Path:
    start_for_command()  # for figures without a screen
    from langevin_ib.output.sweep import save_sweep  # noqa: PLC0415

    return save_sweep(made, settings, outcomes, out)


def _outcomes(
    made: Grid, tasks: Sequence[Task], scheduler: str | None, told: _Told
) -> Generator[tuple[int, Outcome], None, None]:
    """Number and outcome of each member: first of those that are finished, then of the others as they end."""
    from langevin_ib.output.sweep import finished  # noqa: PLC0415

    left = []
    for member, task in zip(made.members, tasks, strict=True):
        outcome = None if task.fresh else finished(Path(task.out), member.config)
        if outcome is None:
            left.append(task)
        else:
            yield task.number, outcome
    if scheduler is not None and left:
        yield from _elsewhere(left, scheduler)
        return
    for task in left:
        told.begun(task.number)
        yield task.number, work(task)


def _elsewhere(tasks: Sequence[Task], scheduler: str) -> Generator[tuple[int, Outcome], None, None]:
    from langevin_ib.ensemble.cluster import executor_of  # noqa: PLC0415 - with Dask
    from langevin_ib.output.coefficients import Outcome  # noqa: PLC0415

    with executor_of(scheduler) as executor:
        coming = {executor.submit(work_for_dask, task): task.number for task in tasks}
        try:
            for future in as_completed(coming):
                error = future.exception()
                yield coming[future], future.result() if error is None else Outcome("failed", reason=one_line(error))
        finally:
            for future in coming:
                future.cancel()


def work(task: Task) -> Outcome:
    """Run a member and save its folder; in any process that has the package and the disk. A fault is an outcome.

    A process runs one at a time; one that another process is at is waited for, and then taken as it is.

    Raises:
        KeyboardInterrupt: after a signal; its states are saved.
    """
    with signals.caught():
        try:
            start_for_command()
            return _worked(task)
        except Exception as error:
            from langevin_ib.output.coefficients import Outcome  # noqa: PLC0415

            found = fault(error)
            return Outcome("failed", reason=" ".join((one_line(error) if found is None else found.line).split()))


def work_for_dask(task: Task) -> Outcome:
    """The same in a worker of Dask's, where xarray would lock the files that it writes by way of the scheduler."""
    from dask import config  # noqa: PLC0415

    with config.set(scheduler="synchronous"):
        return work(task._replace(quiet=True))


def _worked(task: Task) -> Outcome:
    from langevin_ib.output.coefficients import outcome_of  # noqa: PLC0415
    from langevin_ib.output.locks import alone  # noqa: PLC0415
    from langevin_ib.output.sweep import MEMBERS, finished, note_folder  # noqa: PLC0415

    config, out = RunConfig.from_dict(task.settings), Path(task.out)
    with alone(out / MEMBERS / config.run_name, wait=True):
        found = None if task.fresh else finished(out, config) or _saved_elsewhere(config, task)
        if found is not None:
            return found
        output = Output(task.out, task.quiet, False, task.fresh, compilation_cache=task.compilation_cache)
        folder = perform(job_of(config, output), output).folder
        note_folder(out, config, folder)
        return outcome_of(folder)


def _saved_elsewhere(config: RunConfig, task: Task) -> Outcome | None:
    """The run of these settings that something else has saved here, such as `result.save()`, of which no note is kept.

    Its folder goes by what rules make of the settings: they are asked only where a folder is there that can be it.
    """
    from langevin_ib.output.extension import may_be  # noqa: PLC0415
    from langevin_ib.output.folders import CONFIG  # noqa: PLC0415
    from langevin_ib.output.sweep import finished, note_folder  # noqa: PLC0415
    from langevin_ib.runs.run import resolved  # noqa: PLC0415

    out = Path(task.out)
    model = config.run_name.rpartition("-")[0]
    if not any(may_be(config, file.parent) for file in out.glob(f"{model}-*/{CONFIG}")):
        return None
    with own_output():
        whole = resolved(config, compilation_cache=task.compilation_cache)
    found = finished(out, whole)
    if found is not None:
        note_folder(out, config, out / found.folder)
    return found


class _Told:
    """What is said of a sweep, and what it has come to so far."""

    def __init__(self, made: Grid, quiet: bool):
        from langevin_ib.output.progress import console  # noqa: PLC0415

        self._members: dict[int, Member] = {member.number: member for member in made.members}
        self._print = None if quiet else console().print
        self.outcomes: dict[int, Outcome] = {}

    def begun(self, number: int) -> None:
        """On standard error, where its progress follows."""
        if self._print is not None:
            print(f"{self._name(number)} …", file=sys.stderr)

    def ended(self, number: int, outcome: Outcome) -> None:
        """A line for a member."""
        self.outcomes[number] = outcome
        self._say(f"{self._name(number)}: {_came_to(outcome)}")

    def saved(self, folder: Path) -> None:
        """Where the table is, and in which form."""
        from langevin_ib.output.sweep import has_parquet  # noqa: PLC0415

        if not has_parquet():
            self._say("no sweep.parquet, which needs pip install pyarrow")
        done = sum(outcome.status == "done" for outcome in self.outcomes.values())
        self._say(f"{done} of {len(self._members)} members are done; saved in {folder}")
        if done > 1:
            self._say(f"side by side: {beside(PROGRAM, 'compare')} {shlex.quote(str(folder))}")

    def failed(self) -> int:
        """The exit code; a line on standard error for each member that has failed."""
        failed = {number: each for number, each in sorted(self.outcomes.items()) if each.status == "failed"}
        for number, outcome in failed.items():
            print(f"{called(PROGRAM)}: error: {self._name(number)} failed: {outcome.reason}", file=sys.stderr)
        return FAILED_RUN if failed else 0

    def _name(self, number: int) -> str:
        return f"member {number} of {len(self._members)} ({label(self._members[number].swept)})"

    def _say(self, line: str) -> None:
        if self._print is not None:
            self._print(line, soft_wrap=True)


def _came_to(outcome: Outcome) -> str:
    from langevin_ib.output.coefficients import BETWEEN  # noqa: PLC0415

    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    row = outcome.rows[0]
    c = f"c = {row['c']:.3f} ± {row['c_se']:.3f}" if isinstance(row["c"], float) else "no c"
    count = len(str(row["doubts"]).split(BETWEEN)) if row["doubts"] else 0
    doubts = f", {count} doubt{'s' * (count > 1)}" if count else ""
    return f"{c}{doubts}, in {outcome.folder}"
