"""What stands before the first draw of a run: the plan, and what every law predicts.

For one coordinate the laws are integrated. For many, one law is sampled on the quotient, by MALA and again by NUTS, and
the others are weighed against it; which one is decided by the protocol.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib import contract
from langevin_ib.config import CONSTRAINED, LAWS, RunConfig
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.laws import Reduction, formula
from langevin_ib.plan import Plan, build_reduction, resolve, resolve_many
from langevin_ib.predictions import Exact, Predictions, SampledPredictions, exact_formula, quadrature, sampled
from langevin_ib.reduced import LawDraws, sample_mala, sample_nuts
from langevin_ib.sampling import Report, key_of, stage_of
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL, R_HAT_LIMIT
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, weights_of
from langevin_ib.windows import Window, cut_windows, given_window, is_given, minimum, quantile_window


class Prepared(NamedTuple):
    """A run before its first draw.

    Attributes:
        plan: the configuration without `auto`.
        predictions: the laws.
        law_draws: draws of the law that was sampled, for a model of many coordinates.
        law_reference: what the summary says of those draws.
        doubts: reasons not to trust them.
    """

    plan: Plan
    predictions: Predictions
    law_draws: LawDraws | None
    law_reference: dict[str, Any] | None
    doubts: list[str]


def prepare(
    config: RunConfig, report: Report, chunk_records: int | None = None, checkpoints: Path | None = None
) -> Prepared:
    """Check the model, fill in every `auto`, and find out what the laws predict.

    Raises:
        ConfigError, ModelError, LawError, BreachError: as `langevin_ib.run`.
    """
    report("planning")
    reduction = build_reduction(config)
    contract.check_model(reduction.model, key_of(config, "check"))
    if reduction.model.group_dim == 0:
        config = without_symmetry(config)
        reduction = build_reduction(config)
    if reduction.chart.dim == 1:
        plan = resolve(config)
        made = quadrature(
            plan.reduction,
            plan.edges[plan.reduction.name],
            plan.singular_ends,
            names=plan.config.laws,
            slab=plan.config.slab,
            margin=plan.config.margin,
        )
        return Prepared(plan, made, None, None, [])
    return _prepare_many(config, reduction, report, chunk_records, checkpoints)


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


def _prepare_many(
    config: RunConfig, reduction: Reduction, report: Report, chunk_records: int | None, checkpoints: Path | None
) -> Prepared:
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
        stage=lambda name: stage_of(config, name, report, chunk_records, checkpoints),
        count_of_draws=config.law_draws,
    )  # fmt: skip
    contract.check_law_draws(reduction.model, draws.position)
    report("law again")
    nuts = sample_nuts(
        reduction, sampled_law, windows, lowest.x,
        mala_step=draws.step_size, key=key_of(config, "nuts"), count_of_draws=config.law_draws,
    )  # fmt: skip
    every = _all_windows(config, reduction, draws, windows)
    plan = resolve_many(config, reduction, every, lowest, draws.position)
    made = sampled(
        reduction,
        draws,
        plan.edges,
        names=config.laws,
        exact=exact if isinstance(exact, LawError) else exact.formula,
        margin=config.margin,
    )
    law_reference, doubts = _agreement(made, nuts)
    return Prepared(plan, made, draws, law_reference, doubts)


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
    found = {}
    for name in reduction.chart.scalar_names:
        if name not in windows and is_given(config, name):
            found[name] = given_window(config, reduction, name)
        else:
            home = reduction.model.home_of(name)
            found[name] = windows.get(name) or quantile_window(draws.scalars[name].ravel(), weights, home)
    return found


def _agreement(made: SampledPredictions, nuts: LawDraws) -> tuple[dict[str, Any], list[str]]:
    """MALA against NUTS on the same law, scalar by scalar, and what speaks against either."""
    draws, law = made.draws, made.draws.formula
    ones = np.ones(nuts.statistic.shape)
    flat = np.ones(draws.statistic.shape)
    between, doubts = {}, []
    for scalar, edges in made.edges.items():
        found = compare.against_sample(
            draws.histogram(scalar, edges, flat), nuts.histogram(scalar, edges, ones), made.margin, made.level
        )
        between[scalar] = found._asdict()
        if found.verdict == "differs":
            doubts.append(
                f"MALA and NUTS disagree on the law {law.name} of {scalar}: TV {found.tv:.4f}, {p_is(found.p_value)}"
            )
        halves = [draws.histogram(scalar, edges, flat, half).counts for half in (0, 1)]
        drift = compare.p_value_of_drift(*halves)
        if drift is not None and drift * len(made.edges) < DRIFT_LEVEL:
            doubts.append(f"the draws of the law {law.name} still move in {scalar} between their halves, {p_is(drift)}")
    for one in (draws, nuts):
        if not one.r_hat <= R_HAT_LIMIT:
            doubts.append(f"{one.sampler} has not mixed on the law {law.name}: R-hat {one.r_hat:.3f} > {R_HAT_LIMIT}")
    reference = {
        "law": law.name,
        "samplers": {
            one.sampler: {
                "r_hat": one.r_hat,
                "ess": one.ess,
                "acceptance": one.acceptance,
                "step_size": one.step_size,
                "chains": one.statistic.shape[0],
                "draws": one.statistic.size,
            }
            for one in (draws, nuts)
        },
        "between": between,
        "weights": made.shares(),
    }
    return reference, doubts
