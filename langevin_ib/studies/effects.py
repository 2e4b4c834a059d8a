"""The attribution of a recovery: the run without noise, with noise, from other starts, and its change of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.errors import DivergenceError
from langevin_ib.studies.balance import median_band
from langevin_ib.studies.measures import effect
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.training import Arm, Recorded, Trained, recovered, train

ROWS = 20  # recorded times of the runs of a sweep
SAME = 1.1  # an error that changes by less than this factor, with 95% confidence, is the same
Errors = Callable[[Float[np.ndarray, "seed ..."]], Float[np.ndarray, " seed"]]


def sweep(
    problem: Problem,
    own: Trained,
    errors: Errors,
    runs: dict[str, Arm],
    report: Stages,
    *,
    reference: str,
    settle: int = 0,
) -> list[dict[str, Any]]:
    """The recovery error under each protocol, against that of the reference, paired over seeds.

    Args:
        problem: with its tasks.
        own: the figure's own run, which is the row `reference`.
        errors: recovered arrays ↦ error of each seed.
        runs: name ↦ protocol of the others.
        report: called with the name of each run.
        reference: name of the figure's own row.
        settle: steps of gradient descent after a run with noise, before its error is taken: that of the last noisy
            iterate would include its jitter, not only the solution that noise selects. It is compared with the
            figure's own run with as many steps more, a row of its own.

    Returns:
        A row for each run: name, kind (`reference`, `noise`, `start`, `other`), error (median and 90% band), effect
        (ratio to the reference, its interval such that those of all rows hold together in 95%), and of a run that was
        settled the error before, `last_iterate`.
    """

    def measured(ends: Recorded) -> Float[np.ndarray, " seed"]:
        return errors(recovered(problem, ends))

    def settled(ends: Recorded, name: str, lr: float) -> Recorded:
        quiet = Arm(Noise("none"), lr, settle)
        return train(problem, quiet, stage=name, rows=ROWS, progress=report(name), starts=ends).ends

    base = base_settled = measured(own.ends)
    rows: list[dict[str, Any]] = [_build_row(reference, "reference", median_band(base))]
    noisy = [protocol.lr for protocol in runs.values() if not protocol.noise.record.noiseless]
    if settle and noisy:
        name = f"{settle} steps more"
        base_settled = measured(settled(own.ends, name, noisy[0]))
        rows.append(_build_row(name, "reference", median_band(base_settled)))
    for name, protocol in runs.items():
        quiet = "other" if protocol.start_scale is None else "start"
        kind = quiet if protocol.noise.record.noiseless else "noise"
        baseline, last_iterate = base, None
        try:
            ends = train(problem, protocol, stage=name, rows=ROWS, progress=report(name)).ends
            if settle and kind == "noise":
                baseline, last_iterate = base_settled, median_band(measured(ends))
                ends = settled(ends, name, protocol.lr)
            values = measured(ends)
        except DivergenceError as error:
            diverged = f"{error.diverged} of {error.chains} seeds diverged, the first by step {error.step}"
            rows.append(_build_row(name, kind, None, diverged=diverged))
            continue
        rows.append(
            _build_row(
                name, kind, median_band(values), effect=effect(values, baseline, len(runs)), last_iterate=last_iterate
            )
        )
    return rows


def _build_row(name: str, kind: str, error: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "error": error, "effect": None, "diverged": None, "last_iterate": None, **more}


def verdict(row: dict[str, Any]) -> str:
    """A row's change of error, in words: `the same`, `better by a factor …`, `worse by a factor …`, `not decided`."""
    if row["diverged"]:
        return "diverges"
    change = row["effect"]
    if change is None:
        return "not decided: no error bar"
    ratio, low, high = change["ratio"], change["low95"], change["high95"]
    interval = f"(95% interval {low:.3g} to {high:.3g})"
    if low > 1.0 / SAME and high < SAME:
        return f"the same: error × {ratio:.3g} {interval}"
    if high < 1.0:
        return f"better: error × {ratio:.3g} {interval}"
    if low > 1.0:
        return f"worse: error × {ratio:.3g} {interval}"
    return f"not decided: error × {ratio:.3g} {interval}"


def says_of_noise(numbers: dict[str, Any], *, what: str) -> list[str]:
    """One sentence on the evidence of a figure about noise, from its attribution."""
    kinds = (("noise", "noise"), ("the scale of the start", "start"))
    groups = [(words, [row for row in numbers["attribution"] if row["kind"] == kind]) for words, kind in kinds]
    lines = [f"{words} {changes(rows)}" for words, rows in groups if rows]
    if not lines:
        return []
    return [
        f"{what} is made without noise: what it recovers gradient descent on the factors does, from its start, and it "
        f"cannot show that noise selects the solution; of the recovery error, {'; '.join(lines)}"
    ]


def changes(rows: list[dict[str, Any]]) -> str:
    """The effect of some rows on the error, each named under its verdict.

    >>> row = {"name": "start 1", "diverged": None, "effect": {"ratio": 3.0, "low95": 2.0, "high95": 4.0}}
    >>> changes([row, {**row, "name": "start 2", "effect": None}])
    'harms it (start 1), is not decided (start 2)'
    """
    words = {"improves it": "better", "harms it": ("worse", "diverges"), "leaves it as it is": "the same"}
    named = {verb: [row["name"] for row in rows if verdict(row).startswith(key)] for verb, key in words.items()}
    named["is not decided"] = [row["name"] for row in rows if verdict(row).startswith("not decided")]
    return ", ".join(f"{verb} ({', '.join(names)})" for verb, names in named.items() if names)


def against(errors: dict[str, Float[np.ndarray, " seed"]], own: str, unit: str = "seeds") -> list[str]:
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
        change = effect(base, values, len(others))
        if change is None:
            continue
        words = verdict({"diverged": None, "effect": change})
        lines.append(f"{own} against {name}: {words}, smaller in {int((base < values).sum())} of {len(base)} {unit}")
    return lines
