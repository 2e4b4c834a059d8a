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

from langevin_ib.cli.figures import Request, choice
from langevin_ib.cli.figures import main as command
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output import plots
from langevin_ib.output.attribution import COLUMNS, LEGEND, rows, sentences
from langevin_ib.output.outcome import Outcome, Table, banded
from langevin_ib.output.plot_attribution import attribution_figure
from langevin_ib.studies import shares
from langevin_ib.studies.config import MIN_SEEDS, from_setup
from langevin_ib.studies.data import load
from langevin_ib.studies.effects import verdict
from langevin_ib.studies.measures import balance, off_by, unobserved_error
from langevin_ib.studies.mechanisms import attribute
from langevin_ib.studies.problem import Problem, completion
from langevin_ib.studies.recovery import Recovery, failures_noted, run_recovery, timed
from langevin_ib.studies.shares import NUCLEAR, QUIET, RECOVERED, nuclear_norms
from langevin_ib.studies.training import Arm, Trained, recovered

LR, STEPS, SIZE, SPECTRUM = 1e-3, 500_000, 20, (15.0, 5.0)
KEPT = 40  # observed entries in an average mask: what the text's loss is a mean over
SCALES = (0.01, 0.03, 0.3, 1.0)  # of the start, besides the paper's 0.1
NOISES = (1.0, 3.0)  # s of label noise
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FACTORED, ZERO = "U Vᵀ", "zero"
ISOTROPIC = "isotropic, as SGD's"
ERROR, OBSERVED, FIRST, SECOND, THIRD, FOURTH = (
    "error, unobserved", "error, observed", "σ̂₁", "σ̂₂", "σ̂₃", "σ̂₄",
)  # fmt: skip
NUCLEAR_NOTE = "nuclear norm: the matrix of least nuclear norm with the observed entries, which carry no noise"
MODES = (FIRST, SECOND, THIRD, FOURTH)


def experiment(request: Request, report: Stages) -> Outcome:
    """The figure, the curve over the share of observed entries, the baseline and the attributions."""
    user_data = None if request.data is None else load(request.data, 4)
    problem = completion(request.seeds, request.seed, data=user_data)
    mask, target, truth = (np.asarray(x) for x in (problem.tasks["mask"], problem.tasks["target"], problem.truth))
    variant = request.extra.get("variant", "code")
    # The loss of the code is a mean over all entries, half of which the masks drop; that of the model here a sum.
    entries = mask[0].size
    eta = request.lr or LR
    rates = {"code": eta / entries, "text": eta / KEPT if user_data is None else 2.0 * eta / mask[0].sum()}
    steps, lr = request.steps or STEPS, rates[variant]
    other = "text" if variant == "code" else "code"
    masks, quiet = Noise("bernoulli"), Noise("none")
    sweeps = {
        QUIET: Arm(quiet, lr, steps),
        ISOTROPIC: Arm(Noise("bernoulli", isotropized=True), lr, steps),
    }
    sweeps |= {f"label noise {s:g}": Arm(Noise("label", None, s), lr, steps) for s in NOISES}
    sweeps |= {f"start {s:g}": Arm(masks, lr, steps, s) for s in SCALES}
    outcome = run_recovery(
        Recovery(
            name="fig4_completion",
            title="Figure 4, matrix completion",
            unknown="T",
            problem=problem,
            own_name=FACTORED,
            own=Arm(masks, lr, steps),
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
                f"{FACTORED}, loss as in the {other}": Arm(masks, rates[other], steps),
                f"{FACTORED}, start of U × 1.1, as in the code": Arm(masks, lr, steps, None, (("U", 1.1),)),
            },
            others={ZERO: lambda: np.zeros_like(target)},
            baselines={NUCLEAR: lambda: nuclear_norms(target, mask, seed=None if user_data is None else request.seed)},
            sweeps=sweeps,
            interpret=interpret,
            notes=(
                "σ̂ is the singular value of U Vᵀ; the paper's code plots 2σ̂ under that name",
                *(
                    [NUCLEAR_NOTE if user_data is None else "nuclear norm: penalty by cross-validation"]
                    * request.baselines
                ),
            ),
        ),
        request,
        report,
    )
    if request.attribution:
        outcome = _add_balance(outcome, request, lr, steps, report) if user_data is None else outcome
    if request.baselines and user_data is None:
        outcome = _add_curve(outcome, request, lr, steps, report)
    return outcome


def mode(i: int, T: Float[np.ndarray, "seed m n"]) -> Float[np.ndarray, " seed"]:
    """σ̂_{i+1} of each seed."""
    return np.linalg.svd(T, compute_uv=False)[:, i] if i < min(T.shape[1:]) else np.zeros(len(T))


def interpret(numbers: dict[str, Any]) -> list[str]:
    """Whether the matrix is recovered, and the part of noise in it."""
    own, zero = (numbers["rows"][name] for name in (FACTORED, ZERO))
    pairs = zip(numbers["by_seed"][FACTORED][ERROR], numbers["by_seed"][ZERO][ERROR], strict=True)
    recovered_count = sum(error < RECOVERED * zero_error for error, zero_error in pairs)
    seeds = len(numbers["by_seed"][ZERO][ERROR])
    lines = [
        f"the matrix is recovered in {recovered_count} of {seeds} seeds: "
        f"σ̂ ends at {', '.join(banded(own[x]) for x in MODES)}, "
        f"and the error on the other entries is {banded(own[ERROR])} where predicting zero has {banded(zero[ERROR])}"
    ]
    verdicts = {row["name"]: verdict(row) for row in numbers["attribution"] if row["kind"] != "reference"}
    is_fitted = own[OBSERVED]["median"] < 0.5 * zero[OBSERVED]["median"]
    if QUIET in verdicts and not is_fitted:
        lines.append("the observed entries are not fitted yet: nothing can be said of what noise selects")
    elif QUIET in verdicts:
        lines.append(
            f"{on_noise(verdicts[QUIET], 2 * recovered_count > seeds)}: against SGD, {_list_verdicts(verdicts)}"
        )
    return lines


def on_noise(quiet: str, recovered: bool) -> str:
    """The conclusion of figure 4 about noise.

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


def _list_verdicts(verdicts: dict[str, str]) -> str:
    """The runs that differ from SGD by their noise alone, each with its verdict."""
    return "; ".join(f"{name}: {verdicts[name]}" for name in (QUIET, ISOTROPIC) if name in verdicts)


def _add_balance(outcome: Outcome, request: Request, lr: float, steps: int, report: Stages) -> Outcome:
    """Which mechanism balances the columns of U and V."""
    if request.seeds < MIN_SEEDS:
        note = f"the attribution of the balance needs {MIN_SEEDS} seeds at least, for seeds are its unit of error"
        return dataclasses.replace(outcome, notes=[*outcome.notes, note])
    wall = dict(outcome.numbers["wall_s"])
    notes = [*outcome.notes]
    summary = None
    with timed(wall, "balance"), failures_noted(notes):
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


def _add_curve(outcome: Outcome, request: Request, lr: float, steps: int, report: Stages) -> Outcome:
    """The share of observed entries at which recovery sets in."""
    wall = dict(outcome.numbers["wall_s"])
    notes = [*outcome.notes]
    curve = None
    with timed(wall, "shares"), failures_noted(notes):
        rates = {"": lr} | ({", η × 10": 10.0 * lr} if request.variants else {})
        curve = shares.curve(SHARES, request.seeds, request.seed, rates, steps, report)
    if curve is None:
        return dataclasses.replace(outcome, notes=notes)
    return dataclasses.replace(
        outcome,
        numbers={**outcome.numbers, "curve": curve.numbers, "wall_s": wall},
        tables=[*outcome.tables, curve.table],
        sentences=[*outcome.sentences, curve.sentence],
        pictures={**outcome.pictures, "shares": curve.picture},
    )


def picture(problem: Problem, own: Trained, arrays: dict[str, Any]) -> Figure:
    """Singular values along training, and the ratio of the columns' norms."""
    del arrays
    figure, (spectrum, ratios) = plots.panels(2, 2.4)
    thousand = own.steps / 1000.0
    values = modes(problem, own)
    for i, name in enumerate(MODES):
        plots.plot_band(spectrum, thousand, values[..., i], name, i)
    if problem.truth is not None:
        for level in np.linalg.svd(problem.truth[0], compute_uv=False)[: len(SPECTRUM)]:
            spectrum.axhline(level, color="black", linewidth=0.8, linestyle="--")
    spectrum.set_ylabel("singular values (dashed: truth)")
    plots.legend(spectrum, loc="upper left", bbox_to_anchor=(0.0, 0.85), ncols=2)
    plots.plot_band(ratios, thousand, off_by(balance(problem, own.params)["ratio"]), "median and 90% of the seeds")
    plots.log_scale(ratios)
    ratios.set_ylabel("|U_j| / |V_j| off by a factor")
    plots.legend(ratios)
    plots.finish([spectrum, ratios], "thousand steps")
    return figure


def modes(problem: Problem, trained: Trained) -> Float[np.ndarray, "seed time modes"]:
    """The first singular values of each seed along its run."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trained.params)
    values = np.linalg.svd(recovered(problem, flat), compute_uv=False)
    values = np.pad(values, ((0, 0), (0, len(MODES))))[:, : len(MODES)]
    return values.reshape(problem.seeds, len(trained.steps), len(MODES))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "loss as in the paper's code (mean over all entries) or its text (over the sub-sampled ones)"
    return command(
        "sims.fig4_completion", "Figure 4 of the paper over an ensemble of seeds.", experiment, argv, data=True,
        extra={"variant": choice(text, "code", "text")},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
