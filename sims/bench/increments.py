"""May four-point increments drive a run? The bias of bins and tails, beside that of normals and the exact law.

    python -m sims.bench.increments [--models NAME …] [--draws N] [--law-draws N] [--steps N]

Each model is drawn at the step h that its plan chooses and at 2h, on normals and on four points: two independent
ensembles of the same chains, records and burn-in. The law that the protocol obeys is known by quadrature for one
coordinate, and by draws on the quotient, with errors of their own, for several.

The rule, fixed before any draw. For each model, each of its scalars, and h and 2h, four points are held against
normals: the bins of the window (Hotelling's T², chains as the unit), and five tails, each a share of the draws with its
error from the chains: the last three bins at each end, the law's outer 0.1% at each end of the window, and what lies
outside of the window. All tests of one model are one family of level 5%, by Bonferroni.

    fails   one of them rejects at 0.05 over their number;
    holds   none does, and the distance of four points from normals is below 0.0025 in total variation, a quarter of
            the margin of a verdict, for every scalar, by its one-sided bound of 95%;
    open    neither: too few draws to tell.

`auto` may mean four points for a model that holds at h and does not fail at 2h. Distances from the law say what the
bias itself is, and decide nothing: that the scheme is biased at 2h, on either increments, is no fault of the
increments. As a control, four points at a temperature 5% too high have to fail, or the test had no power.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from langevin_ib.config.models import ONE_COORDINATE
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.increments import FOUR_POINT, NORMAL
from langevin_ib.dynamics.kernel import Kernel, Target, kernel_kind
from langevin_ib.ensemble.accumulators import WindowDraw, WindowSums, product, window_histogram
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.errors import DivergenceError
from langevin_ib.laws import bin_masses
from langevin_ib.runs.plan import Plan
from langevin_ib.runs.predictions import QuadraturePredictions
from langevin_ib.runs.process import Prepared
from langevin_ib.runs.processes.langevin import prepare
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from langevin_ib.statistics.weights import ratio
from sims import described

MODELS = {
    "uv": {"model": "uv"},
    "uv-weight-decay": {"model": "uv", "confine": "weight-decay"},
    "uv-hard": {"model": "uv", "confine": "hard"},
    "rotation": {"model": "rotation", "confine": "none"},
    "hadamard": {"model": "hadamard"},
    "relu": {"model": "relu"},
    "relu-hard": {"model": "relu", "confine": "hard"},
    "attention": {"model": "attention"},
    "matrix": {"model": "matrix"},
}
LEVEL = 0.05  # of all tests of a model
MARGIN = 0.0025  # of total variation: a quarter of that of a verdict
END, OUTER = 3, 1e-3  # bins at each end; share of the law beyond each outer quantile
TAILS = ("first bins", "last bins", "outer low", "outer high", "outside")
HOT = 1.05  # the control's temperature in units of the right one
RECORDS = 400  # over the whole run, so that they are nearly independent
FINE = 4000  # bins in which quantiles of an integrated law are looked for


class Truth(NamedTuple):
    """The law of one scalar in the window, on bins refined at its outer quantiles.

    Attributes:
        edges: those of the plan, and the two quantiles.
        starts: index of the first fine bin of each bin of the plan.
        quantiles: indices of the two quantiles among the edges.
        mass: of the fine bins.
        between: the law's own chain counts; None of one that was integrated.
        outside: the law's share outside of the window; None where it is not known.
    """

    edges: np.ndarray
    starts: np.ndarray
    quantiles: tuple[int, int]
    mass: np.ndarray
    between: compare.Histogram | None
    outside: float | None


class Share(NamedTuple):
    """A share of the draws, and its standard error from the chains."""

    value: float
    error: float


class Arm(NamedTuple):
    """What one ensemble says of one scalar."""

    histogram: compare.Histogram
    tails: tuple[Share, ...]


class Verdict(NamedTuple):
    """Four points against normals at one step: smallest p-value of the family's tests, and the largest bound of TV."""

    word: str
    smallest: float
    where: str
    bound: float


def main() -> None:
    """Print each model's table and verdict as soon as it has them, and all verdicts at the end."""
    parser = described(__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="NAME")
    parser.add_argument("--draws", type=float, default=4e6, help="recorded, of each ensemble [4e6]")
    parser.add_argument("--law-draws", type=int, default=2_000_000, help="of a law that is sampled [2000000]")
    parser.add_argument("--steps", type=int, default=None, help="of each chain at h [the plan's]")
    given = parser.parse_args()
    chains = max(64, round(given.draws / RECORDS))
    print(f"JAX {jax.__version__}; {chains} chains × {RECORDS} records in each ensemble")
    summary = []
    for name in given.models:
        settings = MODELS[name]
        sampled = {} if settings["model"] in ONE_COORDINATE else {"law_draws": given.law_draws}
        summary += judge(
            name, RunConfig(**settings, **sampled, steps=AUTO if given.steps is None else given.steps), chains
        )
    print("\n".join(["", "verdicts", *summary]))


def judge(name: str, config: RunConfig, chains: int) -> list[str]:
    """Draw and compare one model; print its tables, and return a line for each verdict."""
    with Session().open() as session:
        prepared = prepare(config, session)
        truths = truths_of(prepared)
        h, lines = float(prepared.plan.config.step_size), []
        tests = 2 * len(truths) * (1 + len(TAILS))
        for factor in (1, 2):
            # The plan takes a draw every 0.25/ω, ω the curvature of the loss: hω says how coarse a step is.
            coarse = f"hω about {0.25 * factor / int(prepared.plan.config.thin):.2g}"
            print(f"\n{name}, h = {factor * h:g}, {coarse}, {config.integrator}", flush=True)
            try:
                normal, four = (
                    ensemble(prepared.plan, truths, source, factor, chains) for source in (NORMAL, FOUR_POINT)
                )
            except DivergenceError as error:
                lines.append(f"{name:<16} {factor}h: {error}")
                continue
            for scalar, truth in truths.items():
                show(scalar, truth, normal[scalar], four[scalar])
            said_here = [f"{name:<16} {factor}h: {said(decide(normal, four, tests))}"]
            if factor == 1:
                hot = ensemble(prepared.plan, truths, FOUR_POINT, factor, chains, heat=HOT)
                said_here.append(f"{name:<16} control, T × {HOT}: {said(decide(normal, hot, tests))}")
            print("\n".join(said_here), flush=True)
            lines += said_here
    return lines


def truths_of(prepared: Prepared) -> dict[str, Truth]:
    """The law of the protocol, for each scalar."""
    plan, own = prepared.plan, prepared.own
    if isinstance(own, QuadraturePredictions):
        (law,) = (law for about, law in zip(own.abouts, own.built, strict=True) if about.role == "own")
        ((scalar, edges),) = plan.edges.items()
        fine = np.linspace(edges[0], edges[-1], FINE + 1)
        below = np.concatenate([[0.0], np.cumsum(bin_masses(law, fine, plan.singular_ends))])
        refined, starts, at = refine(edges, np.interp([OUTER, 1.0 - OUTER], below, fine))
        share = prepared.share(scalar)
        outside = 1.0 - share if isinstance(share, float) else None
        return {scalar: Truth(refined, starts, at, bin_masses(law, refined, plan.singular_ends), None, outside)}
    truths, weight = {}, own.weight(own.own)
    for scalar, edges in plan.edges.items():
        values = own.draws.scalars[scalar]
        inside = (values >= edges[0]) & (values < edges[-1])
        order = np.argsort(values[inside])
        below = np.cumsum(weight[inside][order])
        quantiles = np.interp([OUTER, 1.0 - OUTER], below / below[-1], values[inside][order])
        refined, starts, at = refine(edges, quantiles)
        histogram = own.draws.histogram(scalar, refined, weight)
        truths[scalar] = Truth(refined, starts, at, histogram.mass, histogram, None)
    return truths


def refine(edges: np.ndarray, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Edges with the quantiles among them, where each of the bins begins, and where the quantiles stand."""
    refined = np.union1d(edges, quantiles)
    low, high = np.searchsorted(refined, quantiles)
    return refined, np.searchsorted(refined, edges[:-1]), (int(low), int(high))


def kernel_of(plan: Plan, source: str, step_size: float, temperature: float, like: jax.Array) -> Kernel:
    """The plan's kernel at another step or temperature, on increments of one kind."""
    model = plan.reduction.model
    target = Target(plan.reduction.confinement.potential(model), temperature, like, model.moment_map)
    kind = kernel_kind(str(plan.config.integrator))
    return kind.build(plan.config.settings_of("kernel"), target, step_size).on(source)


def ensemble(
    plan: Plan, truths: dict[str, Truth], source: str, factor: int, chains: int, *, heat: float = 1.0
) -> dict[str, Arm]:
    """Chains at `factor` times the plan's step, over the plan's time; another key for each kind of increments and step.

    Raises:
        DivergenceError: they diverge at this step.
    """
    reduction, step_size = plan.reduction, factor * float(plan.config.step_size)
    model = reduction.model
    key = jax.random.fold_in(jax.random.key(18), 10 * factor + 2 * (source == FOUR_POINT) + (heat != 1.0))
    init = model.init
    if reduction.confinement.orbit == "held":
        window = {name: (float(plan.edges[name][0]), float(plan.edges[name][-1])) for name in model.cut}
        init = partial(reduction.chart.start_within, window)
    starts = starting_points(init, jax.random.fold_in(key, 0), chains, jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    burn_in, steps = (round(float(count) / factor) for count in (plan.config.burn_in, plan.config.steps))
    result = run_ensemble(
        kernel_of(plan, source, step_size, heat * plan.config.temperature, like),
        starts,
        observer_of(plan, truths),
        key=jax.random.fold_in(key, 1),
        schedule=Schedule(burn_in, max(1, (steps - burn_in) // RECORDS), RECORDS, (RECORDS,)),
        limit=Limit(step_size),
        stage=Stage("bench"),
    )
    return {name: arm_of(result.segments[0][name], truth) for name, truth in truths.items()}


def observer_of(plan: Plan, truths: dict[str, Truth]) -> Observer:
    """Histograms alone, of the draws at home and inside of the windows of the other scalars that are cut."""
    chart, cut = plan.reduction.chart, [name for name in plan.edges if name in plan.reduction.model.cut]

    def observe(state: Any) -> dict[str, WindowDraw]:
        scalars, home = chart.scalars_of(state.position), chart.at_home(state.position)
        low_high = {name: (plan.edges[name][0], plan.edges[name][-1]) for name in cut}
        inside = {name: (scalars[name] >= low) & (scalars[name] < high) for name, (low, high) in low_high.items()}
        draws = {}
        for name in truths:
            counts = home
            for other in cut:
                counts = counts if other == name else counts & inside[other]
            draws[name] = WindowDraw(scalars[name], counts)
        return draws

    windows = product({name: window_histogram(truth.edges) for name, truth in truths.items()})
    return Observer(observe, windows, lambda draws: {name: draw.value for name, draw in draws.items()}, trace_chains=1)


def arm_of(window: WindowSums, truth: Truth) -> Arm:
    """Bins of the plan and tails."""
    fine, total = np.asarray(window.counts), np.asarray(window.total)
    bins, inside = np.add.reduceat(fine, truth.starts, axis=1), fine.sum(axis=1)
    tails = [share_of(part.sum(axis=1), inside) for part in tail_parts(bins, fine, truth)]
    return Arm(compare.histogram_of(bins), (*tails, share_of(total - inside, total)))


def tail_parts(bins: np.ndarray, fine: np.ndarray, truth: Truth) -> Sequence[np.ndarray]:
    """The columns of each tail inside of the window."""
    low, high = truth.quantiles
    return bins[..., :END], bins[..., -END:], fine[..., :low], fine[..., high:]


def share_of(part: np.ndarray, whole: np.ndarray) -> Share:
    """Of the draws of all chains."""
    value, variance = ratio(part.astype(float), whole.astype(float))
    return Share(value, variance**0.5)


def law_tails(truth: Truth) -> list[Share | None]:
    """The law's own shares."""
    fine = truth.mass if truth.between is None else truth.between.counts
    bins = np.add.reduceat(fine, truth.starts, axis=-1)
    parts = [part.sum(axis=-1) for part in tail_parts(bins, fine, truth)]
    if truth.between is None:
        known: list[Share | None] = [Share(float(part), 0.0) for part in parts]
    else:
        known = [share_of(part, fine.sum(axis=1)) for part in parts]
    return [*known, None if truth.outside is None else Share(truth.outside, 0.0)]


def p_of_difference(first: Share, second: Share) -> float:
    """Two-sided, of two independent shares; 1 where neither has any draw."""
    error = float(np.hypot(first.error, second.error))
    return 1.0 if error == 0.0 else float(2.0 * stats.norm.sf(abs(first.value - second.value) / error))


def decide(first: dict[str, Arm], second: dict[str, Arm], tests: int) -> Verdict:
    """The rule of the module's docstring."""
    found, bounds = [], []
    for scalar, one in first.items():
        other = second[scalar]
        seen = compare.against_sample(one.histogram, other.histogram, MARGIN)
        bounds.append(seen.tv_upper95)
        if seen.p_value is not None:
            found.append((seen.p_value, f"bins of {scalar}"))
        for tail, mine, theirs in zip(TAILS, one.tails, other.tails, strict=True):
            found.append((p_of_difference(mine, theirs), f"{tail} of {scalar}"))
    smallest, where = min(found)
    word = "fails" if smallest < LEVEL / tests else "holds" if max(bounds) <= MARGIN else "open"
    return Verdict(word, min(1.0, smallest * tests), where, max(bounds))


def said(verdict: Verdict) -> str:
    """A verdict in words."""
    return (
        f"{verdict.word}; least p {compare.p_text(verdict.smallest)} after Bonferroni ({verdict.where}), "
        f"TV below {verdict.bound:.4f}"
    )


def show(scalar: str, truth: Truth, normal: Arm, four: Arm) -> None:
    """Both against the law, against each other, and each tail."""
    mass = np.add.reduceat(truth.mass, truth.starts)
    between = truth.between and compare.histogram_of(np.add.reduceat(truth.between.counts, truth.starts, axis=1))
    for title, arm in (("normals", normal), ("four points", four)):
        if between is None:
            seen = compare.against_law(arm.histogram, mass, MARGIN)
        else:
            seen = compare.against_sample(arm.histogram, between, MARGIN)
        print(f"  {scalar:<5} {title:<12} law: TV {line_of(seen)}")
    apart = compare.against_sample(normal.histogram, four.histogram, MARGIN)
    print(f"  {scalar:<5} four points, normals: TV {line_of(apart)}")
    for tail, law, *arms in zip(TAILS, law_tails(truth), normal.tails, four.tails, strict=True):
        shares = "  ".join("–" if s is None else f"{s.value:.6f} ± {s.error:.6f}" for s in (law, *arms))
        print(f"  {scalar:<5} {tail:<10} law, normals, four points: {shares}  z {pull(*arms):+.2f}")


def line_of(seen: compare.Comparison) -> str:
    """A comparison: distance, floor, upper bound, p-value."""
    return f"{seen.tv:.5f}, floor {seen.tv_floor:.5f}, below {seen.tv_upper95:.5f}, {compare.p_is(seen.p_value)}"


def pull(first: Share, second: Share) -> float:
    """Their difference in standard errors."""
    return (second.value - first.value) / max(float(np.hypot(first.error, second.error)), 1e-300)


if __name__ == "__main__":
    main()
