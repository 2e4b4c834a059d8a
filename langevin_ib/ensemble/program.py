"""What a block of chains does, as two compiled programs: begin at the starts, and go on for some steps and records.

Every block of a run has the same number of chains and takes the same programs, whatever the number of chains, of
threads, of processes: its numbers are the same to the last bit. XLA runs a program of so few chains in the thread that
calls it, and threads side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key, PyTree

from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.drivers import Driver, Moving, driver_of
from langevin_ib.ensemble.records import Limit, Observer, Rare, Schedule
from langevin_ib.models.base import Params

ENGINE = "2"  # to be raised with every change of what drives chains, of its order, or of what a block's state holds
CHUNK_RECORDS = 256  # of a call, at most


class Still(NamedTuple):
    """Records in a row at which a chain stood where it had stood before: now, the most so far, and until which step."""

    now: Any
    longest: Any
    until: Any


class Carry(NamedTuple):
    """The chains of a block; every leaf has the chain axis first, but for `memory`.

    Attributes:
        memory: the driver's.
        state: the kernel's.
        accumulated: of this segment.
        info: sums over the steps.
        first_bad: the step by which a chain was first found bad, −1 if never.
        still: whether they move.
    """

    memory: Any
    state: Any
    accumulated: Any
    info: Any
    first_bad: Any
    still: Still


class Advance(NamedTuple):
    """What the chains of a block are to do in one call: numbers, so that calls of any length share a program.

    Attributes:
        first_step: steps that they have taken.
        calls: of the driver, before each record.
        rest: 1 where the steps before a record are no whole number of calls, else 0.
        first_record: records that have been taken.
        records: to take.
    """

    first_step: Any
    calls: Any
    rest: Any
    first_record: Any
    records: Any


@dataclass(frozen=True, eq=False)
class BlockProgram:
    """A run as what one of its blocks does.

    Attributes:
        kernel, observer, key, schedule, limit: of the run, see `runner.run_ensemble`.
        like: shapes of a start and a task of one chain.
        given_width: chains of a block, None for what the driver says.
        ahead: whether a step's noise is drawn during the one before.
    """

    kernel: Kernel
    observer: Observer
    key: Key[Array, ""]
    schedule: Schedule
    limit: Limit
    like: PyTree
    given_width: int | None = None
    ahead: bool = False

    @cached_property
    def driver(self) -> Driver:
        """What drives the chains."""
        return driver_of(self.kernel, self.given_width, self.like, self.ahead)

    @property
    def width(self) -> int:
        """Chains of a block."""
        return self.driver.width

    @cached_property
    def shapes(self) -> tuple[Carry, PyTree]:
        """Of a block's carry, and of the rows that a call leaves of its trace."""
        many, block = self._many(), jax.ShapeDtypeStruct((), jnp.int64)
        with settings():
            carry = jax.eval_shape(self.begin, *many, block)
        traced = jax.eval_shape(jax.vmap(lambda s: self.observer.traced(self.observer.observe(s))), carry.state)
        rows = -(-CHUNK_RECORDS // self.observer.stride(self.schedule)) + 1
        return carry, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape), leaf.dtype), traced)

    def begin_compiled(self) -> Callable[[PyTree, PyTree, Any], Carry]:
        """`begin`, for the device that is JAX's default here."""
        with settings():
            return jax.jit(self.begin).lower(*self._many(), jax.ShapeDtypeStruct((), jnp.int64)).compile()

    def jitted(self) -> Any:
        """(carry, tasks, numbers) ↦ (carry, trace), of lists of arrays; it is given the carry for good."""

        def advance(carry: list[Any], tasks: list[Any], numbers: list[Any]) -> tuple[list[Any], list[Any]]:
            like, task = self.shapes[0], self.like[1]
            after, trace = self.advance(
                jax.tree.unflatten(jax.tree.structure(like), carry),
                jax.tree.unflatten(jax.tree.structure(task), tasks),
                Advance(*numbers),
            )
            return jax.tree.leaves(after), jax.tree.leaves(trace)

        return jax.jit(advance, donate_argnums=0, compiler_options=compiler_options(self.ahead))

    def arguments(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Shapes of what `jitted` takes."""
        numbers = [jax.ShapeDtypeStruct((), jnp.int64) for _ in Advance._fields]
        return jax.tree.leaves(self.shapes[0]), jax.tree.leaves(self._many()[1]), numbers

    def lowered(self) -> Any:
        """`jitted`, ready to be compiled."""
        with settings():
            return self.jitted().lower(*self.arguments())

    def _many(self) -> PyTree:
        """Shapes of the starts and tasks of a block."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.width, *leaf.shape), leaf.dtype), self.like)

    def begin(self, starts: Params, tasks: PyTree, block: Any) -> Carry:
        """The chains of a block at their starts, and, of the burn-in, what is no whole number of calls."""
        driver = self.driver
        state = jax.vmap(self.kernel.init)(starts, tasks)
        memory, state = driver.begin(self.key, block, state)
        noise = jax.eval_shape(lambda: self.kernel.draw(self.key, self.width))
        info = jax.eval_shape(lambda n, s: jax.vmap(self.kernel.step)(n, s, tasks)[1], noise, state)
        info = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float64), info)
        rest = self.schedule.burn_in % driver.together
        if rest:
            memory, state, _ = driver.take_rest(Moving(memory, state, info), tasks, 0, rest)
        return Carry(
            memory=memory,
            state=state,
            accumulated=self._fresh_accumulators(),
            info=info,
            first_bad=jnp.full(self.width, -1, jnp.int64),
            still=Still(*(jnp.zeros(self.width, jnp.int64) for _ in Still._fields)),
        )

    def advance(self, carry: Carry, tasks: PyTree, numbers: Advance) -> tuple[Carry, PyTree]:
        """Some records, each after some steps, and rows of the trace."""
        driver, observer, stride = self.driver, self.observer, self.observer.stride(self.schedule)
        rest = self.schedule.thin % driver.together
        steps = numbers.calls * driver.together + numbers.rest * rest
        last = numbers.first_record + numbers.records

        def make_record(r, carried: tuple[Carry, PyTree]) -> tuple[Carry, PyTree]:
            carry, trace = carried
            first = numbers.first_step + (r - numbers.first_record) * steps
            moving = driver.take_calls(Moving(carry.memory, carry.state, carry.info), tasks, first, numbers.calls)
            if rest:
                moving = jax.lax.fori_loop(
                    0, numbers.rest, lambda _, here: driver.take_rest(here, tasks, first, rest), moving
                )
            draw = jax.vmap(observer.observe)(moving.state)
            row = r // stride - numbers.first_record // stride
            trace = jax.tree.map(
                lambda buffer, x: jax.lax.dynamic_update_index_in_dim(buffer, x, row, 0),
                trace,
                jax.vmap(observer.traced)(draw),
            )
            return Carry(
                **moving._asdict(),
                accumulated=jax.vmap(observer.accumulator.update)(carry.accumulated, draw),
                first_bad=self._mark(moving.state, carry.first_bad, first + steps),
                still=_still(carry.still, carry.state.position, moving.state.position, first + steps),
            ), trace

        trace = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self.shapes[1])
        begun = (numbers.first_record, (carry, trace))
        if observer.rare is None:
            return jax.lax.fori_loop(numbers.first_record, last, make_record, begun[1])
        rare = observer.rare

        # A loop of its own up to each such record: a condition at every record costs more than what it spares.
        def make_records(at: tuple[Any, tuple[Carry, PyTree]]) -> tuple[Any, tuple[Carry, PyTree]]:
            r, carried = at
            end = jnp.minimum((r // rare.every + 1) * rare.every, last)
            carry, trace = jax.lax.fori_loop(r, end, make_record, carried)
            return end, (_rarely(rare, carry, end % rare.every == 0), trace)

        return jax.lax.while_loop(lambda at: at[0] < last, make_records, begun)[1]

    def _fresh_accumulators(self) -> Any:
        empty = self.observer.accumulator.init()
        return jax.tree.map(lambda leaf: jnp.zeros((self.width, *leaf.shape), leaf.dtype) + leaf, empty)

    def _mark(self, state: Any, first_bad: Array, step: Any) -> Array:
        bad = jax.vmap(lambda x: ~_finite(x) | self.limit.escaped(x))(state.position)
        return jnp.where(bad & (first_bad < 0), step, first_bad)


def _rarely(rare: Rare, carry: Carry, due: Any) -> Carry:
    """After what only some records are asked for."""

    def update(sums: Any, state: Any) -> Any:
        return jax.vmap(rare.update)(sums, jax.vmap(rare.observe)(state))

    sums = jax.lax.cond(due, update, lambda sums, state: sums, carry.accumulated[rare.name], carry.state)
    return carry._replace(accumulated=carry.accumulated | {rare.name: sums})


def _still(still: Still, before: Params, after: Params, step: Any) -> Still:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    same = [jnp.all(x == y, axis=tuple(range(1, x.ndim))) for x, y in pairs]
    now = jnp.where(jnp.all(jnp.stack(same), axis=0), still.now + 1, 0)
    return Still(now, jnp.maximum(still.longest, now), jnp.where(now > still.longest, step, still.until))


def _finite(params: PyTree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))


# Of the compiler: names that another XLA may not know, in the order in which they are tried.
WIDE: dict[str, bool | str] = {"xla_cpu_prefer_vector_width": "512"}  # a processor without such vectors takes its own
# Without the fusions of the YNNPACK library, which for sums over a few axes fill memory with broadcasts.
PLAIN_FUSION: dict[str, bool | str] = {"xla_cpu_experimental_ynn_fusion_type": ""}


def settings() -> Any:
    """Of JAX, while a program is traced.

    A block is always whole, so that the older layout of JAX's random numbers, by which a chain's depend on how many are
    drawn for, does no harm. It takes one hash for two of them, not two.
    """
    return jax.threefry_partitionable(False)


def compiler_options(ahead: bool) -> dict[str, bool | str]:
    """Of XLA, for the programs of a run whose noise is drawn ahead, or is not."""
    wanted = [WIDE, PLAIN_FUSION] if ahead else [WIDE]
    return {name: value for options in wanted if _is_known(*options) for name, value in options.items()}


@cache
def _is_known(*names: str) -> bool:
    """Whether this XLA takes an option, for where it does not, what the option is against does not occur."""
    options = {name: value for name, value in (WIDE | PLAIN_FUSION).items() if name in names}
    try:
        jax.jit(lambda x: x + 1.0, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return False
    return True
