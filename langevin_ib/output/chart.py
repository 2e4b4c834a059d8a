"""The numbers of a histogram beside its laws, as a page carries them for its own script to draw."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.output.plots import OPEN, LineStyle, dark
from langevin_ib.plain import JsonObject
from langevin_ib.statistics.compare import SAME_LAW

COLUMNS = 3
SIZE = (3.4, 2.6)  # of a panel, inches
TITLE = 48  # characters of a line above it
NORMAL95 = 1.96  # standard errors


class LawMass(NamedTuple):
    """Masses of a law in the bins of a panel, and their standard errors."""

    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]

    def to_dict(self) -> JsonObject:
        """Without errors that are all zero, those of a quadrature."""
        own: JsonObject = {"mass": self.mass.tolist()}
        return own | {"mass_se": self.mass_se.tolist()} if self.mass_se.any() else own


@dataclass(frozen=True)
class Panel:
    """One histogram.

    Attributes:
        title: above it, where there are several.
        scalar: the invariant.
        edges: of the bins.
        mass, mass_se: of each bin, with its standard error.
        laws: beside it, by name.
    """

    title: str
    scalar: str
    edges: Float[np.ndarray, " edges"]
    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]
    laws: Mapping[str, LawMass]

    @classmethod
    def of(cls, title: str, scalar: str, invariant: Mapping[str, Any]) -> Panel:
        """Of an invariant in `summary.json`."""
        laws = {
            name: LawMass(_numbers(law["mass"]), _numbers(law["mass_se"])) for name, law in invariant["laws"].items()
        }
        edges, mass, mass_se = (_numbers(invariant[key]) for key in ("bins", "empirical", "empirical_se"))
        return cls(title, scalar, edges, mass, mass_se, laws)

    def to_dict(self) -> JsonObject:
        """As the page has it."""
        return {
            "title": self.title,
            "scalar": self.scalar,
            "edges": self.edges.tolist(),
            "mass": self.mass.tolist(),
            "mass_se": self.mass_se.tolist(),
            "laws": {name: law.to_dict() for name, law in self.laws.items()},
        }


class Curve(NamedTuple):
    """Laws of equal masses, which share a curve.

    Attributes:
        laws: their names.
        verdict: of them, or empty.
        style: of the first.
    """

    laws: tuple[str, ...]
    verdict: str
    style: LineStyle

    @property
    def label(self) -> str:
        """As a button has it."""
        return " = ".join(self.laws)

    def to_dict(self) -> JsonObject:
        """As the page has it: colours on a light and on a dark ground, a dash as SVG spells it."""
        dash = "" if isinstance(self.style.dash, str) else " ".join(f"{1.6 * part:g}" for part in self.style.dash[1])
        colours: JsonObject = {"light": self.style.colour, "dark": dark(self.style.colour)}
        return {"laws": list(self.laws), "label": self.label, "verdict": self.verdict, "dash": dash, **colours}


@dataclass(frozen=True)
class Chart:
    """Histograms with the laws beside them: small multiples.

    Attributes:
        panels: one for each invariant.
        curves: what is drawn in them.
    """

    panels: tuple[Panel, ...]
    curves: tuple[Curve, ...]

    @classmethod
    def of(cls, panels: Sequence[Panel], styles: Mapping[str, LineStyle], verdicts: Mapping[str, str]) -> Chart:
        """Of these panels.

        Args:
            panels: in their order.
            styles: of each law.
            verdicts: of laws, if they have one for all panels.
        """
        groups = _equal(panels)
        curves = (Curve(group, verdicts.get(group[0], ""), styles[group[0]]) for group in groups)
        return cls(tuple(panels), tuple(curves))

    def to_dict(self) -> JsonObject:
        """As the page has it."""
        return {
            "curves": [curve.to_dict() for curve in self.curves],
            "panels": [panel.to_dict() for panel in self.panels],
        }


def _numbers(values: Sequence[float | None]) -> Float[np.ndarray, " n"]:
    """An array; null is not a number."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _equal(panels: Sequence[Panel]) -> list[tuple[str, ...]]:
    """Laws that have equal masses in every panel, and are in the same ones."""
    groups: list[list[str]] = []
    for name in dict.fromkeys(name for panel in panels for name in panel.laws):
        group = next((group for group in groups if all(_is_same(panel, group[0], name) for panel in panels)), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return [tuple(group) for group in groups]


def _is_same(panel: Panel, first: str, second: str) -> bool:
    if first not in panel.laws or second not in panel.laws:
        return (first in panel.laws) == (second in panel.laws)
    return bool(np.max(np.abs(panel.laws[first].mass - panel.laws[second].mass)) < SAME_LAW)


def chart_figure(chart: Chart) -> Figure:
    """The same panels as a picture."""
    across = min(len(chart.panels), COLUMNS)
    down = -(-len(chart.panels) // across)
    style: Any = {**OPEN, "font.size": 8, "text.parse_math": False, "text.usetex": False}
    with plt.rc_context(style):
        picture, grid = plt.subplots(
            down, across, figsize=(SIZE[0] * across, SIZE[1] * down), layout="constrained", squeeze=False
        )
        for place, axes in enumerate(grid.flat):
            if place < len(chart.panels):
                _plot_panel(chart, chart.panels[place], axes)
            else:
                axes.set_axis_off()
        drawn = {}
        for axes in grid.flat:
            drawn |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        picture.legend(drawn.values(), drawn.keys(), loc="outside lower left", ncols=4, frameon=False, fontsize=8)
    return picture


def _plot_panel(chart: Chart, panel: Panel, axes: Axes) -> None:
    width = np.diff(panel.edges)
    centres = 0.5 * (panel.edges[1:] + panel.edges[:-1])
    error = NORMAL95 * panel.mass_se
    axes.stairs(panel.mass / width, panel.edges, fill=True, color="0.88", label="draws")
    axes.stairs((panel.mass + error) / width, panel.edges, baseline=(panel.mass - error) / width, fill=True,
                color="0.6", label="95% band, between chains")  # fmt: skip
    for curve in chart.curves:
        law = next((panel.laws[name] for name in curve.laws if name in panel.laws), None)
        if law is not None:
            colour, dash = curve.style
            axes.plot(centres, law.mass / width, color=colour, linestyle=dash, linewidth=1.3, label=curve.label)
    axes.set_title(textwrap.fill(panel.title, TITLE), fontsize=8, loc="left")
    axes.set_xlabel(f"invariant {panel.scalar}")
    axes.set_ylabel(f"density in d{panel.scalar}")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=5)
