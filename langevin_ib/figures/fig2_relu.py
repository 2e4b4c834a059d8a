"""Figure 2: norms of a shallow ReLU network equilibrate under SGD on fresh batches, at the paper's 5 × 10⁵ steps.

    langevin-ib figures 2 [--seeds 32]

Teacher and student f(x) = vᵀ relu(Wx), d = 3, h = 16; batches of 8, η = 5e-5, targets with noise 0.1. The text gives
the figure 4 × 10⁴ steps, which are run too, and which the attribution has.
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

SETUP = "figure-2"
PRESET = PRESETS[SETUP]
STEPS, TEXT_STEPS, HORIZON = 500_000, 40_000, 40_000
SCALES = (0.01, 0.25, 0.75)  # of the start, besides the paper's 0.05


def study(request: Request, session: Session) -> StudyResult:
    """The figure and its attribution."""
    noise, lr = Noise(PRESET.noise, PRESET.batch_size, PRESET.data_noise), request.lr or PRESET.lr
    case = Balancing(
        name="fig2_relu",
        problem=student(PRESET, request.seeds, request.seed),
        own=Arm(noise, lr, request.steps or STEPS),
        label_noise=PRESET.data_noise,
        caption={"loss": 6.3e-2},
        setup=SETUP,
        horizon=HORIZON,
        scales=SCALES,
        variants={} if request.steps else {f"{TEXT_STEPS} steps, the text's": Arm(noise, lr, TEXT_STEPS)},
        notes=("the loss is evaluated on noisy targets: its floor is 1e-2, the variance of their noise",),
    )
    return run_balancing(case, request, session)


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    return balancing_report(result, "Figure 2", "ReLU network", "|W_j| / |v_j|")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(2, argv)
