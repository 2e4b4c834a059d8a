"""Many chains at once: the only place with `vmap`, loops over steps, sharding and buffer donation.

What drives the chains stands in `drivers`. By default chain i at step n takes row i of `kernel.draw(fold_in(key, n),
chains)`, so its noise depends on the key and on its own index only: not on the number of chains, devices or chunks. Its
path is the same to the last bit for any chunk, and up to rounding for another number of chains or devices, for each of
which XLA compiles a program of its own. Draws are reduced on the device as they come; memory does not grow with the
number of steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Key, PyTree

from langevin_ib import signals
from langevin_ib.devices import in_use, load_blackjax
from langevin_ib.dynamics.increments import NORMAL
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.accumulators import Accumulator
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.drivers import Batches, Driver, Moving, Streams
from langevin_ib.errors import DivergenceError
from langevin_ib.models.base import Params
from langevin_ib.models.fingerprint import content_of
from langevin_ib.stages import Progress

TRACE_ROWS = 512  # draws kept of each traced chain, however long the run
TRACE_CHAINS = 256
CHUNK_CHAIN_STEPS = 2e7  # about a third of a second on two cores: often enough for a progress bar and a divergence
CHUNK_RECORDS = 256


@dataclass(frozen=True)
class Schedule:
    """When draws are recorded: after `burn_in` steps, one every `thin` steps, `records` times.

    `segments` are increasing record counts, the last equal to `records`: the stretches whose statistics are kept apart.
    """

    burn_in: int
    thin: int
    records: int
    segments: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.records < 1 or self.segments[-1] != self.records or list(self.segments) != sorted(set(self.segments)):
            raise ValueError(f"segments {self.segments} must increase up to records = {self.records} ≥ 1")

    @property
    def steps(self) -> int:
        """Steps that each chain takes."""
        return self.burn_in + self.records * self.thin


@dataclass(frozen=True)
class Observer:
    """What is measured on one chain: its state ↦ a draw, the draws' accumulator, and the part of a draw that is traced.

    The state is the kernel's: parameters as `state.position`, beside it what the kernel remembers, as an optimiser's
    momentum. Of `trace_chains` chains at most, `trace_rows` draws at most are kept.
    """

    observe: Callable[[Any], Any]
    accumulator: Accumulator
    traced: Callable[[Any], dict[str, Float[Array, "..."]]]
    trace_chains: int = TRACE_CHAINS
    trace_rows: int = TRACE_ROWS


def nowhere(params: Params) -> Bool[Array, ""]:
    """No bound: a rejected proposal, for one, cannot carry a chain away."""
    del params
    return jnp.asarray(False)


@dataclass(frozen=True)
class Limit:
    """When a chain has run away, and what the error then says.

    Attributes:
        step_size: named in the error.
        escaped: θ ↦ True where a chain has run away; non-finite parameters count as escaped in any case. Of parameters
            and not of the state: the bound is one on them, whatever kernel moves them.
        remedy: what the error advises.
    """

    step_size: float
    escaped: Callable[[Params], Bool[Array, ""]] = nowhere
    remedy: str = "use a smaller step_size"


@dataclass(frozen=True)
class Placement:
    """Where chains run, how a step is compiled, and how many are drawn for at a time.

    Devices and `ahead` change no draw, but how what is done with them is rounded. `width` does under JAX's older layout
    of random numbers (`jax_threefry_partitionable` off), by which a chain's depend on how many are drawn for.

    Attributes:
        devices: to spread the chains over; by default all of them, or the one that is JAX's default.
        ahead: whether a step's noise is drawn during the one before, so that it stands in memory: faster where the
            gradient reads it several times, slower for small models, whose draws are best fused into their use.
        width: chains are filled up to a multiple of it, as for devices: any smaller number takes the same program.
    """

    devices: Sequence[Any] | None = None
    ahead: bool = False
    width: int = 1


@dataclass(frozen=True)
class Stage:
    """A long stage of a run, to whoever waits for it; none of it changes a number.

    Attributes:
        name: in errors.
        progress: called with (steps done, steps in all) after each chunk.
        chunk_records: records per device call: how often the host looks.
        checkpoint: where to save the state now and then, and to resume from.
        placement: where its chains run.
    """

    name: str
    progress: Progress | None = None
    chunk_records: int | None = None
    checkpoint: Checkpoint | None = None
    placement: Placement = Placement()


class EnsembleResult(NamedTuple):
    """Everything a run leaves: statistics per segment (chain axis first), a thinned trace, the mean of the info."""

    segments: list[Any]
    trace: dict[str, Float[np.ndarray, "chain draw ..."]]
    info: dict[str, Float[np.ndarray, " chain"]]
    position: Params
    devices: int


class _Carry(NamedTuple):
    memory: Any  # the driver's
    state: Any
    accumulated: Any
    info: Any
    first_bad: Any  # (chain,): the step by which a chain was first found bad, −1 if never
    trace: Any


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
        key: the run's key; step n uses fold_in(key, n).
        schedule: burn-in, thinning, number of records, segments.
        limit: when a chain has run away.
        stage: its name, progress, chunks, checkpoint, devices.
        tasks: what each chain learns, leading axis the chain; None where all chains share the model's own loss.

    Raises:
        DivergenceError: some chain escaped or became non-finite, in the chunk where it happened.
    """
    ensemble = _Ensemble(kernel, starts, tasks, observer, key, schedule, limit)
    if stage.checkpoint is not None:
        stage = replace(stage, checkpoint=stage.checkpoint.of(_content(ensemble, stage.placement.width)))
    chains = ensemble.chains
    sharding, used = chain_sharding(chains, stage.placement.devices)
    spread = _Spread(chains, -chains % math.lcm(used, stage.placement.width))
    starts, tasks = jax.tree.map(jnp.asarray, spread.filled((starts, tasks)))
    chunk = stage.chunk_records or int(np.clip(CHUNK_CHAIN_STEPS // (chains * schedule.thin), 1, CHUNK_RECORDS))
    stride = -(-schedule.records // observer.trace_rows)
    filled = replace(ensemble, starts=starts, tasks=tasks)
    programs = _Compiled(filled, sharding, chunk, stride, stage.placement.ahead).programs()
    host = _Host(filled, stage, spread, programs, chunk, stride)
    host.resume()
    # A signal waits for the end of a chunk, and its state is then saved.
    with signals.held() if stage.checkpoint is not None else nullcontext():
        host.burn_in()
        host.record()
    return host.result(used)


@dataclass(frozen=True)
class _Ensemble:
    """What a run computes; see `run_ensemble`."""

    kernel: Kernel
    starts: Params
    tasks: PyTree
    observer: Observer
    key: Key[Array, ""]
    schedule: Schedule
    limit: Limit

    @property
    def chains(self) -> int:
        return jax.tree.leaves(self.starts)[0].shape[0]


class _Host:
    """A run on its way: where it stands, and what the host has of it."""

    def __init__(
        self, ensemble: _Ensemble, stage: Stage, spread: _Spread, programs: _Programs, chunk: int, stride: int
    ):
        self.schedule, self.limit = ensemble.schedule, ensemble.limit
        self.stage, self.spread, self.programs, self.chunk, self.stride = stage, spread, programs, chunk, stride
        self.carry = programs.begin(jax.device_put(ensemble.starts, programs.sharding))
        self.picked = np.arange(min(spread.chains, ensemble.observer.trace_chains))
        rows = -(-self.schedule.records // stride)
        self.trace = jax.tree.map(lambda b: np.zeros((rows, self.picked.size, *b.shape[2:]), b.dtype), self.carry.trace)
        self.finished: list[Any] = []
        self.recorded, self.burned = 0, self.schedule.burn_in % programs.together

    @property
    def steps(self) -> int:
        """Steps done, of each chain."""
        return self.burned + self.recorded * self.schedule.thin

    def resume(self) -> None:
        """Go on from the state that was saved, if there is one that fits."""
        checkpoint = self.stage.checkpoint
        if checkpoint is None:
            return
        saved = checkpoint.load()
        if saved is None:
            return
        bare, done = self.carry._replace(trace=None), int(np.asarray(saved.at["recorded"]))
        ended = [self.spread.cut(self.carry.accumulated)] * sum(end <= done for end in self.schedule.segments)
        wanted, structure = jax.tree.flatten((self.spread.cut(bare), ended, self.trace))
        if [leaf.shape for leaf in wanted] != [leaf.shape for leaf in saved.leaves]:
            checkpoint.refuse("its arrays are not those of this run")
            return
        self.burned, self.recorded = int(np.asarray(saved.at["burned"])), done
        resumed, self.finished, self.trace = jax.tree.unflatten(structure, saved.leaves)
        placed = jax.tree.map(lambda leaf, here: jax.device_put(leaf, here.sharding), self.spread.filled(resumed), bare)
        self.carry = placed._replace(trace=self.carry.trace)
        checkpoint.say_resumed(self.stage.name, self.steps, self.schedule.steps)

    def burn_in(self) -> None:
        """Steps that are not recorded."""
        while self.burned < self.schedule.burn_in:
            together = self.programs.together
            most = max(1, int(CHUNK_CHAIN_STEPS // (self.spread.chains * together))) * together
            count = min(most, self.schedule.burn_in - self.burned)
            self.carry = self.programs.burn(self.carry, self.burned, count)
            self.burned += count
            self.look()
            self.keep()

    def record(self) -> None:
        """Records, one stretch after the other."""
        for end in self.schedule.segments[len(self.finished) :]:
            while self.recorded < end:
                count = min(self.chunk, end - self.recorded)
                self.carry = self.programs.record(self.carry, self.recorded, count)
                _store_trace(self.trace, self.carry.trace, self.picked, self.recorded, count, self.stride)
                self.recorded += count
                self.look()
                if self.recorded < end:
                    self.keep()
            self.finished.append(self.spread.cut(self.carry.accumulated))
            self.carry = self.carry._replace(accumulated=self.programs.reset())
            self.keep(ended=self.recorded == self.schedule.records)

    def look(self) -> None:
        """Whether all chains are where they may be; tell how far they are."""
        first_bad = self.spread.cut(self.carry.first_bad)
        bad = first_bad[first_bad >= 0]
        if bad.size:
            first, limit = int(bad.min()), self.limit
            raise DivergenceError(self.stage.name, bad.size, self.spread.chains, first, limit.step_size, limit.remedy)
        if self.stage.progress is not None:
            self.stage.progress(self.steps, self.schedule.steps)

    def keep(self, *, ended: bool = False) -> None:
        """Save the state if it is time, or if a signal asks for it."""
        checkpoint = self.stage.checkpoint
        if checkpoint is not None and (signals.asked() or checkpoint.due(ended=ended)):
            # The trace's buffer stays out: its size depends on the chunk, and its rows are on the host already.
            state = self.spread.cut(self.carry._replace(trace=None))
            at = {"burned": self.burned, "recorded": self.recorded}
            if checkpoint.save(at, jax.tree.leaves((state, self.finished, self.trace))):
                signals.note(checkpoint.path, self.stage.name, self.steps, self.schedule.steps)
        signals.check()

    def result(self, devices: int) -> EnsembleResult:
        """What is left."""
        taken = self.schedule.records * self.schedule.thin
        info = {name: total / taken for name, total in self.spread.cut(self.carry.info)._asdict().items()}
        trace = {name: np.swapaxes(rows_first, 0, 1) for name, rows_first in self.trace.items()}
        return EnsembleResult(self.finished, trace, info, self.spread.cut(self.carry.state.position), devices)


class _Spread(NamedTuple):
    """Chains, and those that are added so that every device has as many: more of the same, whose results are dropped.

    Their random numbers are their own. Those of the first `chains` are what they would be without them under JAX's
    partitionable random numbers, which `run_ensemble` has unless its caller has switched to the older layout.
    """

    chains: int
    extra: int

    def filled(self, tree: PyTree) -> PyTree:
        """With the others, that stand where the first ones do."""
        if not self.extra:
            return tree
        places = np.arange(self.chains + self.extra) % self.chains
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[places], tree)

    def cut(self, tree: PyTree) -> PyTree:
        """Without them, on the host."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: self.chains], tree)


def _content(ensemble: _Ensemble, width: int) -> str:
    """What a run computes, in one digest: its starts, tasks, a step, what is observed, when; not chunks nor devices."""
    kernel, observer, chains = ensemble.kernel, ensemble.observer, ensemble.chains

    def observed(state: Any) -> Any:
        draw = observer.observe(state)
        updated = observer.accumulator.update(observer.accumulator.init(), draw)
        return updated, observer.traced(draw), ensemble.limit.escaped(state.position)

    def computed(params: Params, tasks: PyTree, key: Key[Array, ""]) -> Any:
        state = jax.vmap(kernel.init)(params, tasks)
        return jax.vmap(kernel.step)(kernel.draw(key, chains), state, tasks), jax.vmap(observed)(state)

    given = ensemble.starts, ensemble.tasks
    arguments = [np.asarray(jax.random.key_data(ensemble.key)), *map(np.asarray, jax.tree.leaves(given))]
    computes = content_of(computed, *given, ensemble.key)
    digest = hashlib.sha256(f"{ensemble.schedule} {width} {kernel.source} {computes}".encode())
    for values in arguments:
        digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


class _Programs(NamedTuple):
    """The compiled parts of a run, and where its chains lie."""

    begin: Callable[[Params], _Carry]
    burn: Callable[[_Carry, int, int], _Carry]
    record: Callable[[_Carry, int, int], _Carry]
    reset: Callable[[], Any]
    sharding: NamedSharding
    together: int  # burn-in is cut at multiples of it


@dataclass(frozen=True, eq=False)
class _Compiled:
    """A run as programs: `begin` at the starts, `burn` some steps, `record` some draws, `reset` the accumulators.

    The number of steps or records of a call is an argument, not a constant: chunks of any length share a compilation.
    Tasks are constants of the program, which XLA lays out while it compiles: as arguments they made a step of a small
    network 8% slower with label noise and 15% with fresh examples, in a loop's carry they would be copied every time.
    """

    ensemble: _Ensemble
    sharding: NamedSharding
    chunk: int
    stride: int
    ahead: bool

    def programs(self) -> _Programs:
        """All of them."""
        # Named for every leaf: left to the compiler, accumulators were replicated and gathered at each record.
        by_row = NamedSharding(self.sharding.mesh, PartitionSpec(None, "chain"))
        layout = _Carry(*[self.sharding] * 4, first_bad=self.sharding, trace=by_row)
        options = _plain_fusion() if self.ahead else None
        return _Programs(
            begin=jax.jit(self.begin, out_shardings=layout),
            burn=jax.jit(self.burn, donate_argnums=0, out_shardings=layout, compiler_options=options),
            record=jax.jit(self.record, donate_argnums=0, out_shardings=layout, compiler_options=options),
            reset=jax.jit(self.fresh_accumulators, out_shardings=self.sharding),
            sharding=self.sharding,
            together=self.driver.together,
        )

    def fresh_accumulators(self):
        empty = self.ensemble.observer.accumulator.init()
        return jax.tree.map(lambda leaf: jnp.zeros((self.ensemble.chains, *leaf.shape), leaf.dtype) + leaf, empty)

    @cached_property
    def driver(self) -> Driver:
        """What drives the chains."""
        ensemble = self.ensemble
        kernel, tasks = ensemble.kernel, ensemble.tasks
        if kernel.source == NORMAL:
            return Batches(kernel, ensemble.key, ensemble.chains, tasks, self.sharding, self.ahead)
        first = jax.tree.map(lambda leaf: leaf[0], (ensemble.starts, tasks))
        return Streams(kernel, ensemble.key, ensemble.chains, tasks, jax.eval_shape(kernel.init, *first))

    def take_steps(self, carry: _Carry, first_step, count) -> _Carry:
        moved = self.driver.take_steps(Moving(carry.memory, carry.state, carry.info), first_step, count)
        return carry._replace(**moved._asdict())

    def mark(self, state, first_bad, step):
        bad = jax.vmap(lambda x: ~_finite(x) | self.ensemble.limit.escaped(x))(state.position)
        return jnp.where(bad & (first_bad < 0), step, first_bad)

    def burn(self, carry: _Carry, first_step, count) -> _Carry:
        moved = self.take_steps(carry, first_step, count)._replace(info=carry.info)
        return moved._replace(first_bad=self.mark(moved.state, carry.first_bad, first_step + count))

    def record(self, carry: _Carry, first_record, count) -> _Carry:
        schedule, observer = self.ensemble.schedule, self.ensemble.observer

        def make_record(r, carry: _Carry) -> _Carry:
            first_step = schedule.burn_in + r * schedule.thin
            moved = self.take_steps(carry, first_step, schedule.thin)
            draw = jax.vmap(observer.observe)(moved.state)
            row = r // self.stride - first_record // self.stride
            trace = jax.tree.map(
                lambda buffer, x: jax.lax.dynamic_update_index_in_dim(buffer, x, row, 0),
                carry.trace,
                jax.vmap(observer.traced)(draw),
            )
            return moved._replace(
                accumulated=jax.vmap(observer.accumulator.update)(carry.accumulated, draw),
                first_bad=self.mark(moved.state, carry.first_bad, first_step + schedule.thin),
                trace=trace,
            )

        return jax.lax.fori_loop(first_record, first_record + count, make_record, carry)

    def begin(self, starts: Params) -> _Carry:
        ensemble, observer = self.ensemble, self.ensemble.observer
        kernel, tasks = ensemble.kernel, ensemble.tasks
        state = jax.vmap(kernel.init)(starts, tasks)
        noise = jax.eval_shape(lambda: kernel.draw(ensemble.key, ensemble.chains))
        info = jax.eval_shape(lambda n, s: jax.vmap(kernel.step)(n, s, tasks)[1], noise, state)
        traced = jax.eval_shape(jax.vmap(lambda s: observer.traced(observer.observe(s))), state)
        rows = -(-self.chunk // self.stride) + 1
        carry = _Carry(
            memory=self.driver.begin(),
            state=state,
            accumulated=self.fresh_accumulators(),
            info=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float64), info),
            first_bad=jnp.full(ensemble.chains, -1, jnp.int64),
            trace=jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), traced),
        )
        # What of the burn-in is no whole number of calls comes first, so that its chunks may end anywhere.
        rest = ensemble.schedule.burn_in % self.driver.together
        return self.take_steps(carry, 0, rest)._replace(info=carry.info) if rest else carry


def tune_step_size(
    build: Callable[[Float[Array, ""]], Kernel],
    starts: Params,
    *,
    key: Key[Array, ""],
    initial: float,
    stages: tuple[tuple[float, int], ...],
) -> tuple[float, Params]:
    """Dual averaging of one step size towards a target acceptance, pooled over all chains.

    Pooling makes the acceptance of one step a nearly noiseless number, so a few hundred steps settle it. It runs on one
    device: the pooled mean would be a collective at every step, and on a CPU with as many devices as cores XLA was seen
    to deadlock in it.

    Args:
        build: step_size ↦ kernel whose info has `acceptance_rate`.
        initial: first guess of the step size h.
        stages: (target acceptance, steps) of each adaptation, the last of which decides. An early stage with a high
            target takes small steps, so that chains that start where the potential is steep are not left behind.

    Returns:
        The averaged step size and the chains' positions.

    Source: Hoffman & Gelman, JMLR 15 (2014), section 3.2.1, through blackjax.
    """
    chains = jax.tree.leaves(starts)[0].shape[0]
    dual_averaging_adaptation = load_blackjax().adaptation.step_size.dual_averaging_adaptation

    @partial(jax.jit, static_argnames=("target", "steps"))
    def adapt(position, first_step, guess, *, target, steps):
        da_init, da_update, da_final = dual_averaging_adaptation(target)

        def step_and_adapt(n, carry):
            position, adaptation = carry
            kernel = build(jnp.exp(adaptation.log_step_size))
            noise = kernel.draw(jax.random.fold_in(key, n), chains)
            state, info = jax.vmap(kernel.step)(noise, jax.vmap(kernel.init)(position, None), None)
            return state.position, da_update(adaptation, jnp.mean(info.acceptance_rate))

        start = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), da_init(guess))
        start = start._replace(step=jnp.asarray(start.step, jnp.int64))
        position, adaptation = jax.lax.fori_loop(first_step, first_step + steps, step_and_adapt, (position, start))
        return position, da_final(adaptation)

    position, guess, first_step = jax.device_put(starts, in_use()[0]), jnp.asarray(initial, jnp.float64), 0
    for target, steps in stages:
        position, guess = adapt(position, first_step, guess, target=target, steps=steps)
        first_step += steps
    return float(guess), position


def chain_sharding(chains: int, devices: Sequence[Any] | None = None) -> tuple[NamedSharding, int]:
    """Chains spread over all devices, at least one on each; where these do not divide their number, some are added."""
    devices = in_use() if devices is None else devices
    used = min(len(devices), chains)
    used = -(-chains // -(-chains // used))  # none that would hold copies alone
    return NamedSharding(Mesh(np.array(devices[:used]), ("chain",)), PartitionSpec("chain")), used


@cache
def _plain_fusion() -> dict[str, bool | str] | None:
    """XLA without the fusions of its YNNPACK library, which for sums over a few axes fill memory with broadcasts."""
    options: dict[str, bool | str] = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x + 1.0, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:  # an XLA that does not know the option has other fusions
        return None
    return options


def _finite(params: PyTree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


def _store_trace(trace, buffer, picked, first: int, count: int, stride: int) -> None:
    """Copy the chunk's rows to the host; a row shared with the next chunk is overwritten by it, as one call would."""
    low, high = first // stride, (first + count - 1) // stride + 1
    for name, rows_first in buffer.items():
        trace[name][low:high] = np.asarray(rows_first[: high - low, : picked.size])
