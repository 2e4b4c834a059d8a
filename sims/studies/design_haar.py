"""A design that is not in the paper: a signal sparse in Haar wavelets, by gradient descent on x = Hᵀ(w₁ ⊙ w₂).

    python -m sims.design_haar [--seeds 32]

`design.sparse(operators.haar(128))` on 48 noisy Gaussian measurements, against x learnt itself on the same data with
the same η and number of steps, and against two lassos with cross-validated penalties: in the wavelets, and in x. η,
steps, start and sizes were set before any run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from langevin_ib.cli.figures import main as command
from langevin_ib.design import operators
from langevin_ib.dynamics.noise import Noise
from langevin_ib.output import plots
from langevin_ib.output.blocks import Picture, Report
from langevin_ib.output.effects import says_of_noise
from langevin_ib.output.recovery import recovery_report, signal_figure
from langevin_ib.session import Session
from langevin_ib.studies import baselines
from langevin_ib.studies.effects import starts_and_noises
from langevin_ib.studies.measures import square_error, training_error
from langevin_ib.studies.recipes import wavelet
from langevin_ib.studies.recovery import Recovery, run_recovery, solve_each
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.training import Arm, descend_plain

LR, STEPS, START, PLAIN_START = 1e-2, 200_000, 1e-2, 1e-4
SCALES = (1e-4, 1e-3, 0.1, 1.0)  # of the start, besides 1e-2
SETTLE = 50_000  # steps without noise after those with it
NOISES = (0.3, 1.0)  # s of label noise; the measurements themselves carry 0.1
DESIGNED, PLAIN, ZERO, LASSO, LASSO_X = "Hᵀ(w₁ ⊙ w₂)", "x itself", "zero", "lasso in wavelets", "lasso in x"
ERROR, TRAINING, LARGE = "error of x", "training error", "wavelets above 0.1"


def study(request: Request, session: Session) -> StudyResult:
    """The design, its plain model and the lassos, with the attribution."""
    problem = wavelet(request.seeds, request.seed, start_scale=START)
    own = Arm(Noise("none"), request.lr or LR, request.steps or STEPS)
    X, y, truth = np.asarray(problem.own_tasks["x"]), np.asarray(problem.own_tasks["y"]), problem.known
    H = operators.haar(X.shape[2])
    A = X @ H.matrix
    recovery = Recovery(
        name="design_haar",
        unknown="x",
        problem=problem,
        own_name=DESIGNED,
        own=own,
        error=ERROR,
        metrics={
            ERROR: lambda x: square_error(x, truth),
            TRAINING: partial(training_error, A, y),
            LARGE: lambda x: np.sum(np.abs(x @ H.matrix.T) > 0.1, axis=1).astype(float),
        },
        needs_truth=frozenset([ERROR]),
        others={
            PLAIN: partial(descend_plain, problem, A, own.lr, own.steps, PLAIN_START, "lr"),
            ZERO: lambda: np.zeros_like(truth),
        },
        baselines={
            LASSO: lambda: solve_each(baselines.lasso, X, y, request.seed) @ H.pseudo_inverse.T,
            LASSO_X: lambda: solve_each(baselines.lasso, A, y, request.seed),
        },
        sweeps=starts_and_noises(own, SCALES, NOISES),
        settle=min(SETTLE, own.steps),
        notes=("the run has no noise of any kind: full-batch gradient descent on the mean squared error",),
    )
    return run_recovery(recovery, request, session)


def report(result: StudyResult) -> Report:
    """The study as it is shown."""
    names = (PLAIN, DESIGNED, LASSO)
    draw = partial(signal_figure, result, names, "x, first seed", draw_truth, draw_first)
    return recovery_report(
        result,
        "Haar-sparse signal, a design that is not in the paper",
        ERROR,
        Picture("figure", "The first seed's signal as each model recovers it", draw),
        says_of_noise(result.effects, "This recovery"),
    )


def draw_truth(axes: Axes, place: Float[np.ndarray, " N"], truth: Float[np.ndarray, " N"]) -> None:
    """The first seed's signal, below what is recovered."""
    axes.step(place, truth, color=plots.BLACK, linewidth=2.2, alpha=0.35, label="truth", where="mid")


def draw_first(
    axes: Axes, place: Float[np.ndarray, " N"], signals: Float[np.ndarray, "seed N"], name: str, style: int
) -> None:
    """What the first seed recovers."""
    axes.step(place, signals[0], color=plots.COLOURS[style], linewidth=1.0, label=name, where="mid")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "A Haar-sparse signal by inverse design, over an ensemble of seeds."
    return command("sims.design_haar", text, study, report, argv, parts=("attribution", "baselines"))


if __name__ == "__main__":
    sys.exit(main())
