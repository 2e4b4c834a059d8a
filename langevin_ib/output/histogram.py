"""The picture of a run, from a `Result` and axes to axes: each law has a colour of its own, and its own dash."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from langevin_ib.laws.candidates import LawAbout
from langevin_ib.output.plots import OPEN, LineStyle, line_style
from langevin_ib.output.wording import wording_of
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import LawResult
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import Verdict

BUILT_IN = 6  # places of the built-in laws
# Names are shown as they are: a dollar sign of an invariant's name begins no formula.
PLAIN_TEXT: dict[str, Any] = {"text.parse_math": False, "text.usetex": False}
LEGEND_TITLE = "law [reference measure]: verdict"  # none where there is no law
LEGEND_SHARE = 0.55  # of the page's width: a wider legend goes under the panel, not over the curves
EDGE = 0.01  # of the page, left free
LEAST_LINE = 12  # characters
COLUMNS = 3
SIZE = (7.0, 5.6)  # of a single panel, inches
SMALL = (4.6, 4.2)
BARE = 0.72  # of the height, without residuals


def figure(result: Result) -> Figure:
    """Each invariant's histogram with every law, and the residuals below it if there is one: small multiples."""
    names = list(result.invariants)
    rows = 2 if any(invariant.laws for invariant in result.invariants.values()) else 1
    across = min(len(names), COLUMNS)
    down = -(-len(names) // across)
    width, height = SIZE if len(names) == 1 else (SMALL[0] * across, SMALL[1] * down)
    style: Any = {**OPEN, "font.size": 9, **PLAIN_TEXT}
    titles: list[tuple[Axes | None, Text]] = []  # of a panel, or of the page
    with plt.rc_context(style):
        picture, grid = plt.subplots(
            rows * down,
            across,
            figsize=(width, height if rows == 2 else BARE * height),
            height_ratios=(3, 1.3)[:rows] * down,
            layout="constrained",
            squeeze=False,
        )
        for place in range(down * across):
            panels = [grid[rows * (place // across) + i, place % across] for i in range(rows)]
            if place >= len(names):
                for axes in panels:
                    axes.set_axis_off()
                continue
            title = _plot_invariant(result, panels, names[place])
            if title is not None:
                titles.append((panels[0], title))
        first = grid[0, 0]
        if len(names) == 1:
            titles.append((None, first.set_title(caption(result), fontsize=8.5, loc="left")))
        else:
            titles.append((None, picture.suptitle(caption(result), fontsize=9, x=EDGE, ha="left")))
        own = first.get_legend()
        if own is None or own.get_window_extent().width > LEGEND_SHARE * picture.bbox.width:
            if own is not None:
                own.remove()
            _legend_below(first, picture, LEGEND_TITLE if rows == 2 else "")
        picture.draw_without_rendering()  # before that no panel has its place
        for axes, text in titles:
            _fit(text, (1.0 - EDGE) * picture.bbox.width if axes is None else axes.bbox.x1)
    return picture


def _plot_invariant(result: Result, panels: Sequence[Axes], name: str) -> Text | None:
    """Histogram above residuals, if there is room for these; the panel's title where there are several invariants."""
    top, bottom = panels[0], panels[-1]
    plot_histogram(result, top, name)
    if len(panels) > 1:
        plot_residuals(result, bottom, name)
        bottom.sharex(top)
        top.tick_params(labelbottom=False)
    bottom.set_xlabel(f"invariant {name}")
    if len(result.invariants) == 1:
        return None
    # The long labels of a single panel would run into each other.
    bottom.locator_params(axis="x", nbins=5)
    top.set_ylabel(f"density in d{name}")
    if len(panels) > 1:
        bottom.set_ylabel("law − draws\n(symlog)")
    if (own := top.get_legend()) is not None:
        own.remove()  # one for all panels: verdicts over all invariants are in the table
    invariant = result.invariants[name]
    title = "{} in [{:g}, {:g}], {:.1%} of the draws".format(name, *invariant.window, invariant.in_window)
    return top.set_title(title, fontsize=8.5, loc="left")


def _fit(text: Text, right: float) -> None:
    """Break the lines of a text that would go beyond an edge, given in pixels."""
    lines = text.get_text().split("\n")
    for _ in range(3):  # characters have different widths
        extent = text.get_window_extent()
        if extent.x1 <= right:
            return
        longest = max(map(len, text.get_text().split("\n")))
        room = max(int(longest * (right - extent.x0) / extent.width), LEAST_LINE)
        text.set_text("\n".join(textwrap.fill(line, room) for line in lines))


def _legend_below(axes: Axes, picture: Figure, title: str) -> None:
    """The legend of some axes under all panels, in as many columns as the page holds, its lines broken if need be."""
    handles, labels = axes.get_legend_handles_labels()
    page = (1.0 - 2.0 * EDGE) * picture.bbox.width
    for columns in (4, 3, 2, 1):
        legend = picture.legend(
            handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=8, title=title,
            title_fontsize=8, alignment="left",
        )  # fmt: skip
        width = legend.get_window_extent().width
        if width <= page or columns == 1:
            break
        legend.remove()
    beside = width - max(text.get_window_extent().width for text in legend.get_texts())
    for text in legend.get_texts() if width > page else ():
        _fit(text, text.get_window_extent().x0 + page - beside)
    # The panels keep their height.
    picture.set_figheight(picture.get_figheight() + legend.get_window_extent().height / picture.dpi)


def caption(result: Result) -> str:
    """Model, what was sampled, and how much was drawn, in two lines."""
    config, wording = result.plan.config, wording_of(result.details)
    first, where = next(iter(result.invariants.values())), ""
    if len(result.invariants) == 1:
        where = " in [{:g}, {:g}] ({:.1%})".format(*first.window, first.in_window)
    options = (f", {name} {_short(value)}" for name, value in config.model_options().items())
    sample = f"{result.run.chains} chains, {first.counted * first.in_window:.3g} draws{where}"
    return f"{config.model_name}{''.join(options)}, {wording.subject(result)}\n{wording.caption(result, sample)}"


def _short(value: object) -> str:
    """An option of a model.

    >>> _short(1.0), _short(True), _short("15,5")
    ('1', 'True', '15,5')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def plot_histogram(result: Result, axes: Axes, name: str) -> Axes:
    """Empirical density in dz with its 95% band, and each law's; laws with equal masses share a curve and a label."""
    invariant = result.invariants[name]
    edges = invariant.edges
    width = np.diff(edges)
    mass, se = invariant.mass, invariant.mass_se
    axes.stairs(mass / width, edges, fill=True, color="0.88", label="draws")
    axes.stairs((mass + 1.96 * se) / width, edges, baseline=(mass - 1.96 * se) / width, fill=True, color="0.6",
                label="95% band, between chains")  # fmt: skip
    centres = 0.5 * (edges[1:] + edges[:-1])
    style = styles(law.about for law in invariant.laws.values())
    for label, first, law in _groups(invariant.laws, verdicts(result, name)):
        colour, dash = style[first]
        # Bin means of the density, as the histogram shows: no curve is drawn where there is no integral.
        axes.plot(centres, law.mass / width, color=colour, linestyle=dash, linewidth=1.6, label=label)
    axes.set_ylabel(f"density in d{name}, given the window")
    # Room for the legend above the curves: the more lines it has, the more.
    lines = len(axes.get_legend_handles_labels()[1]) if len(result.invariants) == 1 else 0
    axes.set_ylim(0, (1.12 + 0.11 * max(lines - 5, 0)) * axes.get_ylim()[1])
    # Away from the bulk of the draws.
    free = "upper right" if mass @ centres < 0.5 * (edges[0] + edges[-1]) else "upper left"
    axes.legend(
        loc=free,
        frameon=False,
        fontsize=8,
        title=LEGEND_TITLE if invariant.laws else None,
        title_fontsize=8,
        alignment="left",
    )
    return axes


def plot_residuals(result: Result, axes: Axes, name: str) -> Axes:
    """(Law − draws) per bin, in units of the tallest bin, with the 95% band of the difference.

    Where the laws are weighed from draws of one of them, the band has the largest of their errors in it.
    """
    invariant = result.invariants[name]
    edges = invariant.edges
    mass, se = invariant.mass, invariant.mass_se
    errors = [law.mass_se for law in invariant.laws.values()]
    se = np.hypot(se, np.max(errors, axis=0) if errors else 0.0)
    top = mass.max()
    centres = 0.5 * (edges[1:] + edges[:-1])
    style = styles(law.about for law in invariant.laws.values())
    axes.stairs(1.96 * se / top, edges, baseline=-1.96 * se / top, fill=True, color="0.6")
    for _, first, law in _groups(invariant.laws, verdicts(result, name)):
        colour, dash = style[first]
        axes.plot(centres, (law.mass - mass) / top, color=colour, linestyle=dash, linewidth=1.3)
    axes.axhline(0, color="0.3", linewidth=0.6)
    # Linear over twice the band, logarithmic beyond: the laws that agree and those that differ both stay readable.
    threshold = _round_up(max(float(2 * 1.96 * se.max() / top), 1e-4))
    axes.set_yscale("symlog", linthresh=threshold, linscale=0.6)
    decades = [10.0**k for k in range(-6, 1) if 3 * threshold < 10.0**k <= np.max(np.abs(axes.get_ylim()))]
    ticks = [threshold, *decades]
    axes.set_yticks([-x for x in ticks[::-1]] + [0.0] + ticks)
    axes.yaxis.set_major_formatter(lambda x, _: f"{x:.1g}".replace("-", "−"))
    axes.minorticks_off()
    axes.set_ylabel("law − draws, symlog\n(share of tallest bin)")
    return axes


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten.

    >>> _round_up(0.0091), _round_up(0.2), _round_up(0.021)
    (0.01, 0.2, 0.05)
    """
    power = 10.0 ** np.floor(np.log10(value))
    step = next(step for step in (1, 2, 5, 10) if value <= step * power * (1.0 + 1e-9))
    return float(f"{step * power:.0e}")


def styles(laws: Iterable[LawAbout]) -> dict[str, LineStyle]:
    """{name: colour and dash}, no two alike: by a law's place; of laws without one the next that no built-in law has.

    >>> shown = styles([LawAbout("exact", "dz", "1", "own", 0), LawAbout("my own", "dz", "1", "control")])
    >>> list(shown.values()) == [line_style(0), line_style(BUILT_IN)]
    True
    """
    laws = list(laws)
    taken: dict[str, int] = {}
    for law in laws:
        if law.place is not None and law.place not in taken.values():
            taken[law.name] = law.place
    for law in laws:
        if law.name not in taken:
            places = itertools.chain((0,) if law.role == "own" else (), itertools.count(BUILT_IN))
            taken[law.name] = next(place for place in places if place not in taken.values())
    return {name: line_style(place) for name, place in taken.items()}


def verdicts(result: Result, name: str) -> dict[str, Verdict]:
    """What the legend says of each law: over all invariants where they share one legend."""
    if len(result.invariants) > 1:
        return result.verdicts
    return {name: law.comparison.verdict for name, law in result.invariants[name].laws.items()}


def _groups(laws: Mapping[str, LawResult], verdict: Mapping[str, Verdict]) -> list[tuple[str, str, LawResult]]:
    """(label, first name, law) for each set of laws whose bin masses coincide."""
    groups: list[list[str]] = []
    for name, law in laws.items():
        for group in groups:
            if np.max(np.abs(laws[group[0]].mass - law.mass)) < compare.SAME_LAW:
                group.append(name)
                break
        else:
            groups.append([name])
    labels = [" = ".join(_label(name, laws[name]) for name in group) for group in groups]
    return [
        (f"{label}: {verdict[group[0]]}", group[0], laws[group[0]]) for label, group in zip(labels, groups, strict=True)
    ]


def _label(name: str, law: LawResult) -> str:
    """Law and measure, and where they were fitted temperature and c."""
    label = f"{name} [{law.about.measure}]"
    if law.temperature is None:
        return label
    return f"{label}, T = {law.temperature:.2g}" + ("" if law.c is None else f", c = {law.c:z.2f}")
