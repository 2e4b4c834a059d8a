"""Figures 2 and 3: a student learns a teacher, the ratios of its factors tend to one; which mechanism balances them?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from langevin_ib.ensemble.runner import Stages
from langevin_ib.output.attribution import COLUMNS, LEGEND, rows, sentences
from langevin_ib.output.outcome import Outcome, Table, banded, captioned, ensemble_of
from langevin_ib.output.plot_attribution import attribution_figure
from langevin_ib.output.plots import finish, legend, log_scale, panels, plot_band, plot_channels
from langevin_ib.studies.balance import median_band
from langevin_ib.studies.config import MIN_SEEDS, from_setup
from langevin_ib.studies.measures import balance, fresh_loss, off_by
from langevin_ib.studies.mechanisms import attribute
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recovery import NOT_THE_PAPERS, caption_sentences, failures_noted, timed
from langevin_ib.studies.request import Request
from langevin_ib.studies.settling import SGD
from langevin_ib.studies.training import Arm, Trained, train

OWN = "paper's SGD"
MOST = 0.9  # share of SGD's balancing above which it is attributed to gradient descent
TABLE_LEGEND = (
    "medians over seeds [90% of seeds]; loss: mean squared error on fresh noisy targets; off by: "
    "exp(median |log ratio|) over channels; |χ/χ(0)|: median over channels"
)
BALANCED = 1.1  # a typical pair off by less than this factor is called balanced


@dataclass(frozen=True)
class Balancing:
    """A figure in which the ratios of factors tend to one.

    Attributes:
        name: of the module in `sims`.
        title: one line.
        ratio: name of the ratio, for axes.
        problem: model and tasks.
        own: the figure's protocol, at full length.
        label_noise: s of the targets on which the loss is evaluated.
        caption: {metric: the number that the caption states}.
        setup: of `langevin_ib.attribute`.
        horizon: steps of the attribution and of the runs from other starts, at most.
        scales: standard deviations of the starts besides the paper's.
        variants: other readings of text and code.
        notes: qualifications of the numbers.
    """

    name: str
    title: str
    ratio: str
    problem: Problem
    own: Arm
    label_noise: float
    caption: Mapping[str, float]
    setup: str
    horizon: int
    scales: tuple[float, ...]
    variants: Mapping[str, Arm] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_balancing(case: Balancing, request: Request, report: Stages) -> Outcome:
    """The figure's own run, the attribution, and the same from other starts."""
    problem = case.problem
    wall_s: dict[str, float] = {}
    own = train(problem, case.own, stage="training", progress=report("training"))
    wall_s["training"] = own.wall_s
    paths = balance(problem, own.params)
    measured = {OWN: _measure_end(problem, own, case.label_noise)}
    attribution: dict[str, Any] | None = None
    notes = [*case.notes, *([] if request.papers else [NOT_THE_PAPERS])]
    if request.variants:
        with timed(wall_s, "variants"):
            for name, protocol in case.variants.items():
                with failures_noted(notes):
                    measured[name] = _measure_end(
                        problem, train(problem, protocol, stage=name, rows=20, progress=report(name)), case.label_noise
                    )
    if request.attribution:
        horizon = min(case.horizon, case.own.steps)
        with timed(wall_s, "starts"):
            for scale in (case.problem.start_scale, *case.scales):
                protocol = dataclasses.replace(case.own, steps=horizon, start_scale=scale)
                name = f"start {scale:g}, {horizon:g} steps"
                with failures_noted(notes):
                    measured[name] = _measure_end(
                        problem, train(problem, protocol, stage=name, rows=20, progress=report(name)), case.label_noise
                    )
        if request.seeds >= MIN_SEEDS:
            with timed(wall_s, "attribution"), failures_noted(notes):
                config = from_setup(
                    case.setup, seeds=request.seeds, seed=request.seed, steps=horizon, lr=case.own.lr, precision=32
                )
                attribution = attribute(config, report=report).summary
                notes += [f"attribution: {note}" for note in attribution["notes"]]
        else:
            notes.append(f"the attribution needs {MIN_SEEDS} seeds at least, for seeds are its unit of error")
    numbers: dict[str, Any] = {
        "rows": {name: {label: median_band(values) for label, values in row.items()} for name, row in measured.items()},
        "caption": {name: dict(case.caption) for name in measured if name == OWN or name in case.variants}
        if request.papers
        else {},
        "attribution": attribution,
        "wall_s": wall_s,
        "by_seed": {name: {label: values.tolist() for label, values in row.items()} for name, row in measured.items()},
    }
    lines = [*caption_sentences(numbers, problem.seeds), *_state_results(case, numbers)]
    tables = [captioned("Loss and balance at the end", "run", numbers, TABLE_LEGEND)]
    pictures = {"figure": _draw_picture(case, own, paths)}
    if attribution is not None:
        tables.append(Table("Which mechanism balances the factors?", COLUMNS, rows(attribution), LEGEND))
        lines += sentences(attribution)
        pictures["attribution"] = attribution_figure(attribution)
    return Outcome(
        name=case.name,
        title=f"{case.title}: {ensemble_of(problem.seeds)}, η = {case.own.lr:g}, {case.own.steps} steps",
        config=request.to_dict() | {"lr": case.own.lr, "steps": case.own.steps},
        numbers=numbers,
        tables=tables,
        sentences=lines,
        pictures=pictures,
        notes=notes,
    )


def _measure_end(problem: Problem, trained: Trained, label_noise: float) -> dict[str, np.ndarray]:
    """Loss, imbalance and charge of each seed at the end of a run."""
    first_last = jax.tree.map(lambda leaf: leaf[:, [0, -1]], trained.params)
    paths = balance(problem, first_last)
    ratio, charge = paths["ratio"], paths["charge"]
    return {
        "loss": fresh_loss(problem, trained.ends, label_noise),
        "ratio off by": off_by(ratio[:, 1]),
        "smallest ratio": ratio[:, 1].min(axis=1),
        "largest ratio": ratio[:, 1].max(axis=1),
        "|χ/χ(0)|": np.median(np.abs(charge[:, 1] / charge[:, 0]), axis=1),
        "off by at the start": off_by(ratio[:, 0]),
    }


def _state_results(case: Balancing, numbers: dict[str, Any]) -> list[str]:
    own = numbers["rows"][OWN]
    attribution = numbers["attribution"]
    lines = []
    if attribution is not None:
        factor = (attribution["mechanisms"][SGD]["ratio_factor"] or {}).get("median", math.nan)
        steps = attribution["config"]["steps"]
        lines.append(on_noise(case.title.split(",")[0], attribution["across"]["descent_share"], factor, steps))
    off = own["ratio off by"]
    reached = "reaches one" if off["high90"] < BALANCED else "does not reach one"
    if off["low90"] < BALANCED <= off["high90"]:
        reached = "reaches one in some seeds"
    lines.append(
        f"the typical ratio {reached}: off by {banded(off)} after "
        f"all steps, {banded(own['off by at the start'])} at the start; of a seed's ratios the smallest is "
        f"{banded(own['smallest ratio'])}, the largest {banded(own['largest ratio'])}; the charge χ keeps "
        f"{banded(own['|χ/χ(0)|'])} of what it was"
    )
    return lines


def on_noise(figure: str, share: dict[str, float] | None, factor: float, steps: int) -> str:
    """The conclusion of a figure about noise, by the share of SGD's balancing that gradient descent alone gives.

    Args:
        figure: its name.
        share: gradient descent's reduction of the imbalance over SGD's.
        factor: by which a typical pair is off balance under SGD at the end.
        steps: of both.

    >>> on_noise("Figure 9", {"value": 0.5, "low95": 0.4, "high95": 0.6}, 1.01, 1000)[:45]
    'Figure 9 shows noise at work beside the growt'
    """
    if share is None:
        return f"{figure} shows no balancing by SGD that its error bar does not cover"
    interval = f"{share['value']:.1%} (95% interval {share['low95']:.1%} to {share['high95']:.1%})"
    evidence = (
        f"gradient descent without noise gives {interval} of what SGD removes of the imbalance in {steps:g} steps"
    )
    if share["low95"] > MOST:
        ends = "end near one" if factor < BALANCED else f"come nearer to one (off by {factor:.3g} in the end)"
        return f"{figure} shows that the ratios {ends}, not that noise does it: {evidence}"
    if share["high95"] < MOST:
        return f"{figure} shows noise at work beside the growth of the norms: {evidence}"
    return f"{figure} does not decide what noise does to the ratios: {evidence}"


def _draw_picture(case: Balancing, own: Trained, paths: dict[str, np.ndarray]) -> Figure:
    """Ratios of the first seed's channels; imbalance and charge of all seeds."""
    picture, (ratios, factor, charge) = panels(3, 1.9)
    thousand = own.steps / 1000.0
    plot_channels(ratios, thousand, paths["ratio"][0], "each channel, first seed")
    ratios.axhline(1.0, color="black", linewidth=0.8, linestyle="--", label="balance")
    log_scale(ratios)
    ratios.set_ylabel(case.ratio)
    legend(ratios)
    plot_band(factor, thousand, off_by(paths["ratio"]), "median and 90% of the seeds")
    log_scale(factor)
    factor.set_ylabel("ratio off by a factor")
    legend(factor)
    charge_left = np.median(np.abs(paths["charge"] / paths["charge"][:, :1]), axis=-1)
    plot_band(charge, thousand, charge_left, "median and 90% of the seeds", 1)
    charge.set_ylabel("|χ(t)/χ(0)|")
    grid = [ratios, factor, charge]
    finish(grid, "thousand steps")
    for axes in grid:
        # The ratios are near one after a twentieth of the run; linear up to the first record, to hold the start.
        axes.set_xscale("symlog", linthresh=thousand[1], linscale=0.5)
        decades = [tick for tick in (0.1, 1.0, 10.0, 100.0) if thousand[1] < tick < thousand[-1]]
        axes.set(xlim=(0.0, thousand[-1]), xticks=[0.0, thousand[1], *decades])
        axes.set_xticklabels([f"{tick:g}" for tick in axes.get_xticks()])
    return picture
