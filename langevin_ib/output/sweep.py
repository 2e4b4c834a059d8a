"""A sweep's table and figure: a row for each run and coordinate, c against what was swept."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.config.grid import Grid, Member, is_number, label, spelled
from langevin_ib.config.run import RunConfig
from langevin_ib.files import write_whole
from langevin_ib.output.folders import SUMMARY, png, write, write_folder
from langevin_ib.output.plots import DOTTED, STYLE, legend, line_style, log_axis

Cell: TypeAlias = str | int | float | None
Row: TypeAlias = dict[str, Cell]
Status: TypeAlias = Literal["done", "failed", "unfinished"]

MEMBERS = ".members"  # in the output folder: which folder the run of some settings has, every `auto` filled in
RESULT = ("scalar", "c", "c_se", "c_low", "c_high", "r_hat", "ess", "doubts")
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # a file that is not there, or is not ours
COLUMNS = ("member", "digest", "folder", "status", "reason", *RESULT)
BETWEEN = " | "  # of doubts
CONSTANT = 0.02  # by which a law's c may differ between members and still be one line
LOGARITHMIC = 10.0  # largest over smallest value, above which an axis is logarithmic
FEW = 7  # values that have a tick each
WIDTH, HEIGHT = 5.2, 3.4  # inches


class Outcome(NamedTuple):
    """What became of a member.

    Attributes:
        status: done, failed, or unfinished where the sweep was stopped first.
        folder: of its run, in the output folder; empty without.
        reason: why it failed.
        rows: what was measured, one for each coordinate.
    """

    status: Status
    folder: str = ""
    reason: str = ""
    rows: tuple[Row, ...] = ()


def note_folder(out: Path, config: RunConfig, folder: Path) -> None:
    """Keep which folder the run of these settings has: its hash is known only once every `auto` is filled in."""
    write_whole(_note(out, config), json.dumps({"folder": folder.name}).encode())


def finished(out: Path, config: RunConfig) -> Outcome | None:
    """The run of these settings, if its folder is there and is no partial one."""
    names = [config.run_name]
    with contextlib.suppress(*UNREADABLE):
        names.insert(0, str(json.loads(_note(out, config).read_bytes())["folder"]))
    for name in names:
        try:
            return outcome_of(out / name)
        except UNREADABLE:
            continue
    return None


def outcome_of(folder: Path) -> Outcome:
    """The outcome of a run that was saved.

    Raises:
        OSError, ValueError, KeyError, TypeError: the folder holds no whole run.
    """
    summary = json.loads((folder / SUMMARY).read_bytes())
    if summary.get("partial") or not summary["invariants"]:
        raise ValueError(f"{folder} has been interrupted")
    return Outcome("done", folder.name, rows=tuple(_measured(summary)))


def _note(out: Path, config: RunConfig) -> Path:
    return out / MEMBERS / f"{config.run_name}.json"


def _measured(summary: dict[str, Any]) -> Iterable[Row]:
    diagnostics = summary["diagnostics"]
    for scalar, invariant in summary["invariants"].items():
        found = invariant["correction"]
        low, high = found.get("ci95", (None, None))
        values = (found["c"], found.get("se"), low, high, diagnostics["r_hat"], diagnostics["ess"])
        row: Row = dict(zip(RESULT, (scalar, *values, BETWEEN.join(summary["doubts"])), strict=True))
        row["reason"] = found.get("why", "")
        for law, beside in invariant["laws"].items():
            row |= {f"{law}_verdict": beside["verdict"], f"{law}_tv": beside["tv"], f"{law}_c": beside["c"]}
        yield row


def rows_of(grid: Grid, outcomes: Mapping[int, Outcome]) -> list[Row]:
    """The table: what was swept, which run, what it came to; one row of a member without a result.

    Args:
        grid: of the members.
        outcomes: by their numbers; a member without one is unfinished.
    """
    rows = []
    for member in grid.members:
        outcome = outcomes.get(member.number, Outcome("unfinished"))
        for measured in outcome.rows or ({},):
            reason = outcome.reason or measured.get("reason", "")
            which = (member.number, member.config.digest(), outcome.folder, outcome.status, reason)
            rest = {name: value for name, value in measured.items() if name != "reason"}
            rows.append({**dict(zip(COLUMNS, which, strict=False)), **_swept(member, grid), **rest})
    names = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    swept = [_column(name) for name in grid.axes]
    order = ["member", *swept, *COLUMNS[1:], *(name for name in names if name not in swept)]
    return [{name: row.get(name) for name in order} for row in rows]


def _swept(member: Member, grid: Grid) -> Row:
    """Values of one type in each column: numbers where all of an axis are."""
    return {
        _column(name): value if all(map(is_number, grid.axes[name])) else spelled(value)
        for name, value in member.swept.items()
    }


def _column(name: str) -> str:
    return f"{name}_set" if name in COLUMNS else name


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV; what is missing is empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def has_parquet() -> bool:
    """Whether tables can be written as Parquet."""
    return find_spec("pyarrow") is not None


def to_parquet(rows: Sequence[Row]) -> memoryview:
    """The table as Parquet, by pyarrow; whole and other numbers of a column are one type."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    content = io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    real = {name for name, cells in columns.items() if any(isinstance(cell, float) for cell in cells)}
    made = {
        name: [float(cell) if name in real and isinstance(cell, int) else cell for cell in cells]
        for name, cells in columns.items()
    }
    parquet.write_table(arrow.table(made), content)
    return content.getbuffer()


def save_sweep(grid: Grid, settings: str, outcomes: Mapping[int, Outcome], out: Path) -> Path:
    """Write `sweep.toml`, `sweep.csv`, `sweep.parquet` where pyarrow is, and `sweep.png`; returns the folder.

    Args:
        grid: of the members.
        settings: the file that it was made from.
        outcomes: of the members that have one.
        out: where the folder goes.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    rows = rows_of(grid, outcomes)

    def fill(fresh: Path) -> None:
        write(fresh / "sweep.toml", settings)
        write(fresh / "sweep.csv", to_csv(rows))
        if has_parquet():
            write(fresh / "sweep.parquet", to_parquet(rows))
        write(fresh / "sweep.png", png(figure(grid, outcomes)))

    return write_folder(out / grid.name, fill)


class Point(NamedTuple):
    """c of a member, and its place on the axis."""

    x: float
    c: float
    low: float
    high: float


def figure(grid: Grid, outcomes: Mapping[int, Outcome]) -> Figure:
    """c with 95% intervals against the first numeric setting; the others are series; lines where laws have one c."""
    name = next((name for name, axis in grid.axes.items() if all(map(is_number, axis))), next(iter(grid.axes)))
    with plt.rc_context(STYLE):
        picture, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    series = _series(grid, outcomes, name)
    for place, (title, points) in enumerate(series.items(), 1):  # black is what all else is held against
        x, c, low, high = np.array(sorted(points)).T
        style = line_style(place)
        axes.errorbar(
            x, c, [c - low, high - c], color=style.colour, linestyle=style.dash, linewidth=1,
            marker="o", markersize=3.5, capsize=2, label=title or "draws, 95%",
        )  # fmt: skip
    for laws, c in _constant(outcomes.values()):
        axes.axhline(c, color=line_style(0).colour, linestyle=DOTTED, linewidth=0.8)
        axes.annotate(
            ", ".join(laws), (1, c), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    _label_x(axes, name, grid.axes[name])
    axes.set_ylabel("c of the draws")
    if series:
        legend(axes, loc="best")
    else:
        axes.set_title("c has been measured of no member", fontsize=8)
    return picture


def _series(grid: Grid, outcomes: Mapping[int, Outcome], name: str) -> dict[str, list[Point]]:
    """Points by the settings that are swept besides; c is one number of a run, whatever its coordinates."""
    series: dict[str, list[Point]] = {}
    for member in grid.members:
        rows = outcomes[member.number].rows if member.number in outcomes else ()
        if not rows or rows[0]["c"] is None:
            continue
        value = member.swept[name]
        x = value if all(map(is_number, grid.axes[name])) else grid.axes[name].index(value)
        title = label({other: value for other, value in member.swept.items() if other != name})
        point = Point(x, *(float(rows[0][key] or 0.0) for key in ("c", "c_low", "c_high")))
        series.setdefault(title, []).append(point)
    return series


def _constant(outcomes: Iterable[Outcome]) -> list[tuple[list[str], float]]:
    """Laws whose c is the same for all members that have them, those of one c together."""
    found: dict[str, list[float]] = {}
    for row in (row for outcome in outcomes for row in outcome.rows):
        for key, value in row.items():
            if key.endswith("_c") and isinstance(value, int | float):
                found.setdefault(key.removesuffix("_c"), []).append(value)
    lines: list[tuple[list[str], float]] = []
    for law, values in found.items():
        if max(values) - min(values) > CONSTANT:
            continue
        c = float(np.mean(values))
        near = next((laws for laws, other in lines if abs(c - other) <= CONSTANT), None)
        if near is None:
            lines.append(([law], c))
        else:
            near.append(law)
    return lines


def _label_x(axes: Axes, name: str, values: Sequence[object]) -> None:
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
