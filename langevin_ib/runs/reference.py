"""Ensembles whose step is tuned, on the confined full space: a sampler without discretisation bias, as a reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.kernel import KernelKind, Target
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage, octaves
from langevin_ib.ensemble.runner import Ensemble, starting_points
from langevin_ib.ensemble.tuning import tune_step_size
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Params
from langevin_ib.runs.identities import Claims

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
        return Schedule(burn_in=500 * thin, thin=thin, records=RECORDS, segments=octaves(RECORDS))

    return schedule


class Tuned(NamedTuple):
    """A kernel whose step is tuned, its settings, and what it samples: exp(−V/T) dθ of a configuration's reduction."""

    kernel: KernelKind
    settings: KernelSettings
    config: RunConfig
    reduction: Reduction
    chains: int

    def starts(self, key: Key[Array, ""]) -> Params:
        """Independent ones, in the precision of the configuration."""
        dtype = jnp.float64 if self.config.precision == 64 else jnp.float32
        return starting_points(self.reduction.model.init, key, self.chains, dtype)


class Observed(NamedTuple):
    """What is measured on a chain, and what its steps are held to."""

    observer: Observer
    claims: Claims


class Coming(NamedTuple):
    """An ensemble that is ready to run, its step, what is observed and, where some of it is only shown, when."""

    ensemble: Ensemble
    step_size: float
    observed: Observed
    schedule: Schedule | None = None


def tune(
    tuned: Tuned,
    observed: Observed,
    *,
    key: Key[Array, ""],
    schedule: Schedule | Callable[[float], Schedule],
    stage: Stage,
    step_size: float | None = None,
) -> Coming:
    """Tune the step to the kernel's acceptance, unless one is given, for chains that sample exp(−V/T) dθ.

    `schedule` is one, or a rule that makes one from the tuned step size.
    """
    kernel, model = tuned.kernel, tuned.reduction.model
    potential = tuned.reduction.confinement.potential(model)
    key_start, key_tune, key_run = jax.random.split(key, 3)
    starts = tuned.starts(key_start)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    target = Target(potential, tuned.config.temperature, like, model.moment_map)

    def build(size):
        return kernel.build(tuned.settings, target, size)

    if step_size is None:
        initial = 0.1 / max(float(_typical_curvature(potential, starts)), 1e-12)
        step_size, starts = tune_step_size(build, starts, key=key_tune, initial=initial, stages=kernel.tuning or ())
    ensemble = Ensemble(
        build(step_size),
        starts,
        observed.observer,
        key=key_run,
        schedule=schedule if isinstance(schedule, Schedule) else schedule(step_size),
        limit=Limit(step_size),
        stage=stage,
    )
    return Coming(ensemble.compiled(), step_size, observed)


def _typical_curvature(potential, starts) -> float:
    """|∇V| / |θ| at the first chain's start: the right order of magnitude to begin adapting from."""

    @jax.jit
    def norms(params):
        trees = jax.grad(potential)(params), params
        return [jnp.sqrt(sum(jnp.sum(x**2, dtype=jnp.float64) for x in jax.tree.leaves(tree))) for tree in trees]

    steepness, size = map(float, norms(jax.tree.map(lambda leaf: np.asarray(leaf[0]), starts)))
    return steepness / max(size, 1e-12)
