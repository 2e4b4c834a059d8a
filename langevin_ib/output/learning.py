"""What a run says of λ̂, the local learning coefficient that its draws show."""

from __future__ import annotations

from langevin_ib.output.blocks import Line
from langevin_ib.runs.result import Result
from langevin_ib.statistics.learning import LearningCoefficient, Measured
from langevin_ib.statistics.records import Absent

FIXED = (
    "chains are where ℓ + C is least, and λ̂ has the height of ℓ above ℓ_min there, over T, in it: no learning "
    "coefficient unless C goes down with T"
)


def learning_lines(result: Result) -> list[Line]:
    """λ̂ beside that of a regular model, and how ℓ_min is known; none of a run without a temperature."""
    learning = result.learning
    if learning is None:
        return []
    if isinstance(learning, Absent):
        return [Line(f"no λ̂: {learning.why}")]
    lines = [Line(f"{shown(learning, result)}; {_minimum(learning)}{_step(learning.step_change)}")]
    if isinstance(learning.all_draws, Absent):
        lines.append(Line(f"no λ̂ over all draws: {learning.all_draws.why}"))
    confinement = result.plan.reduction.confinement
    if confinement.moves_minimum:
        lines.append(Line(f"with C = {confinement.formula}, {FIXED}"))
    if learning.below:
        text = (
            f"λ̂ is too low, by {learning.below / learning.temperature:.2g} at least: a draw has "
            f"ℓ = {learning.seen:.6g}, below the minimum that was found"
        )
        lines.append(Line(text, "yellow"))
    return lines


def shown(learning: LearningCoefficient, result: Result) -> str:
    """λ̂ over the draws that there is one of, and (q − m)/2."""
    condition = result.protocol.conditioned_on
    place = "those that count" if len(result.plan.scalars) > 1 else "those in the window"
    place = f"{place} with {condition}" if condition else place
    told = []
    if isinstance(learning.all_draws, Measured):
        told.append(f"{learning.all_draws} over {'all draws' if learning.window else 'the draws'}")
    if isinstance(learning.window, Measured):
        told.append(f"{learning.window} over {place}")
    if not told:
        told.append("–")
    doubt = ", in doubt: see below" if result.doubts or learning.below else ""
    return f"λ̂ = (E ℓ − ℓ_min)/T = {', '.join(told)}{doubt}; a regular model has (q − m)/2 = {learning.regular:g}"


def _minimum(learning: LearningCoefficient) -> str:
    lowest = learning.lowest
    ends = f" and {lowest.ends} ends of chains" if lowest.ends else ""
    return (
        f"ℓ_min = {lowest.loss:.4g} to {lowest.tolerance:.1g}, by L-BFGS from {lowest.starts} starts"
        f"{ends} (lowest draw {learning.seen:.4g})"
    )


def _step(change: Measured | None) -> str:
    return "" if change is None else f"; at h/2 λ̂ changes by {change.value:+.2g} ± {change.se:.1g}".replace("-", "−")
