"""Exact identities of a step: sums of E[φ(θ′) | state] − φ(θ) over the draws of each chain, from host arrays alone.

A stationary chain has mean zero at any step size. One that is not has it once the change of φ is taken off,
Σ_n (E[φ(θ_{n+1}) | θ_n] − φ(θ_n)) = φ(end) − φ(start) + a martingale, so that neither settling nor drift shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int

from langevin_ib.statistics.records import Absent, Doubt

ERRORS = 5.0  # standard errors of a normal mean, whose two-sided level is that of a doubt
FEWEST = 3  # draws of a chain between whose ends a change is taken off
LEVEL = float(2.0 * scipy.stats.norm.sf(ERRORS))


class About(NamedTuple):
    """An identity by its name, and what it tests, in a phrase."""

    name: str
    tests: str


class GapSums(NamedTuple):
    """Of each chain: draws, Σ of the gaps E[φ(θ′) | state] − φ(θ), gap and φ at the first and the last draw."""

    n: Int[np.ndarray, " chain"]
    total: Float[np.ndarray, "chain k"]
    first: Float[np.ndarray, "chain two k"]
    last: Float[np.ndarray, "chain two k"]


class Gaps(NamedTuple):
    """What an ensemble left for its identities.

    Attributes:
        tested: names, in the order of the last axis of the sums.
        sums: of each chain; None where nothing is tested.
        thin: steps from one draw to the next, for the change of φ that is taken off; 0 where the mean is zero by
            itself.
        absent: identities that there are none of, and why.
    """

    tested: tuple[About, ...]
    sums: GapSums | None
    thin: int
    absent: tuple[Absent, ...] = ()


class Identity(NamedTuple):
    """One identity, over all chains.

    Attributes:
        name, tests: what it is.
        mean, se: change of φ in a step beyond the chains' own, and its standard error from the scatter of chains.
        errors: mean over se.
        p_value: of zero, two-sided by a t-test with one degree of freedom less than chains.
    """

    name: str
    tests: str
    mean: float
    se: float
    errors: float
    p_value: float


def chain_means(sums: GapSums, thin: int) -> Float[np.ndarray, "chain k"]:
    """Mean gap of each chain, less its change of φ a step.

    The sum over all steps from the first draw to the last is estimated from the draws, every `thin` steps: by all but
    the last for each step (then nothing is estimated), else by the trapezoidal rule.
    """
    n = np.asarray(sums.n, float)[:, None]
    if not thin:
        return np.asarray(sums.total) / n
    (gap, value), (last_gap, last_value) = np.moveaxis(sums.first, 1, 0), np.moveaxis(sums.last, 1, 0)
    ends = last_gap if thin == 1 else 0.5 * (gap + last_gap)
    return (sums.total - ends - (last_value - value) / thin) / (n - 1.0)


def identities_of(gaps: Gaps | None) -> tuple[Identity | Absent, ...]:
    """Each identity tested, and each that could not be.

    One without scatter between chains tests nothing.
    """
    if gaps is None:
        return (Absent("identities", "unchecked: this process names none"),)
    results: list[Identity | Absent] = []
    if gaps.sums is not None and np.min(gaps.sums.n) < FEWEST:
        results.append(Absent("identities", f"a chain has fewer than {FEWEST} draws"))
    elif gaps.sums is not None:
        means = chain_means(gaps.sums, gaps.thin)
        sizes = np.abs(np.asarray(gaps.sums.last)[:, 1]).mean(axis=0)
        for i, tested in enumerate(gaps.tested):
            mean, se = float(means[:, i].mean()), float(scipy.stats.sem(means[:, i]))
            if not (np.isfinite(mean) and se > 1e-14 * sizes[i]):
                results.append(Absent(tested.name, "its sums do not scatter between chains, or are not finite"))
                continue
            errors = mean / se
            p_value = float(2.0 * scipy.stats.t.sf(abs(errors), len(means) - 1))
            results.append(Identity(*tested, mean, se, errors, p_value))
    return (*results, *gaps.absent)


def identity_doubts(results: Sequence[Identity | Absent], whose: str = "") -> list[Doubt]:
    """Identities further off than five standard errors of a normal mean, Bonferroni over those tested.

    Args:
        results: of one ensemble.
        whose: the ensemble in words, behind the identity's name; empty for the run's own chains.
    """
    tested = [result for result in results if isinstance(result, Identity)]
    doubts = []
    for result in tested:
        level = LEVEL / len(tested)
        if result.p_value < level:
            text = (
                f"the identity {result.name}{whose} is {result.errors:+.1f} standard errors off zero (p = "
                f"{result.p_value:.1g}): the chains do not take the steps that the settings name ({result.tests})"
            )
            doubts.append(Doubt("identity", text, result.p_value, level))
    return doubts
