"""The answer of an attribution in sentences, as a table, and as a picture: all from its `Balance`."""

from __future__ import annotations

import dataclasses
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.output.blocks import Column, Line, Lines, Picture, Report, Table
from langevin_ib.output.plots import STYLE, WIDTH, line_style, log_scale
from langevin_ib.statistics.seeds import Band, Curve, Estimate
from langevin_ib.studies.balance import (
    DECAY,
    DESCENT,
    ISOTROPIZED,
    LABEL,
    LANGEVIN,
    SGD,
    Balance,
    ChargeLeft,
    Diverged,
    Mechanism,
    State,
)
from langevin_ib.studies.result import StudyResult

QUESTION = "Which mechanism balances the factors?"
COLUMNS = (
    Column("mechanism", left=True),
    Column("|a|/|b| off by"),
    Column("min–max", spare=1),
    Column("|χ/χ(0)|"),
    Column("loss", spare=2),
    Column("removed"),
    Column("growth", spare=3),
    Column("charge", spare=3),
)
LEGEND = (
    "medians over seeds [90% of seeds]; off by: exp(median |ρ|) over generators, ρ = log |a|/|b|; removed: "
    "1 − D(end)/D(start), D = Σ |ρ| over generators and seeds, ± standard error over seeds; growth, charge: shares of "
    "D(start) − D(end), – where their standard error is above 30 percentage points or they lie outside −100% to 200%"
)
KEPT = 0.1  # a median |χ/χ(0)| whose 95% interval is this near to one counts as kept
WANDERS = 0.3  # band of seeds around one within which it is kept by each of them, not on the median only
SAME = 0.1  # part of the imbalance, or of SGD's share, by which a 95% interval may reach away from no difference
UNSURE = 0.3  # standard error of a share above which it is not shown
SHOWN = (-1.0, 2.0)  # shares outside are of a removal that is all but none
SUBJECT = {
    DESCENT: "gradient descent alone",
    SGD: "SGD",
    LABEL: "SGD with label noise",
    ISOTROPIZED: "isotropized noise as strong as SGD's at every step",
    DECAY: "gradient descent with weight decay",
    LANGEVIN: "isotropic Langevin dynamics at the T of SGD's noise",
}
CAUSE = {SGD: "its noise", LABEL: "its noise", ISOTROPIZED: "its noise", DECAY: "weight decay", LANGEVIN: "its noise"}


PLACES = {DESCENT: 0, SGD: 1, LABEL: 2, ISOTROPIZED: 3, DECAY: 4, LANGEVIN: 5}  # in the palette
PANELS = {"ratio_factor": "|a|/|b| off by a factor", "charge_left": "|χ(t)/χ(0)|", "loss": "loss"}
ALT = "Ratio, charge and loss along training, by mechanism"
HEIGHT = 6.6  # inches
TITLE = 48  # characters in a line of the picture's title
DECADES = 6  # shown below the top, at most: a loss without noise goes to rounding


def attribution_report(result: StudyResult) -> Report:
    """An attribution as it is shown: picture, table, sentences, then the noise, settings and notes.

    Raises:
        ValueError: the result is that of another study.
    """
    balance = result.balance
    if balance is None:
        raise ValueError(f"{result.name} does not ask which mechanism balances the factors")
    return Report(
        title=balance_title(balance),
        blocks=(
            Picture(
                "attribution", "Ratio, charge and loss along training, by mechanism", lambda: balance_figure(balance)
            ),
            dataclasses.replace(balance_table(balance), title=""),
            Lines(tuple(Line(text, "bold") for text in balance_sentences(balance)), QUESTION),
            Lines(tuple(Line(text) for text in (*_describe_setting(balance), *result.notes))),
        ),
        config=balance.config.to_json(),
    )


def balance_title(balance: Balance) -> str:
    """Model, learning rate, steps and seeds in one line."""
    config, run = balance.config, balance.run
    where = f"{config.setup}, " if config.setup else ""
    momentum = f", momentum {config.momentum:g}" if config.momentum else ""
    return (
        f"{where}{config.model}: η = {config.lr:g}{momentum}, {run.steps} steps (time {run.time:.4g}), "
        f"{run.batches}, {run.seeds} seeds"
    )


def balance_table(balance: Balance) -> Table:
    """The start, and what each mechanism made of it."""
    start = balance.start
    loss = _format_number(start.loss.median)
    first = ("start", _format_band(start.ratio_factor), _format_range(start), "1", loss, "", "", "")
    rows = (_mechanism_row(name, entry) for name, entry in balance.mechanisms.items())
    return Table(COLUMNS, ((first, *rows),), QUESTION, LEGEND)


def _mechanism_row(name: str, entry: Mechanism | Diverged) -> tuple[str, ...]:
    if isinstance(entry, Diverged):
        return (name, entry.diverged, "", "", "", "", "", "")
    removed, shares = entry.reduction, entry.shares
    return (
        name,
        _format_band(entry.ratio_factor),
        _format_range(entry),
        _format_band(entry.charge_left),
        _format_number(entry.loss.median),
        f"{_format_percent(removed.value)[:-1]} ± {_format_percent(removed.se)}",
        *(_format_share(share) for share in shares or (None, None)),
    )


def balance_sentences(balance: Balance) -> list[str]:
    """The conclusions: one sentence for each mechanism, then gradient descent against SGD.

    Each comparison appears once; its direction is stated only where the 95% interval excludes no change.
    """
    compared, share = dict(balance.across.added), balance.across.descent_share
    if share is not None:
        compared.pop(SGD, None)  # it is the last sentence
    by_mechanism = [_describe_mechanism(name, entry, compared.get(name)) for name, entry in balance.mechanisms.items()]
    if share is None:
        return [
            *by_mechanism,
            f"what SGD removes is not positive with 95% confidence, so no share of {SUBJECT[DESCENT]} is given",
        ]
    entry = balance.mechanisms[SGD]
    conserved = isinstance(entry, Mechanism) and _keeps_charge(entry.charge_left)
    no_cause = conserved and share.low95 <= 1.0 <= share.high95 and _is_near(share, 1.0)
    return [
        *by_mechanism,
        f"of what SGD removes, {SUBJECT[DESCENT]} gives {_format_interval(share, '.2f')}, paired over "
        f"{balance.run.seeds} seeds" + (f", so it is not {CAUSE[SGD]} that balances" if no_cause else ""),
    ]


def _describe_mechanism(name: str, entry: Mechanism | Diverged, added: Estimate | None) -> str:
    if isinstance(entry, Diverged):
        return f"{SUBJECT[name]} {entry.diverged}"
    parts = [_describe_removal(name, entry), _describe_charge(entry.charge_left)]
    if added is not None:
        parts.append(_compare_with_descent(name, entry, added))
    return "; ".join(parts)


def _describe_removal(name: str, entry: Mechanism) -> str:
    """The reduction of the imbalance, and the share of it by growth; the rest is by change of charge."""
    removed, subject = entry.reduction.estimate, SUBJECT[name]
    if removed.high95 < 0:
        grown = Estimate(-removed.value, removed.se, -removed.high95, -removed.low95)
        return f"{subject} makes the imbalance larger, by {_format_interval(grown)}"
    if not removed.low95 > 0 or entry.shares is None:
        return f"of the imbalance {subject} removes {_format_interval(removed, '+.1f')}, in which there is no direction"
    text = f"{subject} removes {_format_interval(removed)} of the imbalance, "
    if "–" in [_format_share(share) for share in entry.shares]:
        return text + "too little to tell growth of the norms from change of charge"
    growth = _format_interval(entry.shares.growth)
    return text + f"{growth} of that by growth of the norms at constant charge, the rest by change of charge"


def _describe_charge(left: ChargeLeft) -> str:
    """The change of the charge, by its median over seeds."""
    low, high = left.median95
    median, low_text, high_text = map(_format_number, (left.median, low, high))
    evidence = f"(median |χ/χ(0)| = {median}, 95% interval {low_text} to {high_text})"
    if _keeps_median_charge(left):
        return f"the charge stays {evidence}"
    if high < 1.0 or low > 1.0:
        return f"the charge {'falls' if high < 1.0 else 'grows'} {evidence}"
    return f"whether the charge falls or grows is not told {evidence}"


def _compare_with_descent(name: str, entry: Mechanism, added: Estimate) -> str:
    """A mechanism against gradient descent; one that conserves the charge and adds nothing balances nothing."""
    if added.low95 > 0 or added.high95 < 0:
        direction = "lower" if added.low95 > 0 else "higher"
        low, high = sorted((abs(added.low95), abs(added.high95)))
        change = _format_interval(Estimate(abs(added.value), added.se, low, high), ".2f")
        return f"against {SUBJECT[DESCENT]} the imbalance ends {direction}, by {change} of the start's"
    change = _format_interval(added, "+.2f")
    text = f"{change} more of it is removed than by {SUBJECT[DESCENT]}, in which there is no direction"
    # Where nothing has been removed there is no balancing whose cause could be ruled out.
    balances = entry.reduction.estimate.low95 > 0
    no_cause = name in CAUSE and balances and _keeps_charge(entry.charge_left) and _is_near(added, 0.0)
    return text + (f", so it is not {CAUSE[name]} that balances" if no_cause else "")


def _keeps_median_charge(left: ChargeLeft) -> bool:
    """Whether the median charge is conserved, with 95% confidence."""
    low, high = left.median95
    return low > 1.0 - KEPT and high < 1.0 + KEPT


def _keeps_charge(left: ChargeLeft) -> bool:
    """Whether the charge is conserved in 90% of the seeds too."""
    return _keeps_median_charge(left) and left.low90 > 1.0 - WANDERS and left.high90 < 1.0 + WANDERS


def _is_near(estimate: Estimate, value: float) -> bool:
    """Whether an estimate is equivalent to a value: its 95% interval lies within a tenth of it."""
    return value - SAME < estimate.low95 and estimate.high95 < value + SAME


def _describe_setting(balance: Balance) -> list[str]:
    """The noise of SGD, and settings that rules have set."""
    config, noise = balance.config, balance.noise
    T, seeds = noise.temperature, noise.metered_seeds
    averaged = f"mean of {seeds} seeds" if seeds > 1 else "one seed: Σ costs too much"

    def metered(first: float, average: float, form: str) -> str:
        return format(first, form) if seeds == 1 else f"{format(first, form)} ({format(average, form)})"

    anisotropy, misfit, share = (
        metered(getattr(noise.typical, name), getattr(noise.mean, name), form)
        for name, form in (("anisotropy", ".3g"), ("misfit", ".3f"), ("orbit_share", ".1g"))
    )
    return [
        f"T of Langevin = η tr Σ/2q = {T.value:.3g} ± {T.se:.2g} over seeds, averaged over recorded times of SGD",
        f"noise of SGD at its end, seed 0 ({averaged}): largest eigenvalue of Σ over the mean one {anisotropy}, "
        f"misfit of one T {misfit}, share along the orbits {share}; of isotropic noise "
        f"{noise.isotropic_orbit_share:.3f} (m/q)",
        f"label noise s = {config.label_noise:g} on top of the data's {config.data_noise:g}; weight decay "
        f"λ = {config.weight_decay:g}",
    ]


def balance_figure(balance: Balance) -> Figure:
    """Ratio, charge and loss against the step, one above the other, under a short title and one legend."""
    config = balance.config
    title = f"{config.setup or config.model}, η = {config.lr:g}, {balance.run.seeds} seeds"
    steps = np.asarray(balance.run.record_steps) / 1000.0
    with plt.rc_context(STYLE):
        picture, grid = plt.subplots(len(PANELS), 1, figsize=(WIDTH, HEIGHT), sharex=True, layout="constrained")
        for axes, quantity in zip(grid, PANELS, strict=True):
            plot_mechanisms(axes, steps, balance, quantity)
        grid[-1].set_xlabel("thousand steps")
        handles, labels = grid[0].get_legend_handles_labels()
        # The title is the legend's: constrained layout keeps no room between a figure's title and a legend outside.
        picture.legend(
            handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=7.5, handlelength=3.2,
            title=textwrap.fill(title, TITLE), title_fontsize=8.5, alignment="left",
        )  # fmt: skip
    return picture


def plot_mechanisms(axes: Axes, x: Float[np.ndarray, " time"], balance: Balance, quantity: str) -> Axes:
    """Median over seeds of one quantity of `PANELS` under each mechanism, with the band of 90% of the seeds."""
    for mechanism, entry in balance.mechanisms.items():
        colour, dash = line_style(PLACES[mechanism])
        if isinstance(entry, Diverged):
            axes.plot([], [], color=colour, linestyle=dash, linewidth=1.5, label=f"{mechanism} (diverged)")
            continue
        curve: Curve = getattr(entry.curves, quantity)
        axes.fill_between(x, curve.low90, curve.high90, color=colour, alpha=0.12, linewidth=0)
        axes.plot(x, curve.median, color=colour, linestyle=dash, linewidth=1.5, label=mechanism)
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, top * 10.0**-DECADES), top)
    log_scale(axes)
    axes.set_ylabel(PANELS[quantity])
    axes.margins(x=0)
    return axes


def _format_interval(estimate: Estimate, form: str = ".1f") -> str:
    value, low, high = (_format_percent(part, form) for part in (estimate.value, estimate.low95, estimate.high95))
    return f"{value} (95% interval {low} to {high})"


def _format_band(band: Band | ChargeLeft) -> str:
    return f"{_format_number(band.median)} [{_format_number(band.low90)}, {_format_number(band.high90)}]"


def _format_share(share: Estimate | None) -> str:
    """A share of the reduction, or a dash where there is none or its standard error is too large."""
    if share is None or share.se > UNSURE or not SHOWN[0] <= share.value <= SHOWN[1]:
        return "–"
    return _format_percent(share.value)


def _format_percent(value: float, form: str = ".1f") -> str:
    rounded = float(format(100.0 * value, form))
    return f"{rounded + 0.0:{form}}%"  # + 0.0: there is no −0.0%


def _format_range(state: State) -> str:
    return f"{_format_number(state.ratio_smallest.median)}–{_format_number(state.ratio_largest.median)}"


def _format_number(value: float) -> str:
    return f"{value:z.3g}"
