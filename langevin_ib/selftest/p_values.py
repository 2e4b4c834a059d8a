"""Levels and power of the p-values, on autocorrelated chains whose law is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.signal import lfilter

from langevin_ib.selftest.outcome import RARE, Outcome
from langevin_ib.session import Session
from langevin_ib.statistics import compare

SEED = 18
REPLICATES = 400
CHAINS, DRAWS, BINS = 160, 40, 10
CORRELATION = 0.8  # of neighbouring draws
LEVEL = 0.05
DISTANCE, LEAST_POWER = 0.1, 0.9  # total variation of a wrong law, and how often it has to be rejected

Counts = Int[np.ndarray, "chain bins"]
Sampled = Callable[[Float[np.ndarray, " bins"]], Counts]


def check_levels(session: Session) -> Iterator[Outcome]:
    """Of each test the share of p-values below 0.05 where what it tests is true."""
    del session
    tests: dict[str, Callable[[np.ndarray, Sampled], float | None]] = {
        "a law": lambda mass, draw: compare.p_value_of_law(draw(mass), mass),
        "two ensembles": lambda mass, draw: compare.p_value_of_samples(
            compare.histogram_of(draw(mass)), compare.histogram_of(draw(mass))
        ),
        "a share": lambda mass, draw: _p_of_first_half(draw(mass), mass),
    }
    low, high = stats.binom.ppf([RARE / 2, 1 - RARE / 2], REPLICATES, LEVEL) / REPLICATES
    for name, test in tests.items():
        share = _rejected(test, law())
        yield Outcome(f"level, {name}", share, low, high, f"share of p < {LEVEL} of {REPLICATES} ensembles of the law")


def check_power(session: Session) -> Iterator[Outcome]:
    """How often a wrong law at a stated distance is rejected."""
    del session
    mass = law()
    tilt = mass * (np.arange(BINS) - mass @ np.arange(BINS))
    wrong = mass + DISTANCE * tilt / (0.5 * np.abs(tilt).sum())
    share = _rejected(lambda right, draw: compare.p_value_of_law(draw(right), wrong), mass)
    what = f"share of p < {LEVEL} against a law {DISTANCE} away in total variation"
    yield Outcome("power, a law", share, LEAST_POWER, 1.0, what)


def law() -> Float[np.ndarray, " bins"]:
    """A normal law in its window."""
    mass = np.diff(stats.norm.cdf(np.linspace(-2.0, 2.0, BINS + 1)))
    return mass / mass.sum()


def stationary_counts(rng: np.random.Generator, mass: Float[np.ndarray, " bins"]) -> Counts:
    """Bin counts of stationary chains, an AR(1) process cut at the quantiles of `mass`, which is their law exactly."""
    kick = np.sqrt(1.0 - CORRELATION**2)
    noise = rng.standard_normal((CHAINS, DRAWS))
    noise[:, 0] /= kick  # the first draw is of the stationary law too
    places = np.searchsorted(stats.norm.ppf(np.cumsum(mass)[:-1]), lfilter([kick], [1.0, -CORRELATION], noise))
    own = mass.size * np.arange(CHAINS)[:, None]  # cells of each chain
    return np.bincount((own + places).ravel(), minlength=CHAINS * mass.size).reshape(CHAINS, mass.size)


def _rejected(test: Callable[[np.ndarray, Sampled], float | None], mass: Float[np.ndarray, " bins"]) -> float:
    """Share of replicates; one without a p-value is not rejected."""
    rng = np.random.default_rng(SEED)
    p_values = [test(mass, lambda right: stationary_counts(rng, right)) for _ in range(REPLICATES)]
    return float(np.mean([p is not None and p < LEVEL for p in p_values]))


def _p_of_first_half(counts: Counts, mass: Float[np.ndarray, " bins"]) -> float | None:
    half = BINS // 2
    return compare.p_value_of_share(counts[:, :half].sum(axis=1), counts.sum(axis=1), float(mass[:half].sum()))
