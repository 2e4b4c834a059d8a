"""Many chains at once: blocks of them, a thread for each core, and what the host has of them.

An ensemble comes in blocks of one shape (`program.py`), the last one filled up. On a processor a chain's path depends
on the run's key and its own index only: to the last bit the same for any number of chains, threads and processes, and
any chunk; on an accelerator, whose blocks are as large as the ensemble, up to rounding for streams. Draws are reduced
on the device as they come; memory does not grow with the number of steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key, PyTree

from langevin_ib import signals
from langevin_ib.devices import in_use, usable_cores
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.drivers import SCALAR_WIDTH
from langevin_ib.ensemble.program import CHUNK_RECORDS, Advance, BlockProgram, Carry
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Placement, Schedule, Stage
from langevin_ib.ensemble.workers import Done, Remote, Threads, Workers
from langevin_ib.errors import DivergenceError
from langevin_ib.models.base import Params
from langevin_ib.models.fingerprint import content_of
from langevin_ib.stages import Engine, Stillness

ROUND_S = 0.5  # in which all blocks take their turn: often enough for a progress bar, a signal and a divergence
ACCELERATOR_WIDTH = 2**16  # chains of a block, at most
LOOK_S = 1.0  # after which a signal is seen, whoever answers
FIRST_STEPS = 256  # of a block, from which its pace is learnt


def starting_points(init: Callable[[Key[Array, ""]], Params], key: Key[Array, ""], chains: int, dtype) -> Params:
    """Independent starts: chain i begins at init(fold_in(key, i)), in the given precision."""

    def start(key: Key[Array, ""], i: Any) -> Params:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), init(jax.random.fold_in(key, i)))

    return jax.jit(jax.vmap(start, in_axes=(None, 0)))(key, np.arange(chains))


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
    """Run every chain from its start and reduce its draws on the device: `Ensemble(…).run()`.

    Raises:
        DivergenceError: some chain escaped or became non-finite, in the chunk where it happened.
    """
    given = {"key": key, "schedule": schedule, "limit": limit, "stage": stage, "tasks": tasks}
    return Ensemble(kernel, starts, observer, **given).run()


class Ensemble:
    """Chains that are to run; their programs may be compiled before, in another thread.

    Args:
        kernel: the sampler, for one chain.
        starts: parameters with a leading chain axis.
        observer: what is measured at each record, from one chain's state.
        key: the run's key.
        schedule: burn-in, thinning, number of records, segments.
        limit: when a chain has run away.
        stage: its name, progress, chunks, checkpoint, devices.
        tasks: what each chain learns, leading axis the chain; None where all chains share the model's own loss.
    """

    def __init__(
        self,
        kernel: Kernel,
        starts: Params,
        observer: Observer,
        *,
        key: Key[Array, ""],
        schedule: Schedule,
        limit: Limit,
        stage: Stage,
        tasks: PyTree = None,
    ):
        self._given = jax.tree.map(np.asarray, (starts, tasks))
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self._given)
        width, ahead = _width(stage.placement, jax.tree.leaves(starts)[0].shape[0]), stage.placement.ahead
        self._program = BlockProgram(kernel, observer, key, schedule, limit, like, width, ahead)
        self._stage = stage
        self._host: _Host | None = None

    def compiled(self) -> Ensemble:
        """The same, with its programs compiled and its chains at their starts."""
        if self._host is None:
            chains, stage = jax.tree.leaves(self._given)[0].shape[0], self._stage
            if stage.checkpoint is not None:
                stage = replace(stage, checkpoint=stage.checkpoint.of(_content(self._program, self._given)))
            self._host = _Host(self._program, stage, self._given, chains)
        return self

    def run(self) -> EnsembleResult:
        """All of it.

        Raises:
            DivergenceError: some chain escaped or became non-finite, in the chunk where it happened.
        """
        host = self.compiled()._host
        assert host is not None
        host.tell()
        host.resume()
        # A signal waits for the end of a chunk, and its state is then saved.
        with signals.held() if self._stage.checkpoint is not None else nullcontext():
            host.run()
        return host.result()


def _content(program: BlockProgram, given: PyTree) -> str:
    """What a run computes, in one digest: its starts, tasks, a step, what is observed, when; not chunks nor threads.

    Nor how long it is: a longer run takes the same steps first.
    """
    kernel, observer = program.kernel, program.observer

    def observed(state: Any) -> Any:
        draw = observer.observe(state)
        updated = observer.accumulator.update(observer.accumulator.init(), draw)
        rare = (
            None
            if observer.rare is None
            else observer.rare.update(updated[observer.rare.name], observer.rare.observe(state))
        )
        return updated, rare, observer.traced(draw), program.limit.escaped(state.position)

    def computed(params: Params, task: PyTree, key: Key[Array, ""]) -> Any:
        state = kernel.init(params, task)
        noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1))
        return kernel.step(noise, state, task), observed(state)

    computes = content_of(computed, *program.like, program.key)
    schedule = program.schedule
    about = f"{schedule.burn_in} {schedule.thin} {program.width} {kernel.source} {computes}"
    if observer.rare is not None:
        about += f" {observer.rare.every}"
    digest = hashlib.sha256(about.encode())
    for values in (np.asarray(jax.random.key_data(program.key)), *jax.tree.leaves(given)):
        digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


@dataclass
class _Block:
    """Chains that go together, and how far they are.

    Attributes:
        index: of the first of all blocks 0.
        chains: those that are the run's; others fill the block up, and are dropped.
        carry: arrays of its state.
        tasks: arrays of what its chains learn.
        traced: of its chains, those of which draws are kept.
        trace: these, rows first.
        burned, recorded: steps of the burn-in, and records, that have been done.
        finished: accumulators of the segments that are over.
        taken: steps that its programs were told to take, whatever was made of them.
        pace: seconds that a step takes, None where it is not known.
        busy: whether somebody is at it.
    """

    index: int
    chains: int
    carry: list[Any]
    tasks: list[Any]
    traced: int
    trace: dict[str, np.ndarray]
    burned: int
    recorded: int = 0
    finished: list[Any] = field(default_factory=list)
    taken: int = 0
    pace: float | None = None
    busy: bool = False


class _Layout(NamedTuple):
    """Of a saved state: records at which its run's segments end, and from one row of its trace to the next."""

    ends: tuple[int, ...]
    stride: int


class _Host:
    """A run on its way."""

    def __init__(self, program: BlockProgram, stage: Stage, given: PyTree, chains: int):
        self.program, self.stage, self.schedule, self.chains = program, stage, program.schedule, chains
        self.together = program.driver.together
        self.stride = program.observer.stride(self.schedule)
        self.structure = jax.tree.structure(program.shapes[0])
        self.until = self.schedule.steps  # where blocks stop for the others to come up
        self.progress = stage.progress
        self.blocks = self._begun(given)
        self.spread = _spread(given[0])
        self.empty = jax.tree.map(np.array, self.carry_of(self.blocks[0]).accumulated)
        self.workers = _workers(program, stage.placement, len(self.blocks))

    def _begun(self, given: PyTree) -> list[_Block]:
        """All chains at their starts; the last block is filled up with more of the first ones."""
        program, blocks = self.program, []
        begin, width = program.begin_compiled(), program.width
        rows = -(-self.schedule.records // self.stride)
        for index, first in enumerate(range(0, self.chains, width)):
            places = np.arange(first, first + width) % self.chains
            starts, tasks = jax.tree.map(lambda leaf, places=places: leaf[places], given)
            chains = min(width, self.chains - first)
            traced = min(max(program.observer.trace_chains - first, 0), chains)
            trace = {
                name: np.zeros((rows, traced, *rows_of.shape[2:]), rows_of.dtype)
                for name, rows_of in program.shapes[1].items()
            }
            carry = jax.tree.leaves(begin(starts, tasks, np.int64(index)))
            burned = self.schedule.burn_in % self.together
            block = _Block(index, chains, carry, jax.tree.leaves(tasks), traced, trace, burned)
            block.taken = self.schedule.burn_in % program.driver.together  # by `begin`
            blocks.append(block)
        return blocks

    def tell(self) -> None:
        """Say that the stage begins."""
        self.progress = self.stage.progress
        if self.progress is None and self.stage.report is not None:
            self.progress = self.stage.report(self.stage.name)

    # ---- where blocks stand ----

    def carry_of(self, block: _Block) -> Carry:
        """Its state."""
        return jax.tree.unflatten(self.structure, block.carry)

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
        try:
            theirs = _Layout(tuple(saved.at["ends"]), *saved.at["stride"])
            states = list(zip(self.blocks, saved.at["burned"], saved.at["recorded"], strict=True))
            standing = [self._read(block, recorded, leaves, theirs) for block, _, recorded in states]
            if next(leaves, None) is not None:
                raise ValueError("it holds more than this run does")
        except (KeyError, StopIteration, TypeError, ValueError) as error:
            checkpoint.refuse(str(error) or "it holds less than this run does", saved.path)
            return
        for (block, burned, recorded), (carry, finished, trace) in zip(states, standing, strict=True):
            block.burned, block.recorded = burned, recorded
            block.carry, block.finished, block.trace = carry, finished, trace
            block.taken = self.steps_of(block)
        checkpoint.say_resumed(saved, self.stage.name, self.steps, self.schedule.steps)

    def _read(
        self, block: _Block, recorded: int, leaves: Iterator[np.ndarray], theirs: _Layout
    ) -> tuple[list[Any], list[Any], Any]:
        """What a block was, of this run or of a shorter one: its arrays, the segments that were over, its trace."""

        def taken(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            leaf = next(leaves)
            if leaf.shape != shape or leaf.dtype != dtype:
                raise ValueError(f"an array is {leaf.dtype}{leaf.shape}, not {dtype}{shape}")
            return leaf

        carry = [taken(leaf.shape, leaf.dtype) for leaf in block.carry]
        over = [end for end in theirs.ends if end <= recorded]
        finished = [jax.tree.map(lambda leaf: taken(leaf.shape, leaf.dtype), self.empty) for _ in over]
        if over and over[-1] not in self.schedule.segments:  # a shorter run's last, which goes on here
            opened = jax.tree.unflatten(self.structure, carry)._replace(accumulated=finished.pop())
            carry = jax.tree.leaves(opened)
            over.pop()
        if tuple(over) != tuple(end for end in self.schedule.segments if end <= recorded):
            raise ValueError("its stretches end elsewhere")
        rows = -(-theirs.ends[-1] // theirs.stride)
        trace = {
            name: self._thinned(taken((rows, *kept.shape[1:]), kept.dtype), kept, recorded, theirs.stride)
            for name, kept in sorted(block.trace.items())
        }
        return carry, finished, trace

    def _thinned(self, theirs: np.ndarray, kept: np.ndarray, recorded: int, stride: int) -> np.ndarray:
        """Their rows of the trace as this run has them: of those that share a row, the last."""
        if self.stride % stride:
            raise ValueError(f"its trace has every {stride} records, this run's every {self.stride}")
        full = -(-recorded // stride)
        rows = np.arange(-(-recorded // self.stride))
        kept = kept.copy()
        kept[rows] = theirs[np.minimum((rows + 1) * (self.stride // stride), full) - 1]
        return kept

    # ---- the way ----

    def run(self) -> None:
        """All blocks, the one that is furthest behind first, until they are through or one has failed."""
        pending: dict[Future[Done], tuple[_Block, Advance]] = {}
        pausing = False  # for a state to be saved
        with self.workers as workers:
            try:
                while True:
                    for block in [] if pausing else self._waiting()[: workers.count - len(pending)]:
                        numbers = self._next(block)
                        block.busy = True
                        future = workers.submit(block.carry, block.tasks, numbers, block.traced > 0)
                        pending[future] = block, numbers
                    if not pending:
                        break
                    done = wait(pending, timeout=LOOK_S, return_when=FIRST_COMPLETED).done
                    for future in done:
                        self._take(future.result(), *pending.pop(future))
                    if not done and workers.may_hang and signals.asked():
                        self._abandon(pending)
                    pausing = self._is_time()
                    if pausing and not pending:
                        self._keep()
                        pausing = False
            except BaseException:
                if not workers.may_hang:
                    wait(pending)
                raise
        self._fail()

    @staticmethod
    def _abandon(pending: dict[Future[Done], tuple[_Block, Advance]]) -> None:
        """Wait no longer for who may never answer: their blocks stand where they stood."""
        while pending:
            future, (block, _) = pending.popitem()
            future.cancel()
            block.busy = False

    def _waiting(self) -> list[_Block]:
        """Blocks that may go on, the one that is furthest behind first."""
        able = [block for block in self.blocks if not block.busy and self.steps_of(block) < self.until]
        return sorted(able, key=self.steps_of)

    def _next(self, block: _Block) -> Advance:
        """What a block is to do in its next call: some of the burn-in, or some records of one segment."""
        schedule, first = self.schedule, self.steps_of(block)
        if block.burned < schedule.burn_in:
            left = (schedule.burn_in - block.burned) // self.together
            return Advance(first, min(left, -(-self._wanted(block) // self.together)), 0, 0, 1)
        end = next(end for end in schedule.segments if end > block.recorded)
        wanted = self.stage.chunk_records or self._wanted(block) // schedule.thin
        most = CHUNK_RECORDS if block.traced else end  # for which a call has rows of the trace
        records = min(max(1, wanted), most, end - block.recorded)
        calls, rest = divmod(schedule.thin, self.together)
        return Advance(first, calls, int(rest > 0), block.recorded, records)

    def _wanted(self, block: _Block) -> int:
        """Steps of its next call."""
        if block.pace is None:
            return FIRST_STEPS
        moment = max(self.workers.least_s, ROUND_S * self.workers.count / len(self.blocks))
        return max(1, int(moment / max(block.pace, 1e-12)))

    def _take(self, done: Done, block: _Block, numbers: Advance) -> None:
        """What a call has left: how far it is, whether its chains are where they may be."""
        before = self.steps_of(block)
        block.carry, block.busy = done.carry, False
        rest = numbers.rest * (self.schedule.thin % self.together)
        block.taken += numbers.records * (numbers.calls * self.together + rest)
        if block.burned < self.schedule.burn_in:
            block.burned += numbers.calls * self.together
            carry = self.carry_of(block)._replace(accumulated=self.empty)
            if block.burned == self.schedule.burn_in:  # what was seen on the way is forgotten
                info, still = (jax.tree.map(np.zeros_like, part) for part in (carry.info, carry.still))
                carry = carry._replace(info=info, still=still)
            block.carry = jax.tree.leaves(carry)
        else:
            self._record(done, block, numbers)
        block.pace = done.seconds / (self.steps_of(block) - before)
        if self._bad_of(block).any():  # the others come as far, so that all that have run away by then are counted
            self.until = min(self.until, self.steps_of(block))
        elif self.progress is not None:
            self.progress(self.steps, self.schedule.steps)

    def _record(self, done: Done, block: _Block, numbers: Advance) -> None:
        first, count = numbers.first_record, numbers.records
        low, high = first // self.stride, (first + count - 1) // self.stride + 1
        # A row that is shared with the next call is overwritten by it, as one call would.
        for rows, buffer in zip(block.trace.values(), done.trace or [], strict=block.traced > 0):
            rows[low:high] = buffer[: high - low, : block.traced]
        block.recorded += count
        if block.recorded in self.schedule.segments:
            carry = self.carry_of(block)
            block.finished.append(jax.tree.map(np.array, carry.accumulated))
            block.carry = jax.tree.leaves(carry._replace(accumulated=self.empty))

    def _bad_of(self, block: _Block) -> np.ndarray:
        """Which of its chains were found bad."""
        return np.array(self.carry_of(block).first_bad)[: block.chains] >= 0

    def _is_time(self) -> bool:
        checkpoint, ended = self.stage.checkpoint, self.steps == self.schedule.steps
        return signals.asked() or (checkpoint is not None and checkpoint.due(ended=ended))

    def _keep(self) -> None:
        """Save the state while all blocks rest; then stop, if a signal has asked for it."""
        checkpoint = self.stage.checkpoint
        if checkpoint is not None:
            leaves = jax.tree.leaves([(block.carry, block.finished, block.trace) for block in self.blocks])
            at = {name: [getattr(block, name) for block in self.blocks] for name in ("burned", "recorded")}
            at |= {"ends": list(self.schedule.segments), "stride": [self.stride]}
            ended = self.steps == self.schedule.steps
            if checkpoint.save(at, [np.asarray(leaf) for leaf in leaves], ended=ended):
                signals.note(checkpoint.path, self.stage.name, self.steps, self.schedule.steps)
        signals.check()

    def _fail(self) -> None:
        """If chains have run away."""
        found = [
            (int(step), block.index * self.program.width + i)
            for block in self.blocks
            for i, step in enumerate(np.array(self.carry_of(block).first_bad)[: block.chains])
            if step >= 0
        ]
        if found:
            (step, chain), limit = min(found), self.program.limit
            raise DivergenceError(
                self.stage.name, len(found), self.chains, step, limit.step_size, limit.remedy,
                place=f"chain {chain}, block {chain // self.program.width}",
            )  # fmt: skip

    # ---- the end ----

    def result(self) -> EnsembleResult:
        """What is left."""
        taken = self.schedule.records * self.schedule.thin

        def joined(parts: Sequence[Any]) -> Any:
            return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves])[: self.chains], *parts)

        carries = [self.carry_of(block) for block in self.blocks]
        info, still = (joined(parts) for parts in zip(*((c.info, c.still) for c in carries), strict=True))
        traces = [block.trace for block in self.blocks]
        return EnsembleResult(
            segments=[joined(ended) for ended in zip(*(block.finished for block in self.blocks), strict=True)],
            trace={name: np.swapaxes(np.concatenate([t[name] for t in traces], axis=1), 0, 1) for name in traces[0]},
            info={name: total / taken for name, total in info._asdict().items()},
            position=joined([carry.state.position for carry in carries]),
            still=Stillness(still.longest * self.schedule.thin, still.until),
            engine=Engine(
                self.workers.count,
                self.program.width,
                self._idle(),
                tuple(sorted({block.taken for block in self.blocks})),
                self.spread,
            ),
        )

    def _idle(self) -> str | None:
        placement, count, used = self.stage.placement, len(self.blocks), self.workers.count
        cores = _cores(_devices(placement))
        if placement.threads is not None or placement.executor is not None or used >= cores:
            return None
        blocks = "one block" if count == 1 else f"{count} blocks"
        verb = "was" if used == 1 else "were"
        return (
            f"{used} of {cores} cores {verb} used: the run's {self.chains} chains are {blocks} of up to "
            f"{self.program.width}, each of which one thread takes"
        )


def _spread(starts: PyTree) -> bool:
    """Whether they are more than one point."""
    return any(bool(np.any(leaf != leaf[:1])) for leaf in jax.tree.leaves(starts))


def _width(placement: Placement, chains: int) -> int | None:
    """Chains of a block, where that is not left to the driver: an accelerator takes as many as there are."""
    if placement.width is not None or _devices(placement)[0].platform == "cpu":
        return placement.width
    return min(-(-chains // SCALAR_WIDTH) * SCALAR_WIDTH, ACCELERATOR_WIDTH)


def _workers(program: BlockProgram, placement: Placement, blocks: int) -> Workers:
    if placement.executor is not None:
        return Remote(program, placement.executor, min(blocks, placement.threads or blocks))
    devices = _devices(placement)
    return Threads(program, devices, min(blocks, placement.threads or max(len(devices), _cores(devices))))


def _devices(placement: Placement) -> list[Any]:
    """Those that blocks run on: of a processor, one, which every thread has for itself."""
    devices = list(in_use() if placement.devices is None else placement.devices)
    return devices if placement.devices is not None or devices[0].platform != "cpu" else devices[:1]


def _cores(devices: Sequence[Any]) -> int:
    return len(usable_cores()) if devices[0].platform == "cpu" else 1
