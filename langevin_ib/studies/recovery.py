"""Figures 4, 5 and 6: an unknown is recovered from data. One description, one flow: run, compare, attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from langevin_ib.session import Session
from langevin_ib.studies.baselines import LassoFit, require
from langevin_ib.studies.effects import sweep
from langevin_ib.studies.parts import NOT_ITS_OWN, NOT_THE_PAPERS, Parts, config_of, stated_numbers
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Trained
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import Effect, StudyResult, Values
from langevin_ib.studies.training import Arm, recovered

Array = Float[np.ndarray, "seed ..."]
Metric = Callable[[Array], Values]
Estimator = Callable[[], Array]


@dataclass(frozen=True)
class Recovery:
    """A figure in which an unknown is recovered from data.

    Attributes:
        name: of the module in `langevin_ib.figures` or `sims`.
        unknown: name of what is recovered, of its array in `recovered.npz`.
        problem: model, tasks, truth.
        own_name: name of the figure's own run.
        own: its arm.
        error: name of the metric of the attribution.
        metrics: of the recovered arrays; those of `needs_truth` only where the truth is known.
        needs_truth: their names.
        caption: {row: {metric: the number that the paper's caption states}}.
        variants: other readings of text and code.
        others: models that are compared on the same data, always.
        baselines: convex ones, by a solver.
        sweeps: arms of the attribution.
        sweep_reference: the arm that they are compared with; None for the figure's own.
        settle: steps of gradient descent that follow a run with noise in the attribution.
        notes: qualifications of the numbers.

    Raises:
        ValueError: `error` or `needs_truth` names no metric.
    """

    name: str
    unknown: str
    problem: Problem
    own_name: str
    own: Arm
    error: str
    metrics: Mapping[str, Metric]
    needs_truth: frozenset[str]
    caption: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    variants: Mapping[str, Arm] = field(default_factory=dict)
    others: Mapping[str, Estimator] = field(default_factory=dict)
    baselines: Mapping[str, Estimator] = field(default_factory=dict)
    sweeps: Mapping[str, Arm] = field(default_factory=dict)
    sweep_reference: Arm | None = None
    settle: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.error, *self.needs_truth):
            if name not in self.metrics:
                raise ValueError(
                    f"error and needs_truth must be among the metrics {', '.join(self.metrics)}, got {name}"
                )


def run_recovery(recovery: Recovery, request: Request, session: Session) -> StudyResult:
    """The figure's own run, the other readings, the baselines and the attribution.

    A part other than the figure's own run that fails is left out, with a note of the reason.

    Raises:
        DivergenceError: the figure's own run diverged.
    """
    problem, known = recovery.problem, recovery.problem.truth is not None
    metrics = {name: metric for name, metric in recovery.metrics.items() if known or name not in recovery.needs_truth}
    if request.baselines and recovery.baselines:
        require()
    parts = Parts(session, [*recovery.notes, *_collect_notes(recovery, request)])
    # Before the long run: closed forms, which refuse an η that is too large for them.
    with parts.timed("plain"):
        others = {name: estimate() for name, estimate in recovery.others.items()}
    own = parts.train_own(problem, recovery.own)
    arrays: dict[str, Array] = {recovery.own_name: recovered(problem, own.ends), **others}
    if request.variants:
        with parts.timed("variants"):
            arrays |= parts.measure_each(problem, recovery.variants, lambda run: recovered(problem, run.ends))
    if request.baselines:
        with parts.timed("baselines"):
            for name, estimate in recovery.baselines.items():
                session.report(name)
                with parts.failures_noted():
                    arrays[name] = estimate()
    rows = {name: _measured(metrics, array, problem.seeds) for name, array in arrays.items()}
    effects: tuple[Effect, ...] = ()
    if request.attribution and known:
        with parts.timed("attribution"):
            effects = _attribute_effects(recovery, own, parts)
    stated = stated_numbers(recovery.caption, recovery.own_name, recovery.variants, rows) if request.papers else {}
    return StudyResult(
        name=recovery.name,
        config=config_of(request, recovery.own),
        seeds=problem.seeds,
        rows=rows,
        stated=stated,
        effects=effects,
        own=own,
        arrays=arrays,
        saved=_collect_saved(recovery, arrays[recovery.own_name], rows[recovery.own_name]),
        notes=tuple(parts.notes),
        wall_s=parts.wall_s,
    )


def solve_each(
    solve: Callable[..., LassoFit], X: Float[np.ndarray, "seed n d"], y: Float[np.ndarray, "seed n"], seed: int
) -> Float[np.ndarray, "seed d"]:
    """A baseline for every seed, solved once where all of them have the same data."""
    if (X[0] == X).all() and (y == y[0]).all():
        weights = solve(X[0], y[0], seed=seed).w
        return np.broadcast_to(weights, (len(y), *weights.shape))
    return np.stack([solve(*pair, seed=seed).w for pair in zip(X, y, strict=True)])


def _collect_notes(recovery: Recovery, request: Request) -> list[str]:
    """Qualifications of a run that is not the paper's."""
    notes = [] if request.papers else [NOT_THE_PAPERS if recovery.caption else NOT_ITS_OWN]
    if request.attribution and recovery.problem.truth is None:
        notes.append("the truth is not known: no errors, and no attribution of them")
    if request.data is not None:
        notes.append("all seeds have these same data: bands and intervals are over starts alone, not over other data")
    return notes


def _measured(metrics: Mapping[str, Metric], array: Array, seeds: int) -> dict[str, Values]:
    """Each metric of a recovered array.

    Raises:
        ValueError: one of them is not a number for each seed.
    """
    row = {name: metric(array) for name, metric in metrics.items()}
    for name, values in row.items():
        if np.shape(values) != (seeds,):
            raise ValueError(f"metric {name} must be of shape ({seeds},), one number a seed, got {np.shape(values)}")
    return row


def _attribute_effects(recovery: Recovery, own: Trained, parts: Parts) -> tuple[Effect, ...]:
    """The effects of the sweep; none where its reference run fails."""
    problem, reference, name = recovery.problem, recovery.sweep_reference, recovery.own_name
    with parts.failures_noted():
        if reference is not None and reference != recovery.own:
            own = parts.train(problem, reference, "attribution")
            name = f"{reference.steps} steps"
        return sweep(
            problem, own, recovery.metrics[recovery.error], recovery.sweeps, parts.session,
            reference=name, settle=recovery.settle,
        )  # fmt: skip
    return ()


def _collect_saved(recovery: Recovery, unknown: Array, row: Mapping[str, Values]) -> dict[str, np.ndarray]:
    """What is recovered, its errors, and the truth where it is known, under names for an .npz file."""
    saved: dict[str, np.ndarray] = {f"{recovery.unknown}_hat": unknown}
    saved |= {label.replace(", ", "_").replace(" ", "_"): values for label, values in row.items()}
    if recovery.problem.truth is not None:
        saved["truth"] = np.asarray(recovery.problem.truth)
    return saved
