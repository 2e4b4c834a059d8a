"""The report of a figure in which an unknown is recovered: what is recovered, against what, and what carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from langevin_ib.output.attribution import balance_figure, balance_sentences, balance_table
from langevin_ib.output.blocks import Picture, Report, Table
from langevin_ib.output.effects import against, effects_figure, effects_table
from langevin_ib.output.studies import caption_sentences, rows_table, study_report
from langevin_ib.studies.balance import Balance
from langevin_ib.studies.result import StudyResult

ROWS_LEGEND = (
    "medians over seeds [90% of seeds]; of the sentences that set one model against others, the 95% hold together"
)


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


def balance_blocks(balance: Balance, name: str, title: str) -> tuple[Table, Picture]:
    """Which mechanism balances the factors, as table and picture; `name` is that of the picture's file."""


def _compare_models(result: StudyResult, error: str) -> list[str]:
    """The figure's own model against each other; none where the truth is not known."""
    own, row = next(iter(result.rows.items()))
    if error not in row:
        return []
    unit = "seeds" if result.config.get("data") is None else "starts on these data"
    return against({name: values[error] for name, values in result.rows.items()}, own, unit)
