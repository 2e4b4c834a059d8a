"""What changes the error of a recovery, in words, as a table and as a picture: from a study's effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.output.blocks import Column, Table
from langevin_ib.output.plots import panels, plot_effects
from langevin_ib.output.studies import banded
from langevin_ib.statistics.seeds import Ratio, paired
from langevin_ib.studies.result import Effect

SAME = 1.1  # an error that changes by less than this factor, with 95% confidence, is the same


def verdict(effect: Effect) -> str:
    """A change of error, in words: `the same`, `better by …`, `worse by …`, `not decided`, `diverges`."""
    return "diverges" if effect.diverged else judge_ratio(effect.effect)


def judge_ratio(change: Ratio | None) -> str:
    """A ratio of errors, in words, by its interval.

    >>> judge_ratio(Ratio(0.5, 0.4, 0.6))
    'better: error × 0.5 (95% interval 0.4 to 0.6)'
    """
    if change is None:
        return "not decided: no error bar"
    ratio, low, high = change
    evidence = f"error × {ratio:.3g} (95% interval {low:.3g} to {high:.3g})"
    if low > 1.0 / SAME and high < SAME:
        return f"the same: {evidence}"
    if high < 1.0:
        return f"better: {evidence}"
    if low > 1.0:
        return f"worse: {evidence}"
    return f"not decided: {evidence}"


def says_of_noise(effects: Sequence[Effect], what: str) -> list[str]:
    """One sentence on the evidence of a figure about noise, from its attribution."""
    kinds = (("noise", "noise"), ("the scale of the start", "start"))
    groups = [(words, [effect for effect in effects if effect.kind == kind]) for words, kind in kinds]
    lines = [f"{words} {changes(group)}" for words, group in groups if group]
    if not lines:
        return []
    return [
        f"{what} is made without noise: what it recovers gradient descent on the factors does, from its start, and it "
        f"cannot show that noise selects the solution; of the recovery error, {'; '.join(lines)}"
    ]


def changes(effects: Sequence[Effect]) -> str:
    """What some arms do to the error, each named under its verdict.

    >>> changes([Effect("start 1", "start", None, Ratio(3.0, 2.0, 4.0)), Effect("start 2", "start", None)])
    'harms it (start 1), is not decided (start 2)'
    """
    words = {
        "improves it": ("better",),
        "harms it": ("worse", "diverges"),
        "leaves it as it is": ("the same",),
        "is not decided": ("not decided",),
    }
    named = {
        verb: [effect.name for effect in effects if verdict(effect).startswith(key)] for verb, key in words.items()
    }
    return ", ".join(f"{verb} ({', '.join(names)})" for verb, names in named.items() if names)


def against(errors: Mapping[str, Float[np.ndarray, " seed"]], own: str, unit: str = "seeds") -> list[str]:
    """Sentences that compare the errors of one model with those of each other, paired over seeds.

    Args:
        errors: name ↦ error of each seed.
        own: the one that is compared with the others.
        unit: what the seeds differ by, in words.

    >>> pair = {"own": np.array([1.0, 1.1, 0.9]), "other": np.array([4.0, 4.0, 4.0])}
    >>> against(pair, "own")[0]
    'own against other: better: error × 0.249 (95% interval 0.194 to 0.32), smaller in 3 of 3 seeds'
    """
    base = errors[own]
    others = {name: values for name, values in errors.items() if name != own}
    lines = []
    for name, values in others.items():
        change = paired(base, values, len(others))
        if change is not None:
            smaller = f"smaller in {int((base < values).sum())} of {len(base)} {unit}"
            lines.append(f"{own} against {name}: {judge_ratio(change)}, {smaller}")
    return lines


def effects_table(effects: Sequence[Effect], error: str) -> Table:
    """The attribution as a table.

    Args:
        effects: the reference first.
        error: name of the metric.
    """
    settled = max(effect.settled for effect in effects)
    columns = [Column("run", left=True), Column(error), Column("against its reference, paired over seeds")]
    body = [
        [effect.name, banded(effect.error), "" if effect.kind == "reference" else verdict(effect)] for effect in effects
    ]
    legend = (
        "medians over seeds [90% of seeds]; the reference is the first row; error × r: geometric mean of the ratio of "
        f"errors; the intervals of all rows hold together in 95%; the same: within a factor of {SAME:g}"
    )
    if settled:
        columns.append(Column("of the last noisy iterate", spare=1))
        body = [[*cells, banded(effect.last_iterate)] for cells, effect in zip(body, effects, strict=True)]
        legend += f"; runs with noise end in {settled} steps without, so that their jitter does not count, and their "
        legend += "reference is the second row, which has as many"
    return Table(tuple(columns), (tuple(map(tuple, body)),), "Which mechanism carries the effect?", legend)


def effects_figure(effects: Sequence[Effect], error: str) -> Figure:
    """The attribution as a picture."""
    picture, (axes,) = panels(1, 0.7 + 0.17 * len(effects))
    plot_effects(axes, effects, error)
    return picture
