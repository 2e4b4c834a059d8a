"""Whether the draws of a law reach what the chains reach: masses near the edges, and shares of the windows.

R-hat, ESS and a second sampler of the same kind do not see a place that no chain of the law has come to, nor do bins
inside a window that those draws have set. The chains of the run, and MALA on the full space, get there on other ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from langevin_ib.statistics import compare
from langevin_ib.statistics.convergence import DRIFT_LEVEL, ensemble_ess
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.sample import Sample

if TYPE_CHECKING:
    from langevin_ib.runs.predictions import SampledPredictions

TAIL = 1e-3  # mass of the law in each of the tails that are looked at
# How many times as much mass in a tail counts as a hole in the other's draws. A law that is only the limit of what the
# protocol obeys may be further off for reasons of its own: held against it is what it does not reach at all.
EXACT_FACTOR, LIMIT_FACTOR = 2.0, 20.0


class Share(NamedTuple):
    """A share of draws and its variance, from the scatter of chains."""

    value: float
    variance: float
    chains: int


class Tail(NamedTuple):
    """The mass beyond a quantile of the law, in its draws and in others, and what speaks for a hole in either.

    Attributes:
        side: `below` or `above`.
        edge: the law's quantile.
        law, other: shares of its draws, and of the others, beyond the edge.
        law_misses, other_misses: p-values of "the one has at most `factor` times as much there as the other".
    """

    side: str
    edge: float
    law: Share
    other: Share
    law_misses: float
    other_misses: float


def share(weight: Float[np.ndarray, "chain draw"], inside: Bool[np.ndarray, "chain draw"]) -> Share:
    """Σ w 1[inside] / Σ w with its variance from the scatter of chains."""
    return _share((weight * inside).sum(axis=1), weight.sum(axis=1))


def _share(part: Float[np.ndarray, " chain"], whole: Float[np.ndarray, " chain"]) -> Share:
    split = compare.histogram_of(np.stack([part, whole - part], axis=1))
    return Share(float(split.mass[0]), float(split.covariance[0, 0]), int(np.count_nonzero(whole)))


def exceeds(more: Share, less: Share, factor: float, ess: float) -> float:
    """One-sided p-value of "`more` is at most `factor` times `less`".

    Chains that never came to a place have no scatter there: of a share that the hypothesis puts at `more`/`factor`, an
    ensemble worth `ess` draws has at least the variance of that many independent ones.
    """
    variance = max(less.variance, more.value / factor / ess)
    t = (more.value - factor * less.value) / np.sqrt(more.variance + factor**2 * variance + 1e-300)
    return float(scipy.stats.t.sf(t, min(more.chains, less.chains) - 1))


def tails(
    law: Float[np.ndarray, "c1 d1"],
    law_weight: Float[np.ndarray, "c1 d1"],
    other: Float[np.ndarray, "c2 d2"],
    counts: Bool[np.ndarray, "c2 d2"],
    *,
    factor: float,
    law_ess: float,
    other_ess: float,
) -> list[Tail]:
    """The two tails of one scalar beyond the law's quantiles of 0.1% and 99.9%."""
    order = np.argsort(law, axis=None)
    mass = np.cumsum(law_weight.ravel()[order])
    both = []
    for side, level in (("below", TAIL), ("above", 1.0 - TAIL)):
        place = min(int(np.searchsorted(mass, level * mass[-1])), mass.size - 1)
        edge = float(law.ravel()[order[place]])
        beyond = np.less if side == "below" else np.greater
        mine, theirs = share(law_weight, beyond(law, edge)), share(counts * 1.0, beyond(other, edge))
        both.append(
            Tail(
                side, edge, mine, theirs,
                exceeds(theirs, mine, factor, law_ess), exceeds(mine, theirs, factor, other_ess),
            )
        )  # fmt: skip
    return both


def coverage_doubts(predictions: SampledPredictions | None, sample: Sample, reference: Sample | None) -> list[Doubt]:
    """Reasons to think that the law's draws, or the run's chains, do not reach where the others are.

    Held against the chains is the law `exact` where there is one. Else the protocol obeys none of the laws exactly, and
    what counts is a tail of which the sampled law has next to nothing. All tests together err in 1e-4 of runs.
    """
    if predictions is None:
        return []  # a quadrature leaves no place out
    exact = predictions.own is not None
    name = predictions.own or predictions.draws.formula.name
    weight = predictions.weight(name)
    ensembles = [("the run", sample)] + ([] if reference is None else [("the reference MALA", reference)])
    level = DRIFT_LEVEL / (6 * len(ensembles) * len(sample.scalars))
    doubts = []
    for who, drawn in ensembles:
        if not np.any(drawn.trace["counts"]):
            text = f"no traced draw of {who} lies in the windows, so that nothing is known of what it reaches"
            doubts.append(Doubt("coverage", text))
            continue
        for scalar in drawn.scalars:
            # Of the chains, or batches of them, that are traced, which the tails are looked at in.
            traced = drawn.rows_of(scalar).shape[0] / drawn.value_moments(scalar)[0].size
            ess = max(ensemble_ess(*drawn.value_moments(scalar)) * min(traced, 1.0), 1.0)
            both = tails(
                predictions.draws.scalars[scalar], weight, drawn.rows_of(scalar),
                np.asarray(drawn.trace["counts"]), factor=EXACT_FACTOR if exact else LIMIT_FACTOR,
                law_ess=predictions.draws.ess, other_ess=ess,
            )  # fmt: skip
            for tail in both:
                what = f"{scalar} {'<' if tail.side == 'below' else '>'} {tail.edge:.3g}"
                if tail.law_misses < level:
                    text = (
                        f"the draws of the law {name} have {tail.law.value:.2%} of their mass at {what}, {who} "
                        f"{tail.other.value:.2%}"
                    )
                    cure = ": the law's sampler does not reach there"
                    doubts.append(Doubt("coverage", text + cure, tail.law_misses, level, cure))
                # MALA sticks in tails, and is no measure of what the law may have there.
                elif exact and drawn is sample and tail.other_misses < level:
                    text = (
                        f"the run has {tail.other.value:.2%} of its draws at {what}, the law {name} "
                        f"{tail.law.value:.2%}"
                    )
                    cure = ": the chains do not reach there; raise burn_in or steps"
                    doubts.append(Doubt("coverage", text + cure, tail.other_misses, level, cure))
            if exact and scalar not in predictions.cut:
                doubts += _window_doubts(predictions, name, drawn, scalar, who, level)
    return doubts


def _window_doubts(
    predictions: SampledPredictions, name: str, drawn: Sample, scalar: str, who: str, level: float
) -> list[Doubt]:
    """The share of a window that no law is conditioned on, within the margin."""
    edges, values = predictions.edges[scalar], predictions.draws.scalars[scalar]
    law = share(predictions.weight(name), (values >= edges[0]) & (values < edges[-1]))
    sums = drawn.window(scalar)
    own = _share(np.asarray(sums.counts).sum(axis=-1) * 1.0, np.asarray(sums.total) * 1.0)
    gap, se = abs(law.value - own.value), np.sqrt(law.variance + own.variance)
    if not gap - float(scipy.stats.norm.isf(level)) * se > predictions.margin:
        return []
    text = (
        f"{scalar} in [{edges[0]:g}, {edges[-1]:g}] holds {law.value:.2%} of the law {name}, {own.value:.2%} of {who}"
    )
    cure = ": one of them does not reach all that the other does"
    return [Doubt("coverage", text + cure, gap, predictions.margin, cure)]
