"""Time until uv's histogram is within a total-variation distance of the exact law, burn-in included.

Every peer has the same starts, the same time of burn-in t = nh, the same time between records, and is looked at equally
often; what counts is the wall time of the first look at which the distance is small enough. A scheme of order 1 has a
bias of its own at the step that one of order 2 takes: it may halve its step until it arrives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from langevin_ib.dynamics.increments import FOUR_POINT, NORMAL
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.records import Schedule
from langevin_ib.session import Session
from sims.bench.peers import catalogue
from sims.bench.peers.base import Absent, Chains, Job, Peer, job
from sims.bench.peers.ours import observer_of, timed
from sims.bench.peers.timing import WINDOW, fastest, law_of
from sims.bench.sections.table import Scale, Table, spread

TARGET, TARGET_QUICK = 0.003, 0.01
CHAINS = 4096
BURN_IN, BETWEEN = 25.0, 0.06  # t of the burn-in, and between records
LOOK = 50  # records between looks
EXPECTED = 60.0  # t after burn-in by which the noise of 4096 chains is at 0.003; it goes as the inverse square
PATIENCE = 1.7  # times that
HALVINGS = 3


class Reached(NamedTuple):
    """Seconds until the target, infinite where the cap came first; the distance and t at the end."""

    seconds: float
    distance: float
    time: float


def time_to_law(scale: Scale) -> Iterator[Table]:
    """A row for each peer, at the largest step by which it arrives."""
    target = TARGET_QUICK if scale.quick else TARGET
    columns = "peer", "seconds", "[least, most]", "step / h", "t", "ours is faster by", "form"
    table = Table(f"Seconds to TV ≤ {target} on uv, {CHAINS} chains, burn-in of t = {BURN_IN:g} included", columns)
    first: float | None = None
    for name, peer in catalogue.candidates().items():
        if not scale.wants(name) or (peer.uv_only and jax.default_backend() != "cpu"):
            continue
        try:
            form, halved, runs = _best(name, peer, target, 1 if scale.quick else scale.repeats)
        except Absent as absent:
            table.notes.append(f"{name}: {absent}")
            continue
        seconds = spread([run.seconds for run in runs])
        first = seconds.median if first is None else first
        if not np.isfinite(seconds.median):
            table.notes.append(f"{name}: not reached; TV {runs[0].distance:.4f} at t = {runs[0].time:.0f}, {form}")
            continue
        ends = f"[{seconds.low:.3g}, {seconds.high:.3g}]"
        t = float(np.median([run.time for run in runs]))
        table.rows.append((name, seconds.median, ends, f"1/{2**halved}", t, seconds.median / first, form))
    yield table


def _best(name: str, peer: Peer, target: float, repeats: int) -> tuple[str, int, list[Reached]]:
    """The first step of h, h/2, … by which the peer arrives, and then as often as is asked for."""
    halved, last = 0, HALVINGS if peer.order == 1 else 0
    while True:
        here = dataclasses.replace(job("uv"), step_size=job("uv").step_size / 2**halved)
        form, run = _runner(name, peer, here)
        reached = run(0, target)
        if np.isfinite(reached.seconds) or halved == last:
            return form, halved, [reached, *(run(seed, target) for seed in range(1, repeats))]
        halved += 1


def _runner(name: str, peer: Peer, here: Job) -> tuple[str, Callable[[int, float], Reached]]:
    increments: Mapping[str, str] = {catalogue.OURS: FOUR_POINT, catalogue.OURS_NORMAL: NORMAL}
    if name in increments:
        return "runner", lambda seed, target: _ours(here, increments[name], seed, target)
    one = fastest(peer, here, CHAINS, 0.4)
    return one.form, lambda seed, target: _looked_at(one.build(here, CHAINS, seed, WINDOW), here, target)


def _steps(here: Job) -> tuple[int, int]:
    """Steps of burn-in, and between records."""
    return round(BURN_IN / here.step_size), round(BETWEEN / here.step_size)


def _looks(target: float) -> int:
    return int(np.ceil(PATIENCE * EXPECTED * (TARGET / target) ** 2 / (BETWEEN * LOOK)))


def _looked_at(chains: Chains, here: Job, target: float) -> Reached:
    """A peer's chains, moved on from look to look."""
    burn_in, thin = _steps(here)
    law, distance = law_of(here), 1.0
    seconds = chains.run(1, burn_in)
    before = np.array(chains.recorded())  # the draw at the end of the burn-in is none
    for look in range(1, _looks(target) + 1):
        seconds += chains.run(LOOK, thin)
        distance = _distance(np.asarray(chains.recorded()) - before, law)
        if distance <= target:
            return Reached(seconds, distance, here.step_size * (burn_in + look * LOOK * thin))
    return Reached(float("inf"), distance, here.step_size * (burn_in + _looks(target) * LOOK * thin))


def _ours(here: Job, increments: str, seed: int, target: float) -> Reached:
    """The package's own: one run, whose stretches are the looks."""
    burn_in, thin = _steps(here)
    looks = _looks(target)
    ends = tuple(LOOK * (i + 1) for i in range(looks))
    with Session().open():
        starts = here.starts(CHAINS, seed)
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        size = {"temperature": here.temperature, "step_size": here.step_size}
        kernel = leimkuhler_matthews(here.potential, like, **size).on(increments)
        done = timed(kernel, here, starts, observer_of(WINDOW), Schedule(burn_in, thin, ends[-1], ends), seed)
    counts = np.cumsum([np.asarray(part.counts).sum(axis=0) for part in done.result.segments], axis=0)
    law, clock = law_of(here), dict(done.ends)
    distances = [_distance(counted, law) for counted in counts]
    arrived = next((i for i, distance in enumerate(distances) if distance <= target), None)
    last = looks - 1 if arrived is None else arrived
    steps = burn_in + ends[last] * thin
    return Reached(float("inf") if arrived is None else clock[steps], distances[last], here.step_size * steps)


def _distance(counts: np.ndarray, law: np.ndarray) -> float:
    return float(0.5 * np.abs(counts / counts.sum() - law).sum())
