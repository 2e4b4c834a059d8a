"""Langevin dynamics as a process: what its laws predict, and the chains that are compared with them.

For one coordinate the laws are integrated. For many, one law is sampled on the quotient, by MALA and again by NUTS, and
the others are weighed against it; the protocol decides which one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from langevin_ib.background import Later, beside, imported, settle
from langevin_ib.config.extensions import Kind, is_built_in, names
from langevin_ib.config.processes import LangevinSettings
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.devices import load_blackjax
from langevin_ib.dynamics.kernel import kernel_kind
from langevin_ib.ensemble.records import Stage
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry import contract
from langevin_ib.laws import Formula, Reduction, bin_masses
from langevin_ib.laws.draws import LawDraws
from langevin_ib.laws.law import LawKind, law_kind, law_kinds, weighed_kinds
from langevin_ib.runs import identities, measure
from langevin_ib.runs.ends import check_from
from langevin_ib.runs.judge import say_alike
from langevin_ib.runs.lowest import loss_descent
from langevin_ib.runs.measured import MeasuredDetails
from langevin_ib.runs.plan import Plan, build_reduction, resolve, resolve_many, say_slice
from langevin_ib.runs.predictions import Predictions, SampledPredictions, quadrature, sampled
from langevin_ib.runs.process import Check, Draws, Prepared, Process
from langevin_ib.runs.protocol import ScheduleInfo
from langevin_ib.runs.quotient import sample_mala, sample_nuts
from langevin_ib.runs.sampling import Sampler, check_sample, own_starts
from langevin_ib.runs.scheduled import (
    check_schedules,
    cyclic_doubts,
    described,
    say_judged,
    schedule_doubts,
    slowest_rate,
)
from langevin_ib.runs.separable import check_separable
from langevin_ib.runs.steps import local_of, starts_of
from langevin_ib.runs.verdicts import LawReference, LawSampler
from langevin_ib.runs.wells import Window, lowest_point, minimum
from langevin_ib.runs.windows import cut_windows, given_window, is_given, quantile_window
from langevin_ib.session import Session, key_of
from langevin_ib.stages import doing
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL, R_HAT_LIMIT
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, weights_of


def prepare(config: RunConfig, session: Session) -> Prepared:
    """Check the model, resolve every `auto`, and compute what the laws predict.

    Raises:
        ConfigError, ModelError, LawError, BreachError: as `langevin_ib.run`.
    """
    session.report("planning")
    reduction = build_reduction(config)
    check_from(config, reduction.model)
    if reduction.measured:
        return measure.prepare(config, reduction, session)
    check_separable(config, reduction)
    with beside(lambda: contract.check_model(reduction.model, key_of(config, "check"))) as checked:
        return _predicted(config, reduction, session, checked)


def _predicted(config: RunConfig, reduction: Reduction, session: Session, checked: Later[object]) -> Prepared:
    """The plan and the laws of a model that is still being checked; nothing is drawn before that is over."""
    _compile_ahead(config, reduction)
    doing("contract of the model")

    def is_right() -> None:
        checked.result()
        say_slice(config, reduction)

    if reduction.model.group_dim == 0:
        is_right()
        config = without_symmetry(config)
        reduction = build_reduction(config)
    if reduction.chart.dim > 1:
        return _prepare_many(config, reduction, session, is_right)
    doing("windows and step")
    plan = resolve(config, reduction)
    doing("laws by quadrature")
    predictions = quadrature(
        plan.reduction,
        plan.edges[plan.reduction.name],
        plan.singular_ends,
        kinds=law_kinds(plan.config.laws),
        margin=plan.config.margin,
    )
    is_right()
    return _prepared(plan, predictions)


def _compile_ahead(config: RunConfig, reduction: Reduction) -> None:
    """Begin with the programs of the plan and of the laws, while the contract is being checked.

    What does not fit the model is said where they are used.
    """
    if reduction.model.group_dim == 0:
        return  # built again, without a confinement
    if config.step_size == AUTO:
        starts_of(reduction)
    local_of(reduction)
    if reduction.chart.dim == 1:
        _ = reduction.terms
        for kind in law_kinds(config.laws):
            if kind.role == "own":
                with contextlib.suppress(Exception):  # of a law of one's own, too
                    kind.law(reduction)
    if "mala" in (config.reference, config.integrator):
        Later(load_blackjax)


def _prepared(plan: Plan, predictions: Predictions, **many: Any) -> Prepared:
    lowest = Later(lambda: loss_descent(plan.reduction).from_starts()[0], now=False)
    schedule, changing = _schedule_of(plan)
    say_judged(schedule)
    prepared = Prepared(
        plan=plan,
        candidates=predictions.candidates,
        missing=tuple(predictions.missing),
        doubts=(*changing, *many.pop("doubts", ())),
        coefficient=predictions.coefficient,
        share=predictions.share,
        stationary=plan.reduction.proper,
        lowest=lowest,
        improper=None if plan.reduction.proper else measure.IMPROPER,
        own=predictions,
        schedule=schedule,
        **many,
    )
    say_alike(prepared.candidates, plan)
    return prepared


def _schedule_of(plan: Plan) -> tuple[ScheduleInfo | None, list[Doubt]]:
    """What is judged of a run whose values change; what speaks against that, and against starts from another's ends.

    Raises:
        ConfigError: they change while draws are taken, of a run that has no stationary law at any values.
    """
    config, reduction = plan.config, plan.reduction
    if not (config.schedules or config.from_cyclic):
        return None, []
    check_schedules(config, reduction)
    one = reduction.chart.dim == 1
    x = np.array([lowest_point(reduction)]) if one else minimum(reduction).x
    relaxation = 1.0 / (slowest_rate(reduction, x) * float(config.step_size))

    def shift(first: RunConfig, last: RunConfig) -> float | None:
        if not one:
            return None
        edges = plan.edges[reduction.name]
        with contextlib.suppress(LawError):
            laws = [law_kind("exact").law(build_reduction(each)) for each in (first, last)]
            masses = [bin_masses(law, edges, plan.singular_ends) for law in laws]
            return 0.5 * float(np.abs(masses[0] - masses[1]).sum())
        return None

    info = described(config, plan.schedule, relaxation, shift)
    return info, [*schedule_doubts(info, config.margin), *cyclic_doubts(config, plan.schedule, relaxation)]


def draw(prepared: Prepared, session: Session) -> Draws:
    """The run's chains, their companion at h/2, and MALA on the same potential."""
    plan = prepared.plan
    config, reduction = plan.config, plan.reduction
    sampler = Sampler(plan, session)
    began = time.perf_counter()
    coming, checks = sampler.draws(), []
    held = config.reference != "none" and reduction.proper and reduction.confinement.orbit != "held"
    # What comes after the run's own chains is traced, compiled and tuned beside them.
    companion = Later(lambda: sampler.companion(coming.step_size)) if config.step_check else None
    reference = Later(lambda: sampler.reference(coming.step_size)) if held else None
    if prepared.law_again is not None:
        imported("numpyro.infer")
    for later in (prepared.lowest, prepared.law_again):
        if isinstance(later, Later):
            later.begin()
    sample, step_size = sampler.drawn(coming)
    wall = time.perf_counter() - began
    check_sample(plan, sample, prepared.remedy)
    if companion is not None:
        check = sampler.drawn(companion.result())
        checks.append(Check(str(config.integrator), check.sample, check.step_size, sampler.kernel.bias_factor))
    if reference is not None:
        check = sampler.drawn(reference.result())
        label = kernel_kind(config.reference).label or config.reference
        checks.append(Check(label, check.sample, check.step_size, reference=True))
    return Draws(sample, step_size, wall, tuple(checks))


def details(prepared: Prepared, draws: Draws) -> MeasuredDetails | None:
    """What a run that measures only has seen; others report nothing beyond the common result."""
    return measure.details(prepared, draws) if prepared.plan.reduction.measured else None


def without_symmetry(config: RunConfig) -> RunConfig:
    """The settings of a model whose orbits are points: nothing to confine, and one law, exp(−L/T) dθ, called `exact`.

    Raises:
        ConfigError: a setting that is about orbits, or another law.
    """
    unconfined = measure.without_orbits(config)
    exact = [name for name in config.laws if law_kind(name).role == "own"]
    if not exact:
        own = " or ".join(name for name in _built_in("law") if law_kind(name).role == "own")
        wanted = f"{own} for a model without a symmetry, for which the others are the same"
        raise ConfigError("laws", wanted, ", ".join(config.laws))
    return unconfined.replace(laws=tuple(exact))


def _built_in(kind: Kind) -> list[str]:
    """Names that can be advised without importing other people's modules."""
    return [name for name in names(kind) if is_built_in(kind, name)]


def _prepare_many(config: RunConfig, reduction: Reduction, session: Session, is_right: Callable[[], None]) -> Prepared:
    def stage(name: str) -> Stage:
        is_right()
        # Beside the draws of the law, what the chains begin with.
        identities.prepare(reduction)
        by_rule = kernel_kind(str(config.integrator)).tuning is None
        if by_rule and config.from_run is None and reduction.confinement.orbit != "held":
            own_starts(config, reduction)
        return session.stage(config, name)

    doing("minimum of the loss")
    lowest = minimum(reduction)
    doing("windows")
    windows = cut_windows(config, reduction, lowest)
    laws = [(kind, _formula_or_error(kind, reduction.seen_from(lowest.x))) for kind in law_kinds(config.laws)]
    sampled_law = _nearest_law(reduction, laws)
    draws = sample_mala(
        reduction, sampled_law, windows, lowest.x,
        key=key_of(config, "law"), with_orbit=any(not isinstance(law, LawError) and law.with_orbit for _, law in laws),
        stage=stage,
        count_of_draws=config.law_draws,
    )  # fmt: skip
    doing("laws of these draws, windows and step")
    contract.check_law_draws(reduction.model, draws.position)
    all_windows = _all_windows(config, reduction, draws, windows)
    plan = resolve_many(config, reduction, all_windows, lowest, draws.position)
    predictions = sampled(
        reduction,
        draws,
        plan.edges,
        laws=laws,
        margin=config.margin,
    )

    # Nothing of the plan depends on it: it is begun beside the chains, and waited for before they are judged.
    def again() -> tuple[LawReference, tuple[Doubt, ...]]:
        settle()
        nuts = sample_nuts(
            reduction, sampled_law, windows, lowest.x,
            mala_step=draws.step_size, key=key_of(config, "nuts"), count_of_draws=config.law_draws,
        )  # fmt: skip
        return _agreement(predictions, nuts)

    return _prepared(plan, predictions, sampled=predictions, law_again=Later(again, now=False))


def _nearest_law(reduction: Reduction, laws: list[tuple[LawKind, Formula | LawError]]) -> Formula:
    """The law that the protocol leads to, whose draws need the least weighing; the only one, without a symmetry."""
    if reduction.model.group_dim == 0 and not isinstance(laws[0][1], LawError):
        return laws[0][1]
    return law_kind(reduction.confinement.limit(reduction.model)).on(reduction)


def _formula_or_error(kind: LawKind, reduction: Reduction) -> Formula | LawError:
    try:
        return kind.on(reduction)
    except LawError as error:
        return error


def _all_windows(
    config: RunConfig, reduction: Reduction, draws: LawDraws, windows: dict[str, Window]
) -> dict[str, Window]:
    """The windows of cut scalars; of the others as given, or by the quantiles of the laws."""
    weights = []
    for kind in weighed_kinds():
        law = _formula_or_error(kind, reduction)
        if isinstance(law, LawError):
            continue
        weight = weights_of(draws.log_weight(law))
        if effective_share(weight) >= MIN_SHARE:
            weights.append(weight.ravel())
    complete = {}
    for name in reduction.chart.scalar_names:
        if name not in windows and is_given(config, name):
            complete[name] = given_window(config, reduction, name)
        else:
            home = reduction.model.home_of(name)
            complete[name] = windows.get(name) or quantile_window(draws.scalars[name].ravel(), weights, home)
    return complete


def _agreement(predictions: SampledPredictions, nuts: LawDraws) -> tuple[LawReference, tuple[Doubt, ...]]:
    """MALA against NUTS on the same law, scalar by scalar, and the doubts about either."""
    draws, law = predictions.draws, predictions.draws.formula
    ones, flat = np.ones(nuts.statistic.shape), np.ones(draws.statistic.shape)
    between, doubts = {}, []
    for scalar, edges in predictions.edges.items():
        comparison = compare.against_sample(
            draws.histogram(scalar, edges, flat),
            nuts.histogram(scalar, edges, ones),
            predictions.margin,
            predictions.level,
        )
        between[scalar] = comparison
        if comparison.verdict == "differs":
            text = (
                f"MALA and NUTS disagree on the law {law.name} of {scalar}: TV {comparison.tv:.4f}, "
                f"{p_is(comparison.p_value)}"
            )
            doubts.append(Doubt("law", text, comparison.tv, predictions.margin))
        halves = [draws.histogram(scalar, edges, flat, half).counts for half in (0, 1)]
        drift = compare.p_value_of_drift(halves[0], halves[1])
        if drift is not None and drift * len(predictions.edges) < DRIFT_LEVEL:
            where = f"the law {law.name} still move in {scalar} between their halves"
            text = f"the draws of {where}, {p_is(drift)}; raise law_draws"
            doubts.append(Doubt("law", text, drift, DRIFT_LEVEL / len(predictions.edges)))
    for law_draws in (draws, nuts):
        if not law_draws.r_hat <= R_HAT_LIMIT:
            text = (
                f"{law_draws.sampler} has not mixed on the law {law.name}: R-hat {law_draws.r_hat:.3f} > "
                f"{R_HAT_LIMIT}; raise law_draws"
            )
            doubts.append(Doubt("law", text, law_draws.r_hat, R_HAT_LIMIT))
    samplers = {
        law_draws.sampler: LawSampler(
            law_draws.r_hat,
            law_draws.ess,
            law_draws.acceptance,
            law_draws.step_size,
            law_draws.statistic.shape[0],
            law_draws.statistic.size,
        )
        for law_draws in (draws, nuts)
    }
    return LawReference(law.name, samplers, between, predictions.shares()), tuple(doubts)


PROCESS = Process(LangevinSettings, prepare, draw, details)
