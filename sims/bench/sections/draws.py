"""Effective draws per second of the invariants, beside MALA's and NUTS's.

The package's own kernel runs at hΛ = 1/2, Λ the largest curvature of V at its chains, as runs take it by rule. MALA's
step and NUTS's step and mass are tuned before. All chains start where a run of the package's has brought them, and the
effective number of draws is that of `statistics.convergence.ensemble_ess`, from the scatter of the chains' means: the
least of all scalars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from langevin_ib.models import Chart
from langevin_ib.plain import Json
from langevin_ib.statistics.convergence import ensemble_ess
from sims.bench.peers import catalogue
from sims.bench.peers.base import Build, Job, Moments, Sums, job
from sims.bench.peers.loops import forms
from sims.bench.peers.nuts import steepest, tuned_mala, tuned_nuts
from sims.bench.peers.timing import fastest
from sims.bench.sections.table import Scale, Table

MODELS: Mapping[str, tuple[str, Mapping[str, Json]]] = {
    "uv": ("uv", {}),
    "hadamard, 64 coordinates": ("hadamard", {"dim": 64}),
    "matrix, 3 × 3, rank 2": ("matrix", {}),
}
STABILITY = 0.5
CHAINS, CURVED = 256, 64
SETTLED = 10.0  # t before anything counts
THIN = 20, 5, 1  # steps between records: of ours, MALA, NUTS
RECORDS = 10  # at least
# Effective draws of a chain until the scatter of means is that of long chains: the starts alone count as one.
ENOUGH = 8.0
LONGEST, LONGEST_QUICK = 60.0, 15.0  # seconds after which fewer have to do, which is said


class Sampler(NamedTuple):
    """A name, how it is built, steps between its records."""

    name: str
    build: Build
    thin: int
    pace: float


def effective_draws(scale: Scale) -> Iterator[Table]:
    """A table for each model."""
    for label, (name, options) in MODELS.items():
        here, positions = _settled(job(name, options, label))
        chart = Chart(here.model)
        moments = Moments(chart.scalars_of, chart.scalar_names)
        columns = "sampler", "effective draws/s", "draws/s", "seconds", "ours is faster by"
        table = Table(f"{label}: {CHAINS} chains, hΛ = {STABILITY:g}, h = {here.step_size:.3g}", columns)
        first: float | None = None
        for sampler in _samplers(here):
            seconds, sums = _drawn(sampler, dataclasses.replace(here, given=positions), moments, scale)
            effective = _least_ess(sums)
            rate = effective / seconds
            if effective < ENOUGH * CHAINS:
                few = f"only {effective / CHAINS:.1f} effective draws a chain, of which its start is one"
                table.notes.append(f"{sampler.name}: {few}")
            first = first or rate
            draws = float(np.asarray(sums.n).sum())
            table.rows.append((sampler.name, rate, draws / seconds, seconds, first / rate))
        yield table


def _settled(here: Job) -> tuple[Job, Any]:
    """Chains that a small step has brought to where the law has its mass; the step by rule there."""
    small = dataclasses.replace(here, step_size=min(here.step_size, 2e-4))
    loop = catalogue.peers()[catalogue.JAX_LOOP].forms[catalogue.ONE_THREAD]
    chains = loop(small, CURVED, 5, None)
    chains.run(1, round(SETTLED / small.step_size))
    ruled = dataclasses.replace(here, step_size=STABILITY / steepest(here, chains.positions()))
    many = loop(ruled, CHAINS, 6, None)
    many.run(1, round(SETTLED / ruled.step_size))
    return ruled, many.positions()


def _samplers(here: Job) -> Iterator[Sampler]:
    own, mala, nuts = THIN
    for name in (catalogue.OURS, catalogue.OURS_NORMAL):
        one = fastest(catalogue.peers()[name], here, CHAINS, 0.2)
        yield Sampler(name, one.build, own, one.pace)
    for name, thin, tuned in (("blackjax MALA", mala, tuned_mala), ("blackjax NUTS", nuts, tuned_nuts)):
        one = fastest(catalogue.Peer(name, forms("loop", tuned(here))), here, CHAINS, 0.2)
        yield Sampler(f"{name}, {one.form.removeprefix('loop, ')}", one.build, thin, one.pace)


def _drawn(sampler: Sampler, here: Job, moments: Moments, scale: Scale) -> tuple[float, Sums]:
    """Longer and longer, until every chain has enough effective draws: seconds, and sums of each chain."""
    chains, taken = sampler.build(here, CHAINS, 0, moments), 0.0
    records = max(RECORDS, round(sampler.pace * scale.seconds / sampler.thin))
    while True:
        taken += chains.run(records, sampler.thin)
        sums = chains.recorded()
        if _least_ess(sums) >= ENOUGH * CHAINS or taken > (LONGEST_QUICK if scale.quick else LONGEST):
            return taken, sums
        records *= 2


def _least_ess(sums: Sums) -> float:
    """The least effective number of draws of all scalars."""
    n = np.asarray(sums.n, np.float64)
    least = float("inf")
    for name, first in sums.first.items():
        means = np.asarray(first, np.float64) / n
        variance = float(np.mean(np.asarray(sums.second[name], np.float64) / n) - np.mean(means) ** 2)
        least = min(least, ensemble_ess(means, variance))
    return least
