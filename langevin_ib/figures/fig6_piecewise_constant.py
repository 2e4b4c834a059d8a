"""Figure 6: a piecewise-constant signal from noisy compressed measurements, by gradient descent on cumsum(w₁ ⊙ w₂).

    langevin-ib figures 6 [--seeds 32] [--variant code|text] [--data FILE]

The paper's run is full-batch gradient descent, without any noise, on the mean squared error; its picture is from 1.5
× 10⁶ steps, the text says 5 × 10⁵ (`--variant text`). A literal sum over the measurements diverges. `--data`: an .npz
file with A (m, N), y (m,) and, if known, x_true (N,).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from langevin_ib.design import operators
from langevin_ib.dynamics.noise import Noise
from langevin_ib.figures.catalogue import main_of
from langevin_ib.output import plots
from langevin_ib.output.blocks import Picture, Report
from langevin_ib.output.effects import says_of_noise
from langevin_ib.output.recovery import recovery_report, signal_figure
from langevin_ib.session import Session
from langevin_ib.studies import baselines
from langevin_ib.studies.data import load
from langevin_ib.studies.effects import starts_and_noises
from langevin_ib.studies.measures import square_error, training_error, variation
from langevin_ib.studies.recipes import piecewise
from langevin_ib.studies.recovery import Recovery, run_recovery, solve_each
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.training import Arm, descend_plain

LR, PLAIN_LR, PLAIN_START = 1e-3, 1e-2, 1e-4
STEPS = {"code": 1_500_000, "text": 500_000}
SWEEP_STEPS = 500_000
SCALES = (0.01, 0.03, 0.1, 1.0)  # of the start, besides the paper's 0.3
SETTLE = 100_000  # steps without noise after those with it
NOISES = (0.3, 1.0, 3.0)  # s of label noise; the measurements themselves carry 0.1
DESIGNED, PLAIN, FUSED, LASSO = "cumsum(w₁ ⊙ w₂)", "x = w", "total variation (fused lasso)", "lasso in x"
ERROR, VARIATION = "error of x", "total variation"
CAPTION = {DESIGNED: {ERROR: 7.94e-2, VARIATION: 23.0}, PLAIN: {ERROR: 1.39, VARIATION: 130.0}}


def study(request: Request, session: Session) -> StudyResult:
    """The figure, with its baselines and its attribution."""
    user_data = None if request.data is None else load(request.data, 6)
    problem = piecewise(request.seeds, request.seed, data=user_data)
    variant = request.word("variant", "code")
    other = "text" if variant == "code" else "code"
    own = Arm(Noise("none"), request.lr or LR, request.steps or STEPS[variant])
    short = dataclasses.replace(own, steps=min(own.steps, SWEEP_STEPS))
    z = np.asarray(problem.own_tasks["x"])
    A = z @ operators.gradient(z.shape[2]).matrix
    y, truth = np.asarray(problem.own_tasks["y"]), problem.known
    longer = {f"{DESIGNED}, {STEPS[other]:g} steps": dataclasses.replace(own, steps=STEPS[other])}
    recovery = Recovery(
        name="fig6_piecewise_constant",
        unknown="x",
        problem=problem,
        own_name=DESIGNED,
        own=own,
        error=ERROR,
        metrics={
            ERROR: lambda x: square_error(x, truth),
            VARIATION: variation,
            "training error": partial(training_error, A, y),
        },
        needs_truth=frozenset([ERROR]),
        caption=CAPTION,
        variants={} if request.steps else longer,
        others={
            PLAIN: partial(descend_plain, problem, A, request.number("plain_lr", PLAIN_LR), own.steps, PLAIN_START)
        },
        baselines={
            FUSED: lambda: solve_each(baselines.fused_lasso, A, y, request.seed),
            LASSO: lambda: solve_each(baselines.lasso, A, y, request.seed),
        },
        sweeps=starts_and_noises(short, SCALES, NOISES),
        sweep_reference=short,
        settle=min(SETTLE, own.steps),
        notes=(
            "the figure's own run has no noise of any kind: full-batch gradient descent on the mean of squares; a "
            "sum over the 60 measurements, η 60 times larger, diverges",
        ),
    )
    return run_recovery(recovery, request, session)


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    alt = "The signal as the two models and the convex baseline recover it: median and band of 90% of the seeds"
    draw = partial(signal_figure, result, (PLAIN, DESIGNED, FUSED), "x", draw_truth, plots.plot_band)
    sentences = says_of_noise(result.effects, "Figure 6")
    title = "Figure 6, piecewise-constant recovery"
    return recovery_report(result, title, ERROR, Picture("figure", alt, draw), sentences)


def draw_truth(axes: Axes, place: Float[np.ndarray, " N"], truth: Float[np.ndarray, " N"]) -> None:
    """The signal that is to be recovered."""
    axes.plot(place, truth, color=plots.BLACK, linewidth=1.0, label="truth")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(6, argv)
