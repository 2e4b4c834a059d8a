"""Runs as rows, and c of each against a setting: what a sweep and a comparison of runs share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes

from langevin_ib.config.grid import is_number, spelled
from langevin_ib.output.folders import SUMMARY
from langevin_ib.output.plots import DOTTED, legend, line_style, log_axis
from langevin_ib.output.report_sgd import FREE

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Cell]
Status: TypeAlias = Literal["done", "failed", "unfinished"]

LEARNING = ("T", "lambda_hat", "lambda_hat_se", "lambda_window", "lambda_window_se", "lambda_regular")
RESULT = ("scalar", "c", "c_se", "c_low", "c_high", *LEARNING, "r_hat", "ess", "doubts")
BETWEEN = " | "  # of doubts
NORMAL_95 = 1.96
CONSTANT = 0.02  # by which a law's c may differ between runs and still be one line
LOGARITHMIC = 10.0  # largest over smallest value, above which an axis is logarithmic
LONG = 24  # characters of a series' title, above which no other stands beside it
FEW = 7  # values that have a tick each


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        status: done, failed, or unfinished where a sweep was stopped first.
        folder: of it, in the output folder; empty without.
        reason: why it failed.
        rows: what was measured, one for each coordinate.
    """

    status: Status
    folder: str = ""
    reason: str = ""
    rows: tuple[Row, ...] = ()


def outcome_of(folder: Path) -> Outcome:
    """The outcome of a run that was saved.

    Raises:
        OSError, ValueError, KeyError, TypeError: the folder holds no whole run.
    """
    summary = json.loads((folder / SUMMARY).read_bytes())
    if summary.get("partial") or not summary["invariants"]:
        raise ValueError(f"{folder} has been interrupted")
    return Outcome("done", folder.name, rows=rows_of_summary(summary))


def rows_of_summary(summary: Mapping[str, Any]) -> tuple[Row, ...]:
    """What a run measured, a row for each coordinate: c, which is the same in each, and every law's verdict, TV and c.

    Raises:
        KeyError, TypeError: it is no summary of a run.
    """
    return tuple(_measured(summary))


def _measured(summary: Mapping[str, Any]) -> Iterable[Row]:
    diagnostics = summary["diagnostics"]
    for scalar, invariant in summary["invariants"].items():
        found = invariant["correction"]
        low, high = found.get("ci95", (None, None))
        values = (found["c"], found.get("se"), low, high, *_learning(summary), diagnostics["r_hat"], diagnostics["ess"])
        row: Row = dict(zip(RESULT, (scalar, *values, BETWEEN.join(summary["doubts"])), strict=True))
        row["reason"] = found.get("why", "")
        for law, beside in invariant["laws"].items():
            row |= {f"{law}_verdict": beside["verdict"], f"{law}_tv": beside["tv"], f"{law}_c": beside["c"]}
        yield row


def _learning(summary: Mapping[str, Any]) -> tuple[Cell, ...]:
    """T, λ̂ over all draws and over those in the window, which are all where nothing is cut, and (q − m)/2."""
    found = summary.get("learning_coefficient") or {}
    window = found.get("window") or {}
    every = found.get("value"), found.get("se")
    return summary["temperature"], *every, window.get("value"), window.get("se"), found.get("regular")


def plot_learning(axes: Axes, series: Mapping[str, Sequence[Point]], regular: Sequence[float]) -> Axes:
    """λ̂ with 95% intervals against T, and a dotted line at each (q − m)/2.

    Args:
        axes: where.
        series: points by what sets them apart; an empty title stands for the draws.
        regular: that of a regular model, of each run.
    """
    for place, (title, points) in enumerate(series.items(), 1):
        x, value, low, high = np.array(sorted(points)).T
        style = line_style(place)
        axes.errorbar(
            x, value, [value - low, high - value], color=style.colour, linestyle=style.dash,
            linewidth=1, marker="o", markersize=3.5, capsize=2, label=title or "draws, 95%",
        )  # fmt: skip
    for value in sorted(set(regular)):
        axes.axhline(value, color=line_style(0).colour, linestyle=DOTTED, linewidth=0.8)
        axes.annotate(
            "(q − m)/2", (1, value), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    axes.set_ylabel(r"$\hat\lambda = (\mathrm{E}\,\ell - \ell_{\min})/T$")
    across = 2 if max(map(len, series)) < LONG else 1
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=across)
    temperatures = [point.x for points in series.values() for point in points]
    label_setting(axes, "T", temperatures)
    return axes


class Point(NamedTuple):
    """c of a run, or λ̂, and its place on the axis."""

    x: float
    c: float
    low: float
    high: float


def point_of(outcome: Outcome | None, x: float) -> Point | None:
    """c is one number of a run, whatever its coordinates; None where it was not measured."""
    rows = () if outcome is None else outcome.rows
    if not rows or rows[0]["c"] is None:
        return None
    return Point(x, *(float(rows[0][key] or 0.0) for key in ("c", "c_low", "c_high")))


def learning_point(outcome: Outcome | None, column: str) -> Point | None:
    """λ̂ of a run with its 95% interval at its T, from a column of its rows; None where it was not measured."""
    if outcome is None or not outcome.rows:
        return None
    row = outcome.rows[0]
    value = row.get(column)
    if not isinstance(value, int | float):
        return None
    reach = NORMAL_95 * float(row.get(f"{column}_se") or 0.0)
    return Point(float(row["T"] or 0.0), value, value - reach, value + reach)


def place_of(value: Any, values: Sequence[Any]) -> float:
    """Where a value stands on an axis: numbers where they are, words beside each other in their order.

    >>> place_of(5, [2, 5]), place_of("hard", ["stiff", "hard"])
    (5.0, 1.0)
    """
    return float(value) if all(map(is_number, values)) else float(list(values).index(value))


def constant_coefficients(outcomes: Iterable[Outcome]) -> list[tuple[list[str], float]]:
    """Laws whose c is the same for all runs that have them, those of one c together; none whose c is fitted."""
    found: dict[str, list[float]] = {}
    for row in (row for outcome in outcomes for row in outcome.rows):
        for key, value in row.items():
            if key.endswith("_c") and key != f"{FREE}_c" and isinstance(value, int | float):
                found.setdefault(key.removesuffix("_c"), []).append(value)
    lines: list[tuple[list[str], list[float]]] = []
    for law, values in found.items():
        if max(values) - min(values) > CONSTANT:
            continue
        near = next((line for line in lines if np.ptp([*line[1], *values]) <= CONSTANT), None)
        if near is None:
            lines.append(([law], values))
        else:
            near[0].append(law)
            near[1].extend(values)
    return [(laws, float(np.mean(values))) for laws, values in lines]


def plot_coefficients(
    axes: Axes,
    series: Mapping[str, Sequence[Point]],
    laws: Sequence[tuple[Sequence[str], float]],
    values: Sequence[object],
) -> Axes:
    """c with 95% intervals, a line for each series, and a dotted one for each c that laws have.

    Args:
        axes: where.
        series: points by what sets them apart; an empty title stands for the draws.
        laws: names, and their c.
        values: of the axis; between words there is no line.
    """
    joined = all(map(is_number, values))
    for place, (title, points) in enumerate(series.items(), 1):  # black is what all else is held against
        x, c, low, high = np.array(sorted(points)).T
        style = line_style(place)
        axes.errorbar(
            x, c, [c - low, high - c], color=style.colour, linestyle=style.dash if joined else "none",
            linewidth=1, marker="o", markersize=3.5, capsize=2, label=title or "draws, 95%",
        )  # fmt: skip
    for names, c in laws:
        axes.axhline(c, color=line_style(0).colour, linestyle=DOTTED, linewidth=0.8)
        axes.annotate(
            ", ".join(names), (1, c), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    axes.set_ylabel("c of the draws")
    if series:
        across = 2 if max(map(len, series)) < LONG else 1
        legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=across)  # no line of a law runs through it
    return axes


def label_setting(axes: Axes, name: str, values: Sequence[object]) -> Axes:
    """The x-axis of a setting: logarithmic where its numbers span a decade, words where they are none."""
    axes.set_xlabel(name)
    numbers = [float(value) for value in values if isinstance(value, int | float) and is_number(value)]
    if len(numbers) < len(values):
        axes.set_xticks(range(len(values)), [spelled(value) for value in values])
    elif min(numbers) > 0 and max(numbers) > LOGARITHMIC * min(numbers):
        log_axis(axes)
        if len(set(numbers)) <= FEW:
            axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
            axes.set_xticks([], minor=True)
    axes.margins(x=0.06, y=0.12)
    return axes
