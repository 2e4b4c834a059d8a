"""The report of a figure in which the ratios of factors tend to one: whether they do, and what does it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from matplotlib.figure import Figure

from langevin_ib.output.attribution import balance_sentences
from langevin_ib.output.blocks import Picture, Report, Table
from langevin_ib.output.plots import finish, legend, log_scale, panels, plot_band, plot_channels
from langevin_ib.output.studies import balance_blocks, banded, caption_sentences, rows_table, study_report
from langevin_ib.statistics.seeds import Estimate, band
from langevin_ib.studies.balance import SGD, Balance, Mechanism
from langevin_ib.studies.recorded import KEPT, LARGEST, OFF_AT_START, OFF_BY, SMALLEST, Paths, Trained
from langevin_ib.studies.result import StudyResult, Values

MOST = 0.9  # share of SGD's balancing above which it is attributed to gradient descent
BALANCED = 1.1  # a typical pair off by less than this factor is called balanced
ROWS_LEGEND = (
    "medians over seeds [90% of seeds]; loss: mean squared error on fresh noisy targets; off by: "
    "exp(median |log ratio|) over channels; |χ/χ(0)|: median over channels"
)


def balancing_report(result: StudyResult, figure: str, of: str, ratio: str) -> Report:
    """A figure of balancing: table, pictures and sentences.

    Args:
        result: of the figure.
        figure: its name, as Figure 2.
        of: what learns.
        ratio: name of the ratio, for axes.
    """
    shown: list[Table | Picture] = [rows_table(result, "Loss and balance at the end", "run", ROWS_LEGEND)]
    own, row = next(iter(result.rows.items()))
    if result.own is not None:
        alt = f"{ratio} of the first seed's channels; how far off one it is and the charge, of all seeds"
        draw = partial(balancing_figure, result.own, result.paths[own], ratio)
        shown = [Picture("figure", alt, draw), *shown]
    sentences = caption_sentences(result)
    balance = result.balance
    if balance is not None:
        shown += balance_blocks(balance, "attribution", "Which mechanism balances the factors?")
        sentences.append(_conclude(figure, balance))
    sentences.append(_describe_ratios(row))
    return study_report(
        result, f"{figure}, {of}", shown, sentences + ([] if balance is None else balance_sentences(balance))
    )


def on_noise(figure: str, share: Estimate | None, factor: float, steps: int) -> str:
    """The conclusion of a figure about noise, by the share of SGD's balancing that gradient descent alone gives.

    Args:
        figure: its name.
        share: gradient descent's reduction of the imbalance over SGD's.
        factor: by which a typical pair is off balance under SGD at the end.
        steps: of both.

    >>> on_noise("Figure 9", Estimate(0.5, 0.05, 0.4, 0.6), 1.01, 1000)[:45]
    'Figure 9 shows noise at work beside the growt'
    """
    if share is None:
        return f"{figure} shows no balancing by SGD that its error bar does not cover"
    interval = f"{share.value:.1%} (95% interval {share.low95:.1%} to {share.high95:.1%})"
    evidence = (
        f"gradient descent without noise gives {interval} of what SGD removes of the imbalance in {steps:g} steps"
    )
    if share.low95 > MOST:
        ends = "end near one" if factor < BALANCED else f"come nearer to one (off by {factor:.3g} in the end)"
        return f"{figure} shows that the ratios {ends}, not that noise does it: {evidence}"
    if share.high95 < MOST:
        return f"{figure} shows noise at work beside the growth of the norms: {evidence}"
    return f"{figure} does not decide what noise does to the ratios: {evidence}"


def balancing_figure(own: Trained, paths: Paths, ratio: str) -> Figure:
    """Ratios of the first seed's channels; imbalance and charge of all seeds."""
    picture, (ratios, factor, charge) = panels(3, 1.9)
    thousand = own.steps / 1000.0
    plot_channels(ratios, thousand, paths.ratio[0], "each channel, first seed")
    ratios.axhline(1.0, color="black", linewidth=0.8, linestyle="--", label="balance")
    log_scale(ratios)
    ratios.set_ylabel(ratio)
    legend(ratios)
    plot_band(factor, thousand, paths.off_by, "median and 90% of the seeds")
    log_scale(factor)
    factor.set_ylabel("ratio off by a factor")
    legend(factor)
    plot_band(charge, thousand, paths.charge_left, "median and 90% of the seeds", 1)
    charge.set_ylabel("|χ(t)/χ(0)|")
    grid = [ratios, factor, charge]
    finish(grid, "thousand steps")
    for axes in grid:
        # The ratios are near one after a twentieth of the run; linear up to the first record, to hold the start.
        axes.set_xscale("symlog", linthresh=thousand[1], linscale=0.5)
        decades = [tick for tick in (0.1, 1.0, 10.0, 100.0) if thousand[1] < tick < thousand[-1]]
        axes.set(xlim=(0.0, thousand[-1]), xticks=[0.0, thousand[1], *decades])
        axes.set_xticklabels([f"{tick:g}" for tick in axes.get_xticks()])
    return picture


def _conclude(figure: str, balance: Balance) -> str:
    sgd = balance.mechanisms[SGD]
    factor = sgd.ratio_factor.median if isinstance(sgd, Mechanism) else math.nan
    return on_noise(figure, balance.across.descent_share, factor, balance.run.steps)


def _describe_ratios(row: Mapping[str, Values]) -> str:
    """Whether the ratios of the figure's own run reach one, and what is left of the charge."""
    own = {name: band(values) for name, values in row.items()}
    off = own[OFF_BY]
    reached = "reaches one" if off.high90 < BALANCED else "does not reach one"
    if off.low90 < BALANCED <= off.high90:
        reached = "reaches one in some seeds"
    return (
        f"the typical ratio {reached}: off by {banded(off)} after "
        f"all steps, {banded(own[OFF_AT_START])} at the start; of a seed's ratios the smallest is "
        f"{banded(own[SMALLEST])}, the largest {banded(own[LARGEST])}; the charge χ keeps "
        f"{banded(own[KEPT])} of what it was"
    )
