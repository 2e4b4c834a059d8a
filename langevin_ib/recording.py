"""Runs that are looked at afterwards: the parameters of every chain at up to 200 times, as flat arrays on the host."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib import streaming
from langevin_ib.checkpoint import Checkpoint
from langevin_ib.dynamics import Kernel
from langevin_ib.ensemble import Observer, Progress, Schedule, run_ensemble
from langevin_ib.models.base import Params

ROWS = 200  # times at which parameters are kept, besides the start
LOOKS = 20  # times at which the host looks for divergence, and reports progress
RUNAWAY = 1e4  # a parameter this much larger than 1 + the largest of all starts has left for good


def schedule_of(steps: int, rows: int = ROWS) -> Schedule:
    """At most `rows` records, the last one after all steps; where they do not divide these, the first one is later.

    >>> schedule_of(1000, 3)
    Schedule(burn_in=0, thin=334, records=2, segments=(2,))
    """
    thin = -(-steps // rows)
    records = steps // thin
    return Schedule(steps - records * thin, thin, records, (records,))


def record_steps(steps: int, rows: int = ROWS) -> list[int]:
    """The steps after which parameters are kept, 0 among them."""
    plan = schedule_of(steps, rows)
    return [0, *range(plan.burn_in + plan.thin, plan.steps + 1, plan.thin)]


def record(
    kernel: Kernel,
    starts: Params,
    *,
    key: Key[Array, ""],
    steps: int,
    stage: str,
    step_size: float,
    rows: int = ROWS,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Float[np.ndarray, "chain time q"]:
    """Parameters of every chain, flattened, at the start and at `record_steps`.

    Args:
        kernel: the dynamics of one chain.
        starts: parameters with a leading chain axis.
        key: of the run; chain i draws the same numbers however many chains there are.
        steps: in all.
        stage: named in errors.
        step_size: named in errors.
        rows: times, at most.
        progress: called with (steps done, steps in all).
        checkpoint: where a long run saves its state.

    Raises:
        DivergenceError: some chain's parameters ran away.
    """
    first = np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(starts))
    limit = RUNAWAY * (1.0 + float(np.abs(first).max()))
    schedule = schedule_of(steps, rows)
    result = run_ensemble(
        kernel,
        starts,
        Observer(lambda x: ravel_pytree(x)[0], streaming.count(), lambda flat: {"params": flat}),
        key=key,
        schedule=schedule,
        escaped=lambda x: jnp.max(jnp.abs(ravel_pytree(x)[0])) > limit,
        stage=stage,
        step_size=step_size,
        remedy="use a smaller lr",
        chunk_records=-(-schedule.records // LOOKS),
        progress=progress,
        checkpoint=checkpoint,
        trace_chains=len(first),
        trace_rows=rows,
    )
    return np.concatenate([first[:, None], result.trace["params"]], axis=1)
