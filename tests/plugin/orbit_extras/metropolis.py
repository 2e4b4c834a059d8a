"""Random-walk Metropolis on the confined potential: no gradient, no bias of a step."""

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.processes import LangevinSettings
from langevin_ib.config.settings import setting
from langevin_ib.dynamics.kernel import Kernel, normal_like, refuse_task
from langevin_ib.ensemble.records import Limit
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.process import Draws, Process
from langevin_ib.runs.processes.langevin import details, prepare
from langevin_ib.runs.sampling import check_sample
from langevin_ib.session import key_of


@dataclass(frozen=True)
class MetropolisSettings(LangevinSettings):
    """Langevin's, of which the step size only sets the schedule, and the size of a proposal."""

    proposal: float = setting(0.5, "standard deviation of a proposal, in units of √T", POSITIVE)


class WalkState(NamedTuple):
    """Position of one chain, and V there."""

    position: object
    energy: jax.Array


class WalkInfo(NamedTuple):
    """Acceptance probability of a step."""

    acceptance: jax.Array


def metropolis(potential, like, *, temperature: float, proposal: float) -> Kernel:
    """θ′ = θ + δ ζ with probability min(1, exp(−(V(θ′) − V(θ))/T)), else θ; ζ ~ N(0, I)."""
    normals = normal_like(like)

    def draw(key, chains):
        walk, coin = jax.random.split(key)
        return normals(walk, chains), jax.random.exponential(coin, (chains,))

    def init(params, task):
        refuse_task(task)
        return WalkState(params, potential(params))

    def step(noise, state, task):
        refuse_task(task)
        normal, cost = noise
        proposed = jax.tree.map(lambda x, n: x + proposal * n, state.position, normal)
        energy = potential(proposed)
        rise = (energy - state.energy) / temperature
        accepted = rise < cost  # −log of a uniform number
        moved = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, state.position)
        info = WalkInfo(jnp.minimum(1.0, jnp.exp(-rise)))
        return WalkState(moved, jnp.where(accepted, energy, state.energy)), info

    return Kernel(draw=draw, init=init, step=step)


def sample(prepared, session) -> Draws:
    """The chains that are judged; nothing checks them."""
    plan = prepared.plan
    config, reduction = plan.config, plan.reduction
    began = time.perf_counter()
    dtype = jnp.float64 if config.precision == 64 else jnp.float32
    starts = starting_points(reduction.model.init, key_of(config, "starts"), config.chains, dtype)
    temperature = config.process.temperature
    size = config.process.proposal * math.sqrt(temperature)
    potential = reduction.confinement.potential(reduction.model)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    observer = build_observer(reduction, plan.edges, config.slab)
    result = run_ensemble(
        metropolis(potential, like, temperature=temperature, proposal=size),
        starts,
        observer,
        key=key_of(config, "chains"),
        schedule=plan.schedule,
        limit=Limit(size, lambda params: ~jnp.isfinite(potential(params))),
        stage=session.stage(config, "sampling"),
    )
    draws = sample_of(result, observer, plan.scalars)
    check_sample(plan, draws, prepared.remedy)
    return Draws(draws, size, time.perf_counter() - began)


METROPOLIS = Process(MetropolisSettings, prepare, sample, details)
