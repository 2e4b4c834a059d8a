"""SGD that measures only: it trains, and reports what its draws show, held against no law.

Rules (before any draw that is reported): η = 0.01 (1 − μ)/Λ, Λ the largest curvature of loss and decay at the lowest
point that L-BFGS finds and at 16 ends of the pilot's chains; 100 000 steps, of which a fifth burn in; a draw every
0.25 (1 − μ)/(ηω), ω that of the loss at the lowest point. Windows: `pilot.py`.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.records import Limit
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.errors import ConfigError
from langevin_ib.geometry.measured import check_measured, stiffness
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Params
from langevin_ib.runs.descent_chains import descent_kernel, descent_starts
from langevin_ib.runs.ends import check_from
from langevin_ib.runs.identities import descent_claims
from langevin_ib.runs.lowest import lowest_loss
from langevin_ib.runs.measure import (
    LEAST_CURVATURE,
    THIN_INTERVAL,
    changing_of,
    pilot_burn_in,
    prepared_of,
    settle_burn_in,
    settle_step,
    without_laws,
)
from langevin_ib.runs.measured import MeasuredPlan
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.pilot import Pilot, run_pilot, runaway, windows_of
from langevin_ib.runs.plan import Plan, build_reduction, build_schedule
from langevin_ib.runs.process import Draws, Prepared
from langevin_ib.runs.sampling import check_sample
from langevin_ib.runs.scheduled import constant_at, hottest
from langevin_ib.runs.windows import rounded
from langevin_ib.session import Session, key_of

STEPS = 100_000
LR_SHARE = 0.01  # η Λ/(1 − μ)
REMEDY = "use a smaller lr, or less noise"


def prepare(config: RunConfig, reduction: Reduction, noise: Noise, session: Session) -> Prepared:
    """Resolve every `auto`, by a pilot.

    Args:
        config: without an `auto` of the noise.
        reduction: of it, at T = 1.
        noise: as it names it.
        session: reports progress.

    Raises:
        ConfigError, ModelError, DivergenceError: as `langevin_ib.run`.
    """
    model = reduction.model
    check_measured(model, key_of(config, "check"))
    if noise.record.constant:
        wanted = "another than one that is as strong as a covariance at the minimum, q × q, where no law is asked for"
        raise ConfigError("noise", wanted, config.noise)
    if not noise.record.noiseless:
        noise.check(model)
    check_from(config, model)
    config, why = without_laws(config, model)
    reduction = build_reduction(config, temperature=1.0)
    steps = STEPS if isinstance(config.steps, str) else config.steps
    config = settle_burn_in(config.replace(steps=steps))
    lowest, where = lowest_loss(model)
    del lowest  # SGD has no T, and so no λ̂
    config, pilot = _with_step(config, reduction, noise, where, session)
    windows = windows_of(config, reduction, pilot)
    by_rule = tuple(windows) if config.window == AUTO else ()
    if len(windows) == 1:
        config = config.replace(window=next(iter(windows.values())))
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in windows.items()}
    plan = Plan(config, reduction, build_schedule(config), edges, (False, False))
    subject = f"SGD with η = {config.lr:g}, {noise.words}, confinement {reduction.confinement.formula}"
    own = MeasuredPlan(why, (pilot.chains, pilot.steps), by_rule, symbol="η", subject=subject)
    changing = changing_of(plan, float(config.lr) / (1.0 - float(config.momentum or 0)))
    return prepared_of(plan, own, changing, None, None)


def _with_step(
    config: RunConfig, reduction: Reduction, noise: Noise, where: Params, session: Session
) -> tuple[RunConfig, Pilot]:
    """η and thinning, and the pilot that was run with that η, at the values that are judged."""
    model, rest = reduction.model, 1.0 - float(config.momentum or 0)
    stiffest = build_reduction(hottest(config) or config, temperature=1.0)
    potential = stiffest.confinement.potential(model)
    judged = constant_at(config, {name: getattr(config, name) for name in config.schedules})
    soft = max(float(stiffness(model.loss, [where])[0]), LEAST_CURVATURE)

    def pilot_at(lr: float) -> Pilot:
        return run_pilot(
            config, reduction, lambda like: descent_kernel(judged.replace(lr=lr), model, noise, like), lr, session,
            burn_in=pilot_burn_in(config), remedy=REMEDY,
        )  # fmt: skip

    if config.lr == AUTO:

        def rule(points: list[Params]) -> float:
            steepest = float(max(stiffness(potential, [where, *points])))
            return rounded(LR_SHARE * rest / max(steepest, LEAST_CURVATURE))

        lr, pilot = settle_step(rule, pilot_at)
        config = config.replace(lr=lr)
    else:
        lr = float(config.lr)
        pilot = pilot_at(lr)
    if config.thin == AUTO:
        wanted = round(THIN_INTERVAL * rest / (soft * lr))
        config = config.replace(thin=int(np.clip(wanted, 1, max(1, int(config.steps) // 500))))
    return config, pilot


def draw(prepared: Prepared, noise: Noise, session: Session) -> Draws:
    """Run the chains; `noise` is as the settings name it."""
    plan = prepared.plan
    config, reduction = plan.config, plan.reduction
    stage, began, lr = session.stage(config, "sampling"), time.perf_counter(), float(config.lr)
    dtype = jnp.float64 if config.precision == 64 else jnp.float32
    starts, key = descent_starts(config, reduction.model, reduction.model.init, dtype)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    claims = descent_claims(plan, noise, like)
    observer = build_observer(reduction, plan.edges, None, claims)
    result = run_ensemble(
        descent_kernel(config, reduction.model, noise, like),
        starts,
        observer,
        key=key,
        schedule=plan.schedule,
        limit=Limit(lr, runaway(reduction, starts), REMEDY),
        stage=stage,
    )
    sample = sample_of(result, observer, plan.scalars, claims, plan.schedule)
    wall = time.perf_counter() - began
    check_sample(plan, sample)
    return Draws(sample, lr, wall)
