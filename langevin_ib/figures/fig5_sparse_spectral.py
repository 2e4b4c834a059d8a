"""Figure 5: a signal of three cosines out of 64 from 32 noisy points, by gradient descent on w = w₁ ⊙ w₂.

    langevin-ib figures 5 [--seeds 32] [--variant code|text] [--data FILE]

The paper's run is full-batch gradient descent, without any noise, on the mean squared error. Its code starts the
factors at a standard deviation of 1e-2, its text at 1e-4 (`--variant text`), after 5 × 10⁴ steps, which are run too.
`--data`: an .npz file with t_train (n,), y_train (n,) and, if known, w_true (D,).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from langevin_ib.dynamics.noise import Noise
from langevin_ib.figures.catalogue import main_of
from langevin_ib.output import plots
from langevin_ib.output.blocks import Picture, Report
from langevin_ib.output.effects import says_of_noise
from langevin_ib.output.recovery import recovery_report
from langevin_ib.output.studies import banded
from langevin_ib.session import Session
from langevin_ib.studies import baselines
from langevin_ib.studies.data import load
from langevin_ib.studies.effects import starts_and_noises
from langevin_ib.studies.measures import isolated, signal_error, training_error
from langevin_ib.studies.recipes import features, sparse_spectrum
from langevin_ib.studies.recovery import Recovery, run_recovery, solve_each
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.training import Arm, descend_plain

LR, PLAIN_LR, STEPS, PLAIN_START = 1e-3, 1e-3, 150_000, 1e-4
STARTS = {"code": 1e-2, "text": 1e-4}
SCALES = (1e-4, 1e-3, 0.1, 0.3, 1.0)  # of the start, besides the code's 1e-2
TEXT_STEPS = 50_000
SETTLE = 50_000  # steps without noise after those with it
NOISES = (0.3, 1.0, 3.0)  # s of label noise; the points themselves carry 0.1
DESIGNED, PLAIN, LASSO = "w₁ ⊙ w₂", "w itself", "lasso"
ERROR, ISOLATED, SPURIOUS = "test error", "true ones isolated", "largest false amplitude"
ISOLATED_NOTE = (
    "isolated: the largest amplitudes are those of the true frequencies; largest false amplitude: at any other "
    "frequency, in units of the smallest of the truth"
)
SHOWN, END = 1000, 0.25  # points of the drawn signal, and its end: all of [0, 1] would be a block of colour


def study(request: Request, session: Session) -> StudyResult:
    """The figure, with its baselines and its attribution."""
    user_data = None if request.data is None else load(request.data, 5)
    variant = request.word("variant", "code")
    other = "text" if variant == "code" else "code"
    problem = sparse_spectrum(request.seeds, request.seed, start_scale=STARTS[variant], data=user_data)
    x, y, truth = np.asarray(problem.own_tasks["x"]), np.asarray(problem.own_tasks["y"]), problem.known
    own = Arm(Noise("none"), request.lr or LR, request.steps or STEPS)
    variants = {
        f"{DESIGNED}, start {STARTS[other]:g} ({other})": dataclasses.replace(own, start_scale=STARTS[other]),
        f"{DESIGNED}, {TEXT_STEPS} steps": dataclasses.replace(own, steps=TEXT_STEPS),
    }
    if request.steps:
        del variants[f"{DESIGNED}, {TEXT_STEPS} steps"]
    recovery = Recovery(
        name="fig5_sparse_spectral",
        unknown="w",
        problem=problem,
        own_name=DESIGNED,
        own=own,
        error=ERROR,
        metrics={
            ERROR: lambda w: signal_error(w, truth),
            ISOLATED: lambda w: isolated(w, truth).right,
            SPURIOUS: lambda w: isolated(w, truth).spurious,
            "training error": partial(training_error, x, y),
        },
        needs_truth=frozenset([ERROR, ISOLATED, SPURIOUS]),
        variants=variants,
        others={
            PLAIN: partial(descend_plain, problem, x, request.number("plain_lr", PLAIN_LR), own.steps, PLAIN_START)
        },
        baselines={LASSO: lambda: solve_each(baselines.lasso, x, y, request.seed)},
        sweeps=starts_and_noises(own, [scale for scale in SCALES if scale != STARTS[variant]], NOISES),
        settle=min(SETTLE, own.steps),
        notes=(
            "the figure's own run has no noise of any kind: full-batch gradient descent on the mean squared error",
            *([ISOLATED_NOTE] if problem.truth is not None else []),
        ),
    )
    return run_recovery(recovery, request, session)


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    figure = Picture(
        "figure", "Spectrum and signal of the first seed, as each model recovers them", partial(picture, result)
    )
    return recovery_report(result, "Figure 5, sparse spectral recovery", ERROR, figure, interpret(result))


def interpret(result: StudyResult) -> list[str]:
    """The caption's claims, then the attribution's sentence."""
    lines = [
        f"{name}: true frequencies isolated in {banded(row[ISOLATED])} seeds, {ERROR} {banded(row[ERROR])}"
        for name, row in result.spreads.items()
        if ISOLATED in row
    ]
    return lines + says_of_noise(result.effects, "Figure 5")


def picture(result: StudyResult) -> Figure:
    """Spectrum and signal of the first seed, as each model recovers them."""
    arrays, truth = result.arrays, result.saved.get("truth")
    figure, (spectrum, signal) = plots.panels(2, 2.5)
    t = np.linspace(0.0, END, SHOWN)
    k = np.arange(arrays[DESIGNED].shape[1])
    if truth is not None:
        true = np.flatnonzero(truth[0])
        spectrum.plot(true, truth[0][true], "o", color=plots.BLACK, markersize=5, fillstyle="none", label="truth")
        signal.plot(t, features(t, k.size) @ truth[0], color=plots.BLACK, linewidth=2.2, alpha=0.35, label="truth")
    for i, name in enumerate(name for name in (PLAIN, DESIGNED, LASSO) if name in arrays):
        colour, dash = plots.COLOURS[i], plots.DASHES[i]
        spectrum.plot(k, arrays[name][0], color=colour, linestyle=dash, linewidth=1.0, label=name)
        signal.plot(t, features(t, k.size) @ arrays[name][0], color=colour, linestyle=dash, linewidth=1.0, label=name)
    spectrum.set_ylabel("amplitude, first seed")
    signal.set_ylabel("y(t), first seed")
    plots.legend(spectrum, ncols=2)
    plots.legend_above(signal)
    plots.finish([spectrum, signal], "t")
    spectrum.set_xlabel("frequency k")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(5, argv)
