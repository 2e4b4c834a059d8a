"""Figure 3: query and key norms equilibrate under SGD on fresh sequences, at the paper's 3 × 10⁵ steps.

    python -m sims.fig3_attention [--seeds 32]

One head, n = 8 tokens, d = 16, r = 8, Q, K and V learnt; batches of 16, η = 1e-3 on the mean squared error over all
entries, targets with noise 0.02. The attribution runs 2 × 10⁴ steps, with 64 fixed sequences standing for the
population. The text gives the figure 5 × 10⁴ steps, and the sum of the squared errors as its loss: both are run too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from langevin_ib.cli.figures import main as command
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.output.outcome import Outcome
from langevin_ib.studies.balancing import Balancing, run_balancing
from langevin_ib.studies.problem import ATTENTION, student
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm

LR, STEPS, BATCH, LABEL_NOISE, START = 1e-3, 300_000, 16, 0.02, 0.1
HORIZON = 20_000
SCALES = (0.02, 0.5)
TEXT_STEPS = 50_000
ENTRIES = ATTENTION["length"] * ATTENTION["width"]  # that the text's squared Frobenius norm sums, and the code averages


def experiment(request: Request, report: Stages) -> Outcome:
    """The figure and its attribution."""
    noise, lr = Noise("fresh", BATCH, LABEL_NOISE), request.lr or LR
    variants = {
        f"{TEXT_STEPS} steps, the text's": Arm(noise, lr, TEXT_STEPS),
        f"{TEXT_STEPS} steps, sum of squares": Arm(noise, ENTRIES * lr, TEXT_STEPS),
    }
    case = Balancing(
        name="fig3_attention",
        title="Figure 3, attention",
        ratio="|Q_j| / |K_j|",
        problem=student("attention", ATTENTION, START, request.seeds, request.seed),
        own=Arm(noise, lr, request.steps or STEPS),
        label_noise=LABEL_NOISE,
        caption={"loss": 6.8e-2},
        setup="figure-3",
        horizon=HORIZON,
        scales=SCALES,
        variants={} if request.steps else variants,
        notes=("the loss is evaluated on noisy targets: its floor is 4e-4, the variance of their noise",),
    )
    return run_balancing(case, request, report)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "Figure 3 of the paper over an ensemble of seeds."
    return command("sims.fig3_attention", text, experiment, argv, parts=("attribution", "variants"))


if __name__ == "__main__":
    sys.exit(main())
