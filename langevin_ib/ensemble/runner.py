"""Many chains at once: the only place with `vmap`, loops over steps, sharding and buffer donation.

Chain i at step n takes row i of `kernel.draw(fold_in(key, n), chains)`, so its noise depends on the key and on its own
index only: not on the number of chains, devices or chunks. Its path is the same to the last bit for any chunk, and
up to rounding for another number of chains or devices, for each of which XLA compiles a program of its own. Draws are
reduced on the device as they come; memory does not grow with the number of steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Key, PyTree

from langevin_ib import signals
from langevin_ib.devices import in_use, load_blackjax
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.accumulators import Accumulator
from langevin_ib.ensemble.checkpoint import Checkpoint, Standing
from langevin_ib.errors import DivergenceError
from langevin_ib.models.base import Params
from langevin_ib.models.fingerprint import content_of

TRACE_ROWS = 512  # draws kept of each traced chain, however long the run
TRACE_CHAINS = 256
CHUNK_CHAIN_STEPS = 2e7  # about a third of a second on two cores: often enough for a progress bar and a divergence
CHUNK_RECORDS = 256

Progress = Callable[[int, int], None]  # (done, in all)
Stages = Callable[[str], Progress | None]  # the name of a stage ↦ who is told of its progress


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
    momentum.
    """

    observe: Callable[[Any], Any]
    accumulator: Accumulator
    traced: Callable[[Any], dict[str, Float[Array, "..."]]]


class EnsembleResult(NamedTuple):
    """Everything a run leaves: statistics per segment (chain axis first), a thinned trace, the mean of the info."""

    segments: list[Any]
    trace: dict[str, Float[np.ndarray, "chain draw ..."]]
    info: dict[str, Float[np.ndarray, " chain"]]
    position: Params
    devices: int


class _Carry(NamedTuple):
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
    escaped: Callable[[Params], Bool[Array, ""]],
    stage: str,
    step_size: float,
    tasks: PyTree = None,
    remedy: str = "use a smaller step_size",
    chunk_records: int | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    trace_chains: int = TRACE_CHAINS,
    trace_rows: int = TRACE_ROWS,
    devices: Sequence[Any] | None = None,
    ahead: bool = False,
    width: int = 1,
) -> EnsembleResult:
    """Run every chain from its start and reduce its draws on the device.

    Args:
        kernel: the sampler, for one chain.
        starts: parameters with a leading chain axis.
        observer: what is measured at each record, from one chain's state.
        key: the run's key; step n uses fold_in(key, n).
        schedule: burn-in, thinning, number of records, segments.
        escaped: θ ↦ True where a chain has run away; non-finite parameters count as escaped in any case. Of parameters
            and not of the state: the bound is one on them, whatever kernel moves them.
        stage: named in errors.
        step_size: named in errors.
        tasks: what each chain learns, leading axis the chain; None where all chains share the model's own loss.
        remedy: what an error advises.
        chunk_records: records per device call; changes no number, only how often the host looks.
        progress: called with (steps done, steps in all) after each chunk.
        checkpoint: where to save the state now and then, and to resume from.
        trace_chains: chains whose draws are kept, at most.
        trace_rows: draws kept of each of them, at most.
        devices: to spread the chains over; by default all of them, or the one that is JAX's default.
        ahead: whether a step's noise is drawn during the one before, so that it stands in memory: faster where the
            gradient reads it several times, slower for small models, whose draws are best fused into their use. The
            draws are the same; what is done with them may be rounded otherwise.
        width: chains are filled up to a multiple of it, as for devices: any smaller number takes the same program.

    Raises:
        DivergenceError: some chain escaped or became non-finite, in the chunk where it happened.
    """
    chains = jax.tree.leaves(starts)[0].shape[0]
    sharding, used = chain_sharding(chains, devices)
    spread = _Spread(chains, -chains % math.lcm(used, width))
    if checkpoint is not None:
        checkpoint = checkpoint.of(_content(kernel, starts, tasks, observer, key, schedule, escaped))
    stride = -(-schedule.records // trace_rows)
    rows = -(-schedule.records // stride)
    chunk = chunk_records or int(np.clip(CHUNK_CHAIN_STEPS // (chains * schedule.thin), 1, CHUNK_RECORDS))
    starts, tasks = jax.tree.map(jnp.asarray, spread.filled((starts, tasks)))
    programs = _programs(kernel, observer, escaped, key, schedule, starts, tasks, sharding, chunk, stride, ahead)

    carry = programs.begin(jax.device_put(starts, sharding))
    picked = np.arange(min(chains, trace_chains))
    trace = jax.tree.map(lambda b: np.zeros((rows, picked.size, *b.shape[2:]), b.dtype), carry.trace)

    def look(done_steps: int) -> None:
        first_bad = spread.cut(carry.first_bad)
        bad = first_bad[first_bad >= 0]
        if bad.size:
            raise DivergenceError(stage, bad.size, chains, int(bad.min()), step_size, remedy)
        if progress is not None:
            progress(done_steps, schedule.steps)

    finished, burned, recorded = [], 0, 0
    if checkpoint is not None and (saved := _saved(checkpoint, spread, carry, schedule, trace)) is not None:
        burned, recorded, (carry, finished, trace) = saved
        checkpoint.say_resumed(stage, burned + recorded * schedule.thin, schedule.steps)

    def keep() -> None:
        if checkpoint is not None and (signals.asked() or checkpoint.due()):
            # The trace's buffer stays out: its size depends on the chunk, and its rows are on the host already.
            checkpoint.save(Standing(burned, recorded, (spread.cut(carry._replace(trace=None)), finished, trace)))
            signals.note(checkpoint.path, stage, burned + recorded * schedule.thin, schedule.steps)
        signals.check()

    # A signal waits for the end of a chunk, and its state is then saved.
    with signals.held() if checkpoint is not None else nullcontext():
        while burned < schedule.burn_in:
            count = min(max(1, int(CHUNK_CHAIN_STEPS // chains)), schedule.burn_in - burned)
            carry = programs.burn(carry, burned, count)
            burned += count
            look(burned)
            keep()

        for end in schedule.segments[len(finished) :]:
            while recorded < end:
                count = min(chunk, end - recorded)
                carry = programs.record(carry, recorded, count)
                _store_trace(trace, carry.trace, picked, recorded, count, stride)
                recorded += count
                look(schedule.burn_in + recorded * schedule.thin)
                if recorded < end:
                    keep()
            finished.append(spread.cut(carry.accumulated))
            carry = carry._replace(accumulated=programs.reset())
            keep()

    info = {k: total / (schedule.records * schedule.thin) for k, total in spread.cut(carry.info)._asdict().items()}
    trace = {name: np.swapaxes(rows_first, 0, 1) for name, rows_first in trace.items()}
    return EnsembleResult(finished, trace, info, spread.cut(carry.state.position), used)


class _Spread(NamedTuple):
    """Chains, and those that are added so that every device has as many: more of the same, whose results are dropped.

    Their random numbers are their own; those of the first `chains` are what they would be without them.
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


def _saved(
    checkpoint: Checkpoint, spread: _Spread, carry: _Carry, schedule: Schedule, trace: dict[str, np.ndarray]
) -> Standing | None:
    """The state to go on from, on the devices of `carry`; None without one that fits."""
    bare = carry._replace(trace=None)

    def like(done: int) -> Any:
        ended = [spread.cut(carry.accumulated)] * sum(end <= done for end in schedule.segments)
        return spread.cut(bare), ended, trace

    saved = checkpoint.load(like)
    if saved is None:
        return None
    resumed, finished, rows = saved.tree
    placed = jax.tree.map(lambda leaf, here: jax.device_put(leaf, here.sharding), spread.filled(resumed), bare)
    return saved._replace(tree=(placed._replace(trace=carry.trace), finished, rows))


def _content(
    kernel: Kernel,
    starts: Params,
    tasks: PyTree,
    observer: Observer,
    key: Key[Array, ""],
    schedule: Schedule,
    escaped: Callable[[Params], Bool[Array, ""]],
) -> str:
    """What a run computes, in one digest: its starts, tasks, a step, what is observed, when; not chunks nor devices."""
    chains = jax.tree.leaves(starts)[0].shape[0]

    def observed(state: Any) -> Any:
        draw = observer.observe(state)
        updated = observer.accumulator.update(observer.accumulator.init(), draw)
        return updated, observer.traced(draw), escaped(state.position)

    def computed(params: Params, tasks: PyTree, key: Key[Array, ""]) -> Any:
        state = jax.vmap(kernel.init)(params, tasks)
        return jax.vmap(kernel.step)(kernel.draw(key, chains), state, tasks), jax.vmap(observed)(state)

    arguments = [np.asarray(jax.random.key_data(key)), *map(np.asarray, jax.tree.leaves((starts, tasks)))]
    digest = hashlib.sha256(f"{schedule} {content_of(computed, starts, tasks, key)}".encode())
    for values in arguments:
        digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


class _Programs(NamedTuple):
    """The compiled parts of a run."""

    begin: Callable[[Params], _Carry]
    burn: Callable[[_Carry, int, int], _Carry]
    record: Callable[[_Carry, int, int], _Carry]
    reset: Callable[[], Any]


def _programs(
    kernel: Kernel,
    observer: Observer,
    escaped: Callable[[Params], Bool[Array, ""]],
    key: Key[Array, ""],
    schedule: Schedule,
    starts: Params,
    tasks: PyTree,
    sharding: NamedSharding,
    chunk: int,
    stride: int,
    ahead: bool,
) -> _Programs:
    """Compile one run: `begin` at the starts, `burn` some steps, `record` some draws, `reset` the accumulators.

    The number of steps or records of a call is an argument, not a constant: chunks of any length share a compilation.
    Tasks are constants of the program, which XLA lays out while it compiles: as arguments they made a step of a small
    network 8% slower with label noise and 15% with fresh examples, in a loop's carry they would be copied every time.
    """
    chains = jax.tree.leaves(starts)[0].shape[0]

    def fresh_accumulators():
        empty = observer.accumulator.init()
        return jax.tree.map(lambda leaf: jnp.zeros((chains, *leaf.shape), leaf.dtype) + leaf, empty)

    def noise_of(n):
        return kernel.draw(jax.random.fold_in(key, n), chains)

    def advance(noise, state, info, tasks=tasks):
        state, reported = jax.vmap(kernel.step)(noise, state, tasks)
        return state, jax.tree.map(lambda total, x: total + x, info, reported)

    def take_steps(state, first_step, count, info):
        def draw_and_advance(n, carry):
            state, info = carry
            noise = noise_of(n)
            if sharding.num_devices > 1:  # on one device it would only keep XLA from fusing draw and step
                noise, placed = jax.lax.with_sharding_constraint((noise, tasks), sharding)
                return advance(noise, state, info, placed)
            return advance(noise, state, info)

        def advance_and_draw(n, carry):
            (state, info), noise = carry
            return advance(noise, state, info), noise_of(n + 1)

        if ahead:
            carry = ((state, info), noise_of(first_step))
            return jax.lax.fori_loop(first_step, first_step + count, advance_and_draw, carry)[0]
        return jax.lax.fori_loop(first_step, first_step + count, draw_and_advance, (state, info))

    def mark(state, first_bad, step):
        bad = jax.vmap(lambda x: ~_finite(x) | escaped(x))(state.position)
        return jnp.where(bad & (first_bad < 0), step, first_bad)

    def burn(carry: _Carry, first_step, count) -> _Carry:
        state, _ = take_steps(carry.state, first_step, count, carry.info)
        return carry._replace(state=state, first_bad=mark(state, carry.first_bad, first_step + count))

    def record(carry: _Carry, first_record, count) -> _Carry:
        def make_record(r, carry: _Carry) -> _Carry:
            first_step = schedule.burn_in + r * schedule.thin
            state, info = take_steps(carry.state, first_step, schedule.thin, carry.info)
            draw = jax.vmap(observer.observe)(state)
            row = r // stride - first_record // stride
            trace = jax.tree.map(
                lambda buffer, x: jax.lax.dynamic_update_index_in_dim(buffer, x, row, 0),
                carry.trace,
                jax.vmap(observer.traced)(draw),
            )
            return _Carry(
                state=state,
                accumulated=jax.vmap(observer.accumulator.update)(carry.accumulated, draw),
                info=info,
                first_bad=mark(state, carry.first_bad, first_step + schedule.thin),
                trace=trace,
            )

        return jax.lax.fori_loop(first_record, first_record + count, make_record, carry)

    def begin(starts: Params) -> _Carry:
        state = jax.vmap(kernel.init)(starts, tasks)
        info = jax.eval_shape(lambda s: jax.vmap(kernel.step)(noise_of(0), s, tasks)[1], state)
        traced = jax.eval_shape(jax.vmap(lambda s: observer.traced(observer.observe(s))), state)
        return _Carry(
            state=state,
            accumulated=fresh_accumulators(),
            info=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float64), info),
            first_bad=jnp.full(chains, -1, jnp.int64),
            trace=jax.tree.map(lambda leaf: jnp.zeros((-(-chunk // stride) + 1, *leaf.shape), leaf.dtype), traced),
        )

    # Named for every leaf: left to the compiler, accumulators were replicated and gathered at each record.
    by_row = NamedSharding(sharding.mesh, PartitionSpec(None, "chain"))
    layout = _Carry(sharding, sharding, sharding, first_bad=sharding, trace=by_row)
    options = _plain_fusion() if ahead else None
    return _Programs(
        begin=jax.jit(begin, out_shardings=layout),
        burn=jax.jit(burn, donate_argnums=0, out_shardings=layout, compiler_options=options),
        record=jax.jit(record, donate_argnums=0, out_shardings=layout, compiler_options=options),
        reset=jax.jit(fresh_accumulators, out_shardings=sharding),
    )


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
