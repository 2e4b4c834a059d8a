"""Whether a run did what its plan says: steps and draws are counted twice, chains are independent, errors are theirs.

None of it knows a law. Counts are compared exactly; each statistical check is wrong on a healthy run with probability
1e-6 at most. Its chains are the independent unit, and it is standard normal, or uniform, where nothing is wrong
(`tests/test_selfchecks.py`).
"""

from __future__ import annotations

import jax
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int, Num

from langevin_ib.dynamics.noise import kind_of
from langevin_ib.laws.candidates import KnownLaw
from langevin_ib.runs.plan import Plan
from langevin_ib.runs.process import Draws, Prepared
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.sample import Counted, Sample
from langevin_ib.statistics.weights import ratio

SELF_LEVEL = 1e-6  # false-positive rate of each statistical check
LEAST_CHAINS, GROUPS = 64, 16
LEAST_PAIRS, LEAST_ROWS = 16, 16
# A draw within rounding of an edge may fall on either side of it in sums and trace, which XLA computes apart.
ROUNDED_SHARE = 1e-3
# Relative, of a chain's sum: 1e-16 where both are made of the same numbers, 3e-9 where each of 400 draws of float32 was
# rounded twice; a sum that is itself of float32 is off by more.
ROUNDED_SUM = 1e-8
ERROR_FACTOR = 1.5  # of an error bar's variance to its jackknife, which agree up to one over the number of chains
CLOCK = 0.05  # of a correlation; two step sizes differ by less
EXACT = 1e-9
FAMILY_ACCURACY = 1e-3  # of the c of a law of the family that is integrated


def self_doubts(prepared: Prepared, draws: Draws) -> list[Doubt]:
    """What a run finds wrong with itself, before any law is looked at."""
    plan, main = prepared.plan, draws.main
    ensembles = {"": main} | {f" of {check.sampler} at h = {check.step_size:g}": check.sample for check in draws.checks}
    doubts = [*_settings(plan), *_laws(prepared), *_counts(plan, main)]
    for name, sample in ensembles.items():
        doubts += [*_starts(sample, name), *_traced(plan, sample, name), *_independence(sample, name)]
        doubts += _errors(sample, name)
    for check in draws.checks:
        if not check.reference:
            doubts += _clocks(main, check.sample)
    return doubts


def _settings(plan: Plan) -> list[Doubt]:
    """T and the metric, from the configuration once more."""
    config, doubts = plan.config, []
    if config.sampler == "langevin":
        wanted, used = float(config.sigma) ** 2 / float(config.beta), float(plan.reduction.temperature)
        if abs(used - wanted) > EXACT * wanted:
            doubts.append(Doubt("settings", f"the temperature is {used:.6g}, and σ²/β is {wanted:.6g}", used, wanted))
    if config.metric is not None:
        key = jax.random.key(0)
        plain, _ = ravel_pytree(config.build_model().init(key))
        white, _ = ravel_pytree(plan.reduction.model.init(key))
        used, wanted = float(white @ white), float(np.asarray(plain) ** 2 @ np.asarray(config.metric))
        if abs(used - wanted) > 1e-4 * wanted:
            text = f"of a start |φ|² is {used:.6g} and θᵀgθ {wanted:.6g}: the parameters are not those of the metric g"
            doubts.append(Doubt("settings", text, used, wanted))
    return doubts


def _laws(prepared: Prepared) -> list[Doubt]:
    """That the laws of the family, where they are integrated, have the c that they stand for."""
    doubts = []
    for law in prepared.candidates:
        wanted = law.about.c
        if wanted is None or not isinstance(law, KnownLaw):
            continue
        for masses in law.known.values():
            if masses.between is None and masses.c is not None and abs(masses.c - wanted) > FAMILY_ACCURACY:
                text = f"law {law.about.name} stands for c = {wanted:g}, and its own density has c = {masses.c:.3f}"
                doubts.append(Doubt("law", text, masses.c, wanted))
    return doubts


# ---- counts ----


def _counts(plan: Plan, sample: Sample) -> list[Doubt]:
    """Chains, steps, draws and their sums against the plan, each exactly."""
    schedule, whole = plan.schedule, sample.whole
    lengths = schedule.judged
    wrong: list[str] = []

    def hold(what: str, got: object, wanted: object) -> None:
        if not np.array_equal(np.asarray(got), np.asarray(wanted)):
            wrong.append(f"{what}, {_shortly(got)} for {_shortly(wanted)}")

    hold("chains", len(whole.value.n), plan.config.chains)
    if sample.engine.steps is not None:
        hold("steps of a chain", np.unique(sample.engine.steps), [schedule.steps])
    hold("draws of a chain", np.unique(whole.value.n), [schedule.records - schedule.shown])
    hold("stretches", len(sample.stretches), len(lengths))
    for stretch, length in zip(sample.stretches, lengths, strict=False):
        hold("draws of a stretch", np.unique(stretch.value.n), [length])
    for joint, parts in _merged(sample):
        for scalar, window in joint.windows.items():
            counts = sum(np.asarray(part.windows[scalar].counts) for part in parts)
            hold(f"draws of {scalar} in the bins, of all stretches together", np.sum(counts), window.counts.sum())
            if np.any(window.total > whole.value.n):
                wrong.append(f"more draws of {scalar} than there are")
    if not wrong:
        return []
    return [Doubt("counts", f"the run did not count what it planned: {'; '.join(dict.fromkeys(wrong))}")]


def _merged(sample: Sample) -> list[tuple[Counted, list[Counted]]]:
    """Sums over the whole run, and those of its stretches: on the slab, and at any χ where there is one."""
    counted = [(sample.whole.counted, [part.counted for part in sample.stretches])]
    if sample.whole.marginal is None:
        return counted
    return [
        *counted,
        (sample.whole.marginal, [part.marginal for part in sample.stretches if part.marginal is not None]),
    ]


def _shortly(value: object) -> str:
    array = np.asarray(value).reshape(-1)
    return " to ".join(f"{x:g}" for x in sorted({float(array.min()), float(array.max())})) if array.size else "none"


def _starts(sample: Sample, of: str) -> list[Doubt]:
    chains = len(sample.whole.value.n)
    if sample.engine.spread is not False or chains == 1:
        return []
    text = f"all {chains} chains{of} begin at one point, so that R-hat cannot tell whether they have settled"
    return [Doubt("starts", text)]


# ---- the trace beside the sums ----


def _traced(plan: Plan, sample: Sample, of: str) -> list[Doubt]:
    """The draws that are kept against what was summed up of the same chains."""
    if not {"value", "counts", "potential"} <= sample.trace.keys() or plan.drifting:
        return []
    kept = np.asarray(sample.trace["counts"], bool)
    chains, rows = kept.shape
    draws = np.asarray(sample.whole.value.n)[:chains]
    every = bool(np.all(draws == rows))
    doubts: list[Doubt] = []
    for i, scalar in enumerate(sample.scalars):
        values = np.asarray(sample.trace["value"])[..., i]
        summed = np.asarray(sample.window(scalar).counts)[:chains]
        own = np.stack([_binned(row[mask], plan.edges[scalar]) for row, mask in zip(values, kept, strict=True)])
        off = np.abs(summed - own).sum() if every else np.maximum(own - summed, 0).sum()
        if off > ROUNDED_SHARE * max(own.sum(), 1.0 / ROUNDED_SHARE):
            text = f"the histogram of {scalar}{of} is not that of the draws that are kept: {off} of {own.sum()} differ"
            doubts.append(Doubt("trace", text, float(off)))
        elif not every and not _has_epochs(plan):
            p_value = compare.p_value_of_drift(summed - own, own, float(draws[0] - rows) / rows)
            if p_value is not None and p_value < SELF_LEVEL:
                text = f"the histogram of {scalar}{of} is not that of the draws that are kept ({p_is(p_value)})"
                doubts.append(Doubt("trace", text, p_value, SELF_LEVEL))
        if every:
            mean = np.asarray(sample.whole.value.mean)[:chains, i]
            doubts += _sum_doubt(f"mean of {scalar}{of}", mean * rows, np.asarray(values, np.float64))
    if every:
        energy = np.where(kept, np.asarray(sample.trace["potential"], np.float64), 0.0)
        doubts += _sum_doubt(f"sum of (ℓ + C)/T{of}", np.asarray(sample.energy.total)[:chains], energy)
    return doubts


def _has_epochs(plan: Plan) -> bool:
    """Whether the noise remembers its steps: a trace may have the draws of one place of an epoch alone."""
    noise = plan.config.noise
    return noise is not None and kind_of(noise).init is not None and plan.config.replacement is not True


def _binned(values: Float[np.ndarray, " n"], edges: Float[np.ndarray, " edges"]) -> Int[np.ndarray, " bins"]:
    """Counts in [e_i, e_{i+1})."""
    places = np.searchsorted(edges, np.asarray(values, np.float64), side="right")
    return np.bincount(places, minlength=len(edges) + 1)[1 : len(edges)]


def _sum_doubt(what: str, summed: Float[np.ndarray, " chain"], draws: Float[np.ndarray, "chain draw"]) -> list[Doubt]:
    scale = np.sqrt(np.mean(np.abs(draws).sum(axis=1) ** 2))
    off = float(np.sqrt(np.mean((summed - draws.sum(axis=1)) ** 2)) / max(scale, 1e-300))
    if off <= ROUNDED_SUM:
        return []
    return [Doubt("trace", f"the {what} is not that of the draws, all of which are kept: off by {off:.1g}", off)]


# ---- chains ----


def _independence(sample: Sample, of: str) -> list[Doubt]:
    """That chains know nothing of each other: neighbours, groups of them, equal places in blocks, in time."""
    doubts: list[Doubt] = []
    for scalar in sample.scalars:
        means = sample.value_moments(scalar)[0]
        found = {
            "of neighbours": alike(means, 2, together=True),
            "that follow each other": alike(means, max(len(means) // GROUPS, 2), together=True),
            "at the same place in their blocks": alike(means, sample.engine.width, together=False),
        }
        for which, p_value in found.items():
            if p_value is not None and p_value < SELF_LEVEL:
                text = f"chains{of} {which} are alike in {scalar} ({p_is(p_value)}): they are not independent"
                doubts.append(Doubt("independence", text, p_value, SELF_LEVEL))
        p_value = in_step(sample.abreast(scalar))
        if p_value is not None and p_value < SELF_LEVEL:
            text = f"chains{of} move in {scalar} at the same times ({p_is(p_value)}): they are not independent"
            doubts.append(Doubt("independence", text, p_value, SELF_LEVEL))
    return doubts


def alike(means: Float[np.ndarray, " chain"], size: int, *, together: bool) -> float | None:
    """p-value of chains of a group being more alike than chains of different groups; None if there are too few.

    A one-sided analysis of variance of normal scores, which is right for any law of the means.

    Args:
        means: of each chain.
        size: of a group of chains that follow each other (`together`), or of a block, whose places are the groups.
        together: which of both.
    """
    blocks, rest = divmod(len(means), size)
    if blocks * size == 0 or size < 2 or len(means) < LEAST_CHAINS or not np.ptp(means) > 0:
        return None
    scores = scipy.stats.norm.ppf((scipy.stats.rankdata(means) - 0.5) / len(means))
    if together or 2 * rest < size:
        rows = scores[: blocks * size].reshape(blocks, size)
    else:  # the last block has most of the places: those that all blocks have
        rows = np.stack([scores[first : first + rest] for first in range(0, len(means), size)])
    if len(rows) < 2:
        return None
    groups = rows if together else rows.T
    count, each = groups.shape
    between = each * np.sum((groups.mean(axis=1) - groups.mean()) ** 2) / (count - 1)
    within = np.sum((groups - groups.mean(axis=1, keepdims=True)) ** 2) / (count * (each - 1))
    if not within > 0:
        return 0.0
    return float(scipy.stats.f.sf(between / within, count - 1, count * (each - 1)))


def in_step(trace: Float[np.ndarray, "chain draw"]) -> float | None:
    """p-value, two-sided, of the correlation in time of pairs of chains that follow each other; None if too few.

    Of the changes from one draw to the next, in which a common trend does not show. Pairs are the unit.
    """
    moves = np.diff(np.asarray(trace, np.float64), axis=1)
    pairs = len(moves) // 2
    if pairs < LEAST_PAIRS or moves.shape[1] < LEAST_ROWS:
        return None
    moves = moves - moves.mean(axis=1, keepdims=True)
    first, second = moves[0 : 2 * pairs : 2], moves[1 : 2 * pairs : 2]
    size = np.sqrt(np.sum(first**2, axis=1) * np.sum(second**2, axis=1))
    moving = size > 0
    if moving.sum() < LEAST_PAIRS:
        return None
    correlation = np.sum(first * second, axis=1)[moving] / size[moving]
    scatter = float(np.std(correlation, ddof=1))
    if not scatter > 0:
        return 0.0 if abs(float(correlation.mean())) > EXACT else None
    se = scatter / np.sqrt(moving.sum())
    return compare.p_value_of_difference(float(correlation.mean()), se, float(moving.sum() - 1))


# ---- error bars ----


def _errors(sample: Sample, of: str) -> list[Doubt]:
    """Error bars against the jackknife over chains."""
    doubts: list[Doubt] = []
    for scalar in sample.scalars:
        histogram = sample.histogram(scalar) if sample.window(scalar).counts.sum() else None
        if histogram is None:
            continue
        places = np.linspace(-1.0, 1.0, histogram.mass.size)
        claimed = float(places @ histogram.covariance @ places)
        doubts += _error_doubt(
            f"histogram of {scalar}{of}", claimed, histogram.counts @ places, histogram.counts.sum(1)
        )
    total, n = np.asarray(sample.statistic.total), np.asarray(sample.statistic.n)
    if n.sum() > 0:
        doubts += _error_doubt(f"mean of log det G{of}", ratio(total, n)[1], total, n)
    return doubts


def _error_doubt(what: str, claimed: float, part: np.ndarray, whole: Num[np.ndarray, " chain"]) -> list[Doubt]:
    own = jackknife(part, whole)
    if own is None or not own > 0 or 1 / ERROR_FACTOR < claimed / own < ERROR_FACTOR:
        return []
    text = (
        f"the standard error of the {what} is {np.sqrt(claimed / own):.2f} times that of the jackknife over chains: "
        "it is not one of independent chains"
    )
    return [Doubt("errors", text, float(np.sqrt(claimed / own)))]


def jackknife(part: Num[np.ndarray, " chain"], whole: Num[np.ndarray, " chain"]) -> float | None:
    """Variance of Σ part/Σ whole over chains, each left out in turn; None where few chains carry anything.

    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 3.
    """
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    chains = int(np.count_nonzero(whole))
    if chains < LEAST_CHAINS or chains < len(whole) / 2:
        return None
    without = (part.sum() - part) / (whole.sum() - whole)
    return float((len(whole) - 1) / len(whole) * np.sum((without - without.mean()) ** 2))


# ---- clocks ----


def _clocks(main: Sample, companion: Sample) -> list[Doubt]:
    """That draws of run and companion lie the same time apart: the correlation of a draw and the next is the same."""
    doubts: list[Doubt] = []
    if not np.array_equal(np.unique(main.whole.value.n), np.unique(companion.whole.value.n)):
        return [Doubt("clock", "the run and its companion at h/2 have another number of draws of a chain")]
    for scalar in main.scalars:
        (first, first_se), (second, second_se) = (memory(each.trace_of(scalar)) for each in (main, companion))
        chains = min(len(main.trace_of(scalar)), len(companion.trace_of(scalar)))
        p_value = compare.p_value_of_difference(first - second, float(np.hypot(first_se, second_se)), chains - 1.0)
        if abs(first - second) > CLOCK and p_value is not None and p_value < SELF_LEVEL:
            text = (
                f"a draw of {scalar} and the next are correlated by {first:.3f}, in the companion at h/2, which has "
                f"them the same time apart, by {second:.3f} ({p_is(p_value)}): one of them takes another step or "
                "another time than it says"
            )
            doubts.append(Doubt("clock", text, p_value, SELF_LEVEL))
    return doubts


def memory(trace: Float[np.ndarray, "chain draw"]) -> tuple[float, float]:
    """Correlation of a draw and the next, and its standard error from the scatter of chains."""
    away = np.asarray(trace, np.float64) - np.mean(trace)
    products, squares = np.sum(away[:, 1:] * away[:, :-1], axis=1), np.sum(away[:, 1:] ** 2, axis=1)
    value, variance = ratio(products, squares)
    return value, float(np.sqrt(variance))
