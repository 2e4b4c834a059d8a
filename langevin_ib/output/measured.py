"""What a run that measures only says: what was measured, and that it is no law."""

from __future__ import annotations

from langevin_ib.output.blocks import Column, Line, Table
from langevin_ib.runs.measured import MeasuredDetails
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.runs.result import Result
from langevin_ib.statistics.learning import LearningCoefficient, Measured

COLUMNS = (
    Column("scalar", left=True),
    Column("mean"),
    Column("± se"),
    Column("variance"),
    Column("± se"),
    Column("window", left=True, spare=2),
    Column("in it", spare=1),
)


def measured_of(result: Result) -> MeasuredDetails | None:
    """What a run without laws measured, or draws of one's own that none is held against."""
    details = result.details.process if isinstance(result.details, OwnDrawsDetails) else result.details
    return details if isinstance(details, MeasuredDetails) else None


def measured_table(result: Result) -> Table:
    """Moments of each scalar over all draws, with standard errors from the chains."""
    rows = []
    for name, invariant in result.invariants.items():
        moments = invariant.moments
        window = "[{:g}, {:g}]".format(*invariant.window)
        numbers = (moments.mean, moments.mean_se, moments.variance, moments.variance_se)
        told = tuple(f"{number:.{2 if i % 2 else 5}g}" for i, number in enumerate(numbers))
        rows.append((name, *told, window, f"{invariant.in_window:.1%}"))
    return Table(COLUMNS, (tuple(rows),))


def measured_lead(result: Result, details: MeasuredDetails) -> str:
    """One sentence: that nothing was held against a law, and the first of what was measured."""
    told = [f"E ℓ = {details.loss}" if details.energy is None else f"E[ℓ]/T = {details.energy}"]
    learning = result.learning
    if isinstance(learning, LearningCoefficient) and isinstance(learning.all_draws, Measured):
        told.append(f"λ̂ = {learning.all_draws}")
    doubts = result.doubts
    doubt = ""
    if doubts:
        more = len(doubts) - 1
        rest = f" (and {more} more doubt{'s' * (more > 1)})" if more else ""
        doubt = f", in doubt: {str(doubts[0]).split('; ', 1)[0]}{rest}"
    return f"Measured, and held against no law: {', '.join(told)}{doubt}."


def measured_head(result: Result, details: MeasuredDetails) -> tuple[Line, ...]:
    """E ℓ, norms, charges, and where the windows come from."""
    charges = "".join(
        f", E χ{f'_{a}' if len(details.charge) > 1 else ''} = {one}" for a, one in enumerate(details.charge, 1)
    )
    energy = f"E ℓ = {details.loss}, E |θ|²/2 = {details.norm}{charges}"
    head = f"E[ℓ]/T = {details.energy}; " if details.energy is not None else ""
    chains, steps = details.plan.pilot
    lines = [
        Line("measured, held against no law: moments and histograms are those of the draws", "bold"),
        Line(f"{head}{energy}"),
    ]
    if details.plan.by_rule:
        text = (
            f"windows by a pilot of {chains} chains and {steps} steps with keys of their own, before these draws: from "
            "its 0.5% to its 99.5% quantile, a twentieth wider at either end"
        )
        lines.append(Line(text))
    return tuple(lines)


def measured_caption(result: Result, details: MeasuredDetails, sample: str) -> str:
    """How much was drawn, and that there is no law."""
    moved = result.plan.config.integrator or result.plan.config.sampler
    doubt = " (in doubt)" if result.doubts else ""
    return f"{moved}, {sample}; measured, held against no law{doubt}"
