"""Runs that are looked at afterwards: the parameters of every chain at up to 200 times, as flat arrays on the host."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import batched, run_ensemble
from langevin_ib.models.base import Params

ROWS = 200  # times at which parameters are kept, besides the start
AHEAD = 1024  # random numbers in a step of one chain above which they are drawn ahead
BLOCK = 16  # chains that run together
REMEDY = "use a smaller lr"
RUNAWAY = 1e4  # a parameter this much larger than 1 + the largest of all starts has left for good


def schedule_of(steps: int, rows: int = ROWS) -> Schedule:
    """At most `rows` records, the last one after all steps; where they do not divide these, the first one is later.

    >>> schedule_of(1000, 3)
    Schedule(burn_in=332, thin=334, records=2, segments=(2,), shown=0)
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
    stage: Stage,
    step_size: float,
    tasks: PyTree = None,
    rows: int = ROWS,
) -> Float[np.ndarray, "chain time q"]:
    """Parameters of every chain, flattened, at the start and at `record_steps`.

    In blocks of 16 chains: a step of a small model takes longer where more go together (`sims/bench/training.py`).

    Args:
        kernel: the dynamics of one chain.
        starts: parameters with a leading chain axis.
        key: of the run.
        steps: in all.
        stage: its name, progress, checkpoint.
        step_size: in errors.
        tasks: what each chain learns, leading axis the chain; None where all share the model's own loss.
        rows: times, at most.

    Raises:
        DivergenceError: some chain's parameters ran away.
    """
    first = np.asarray(batched(lambda x: ravel_pytree(x)[0])(starts))
    bound = RUNAWAY * (1.0 + float(np.abs(first).max()))
    schedule = schedule_of(steps, rows)
    result = run_ensemble(
        kernel,
        starts,
        Observer(
            lambda state: ravel_pytree(state.position)[0],
            accumulators.count(),
            lambda x: {"params": x},
            len(first),
            rows,
        ),
        key=key,
        schedule=schedule,
        limit=Limit(step_size, lambda x: jnp.max(jnp.abs(ravel_pytree(x)[0])) > bound, REMEDY),
        stage=replace(stage, placement=replace(stage.placement, ahead=_numbers_drawn(kernel) > AHEAD, width=BLOCK)),
        tasks=tasks,
    )
    return np.concatenate([first[:, None], result.trace["params"]], axis=1)


def _numbers_drawn(kernel: Kernel) -> int:
    """Random numbers in a step of one chain."""
    noise = jax.eval_shape(lambda key: kernel.draw(key, 1), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(noise))
