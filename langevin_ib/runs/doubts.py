"""What speaks against a verdict: chains that have not settled, and numbers of one run that do not fit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy
from jaxtyping import Int

from langevin_ib.config.processes import LangevinSettings, ProcessSettings
from langevin_ib.runs.verdicts import Joint, LawResult, Mixing, Reference, StepCheck, WindowShare, worst_of
from langevin_ib.statistics import compare
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import FROZEN_SHARE, p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL, R_HAT_LIMIT
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Sample

CONTRADICTION_LEVEL = 1e-4  # false-positive rate of each of the comparisons that `contradictions` makes
FROZEN_STEPS = 100  # of a kernel that accepts half of its proposals everywhere, once in 10³⁰ times
STANDING = 0.1  # of a chain's steps, for which one of an adjusted kernel may stand still
LEAST_ACCEPTANCE = 0.05
# What doubts are about that may follow from chains that have not settled: identities of four-point runs are summed over
# many records at a time, and the trace and the chains' independence are held against those of a stationary run.
OF_MIXING = (
    "drift", "step", "mala", "c", "share", "coverage", "joint", "identity", "trace", "independence", "clock",
)  # fmt: skip
MOVING = ("r_hat", "drift")  # doubts about chains that have not mixed, or move still
SAME_CAUSE = "; probably the same cause"
STAYING = 1.5  # R-hat above which chains hardly leave the parts of the space that they began in


def by_cause(doubts: Sequence[Doubt]) -> list[Doubt]:
    """Where chains have not mixed, or move still: that first, with its cure, and of what follows no cure of its own.

    Cures of one cause contradict each other otherwise: a larger step for chains that stay, a smaller one for draws that
    differ from those of MALA. Chains that have not mixed differ from every law and from each other.
    """
    changing = [doubt for doubt in doubts if doubt.about == "schedule"]
    if changing:  # known before the first draw, and the cause of chains that move
        rest = by_cause([doubt for doubt in doubts if doubt.about != "schedule"])
        return changing + [
            doubt._replace(text=doubt.text.split("; ")[0] + SAME_CAUSE, cure="") if doubt.about in MOVING else doubt
            for doubt in rest
        ]
    cause = next((about for about in MOVING if any(doubt.about == about for doubt in doubts)), None)
    if cause is None:
        return list(doubts)
    first = [doubt for doubt in doubts if doubt.about == cause]
    return first + [
        doubt._replace(text=doubt.text.removesuffix(doubt.cure) + SAME_CAUSE, cure="")
        if doubt.about in OF_MIXING
        else doubt
        for doubt in doubts
        if doubt.about != cause
    ]


def _with_cure(about: str, text: str, cure: str, number: float | None, limit: float | None = None) -> Doubt:
    return Doubt(about, text + cure, number, limit, cure)


def convergence_doubts(
    mixing: Mixing,
    step_check: StepCheck | Absent | None = None,
    reference: Reference | None = None,
    *,
    drifting: bool = False,
    process: type[ProcessSettings] = LangevinSettings,
) -> list[Doubt]:
    """Of chains, companion and reference, each with its number, and with what helps a run of this process."""
    doubts = []
    drift = mixing.drift_p_value
    moves = drift is not None and drift < DRIFT_LEVEL
    if not drifting:
        if not mixing.r_hat <= R_HAT_LIMIT:
            more = (
                "run more steps"
                if mixing.r_hat <= STAYING or moves  # chains on their way are not yet chains that stay
                else "chains hardly leave the parts of the space that they began in: it takes many times the steps"
                f"{process.mixing}"
            )
            text = f"the chains have not mixed: R-hat {mixing.r_hat:.3f} > {R_HAT_LIMIT}; {more}"
            doubts.append(Doubt("r_hat", text, mixing.r_hat, R_HAT_LIMIT))
        if moves:
            text = f"the histogram still moves between earlier and later parts of the run ({p_is(drift)})"
            doubts.append(_with_cure("drift", text, "; raise burn_in or steps", drift, DRIFT_LEVEL))
    elif moves:
        text = (
            "on the slab the histogram of the last octave of time is not that of the time before "
            f"({p_is(drift)}): the coordinates of the quotient have not settled; raise burn_in or steps"
        )
        doubts.append(Doubt("drift", text, drift, DRIFT_LEVEL))
    if isinstance(step_check, StepCheck):
        step = worst_of(step_check.comparisons)
        if step.verdict == "differs":
            text = f"the draws change by TV {step.tv:.4f} when the step is halved, more than the margin allows"
            doubts.append(_with_cure("step", text, "; use a smaller step_size", step.tv))
    if reference is not None:
        if not reference.mixing.r_hat <= R_HAT_LIMIT:
            text = f"the reference has not mixed: R-hat {reference.mixing.r_hat:.3f} > {R_HAT_LIMIT}"
            doubts.append(Doubt("mala", text, reference.mixing.r_hat, R_HAT_LIMIT))
        draws = worst_of(reference.comparisons)
        if draws.verdict == "differs":
            text = f"the draws and MALA differ by TV {draws.tv:.4f} ({p_is(draws.p_value)}), more than the margin"
            cure = ": the step is too large or the chains have not settled"
            doubts.append(_with_cure("mala", text, cure, draws.tv))
        exact = None if reference.against_exact is None else worst_of(reference.against_exact)
        if exact is not None and exact.verdict == "differs":
            text = f"MALA and the exact law disagree (TV {exact.tv:.4f})"
            doubts.append(_with_cure("mala", text, ": one of them is wrong", exact.tv))
    return doubts


def health_doubts(sample: Sample, process: type[ProcessSettings] = LangevinSettings) -> list[Doubt]:
    """Chains that stood still, and those whose proposals were hardly ever accepted; the worst is named."""
    doubts, width = [], sample.engine.width
    steps, until = (np.asarray(part) for part in sample.still)
    frozen = np.flatnonzero(steps >= FROZEN_STEPS)
    if frozen.size and not _refused_now_and_then(sample, steps[frozen]):
        worst = int(frozen[np.argmax(steps[frozen])])
        text = (
            f"{frozen.size} of {steps.size} chains stood still for {FROZEN_STEPS} steps or more, the longest, chain "
            f"{worst} (block {worst // width}), for {steps[worst]} until step {until[worst]}: "
        )
        if sample.info.keys() & {"acceptance_rate", "rejected"}:
            text += f"their proposals are refused; use {process.finer}"
        else:
            text += "their steps are lost in rounding; use --precision 64"
        doubts.append(Doubt("frozen", text, float(steps[worst]), float(FROZEN_STEPS)))
    accepted = sample.info.get("acceptance_rate")
    if accepted is not None and np.min(accepted) < LEAST_ACCEPTANCE:
        worst, share = int(np.argmin(accepted)), float(np.min(accepted))
        text = (
            f"{np.sum(accepted < LEAST_ACCEPTANCE)} of {accepted.size} chains accept less than {LEAST_ACCEPTANCE:.0%} "
            f"of their proposals, chain {worst} (block {worst // width}) {share:.1%}; use a smaller step_size"
        )
        doubts.append(Doubt("acceptance", text, share, LEAST_ACCEPTANCE))
    return doubts


def _refused_now_and_then(sample: Sample, steps: Int[np.ndarray, " frozen"]) -> bool:
    """Whether chains that stood still are those of an adjusted kernel, too few and too short to be felt.

    In the tails, where the potential is steep, such a kernel may refuse a hundred proposals in a row, and is right to.
    """
    if "acceptance_rate" not in sample.info or not sample.engine.steps:
        return False
    longest = max(sample.engine.steps)
    share = float(np.sum(steps)) / (longest * len(sample.whole.value.n))
    return share < FROZEN_SHARE and float(np.max(steps)) < STANDING * longest


def contradictions(
    coefficient: Coefficient | Absent,
    laws: Sequence[LawResult],
    step_check: StepCheck | Absent | None,
    reference: Reference | None,
    shares: Mapping[str, WindowShare | None],
) -> list[Doubt]:
    """Doubts where the numbers of one run do not fit each other, however small the distances are.

    Compared are c of the draws, of the companion at h/2, of MALA and of the exact law; the draws with MALA, where MALA
    fits the exact law; and the share of the draws in each window with the exact law's own. Each comparison is wrong on
    a healthy run with probability 1e-4.

    Args:
        coefficient: c of the draws.
        laws: the exact law beside each scalar; empty where there is none.
        step_check: what the companion showed.
        reference: what MALA showed.
        shares: of each scalar, the share of the draws in its window and that of the exact law.
    """
    doubts = []
    exact_c = laws[0].c if laws else None
    p_value = _p_below(coefficient, exact_c)
    if p_value is not None:
        text = f"c of the draws is {coefficient} and that of the exact law {exact_c:z.3f} ({p_is(p_value)})"
        cure = ": the chains have not settled, or the step is too large"
        doubts.append(_with_cure("c", text, cure, p_value, CONTRADICTION_LEVEL))
    if isinstance(step_check, StepCheck) and step_check.c_difference is not None:
        change = step_check.c_difference
        p_value = compare.p_value_of_difference(*change)
        if p_value is not None and p_value < CONTRADICTION_LEVEL:
            text = f"c changes by {change.value:+z.3f} ± {change.se:.3f} when the step is halved ({p_is(p_value)})"
            doubts.append(_with_cure("c", text, "; use a smaller step_size", p_value, CONTRADICTION_LEVEL))
    # Chains of MALA that stick have no error bars to be held against anything.
    if reference is not None and worst_of(reference.comparisons).p_value is not None:
        doubts += _against_mala(coefficient, exact_c, laws, reference)
    for scalar, share in shares.items():
        if share is not None and share.p_value is not None and share.p_value < CONTRADICTION_LEVEL:
            text = (
                f"{share.measured:.2%} of the draws of {scalar} lie in the window, where the exact law has "
                f"{share.share:.2%} of its mass ({p_is(share.p_value)})"
            )
            cure = ": chains do not reach all of it, or have not settled there"
            doubts.append(_with_cure("share", text, cure, share.p_value, CONTRADICTION_LEVEL))
    return doubts


def _against_mala(
    coefficient: Coefficient | Absent, exact_c: float | None, laws: Sequence[LawResult], reference: Reference
) -> list[Doubt]:
    mala, doubts = reference.coefficient, []
    if not isinstance(mala, Absent):
        p_value = _p_below(coefficient, mala.c, mala)
        if p_value is not None:
            text = f"c of the draws is {coefficient} and that of MALA {mala} ({p_is(p_value)})"
            doubts.append(_with_cure("c", text, ": use a smaller step_size", p_value, CONTRADICTION_LEVEL))
    p_value = _p_below(mala, exact_c)
    if p_value is not None:
        text = f"c of MALA is {mala} and that of the exact law {exact_c:z.3f} ({p_is(p_value)})"
        doubts.append(_with_cure("c", text, ": one of them is wrong", p_value, CONTRADICTION_LEVEL))
    exact = None if reference.against_exact is None else worst_of(reference.against_exact)
    draws = worst_of(reference.comparisons).p_value
    if exact is None or exact.p_value is None or draws is None:
        return doubts
    least = min((law.comparison.p_value for law in laws if law.comparison.p_value is not None), default=1.0)
    if exact.p_value >= CONTRADICTION_LEVEL and max(draws, least) < CONTRADICTION_LEVEL:
        text = (
            f"MALA fits the exact law ({p_is(exact.p_value)}) and the draws fit neither it ("
            f"{p_is(draws)}) nor the law ({p_is(least)})"
        )
        cure = ": the draws are biased; use a smaller step_size"
        doubts.append(_with_cure("mala", text, cure, least, CONTRADICTION_LEVEL))
    return doubts


def _p_below(
    coefficient: Coefficient | Absent, other: float | None, measured: Coefficient | None = None
) -> float | None:
    """p-value of a c against another, which may have been measured too, if it is below the level."""
    if other is None or isinstance(coefficient, Absent):
        return None
    both = [coefficient] if measured is None else [coefficient, measured]
    se = float(np.hypot.reduce([each.se for each in both]))
    dof = float(min(each.chains for each in both) - 1)
    p_value = compare.p_value_of_difference(coefficient.c - other, se, dof)
    return p_value if p_value is not None and p_value < CONTRADICTION_LEVEL else None


def joint_doubts(
    laws: Mapping[str, Mapping[str, LawResult]], joint: Joint | Absent | None, margin: float
) -> list[Doubt]:
    """A joint law, of those that the draws have to obey, that they do not have while they have all of its marginals."""
    if not isinstance(joint, Joint):
        return []
    marginals = [rows[joint.law] for rows in laws.values() if joint.law in rows]
    if any(row.about.role != "own" for row in marginals) or len(marginals) < len(laws):
        return []
    if any(row.comparison.verdict == "differs" for row in marginals):
        return []  # the marginals say it already
    doubts, pair = [], joint.dependence
    gap, (first, second) = abs(pair.first - pair.second), joint.pair
    # Of two normal variables whose correlation changes by r the joint law changes by TV r/π.
    if pair.p_value < DRIFT_LEVEL and gap - scipy.stats.norm.ppf(compare.LEVEL) * pair.se > np.pi * margin:
        text = (
            f"{first} and {second} depend on each other otherwise than in the law {joint.law}, with a correlation of "
            f"normal scores of {pair.first:.3f} against {pair.second:.3f} ({p_is(pair.p_value)})"
        )
        cure = ": the step is too large, the chains have not settled, or the law's draws are not of it"
        doubts.append(_with_cure("joint", text, cure, pair.p_value, DRIFT_LEVEL))
    if joint.test.p_value < DRIFT_LEVEL:
        text = (
            f"all invariants and ℓ/T together are not those of the law exact (energy distance "
            f"{joint.test.energy_distance:.2g}, {p_is(joint.test.p_value)}), though none by itself is told to differ"
        )
        doubts.append(Doubt("joint", text, joint.test.p_value, DRIFT_LEVEL))
    return doubts
