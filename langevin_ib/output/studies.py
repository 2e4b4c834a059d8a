"""What all figures show: rows of measurements beside the numbers of the paper's caption, sentences, notes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from typing import cast

from langevin_ib.output.attribution import ALT, balance_figure, balance_table
from langevin_ib.output.blocks import Line, Lines, Picture, Report, Table, simple_table
from langevin_ib.statistics.seeds import Band, Count, Spread
from langevin_ib.studies.balance import Balance
from langevin_ib.studies.result import StudyResult


def banded(spread: Spread | None) -> str:
    """`median [5%, 95%]`, to three digits, or a count of seeds; the median alone for a single seed.

    >>> banded(Band(0.5, 0.25, 1.0)), banded(Count(3, 4)), banded(None)
    ('0.5 [0.25, 1]', '3 of 4', '–')
    """
    if spread is None:
        return "–"
    if isinstance(spread, Count):
        return f"{spread.count} of {spread.of}"
    if spread.low90 == spread.high90:
        return f"{spread.median:.3g}"
    return f"{spread.median:.3g} [{spread.low90:.3g}, {spread.high90:.3g}]"


def ensemble_of(seeds: int) -> str:
    """The number of seeds in words.

    >>> ensemble_of(1), ensemble_of(32)
    ('1 seed', '32 seeds')
    """
    return f"{seeds} seed{'s' * (seeds != 1)}"


def steps_of(result: StudyResult) -> int:
    """The number of steps of the figure's own run."""
    return cast(int, result.config["steps"])


def rows_table(result: StudyResult, title: str, first: str, legend: str) -> Table:
    """The rows of a study, the numbers of the paper's caption beside ours; `first` is what a row is."""
    spreads = result.spreads
    labels = tuple(next(iter(spreads.values())))
    body = []
    for name, row in spreads.items():
        stated = result.stated.get(name, {})
        cells = [
            banded(row[label]) + (f" (caption {stated[label]:.3g})" if label in stated else "") for label in labels
        ]
        body.append((name, *cells))
    return simple_table(title, (first, *labels), body, legend)


def caption_sentences(result: StudyResult) -> list[str]:
    """For each number of the caption, whether it lies in our band of 90% of the seeds, if there are several."""
    lines = []
    for name, stated in result.stated.items():
        for label, value in stated.items():
            spread = result.spreads.get(name, {}).get(label)
            if not isinstance(spread, Band):
                continue
            line = f"{name}: the caption states {label} {value:.3g}; ours is {banded(spread)}"
            if result.seeds > 1:
                is_inside = spread.low90 <= value <= spread.high90
                line += f": {'inside' if is_inside else 'outside'} the band of 90% of the seeds"
            lines.append(line)
    return lines


def balance_blocks(balance: Balance, name: str, title: str) -> list[Table | Picture]:
    """Which mechanism balances the factors, as a table and a picture; `name` is that of its file."""
    table = dataclasses.replace(balance_table(balance), title=title)
    return [table, Picture(name, ALT, partial(balance_figure, balance))]


def study_report(result: StudyResult, title: str, shown: Sequence[Table | Picture], sentences: Sequence[str]) -> Report:
    """Pictures and tables of a figure, its conclusions, its notes.

    Args:
        result: of the figure.
        title: what it is of; seeds, η and steps are added.
        shown: tables and pictures, each kind in its order.
        sentences: conclusions.
    """
    settings = f"{ensemble_of(result.seeds)}, η = {result.config['lr']:g}, {steps_of(result)} steps"
    return Report(
        title=f"{title}: {settings}",
        blocks=(
            *(block for block in shown if isinstance(block, Picture)),
            *(block for block in shown if isinstance(block, Table)),
            Lines(tuple(Line(sentence, "bold") for sentence in sentences)),
            Lines(tuple(Line(note) for note in result.notes)),
        ),
        config=json.dumps(dict(result.config), indent=1),
    )
