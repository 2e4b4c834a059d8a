"""Figure 6: a piecewise-constant signal from noisy compressed measurements, by gradient descent on cumsum(w₁ ⊙ w₂).

    python -m sims.fig6_piecewise_constant [--seeds 32] [--variant code|text] [--data FILE]

The paper's run is full-batch gradient descent, without any noise, on the mean squared error; its picture is from 1.5
× 10⁶ steps, the text says 5 × 10⁵ (`--variant text`). A literal sum over the measurements diverges. `--data`: an .npz
file with A (m, N), y (m,) and, if known, x_true (N,).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.cli.figures import Request, choice, positive
from langevin_ib.cli.figures import main as command
from langevin_ib.design import operators
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output import plots
from langevin_ib.output.outcome import Outcome
from langevin_ib.studies import baselines
from langevin_ib.studies.data import load
from langevin_ib.studies.effects import says_of_noise
from langevin_ib.studies.measures import square_error, variation
from langevin_ib.studies.problem import piecewise
from langevin_ib.studies.recovery import Recovery, each, run_recovery
from langevin_ib.studies.training import Arm, Trained, descend_plain

LR, PLAIN_LR, PLAIN_START = 1e-3, 1e-2, 1e-4
STEPS = {"code": 1_500_000, "text": 500_000}
SWEEP_STEPS = 500_000
SCALES = (0.01, 0.03, 0.1, 1.0)  # of the start, besides the paper's 0.3
SETTLE = 100_000  # steps without noise after those with it
NOISES = (0.3, 1.0, 3.0)  # s of label noise; the measurements themselves carry 0.1
DESIGNED, PLAIN, FUSED, LASSO = "cumsum(w₁ ⊙ w₂)", "x = w", "total variation (fused lasso)", "lasso in x"
ERROR, VARIATION = "error of x", "total variation"
CAPTION = {DESIGNED: {ERROR: 7.94e-2, VARIATION: 23.0}, PLAIN: {ERROR: 1.39, VARIATION: 130.0}}


def experiment(request: Request, report: Stages) -> Outcome:
    """The figure, with its baselines and its attribution."""
    user_data = None if request.data is None else load(request.data, 6)
    problem = piecewise(request.seeds, request.seed, data=user_data)
    variant = request.extra.get("variant", "code")
    steps = request.steps or STEPS[variant]
    other = "text" if variant == "code" else "code"
    A = np.asarray(problem.tasks["x"]) @ operators.gradient(problem.tasks["x"].shape[2]).matrix
    y, truth = np.asarray(problem.tasks["y"]), problem.known
    lr = request.lr or LR
    plain_lr = request.extra.get("plain_lr", PLAIN_LR)
    quiet, short = Noise("none"), min(steps, SWEEP_STEPS)
    sweeps = {f"start {scale:g}": Arm(quiet, lr, short, scale) for scale in SCALES}
    sweeps |= {f"label noise {s:g}": Arm(Noise("label", None, s), lr, short) for s in NOISES}
    sweeps |= {
        f"isotropic noise, as label {s:g}": Arm(Noise("label", None, s, isotropized=True), lr, short) for s in NOISES
    }
    return run_recovery(
        Recovery(
            name="fig6_piecewise_constant",
            title="Figure 6, piecewise-constant recovery",
            unknown="x",
            problem=problem,
            own_name=DESIGNED,
            own=Arm(quiet, lr, steps),
            error=ERROR,
            metrics={
                ERROR: lambda x: square_error(x, truth),
                VARIATION: variation,
                "training error": lambda x: np.mean((np.einsum("snd,sd->sn", A, x) - y) ** 2, axis=1),
            },
            needs_truth=frozenset([ERROR]),
            picture=partial(picture, truth=problem.truth),
            caption=CAPTION,
            variants={} if request.steps else {f"{DESIGNED}, {STEPS[other]:g} steps": Arm(quiet, lr, STEPS[other])},
            others={PLAIN: partial(descend_plain, problem, A, plain_lr, steps, PLAIN_START)},
            baselines={
                FUSED: lambda: each(baselines.fused_lasso, A, y, request.seed),
                LASSO: lambda: each(baselines.lasso, A, y, request.seed),
            },
            sweeps=sweeps,
            sweep_reference=Arm(quiet, lr, short),
            settle=min(SETTLE, steps),
            interpret=partial(says_of_noise, what="Figure 6"),
            notes=(
                "the figure's own run has no noise of any kind: full-batch gradient descent on the mean of squares; a "
                "sum over the 60 measurements, η 60 times larger, diverges",
            ),
        ),
        request,
        report,
    )


def picture(own: Trained, arrays: dict[str, Any], *, truth: Float[np.ndarray, "seed N"] | None) -> Figure:
    """The signal as the two models and the convex baseline recover it: median and band of 90% of the seeds."""
    del own
    shown = [name for name in (PLAIN, DESIGNED, FUSED) if name in arrays]
    figure, grid = plots.panels(len(shown), 1.9)
    for i, (axes, name) in enumerate(zip(grid, shown, strict=True)):
        place = np.arange(arrays[name].shape[1])
        if truth is not None:
            axes.plot(place, truth[0], color=plots.BLACK, linewidth=1.0, label="truth")
        plots.plot_band(axes, place, arrays[name], name, i)
        axes.set_ylabel("x")
        plots.legend_above(axes)
    plots.finish(grid, "position")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return command(
        "sims.fig6_piecewise_constant", "Figure 6 of the paper over an ensemble of seeds.", experiment, argv, data=True,
        extra={
            "plain_lr": positive("learning rate of the plain model"),
            "variant": choice("code (1.5e6 steps) or text (5e5)", *STEPS),
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
