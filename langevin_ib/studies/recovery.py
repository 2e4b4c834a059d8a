"""Figures 4, 5 and 6: an unknown is recovered from data. One description, one flow: run, compare, attribute, say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.ensemble.runner import Stages
from langevin_ib.errors import DivergenceError, FailedRunError
from langevin_ib.output.outcome import Outcome, Table, banded, captioned, ensemble_of
from langevin_ib.output.plots import panels, plot_effects
from langevin_ib.studies.baselines import require
from langevin_ib.studies.effects import SAME, against, sweep, verdict
from langevin_ib.studies.measures import median_bands
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm, Trained, recovered, train

Array = Float[np.ndarray, "seed ..."]
Metric = Callable[[Array], Float[np.ndarray, " seed"]]
Estimator = Callable[[], Array]


ROWS_LEGEND = (
    "medians over seeds [90% of seeds]; of the sentences that set one model against others, the 95% hold together"
)
NOT_THE_PAPERS = "data, steps or η are not the paper's, whose caption is therefore left out"


@dataclass(frozen=True)
class Recovery:
    """A figure in which an unknown is recovered from data.

    Attributes:
        name: of the module in `sims`.
        title: one line.
        unknown: name of what is recovered, of its array in `recovered.npz`.
        problem: model, tasks, truth.
        own_name: name of the figure's own run.
        own: its protocol.
        error: name of the metric of the attribution.
        metrics: of the recovered arrays; those of `needs_truth` only where the truth is known.
        needs_truth: their names.
        caption: {row: {metric: the number that the paper's caption states}}.
        variants: other readings of text and code.
        others: models that are compared on the same data, always.
        baselines: convex ones, by a solver.
        sweeps: protocols of the attribution.
        sweep_reference: the protocol that they are compared with; None for the figure's own.
        settle: steps of gradient descent that follow a run with noise in the attribution.
        picture: (own run, {row: recovered array}) ↦ the paper's figure redrawn.
        interpret: (numbers of the summary) ↦ sentences of this figure alone.
        notes: qualifications of the numbers.
    """

    name: str
    title: str
    unknown: str
    problem: Problem
    own_name: str
    own: Arm
    error: str
    metrics: Mapping[str, Metric]
    needs_truth: frozenset[str]
    picture: Callable[[Trained, dict[str, Array]], Figure]
    caption: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    variants: Mapping[str, Arm] = field(default_factory=dict)
    others: Mapping[str, Estimator] = field(default_factory=dict)
    baselines: Mapping[str, Estimator] = field(default_factory=dict)
    sweeps: Mapping[str, Arm] = field(default_factory=dict)
    sweep_reference: Arm | None = None
    settle: int = 0
    interpret: Callable[[dict[str, Any]], list[str]] | None = None
    notes: tuple[str, ...] = ()


def run_recovery(recovery: Recovery, request: Request, report: Stages) -> Outcome:
    """The figure's own run, the other readings, the baselines and the attribution, as one outcome.

    A part other than the figure's own run that fails is left out, with a note of the reason.

    Raises:
        DivergenceError: the figure's own run diverged.
    """
    problem, known = recovery.problem, recovery.problem.truth is not None
    metrics = {name: metric for name, metric in recovery.metrics.items() if known or name not in recovery.needs_truth}
    if request.baselines and recovery.baselines:
        require()
    wall: dict[str, float] = {}
    notes = [*recovery.notes, *_collect_notes(request, known)]
    # Before the long run: closed forms, which refuse an η that is too large for them.
    with timed(wall, "plain"):
        others = {name: estimate() for name, estimate in recovery.others.items()}
    own = train(problem, recovery.own, stage="training", progress=report("training"))
    wall["training"] = own.wall_s
    arrays: dict[str, Array] = {recovery.own_name: recovered(problem, own.ends), **others}
    if request.variants:
        with timed(wall, "variants"):
            for name, protocol in recovery.variants.items():
                with failures_noted(notes):
                    arrays[name] = recovered(problem, train(problem, protocol, stage=name, progress=report(name)).ends)
    if request.baselines:
        with timed(wall, "baselines"):
            for name, estimate in recovery.baselines.items():
                report(name)
                with failures_noted(notes):
                    arrays[name] = estimate()
    by_metric = {name: {label: metric(array) for label, metric in metrics.items()} for name, array in arrays.items()}
    effects: list[dict[str, Any]] = []
    if request.attribution and known:
        with timed(wall, "attribution"):
            effects = _attribute_effects(recovery, own, metrics[recovery.error], report, notes)
    numbers: dict[str, Any] = {
        "rows": {name: median_bands(row) for name, row in by_metric.items()},
        "caption": _collect_captions(recovery) if request.papers else {},
        "attribution": effects,
        "wall_s": wall,
        "by_seed": {name: {label: values.tolist() for label, values in row.items()} for name, row in by_metric.items()},
    }
    sentences = caption_sentences(numbers, problem.seeds)
    if known:
        errors = {name: row[recovery.error] for name, row in by_metric.items()}
        sentences += against(errors, recovery.own_name, "seeds" if request.data is None else "starts on these data")
    sentences += recovery.interpret(numbers) if recovery.interpret is not None and known else []
    figures = {"figure": recovery.picture(own, arrays)}
    if effects:
        figures["attribution"] = effects_figure(effects, recovery.error)
    tables = [captioned("What is recovered", "model", numbers, ROWS_LEGEND)]
    if effects:
        tables.append(effects_table(effects, recovery.error, recovery.settle))
    saved = {f"{recovery.unknown}_hat": arrays[recovery.own_name]}
    saved |= {
        label.replace(", ", "_").replace(" ", "_"): values for label, values in by_metric[recovery.own_name].items()
    }
    if known:
        saved["truth"] = np.asarray(problem.truth)
    return Outcome(
        name=recovery.name,
        title=f"{recovery.title}: {ensemble_of(problem.seeds)}, η = {recovery.own.lr:g}, {recovery.own.steps} steps",
        config=request.to_dict() | {"lr": recovery.own.lr, "steps": recovery.own.steps},
        numbers=numbers,
        tables=tables,
        sentences=sentences,
        pictures=figures,
        recovered=saved,
        notes=notes,
    )


def each(solve: Any, X: Float[np.ndarray, "seed n d"], y: Float[np.ndarray, "seed n"], seed: int) -> Any:
    """A baseline for every seed, solved once where all of them have the same data."""
    if (X[0] == X).all() and (y == y[0]).all():
        weights = solve(X[0], y[0], seed=seed).w
        return np.broadcast_to(weights, (len(y), *weights.shape))
    return np.stack([solve(*pair, seed=seed).w for pair in zip(X, y, strict=True)])


def _collect_notes(request: Request, known: bool) -> list[str]:
    """Qualifications of a run that is not the paper's."""
    notes = [] if request.papers else [NOT_THE_PAPERS]
    if request.attribution and not known:
        notes.append("the truth is not known: no errors, and no attribution of them")
    if request.data is not None:
        notes.append("all seeds have these same data: bands and intervals are over starts alone, not over other data")
    return notes


def _attribute_effects(
    recovery: Recovery, own: Trained, error: Metric, report: Stages, notes: list[str]
) -> list[dict[str, Any]]:
    """The rows of the sweep; none where their reference run fails."""
    problem, reference, name = recovery.problem, recovery.sweep_reference, recovery.own_name
    with failures_noted(notes):
        if reference is not None and reference != recovery.own:
            own = train(problem, reference, stage="attribution", progress=report("attribution"))
            name = f"{reference.steps} steps"
        return sweep(problem, own, error, dict(recovery.sweeps), report, reference=name, settle=recovery.settle)
    return []


def _collect_captions(recovery: Recovery) -> dict[str, dict[str, float]]:
    """The caption's numbers, those of the figure's own run for the other readings too."""
    own = recovery.caption.get(recovery.own_name, {})
    return {name: dict(own) for name in recovery.variants if own} | {k: dict(v) for k, v in recovery.caption.items()}


def caption_sentences(numbers: Mapping[str, Any], seeds: int) -> list[str]:
    """For each number of the caption, whether it lies in our band of 90% of the seeds, if there are several.

    >>> numbers = {"rows": {"plain": {"error": {"median": 1.0, "low90": 0.9, "high90": 1.1}}}}
    >>> caption_sentences(numbers | {"caption": {"plain": {"error": 2.0}}}, seeds=32)
    ['plain: the caption states error 2; ours is 1 [0.9, 1.1]: outside the band of 90% of the seeds']
    """
    lines = []
    for name, stated in numbers["caption"].items():
        for label, value in stated.items():
            if name not in numbers["rows"] or label not in numbers["rows"][name]:
                continue
            band = numbers["rows"][name][label]
            line = f"{name}: the caption states {label} {value:.3g}; ours is {banded(band)}"
            if seeds > 1:
                is_inside = band["low90"] <= value <= band["high90"]
                line += f": {'inside' if is_inside else 'outside'} the band of 90% of the seeds"
            lines.append(line)
    return lines


def effects_table(rows: list[dict[str, Any]], error: str, settle: int = 0) -> Table:
    """The attribution as a table."""
    columns = ["run", error, "against the first row, paired over seeds"]
    body = [[row["name"], banded(row["error"]), "" if row["kind"] == "reference" else verdict(row)] for row in rows]
    legend = "medians over seeds [90% of seeds]; error × r: geometric mean of the ratio of errors; the intervals of "
    legend += f"all rows hold together in 95%; the same: within a factor of {SAME:g}"
    if settle:
        columns.append("of the last noisy iterate")
        body = [[*cells, banded(row["last_iterate"])] for cells, row in zip(body, rows, strict=True)]
        legend += f"; runs with noise end in {settle} steps without, so that their jitter does not count, and are set "
        legend += "against the second row, which has as many"
    return Table("Which mechanism carries the effect?", tuple(columns), [tuple(cells) for cells in body], legend)


def effects_figure(rows: list[dict[str, Any]], error: str) -> Figure:
    """The attribution as a picture."""
    picture, (axes,) = panels(1, 0.7 + 0.17 * len(rows))
    plot_effects(axes, rows, error)
    return picture


@contextmanager
def failures_noted(notes: list[str]) -> Iterator[None]:
    """A part whose failure leaves the others standing: a note says why it is left out."""
    try:
        yield
    except (DivergenceError, FailedRunError) as error:
        notes.append(f"left out, for it failed: {error}")


@contextmanager
def timed(wall: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of a block, under a name."""
    began = time.perf_counter()
    yield
    wall[name] = time.perf_counter() - began
