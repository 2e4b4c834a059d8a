"""One run from configuration to verdict: prepare, draw, judge, whatever the process."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

from langevin_ib import background, signals
from langevin_ib.config.records import record
from langevin_ib.config.run import RunConfig, named_origins
from langevin_ib.ensemble.checkpoint import refusals, resumes
from langevin_ib.files import write_whole
from langevin_ib.runs.doubts import convergence_doubts, health_doubts
from langevin_ib.runs.judge import judge, mixing_of
from langevin_ib.runs.process import Draws, Prepared, Process
from langevin_ib.runs.result import Result
from langevin_ib.runs.selfchecks import self_doubts
from langevin_ib.session import Session, silent
from langevin_ib.stages import ASKED, STATE, Stages
from langevin_ib.statistics.records import Doubt


def run(
    config: RunConfig,
    *,
    report: Stages | None = None,
    chunk_records: int | None = None,
    checkpoints: Path | None = None,
    extends: Path | None = None,
    fresh: bool = False,
    scheduler: str | None = None,
    compilation_cache: bool = True,
) -> Result:
    """Simulate, compare with every law, and judge.

    Args:
        config: what to run; `auto` values are resolved first.
        report: called with the name of each stage, returns a progress callback for it or None.
        chunk_records: records per device call; changes no number.
        checkpoints: a folder in which a long stage saves its state every 15 s of work, and from which a run with the
            same configuration resumes. It stays until the result is saved: `output.store.save` removes it, or, of a
            result that is not to be saved, `output.folders.discard(result.checkpoints)`.
        extends: the folder of a finished run of the same but fewer steps (`output.extension.longer`), whose chains go
            on where they ended; changes no number.
        fresh: whether to begin anew, whatever is saved there.
        scheduler: of processes or machines that blocks of chains are given to, in place of threads of this one:
            `local`, `local:N` or the address of a Dask scheduler; changes no number.
        compilation_cache: whether compiled programs are taken from the user's cache folder, and kept there.

    Raises:
        ConfigError: a setting does not fit the model.
        ModelError: the model breaks its contract.
        LawError: a requested law cannot be normalised on the window.
        DivergenceError: chains diverged.
        BreachError: the model breaks its contract where chains went.
        ProcessError: this process was forked after JAX had started.

    >>> config = RunConfig(beta=10.0, chains=64, steps=2000, step_check=False, reference="none")
    >>> sorted(run(config).verdicts)
    ['exact', 'hard', 'naive', 'printed', 'pushforward', 'slice']
    """
    place = None if checkpoints is None else checkpoints / config.run_name
    session = Session(
        report or silent,
        chunk_records,
        place,
        extends and extends / STATE,
        scheduler,
        fresh=fresh,
        compilation_cache=compilation_cache,
    )
    with session.open() as opened, named_origins(config):
        return _run(config, opened)


def process_of(config: RunConfig) -> Process:
    """What the configuration samples: Langevin dynamics, SGD, or a process of someone's own."""
    return record("process", config.sampler, Process)


def _run(config: RunConfig, session: Session) -> Result:
    began = time.perf_counter()
    signals.expect(session.checkpoints)
    process = process_of(config)
    # Before any draw of the chains, so that a law that does not exist here costs no simulation.
    prepared = process.prepare(config, session)
    signals.name(prepared.plan.config.run_name)
    draws = process.draw(prepared, session)
    if session.checkpoints is not None:
        with contextlib.suppress(OSError):  # as a state that cannot be saved, it stops no run
            write_whole(session.checkpoints / ASKED, json.dumps(config.to_dict()).encode())
    background.settle()
    prepared = prepared.completed(session.report)
    prepared = replace(prepared, doubts=(*prepared.doubts, *self_doubts(prepared, draws)))
    result = judge(prepared, draws, process.details(prepared, draws))
    info = replace(
        result.run,
        total_wall_s=round(time.perf_counter() - began, 3),
        resumed=resumes(session.checkpoints),
        refused=refusals(session.checkpoints),
    )
    return replace(result, run=info, checkpoints=session.checkpoints)


def resolved(config: RunConfig, *, compilation_cache: bool = True) -> RunConfig:
    """The configuration with every `auto` filled in, as that of the result of `run`; of the chains no draw is made.

    Raises:
        ConfigError, ModelError, LawError, BreachError, ProcessError: as `run`.
    """
    with Session(compilation_cache=compilation_cache).open() as session, named_origins(config):
        return process_of(config).prepare(config, session).plan.config


def prepare_and_draw(config: RunConfig) -> tuple[Prepared, Draws, list[Doubt]]:
    """A run's laws, its draws, and the doubts about either, for studies that hold laws of their own against them.

    Without companion and reference, so that the plan's configuration is that of a run that has neither.

    Raises:
        as `run`.
    """
    unchecked = {"step_check": False, "reference": "none"}
    config = config.replace(**{name: off for name, off in unchecked.items() if name in config.process.declared()})
    with Session().open() as session, named_origins(config):
        process = process_of(config)
        prepared = process.prepare(config, session)
        draws = process.draw(prepared, session)
        prepared = prepared.completed()
        mixing = mixing_of(draws.main, drifting=prepared.plan.drifting)
        settings = type(prepared.plan.config.process)
        settled = convergence_doubts(mixing, drifting=prepared.plan.drifting, process=settings)
        return prepared, draws, [*prepared.doubts, *settled, *health_doubts(draws.main, settings)]
