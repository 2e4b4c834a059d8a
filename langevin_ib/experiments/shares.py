"""From which share of observed entries on is a matrix completed? By SGD, without noise, by the nuclear norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.attribution.statistics import spread
from langevin_ib.experiments import baselines, pictures
from langevin_ib.experiments.command import Report
from langevin_ib.experiments.measures import effect, unobserved_error
from langevin_ib.experiments.outcome import Table, banded, ensemble_of
from langevin_ib.experiments.problems import Problem, completion, together
from langevin_ib.experiments.training import Protocol, recovered, train
from langevin_ib.noise import Noise

SGD, QUIET, NUCLEAR = "SGD", "without noise", "nuclear norm"
RECOVERED = 0.05  # error on unobserved entries over that of predicting zero, below which a matrix counts as recovered
ROWS = 20  # recorded times


class Curve(NamedTuple):
    """`curve` of a summary, its table, sentence and picture."""

    numbers: dict[str, Any]
    table: Table
    sentence: str
    picture: Figure


def curve(shares: Sequence[float], seeds: int, seed: int, lr: float, steps: int, report: Report) -> Curve:
    """Errors on the unobserved entries of figure 4's matrices, over that of predicting zero.

    Args:
        shares: probabilities for an entry to be observed.
        seeds: matrices at each share.
        seed: of all randomness.
        lr: η.
        steps: of each run.
        report: called with the name of each stage.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    parts = [completion(seeds, seed, observed=share) for share in shares]
    joined = together(parts)
    errors: dict[str, list[Float[np.ndarray, " seed"]]] = {}
    for name, noise in ((SGD, Noise("bernoulli")), (QUIET, Noise("none"))):
        stage = f"shares, {name}"
        trained = train(joined, Protocol(noise, lr, steps), stage=stage, rows=ROWS, progress=report(stage))
        errors[name] = _relative(np.split(recovered(joined, trained.ends), len(shares)), parts)
    report(f"shares, {NUCLEAR}")
    errors[NUCLEAR] = _relative([nuclear_norms(part.tasks["target"], part.tasks["mask"]) for part in parts], parts)
    numbers: dict[str, Any] = {"shares": list(shares)}
    for name, values in errors.items():
        numbers[name] = {
            "relative_error": [spread(error) for error in values],
            "recovered": [int((error < RECOVERED).sum()) for error in values],
        }
    numbers["noise_against_none"] = [effect(a, b) for a, b in zip(errors[SGD], errors[QUIET], strict=True)]
    return Curve(numbers, _table(numbers, list(errors), seeds), _told(numbers, seeds), _picture(shares, errors))


def nuclear_norms(target: Any, mask: Any) -> Float[np.ndarray, "seed m n"]:
    """The matrix of least nuclear norm with each seed's observed entries."""
    pairs = zip(np.asarray(target), np.asarray(mask), strict=True)
    return np.stack([baselines.nuclear_norm(t, m).T for t, m in pairs])


def _relative(found: list[Float[np.ndarray, "seed m n"]], parts: list[Problem]) -> list[Float[np.ndarray, " seed"]]:
    errors = []
    for T, part in zip(found, parts, strict=True):
        truth, mask = np.asarray(part.truth), np.asarray(part.tasks["mask"])
        errors.append(unobserved_error(T, truth, mask) / unobserved_error(np.zeros_like(T), truth, mask))
    return errors


def _table(numbers: dict[str, Any], names: list[str], seeds: int) -> Table:
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
        f"error on the other entries over that of zero, median [90% of seeds]; recovered: of {ensemble_of(seeds)} with "
        f"less than {RECOVERED:.0%}",
    )


def _told(numbers: dict[str, Any], seeds: int) -> str:
    parts = []
    for name, words in ((SGD, "for SGD"), (QUIET, "without noise"), (NUCLEAR, "for the nuclear norm")):
        pairs = zip(numbers["shares"], numbers[name]["recovered"], strict=True)
        first = next((f"{share:.0%} observed" for share, count in pairs if 2 * count > seeds), "none of these shares")
        parts.append(f"{first} {words}")
    return f"most seeds are recovered from {', '.join(parts)} on"


def _picture(shares: Sequence[float], errors: dict[str, list[Float[np.ndarray, " seed"]]]) -> Figure:
    drawn, (axes,) = pictures.panels(1, 2.6)
    for i, (name, values) in enumerate(errors.items()):
        pictures.plot_band(axes, 100.0 * np.asarray(shares), np.stack(values, axis=1), name, i)
    axes.axhline(RECOVERED, color="black", linewidth=0.8, linestyle=":", label="counted as recovered")
    pictures.log_scale(axes)
    axes.set_ylabel("error / error of zero, unobserved")
    pictures.legend(axes)
    pictures.finish([axes], "observed entries, %")
    return drawn
