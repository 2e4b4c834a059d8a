"""The report of a figure in which an unknown is recovered: what is recovered, against what, and what carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


# (panel, truth or None, what each seed recovers, name of the model, its place) ↦ drawn
DrawSignal: TypeAlias = Callable[
    [Axes, Float[np.ndarray, " N"] | None, Float[np.ndarray, "seed N"], str, int],
    None,
]


@dataclass(frozen=True)
class Shown:
    """What a figure of recovery has of its own to show.

    Attributes:
        title: what it is of.
        error: name of the metric of its attribution.
        figure: the paper's figure redrawn.
        sentences: its conclusions, after what is said of all.
        settle: steps without noise in which arms with noise end.
        more: tables and pictures that no other figure has.
    """

    title: str
    error: str
    figure: Picture
    sentences: Sequence[str] = ()
    settle: int = 0
    more: Sequence[Table | Picture] = ()


def recovery_report(result: StudyResult, shown: Shown) -> Report:
    """A figure of recovery: tables, pictures and sentences."""
    blocks: list[Table | Picture] = [
        shown.figure,
        rows_table(result, "What is recovered", "model", ROWS_LEGEND),
    ]
    if result.effects:
        alt = f"{shown.error} of each run, median and band of 90% of the seeds"
        blocks += [
            effects_table(result.effects, shown.error, shown.settle),
            Picture("attribution", alt, partial(effects_figure, result.effects, shown.error)),
        ]
    return study_report(
        result,
        shown.title,
        [*blocks, *shown.more],
        [*caption_sentences(result), *_compare_models(result, shown.error), *shown.sentences],
    )


def signal_figure(result: StudyResult, names: Sequence[str], ylabel: str, draw: DrawSignal) -> Figure:
    """A panel for each model that recovers a signal, the truth in all of them.

    Args:
        result: of the figure.
        names: of the models; those that were not run are left out.
        ylabel: of each panel.
        draw: what draws truth and recovered signals into a panel.
    """
    shown = [name for name in names if name in result.arrays]
    truth = result.saved.get("truth")
    picture, grid = panels(len(shown), 1.9)
    for i, (axes, name) in enumerate(zip(grid, shown, strict=True)):
        draw(axes, None if truth is None else truth[0], result.arrays[name], name, i)
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
