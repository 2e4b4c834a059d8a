"""What all pictures are made of: one palette, a colour and a dash for each place, and helpers from axes to axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from langevin_ib.statistics.seeds import Band

BLACK, BLUE, ORANGE, GREEN, PURPLE, YELLOW = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
# By place. Okabe & Ito's, then Tol's, which are told apart from them by any eye; the first is of what all else is held
# against.
PALETTE = (BLACK, BLUE, ORANGE, GREEN, PURPLE, YELLOW, "#56B4E9", "#882255", "#999933", "#332288")
# The same on a dark ground: what is dark itself is lightened, the hue kept.
ON_DARK = {
    BLACK: "#ffffff", BLUE: "#4fa8e0", ORANGE: "#f28a3c", GREEN: "#2fc79a", "#882255": "#d46a9f", "#332288": "#9a8cf0",
}  # fmt: skip
SOLID, DOTTED = "-", (0, (1, 1.2))
PATTERNS: tuple[Any, ...] = (
    SOLID, (0, (6, 2)), (0, (3, 1.5)), DOTTED, (0, (5, 1, 1, 1)), (0, (4, 1, 1, 1, 1, 1)),
    (0, (8, 3)), (0, (2, 2)), (0, (8, 1, 1, 1)), (0, (6, 1, 3, 1)), (0, (1, 3)),
)  # fmt: skip
# Of models beside each other, of which none is what the others are held against.
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, BLACK)
DASHES = tuple(PATTERNS[place] for place in (0, 1, 3, 4, 5, 6))
WIDTH = 3.6  # inches: one column of a paper
NARROW = 0.5  # decades of a logarithmic axis under which its ticks are those of a linear one
FEW = 1.7  # decades under which a logarithmic axis has numbers at 2 and 5 too
LOW, HIGH = 0.05, 0.95  # the band of 90% of the seeds
OPEN: Any = {"axes.spines.top": False, "axes.spines.right": False}
STYLE: Any = {**OPEN, "font.size": 8, "legend.fontsize": 7}


class LineStyle(NamedTuple):
    """How a line is drawn."""

    colour: str
    dash: Any


def line_style(place: int) -> LineStyle:
    """Of a place in the palette: a mechanism's, or a law's. There are 10 colours and 11 dashes: 110 places differ.

    >>> line_style(0)
    LineStyle(colour='#000000', dash='-')
    """
    return LineStyle(PALETTE[place % len(PALETTE)], PATTERNS[place % len(PATTERNS)])


def dark(colour: str) -> str:
    """A colour of the palette as it is shown on a dark ground.

    >>> dark(BLACK), dark(YELLOW) == YELLOW
    ('#ffffff', True)
    """
    return ON_DARK.get(colour, colour)


def panels(count: int, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """`count` panels one above the other, one column wide, lettered from a."""
    with plt.rc_context(STYLE):
        picture, grid = plt.subplots(count, 1, figsize=(WIDTH, height * count), layout="constrained", squeeze=False)
    axes = list(grid[:, 0])
    for letter, panel in zip("abcdef", axes, strict=False):
        if count > 1:
            panel.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    return picture, axes


def closed(picture: Figure) -> Figure:
    """The picture, which pyplot no longer keeps: a notebook would show it twice, and a script run out of memory."""
    plt.close(picture)
    return picture


def plot_band(
    axes: Axes, x: Float[np.ndarray, " n"], values: Float[np.ndarray, "seed n"], label: str, style: int = 0
) -> Axes:
    """Median over seeds with the band of 90% of them; the lone line of one seed."""
    low, middle, high = np.quantile(values, (LOW, 0.5, HIGH), axis=0)
    if len(values) > 1:
        axes.fill_between(x, low, high, color=COLOURS[style], alpha=0.18, linewidth=0)
    axes.plot(x, middle, color=COLOURS[style], linestyle=DASHES[style], linewidth=1.5, label=label)
    return axes


def plot_channels(axes: Axes, x: Float[np.ndarray, " n"], values: Float[np.ndarray, "n m"], label: str) -> Axes:
    """One thin line for each channel of a single seed."""
    for j in range(values.shape[1]):
        axes.plot(x, values[:, j], color="0.55", linewidth=0.6, alpha=0.8, label=label if j == 0 else None)
    return axes


@runtime_checkable
class Measured(Protocol):
    """What has a name and an error over seeds, if it did not diverge: an `Effect` of a study, for one."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def error(self) -> Band | None: ...


def plot_effects(axes: Axes, rows: Sequence[Measured], label: str) -> Axes:
    """One line for each arm: median and band of its error, on a logarithmic axis; references are orange."""
    shown = [(row, row.error) for row in rows if row.error is not None]
    for i, (row, band) in enumerate(shown):
        is_reference = row.kind == "reference"
        axes.plot([band.low90, band.high90], [-i, -i], color=BLUE, linewidth=3, alpha=0.35)
        axes.plot(band.median, -i, "o", color=ORANGE if is_reference else BLUE, markersize=4)
        if is_reference:
            axes.axvline(band.median, color=ORANGE, linewidth=0.8, linestyle=DOTTED)
    axes.set_yticks([-i for i in range(len(shown))], [row.name for row, _ in shown])
    axes.set_ylim(0.6 - len(shown), 0.6)
    log_axis(axes).set_xlabel(label)
    return axes


def log_scale(axes: Axes) -> Axes:
    """A logarithmic y-axis with plain numbers."""
    axes.set_yscale("log")
    _set_plain_ticks(axes.yaxis)
    return axes


def log_axis(axes: Axes) -> Axes:
    """A logarithmic x-axis with plain numbers."""
    axes.set_xscale("log")
    _set_plain_ticks(axes.xaxis)
    return axes


def _set_plain_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis; linear ticks where it spans less than half a decade."""
    low, high = axis.get_view_interval()
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    decades = np.log10(high / max(low, 1e-300))
    if decades < NARROW:
        axis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
        axis.set_minor_locator(NullLocator())
    elif decades > FEW:
        axis.set_major_locator(LogLocator(numticks=7))
    few = decades < FEW
    axis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if few and f"{value:e}"[0] in "25" else ""))


def legend(axes: Axes, **options: Any) -> None:
    """A legend, by default without a frame."""
    axes.legend(**{"frameon": False, "fontsize": 7, "handlelength": 2.6, **options})


def legend_above(axes: Axes) -> None:
    """A legend above the curves, in room added at the top."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    legend(axes, loc="upper left", ncols=2)


def finish(axes: Iterable[Axes], xlabel: str) -> None:
    """The label of the last x-axis; no margins along x."""
    axes = list(axes)
    for panel in axes:
        panel.margins(x=0.01)
    axes[-1].set_xlabel(xlabel)
