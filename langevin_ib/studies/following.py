"""What a trained ensemble is looked at for: charge, size and log ratio of every pair along the runs, and the loss."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.errors import ConfigError
from langevin_ib.geometry import charges
from langevin_ib.models import Task
from langevin_ib.models.training import cast
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.training import Trained


class Paths(NamedTuple):
    """One arm's runs, in float64.

    Attributes:
        charge: χ of every generator.
        size: s = |a||b| of its pair.
        log_ratio: ρ = log |a|/|b| = arsinh(χ/s).
        loss: each seed's own; NaN where it was not asked for.
    """

    charge: Float[np.ndarray, "seed time m"]
    size: Float[np.ndarray, "seed time m"]
    log_ratio: Float[np.ndarray, "seed time m"]
    loss: Float[np.ndarray, "seed time"]

    @property
    def ratio(self) -> Float[np.ndarray, "seed time m"]:
        """|a|/|b|."""
        return np.exp(self.log_ratio)

    @property
    def off_by(self) -> Float[np.ndarray, "seed time"]:
        """The factor by which a typical pair is off balance, exp(median |ρ|) over the generators."""
        return np.exp(np.median(np.abs(self.log_ratio), axis=-1))

    @property
    def charge_left(self) -> Float[np.ndarray, "seed time"]:
        """The median of |χ(t)/χ(0)| over the generators."""
        return np.median(np.abs(self.charge / self.charge[:, :1]), axis=-1)


def follow(problem: Problem, trained: Trained, *, loss: bool = True) -> Paths:
    """χ, s, ρ and each seed's own loss along its trajectory.

    Args:
        problem: gives the symmetry, and each seed's loss.
        trained: recorded parameters.
        loss: whether that is evaluated; a task that is not what is trained on, of fresh batches, has none worth it.

    Raises:
        ConfigError: one of these is not finite.
    """
    model, training = problem.model, problem.training
    # In float32 the ratio of a pair that is off balance by a factor of 4000 is infinite.
    like = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), trained.like)
    unravel = ravel_pytree(like)[1]

    def observe(task: Task, flat: Float[Array, " q"]) -> tuple[Array, ...]:
        params = unravel(flat)
        value = training.risk(task, params) if loss else jnp.full((), jnp.nan)
        return model.moment_map(params), charges.pair_size(model, params), charges.log_ratio(model, params), value

    over_seeds = jax.vmap(observe, in_axes=(None if problem.tasks is None else 0, 0))
    task = cast(training.task if problem.tasks is None else problem.tasks, like)
    # Row by row: the fields of all generators at all points at once would not fit into memory.
    rows = jnp.swapaxes(jnp.asarray(trained.flat, jnp.float64), 0, 1)
    by_time = jax.jit(lambda known_task, xs: jax.lax.map(partial(over_seeds, known_task), xs))(task, rows)
    paths = Paths(*(np.swapaxes(np.asarray(part), 0, 1) for part in by_time))
    if not all(np.isfinite(part).all() for part in (paths if loss else paths[:-1])):
        raise ConfigError(
            "steps", "few enough that no pair shrinks to nothing, where it has no ratio", int(trained.steps[-1])
        )
    return paths
