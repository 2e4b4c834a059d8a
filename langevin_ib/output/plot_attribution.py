"""The picture of an attribution: from a summary and axes to axes; colours of Okabe & Ito, a dash for each mechanism."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from langevin_ib.studies.settling import DECAY, DESCENT, ISOTROPIZED, LABEL, LANGEVIN, SGD

STYLE: dict[str, tuple[str, Any]] = {
    DESCENT: ("#000000", "-"),
    SGD: ("#0072B2", (0, (6, 2))),
    LABEL: ("#D55E00", (0, (3, 1.5))),
    ISOTROPIZED: ("#009E73", (0, (1, 1.2))),
    DECAY: ("#CC79A7", (0, (5, 1, 1, 1))),
    LANGEVIN: ("#E69F00", (0, (4, 1, 1, 1, 1, 1))),
}
SIZE = (3.6, 6.6)  # inches: one column of a paper
LINE = 48  # characters in a line of the title
DECADES = 6  # shown below the top, at most: a loss without noise goes to rounding
PANELS = {
    "ratio_factor": "|a|/|b| off by a factor",
    "charge_left": "|χ(t)/χ(0)|",
    "loss": "loss",
}


def attribution_figure(summary: dict[str, Any]) -> Figure:
    """Ratio, charge and loss against the step, one above the other, under a short title and one legend."""
    with plt.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        picture, grid = plt.subplots(len(PANELS), 1, figsize=SIZE, sharex=True, layout="constrained")
        for axes, name in zip(grid, PANELS, strict=True):
            plot_curve(summary, axes, name)
        grid[-1].set_xlabel("thousand steps")
        handles, labels = grid[0].get_legend_handles_labels()
        # The title is the legend's: constrained layout keeps no room between a figure's title and a legend outside.
        picture.legend(
            handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=7.5, handlelength=3.2,
            title=attribution_caption(summary), title_fontsize=8.5, alignment="left",
        )  # fmt: skip
    return picture


def attribution_caption(summary: dict[str, Any]) -> str:
    """Set-up or model, learning rate and seeds, short enough for one column."""
    config = summary["config"]
    text = f"{config.get('setup', config['model'])}, η = {config['lr']:g}, {summary['run']['seeds']} seeds"
    return textwrap.fill(text, LINE)


def plot_curve(summary: dict[str, Any], axes: Axes, name: str) -> Axes:
    """Median over seeds of one quantity under each mechanism, with the band of 90% of the seeds."""
    steps = np.asarray(summary["run"]["record_steps"]) / 1000.0
    for mechanism, entry in summary["mechanisms"].items():
        colour, dash = STYLE[mechanism]
        if entry["diverged"]:
            axes.plot([], [], color=colour, linestyle=dash, linewidth=1.5, label=f"{mechanism} (diverged)")
            continue
        curve = {key: np.asarray(values) for key, values in entry["curves"][name].items()}
        axes.fill_between(steps, curve["low90"], curve["high90"], color=colour, alpha=0.12, linewidth=0)
        axes.plot(steps, curve["median"], color=colour, linestyle=dash, linewidth=1.5, label=mechanism)
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, top * 10.0**-DECADES), top)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    # Over more than a decade the labels of all minor ticks would run into each other.
    sparse_labels = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes.yaxis.set_minor_formatter(
        plain if top < 10.0 * bottom else sparse_labels if top < 100.0 * bottom else NullFormatter()
    )
    axes.set_ylabel(PANELS[name])
    axes.margins(x=0)
    return axes
