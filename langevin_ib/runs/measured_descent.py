"""SGD that measures only: it trains, and reports what its draws show, held against no law.

Rules (before any draw that is reported): η = 0.01 (1 − μ)/Λ, Λ the largest curvature of loss and decay at the lowest
point that L-BFGS finds and at 16 ends of the pilot's chains, over m² where the noise is scaled by m > 1; 100 000 steps,
of which a fifth burn in; a draw every 0.25 (1 − μ)/(ηω), ω that of the loss at the lowest point. Windows: `pilot.py`.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from langevin_ib.background import FAST
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.records import Limit
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.errors import ConfigError
from langevin_ib.geometry.measured import stiffness
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Params
from langevin_ib.runs.descent_chains import NOISELESS, default_share, descent_kernel, descent_starts
from langevin_ib.runs.descent_details import noise_in_words
from langevin_ib.runs.ends import check_from
from langevin_ib.runs.identities import descent_claims
from langevin_ib.runs.lowest import lowest_loss
from langevin_ib.runs.measure import (
    LEAST_CURVATURE,
    THIN_INTERVAL,
    changing_of,
    checked,
    pilot_burn_in,
    plan_of,
    prepared_of,
    settle_burn_in,
    settle_step,
)
from langevin_ib.runs.measured import MeasuredPlan
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.pilot import Pilot, run_pilot, runaway
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.process import Draws, Prepared
from langevin_ib.runs.sampling import check_sample
from langevin_ib.runs.scheduled import constant_at, hottest
from langevin_ib.runs.steps import check_kick
from langevin_ib.runs.windows import rounded
from langevin_ib.session import Session, key_of

STEPS = 100_000
KICKS, KICKED = 64, 4  # steps from each of so many ends of the pilot's chains, of which the noise is measured
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
    if noise.record.constant:
        wanted = "another than one that is as strong as a covariance at the minimum, q × q, where no law is asked for"
        raise ConfigError("noise", wanted, config.noise)
    if not noise.record.noiseless:
        noise.check(model)
    check_from(config, model)
    config, reduction, why = checked(config, reduction)
    steps = STEPS if isinstance(config.steps, str) else config.steps
    config = settle_burn_in(config.replace(steps=steps))
    _, where = lowest_loss(model)  # SGD has no T, and so no λ̂
    config, pilot = _with_step(config, reduction, noise, where, session)
    if not noise.record.noiseless:
        _check_precision(config, reduction, noise, where, pilot)
    plan, by_rule = plan_of(config, reduction, pilot)
    words = noise_in_words(config, noise.words)
    subject = f"SGD with η = {config.lr:g}, {words}, confinement {reduction.confinement.formula}"
    own = MeasuredPlan(why, (pilot.chains, pilot.steps), by_rule, symbol="η", subject=subject)
    changing = changing_of(plan, float(plan.config.lr) / (1.0 - float(plan.config.momentum or 0)))
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
            return rounded(default_share(config) / max(steepest, LEAST_CURVATURE))

        lr, pilot = settle_step(rule, pilot_at)
        config = config.replace(lr=lr)
    else:
        lr = float(config.lr)
        pilot = pilot_at(lr)
    if config.thin == AUTO:
        wanted = round(THIN_INTERVAL * rest / (soft * lr))
        config = config.replace(thin=int(np.clip(wanted, 1, max(1, int(config.steps) // 500))))
    return config, pilot


def _check_precision(config: RunConfig, reduction: Reduction, noise: Noise, where: Params, pilot: Pilot) -> None:
    """float32 has to keep a step's noise, η√(tr Σ) at ends of the pilot's chains; it may end at the minimum.

    Raises:
        ConfigError: it does not.
    """
    lr = float(config.lr)
    judged = constant_at(config, {name: getattr(config, name) for name in config.schedules}).replace(momentum=0.0)
    with jax.enable_x64(True):
        points = jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(jnp.float64), *pilot.points(KICKED))
        like = jax.tree.map(lambda leaf: leaf[0], points)
        kernel = descent_kernel(judged, reduction.model, noise, like)
        drawn = kernel.draw(jax.random.fold_in(key_of(config, "check"), 1), KICKS)

        def variance(point: Params) -> Array:
            state = kernel.init(point, None)
            moved = jax.lax.map(lambda one: ravel_pytree(kernel.step(one, state, None)[0].position)[0], drawn)
            return jnp.sum(jnp.var(moved, axis=0, ddof=1))

        squares = np.asarray(jax.jit(lambda: jax.lax.map(variance, points), compiler_options=FAST)())
        size = float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(points)) / squares.size) ** 0.5
    steepest = max(float(stiffness(reduction.confinement.potential(reduction.model), [where])[0]), LEAST_CURVATURE)
    square = float(np.mean(squares))
    if square > lr * steepest * (NOISELESS * size) ** 2:  # η tr Σ/Λ is the square of the width that chains come to
        check_kick(config, square**0.5, pilot.largest)


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
