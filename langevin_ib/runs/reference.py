"""Ensembles whose step is tuned, on the confined full space: a sampler without discretisation bias, as a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.kernel import KernelKind, Target
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


class TunedRun(NamedTuple):
    """An ensemble and the step that tuning found."""

    result: EnsembleResult
    step_size: float


def run_tuned(
    kernel: KernelKind,
    settings: KernelSettings,
    config: RunConfig,
    reduction: Reduction,
    observer: Observer,
    *,
    key,
    schedule: Schedule | Callable[[float], Schedule],
    step_size: float | None = None,
    stage: str,
    chunk_records: int | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TunedRun:
    """Tune the step to the kernel's acceptance, unless one is given, then sample exp(−V/T) dθ.

    `schedule` is one, or a rule that makes one from the tuned step size.
    """
    potential = reduction.confinement.potential(reduction.model)
    key_start, key_tune, key_run = jax.random.split(key, 3)
    dtype = jnp.float64 if config.precision == 64 else jnp.float32
    starts = starting_points(reduction.model.init, key_start, config.chains, dtype)

    target = Target(
        potential, config.temperature, jax.tree.map(lambda leaf: leaf[0], starts), reduction.model.moment_map
    )

    def build(size):
        return kernel.build(settings, target, size)

    if step_size is None:
        initial = 0.1 / max(float(_typical_curvature(potential, starts)), 1e-12)
        step_size, starts = tune_step_size(build, starts, key=key_tune, initial=initial, stages=kernel.tuning or ())
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
    return TunedRun(result, step_size)


def _typical_curvature(potential, starts) -> float:
    """|∇V| / |θ| at the first chain's start: the right order of magnitude to begin adapting from."""
    params = jax.tree.map(lambda leaf: leaf[0], starts)
    gradient = jax.grad(potential)(params)
    norm = [np.sqrt(sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(tree))) for tree in (gradient, params)]
    return norm[0] / max(norm[1], 1e-12)
