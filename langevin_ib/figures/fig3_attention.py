"""Figure 3: query and key norms equilibrate under SGD on fresh sequences, at the paper's 3 × 10⁵ steps.

    langevin-ib figures 3 [--seeds 32]

One head, n = 8 tokens, d = 16, r = 8, Q, K and V learnt; batches of 16, η = 1e-3 on the mean squared error over all
entries, targets with noise 0.02. The attribution runs 2 × 10⁴ steps, with 64 fixed sequences standing for the
population. The text gives the figure 5 × 10⁴ steps, and the sum of the squared errors as its loss: both are run too.
"""

from __future__ import annotations

from collections.abc import Sequence

from langevin_ib.dynamics.noise import Noise
from langevin_ib.figures.catalogue import main_of
from langevin_ib.output.balancing import balancing_report
from langevin_ib.output.blocks import Report
from langevin_ib.session import Session
from langevin_ib.studies.balancing import Balancing, run_balancing
from langevin_ib.studies.presets import PRESETS
from langevin_ib.studies.recipes import student
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.training import Arm

SETUP = "figure-3"
PRESET = PRESETS[SETUP]
STEPS, TEXT_STEPS, HORIZON = 300_000, 50_000, 20_000
SCALES = (0.02, 0.5)  # of the start, besides the paper's 0.1
ENTRIES = 8 * 8  # of an output, tokens × channels: the text's squared Frobenius norm sums them, the code averages


def study(request: Request, session: Session) -> StudyResult:
    """The figure and its attribution."""
    noise, lr = Noise(PRESET.noise, PRESET.batch_size, PRESET.data_noise), request.lr or PRESET.lr
    variants = {
        f"{TEXT_STEPS} steps, the text's": Arm(noise, lr, TEXT_STEPS),
        f"{TEXT_STEPS} steps, sum of squares": Arm(noise, ENTRIES * lr, TEXT_STEPS),
    }
    case = Balancing(
        name="fig3_attention",
        # Fresh sequences need no data set; a larger one, drawn before V, would change the teachers.
        problem=student(PRESET, request.seeds, request.seed, samples=1),
        own=Arm(noise, lr, request.steps or STEPS),
        label_noise=PRESET.data_noise,
        caption={"loss": 6.8e-2},
        setup=SETUP,
        horizon=HORIZON,
        scales=SCALES,
        variants={} if request.steps else variants,
        notes=("the loss is evaluated on noisy targets: its floor is 4e-4, the variance of their noise",),
    )
    return run_balancing(case, request, session)


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    return balancing_report(result, "Figure 3", "attention", "|Q_j| / |K_j|")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(3, argv)
