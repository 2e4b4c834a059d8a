"""Many chains at once: blocks of them, a thread for each core, and what the host has of them.

An ensemble comes in blocks of one shape (`program.py`), the last one filled up. A chain's path depends on the run's key
and its own index only: to the last bit the same for any number of chains, threads and processes, and any chunk. Draws
are reduced on the device as they come; memory does not grow with the number of steps.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from langevin_ib import signals
from langevin_ib.devices import in_use, usable_cores
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.program import CHUNK_RECORDS, Advance, BlockProgram, Carry, Programs, width_of
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Placement, Schedule, Stage
from langevin_ib.errors import DivergenceError
from langevin_ib.jax_settings import default_settings
from langevin_ib.models.base import Params
from langevin_ib.models.fingerprint import content_of
from langevin_ib.stages import Engine, Stillness

ROUND_S = 0.5  # in which all blocks take their turn: often enough for a progress bar, a signal and a divergence
LEAST_CALL_S = 0.02  # that a call takes, or to start it costs more
FIRST_STEPS = 256  # of a block, from which its pace is learnt


def starting_points(init: Callable[[Key[Array, ""]], Params], key: Key[Array, ""], chains: int, dtype) -> Params:
    """Independent starts: chain i begins at init(fold_in(key, i)), in the given precision."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(chains))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), jax.jit(jax.vmap(init))(keys))


def batched(function: Callable) -> Callable:
    """A one-point function over a leading axis of each argument, compiled."""
    return jax.jit(jax.vmap(function))


def run_ensemble(
    kernel: Kernel,
    starts: Params,
    observer: Observer,
    *,
    key: Key[Array, ""],
    schedule: Schedule,
    limit: Limit,
    stage: Stage,
    tasks: PyTree = None,
) -> EnsembleResult:
    """Run every chain from its start and reduce its draws on the device.

    Args:
        kernel: the sampler, for one chain.
        starts: parameters with a leading chain axis.
        observer: what is measured at each record, from one chain's state.
        key: the run's key.
        schedule: burn-in, thinning, number of records, segments.
        limit: when a chain has run away.
        stage: its name, progress, chunks, checkpoint, devices.
        tasks: what each chain learns, leading axis the chain; None where all chains share the model's own loss.

    Raises:
        DivergenceError: some chain escaped or became non-finite, in the chunk where it happened.
    """
    chains = jax.tree.leaves(starts)[0].shape[0]
    given = jax.tree.map(np.asarray, (starts, tasks))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), given)
    width = stage.placement.width or width_of(sum(leaf.size for leaf in jax.tree.leaves(like[0])))
    program = BlockProgram(kernel, observer, key, schedule, limit, width, like, stage.placement.ahead)
    if stage.checkpoint is not None:
        stage = replace(stage, checkpoint=stage.checkpoint.of(_content(program, given)))
    host = _Host(program, stage, given, chains)
    host.resume()
    # A signal waits for the end of a chunk, and its state is then saved.
    with signals.held() if stage.checkpoint is not None else nullcontext():
        host.run()
    return host.result()


def _content(program: BlockProgram, given: PyTree) -> str:
    """What a run computes, in one digest: its starts, tasks, a step, what is observed, when; not chunks nor threads."""
    kernel, observer = program.kernel, program.observer

    def observed(state: Any) -> Any:
        draw = observer.observe(state)
        updated = observer.accumulator.update(observer.accumulator.init(), draw)
        return updated, observer.traced(draw), program.limit.escaped(state.position)

    def computed(params: Params, task: PyTree, key: Key[Array, ""]) -> Any:
        state = kernel.init(params, task)
        noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1))
        return kernel.step(noise, state, task), observed(state)

    computes = content_of(computed, *program.like, program.key)
    about = f"{program.schedule} {program.width} {observer.stride(program.schedule)} {kernel.source} {computes}"
    digest = hashlib.sha256(about.encode())
    for values in (np.asarray(jax.random.key_data(program.key)), *jax.tree.leaves(given)):
        digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


@dataclass
class _Block:
    """Chains that go together, and how far they are.

    Attributes:
        index: first of all blocks is 0.
        chains: those that are the run's; others fill the block up, and are dropped.
        starts, tasks: of all of them.
        carry: on the device; None before it has begun.
        empty: accumulators of no draw, on the host.
        burned, recorded: steps of the burn-in, and records, that have been done.
        finished: accumulators of the segments that are over, on the host.
        trace: rows of those chains that are traced.
        pace: seconds that a step takes, None where it is not known.
    """

    index: int
    chains: int
    starts: PyTree
    tasks: PyTree
    carry: Carry | None = None
    empty: Any = None
    burned: int = 0
    recorded: int = 0
    finished: list[Any] = field(default_factory=list)
    trace: dict[str, np.ndarray] = field(default_factory=dict)
    pace: float | None = None
    busy: bool = False


class _Host:
    """A run on its way."""

    def __init__(self, program: BlockProgram, stage: Stage, given: PyTree, chains: int):
        self.program, self.stage, self.schedule, self.chains = program, stage, program.schedule, chains
        self.together = program.driver.together
        self.stride = program.observer.stride(program.schedule)
        self.blocks = list(_blocks(given, chains, program.width))
        devices = _devices(stage.placement)
        self.threads = min(len(self.blocks), stage.placement.threads or max(len(devices), _cores(devices)))
        self.devices = devices[: self.threads]
        self.until = self.schedule.steps  # where blocks stop for the others to come up
        self.programs = {device: self._compiled(device) for device in self.devices}

    def _compiled(self, device: Any) -> Programs:
        with jax.default_device(device):
            return self.program.compiled()

    # ---- where blocks stand ----

    def steps_of(self, block: _Block) -> int:
        """Steps that its chains have done."""
        return block.burned + block.recorded * self.schedule.thin

    @property
    def steps(self) -> int:
        """Steps done, of each chain, on an average."""
        return sum(self.steps_of(block) for block in self.blocks) // len(self.blocks)

    def resume(self) -> None:
        """Go on from the state that was saved, if there is one that fits."""
        checkpoint = self.stage.checkpoint
        saved = None if checkpoint is None else checkpoint.load()
        if checkpoint is None or saved is None:
            return
        leaves = iter(saved.leaves)
        states = zip(self.blocks, saved.at["burned"], saved.at["recorded"], strict=True)
        try:
            standing = [(block, *self._read(block, burned, recorded, leaves)) for block, burned, recorded in states]
            if next(leaves, None) is not None:
                raise ValueError("it holds more than this run does")
        except (StopIteration, ValueError) as error:
            checkpoint.refuse(str(error) or "it holds less than this run does")
            return
        for block, carry, finished, trace in standing:
            block.carry, block.finished, block.trace = carry, finished, trace
        for block, burned, recorded in zip(self.blocks, saved.at["burned"], saved.at["recorded"], strict=True):
            block.burned, block.recorded = burned, recorded
        checkpoint.say_resumed(self.stage.name, self.steps, self.schedule.steps)

    def _read(self, block: _Block, burned: int, recorded: int, leaves: Iterator[np.ndarray]) -> tuple[Any, list, dict]:
        """What a block was, from the leaves of a saved state."""
        del burned

        def taken(like: Any) -> Any:
            def one(wanted: Any) -> np.ndarray:
                leaf = next(leaves)
                if leaf.shape != wanted.shape or leaf.dtype != wanted.dtype:
                    raise ValueError(f"an array is {leaf.dtype}{leaf.shape}, not {wanted.dtype}{wanted.shape}")
                return leaf

            return jax.tree.map(one, like)

        begun = self._begun(block)
        carry = taken(begun._replace(trace=None))
        finished = [taken(block.empty) for end in self.schedule.segments if end <= recorded]
        trace = taken(block.trace)
        placed = jax.tree.map(lambda leaf, here: jax.device_put(leaf, here.sharding), carry, begun._replace(trace=None))
        return placed._replace(trace=begun.trace), finished, trace

    # ---- the way ----

    def run(self) -> None:
        """All blocks, the one that is furthest behind first, until they are through or one has failed."""
        free = list(range(self.threads))
        pending: dict[Future, tuple[_Block, int]] = {}
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                pausing = False  # for a state to be saved
                while True:
                    for block in [] if pausing else self._waiting()[: len(free)]:
                        block.busy, slot = True, free.pop()
                        device = self.devices[slot % len(self.devices)]
                        pending[pool.submit(self._advance, block, device)] = block, slot
                    if not pending:
                        break
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        block, slot = pending.pop(future)
                        free.append(slot)
                        block.busy = False
                        future.result()
                        self._look(block)
                    pausing = self._is_time()
                    if pausing and not pending:
                        self._keep()
                        pausing = False
            except BaseException:
                wait(pending)
                raise
        self._fail()

    def _waiting(self) -> list[_Block]:
        """Blocks that may go on, the one that is furthest behind first."""
        able = [block for block in self.blocks if not block.busy and self.steps_of(block) < self.until]
        return sorted(able, key=self.steps_of)

    def _is_time(self) -> bool:
        checkpoint = self.stage.checkpoint
        return signals.asked() or (checkpoint is not None and checkpoint.due())

    def _keep(self) -> None:
        """Save the state while all blocks rest; then stop, if a signal has asked for it."""
        checkpoint = self.stage.checkpoint
        if checkpoint is not None:
            leaves, steps = [], self.schedule.steps
            for block in self.blocks:
                # The trace's buffer stays out: its rows are on the host already.
                carry = self._begun(block)._replace(trace=None)
                leaves += jax.tree.leaves((carry, block.finished, block.trace))
            at = {name: [getattr(block, name) for block in self.blocks] for name in ("burned", "recorded")}
            checkpoint.save(at, [np.asarray(leaf) for leaf in leaves])
            signals.note(checkpoint.path, self.stage.name, self.steps, steps)
        signals.check()

    def _look(self, block: _Block) -> None:
        """Whether its chains are where they may be; tell how far all are."""
        if self._bad_of(block).size:  # the others come as far, so that all that have run away by then are counted
            self.until = min(self.until, self.steps_of(block))
        elif self.stage.progress is not None:
            self.stage.progress(self.steps, self.schedule.steps)

    def _bad_of(self, block: _Block) -> np.ndarray:
        """The steps by which chains of a block were found bad."""
        first_bad = np.array(self._begun(block).first_bad)[: block.chains]
        return first_bad[first_bad >= 0]

    def _fail(self) -> None:
        """If chains have run away."""
        found = [
            (int(step), block.index * self.program.width + i)
            for block in self.blocks
            for i, step in enumerate(np.array(self._begun(block).first_bad)[: block.chains])
            if step >= 0
        ]
        if found:
            (step, chain), limit = min(found), self.program.limit
            raise DivergenceError(
                self.stage.name, len(found), self.chains, step, limit.step_size, limit.remedy,
                place=f"chain {chain}, block {chain // self.program.width}",
            )  # fmt: skip

    # ---- one block, in a thread ----

    def _begun(self, block: _Block, device: Any = None) -> Carry:
        """Its chains, at their starts if they have not begun."""
        if block.carry is not None:
            return block.carry
        device = device or self.devices[0]
        block.carry = self.programs[device].begin(block.starts, block.tasks, np.int64(block.index))
        block.empty = jax.tree.map(np.array, block.carry.accumulated)
        block.burned = self.schedule.burn_in % self.together
        traced = min(max(self.program.observer.trace_chains - block.index * self.program.width, 0), block.chains)
        rows = -(-self.schedule.records // self.stride)
        block.trace = {
            name: np.zeros((rows, traced, *buffer.shape[2:]), buffer.dtype)
            for name, buffer in block.carry.trace.items()
        }
        return block.carry

    def _advance(self, block: _Block, device: Any) -> None:
        """Some steps of the burn-in, or some records; JAX's settings belong to a thread."""
        with default_settings():
            self._go_on(block, device)

    def _go_on(self, block: _Block, device: Any) -> None:
        self._begun(block, device)
        before, began = self.steps_of(block), time.perf_counter()
        if block.burned < self.schedule.burn_in:
            self._burn(block, device)
        else:
            self._record(block, device)
        done = self.steps_of(block) - before
        if done:
            block.pace = (time.perf_counter() - began) / done

    def _wanted(self, block: _Block) -> int:
        """Steps of the next call."""
        if block.pace is None:
            return FIRST_STEPS
        moment = max(LEAST_CALL_S, ROUND_S * self.threads / len(self.blocks))
        return max(1, int(moment / max(block.pace, 1e-12)))

    def _call(self, block: _Block, device: Any, calls: int, rest: int, records: int) -> Carry:
        numbers = Advance(self.steps_of(block), calls, rest, block.recorded, records)
        carry = self._begun(block, device)
        block.carry = None  # given away
        return jax.block_until_ready(
            self.programs[device].advance(carry, block.tasks, Advance(*map(np.int64, numbers)))
        )

    def _burn(self, block: _Block, device: Any) -> None:
        left = (self.schedule.burn_in - block.burned) // self.together
        calls = min(left, -(-self._wanted(block) // self.together))
        carry = self._call(block, device, calls, 0, 1)
        block.burned += calls * self.together
        if block.burned == self.schedule.burn_in:  # what was seen on the way is forgotten
            info, still = (jax.tree.map(jnp.zeros_like, part) for part in (carry.info, carry.still))
            carry = carry._replace(info=info, still=still)
        block.carry = carry._replace(accumulated=self._fresh(block, device))

    def _record(self, block: _Block, device: Any) -> None:
        schedule = self.schedule
        end = next(end for end in schedule.segments if end > block.recorded)
        wanted = self.stage.chunk_records or self._wanted(block) // schedule.thin
        records = min(max(1, wanted), CHUNK_RECORDS, end - block.recorded)
        calls, rest = schedule.thin // self.together, int(schedule.thin % self.together > 0)
        carry = self._call(block, device, calls, rest, records)
        _store_trace(block.trace, carry.trace, block.recorded, records, self.stride)
        block.recorded += records
        if block.recorded == end:
            block.finished.append(jax.tree.map(np.array, carry.accumulated))
            carry = carry._replace(accumulated=self._fresh(block, device))
        block.carry = carry

    def _fresh(self, block: _Block, device: Any) -> Any:
        return jax.device_put(block.empty, device)

    # ---- the end ----

    def result(self) -> EnsembleResult:
        """What is left."""
        carries = [self._begun(block) for block in self.blocks]
        taken = self.schedule.records * self.schedule.thin

        def joined(parts: Sequence[Any]) -> Any:
            return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves])[: self.chains], *parts)

        info, still = (joined(parts) for parts in zip(*((c.info, c.still) for c in carries), strict=True))
        traces = [block.trace for block in self.blocks]
        return EnsembleResult(
            segments=[joined(ended) for ended in zip(*(block.finished for block in self.blocks), strict=True)],
            trace={name: np.swapaxes(np.concatenate([t[name] for t in traces], axis=1), 0, 1) for name in traces[0]},
            info={name: total / taken for name, total in info._asdict().items()},
            position=joined([carry.state.position for carry in carries]),
            still=Stillness(still.longest * self.schedule.thin, still.until),
            engine=Engine(self.threads, self.program.width, self._idle()),
        )

    def _idle(self) -> str | None:
        cores, count = _cores(self.devices), len(self.blocks)
        if self.stage.placement.threads is not None or self.threads >= cores:
            return None
        blocks = "one block" if count == 1 else f"{count} blocks"
        verb = "was" if self.threads == 1 else "were"
        return (
            f"{self.threads} of {cores} cores {verb} used: {self.chains} chains are {blocks} of {self.program.width}, "
            "each of which one thread takes"
        )


def _blocks(given: PyTree, chains: int, width: int) -> Iterator[_Block]:
    """The chains in blocks; the last one is filled up with more of the first ones, whose results are dropped."""
    for index, first in enumerate(range(0, chains, width)):
        places = np.arange(first, first + width) % chains
        starts, tasks = jax.tree.map(lambda leaf, places=places: leaf[places], given)
        yield _Block(index, min(width, chains - first), starts, tasks)


def _devices(placement: Placement) -> list[Any]:
    """Those that blocks run on: of a processor, one, which every thread has for itself."""
    devices = list(in_use() if placement.devices is None else placement.devices)
    return devices if placement.devices is not None or devices[0].platform != "cpu" else devices[:1]


def _cores(devices: Sequence[Any]) -> int:
    return len(usable_cores()) if devices[0].platform == "cpu" else 1


def _store_trace(trace: dict[str, np.ndarray], buffer: dict[str, Any], first: int, count: int, stride: int) -> None:
    """Copy the chunk's rows to the host; a row shared with the next chunk is overwritten by it, as one call would."""
    low, high = first // stride, (first + count - 1) // stride + 1
    for name, rows in trace.items():
        if rows.shape[1]:
            rows[low:high] = np.asarray(buffer[name][: high - low, : rows.shape[1]])
