"""The reference sampler: blackjax MALA on the confined full space, which has no discretisation bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.runner import (
    EnsembleResult,
    Observer,
    Progress,
    Schedule,
    run_ensemble,
    starting_points,
    tune_step_size,
)
from langevin_ib.laws.family import Reduction

ACCEPTANCE = 0.57  # Roberts & Rosenthal, J. R. Statist. Soc. B 60, 255–268 (1998)
# First small steps: a start where the potential is steep would reject every step that suits the typical chain.
TUNING = ((0.98, 2000), (ACCEPTANCE, 1500), (ACCEPTANCE, 500))
RECORDS = 2500
TIME_SHARE = 0.6
STEP_SHARES = (0.1, 0.4)


def reference_schedule(steps: int, time: float) -> Callable[[float], Schedule]:
    """2500 records over 0.6 of the time that the run itself takes, given the step that tuning found.

    At least a tenth and at most two fifths of the run's number of steps, which MALA's cost twice as much.
    """

    def schedule(step_size: float) -> Schedule:
        low, high = (max(1, round(share * steps / RECORDS)) for share in STEP_SHARES)
        thin = int(np.clip(round(TIME_SHARE * time / (step_size * RECORDS)), low, high))
        return Schedule(burn_in=500 * thin, thin=thin, records=RECORDS, segments=(RECORDS // 2, RECORDS))

    return schedule


class MalaRun(NamedTuple):
    """A tuned MALA ensemble."""

    result: EnsembleResult
    step_size: float


def run_mala(
    config: RunConfig,
    reduction: Reduction,
    observer: Observer,
    *,
    key,
    schedule: Schedule | Callable[[float], Schedule],
    stage: str,
    chunk_records: int | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> MalaRun:
    """Tune the step to acceptance 0.57 (unless the configuration gives one), then sample exp(−V/T) dθ.

    `schedule` is one, or a rule that makes one from the tuned step size.
    """
    potential = reduction.confinement.potential(reduction.model)
    key_start, key_tune, key_run = jax.random.split(key, 3)
    dtype = jnp.float64 if config.precision == 64 else jnp.float32
    starts = starting_points(reduction.model.init, key_start, config.chains, dtype)

    def build(step_size):
        return mala(potential, temperature=config.temperature, step_size=step_size)

    if config.integrator == "mala" and not isinstance(config.step_size, str):
        step_size = config.step_size
    else:
        initial = 0.1 / max(float(_typical_curvature(potential, starts)), 1e-12)
        step_size, starts = tune_step_size(build, starts, key=key_tune, initial=initial, stages=TUNING)
    result = run_ensemble(
        build(step_size),
        starts,
        observer,
        key=key_run,
        schedule=schedule if isinstance(schedule, Schedule) else schedule(step_size),
        escaped=lambda params: jnp.asarray(False),  # a rejected proposal cannot carry a chain away
        stage=stage,
        step_size=step_size,
        chunk_records=chunk_records,
        progress=progress,
        checkpoint=checkpoint,
    )
    return MalaRun(result, step_size)


def _typical_curvature(potential, starts) -> float:
    """|∇V| / |θ| at the first chain's start: the right order of magnitude to begin adapting from."""
    params = jax.tree.map(lambda leaf: leaf[0], starts)
    gradient = jax.grad(potential)(params)
    norm = [np.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(tree))) for tree in (gradient, params)]
    return norm[0] / max(norm[1], 1e-12)
