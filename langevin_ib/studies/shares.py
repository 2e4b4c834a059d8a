"""From which share of observed entries on is a matrix completed? By SGD, without noise, by the nuclear norm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output import plots
from langevin_ib.output.outcome import Table, banded, ensemble_of
from langevin_ib.studies import baselines
from langevin_ib.studies.balance import median_band
from langevin_ib.studies.measures import effect, unobserved_error
from langevin_ib.studies.problem import Problem, completion, together
from langevin_ib.studies.training import Arm, recovered, train

SGD, QUIET, NUCLEAR = "SGD", "without noise", "nuclear norm"
RECOVERED = 0.05  # error on unobserved entries over that of predicting zero, below which a matrix counts as recovered
LOWEST = 2e-3  # end of the drawn axis: where entries are met exactly, rounding takes the nuclear norm to 1e-18
ROWS = 20  # recorded times


class Curve(NamedTuple):
    """`curve` of a summary, its table, sentence and picture."""

    numbers: dict[str, Any]
    table: Table
    sentence: str
    picture: Figure


def curve(shares: Sequence[float], seeds: int, seed: int, rates: dict[str, float], steps: int, report: Stages) -> Curve:
    """Errors on the unobserved entries of figure 4's matrices, over that of predicting zero.

    Args:
        shares: probabilities for an entry to be observed.
        seeds: matrices at each share.
        seed: of all randomness.
        rates: {name: η}; all of them are run, for runs that have not converged would bias the curve.
        steps: of each run.
        report: called with the name of each stage.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    parts = [completion(seeds, seed, observed=share) for share in shares]
    joint = together(parts)
    matrices: dict[str, list[Float[np.ndarray, "seed m n"]]] = {}
    for suffix, lr in rates.items():
        for name, noise in ((SGD, Noise("bernoulli")), (QUIET, Noise("none"))):
            stage = f"shares, {name}{suffix}"
            trained = train(joint, Arm(noise, lr, steps), stage=stage, rows=ROWS, progress=report(stage))
            matrices[name + suffix] = np.split(recovered(joint, trained.ends), len(shares))
    report(f"shares, {NUCLEAR}")
    matrices[NUCLEAR] = [nuclear_norms(part.tasks["target"], part.tasks["mask"]) for part in parts]
    errors = {
        name: [_relative_error(T, part) for T, part in zip(estimates, parts, strict=True)]
        for name, estimates in matrices.items()
    }
    numbers: dict[str, Any] = {"shares": list(shares), "steps": steps, "lr": {SGD + s: lr for s, lr in rates.items()}}
    for name, values in errors.items():
        numbers[name] = {
            "relative_error": [median_band(error) for error in values],
            "recovered": [int((error < RECOVERED).sum()) for error in values],
            "observed_error": [
                median_band(_observed_error(T, part)) for T, part in zip(matrices[name], parts, strict=True)
            ],
        }
    numbers["noise_against_none"] = {
        SGD + s: [effect(a, b) for a, b in zip(errors[SGD + s], errors[QUIET + s], strict=True)] for s in rates
    }
    return Curve(
        numbers,
        _build_table(numbers, list(errors), seeds),
        _state_thresholds(numbers, seeds),
        _draw_picture(shares, errors),
    )


def nuclear_norms(target: Any, mask: Any, *, seed: int | None = None) -> Float[np.ndarray, "seed m n"]:
    """The matrix of least nuclear norm with each seed's observed entries, solved once where all have the same.

    Args:
        target: entries, leading axis the seed.
        mask: which of them are observed.
        seed: of the folds by which a penalty is chosen; None where the entries carry no noise: they are then met.
    """
    targets, masks = np.asarray(target), np.asarray(mask)

    def solve(t: Float[np.ndarray, "m n"], m: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
        return baselines.nuclear_norm(t, m, seed=seed, exact=seed is None).T

    if (targets == targets[0]).all() and (masks == masks[0]).all():
        return np.broadcast_to(solve(targets[0], masks[0]), targets.shape)
    return np.stack([solve(*pair) for pair in zip(targets, masks, strict=True)])


def _relative_error(T: Float[np.ndarray, "seed m n"], part: Problem) -> Float[np.ndarray, " seed"]:
    truth, mask = np.asarray(part.truth), np.asarray(part.tasks["mask"])
    return unobserved_error(T, truth, mask) / unobserved_error(np.zeros_like(T), truth, mask)


def _observed_error(T: Float[np.ndarray, "seed m n"], part: Problem) -> Float[np.ndarray, " seed"]:
    """The error on the observed entries over that of predicting zero: a measure of convergence."""
    return _relative_error(
        T, dataclasses.replace(part, tasks={**part.tasks, "mask": 1.0 - np.asarray(part.tasks["mask"])})
    )


def _build_table(numbers: dict[str, Any], names: list[str], seeds: int) -> Table:
    body = [
        (
            f"{share:.0%}",
            *(f"{banded(numbers[name]['relative_error'][i])}, {numbers[name]['recovered'][i]}" for name in names),
        )
        for i, share in enumerate(numbers["shares"])
    ]
    return Table(
        "From which share of observed entries on?",
        ("observed", *(f"{name}: error, recovered" for name in names)),
        body,
        f"error on the other entries over that of zero, median [90% of seeds], after {numbers['steps']} steps from a "
        f"start of 0.1; recovered: of {ensemble_of(seeds)} with less than {RECOVERED:.0%}",
    )


def _state_thresholds(numbers: dict[str, Any], seeds: int) -> str:
    parts = []
    for name in (key for key, entry in numbers.items() if isinstance(entry, dict) and "recovered" in entry):
        first = None
        for share, count in zip(numbers["shares"], numbers[name]["recovered"], strict=True):
            first = (first or share) if 2 * count > seeds else None  # from where on all have a majority
        parts.append(f"{name} {f'from {first:.0%}' if first else 'at none of these shares'}")
    return f"share of observed entries from which on most seeds are recovered: {', '.join(parts)}"


def _draw_picture(shares: Sequence[float], errors: dict[str, list[Float[np.ndarray, " seed"]]]) -> Figure:
    figure, (axes,) = plots.panels(1, 2.6)
    for i, (name, values) in enumerate(errors.items()):
        plots.plot_band(axes, 100.0 * np.asarray(shares), np.stack(values, axis=1), name, i)
    axes.axhline(RECOVERED, color="black", linewidth=0.8, linestyle=":", label="counted as recovered")
    axes.set_ylim(LOWEST, 2.0)
    plots.log_scale(axes)
    axes.set_ylabel("error / error of zero, unobserved")
    plots.legend(axes)
    plots.finish([axes], "observed entries, %")
    return figure
