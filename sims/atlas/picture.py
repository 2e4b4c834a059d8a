"""The picture of the atlas, from the cells alone: a panel each, coloured by the law that holds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from langevin_ib.output.plots import BLUE, GREEN, ORANGE, PURPLE, SOLID
from sims.atlas.cells import COLUMNS, ROWS
from sims.atlas.reading import EQUATIONS, Cell

# Inches. At 1200 pixels for the width, 100 pixels are one of them, and 8 points 11 pixels.
WIDTH, HEIGHT = 12.0, 8.25
LEFT, TOP, BOTTOM = 0.92, 1.18, 0.86
GAP = 0.07
STRIP, FOOT = 0.22, 0.2
INK, GREY, EDGE = "#1a1a1a", "#6b6b6b", "#c4c4c4"
# Told apart by any eye, and by their names beside; `exact` holds at a finite κ, λ or slab, between the limits.
COLOURS = {"slice": BLUE, "hard": ORANGE, "pushforward": GREEN, "exact": "#3a3a3a", "map": "#E69F00", "sgd": "#E69F00"}
DARK_TEXT = {"map", "sgd"}  # strips that are too light for white letters
PAPERS = {"printed": PURPLE, "slice": BLUE}
DASHED: Any = (0, (3, 1.4))
MEANING = {
    "slice": "slice, c = 1: the paper's theorem, eq. (8)",
    "hard": "hard, c = 0",
    "pushforward": "pushforward, c = −1: where plain marginals drift to, but ReLU's",
    "exact": "exact, at the run's finite κ, λ or slab: no limit is near enough",
    "map": "SGD's own law: map, at its learning rate, or (S), its limit",
}
PLAIN: Any = {"text.parse_math": False, "font.size": 8, "hatch.linewidth": 0.6, "font.family": "DejaVu Sans"}


def atlas(cells: Mapping[str, Cell]) -> Figure:
    """The whole picture."""
    with plt.rc_context(PLAIN):
        figure = plt.figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        across, down = len(COLUMNS), len(ROWS)
        width = (WIDTH - LEFT - GAP) / across
        height = (HEIGHT - TOP - BOTTOM) / down
        _text(figure, GAP, HEIGHT - 0.3, "Which reduced law do the draws obey?", size=14, weight="bold")
        _text(
            figure, GAP, HEIGHT - 0.55,
            "Each cell: a run on the full parameter space, projected onto the invariants of the symmetry. Grey: draws; "
            "line: the law that holds; dashed: the paper's, where it does not.", size=9, colour=GREY,
        )  # fmt: skip
        for j, column in enumerate(COLUMNS.values()):
            centre = LEFT + (j + 0.5) * width
            for text, low, weight in zip(column.title, (0.86, 1.04), ("bold", "normal"), strict=True):
                _text(figure, centre, HEIGHT - low, text, size=9 if weight == "bold" else 8, weight=weight, ha="center")
        for i, (row, about) in enumerate(ROWS.items()):
            low = HEIGHT - TOP - (i + 1) * height
            _text(figure, GAP, low + 0.5 * height, about.title, size=10, weight="bold")
            for j, column in enumerate(COLUMNS):
                box = LEFT + j * width, low + GAP, width - GAP, height - GAP
                _draw_cell(figure, cells[f"{row}-{column}"], box)
        _legend(figure)
    plt.close(figure)
    return figure


def _draw_cell(figure: Figure, cell: Cell, box: tuple[float, float, float, float]) -> None:
    """Strip with the headline, thumbnail, foot with the verdict and the paper's equations that differ."""
    left, low, width, height = box
    held = cell.law is not None and cell.decided
    colour = COLOURS[cell.law] if cell.law else "#b9b9b9"
    strip = colour if held else _pale(colour, 0.55) if cell.law else "#e3e3e3"
    _box(figure, box, facecolor=_pale(colour, 0.93) if cell.law else "#f6f6f6", edgecolor=EDGE, linewidth=0.6)
    hatch = "////" if cell.law and not held else None
    top = left, low + height - STRIP, width, STRIP
    _box(figure, top, facecolor=strip, edgecolor=_pale(colour, 0.3) if hatch else strip, hatch=hatch, linewidth=0)
    ink = "white" if held and cell.law not in DARK_TEXT else INK
    label = _text(
        figure, left + 0.5 * width, low + height - 0.5 * STRIP, cell.headline, size=8, weight="bold", colour=ink,
        ha="center",
    )  # fmt: skip
    if hatch:
        label.set_bbox({"facecolor": strip, "edgecolor": "none", "pad": 0.6})
    _foot(figure, cell, box)
    inner = left + 0.05, low + 2 * FOOT - 0.02, width - 0.1, height - STRIP - 2 * FOOT - 0.02
    axes = figure.add_axes((inner[0] / WIDTH, inner[1] / HEIGHT, inner[2] / WIDTH, inner[3] / HEIGHT))
    axes.set_axis_off()
    if cell.more.get("histogram"):
        _histogram(axes, cell)
    elif cell.more.get("drift"):
        _drift(axes, cell.more["drift"])
    else:
        words = textwrap.fill(cell.reason, 22)
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=7.5, color=GREY, transform=axes.transAxes)


def _foot(figure: Figure, cell: Cell, box: tuple[float, float, float, float]) -> None:
    """Two lines: the verdict; the equations of the paper that differ."""
    left, low, width, _ = box
    has_picture = bool(cell.more.get("histogram") or cell.more.get("drift"))
    if has_picture:
        words = cell.verdict.removesuffix(", undecided")  # which the hatching says
        size = 7.3 if len(words) <= 22 else 6.7  # to end before the border
        _text(figure, left + 0.06, low + 1.5 * FOOT - 0.03, words, size=size, colour=INK)
    if cell.against:
        words = "≠ eq. " + ", ".join(f"({equation})" for equation in cell.against)
        _text(figure, left + 0.06, low + 0.5 * FOOT, words, size=7.3, weight="bold", colour="#8c1d4f")
    beta = cell.more.get("beta")
    if beta not in (None, 10.0):
        _text(figure, left + width - 0.06, low + 0.5 * FOOT, f"β = {beta:g}", size=7.3, colour=GREY, ha="right")


def _histogram(axes: Axes, cell: Cell) -> None:
    """The draws' density, the law that holds over it, and the paper's where it differs."""
    found = cell.more["histogram"]
    edges = np.array(found["edges"])
    widths = np.diff(edges)
    draws = np.array(found["draws"]) / widths
    axes.stairs(draws, edges, fill=True, color="#bdbdbd", linewidth=0)
    centres = 0.5 * (edges[1:] + edges[:-1])
    own = cell.law or next((law for law in ("exact", "map", "sgd") if law in found), None)
    lines = [(law, PAPERS[law], DASHED, 1.1) for law, equation in EQUATIONS.items() if equation in cell.against]
    if own is not None:
        lines.append((own, COLOURS[own] if cell.law else GREY, SOLID, 1.3))
    highest = draws.max()
    for law, colour, dash, size in lines:
        density = np.array(found[law]) / widths
        axes.plot(centres, density, color=colour, linestyle=dash, linewidth=size)
        highest = max(highest, density.max())
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0.0, 1.05 * highest)


def _drift(axes: Axes, stretches: list[list[float]]) -> None:
    """c of the plain marginal against time (logarithmic), between the theorem's 1 and −1."""
    start, end, c, error = np.array(stretches).T
    middle = np.sqrt(np.maximum(start, 1e-3 * end) * end)
    for level, colour, side in ((1.0, COLOURS["slice"], "bottom"), (-1.0, COLOURS["pushforward"], "top")):
        axes.axhline(level, color=colour, linewidth=1.0, linestyle=DASHED)
        words, at = f"c = {level:.0f}".replace("-", "−"), level + np.copysign(0.16, level)  # not between the lines
        axes.text(0.01, at, words, fontsize=7, color=colour, va=side, transform=axes.get_yaxis_transform())
    axes.errorbar(middle, c, 2.0 * error, color=INK, marker="o", markersize=2.6, linewidth=1.0, elinewidth=0.8)
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_ylim(min(-2.1, float(np.min(c - 2.0 * error))), max(2.1, float(np.max(c + 2.0 * error))))


def _legend(figure: Figure) -> None:
    """What colours, hatching and signs mean, under the grid."""
    handles: list[Any] = [Patch(facecolor=COLOURS[law], label=words) for law, words in MEANING.items()]
    blue = COLOURS["slice"]
    handles += [
        Patch(facecolor=_pale(blue, 0.55), edgecolor=_pale(blue, 0.3), hatch="////", linewidth=0,
              label="hatched: undecided, with at most exact besides"),
        Patch(facecolor="#e3e3e3", label="grey: every law differs, several are left, or there is none"),
        Line2D([], [], color=PAPERS["slice"], linestyle=DASHED, label="≠ eq. (8): the draws differ from the theorem"),
        Line2D([], [], color=PAPERS["printed"], linestyle=DASHED, label="≠ eq. (6): from it as printed, against dz"),
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(GAP / WIDTH, 0.26 / HEIGHT), ncols=3, frameon=False,
        fontsize=8, handlelength=1.9, columnspacing=1.6, borderaxespad=0.0, labelspacing=0.35,
    )  # fmt: skip
    _text(
        figure, GAP + 0.03, 0.13,
        "c is the exponent of exp(−ℓ/T) det G^(−c/2) dσ_S that fits the draws best, ± one standard error; TV is the "
        "total-variation distance, margin 0.01. Unconfined: c of the plain marginal against log time.",
        size=8, colour=GREY,
    )  # fmt: skip


def _text(
    figure: Figure, x: float, y: float, words: str, *, size: float, weight: str = "normal", colour: str = INK,
    ha: str = "left",
) -> Any:  # fmt: skip
    """Text at a place given in inches."""
    return figure.text(
        x / WIDTH, y / HEIGHT, words, fontsize=size, fontweight=weight, color=colour, ha=ha, va="center",
    )  # fmt: skip


def _box(figure: Figure, box: tuple[float, float, float, float], **options: Any) -> None:
    """A rectangle given in inches, under all text."""
    left, low, width, height = box
    corner = left / WIDTH, low / HEIGHT
    patch = Rectangle(corner, width / WIDTH, height / HEIGHT, transform=figure.transFigure, zorder=-1, **options)
    figure.add_artist(patch)


def _pale(colour: str, share: float) -> tuple[float, float, float]:
    """A colour mixed with white."""
    red, green, blue = (share + (1.0 - share) * part for part in to_rgb(colour))
    return red, green, blue
