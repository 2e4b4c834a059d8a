"""What the commands do alike: work under a progress bar, save, and say what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from langevin_ib import signals
from langevin_ib.cli.command import own_output
from langevin_ib.errors import FailedRunError
from langevin_ib.stages import Stages

if TYPE_CHECKING:  # with JAX and Matplotlib, which `--help` needs not wait for
    from langevin_ib.output.blocks import Report
    from langevin_ib.plain import JsonObject

R = TypeVar("R")


class Output(NamedTuple):
    """Where a result goes, what is printed (the table, `summary.json` or nothing), and where programs come from."""

    out: str
    quiet: bool
    as_json: bool
    compilation_cache: bool = True

    @classmethod
    def of(cls, arguments: Mapping[str, object]) -> Output:
        """As the options of `options.add_output` say."""
        out, cached = str(arguments["out"]), not arguments["no_compilation_cache"]
        return cls(out, bool(arguments["quiet"]), bool(arguments["json"]), cached)

    @property
    def checkpoints(self) -> Path:
        """Where long stages keep their states, until the result is saved."""
        from langevin_ib.output.folders import CHECKPOINTS  # noqa: PLC0415 - see above

        return Path(self.out) / CHECKPOINTS


@dataclass(frozen=True)
class Job(Generic[R]):
    """What one command does.

    Attributes:
        work: from a progress report to a result.
        report: how that is told.
        save: into a folder, which it returns.
        summary: what `--json` prints.
        owned: what is not of the package in it, whose faults are said to be theirs.
        left: what is left where the folder cannot be written, in words.
        notes: for standard error, once it is saved.
        modules: that are needed once the work is done, and imported beside it.
    """

    work: Callable[[Stages], R]
    report: Callable[[R], Report]
    save: Callable[[R, Report, str], Path]
    summary: Callable[[R, Report], JsonObject]
    owned: Sequence[str] = ()
    left: Callable[[], str] = signals.left
    notes: Sequence[str] = ()
    modules: Sequence[str] = ()


def execute(job: Job[R], output: Output, named: AbstractContextManager[None] | None = None) -> int:
    """Do it; returns the exit code 0. Standard output is for the result: what a model of the user's prints goes to
    standard error.

    Args:
        job: what is done.
        output: where the result goes.
        named: adds the origin of a setting to an error about it.

    Raises:
        ConfigError: the folder cannot be written, seen before any work.
        FailedRunError: it could not be written afterwards.
    """
    with signals.held():
        from langevin_ib import background  # noqa: PLC0415 - see above
        from langevin_ib.models.registry import faults_of  # noqa: PLC0415 - see above
        from langevin_ib.output.folders import check_writable, print_json, tidy  # noqa: PLC0415
        from langevin_ib.output.progress import console, stages  # noqa: PLC0415

    check_writable(output.out)
    silent = output.quiet or output.as_json
    with (
        background.threads(),
        stages(silent) as progress,
        named or contextlib.nullcontext(),
        own_output(),
        faults_of(job.owned),
    ):
        background.imported(*job.modules)
        result = job.work(progress)
        progress("writing")
        report = job.report(result)
        try:
            folder = job.save(result, report, output.out)
        except OSError as error:
            reason = error.strerror or error
            raise FailedRunError(f"cannot write the run folder: {reason}; {job.left()}") from None
    for note in job.notes if not output.quiet else ():
        print(note, file=sys.stderr)
    tidy(output.out)
    if output.as_json:
        print_json(job.summary(result, report))
    elif not output.quiet:
        from langevin_ib.output.terminal import show  # noqa: PLC0415 - see above

        show(report, console())
        console().print(f"saved in {folder}", soft_wrap=True)
    return 0
