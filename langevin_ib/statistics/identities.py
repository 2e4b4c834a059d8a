"""Exact identities of a step: sums of E[φ(θ′) | state] − φ(θ) over the draws of each chain, from host arrays alone.

A stationary chain has mean zero at any step size. One that is not has it once the change of φ is taken off,
Σ_n (E[φ(θ_{n+1}) | θ_n] − φ(θ_n)) = φ(end) − φ(start) + a martingale. That is exact where every step has its gap. Where
draws with a gap lie several steps apart, those between are estimated by the trapezoidal rule: a run that has not
settled may show here too, and about a draw of the past the rule is off in the first memory of a chain after it, by
less than a standard error up to some 10⁵ chains. Identities of an adjusted kernel hold in the stationary law only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int

from langevin_ib.statistics.records import Absent, Doubt

ERRORS = 5.0  # standard errors of a normal mean, whose two-sided level is that of a doubt
ROUNDING = 8.0  # of a φ in a step, in units of the least difference of numbers
LEVEL = float(2.0 * scipy.stats.norm.sf(ERRORS))


class About(NamedTuple):
    """An identity by its name, and what it tests, in a phrase.

    Attributes:
        name, tests: these.
        charges: how many χ its φ has as factors, whose rounding is that of |θ|²/2, the first φ.
    """

    name: str
    tests: str
    charges: int = 0


class GapSums(NamedTuple):
    """Of each chain: terms, Σ of the gaps E[φ(θ′) | state] − φ(θ) less the changes of φ a step, and φ at the end."""

    n: Int[np.ndarray, " chain"]
    total: Float[np.ndarray, "chain k"]
    value: Float[np.ndarray, "chain k"]


class Gaps(NamedTuple):
    """What an ensemble left for its identities.

    Attributes:
        tested: names, in the order of the last axis of the sums.
        sums: of each chain; None where nothing is tested.
        absent: identities that there are none of, and why.
        epsilon: the least difference of numbers of the chains' precision, relative.
    """

    tested: tuple[About, ...]
    sums: GapSums | None
    absent: tuple[Absent, ...] = ()
    epsilon: float = float(np.finfo(np.float32).eps)


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


def identities_of(gaps: Gaps | None) -> tuple[Identity | Absent, ...]:
    """Each identity tested, and each that could not be.

    One without scatter between chains tests nothing.
    """
    if gaps is None:
        return (Absent("identities", "unchecked: this process names none"),)
    results: list[Identity | Absent] = []
    if gaps.sums is not None and np.min(gaps.sums.n) < 1:
        results.append(Absent("identities", "there are too few draws to follow a chain along"))
    elif gaps.sums is not None:
        terms = np.asarray(gaps.sums.n, float)
        means = np.asarray(gaps.sums.total) / terms[:, None]
        sizes = np.abs(gaps.sums.value).mean(axis=0)
        scales = np.array([_scale(about, size, sizes[0]) for about, size in zip(gaps.tested, sizes, strict=True)])
        rounding = ROUNDING * gaps.epsilon * scales / np.sqrt(terms.sum())
        for i, tested in enumerate(gaps.tested):
            mean, se = float(means[:, i].mean()), float(scipy.stats.sem(means[:, i]))
            if not (np.isfinite(mean) and se > rounding[i]):
                results.append(
                    Absent(
                        tested.name, _untold(tested, sizes[i], sizes[0], gaps.epsilon, finite=bool(np.isfinite(mean)))
                    )
                )
                continue
            errors = mean / se
            p_value = float(2.0 * scipy.stats.t.sf(abs(errors), len(means) - 1))
            results.append(Identity(tested.name, tested.tests, mean, se, errors, p_value))
    return (*results, *gaps.absent)


def _untold(about: About, size: float, square: float, epsilon: float, *, finite: bool) -> str:
    """Why an identity tests nothing: of a χ that is nothing but rounding, that; noise across orbits leaves it there."""
    if not finite:
        return "its sums are not finite"
    rounding = ROUNDING * epsilon * max(square, float(np.finfo(float).tiny))
    if about.charges and size ** (1.0 / about.charges) <= rounding:
        return "χ is 0 to rounding where the chains end, so that it has nothing to test"
    if about.charges:
        return "the noise of a step moves χ by no more than rounding, so that it has nothing to test"
    return "its sums do not scatter between chains beyond rounding"


def _scale(about: About, size: float, square: float) -> float:
    """Of what is rounded in a φ: of a χ that is next to zero, the |θ|²/2 whose parts cancel in it."""
    return max(size, (0.0, square, float(np.sqrt(2.0 * size)) * square)[about.charges])


def identity_doubts(results: Sequence[Identity | Absent], whose: str = "", *, stationary: bool = False) -> list[Doubt]:
    """Identities further off than five standard errors of a normal mean, Bonferroni over those tested.

    Args:
        results: of one ensemble.
        whose: the ensemble in words, behind the identity's name; empty for the run's own chains.
        stationary: whether they are those of a stationary law, which say nothing of steps.
    """
    claim = (
        "the draws are not of the law that the settings name"
        if stationary
        else "the chains do not take the steps that the settings name"
    )
    tested = [result for result in results if isinstance(result, Identity)]
    doubts = []
    for result in tested:
        level = LEVEL / len(tested)
        if result.p_value < level:
            text = (
                f"the identity {result.name}{whose} is {result.errors:+.1f} standard errors off zero (p = "
                f"{result.p_value:.1g}): {claim} ({result.tests})"
            )
            doubts.append(Doubt("identity", text, result.p_value, level))
    return doubts
