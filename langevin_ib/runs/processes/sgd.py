"""One run of SGD from configuration to verdict: its own laws, against the fitted family of isotropic noise."""

from __future__ import annotations

import logging
import time

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.processes import SgdSettings
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.ensemble.records import Limit
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.runs import measured_descent
from langevin_ib.runs.descent_chains import descent_kernel, descent_starts
from langevin_ib.runs.descent_charge import OFF_SLICE, charge_summary, growth_doubts, lies_across, pairs_size
from langevin_ib.runs.descent_details import ChargeSummary, SgdDetails
from langevin_ib.runs.descent_laws import (
    candidates,
)
from langevin_ib.runs.descent_minimum import settle_label_noise, settle_labels
from langevin_ib.runs.descent_plan import ResolvedDescent, resolve_descent
from langevin_ib.runs.identities import descent_claims
from langevin_ib.runs.measure import details as measured_details
from langevin_ib.runs.measured import MeasuredDetails
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.plan import build_reduction, gradient_noise_of
from langevin_ib.runs.process import Draws, Prepared, Process
from langevin_ib.runs.sampling import RUNAWAY_STARTS, check_sample
from langevin_ib.runs.scheduled import (
    hottest,
    say_judged,
    schedule_doubts,
)
from langevin_ib.session import Session
from langevin_ib.statistics.records import Absent, Doubt, Meter

log = logging.getLogger(__name__)

NO_COEFFICIENT = "SGD's noise is not isotropic; the c of the fitted family comes with its T"


def prepare(config: RunConfig, session: Session) -> Prepared:
    """Resolve every `auto` and determine which laws exist, before any draw of the chains.

    Raises:
        ConfigError, ModelError, LawError: as `langevin_ib.run`.
    """
    session.report("planning")
    config = settle_labels(config)
    reduction = build_reduction(config, temperature=1.0)
    if reduction.measured:
        config = settle_label_noise(config, reduction.model)
        return measured_descent.prepare(config, reduction, gradient_noise_of(config), session)
    resolved = resolve_descent(config, lambda name: session.stage(config, name))
    family = resolved.family
    say_judged(resolved.changing)
    for doubt in resolved.doubts:
        if doubt.about == "charge":
            log.warning("%s", doubt.text)
    return Prepared(
        plan=resolved.plan,
        candidates=(
            *candidates(resolved.own, resolved.edges, resolved.errors, resolved.config.margin),
            *(() if family is None else family.candidates),
        ),
        missing=tuple(resolved.missing),
        doubts=(*schedule_doubts(resolved.changing, config.margin), *resolved.doubts),
        coefficient=lambda statistic: Absent("c", NO_COEFFICIENT),
        share=lambda scalar: None,
        stationary=bool(resolved.laws or resolved.own.maps),
        # Where the noise ends at the minimum every chain ends in a point, and there is nothing to judge.
        at_rest=family is None,
        remedy=tuple(resolved.missing),
        own=resolved,
        schedule=resolved.changing,
    )


def details(prepared: Prepared, draws: Draws) -> SgdDetails | MeasuredDetails:
    """The noise at the minimum, the decay of χ, the error of (S) itself; of a run that measures only what it saw."""
    if prepared.plan.reduction.measured:
        return measured_details(prepared, draws)
    resolved: ResolvedDescent = prepared.own
    config, noisy = resolved.config, resolved.family is not None
    charge = _measure_charge(resolved, draws)
    return SgdDetails(
        noise=str(config.noise),
        words=resolved.descent.noise.words,
        across=lies_across(resolved.descent.noise, resolved.meter),
        start=_start(resolved),
        decay=resolved.decay,
        balance=None if resolved.balance is None else tuple(map(float, resolved.balance.charge)),
        meter=Meter(**{name: float(value) for name, value in resolved.meter._asdict().items()}),
        measured=resolved.measured,
        noisy=noisy,
        law_error=dict(resolved.errors),
        charge=charge,
        doubts=tuple(_charge_doubts(prepared, draws, charge)),
        independent=dict(resolved.independent),
        map=dict(resolved.own.about),
    )


def _start(resolved: ResolvedDescent) -> str:
    """Where the chains begin."""
    if resolved.config.from_run is not None:
        return "earlier"
    return "slice" if resolved.balanced else "own"


def draw(prepared: Prepared, session: Session) -> Draws:
    """Run the chains; also χ at their starts."""
    if prepared.plan.reduction.measured:
        return measured_descent.draw(prepared, gradient_noise_of(prepared.plan.config), session)
    resolved: ResolvedDescent = prepared.own
    stage = session.stage(resolved.config, "sampling")
    began = time.perf_counter()
    config, reduction, plan = resolved.config, resolved.reduction, resolved.plan
    model, chart = reduction.model, reduction.chart
    dtype = jnp.float64 if config.precision == 64 else jnp.float32

    def init(key):
        params = model.init(key)
        if not resolved.balanced:
            return params
        return chart.section(chart.of(chart.start_within({}, key)))

    starts, key = descent_starts(config, model, init, dtype)
    potential = reduction.confinement.potential(model)
    highest = float(jax.jit(lambda xs: jnp.max(jax.lax.map(potential, xs, batch_size=1024)))(starts))
    steepest = hottest(config) or config
    noisy = float(resolved.meter.trace) * float(steepest.lr or 0)
    highest_allowed = RUNAWAY_STARTS * (highest + noisy + 1e-12)
    remedy = "; ".join(["use a smaller lr, or less noise", *resolved.missing])
    # The noise again from the settings: the chains' own is `resolved.descent`'s.
    at_minimum_point = chart.section(jnp.asarray(resolved.middle))
    claims = descent_claims(plan, gradient_noise_of(config), at_minimum_point)
    observer = build_observer(reduction, plan.edges, None, claims)
    like, lr = jax.tree.map(lambda leaf: leaf[0], starts), float(config.lr or 0)
    if resolved.descent.noise.record.constant:
        kernel = euler_maruyama(potential, like, temperature=resolved.meter.temperature, step_size=lr)
    else:
        kernel = descent_kernel(config, model, resolved.descent.noise, like)
    result = run_ensemble(
        kernel,
        starts,
        observer,
        key=key,
        schedule=resolved.schedule,
        limit=Limit(lr, lambda params: potential(params) > highest_allowed, remedy),
        stage=stage,
    )
    sample = sample_of(result, observer, plan.scalars, claims, resolved.schedule)
    charge = np.asarray(jax.vmap(model.moment_map)(starts))
    wall = time.perf_counter() - began
    check_sample(plan, sample, prepared.remedy)
    return Draws(sample, lr, wall, starts=charge)


def _measure_charge(resolved: ResolvedDescent, draws: Draws) -> ChargeSummary:
    assert draws.starts is not None  # `draw` looks at them
    ends = None if _start(resolved) == "slice" else draws.main.ends
    return charge_summary(resolved.reduction, _size(resolved), draws.starts, draws.main.whole.charge, ends)


def _size(resolved: ResolvedDescent) -> float:
    return pairs_size(resolved.reduction, resolved.reduction.chart.section(jnp.asarray(resolved.middle)))


def _charge_doubts(prepared: Prepared, draws: Draws, charge: ChargeSummary) -> list[Doubt]:
    """What the draws of χ speak against; nothing where Σ said it before them."""
    resolved: ResolvedDescent = prepared.own
    if any(doubt.about == "charge" for doubt in resolved.doubts):
        return []
    if resolved.family is not None and not resolved.reduction.proper:
        own = draws.main.engine.steps is not None  # else draws that were given, whose chains may begin anywhere
        shrinks = resolved.balance is None or not np.any(resolved.balance.charge)
        stretches = [stretch.charge for stretch in draws.main.stretches]
        doubts = growth_doubts(draws.starts if own else None, stretches, _size(resolved), shrinks=shrinks)
        if doubts:
            return doubts
    if (resolved.laws or resolved.own.maps) and charge.draws > OFF_SLICE:
        text = (
            f"χ has not decayed: over the draws it is {charge.draws:.2g} of the pairs' size (at the start "
            f"{charge.start:.2g}), and SGD's own laws are those at χ = 0: run more steps"
        )
        return [Doubt("charge", text, charge.draws, OFF_SLICE)]
    return []


PROCESS = Process(SgdSettings, prepare, draw, details)
