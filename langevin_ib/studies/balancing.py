"""Figures 2 and 3: a student learns a teacher, the ratios of its factors tend to one; which mechanism balances them?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from langevin_ib.session import Session
from langevin_ib.studies.balance import Balance
from langevin_ib.studies.following import follow
from langevin_ib.studies.measures import fresh_loss
from langevin_ib.studies.parts import NOT_THE_PAPERS, Parts, config_of, stated_numbers
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Trained
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult, Values
from langevin_ib.studies.training import Arm

OWN = "paper's SGD"
ROWS = 20  # recorded times of the runs besides the figure's own


@dataclass(frozen=True)
class Balancing:
    """A figure in which the ratios of factors tend to one.

    Attributes:
        name: of the module in `langevin_ib.figures` or `sims`.
        problem: model and tasks.
        own: the figure's arm, at full length.
        label_noise: s of the targets on which the loss is evaluated.
        caption: {metric: the number that the caption states}.
        setup: the preset of the attribution.
        horizon: steps of the attribution and of the runs from other starts, at most.
        scales: standard deviations of the starts besides the paper's.
        variants: other readings of text and code.
        notes: qualifications of the numbers.
    """

    name: str
    problem: Problem
    own: Arm
    label_noise: float
    caption: Mapping[str, float]
    setup: str
    horizon: int
    scales: tuple[float, ...]
    variants: Mapping[str, Arm] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_balancing(case: Balancing, request: Request, session: Session) -> StudyResult:
    """The figure's own run, the other readings, the attribution, and the same from other starts.

    A part other than the figure's own run that fails is left out, with a note of the reason.

    Raises:
        DivergenceError: the figure's own run diverged.
    """
    problem = case.problem
    parts = Parts(session, [*case.notes, *([] if request.papers else [NOT_THE_PAPERS])])
    own = parts.train_own(problem, case.own)

    def measure(run: Trained) -> dict[str, Values]:
        return _measure_end(problem, run, case.label_noise)

    rows = {OWN: measure(own)}
    balance: Balance | None = None
    if request.variants:
        with parts.timed("variants"):
            rows |= parts.measure_each(problem, case.variants, measure, ROWS)
    if request.attribution:
        steps = min(case.horizon, case.own.steps)
        starts = {
            f"start {scale:g}, {steps:g} steps": dataclasses.replace(case.own, steps=steps, start_scale=scale)
            for scale in (problem.start_scale, *case.scales)
        }
        with parts.timed("starts"):
            rows |= parts.measure_each(problem, starts, measure, ROWS)
        balance = parts.attribute_balance(
            case.setup, request, case.own.lr, steps, part="attribution", called="the attribution"
        )
    return StudyResult(
        name=case.name,
        config=config_of(request, case.own),
        seeds=problem.seeds,
        rows=rows,
        stated=stated_numbers({OWN: case.caption}, OWN, case.variants, rows) if request.papers else {},
        balance=balance,
        own=own,
        paths={OWN: follow(problem, own, loss=False)},
        notes=tuple(parts.notes),
        wall_s=parts.wall_s,
    )


def _measure_end(problem: Problem, trained: Trained, label_noise: float) -> dict[str, Values]:
    """Loss, imbalance and charge of each seed at the end of a run."""
    paths = follow(problem, trained.first_and_last, loss=False)
    return {"loss": fresh_loss(problem, trained.ends, label_noise), **paths.ends}
