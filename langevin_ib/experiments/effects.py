"""The attribution of a recovery: the same run without noise, with noise, from other starts, and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from langevin_ib.attribution.statistics import spread
from langevin_ib.errors import DivergenceError
from langevin_ib.experiments.measures import effect
from langevin_ib.experiments.problems import Problem
from langevin_ib.experiments.training import Protocol, Trained, recovered, train

SAME = 1.1  # an error that changes by less than this factor, with 95% confidence, is the same
Errors = Callable[[Float[np.ndarray, "seed ..."]], Float[np.ndarray, " seed"]]
Report = Callable[[str], Callable[[int, int], None] | None]


def sweep(
    problem: Problem,
    own: Trained,
    errors: Errors,
    runs: dict[str, Protocol],
    report: Report,
    *,
    reference: str,
) -> list[dict[str, Any]]:
    """The recovery error under each protocol, against that of the reference, paired over seeds.

    Args:
        problem: with its tasks.
        own: the figure's own run, which is the row `reference`.
        errors: what was recovered ↦ error of each seed.
        runs: name ↦ protocol of the others.
        report: called with the name of each run.
        reference: name of the figure's own row.

    Returns:
        A row for each run: name, error (median and 90% band), effect (ratio to the reference, its interval such that
        those of all rows hold together in 95%).
    """
    base = errors(recovered(problem, own.ends))
    rows: list[dict[str, Any]] = [{"name": reference, "error": spread(base), "effect": None, "diverged": None}]
    for name, protocol in runs.items():
        try:
            ends = train(problem, protocol, stage=name, rows=20, progress=report(name)).ends
            found = errors(recovered(problem, ends))
        except DivergenceError as error:
            diverged = f"{error.diverged} of {error.chains} seeds diverged, the first by step {error.step}"
            rows.append({"name": name, "error": None, "effect": None, "diverged": diverged})
            continue
        rows.append({"name": name, "error": spread(found), "effect": effect(found, base, len(runs)), "diverged": None})
    return rows


def verdict(row: dict[str, Any]) -> str:
    """What a row changes, in words: `the same`, `better by a factor …`, `worse by a factor …`, `not decided`."""
    if row["diverged"]:
        return "diverges"
    found = row["effect"]
    if found is None:
        return "one seed: not decided"
    ratio, low, high = found["ratio"], found["low95"], found["high95"]
    interval = f"(95% interval {low:.3g} to {high:.3g})"
    if low > 1.0 / SAME and high < SAME:
        return f"the same: error × {ratio:.3g} {interval}"
    if high < 1.0:
        return f"better: error × {ratio:.3g} {interval}"
    if low > 1.0:
        return f"worse: error × {ratio:.3g} {interval}"
    return f"not decided: error × {ratio:.3g} {interval}"


def says_of_noise(numbers: dict[str, Any], *, what: str) -> list[str]:
    """One sentence on what a figure does and does not show about noise, from its attribution."""
    rows = numbers["attribution"][1:]
    if not rows:
        return []
    starts = [row for row in rows if row["name"].startswith("start")]
    noisy = [row for row in rows if not row["name"].startswith("start")]
    said = []
    for kind, some in (("noise", noisy), ("the scale of the start", starts)):
        better = [row["name"] for row in some if verdict(row).startswith("better")]
        worse = [row["name"] for row in some if verdict(row).startswith(("worse", "diverges"))]
        if better or worse:
            parts = {"improves": better, "harms": worse}
            words = " and ".join(f"{verb} it ({', '.join(names)})" for verb, names in parts.items() if names)
            said.append(f"{kind} {words}")
        else:
            said.append(f"{kind} does not change it beyond its error")
    return [
        f"{what} is made without noise, so it cannot show that noise selects the solution: the factorisation "
        f"and its start under gradient descent do; of the recovery error, {'; '.join(said)}"
    ]


def against(errors: dict[str, Float[np.ndarray, " seed"]], own: str) -> list[str]:
    """Sentences that set the errors of one model against those of each other, paired over seeds.

    >>> pair = {"own": np.array([1.0, 1.1, 0.9]), "other": np.array([4.0, 4.0, 4.0])}
    >>> against(pair, "own")[0]
    'own against other: better, error × 0.249 (95% interval 0.194 to 0.32), smaller in 3 of 3 seeds'
    """
    base = errors[own]
    others = {name: values for name, values in errors.items() if name != own}
    said = []
    for name, values in others.items():
        found = effect(base, values, len(others))
        if found is None:
            continue
        words = "better" if found["high95"] < 1.0 else "worse" if found["low95"] > 1.0 else "not decided"
        said.append(
            f"{own} against {name}: {words}, error × {found['ratio']:.3g} (95% interval {found['low95']:.3g} to "
            f"{found['high95']:.3g}), smaller in {int((base < values).sum())} of {len(base)} seeds"
        )
    return said
