"""Runs beside each other as a page: a table, c and distances against what differs, small multiples of histograms."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.config.grid import is_number, label, spelled
from langevin_ib.config.processes import LAWS
from langevin_ib.output.blocks import Column, Line, Lines, Linked, Picture, Report, Table
from langevin_ib.output.chart import Chart, Curve, Panel, chart_figure
from langevin_ib.output.coefficients import (
    CONSTANT,
    Point,
    constant_coefficients,
    label_setting,
    place_of,
    plot_coefficients,
    point_of,
)
from langevin_ib.output.compare import Comparison, Saved
from langevin_ib.output.folders import png, summary_json, write, write_folder
from langevin_ib.output.histogram import BUILT_IN
from langevin_ib.output.page import page
from langevin_ib.output.plots import DOTTED, STYLE, LineStyle, legend, line_style, log_scale

PAGE = "report.html"
PANELS = 24  # above which a run is shown by one of its invariants
SERIES = 6  # with runs at one place of the axis, above which their distances share a panel
SHOWN = 3  # protocols of a choice, above which they are not listed
MOVERS = ("sampler", "confine", "noise")  # settings that say what moved the chains and what held them
WIDTH, HEIGHT = 3.8, 2.3  # of a panel, inches: letters of 8 points can be read where it fills a phone's screen


def save_comparison(comparison: Comparison, out: Path) -> Path:
    """Write `compare.json`, `compare.png`, `histograms.png` and `report.html`; returns the folder.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    folder = out / f"compare-{comparison.digest}"
    report = comparison_report(comparison, folder)

    def fill(fresh: Path) -> None:
        write(fresh / "compare.json", summary_json(comparison.to_dict()))
        pictures = {picture.name: png(picture.draw()) for picture in report.pictures}
        write(fresh / "compare.png", png(comparison_figure(comparison)))
        write(fresh / "histograms.png", pictures["histograms"])
        write(fresh / PAGE, page(report, pictures))

    return write_folder(folder, fill)


def comparison_report(comparison: Comparison, folder: Path) -> Report:
    """The runs as a page of this folder, from which links to their own pages lead."""
    runs = comparison.runs
    what = "differ" if comparison.knobs else "have the same settings but for how they are drawn"
    models = {str(run.settings["model"]) for run in runs}
    of = f" of {models.pop()}" if len(models) == 1 else ""
    # One picture for each plot, so that a page has as many beside each other as it has room for.
    parts = _parts(comparison)
    curves = [
        Picture(f"curve-{place}", f"{what} against {comparison.axis}", partial(_figure, comparison, [part]))
        for place, (what, part) in enumerate(parts, 1)
    ] or [Picture("curve-1", "neither c nor a law", partial(comparison_figure, comparison))]
    small = partial(comparison_chart, comparison)
    histograms = Picture("histograms", "Histograms of all runs with each law", lambda: chart_figure(small()), small)
    notes = [f"{comparison.title(run)}: {doubt}" for run in runs for doubt in run.doubts]
    return Report(
        title=f"{len(runs)} runs{of}, which {what}"
        + (f" in {', '.join(comparison.knobs)}" if comparison.knobs else ""),
        blocks=(
            *curves,
            runs_table(comparison, folder),
            histograms,
            Lines(tuple(Line(line) for line in _remarks(comparison)), "Beside each other"),
        ),
        appendix=(Lines(tuple(Line(note, "yellow") for note in notes), "Doubts"),) if notes else (),
        lead=comparison_answer(runs),
        rerun=_rerun(runs),
    )


def _rerun(runs: Sequence[Saved]) -> tuple[str, ...]:
    """The command, in the folder that has these runs; nothing if there is no such folder."""
    if len({run.folder.resolve().parent for run in runs}) > 1:
        return ()
    names = shlex.join(run.folder.resolve().name for run in runs)
    return (f"python -m langevin_ib.compare {names}", "# in the folder that has these runs")


def comparison_answer(runs: Sequence[Saved]) -> str:
    """Which laws hold in how many runs, and what the other runs came to; from their verdicts, every run counted."""
    agreed: dict[str, int] = {}
    for law in (law for run in runs for law in run.holding):
        agreed[law] = agreed.get(law, 0) + 1
    most_first = sorted(agreed.items(), key=lambda item: -item[1])
    said = ", ".join(f"with {law} in {count}" for law, count in most_first)
    first = f"The draws agree {said} of {len(runs)} runs" if said else ""
    return "; ".join([first or f"In none of the {len(runs)} runs is a law found to agree", *_rest(runs)]) + "."


def _rest(runs: Sequence[Saved]) -> list[str]:
    """How many of the runs in which no law agrees cannot decide, have no law that holds, have no law, are in doubt.

    And how many lie within the margin of a law that has another c.
    """
    without = [run for run in runs if not run.doubts and not run.holding]
    undecided = [run for run in without if run.undecided]
    differ = sum(bool(run.distances) and not (run.undecided or run.of_another_c) for run in without)
    other = [run for run in runs if run.of_another_c]
    whose = ", ".join(dict.fromkeys(law for run in other for law in run.of_another_c))
    bare = sum(not run.distances for run in without)
    doubtful = sum(bool(run.doubts) for run in runs)
    between = ", ".join(dict.fromkeys(law for run in undecided for law in run.undecided))
    parts = [
        (len(undecided), f"{_are(len(undecided))} undecided ({between})"),
        (len(other), f"{_are(len(other))} within the margin of a law whose c is not theirs ({whose})"),
        (differ, "differs from every law" if differ == 1 else "differ from every law"),
        (bare, f"{'has' if bare == 1 else 'have'} no law to be held against"),
        (doubtful, f"{_are(doubtful)} in doubt, without a verdict"),
    ]
    return [f"{count} {text}" for count, text in parts if count]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def runs_table(comparison: Comparison, folder: Path) -> Table:
    """A row for each run."""
    tells = _protocol_tells(comparison)
    columns = (
        Column("run", left=True),
        *(Column(name, left=not _is_number(comparison, name)) for name in comparison.knobs),
        *([Column("protocol", left=True, spare=3)] if tells else []),
        Column("c ± s.e."),
        Column("laws that hold (TV)", left=True),
        Column("doubts", spare=1),
    )
    rows = tuple(
        (
            _linked(run, folder),
            *(spelled(run.settings[name]) if name in run.settings else "–" for name in comparison.knobs),
            *([run.protocol] if tells else []),
            _coefficient(run),
            _standing(run),
            str(len(run.doubts) or "–"),
        )
        for run in comparison.runs
    )
    return Table(columns, (rows,), legend="TV: of the invariant that is furthest off")


def _protocol_tells(comparison: Comparison) -> bool:
    """Whether protocols differ, and no setting in the table says already what held the chains and moved them."""
    protocols = {run.protocol for run in comparison.runs}
    return len(protocols) > 1 and not any(name in MOVERS for name in comparison.knobs)


def _standing(run: Saved) -> str:
    """The laws that hold and those on which the run cannot decide, each with its distance; else the nearest.

    Apart from them those within the margin that have another c.
    """
    if run.doubts:
        return f"no verdict, {len(run.doubts)} doubt{'s' * (len(run.doubts) > 1)}"  # where its column has no room
    parts = [_listed(run, run.holding)] if run.holding else []
    if run.of_another_c:
        parts.append(f"c not theirs: {_listed(run, run.of_another_c)}")
    if run.undecided:
        parts.append(f"undecided: {_listed(run, run.undecided)}")
    if parts:
        return "; ".join(parts)
    nearest = sorted(run.distances, key=lambda law: run.distances[law].tv)[:1]
    return f"none; nearest: {_listed(run, nearest)}" if nearest else "–"


def _listed(run: Saved, laws: Sequence[str]) -> str:
    return ", ".join(f"{law} {run.distances[law].tv:.4f}" for law in laws)


def _is_number(comparison: Comparison, name: str) -> bool:
    return all(is_number(run.settings[name]) for run in comparison.runs if name in run.settings)


def _linked(run: Saved, folder: Path) -> str:
    """The run's name, which leads to its page if it has one."""
    report = run.folder / PAGE
    if not report.exists():
        return run.name
    return Linked(run.name, quote(Path(os.path.relpath(report.resolve(), folder.resolve())).as_posix()))


def _coefficient(run: Saved) -> str:
    row = run.outcome.rows[0]
    if not isinstance(row["c"], float | int):
        return "–"
    return f"{row['c']:z.3f} ± {row['c_se']:.3f}".replace("-", "−")


def _remarks(comparison: Comparison) -> list[str]:
    lines = _protocol_lines(comparison)
    for names, c in constant_coefficients(run.outcome for run in comparison.runs):
        which = "them" if len(names) > 1 else "it"
        lines.append(
            f"{', '.join(names)}: c = {c:z.2f}, to {CONSTANT:g}, in all runs that have {which}".replace(
                "c = -", "c = −"
            )
        )
    why = {str(run.outcome.rows[0]["reason"]): None for run in comparison.runs if run.outcome.rows[0]["reason"]}
    lines += [f"c is not estimated: {reason}" for reason in why]
    if comparison.followers:
        lines.append(f"they differ besides in {', '.join(comparison.followers)}: by rule, or as they were asked for")
    if _count(comparison) > PANELS:
        lines.append("of each run the first invariant alone is shown below")
    return lines


def _protocol_lines(comparison: Comparison) -> list[str]:
    """What held the chains and moved them, where no column says it."""
    protocols = dict.fromkeys(run.protocol for run in comparison.runs)
    if len(protocols) == 1:
        return [f"protocol of all runs: {next(iter(protocols))}"]
    if _protocol_tells(comparison):
        return []
    movers = [name for name in comparison.knobs if name in MOVERS]
    of: dict[str, dict[str, None]] = {}
    for run in comparison.runs:
        chosen = label({name: run.settings[name] for name in movers if name in run.settings})
        of.setdefault(chosen, {})[run.protocol] = None
    return [f"{chosen}: {'; '.join(each)}" for chosen, each in of.items() if len(each) <= SHOWN]


def _count(comparison: Comparison) -> int:
    return sum(len(run.summary["invariants"]) for run in comparison.runs)


def comparison_chart(comparison: Comparison) -> Chart:
    """Small multiples: each run's histograms, the same law in the same colour."""
    few = _count(comparison) <= PANELS
    panels = []
    for run in comparison.runs:
        invariants = run.summary["invariants"]
        c = _coefficient(run)
        c = c.replace(" ", "\N{NO-BREAK SPACE}")  # no line ends inside a number
        title = (
            comparison.title(run)
            + ("" if c == "–" else f", c\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{c}")
            + (", in doubt" if run.doubts else "")
        )
        for name in list(invariants)[: None if few else 1]:
            panels.append(Panel.of(title + (f", {name}" if len(invariants) > 1 else ""), name, invariants[name]))
    return Chart.of(panels, law_styles(comparison.runs), {})


def law_styles(runs: Sequence[Saved]) -> dict[str, LineStyle]:
    """Colour and dash of each law as in the runs' own pictures, no two alike.

    A built-in law has the place of its name; the own law of a process that has none of that name the first one.
    """
    places: dict[str, int] = {}
    for name in dict.fromkeys(law for run in runs for law in run.distances):
        wanted = [LAWS.index(name)] if name in LAWS else []
        if any(next(iter(run.distances)) == name for run in runs if run.distances):
            wanted.append(0)
        free = itertools.chain(wanted, itertools.count(BUILT_IN))
        places[name] = next(place for place in free if place not in places.values())
    return {name: line_style(place) for name, place in places.items()}


def comparison_figure(comparison: Comparison) -> Figure:
    """c and the distances of the laws against what differs, each where there is any, above each other."""
    return _figure(comparison, [part for _, part in _parts(comparison)])


def _parts(comparison: Comparison) -> list[tuple[str, Callable[[Axes], None]]]:
    """What is plotted, in words, and what plots it."""
    series, parts = _series(comparison), []
    if series:
        parts.append(("c of each run", partial(_plot_c, comparison, series)))
    if any(run.distances for run in comparison.runs):
        styles = {curve.laws[0]: curve for curve in comparison_chart(comparison).curves}
        for title, runs in _groups(comparison).items():
            of = f" of runs with {title}" if title else " of each run"
            parts.append((f"distance from each law{of}", partial(_plot_distances, comparison, styles, title, runs)))
    return parts


def _figure(comparison: Comparison, parts: Sequence[Callable[[Axes], None]]) -> Figure:
    with plt.rc_context(STYLE):
        count = max(len(parts), 1)
        picture, grid = plt.subplots(
            count, 1, figsize=(WIDTH, HEIGHT * count), layout="constrained", squeeze=False, sharex=True
        )
        for plot, axes in zip(parts, grid[:, 0], strict=False):
            plot(axes)
        label_setting(grid[-1, 0], comparison.axis, comparison.values())
        if not parts:
            grid[0, 0].set_title("there is neither c nor a law", fontsize=8)
    return picture


def _groups(comparison: Comparison) -> dict[str, list[Saved]]:
    """Runs by what tells those apart that stand at one place of the axis; all together where that are too many."""
    groups: dict[str, list[Saved]] = {}
    for run in comparison.runs:
        groups.setdefault(comparison.others(run), []).append(run)
    return groups if len(groups) <= SERIES else {"": list(comparison.runs)}


def _series(comparison: Comparison) -> dict[str, list[Point]]:
    """c of runs by what tells those apart that stand at one place of the axis."""
    values, series = comparison.values(), {}
    for run in comparison.runs:
        point = point_of(run.outcome, _place(comparison, run, values))
        if point is not None:
            series.setdefault(comparison.others(run), []).append(point)
    return series


def _place(comparison: Comparison, run: Saved, values: Sequence[object]) -> float:
    value = comparison.value(run)
    return place_of(tuple(value) if isinstance(value, list) else value, values)


def _plot_c(comparison: Comparison, series: dict[str, list[Point]], axes: Axes) -> None:
    laws = constant_coefficients(run.outcome for run in comparison.runs)
    plot_coefficients(axes, series, laws, comparison.values())


def _plot_distances(
    comparison: Comparison, curves: Mapping[str, Curve], title: str, runs: Sequence[Saved], axes: Axes
) -> None:
    """TV of each law from these runs with its 95% bounds, and the margin that verdicts go by."""
    values = comparison.values()
    joined = len({_place(comparison, run, values) for run in runs}) == len(runs) and all(map(is_number, values))
    for law, curve in curves.items():
        shown = [(_place(comparison, run, values), *run.distances[law]) for run in runs if law in run.distances]
        if not shown:
            continue
        x, tv, low, high = np.array(sorted(shown)).T
        axes.errorbar(
            x, tv, [np.maximum(tv - low, 0.0), np.maximum(high - tv, 0.0)], color=curve.style.colour,
            linestyle=curve.style.dash if joined else "none", linewidth=1, marker="o",
            markersize=3, capsize=2, label=curve.label,
        )  # fmt: skip
    log_scale(axes)
    margins = {run.settings.get("margin") for run in runs}
    if len(margins) == 1 and (margin := margins.pop()) is not None:
        axes.axhline(margin, color="0.4", linestyle=DOTTED, linewidth=0.8)
        axes.annotate("margin", (1, margin), xycoords=("axes fraction", "data"), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=7)  # fmt: skip
    axes.set_ylabel("TV from the law, 95%")
    legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, title=title or None, alignment="left")
