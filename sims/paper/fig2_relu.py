"""Figure 2: norms of a shallow ReLU network equilibrate under SGD on fresh batches, at the paper's 5 × 10⁵ steps.

    python -m sims.fig2_relu [--seeds 32]

Teacher and student f(x) = vᵀ relu(Wx), d = 3, h = 16; batches of 8, η = 5e-5, targets with noise 0.1. The text gives
the figure 4 × 10⁴ steps, which are run too, and which the attribution has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from langevin_ib.cli.figures import main as command
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output.outcome import Outcome
from langevin_ib.studies.balancing import Balancing, run_balancing
from langevin_ib.studies.problem import RELU, student
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm

LR, STEPS, BATCH, LABEL_NOISE, START = 5e-5, 500_000, 8, 0.1, 0.05
TEXT_STEPS = HORIZON = 40_000
SCALES = (0.01, 0.25, 0.75)


def experiment(request: Request, report: Stages) -> Outcome:
    """The figure and its attribution."""
    noise, lr = Noise("fresh", BATCH, LABEL_NOISE), request.lr or LR
    case = Balancing(
        name="fig2_relu",
        title="Figure 2, ReLU network",
        ratio="|W_j| / |v_j|",
        problem=student("relu", RELU, START, request.seeds, request.seed),
        own=Arm(noise, lr, request.steps or STEPS),
        label_noise=LABEL_NOISE,
        caption={"loss": 6.3e-2},
        setup="figure-2",
        horizon=HORIZON,
        scales=SCALES,
        variants={} if request.steps else {f"{TEXT_STEPS} steps, the text's": Arm(noise, lr, TEXT_STEPS)},
        notes=(
            "the loss is evaluated on noisy targets: its floor is 1e-2, the variance of their noise",
            "the attribution starts from the model's own v_j, whose signs alternate; the figure from random signs",
        ),
    )
    return run_balancing(case, request, report)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "Figure 2 of the paper over an ensemble of seeds."
    return command("sims.fig2_relu", text, experiment, argv, parts=("attribution", "variants"))


if __name__ == "__main__":
    sys.exit(main())
