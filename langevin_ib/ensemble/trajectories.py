"""Runs that are looked at afterwards: the parameters of every chain at up to 200 times, as flat arrays on the host."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib import signals
from langevin_ib.devices import in_use
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.runner import Limit, Observer, Placement, Progress, Schedule, Stage, batched, run_ensemble
from langevin_ib.errors import DivergenceError
from langevin_ib.jax_settings import default_settings
from langevin_ib.models.base import Params

ROWS = 200  # times at which parameters are kept, besides the start
AHEAD = 1024  # random numbers in a step of one chain above which they are drawn ahead
BLOCK = 16  # chains that run together
LOOKS = 20  # times at which the host looks for divergence, and reports progress
CheckpointOf = Callable[[int], Checkpoint | None]  # number of a block ↦ where its run saves its state
REMEDY = "use a smaller lr"
RUNAWAY = 1e4  # a parameter this much larger than 1 + the largest of all starts has left for good


def schedule_of(steps: int, rows: int = ROWS) -> Schedule:
    """At most `rows` records, the last one after all steps; where they do not divide these, the first one is later.

    >>> schedule_of(1000, 3)
    Schedule(burn_in=332, thin=334, records=2, segments=(2,))
    """
    thin = -(-steps // rows)
    records = steps // thin
    return Schedule(steps - records * thin, thin, records, (records,))


def record_steps(steps: int, rows: int = ROWS) -> list[int]:
    """The steps after which parameters are kept, 0 among them."""
    plan = schedule_of(steps, rows)
    return [0, *range(plan.burn_in + plan.thin, plan.steps + 1, plan.thin)]


@dataclass(frozen=True)
class BlockStage:
    """A long stage whose chains run in blocks, to whoever waits for it; none of it changes a number.

    Attributes:
        name: in errors.
        step_size: in errors.
        progress: called with (steps done, steps in all) of the first block.
        checkpoint_of: number of a block ↦ where its run saves its state.
    """

    name: str
    step_size: float
    progress: Progress | None = None
    checkpoint_of: CheckpointOf | None = None


def record(
    kernel: Kernel,
    starts: Params,
    *,
    key: Key[Array, ""],
    steps: int,
    stage: BlockStage,
    tasks: PyTree = None,
    rows: int = ROWS,
) -> Float[np.ndarray, "chain time q"]:
    """Parameters of every chain, flattened, at the start and at `record_steps`.

    Blocks of 16 chains are runs of their own, each on one device, as many at a time as there are devices: a step of a
    small model takes longer where devices share its chains (`sims/bench/training.py`). Block b draws from
    fold_in(key, b), and a last block that is not full is filled up, so that a chain's path depends on the key and its
    own index only.

    Args:
        kernel: the dynamics of one chain.
        starts: parameters with a leading chain axis.
        key: of the run.
        steps: in all.
        stage: its name, progress, checkpoints.
        tasks: what each chain learns, leading axis the chain; None where all share the model's own loss.
        rows: times, at most.

    Raises:
        DivergenceError: some chain's parameters ran away.
    """
    first = np.asarray(batched(lambda x: ravel_pytree(x)[0])(starts))
    bound = RUNAWAY * (1.0 + float(np.abs(first).max()))
    blocks = _Blocks(
        kernel, starts, tasks, key,
        schedule=schedule_of(steps, rows),
        observer=Observer(
            lambda state: ravel_pytree(state.position)[0], accumulators.count(), lambda x: {"params": x}, BLOCK, rows
        ),
        limit=Limit(stage.step_size, lambda x: jnp.max(jnp.abs(ravel_pytree(x)[0])) > bound, REMEDY),
        stage=stage,
    )  # fmt: skip
    outcomes = _run_all(blocks, -(-len(first) // BLOCK))
    errors = [outcome for outcome in outcomes if isinstance(outcome, DivergenceError)]
    if errors:
        diverged, step = sum(error.diverged for error in errors), min(error.step for error in errors)
        raise DivergenceError(stage.name, diverged, len(first), step, stage.step_size, REMEDY)
    paths = [outcome for outcome in outcomes if not isinstance(outcome, DivergenceError)]
    return np.concatenate([first[:, None], np.concatenate(paths)], axis=1)


@dataclass(frozen=True)
class _Blocks:
    """What the blocks of a run have in common; see `record`."""

    kernel: Kernel
    starts: Params
    tasks: PyTree
    key: Key[Array, ""]
    schedule: Schedule
    observer: Observer
    limit: Limit
    stage: BlockStage

    def run(self, b: int, device: Any, wide: bool, progress: Progress) -> Float[np.ndarray, "chain time q"]:
        """One of them, on a device, in float64 or not."""
        block, checkpoint_of = slice(BLOCK * b, BLOCK * (b + 1)), self.stage.checkpoint_of
        # Settings belong to a thread. JAX's older layout of random numbers takes one hash for two of them, not two,
        # which takes an eighth off a step of figure 3 (`sims/bench/training.py`).
        with (
            default_settings(),
            jax.enable_x64(wide),
            jax.default_device(device),
            jax.threefry_partitionable(False),
        ):
            starts, tasks = jax.tree.map(lambda leaf: leaf[block], (self.starts, self.tasks))
            stage = Stage(
                self.stage.name,
                progress,
                -(-self.schedule.records // LOOKS),
                None if checkpoint_of is None else checkpoint_of(b),
                Placement([device], ahead=_numbers_drawn(self.kernel) > AHEAD, width=BLOCK),
            )
            key = jax.random.fold_in(self.key, b)
            result = run_ensemble(
                self.kernel, starts, self.observer, key=key, schedule=self.schedule, limit=self.limit, stage=stage,
                tasks=tasks,
            )  # fmt: skip
        return result.trace["params"]


def _run_all(blocks: _Blocks, count: int) -> list[Float[np.ndarray, "chain time q"] | DivergenceError]:
    """Every block, or how it diverged: as many at a time as there are devices, until one fails in another way."""
    wide, devices = jax.config.read("jax_enable_x64"), in_use()
    free: SimpleQueue[Any] = SimpleQueue()
    for device in devices:
        free.put(device)
    stopped = Event()  # a thread cannot be interrupted: it has to look

    def look(b: int, done: int, total: int) -> None:
        if stopped.is_set() and not signals.asked():  # else each block saves its state, and stops by itself
            raise CancelledError
        if b == 0 and blocks.stage.progress is not None:
            blocks.stage.progress(done, total)

    def run(b: int) -> Float[np.ndarray, "chain time q"] | DivergenceError:
        if stopped.is_set():
            raise CancelledError
        device = free.get()
        try:
            return blocks.run(b, device, wide, partial(look, b))
        except DivergenceError as error:  # of this block alone; how many diverged is known when all are done
            return error
        except BaseException:
            stopped.set()  # at once: the pool tells of it only when the blocks before this one have ended
            raise
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            return list(pool.map(run, range(count)))
        except BaseException:
            stopped.set()
            raise


def _numbers_drawn(kernel: Kernel) -> int:
    """Random numbers in a step of one chain."""
    noise = jax.eval_shape(lambda key: kernel.draw(key, 1), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(noise))
