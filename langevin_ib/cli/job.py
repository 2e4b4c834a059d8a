"""What the commands do alike: work under a progress bar, save, and say what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from langevin_ib import signals
from langevin_ib.cli.command import own_output, with_options
from langevin_ib.errors import FailedRunError
from langevin_ib.stages import Progress, Stages

if TYPE_CHECKING:  # with JAX and Matplotlib, which `--help` needs not wait for
    from langevin_ib.output.blocks import Report
    from langevin_ib.plain import JsonObject
    from langevin_ib.session import Session

R = TypeVar("R")


class Output(NamedTuple):
    """Where a result goes, what is printed of it, and what is done about an earlier or another run of the same.

    Attributes:
        out: the folder of run folders.
        quiet: print nothing but errors.
        as_json: print `summary.json` instead of the table.
        fresh: begin anew, whatever an earlier run has saved.
        wait: for another run of the same; else that is an error.
        compilation_cache: whether compiled programs are taken from the user's cache folder, and kept there.
    """

    out: str
    quiet: bool
    as_json: bool
    fresh: bool = False
    wait: bool = True
    compilation_cache: bool = True

    @classmethod
    def of(cls, arguments: Mapping[str, object]) -> Output:
        """As the options of `options.add_output` say."""
        quiet, as_json, fresh, wait = (bool(arguments[name]) for name in ("quiet", "json", "fresh", "wait"))
        return cls(str(arguments["out"]), quiet, as_json, fresh, wait, not arguments["no_compilation_cache"])

    def session(self, report: Stages, name: str) -> Session:
        """In which a job of this name saves its states and finds its programs."""
        from langevin_ib.session import Session  # noqa: PLC0415 - with JAX

        place = self.checkpoints / name
        return Session(report, checkpoints=place, fresh=self.fresh, compilation_cache=self.compilation_cache)

    @property
    def checkpoints(self) -> Path:
        """Where long stages keep their states, until the result is saved; each run in a folder of its name."""
        from langevin_ib.output.folders import CHECKPOINTS  # noqa: PLC0415 - see above

        return Path(self.out) / CHECKPOINTS


@dataclass(frozen=True)
class Job(Generic[R]):
    """What one command does.

    Attributes:
        name: the same for the same settings; of the lock, and of the folder of checkpoints.
        work: from a progress report to a result.
        report: how that is told.
        save: into a folder, which it returns.
        summary: what `--json` prints.
        owned: what is not of the package in it, whose faults are said to be theirs.
        notes: for standard error, once it is saved.
        modules: that are needed once the work is done, and imported beside its second stage: the first is all Python,
            as imports are, and would wait for them, where chains are computed by XLA.
    """

    name: str
    work: Callable[[Stages], R]
    report: Callable[[R], Report]
    save: Callable[[R, Report, str], Path]
    summary: Callable[[R, Report], JsonObject]
    owned: Sequence[str] = ()
    notes: Sequence[str] = ()
    modules: Sequence[str] = ()


@dataclass(frozen=True)
class Done(Generic[R]):
    """What a job has left: its result, how that is told, its folder."""

    result: R
    report: Report
    folder: Path


def execute(job: Job[R], output: Output, named: AbstractContextManager[None] | None = None) -> int:
    """Do it and print what came of it; returns the exit code 0. Raises what `perform` does."""
    done = perform(job, output, named)
    for note in job.notes if not output.quiet else ():
        print(note, file=sys.stderr)
    if output.as_json:
        from langevin_ib.output.folders import print_json  # noqa: PLC0415 - see above

        print_json(job.summary(done.result, done.report))
    elif not output.quiet:
        from langevin_ib.output.progress import console  # noqa: PLC0415 - see above
        from langevin_ib.output.terminal import show  # noqa: PLC0415

        show(_with_options(done.report), console())
        console().print(f"saved in {done.folder}", soft_wrap=True)
    return 0


def _with_options(report: Report) -> Report:
    """As a command says it: what to do about a setting is what to do about its option."""
    from langevin_ib.output.blocks import Lines  # noqa: PLC0415 - see above

    def spelled(lines: Lines) -> Lines:
        return replace(lines, lines=tuple(line._replace(text=with_options(line.text)) for line in lines.lines))

    blocks = tuple(spelled(block) if isinstance(block, Lines) else block for block in report.blocks)
    return replace(report, blocks=blocks, lead=with_options(report.lead))


def perform(job: Job[R], output: Output, named: AbstractContextManager[None] | None = None) -> Done[R]:
    """Do it and save it. Standard output is for the result: what a model of the user's prints goes to standard error.
    Another run of the same, in this process or another, is waited for.

    Args:
        job: what is done.
        output: where the result goes.
        named: adds the origin of a setting to an error about it.

    Raises:
        ConfigError: the folder cannot be written, seen before any work.
        UsageError: another run of the same is at work, and is not to be waited for.
        FailedRunError: it could not be written afterwards.
        KeyboardInterrupt: after a signal; a partial summary says how far the run has come.
    """
    with signals.held():
        from langevin_ib import background  # noqa: PLC0415 - see above
        from langevin_ib.models.registry import faults_of  # noqa: PLC0415 - see above
        from langevin_ib.output.folders import check_writable, clear_partial, tidy  # noqa: PLC0415
        from langevin_ib.output.progress import stages  # noqa: PLC0415

    check_writable(output.out)
    silent = output.quiet or output.as_json
    try:
        with (
            background.threads(),
            stages(silent) as told,
            _alone(job, output),
            _partial(job, output, told) as progress,
            named or contextlib.nullcontext(),
            own_output(),
            faults_of(job.owned),
        ):
            result = job.work(progress)
            progress("writing")
            report = job.report(result)
            folder = _save(job, result, report, output)
            if folder.name != job.name:
                clear_partial(Path(output.out) / job.name)
    finally:
        tidy(output.out)
    return Done(result, report, folder)


def _save(job: Job[R], result: R, report: Report, output: Output) -> Path:
    """The folder of the result."""
    try:
        return job.save(result, report, output.out)
    except OSError as error:
        reason = error.strerror or error
        raise FailedRunError(f"cannot write the run folder: {reason}; {signals.left()}") from None


@contextlib.contextmanager
def _alone(job: Job[R], output: Output) -> Iterator[None]:
    """No other run of the same is at work; what a killed one has left half written is gone."""
    from langevin_ib.output.folders import mend  # noqa: PLC0415 - see above
    from langevin_ib.output.locks import alone  # noqa: PLC0415

    checkpoints = output.checkpoints / job.name
    signals.expect(checkpoints)
    with alone(checkpoints, wait=output.wait):
        with contextlib.suppress(OSError):
            mend(Path(output.out), checkpoints)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # where there are states
                checkpoints.rmdir()


class _Course:
    """How far a run has come, of what it reports: its stages in their order, steps of the last one."""

    def __init__(self, told: Stages, modules: Sequence[str]):
        self._told, self._modules = told, modules
        self.begun: list[str] = []
        self.step: int | None = None
        self.steps: int | None = None

    def __call__(self, stage: str) -> Progress:
        progress = self._told(stage)
        self.begun.append(stage)
        if len(self.begun) == 2:
            from langevin_ib import background  # noqa: PLC0415 - see above

            background.imported(*self._modules)
        self.step = self.steps = None

        def follow(done: int, total: int) -> None:
            self.step, self.steps = done, total
            if progress is not None:
                progress(done, total)

        return follow


@contextlib.contextmanager
def _partial(job: Job[R], output: Output, told: Stages) -> Iterator[Stages]:
    """Follow a run, and where a signal ends it, leave a summary that says how far it came; it has no verdicts."""
    from langevin_ib.output.folders import write_partial  # noqa: PLC0415 - see above

    course = _Course(told, job.modules)
    try:
        yield course
    except KeyboardInterrupt:
        if not signals.completed() and (course.steps is not None or len(course.begun) > 1):
            with contextlib.suppress(OSError):  # the error line says where the run stands
                name = signals.named() or job.name
                summary = _summary(course, name)
                signals.partial(write_partial(Path(output.out) / name, output.checkpoints / job.name, summary))
        raise


def _summary(course: _Course, name: str) -> JsonObject:
    """What a partial `summary.json` says."""
    *finished, stage = course.begun
    return {
        "partial": True,
        "name": name,
        "stage": stage,
        "step": course.step,
        "steps": course.steps,
        "finished": finished,
        "verdicts": None,
        "note": f"interrupted; {signals.left()}",
    }
