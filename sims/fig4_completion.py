"""Figure 4: a 20 × 20 matrix of rank 2 from 20% of its entries, by SGD on U Vᵀ with Bernoulli masks.

    python -m sims.fig4_completion [--seeds 32] [--variant code|text] [--data FILE]

The paper's code takes the mean of the squared error over all 400 entries, of those kept by the step's random mask;
its text over the sub-sampled entries (`--variant text`: η is ten times as large). What the paper plots as σ̂ is 2σ̂:
here it is σ̂ itself. `--data`: an .npz file with T_observed (m, n), mask (m, n) and, if known, T_true (m, n).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.attribution.config import MIN_SEEDS, from_setup
from langevin_ib.attribution.mechanisms import attribute
from langevin_ib.attribution.plot import figure as attribution_figure
from langevin_ib.attribution.report import COLUMNS, LEGEND, rows, sentences
from langevin_ib.ensemble.runner import Stages
from langevin_ib.experiments import pictures, shares
from langevin_ib.experiments.command import Request, choice
from langevin_ib.experiments.command import main as command
from langevin_ib.experiments.data import load
from langevin_ib.experiments.effects import verdict
from langevin_ib.experiments.measures import balance, off_by, unobserved_error
from langevin_ib.experiments.outcome import Outcome, Table, banded
from langevin_ib.experiments.problems import Problem, completion
from langevin_ib.experiments.recovery import Recovery, run, spared, timed
from langevin_ib.experiments.shares import NUCLEAR, QUIET, RECOVERED, nuclear_norms
from langevin_ib.experiments.training import Protocol, Trained, recovered
from langevin_ib.noise import Noise

LR, STEPS, SIZE, SPECTRUM = 1e-3, 500_000, 20, (15.0, 5.0)
KEPT = 40  # observed entries in an average mask: what the text's loss is a mean over
SCALES = (0.01, 0.03, 0.3, 1.0)  # of the start, besides the paper's 0.1
NOISES = (1.0, 3.0)  # s of label noise
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FACTORED, ZERO = "U Vᵀ", "zero"
TURNED = "isotropic, as SGD's"
ERROR, OBSERVED, FIRST, SECOND, THIRD, FOURTH = (
    "error, unobserved", "error, observed", "σ̂₁", "σ̂₂", "σ̂₃", "σ̂₄",
)  # fmt: skip
NUCLEAR_NOTE = "nuclear norm: the matrix of least nuclear norm with the observed entries, which carry no noise"
MODES = (FIRST, SECOND, THIRD, FOURTH)


def experiment(request: Request, report: Stages) -> Outcome:
    """The figure, the curve over the share of observed entries, the baseline and the attributions."""
    given = None if request.data is None else load(request.data, 4)
    problem = completion(request.seeds, request.seed, data=given)
    mask, target, truth = (np.asarray(x) for x in (problem.tasks["mask"], problem.tasks["target"], problem.truth))
    variant = request.extra.get("variant", "code")
    # The loss of the code is a mean over all entries, half of which the masks drop; that of the model here a sum.
    entries = mask[0].size
    eta = request.lr or LR
    rates = {"code": eta / entries, "text": eta / KEPT if given is None else 2.0 * eta / mask[0].sum()}
    steps, lr = request.steps or STEPS, rates[variant]
    other = "text" if variant == "code" else "code"
    masks, quiet = Noise("bernoulli"), Noise("none")
    sweeps = {
        QUIET: Protocol(quiet, lr, steps),
        TURNED: Protocol(Noise("bernoulli", isotropized=True), lr, steps),
    }
    sweeps |= {f"label noise {s:g}": Protocol(Noise("label", None, s), lr, steps) for s in NOISES}
    sweeps |= {f"start {s:g}": Protocol(masks, lr, steps, s) for s in SCALES}
    outcome = run(
        Recovery(
            name="fig4_completion",
            title="Figure 4, matrix completion",
            found="T",
            problem=problem,
            own_name=FACTORED,
            own=Protocol(masks, lr, steps),
            error=ERROR,
            metrics={
                ERROR: lambda T: unobserved_error(T, truth, mask),
                OBSERVED: lambda T: np.sum(mask * (T - target) ** 2, axis=(1, 2)) / mask.sum(axis=(1, 2)),
                **{name: partial(mode, i) for i, name in enumerate(MODES)},
            },
            needs_truth=frozenset([ERROR]),
            picture=partial(picture, problem),
            caption={FACTORED: {FIRST: SPECTRUM[0], SECOND: SPECTRUM[1]}},
            variants={
                f"{FACTORED}, loss as in the {other}": Protocol(masks, rates[other], steps),
                f"{FACTORED}, start of U × 1.1, as in the code": Protocol(masks, lr, steps, None, (("U", 1.1),)),
            },
            others={ZERO: lambda: np.zeros_like(target)},
            baselines={NUCLEAR: lambda: nuclear_norms(target, mask, seed=None if given is None else request.seed)},
            sweeps=sweeps,
            told=told,
            notes=(
                "σ̂ is the singular value of U Vᵀ; the paper's code plots 2σ̂ under that name",
                *([NUCLEAR_NOTE if given is None else "nuclear norm: penalty by cross-validation"] * request.baselines),
            ),
        ),
        request,
        report,
    )
    if request.attribution:
        outcome = _with_balance(outcome, request, lr, steps, report) if given is None else outcome
    if request.baselines and given is None:
        outcome = _with_curve(outcome, request, lr, steps, report)
    return outcome


def mode(i: int, T: Float[np.ndarray, "seed m n"]) -> Float[np.ndarray, " seed"]:
    """σ̂_{i+1} of each seed."""
    return np.linalg.svd(T, compute_uv=False)[:, i] if i < min(T.shape[1:]) else np.zeros(len(T))


def told(numbers: dict[str, Any]) -> list[str]:
    """Whether the matrix is recovered, and what noise has to do with it."""
    own, zero = (numbers["rows"][name] for name in (FACTORED, ZERO))
    pairs = zip(numbers["by_seed"][FACTORED][ERROR], numbers["by_seed"][ZERO][ERROR], strict=True)
    good = sum(error < RECOVERED * nothing for error, nothing in pairs)
    seeds = len(numbers["by_seed"][ZERO][ERROR])
    said = [
        f"the matrix is recovered in {good} of {seeds} seeds: σ̂ ends at {', '.join(banded(own[x]) for x in MODES)}, "
        f"and the error on the other entries is {banded(own[ERROR])} where predicting zero has {banded(zero[ERROR])}"
    ]
    verdicts = {row["name"]: verdict(row) for row in numbers["attribution"] if row["kind"] != "reference"}
    fitted = own[OBSERVED]["median"] < 0.5 * zero[OBSERVED]["median"]
    if QUIET in verdicts and not fitted:
        said.append("the observed entries are not fitted yet: nothing can be said of what noise selects")
    elif QUIET in verdicts:
        said.append(f"{on_noise(verdicts[QUIET], 2 * good > seeds)}: against SGD, {_listed(verdicts)}")
    return said


def on_noise(quiet: str, recovered: bool) -> str:
    """What figure 4 shows about noise.

    Args:
        quiet: verdict on gradient descent without noise, its error against SGD's.
        recovered: whether most seeds are.

    >>> on_noise("worse: error × 2 (95% interval 1.5 to 3)", recovered=False)
    'Figure 4 shows noise lowering the error of matrices that are not recovered'
    """
    if quiet.startswith("the same"):
        return "Figure 4 does not show that noise selects low rank"
    if quiet.startswith("worse"):
        gain = "helping the recovery" if recovered else "lowering the error of matrices that are not recovered"
        return f"Figure 4 shows noise {gain}"
    if quiet.startswith("better"):
        return "Figure 4 shows noise harming the recovery"
    return "Figure 4 does not decide what noise does"


def _listed(verdicts: dict[str, str]) -> str:
    """The runs that differ from SGD by their noise alone, each with its verdict."""
    return "; ".join(f"{name}: {verdicts[name]}" for name in (QUIET, TURNED) if name in verdicts)


def _with_balance(outcome: Outcome, request: Request, lr: float, steps: int, report: Stages) -> Outcome:
    """Which mechanism balances the columns of U and V."""
    if request.seeds < MIN_SEEDS:
        note = f"the attribution of the balance needs {MIN_SEEDS} seeds at least, for seeds are its unit of error"
        return dataclasses.replace(outcome, notes=[*outcome.notes, note])
    wall = dict(outcome.numbers["wall_s"])
    notes = [*outcome.notes]
    summary = None
    with timed(wall, "balance"), spared(notes):
        config = from_setup("figure-4", seeds=request.seeds, seed=request.seed, steps=steps, lr=lr, precision=32)
        summary = attribute(config, report=report).summary
    if summary is None:
        return dataclasses.replace(outcome, notes=notes)
    return dataclasses.replace(
        outcome,
        notes=[*notes, *(f"balance: {note}" for note in summary["notes"])],
        numbers={**outcome.numbers, "balance": summary, "wall_s": wall},
        tables=[*outcome.tables, Table("Which mechanism balances the columns?", COLUMNS, rows(summary), LEGEND)],
        sentences=[*outcome.sentences, *sentences(summary)],
        pictures={**outcome.pictures, "balance": attribution_figure(summary)},
    )


def _with_curve(outcome: Outcome, request: Request, lr: float, steps: int, report: Stages) -> Outcome:
    """The share of observed entries at which recovery sets in."""
    wall = dict(outcome.numbers["wall_s"])
    notes = [*outcome.notes]
    found = None
    with timed(wall, "shares"), spared(notes):
        rates = {"": lr} | ({", η × 10": 10.0 * lr} if request.variants else {})
        found = shares.curve(SHARES, request.seeds, request.seed, rates, steps, report)
    if found is None:
        return dataclasses.replace(outcome, notes=notes)
    return dataclasses.replace(
        outcome,
        numbers={**outcome.numbers, "curve": found.numbers, "wall_s": wall},
        tables=[*outcome.tables, found.table],
        sentences=[*outcome.sentences, found.sentence],
        pictures={**outcome.pictures, "shares": found.picture},
    )


def picture(problem: Problem, own: Trained, arrays: dict[str, Any]) -> Figure:
    """Singular values along training, and the ratio of the columns' norms."""
    del arrays
    drawn, (spectrum, ratios) = pictures.panels(2, 2.4)
    thousand = own.steps / 1000.0
    values = modes(problem, own)
    for i, name in enumerate(MODES):
        pictures.plot_band(spectrum, thousand, values[..., i], name, i)
    if problem.truth is not None:
        for level in np.linalg.svd(problem.truth[0], compute_uv=False)[: len(SPECTRUM)]:
            spectrum.axhline(level, color="black", linewidth=0.8, linestyle="--")
    spectrum.set_ylabel("singular values (dashed: truth)")
    pictures.legend(spectrum, loc="upper left", bbox_to_anchor=(0.0, 0.85), ncols=2)
    pictures.plot_band(ratios, thousand, off_by(balance(problem, own.params)["ratio"]), "median and 90% of the seeds")
    pictures.log_scale(ratios)
    ratios.set_ylabel("|U_j| / |V_j| off by a factor")
    pictures.legend(ratios)
    pictures.finish([spectrum, ratios], "thousand steps")
    return drawn


def modes(problem: Problem, trained: Trained) -> Float[np.ndarray, "seed time modes"]:
    """The first singular values of each seed along its run."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trained.params)
    found = np.linalg.svd(recovered(problem, flat), compute_uv=False)
    found = np.pad(found, ((0, 0), (0, len(MODES))))[:, : len(MODES)]
    return found.reshape(problem.seeds, len(trained.steps), len(MODES))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "loss as in the paper's code (mean over all entries) or its text (over the sub-sampled ones) [code]"
    return command(
        "sims.fig4_completion", "Figure 4 of the paper over an ensemble of seeds.", experiment, argv, data=True,
        extra={"variant": (text, choice("variant", ("code", "text")))},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
