"""A sweep's table and figure: a row for each run and coordinate, c against what was swept."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from langevin_ib.config.grid import Grid, Member, is_number, label, spelled
from langevin_ib.config.run import RunConfig
from langevin_ib.files import write_whole
from langevin_ib.output.coefficients import (
    RESULT,
    Outcome,
    Point,
    Row,
    constant_coefficients,
    label_setting,
    learning_point,
    outcome_of,
    place_of,
    plot_coefficients,
    plot_learning,
    point_of,
)
from langevin_ib.output.folders import png, write, write_folder
from langevin_ib.output.plots import STYLE

MEMBERS = ".members"  # in the output folder: which folder the run of some settings has, every `auto` filled in
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # a file that is not there, or is not ours
COLUMNS = ("member", "digest", "folder", "status", "reason", *RESULT)
HEAT = {"beta", "sigma"}  # what T is made of
WIDTH, HEIGHT = 5.2, 3.4  # inches


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


def _note(out: Path, config: RunConfig) -> Path:
    return out / MEMBERS / f"{config.run_name}.json"


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


def figure(grid: Grid, outcomes: Mapping[int, Outcome]) -> Figure:
    """c with 95% intervals against the first numeric setting; the others are series; lines where laws have one c.

    Below it, where T is swept, λ̂ against T: over the draws that laws are held against, or over all.
    """
    learning = _learning(grid, outcomes)
    name = next((name for name, axis in grid.axes.items() if all(map(is_number, axis))), next(iter(grid.axes)))
    with plt.rc_context(STYLE):
        panels = 2 if learning else 1
        picture, every = plt.subplots(panels, 1, figsize=(WIDTH, panels * HEIGHT), layout="constrained", squeeze=False)
        axes = every[0, 0]
    if learning:
        rows = [row for outcome in outcomes.values() for row in outcome.rows]
        regular = [float(row["lambda_regular"]) for row in rows if isinstance(row["lambda_regular"], int | float)]
        plot_learning(every[1, 0], learning, regular)
    series = _series(grid, outcomes, name)
    plot_coefficients(axes, series, constant_coefficients(outcomes.values()), grid.axes[name])
    label_setting(axes, name, grid.axes[name])
    if not series:
        axes.set_title("c has been measured of no member", fontsize=8)
    return picture


def _learning(grid: Grid, outcomes: Mapping[int, Outcome]) -> dict[str, list[Point]]:
    """λ̂ by the settings that are swept besides those of T; nothing where T is not swept."""
    if not HEAT.intersection(grid.axes):
        return {}
    names = {"lambda_hat": "all draws", "lambda_window": "in the window"}
    series: dict[str, list[Point]] = {}
    for column, which in names.items():
        for member in grid.members:
            point = learning_point(outcomes.get(member.number), column)
            if point is not None:
                rest = label({other: value for other, value in member.swept.items() if other not in HEAT})
                series.setdefault(", ".join(filter(None, (rest, which))), []).append(point)
    return series


def _series(grid: Grid, outcomes: Mapping[int, Outcome], name: str) -> dict[str, list[Point]]:
    """Points by the settings that are swept besides."""
    series: dict[str, list[Point]] = {}
    for member in grid.members:
        point = point_of(outcomes.get(member.number), place_of(member.swept[name], grid.axes[name]))
        if point is not None:
            title = label({other: value for other, value in member.swept.items() if other != name})
            series.setdefault(title, []).append(point)
    return series
