"""Langevin dynamics as a process: what its laws predict, and the chains that are compared with them.

For one coordinate the laws are integrated. For many, one law is sampled on the quotient, by MALA and again by NUTS, and
the others are weighed against it; the protocol decides which one.
"""

from __future__ import annotations

import time
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.config.run import CONSTRAINED, LAWS, RunConfig
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry import contract
from langevin_ib.laws import Reduction, formula
from langevin_ib.laws.draws import LawDraws
from langevin_ib.runs.judge import say_alike
from langevin_ib.runs.observe import build_observer
from langevin_ib.runs.plan import Plan, build_reduction, resolve, resolve_many
from langevin_ib.runs.predictions import Exact, Predictions, SampledPredictions, exact_formula, quadrature, sampled
from langevin_ib.runs.process import Check, Draws, Prepared, Process
from langevin_ib.runs.quotient import sample_mala, sample_nuts
from langevin_ib.runs.result import LawReference, LawSampler
from langevin_ib.runs.sampling import Sampler, check_sample
from langevin_ib.runs.windows import Window, cut_windows, given_window, is_given, minimum, quantile_window
from langevin_ib.session import Session, key_of
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL, R_HAT_LIMIT
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, weights_of

WEAK_ORDER = {"leimkuhler-matthews": 2, "euler-maruyama": 1, "projected": 1}


def prepare(config: RunConfig, session: Session) -> Prepared:
    """Check the model, resolve every `auto`, and compute what the laws predict.

    Raises:
        ConfigError, ModelError, LawError, BreachError: as `langevin_ib.run`.
    """
    session.report("planning")
    reduction = build_reduction(config)
    contract.check_model(reduction.model, key_of(config, "check"))
    if reduction.model.group_dim == 0:
        config = without_symmetry(config)
        reduction = build_reduction(config)
    if reduction.chart.dim == 1:
        plan = resolve(config)
        predictions = quadrature(
            plan.reduction,
            plan.edges[plan.reduction.name],
            plan.singular_ends,
            names=plan.config.laws,
            slab=plan.config.slab,
            margin=plan.config.margin,
        )
        return _prepared(plan, predictions)
    return _prepare_many(config, reduction, session)


def _prepared(plan: Plan, predictions: Predictions, **many: Any) -> Prepared:
    prepared = Prepared(
        plan=plan,
        candidates=predictions.candidates,
        missing=tuple(predictions.missing),
        doubts=tuple(many.pop("doubts", ())),
        coefficient=predictions.coefficient,
        share=predictions.share,
        stationary=plan.reduction.proper,
        own=predictions,
        **many,
    )
    say_alike(prepared.candidates, plan)
    return prepared


def draw(prepared: Prepared, session: Session) -> Draws:
    """The run's chains, their companion at h/2, and MALA on the same potential."""
    plan = prepared.plan
    config, reduction = plan.config, plan.reduction
    sampler = Sampler(plan, build_observer(reduction, plan.edges, config.slab), session)
    began = time.perf_counter()
    sample, step_size = sampler.draws()
    wall = time.perf_counter() - began
    check_sample(plan, sample, prepared.remedy)
    checks = []
    if config.step_check:
        companion = sampler.companion(step_size)
        factor = 1.0 / (1.0 - 2.0 ** -WEAK_ORDER[config.integrator])
        checks.append(Check(str(config.integrator), companion.sample, companion.step_size, factor))
    if config.reference == "mala" and reduction.proper and not reduction.confinement.constrained:
        reference = sampler.reference(step_size)
        checks.append(Check("blackjax.mala", reference.sample, reference.step_size, reference=True))
    return Draws(sample, step_size, wall, tuple(checks))


def details(prepared: Prepared, draws: Draws) -> None:
    """Langevin runs report nothing beyond the common result."""
    del prepared, draws


def without_symmetry(config: RunConfig) -> RunConfig:
    """The settings of a model whose orbits are points: nothing to confine, and one law, exp(−L/T) dθ, called `exact`.

    Raises:
        ConfigError: a setting that is about orbits, or another law.
    """
    if config.confine in CONSTRAINED:
        raise ConfigError("confine", "none or weight-decay for a model without a symmetry", config.confine)
    if config.slab is not None:
        raise ConfigError("slab", "left out for a model without a symmetry", f"{config.slab:g}")
    if "exact" not in config.laws:
        raise ConfigError(
            "laws", "exact for a model without a symmetry, for which the others are the same", ", ".join(config.laws)
        )
    config = config.replace(laws=("exact",))
    # Without χ the stiff term is zero.
    return config.replace(confine="none", kappa=None) if config.confine == "stiff" else config


def _prepare_many(config: RunConfig, reduction: Reduction, session: Session) -> Prepared:
    lowest = minimum(reduction)
    windows = cut_windows(config, reduction, lowest)
    exact = _exact(reduction, jnp.asarray(lowest.x), config.slab)
    if reduction.model.group_dim == 0 and not isinstance(exact, LawError):
        sampled_law = exact.formula
    else:
        sampled_law = formula(reduction, _nearest_law(config, reduction))
    draws = sample_mala(
        reduction, sampled_law, windows, lowest.x,
        key=key_of(config, "law"), with_orbit=not isinstance(exact, LawError) and exact.with_orbit,
        stage=lambda name: session.stage(config, name),
        count_of_draws=config.law_draws,
    )  # fmt: skip
    contract.check_law_draws(reduction.model, draws.position)
    session.report("law again")
    nuts = sample_nuts(
        reduction, sampled_law, windows, lowest.x,
        mala_step=draws.step_size, key=key_of(config, "nuts"), count_of_draws=config.law_draws,
    )  # fmt: skip
    all_windows = _all_windows(config, reduction, draws, windows)
    plan = resolve_many(config, reduction, all_windows, lowest, draws.position)
    predictions = sampled(
        reduction,
        draws,
        plan.edges,
        names=config.laws,
        exact=exact if isinstance(exact, LawError) else exact.formula,
        margin=config.margin,
    )
    law_reference, doubts = _agreement(predictions, nuts)
    return _prepared(plan, predictions, sampled=predictions, law_reference=law_reference, doubts=doubts)


def _nearest_law(config: RunConfig, reduction: Reduction) -> str:
    """The law that the protocol leads to: its draws need the least weighing."""
    if config.confine == "none" and config.slab is None and reduction.proper:
        return "pushforward"  # compact orbits: the plain marginal
    return {"hard": "hard", "weight-decay": "hard"}.get(config.confine, "slice")


def _exact(reduction: Reduction, x: Float[Array, " k"], slab: float | None) -> Exact | LawError:
    try:
        return exact_formula(reduction, reduction.chart.section(x), slab)
    except LawError as error:
        return error


def _all_windows(
    config: RunConfig, reduction: Reduction, draws: LawDraws, windows: dict[str, Window]
) -> dict[str, Window]:
    """The windows of cut scalars; of the others as given, or by the quantiles of the laws."""
    weights = []
    for name in LAWS[1:]:
        weight = weights_of(draws.log_weight(formula(reduction, name)))
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


def _agreement(predictions: SampledPredictions, nuts: LawDraws) -> tuple[LawReference, list[Doubt]]:
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
        drift = compare.p_value_of_drift(*halves)
        if drift is not None and drift * len(predictions.edges) < DRIFT_LEVEL:
            text = f"the draws of the law {law.name} still move in {scalar} between their halves, {p_is(drift)}"
            doubts.append(Doubt("law", text, drift, DRIFT_LEVEL / len(predictions.edges)))
    for law_draws in (draws, nuts):
        if not law_draws.r_hat <= R_HAT_LIMIT:
            text = (
                f"{law_draws.sampler} has not mixed on the law {law.name}: R-hat {law_draws.r_hat:.3f} > {R_HAT_LIMIT}"
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
    return LawReference(law.name, samplers, between, predictions.shares()), doubts


PROCESS = Process(prepare, draw, details)
