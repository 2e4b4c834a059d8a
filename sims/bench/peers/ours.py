"""This package: the ensemble's runner as runs have it, with an accumulator, limits and a trace, on either increments.

What is timed begins when its programs are compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.accumulators import Accumulator, WindowDraw, count, window_histogram
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import Ensemble
from langevin_ib.session import Session
from sims.bench.peers.base import Bins, Job, Moments, Recorder, Sums

ESCAPED = 1e9


class Timed(NamedTuple):
    """A run: what it left, and (steps done of each chain, seconds) after each of its chunks."""

    result: EnsembleResult
    ends: list[tuple[int, float]]


def timed(kernel: Kernel, job: Job, starts: Any, observer: Observer, schedule: Schedule, seed: int = 0) -> Timed:
    """An ensemble, once its programs are compiled."""
    marks: list[tuple[int, float]] = []
    ensemble = Ensemble(
        kernel,
        starts,
        observer,
        key=jax.random.fold_in(jax.random.key(seed), 1),
        schedule=schedule,
        limit=Limit(job.step_size, lambda params: job.potential(params) > ESCAPED),
        stage=Stage("bench", progress=lambda done, total: marks.append((done, time.perf_counter()))),
    ).compiled()
    began = time.perf_counter()
    result = ensemble.run()
    ended = time.perf_counter()
    return Timed(result, [*((done, clock - began) for done, clock in marks), (schedule.steps, ended - began)])


@dataclass(frozen=True)
class Runner:
    """The package's own chains, as a peer builds them.

    Attributes:
        increments: of Leimkuhler and Matthews' kernel, `normal` or `four-point`.
    """

    increments: str

    def __call__(self, job: Job, chains: int, seed: int, recorder: Recorder | None) -> OwnChains:
        with Session().open():
            starts = job.starts(chains, seed)
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        kernel = leimkuhler_matthews(job.potential, like, temperature=job.temperature, step_size=job.step_size)
        return OwnChains(kernel.on(self.increments), job, starts, recorder, seed)


def mala_chains(step_size: float, job: Job, chains: int, seed: int, recorder: Recorder | None) -> OwnChains:
    """blackjax's MALA in the same runner, with a step that has been tuned."""
    with Session().open():
        starts = job.starts(chains, seed)
        kernel = mala(job.potential, temperature=job.temperature, step_size=step_size)
    return OwnChains(kernel, job, starts, recorder, seed)


class OwnChains:
    """Every call is a run from where the last one ended."""

    def __init__(self, kernel: Kernel, job: Job, starts: Any, recorder: Recorder | None, seed: int):
        self.kernel, self.job, self.seed, self.calls = kernel, job, seed, 0
        self.position, self.observer = starts, observer_of(recorder)
        self.parts: list[Any] = []

    def run(self, records: int, thin: int) -> float:
        """Seconds of so many records, each after `thin` steps."""
        schedule = Schedule(0, thin, records, (records,))
        self.calls += 1
        with Session().open():
            done = timed(self.kernel, self.job, self.position, self.observer, schedule, 1000 * self.seed + self.calls)
        self.position = jax.tree.map(jnp.asarray, done.result.position)
        self.parts.append(done.result.segments[0])
        return done.ends[-1][1]

    def positions(self) -> Any:
        """NumPy leaves (chain, ...)."""
        return jax.tree.map(np.asarray, self.position)

    def recorded(self) -> Any:
        """Sums of each chain over all calls, or counts of all chains."""
        return joined(self.parts)


def joined(parts: list[Any]) -> Any:
    """Counts of all chains, of several stretches; or sums of each chain."""
    if isinstance(parts[0], Sums):
        return jax.tree.map(lambda *leaves: np.sum([np.asarray(leaf) for leaf in leaves], axis=0), *parts)
    return sum(np.asarray(part.counts).sum(axis=0) for part in parts)


def observer_of(recorder: Recorder | None) -> Observer:
    """What is measured of a chain: z in bins, sums of scalars, or that it is there."""
    if isinstance(recorder, Bins):
        return Observer(
            lambda state: WindowDraw(jnp.prod(state.position), jnp.asarray(True)),
            window_histogram(recorder.edges),
            lambda draw: {"z": draw.value},
        )
    if isinstance(recorder, Moments):
        return Observer(lambda state: recorder.scalars(state.position), _sums(recorder), lambda draw: {})
    return Observer(lambda state: jnp.zeros(()), count(), lambda draw: {})


def _sums(recorder: Moments) -> Accumulator:
    add: Callable[[Any, Any], Any] = lambda a, b: jax.tree.map(jnp.add, a, b)  # noqa: E731
    zeros = {name: jnp.zeros(()) for name in recorder.names}
    return Accumulator(
        init=lambda: Sums(jnp.zeros((), jnp.int64), zeros, zeros),
        update=lambda sums, draw: add(sums, Sums(jnp.int64(1), draw, jax.tree.map(jnp.square, draw))),
        merge=add,
        finalize=lambda sums: sums,
    )
