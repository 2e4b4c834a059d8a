"""What a trained ensemble is looked at for: charge, size and log ratio of every pair along the runs, and the loss."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.errors import ConfigError
from langevin_ib.geometry import charges
from langevin_ib.models import Task
from langevin_ib.models.training import cast
from langevin_ib.session import check_open
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Paths, Trained


def follow(problem: Problem, trained: Trained, *, loss: bool = True) -> Paths:
    """χ, s, ρ and each seed's own loss along its trajectory.

    Args:
        problem: gives the symmetry, and each seed's loss.
        trained: recorded parameters.
        loss: whether that is evaluated; a task that is not what is trained on, of fresh batches, has none worth it.

    Raises:
        ConfigError: one of these is not finite.
    """
    check_open()
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
