"""Figure 4: a 20 × 20 matrix of rank 2 from 20% of its entries, by SGD on U Vᵀ with Bernoulli masks.

    langevin-ib figures 4 [--seeds 32] [--variant code|text] [--data FILE]

The paper's code takes the mean of the squared error over all 400 entries, of those kept by the step's random mask;
its text over the sub-sampled entries (`--variant text`: η is ten times as large). What the paper plots as σ̂ is 2σ̂:
here it is σ̂ itself. `--data`: an .npz file with T_observed (m, n), mask (m, n) and, if known, T_true (m, n).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from langevin_ib.dynamics.noise import Noise
from langevin_ib.figures.catalogue import main_of
from langevin_ib.output import plots
from langevin_ib.output.attribution import balance_sentences
from langevin_ib.output.blocks import Picture, Report, Table
from langevin_ib.output.effects import verdict
from langevin_ib.output.recovery import recovery_report
from langevin_ib.output.shares import shares_figure, shares_sentence, shares_table
from langevin_ib.output.studies import balance_blocks, banded
from langevin_ib.session import Session
from langevin_ib.statistics.seeds import band
from langevin_ib.studies.data import load
from langevin_ib.studies.effects import label_noises, other_starts
from langevin_ib.studies.following import follow
from langevin_ib.studies.measures import unobserved_error
from langevin_ib.studies.parts import Parts
from langevin_ib.studies.recipes import completion
from langevin_ib.studies.recorded import Trained
from langevin_ib.studies.recovery import Recovery, run_recovery
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.share_curve import NUCLEAR, QUIET, RECOVERED, ShareCurve
from langevin_ib.studies.shares import nuclear_norms, share_curve
from langevin_ib.studies.training import Arm

SETUP = "figure-4"
LR, STEPS, SPECTRUM = 1e-3, 500_000, (15.0, 5.0)
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


def study(request: Request, session: Session) -> StudyResult:
    """The figure, its baseline and its attributions, and the curve over the share of observed entries."""
    recovery = describe(request)
    own, problem = recovery.own, recovery.problem
    result = run_recovery(recovery, request, session)
    parts = Parts(session, [*result.notes], dict(result.wall_s))
    balance, curve = None, None
    if request.attribution and request.data is None:
        called = "the attribution of the balance"
        balance = parts.attribute_balance(SETUP, request, own.lr, own.steps, part="balance", called=called)
    if request.baselines and request.data is None:
        rates = {"": own.lr} | ({", η × 10": 10.0 * own.lr} if request.variants else {})
        with parts.timed("shares"), parts.failures_noted():
            curve = share_curve(SHARES, request.seeds, request.seed, rates, own.steps, session)
    paths = {} if result.own is None else {FACTORED: follow(problem, result.own, loss=False)}
    return dataclasses.replace(
        result, balance=balance, details=curve, paths=paths, notes=tuple(parts.notes), wall_s=parts.wall_s
    )


def describe(request: Request) -> Recovery:
    """The figure as a recovery."""
    user_data = None if request.data is None else load(request.data, 4)
    problem = completion(request.seeds, request.seed, data=user_data)
    mask, target, truth = np.asarray(problem.own_tasks["mask"]), np.asarray(problem.own_tasks["target"]), problem.known
    variant = request.word("variant", "code")
    other = "text" if variant == "code" else "code"
    # The loss of the code is a mean over all entries, half of which the masks drop; that of the model here a sum.
    eta, kept = request.lr or LR, KEPT if user_data is None else mask[0].sum() / 2.0
    rates = {"code": eta / mask[0].size, "text": float(eta / kept)}
    own = Arm(Noise("bernoulli"), rates[variant], request.steps or STEPS)
    nuclear_note = NUCLEAR_NOTE if user_data is None else "nuclear norm: penalty by cross-validation"
    return Recovery(
        name="fig4_completion",
        unknown="T",
        problem=problem,
        own_name=FACTORED,
        own=own,
        error=ERROR,
        metrics={
            ERROR: lambda T: unobserved_error(T, truth, mask),
            OBSERVED: lambda T: np.sum(mask * (T - target) ** 2, axis=(1, 2)) / mask.sum(axis=(1, 2)),
            **{name: partial(mode, i) for i, name in enumerate(MODES)},
        },
        needs_truth=frozenset([ERROR]),
        caption={FACTORED: {FIRST: SPECTRUM[0], SECOND: SPECTRUM[1]}},
        variants={
            f"{FACTORED}, loss as in the {other}": dataclasses.replace(own, lr=rates[other]),
            f"{FACTORED}, start of U × 1.1, as in the code": dataclasses.replace(own, start_factors=(("U", 1.1),)),
        },
        others={ZERO: lambda: np.zeros_like(target)},
        baselines={NUCLEAR: lambda: nuclear_norms(target, mask, seed=None if user_data is None else request.seed)},
        sweeps={
            QUIET: dataclasses.replace(own, noise=Noise("none")),
            ISOTROPIC: dataclasses.replace(own, noise=Noise("bernoulli", isotropized=True)),
            **label_noises(own, NOISES),
            **other_starts(own, SCALES),
        },
        notes=(
            "σ̂ is the singular value of U Vᵀ; the paper's code plots 2σ̂ under that name",
            *([nuclear_note] if request.baselines else []),
        ),
    )


def mode(i: int, T: Float[np.ndarray, "seed m n"]) -> Float[np.ndarray, " seed"]:
    """σ̂_{i+1} of each seed."""
    return np.linalg.svd(T, compute_uv=False)[:, i] if i < min(T.shape[1:]) else np.zeros(len(T))


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    alt = "Singular values along training, and the ratio of the columns' norms"
    more: list[Table | Picture] = []
    sentences = interpret(result)
    if result.balance is not None:
        more += balance_blocks(result.balance, "balance", "Which mechanism balances the columns?")
        sentences += balance_sentences(result.balance)
    if isinstance(result.details, ShareCurve):
        curve, alt_shares = result.details, "Error of each method against the share of observed entries"
        more += [shares_table(curve), Picture("shares", alt_shares, partial(shares_figure, curve))]
        sentences.append(shares_sentence(curve))
    figure = Picture("figure", alt, partial(picture, result))
    return recovery_report(result, "Figure 4, matrix completion", ERROR, figure, sentences, more)


def interpret(result: StudyResult) -> list[str]:
    """Whether the matrix is recovered, and the part of noise in it; nothing where the truth is not known."""
    own, zero = result.rows[FACTORED], result.rows[ZERO]
    if ERROR not in own:
        return []
    count = int((own[ERROR] < RECOVERED * zero[ERROR]).sum())
    lines = [
        f"the matrix is recovered in {count} of {result.seeds} seeds: "
        f"σ̂ ends at {', '.join(banded(band(own[name])) for name in MODES)}, "
        f"and the error on the other entries is {banded(band(own[ERROR]))} where predicting zero has "
        f"{banded(band(zero[ERROR]))}"
    ]
    verdicts = {effect.name: verdict(effect) for effect in result.effects if effect.kind != "reference"}
    is_fitted = band(own[OBSERVED]).median < 0.5 * band(zero[OBSERVED]).median
    if QUIET in verdicts and not is_fitted:
        lines.append("the observed entries are not fitted yet: nothing can be said of what noise selects")
    elif QUIET in verdicts:
        lines.append(f"{on_noise(verdicts[QUIET], 2 * count > result.seeds)}: against SGD, {_list_verdicts(verdicts)}")
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


def _list_verdicts(verdicts: Mapping[str, str]) -> str:
    """The runs that differ from SGD by their noise alone, each with its verdict."""
    return "; ".join(f"{name}: {verdicts[name]}" for name in (QUIET, ISOTROPIC) if name in verdicts)


def picture(result: StudyResult) -> Figure:
    """Singular values along training, and the ratio of the columns' norms."""
    own, truth = result.own, result.saved.get("truth")
    assert own is not None
    figure, (spectrum, ratios) = plots.panels(2, 2.4)
    thousand, values = own.steps / 1000.0, modes(own)
    for i, name in enumerate(MODES):
        plots.plot_band(spectrum, thousand, values[..., i], name, i)
    if truth is not None:
        for level in np.linalg.svd(truth[0], compute_uv=False)[: len(SPECTRUM)]:
            spectrum.axhline(level, color="black", linewidth=0.8, linestyle="--")
    spectrum.set_ylabel("singular values (dashed: truth)")
    plots.legend(spectrum, loc="upper left", bbox_to_anchor=(0.0, 0.85), ncols=2)
    plots.plot_band(ratios, thousand, result.paths[FACTORED].off_by, "median and 90% of the seeds")
    plots.log_scale(ratios)
    ratios.set_ylabel("|U_j| / |V_j| off by a factor")
    plots.legend(ratios)
    plots.finish([spectrum, ratios], "thousand steps")
    return figure


def modes(trained: Trained) -> Float[np.ndarray, "seed time modes"]:
    """The first singular values of U Vᵀ of each seed along its run."""
    U, V = (np.asarray(trained.params[name], np.float64) for name in "UV")
    values = np.linalg.svd(U @ np.swapaxes(V, -1, -2), compute_uv=False)
    return np.pad(values, ((0, 0), (0, 0), (0, len(MODES))))[..., : len(MODES)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(4, argv)
