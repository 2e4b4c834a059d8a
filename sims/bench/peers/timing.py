"""Rates of peers from interleaved rounds, and whether each samples what it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from langevin_ib.laws import bin_masses
from langevin_ib.laws.pair import stiff_law
from sims.bench.peers.base import Absent, Bins, Build, Chains, Job, Peer

THIN = 50  # steps between records, where they are observed and bounds are checked
WINDOW = Bins(0.2265, 0.0509625, 40)
LEVEL = 1e-4  # false-positive rate of a check, of each peer
CHECK_TIME = 8.0  # units of t = nh, several relaxation times of z
CHECK_CHAINS, CHECK_CHAINS_SLOW, CHECK_CHAINS_MODEL = 8192, 2048, 512
CHECK_STEPS_MODEL = 600
WEAK_BIAS = 0.03  # of the mean potential, between a scheme of order 1 and one of order 2 at the same step


class Chosen(NamedTuple):
    """A peer in its fastest form, its chains and about how many steps of one chain it takes in a second."""

    form: str
    build: Build
    chains: Chains
    pace: float


def fastest(peer: Peer, job: Job, chains: int, seconds: float) -> Chosen:
    """Each form on a short run; the fastest.

    Raises:
        Absent: none can be built here.
    """
    best, why = None, Absent("no form of it")
    for name, build in peer.forms.items():
        try:
            here = build(job, chains, 0, None)
            pace = _pace(here, seconds / 4)
        except Absent as absent:
            why = absent
            continue
        if best is None or pace > best.pace:
            best = Chosen(name, build, here, pace)
    if best is None:
        raise why
    return best


def _pace(chains: Chains, seconds: float) -> float:
    """Steps of each chain in a second, from longer and longer runs."""
    records, thin = 1, 2
    while True:
        taken = chains.run(records, thin)
        if taken > 0.3 * seconds:
            return records * thin / taken
        steps = records * thin * min(30.0, max(2.0, seconds / max(taken, 1e-9)))
        records, thin = (max(1, round(steps / THIN)), THIN) if steps > THIN else (1, round(steps))


def interleaved(chosen: Mapping[str, Chosen], chains: int, seconds: float, repeats: int) -> dict[str, list[float]]:
    """Million chain-steps per second of each in every round, one after the other within a round."""
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(repeats):
        for name, one in chosen.items():
            thin = THIN if one.pace * seconds > THIN else max(1, round(one.pace * seconds))
            records = max(1, round(one.pace * seconds / thin))
            rates[name].append(chains * records * thin / one.chains.run(records, thin) / 1e6)
    return rates


def ratios(rates: Mapping[str, Sequence[float]], to: str) -> dict[str, list[float]]:
    """By how much `to` is faster than each, round by round."""
    return {name: [a / b for a, b in zip(rates[to], own, strict=True)] for name, own in rates.items()}


def law_of(job: Job) -> np.ndarray:
    """Bin masses of z = uv under the exact law at κ, in the window."""
    return bin_masses(stiff_law(1, 1, lambda s: 0.5 * (s - 1.0) ** 2, job.temperature, job.kappa), WINDOW.edges)


def check_uv(peer: Peer, build: Build, job: Job) -> float:
    """The p-value of z, one draw of each chain, against the exact law: Pearson's χ², for chains are independent."""
    chains = build(job, CHECK_CHAINS_SLOW if peer.slow else CHECK_CHAINS, 7, None)
    records = 7
    chains.run(records, round(CHECK_TIME / job.step_size / records))
    z = np.prod(np.asarray(chains.positions(), np.float64), axis=-1)
    counts = np.histogram(z, WINDOW.edges)[0]
    return float(stats.chisquare(*_merged(counts, counts.sum() * law_of(job))).pvalue)


def _merged(counts: np.ndarray, expected: np.ndarray, least: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring bins joined until each expects so many."""
    begins, gathered = [0], 0.0
    for i, here in enumerate(expected):
        if gathered >= least and expected[i:].sum() >= least:
            begins.append(i)
            gathered = 0.0
        gathered += here
    return np.add.reduceat(counts, begins), np.add.reduceat(expected, begins)


def check_model(peer: Peer, build: Build, job: Job, reference: np.ndarray) -> float:
    """The p-value of equal means of V after the same steps from the same starts, by pairs of chains."""
    difference = potentials(build, job) - reference
    if not difference.any():  # the loop that the reference is from
        return 1.0
    error = difference.std(ddof=1) / len(difference) ** 0.5
    allowed = WEAK_BIAS * abs(reference.mean()) if peer.order == 1 else 0.0
    return float(2.0 * stats.norm.sf(max(0.0, abs(difference.mean()) - allowed) / error))


def potentials(build: Build, job: Job) -> np.ndarray:
    """V of each chain after some steps from the job's starts."""
    chains = build(job, CHECK_CHAINS_MODEL, 7, None)
    chains.run(6, CHECK_STEPS_MODEL // 6)
    return np.asarray(jax.jit(jax.vmap(job.potential))(chains.positions()), np.float64)
