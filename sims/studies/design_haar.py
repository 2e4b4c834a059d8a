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
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.cli.figures import main as command
from langevin_ib.design import operators
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output import plots
from langevin_ib.output.outcome import Outcome
from langevin_ib.studies import baselines
from langevin_ib.studies.effects import says_of_noise
from langevin_ib.studies.measures import square_error
from langevin_ib.studies.problem import wavelet
from langevin_ib.studies.recovery import Recovery, each, run_recovery
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm, Trained, descend_plain

LR, STEPS, START, PLAIN_START = 1e-2, 200_000, 1e-2, 1e-4
SCALES = (1e-4, 1e-3, 0.1, 1.0)  # of the start, besides 1e-2
SETTLE = 50_000  # steps without noise after those with it
NOISES = (0.3, 1.0)  # s of label noise; the measurements themselves carry 0.1
DESIGNED, PLAIN, ZERO, LASSO, LASSO_X = "Hᵀ(w₁ ⊙ w₂)", "x itself", "zero", "lasso in wavelets", "lasso in x"
ERROR, TRAINING, LARGE = "error of x", "training error", "wavelets above 0.1"


def experiment(request: Request, report: Stages) -> Outcome:
    """The design, its plain model and the lassos, with the attribution."""
    problem = wavelet(request.seeds, request.seed, start_scale=START)
    size = problem.tasks["x"].shape[2]
    H = operators.haar(size)
    X = np.asarray(problem.tasks["x"])
    A = X @ H.matrix
    y, truth = np.asarray(problem.tasks["y"]), problem.known
    lr, steps = request.lr or LR, request.steps or STEPS
    quiet = Noise("none")
    sweeps = {f"start {scale:g}": Arm(quiet, lr, steps, scale) for scale in SCALES}
    sweeps |= {f"label noise {s:g}": Arm(Noise("label", None, s), lr, steps) for s in NOISES}
    sweeps |= {f"isotropic, as label {s:g}": Arm(Noise("label", None, s, isotropized=True), lr, steps) for s in NOISES}
    others = {
        PLAIN: partial(descend_plain, problem, A, lr, steps, PLAIN_START, "lr"),
        ZERO: lambda: np.zeros((problem.seeds, size)),
    }
    return run_recovery(
        Recovery(
            name="design_haar",
            title="Haar-sparse signal, a design that is not in the paper",
            unknown="x",
            problem=problem,
            own_name=DESIGNED,
            own=Arm(quiet, lr, steps),
            error=ERROR,
            metrics={
                ERROR: lambda x: square_error(x, truth),
                TRAINING: lambda x: np.mean((np.einsum("snd,sd->sn", A, x) - y) ** 2, axis=1),
                LARGE: lambda x: np.sum(np.abs(x @ H.matrix.T) > 0.1, axis=1).astype(float),
            },
            needs_truth=frozenset([ERROR]),
            picture=partial(picture, truth=problem.truth),
            others=others,
            baselines={
                LASSO: lambda: each(baselines.lasso, X, y, request.seed) @ H.pseudo_inverse.T,
                LASSO_X: lambda: each(baselines.lasso, A, y, request.seed),
            },
            sweeps=sweeps,
            settle=min(SETTLE, steps),
            interpret=partial(says_of_noise, what="This recovery"),
            notes=("the run has no noise of any kind: full-batch gradient descent on the mean squared error",),
        ),
        request,
        report,
    )


def picture(own: Trained, arrays: dict[str, Any], *, truth: Float[np.ndarray, "seed N"] | None) -> Figure:
    """The first seed's signal as each model recovers it."""
    del own
    shown = [name for name in (PLAIN, DESIGNED, LASSO) if name in arrays]
    figure, grid = plots.panels(len(shown), 1.9)
    for i, (axes, name) in enumerate(zip(grid, shown, strict=True)):
        place = np.arange(arrays[name].shape[1])
        if truth is not None:
            axes.step(place, truth[0], color=plots.BLACK, linewidth=2.2, alpha=0.35, label="truth", where="mid")
        axes.step(place, arrays[name][0], color=plots.COLOURS[i], linewidth=1.0, label=name, where="mid")
        axes.set_ylabel("x, first seed")
        plots.legend_above(axes)
    plots.finish(grid, "position")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "A Haar-sparse signal by inverse design, over an ensemble of seeds."
    return command("sims.design_haar", text, experiment, argv, parts=("attribution", "baselines"))


if __name__ == "__main__":
    sys.exit(main())
