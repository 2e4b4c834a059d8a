"""From which share of observed entries on matrices are completed: table, sentence and picture of a `ShareCurve`."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from langevin_ib.output import plots
from langevin_ib.output.blocks import Table, simple_table
from langevin_ib.output.studies import banded, ensemble_of
from langevin_ib.studies.share_curve import RECOVERED, ShareCurve

LOWEST = 2e-3  # end of the drawn axis: where entries are met exactly, rounding takes the nuclear norm to 1e-18


def shares_table(curve: ShareCurve) -> Table:
    """Error and number of recovered matrices, of each method at each share."""
    cells = {
        name: [
            f"{banded(spread)}, {count}"
            for spread, count in zip(curve.spread(name), curve.recovered(name), strict=True)
        ]
        for name in curve.errors
    }
    return simple_table(
        "From which share of observed entries on?",
        ("observed", *(f"{name}: error, recovered" for name in cells)),
        [(f"{share:.0%}", *(column[i] for column in cells.values())) for i, share in enumerate(curve.shares)],
        f"error on the other entries over that of zero, median [90% of seeds], after {curve.steps} steps from a "
        f"start of 0.1; recovered: of {ensemble_of(curve.seeds)} with less than {RECOVERED:.0%}",
    )


def shares_sentence(curve: ShareCurve) -> str:
    """The share from which on each method recovers most matrices."""
    parts = []
    for name in curve.errors:
        first = None
        for share, count in zip(curve.shares, curve.recovered(name), strict=True):
            first = (first or share) if 2 * count > curve.seeds else None  # from where on all have a majority
        parts.append(f"{name} {f'from {first:.0%}' if first else 'at none of these shares'}")
    return f"share of observed entries from which on most seeds are recovered: {', '.join(parts)}"


def shares_figure(curve: ShareCurve) -> Figure:
    """The error of each method against the share of observed entries."""
    figure, (axes,) = plots.panels(1, 2.6)
    for i, (name, errors) in enumerate(curve.errors.items()):
        plots.plot_band(axes, 100.0 * np.asarray(curve.shares), errors, name, i)
    axes.axhline(RECOVERED, color="black", linewidth=0.8, linestyle=":", label="counted as recovered")
    axes.set_ylim(LOWEST, 2.0)
    plots.log_scale(axes)
    axes.set_ylabel("error / error of zero, unobserved")
    plots.legend(axes)
    plots.finish([axes], "observed entries, %")
    return figure
