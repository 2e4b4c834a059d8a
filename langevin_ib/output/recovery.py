"""The report of a figure in which an unknown is recovered: what is recovered, against what, and what carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.output.blocks import Picture, Report, Table
from langevin_ib.output.effects import against, effects_figure, effects_table
from langevin_ib.output.plots import finish, legend_above, panels
from langevin_ib.output.studies import caption_sentences, rows_table, study_report
from langevin_ib.studies.result import StudyResult

ROWS_LEGEND = (
    "medians over seeds [90% of seeds]; of the sentences that set one model against others, the 95% hold together"
)


# (panel, places, a signal) ↦ drawn; (panel, places, what each seed recovers, name of the model, its number) ↦ drawn
DrawTruth: TypeAlias = Callable[[Axes, Float[np.ndarray, " N"], Float[np.ndarray, " N"]], object]
DrawModel: TypeAlias = Callable[[Axes, Float[np.ndarray, " N"], Float[np.ndarray, "seed N"], str, int], object]


def recovery_report(
    result: StudyResult,
    title: str,
    error: str,
    figure: Picture,
    sentences: Sequence[str],
    more: Sequence[Table | Picture] = (),
) -> Report:
    """A figure of recovery: tables, pictures and sentences.

    Args:
        result: of the figure.
        title: what it is of.
        error: name of the metric of its attribution.
        figure: the paper's figure redrawn.
        sentences: its own conclusions, after what is said of all.
        more: tables and pictures that no other figure has.
    """
    shown: list[Table | Picture] = [figure, rows_table(result, "What is recovered", "model", ROWS_LEGEND)]
    if result.effects:
        alt = f"{error} of each run, median and band of 90% of the seeds"
        draw = partial(effects_figure, result.effects, error)
        shown += [effects_table(result.effects, error), Picture("attribution", alt, draw)]
    lines = [*caption_sentences(result), *_compare_models(result, error), *sentences]
    return study_report(result, title, [*shown, *more], lines)


def signal_figure(
    result: StudyResult, names: Sequence[str], ylabel: str, draw_truth: DrawTruth, draw_model: DrawModel
) -> Figure:
    """A panel for each model that recovers a signal, the truth in all of them.

    Args:
        result: of the figure.
        names: of the models; those that were not run are left out.
        ylabel: of each panel.
        draw_truth: draws the truth, where it is known.
        draw_model: draws what a model recovers.
    """
    shown = [name for name in names if name in result.arrays]
    truth = result.saved.get("truth")
    picture, grid = panels(len(shown), 1.9)
    for i, (axes, name) in enumerate(zip(grid, shown, strict=True)):
        signals = result.arrays[name]
        place = np.arange(signals.shape[1], dtype=float)
        if truth is not None:
            draw_truth(axes, place, truth[0])
        draw_model(axes, place, signals, name, i)
        axes.set_ylabel(ylabel)
        legend_above(axes)
    finish(grid, "position")
    return picture


def _compare_models(result: StudyResult, error: str) -> list[str]:
    """The figure's own model against each other; none where the truth is not known."""
    own, row = next(iter(result.rows.items()))
    if error not in row:
        return []
    unit = "seeds" if result.config.get("data") is None else "starts on these data"
    return against({name: values[error] for name, values in result.rows.items()}, own, unit)
