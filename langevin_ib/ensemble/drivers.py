"""What drives the chains of a block: the kernel's own draws from a key, or a stream of words for each chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.dynamics.increments import BATCH, FOUR_POINT, PER_DRAW, WORDS, increments_of
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.streams import Stream, advanced, seeded, word_of
from langevin_ib.ensemble.unrolled import (
    Unrolled,
    columns_of,
    filled,
    in_pairs,
    out_of_pairs,
    passed_on,
    unroll,
)

SCALAR_WIDTH = 256  # chains of a block whose steps are scalar arithmetic
NUMBERS, LEAST_WIDTH, MOST_WIDTH = 1024, 64, 512  # parameters of a block's chains together; chains, by `vmap`
LANES = 8  # streams of a chain, at most, whose words a step of scalar arithmetic takes


class Moving(NamedTuple):
    """The chains of a block on their way, every leaf of `state` and `info` with the chain axis first.

    Attributes:
        memory: what the driver carries from step to step.
        state: the kernel's.
        info: sums of what steps have reported.
    """

    memory: Any
    state: Any
    info: Any


@runtime_checkable
class Driver(Protocol):
    """How all chains of a block take steps, some at a time."""

    @property
    def width(self) -> int:
        """Chains of a block."""
        ...

    @property
    def together(self) -> int:
        """Steps that one call takes."""
        ...

    def begin(self, key: Key[Array, ""], block: Any, state: Any) -> tuple[PyTree, Any]:
        """What block `block` carries at the start, and the kernel's state, which may hold increments."""
        ...

    def take_calls(self, moving: Moving, tasks: PyTree, first_step: Any, calls: Any) -> Moving:
        """`calls` times `together` steps from `first_step` on."""
        ...

    def take_rest(self, moving: Moving, tasks: PyTree, first_step: Any, steps: int) -> Moving:
        """Fewer steps than a call takes."""
        ...


def driver_of(kernel: Kernel, width: int | None, like: PyTree, ahead: bool) -> Driver:
    """Of a kernel whose chains come in blocks of `width`; `like` is one chain's start and task."""
    if kernel.source == BATCH:
        return Batches(kernel, width or width_of(like[0]), ahead)
    start, task = like
    return Streams(kernel, width, jax.eval_shape(kernel.init, start, task), shared=task is None)


def width_of(start: PyTree) -> int:
    """Chains of a block by a chain's number of parameters, for steps by `vmap`.

    So many that a step takes longer than to start it, so few that what it computes on the way fits into a cache.
    """
    parameters = sum(leaf.size for leaf in jax.tree.leaves(start))
    return min(max(1 << max(NUMBERS // parameters, 1).bit_length() - 1, LEAST_WIDTH), MOST_WIDTH)


@dataclass(frozen=True)
class Batches:
    """At step n the chains of a block take their row of `kernel.draw(fold_in(key of the block, n), width)`.

    Attributes:
        kernel, width: of the run, and of a block.
        ahead: whether a step's numbers are drawn during the one before.
    """

    kernel: Kernel
    width: int
    ahead: bool
    together: int = 1

    def begin(self, key: Key[Array, ""], block: Any, state: Any) -> tuple[Array, Any]:
        """The block's key, as the numbers that can be saved."""
        return jax.random.key_data(jax.random.fold_in(key, block)), state

    def take_calls(self, moving: Moving, tasks: PyTree, first_step: Any, calls: Any) -> Moving:
        """Step by step."""
        noise_of = partial(self._noise_of, moving.memory)

        def draw_and_advance(n, moving):
            return _advance(self.kernel, noise_of(n), moving, tasks)

        def advance_and_draw(n, carry):
            here, noise = carry
            return _advance(self.kernel, noise, here, tasks), noise_of(n + 1)

        if self.ahead:
            carry = (moving, noise_of(first_step))
            return jax.lax.fori_loop(first_step, first_step + calls, advance_and_draw, carry)[0]
        return jax.lax.fori_loop(first_step, first_step + calls, draw_and_advance, moving)

    def take_rest(self, moving: Moving, tasks: PyTree, first_step: Any, steps: int) -> Moving:
        """None: a call takes one step."""
        del tasks, first_step, steps
        return moving

    def _noise_of(self, memory: Array, n: Any) -> PyTree:
        return self.kernel.draw(jax.random.fold_in(jax.random.wrap_key_data(memory), n), self.width)


@dataclass(frozen=True)
class Streams:
    """Chain i takes its increments from words of its own, seeded by fold_in(key, i).

    Two words hold two normals, one holds ten four-point increments: five steps of a model with two parameters. Where a
    step needs more, several streams of the chain are drawn from at a time. Steps are scalar arithmetic where they can
    be (`unrolled`), else `vmap`'s.

    What is carried is the stream whose words were used last. State that only hands a step's increments on to the next,
    as Leimkuhler and Matthews' does, need then not be carried: it is read from these words. Fewer steps than they
    serve take the last of their increments, so that this holds for them too.

    Attributes:
        kernel: of the run; it says the shapes of its increments.
        given_width: of a block, None for that of the rule.
        like: one chain's state.
        shared: whether all chains share the model's own loss.
    """

    kernel: Kernel
    given_width: int | None
    like: Any
    shared: bool

    @property
    def width(self) -> int:
        """Chains of a block."""
        if self.given_width is not None:
            return self.given_width
        return width_of(self.like.position) if self._unrolled is None else SCALAR_WIDTH

    @cached_property
    def size(self) -> int:
        """Increments of a step."""
        return sum(leaf.size for leaf in self._leaves)

    @property
    def together(self) -> int:
        """Steps that one draw serves, one at least."""
        return max(1, PER_DRAW[self.kernel.source] // self.size)

    @property
    def lanes(self) -> int:
        """Streams that a call draws from, one at least."""
        return -(-self.size // PER_DRAW[self.kernel.source])

    def begin(self, key: Key[Array, ""], block: Any, state: Any) -> tuple[Stream, Any]:
        """Streams (chain, lane); what the state hands on are increments from the first draw, which no step takes."""
        stream = seeded(key, block * self.width + jnp.arange(self.width), self.lanes)
        noise, leaves = jax.tree.leaves(self._shaped(self._numbers(stream), self.together - 1)), jax.tree.leaves(state)
        for place, source in self._handed_on.items():
            leaves[place] = noise[source].astype(leaves[place].dtype)
        return stream, jax.tree.unflatten(jax.tree.structure(state), leaves)

    def take_calls(self, moving: Moving, tasks: PyTree, first_step: Any, calls: Any) -> Moving:
        """Draw by draw."""
        del first_step
        return self._repeat(moving, tasks, calls, self.together)

    def take_rest(self, moving: Moving, tasks: PyTree, first_step: Any, steps: int) -> Moving:
        """The end of one more draw."""
        del first_step
        return self._repeat(moving, tasks, 1, steps)

    def _repeat(self, moving: Moving, tasks: PyTree, calls: Any, steps: int) -> Moving:
        if self._unrolled is None:
            return jax.lax.fori_loop(0, calls, lambda _, here: self._call(here, tasks, steps), moving)
        columns = self._broken_up(moving)
        call = partial(self._call_unrolled, self._unrolled, steps)
        return self._joined_again(jax.lax.fori_loop(0, calls, lambda _, here: call(here), columns), moving)

    @cached_property
    def _leaves(self) -> list[Any]:
        return jax.tree.leaves(self.kernel.increments)

    @cached_property
    def _passed(self) -> dict[int, int]:
        """Leaves of the state that are read from the last words: of increments that cost next to nothing."""
        return self._handed_on if self.kernel.source == FOUR_POINT else {}

    @cached_property
    def _handed_on(self) -> dict[int, int]:
        """Leaves of the state that are those of the last step's increments."""
        if not self.shared:
            return {}
        found = passed_on(lambda noise, x: self.kernel.step(noise, x, None)[0], self.kernel.increments, self.like)
        return {place: source for place, source in found.items() if source < len(self._leaves)}

    @cached_property
    def _unrolled(self) -> Unrolled | None:
        """A step as scalar arithmetic, of (increments, state) ↦ (state, info)."""
        if not self.shared or self.lanes > LANES:
            return None
        return unroll(lambda noise, state: self.kernel.step(noise, state, None), self.kernel.increments, self.like)

    def _numbers(self, stream: Stream) -> Float[Array, "chain q"]:
        """All increments of the streams (chain, lane)."""
        numbers = self._drawn(stream)
        return jnp.stack(numbers, axis=-1).reshape(self.width, -1)

    def _drawn(self, stream: Stream) -> list[Any]:
        """The increments of the next words of a stream."""
        words = []
        for _ in range(WORDS[self.kernel.source]):
            words.append(word_of(stream))
            stream = advanced(stream)
        return increments_of(self.kernel.source, words, self._leaves[0].dtype)

    def _after(self, stream: Stream) -> Stream:
        """The stream behind those words."""
        for _ in range(WORDS[self.kernel.source]):
            stream = advanced(stream)
        return stream

    def _shaped(self, numbers: Float[Array, "chain q"], s: int) -> PyTree:
        """The increments of step s as the kernel's leaves."""
        parts, start = [], s * self.size
        for leaf in self._leaves:
            parts.append(numbers[:, start : start + leaf.size].reshape(self.width, *leaf.shape))
            start += leaf.size
        return jax.tree.unflatten(jax.tree.structure(self.kernel.increments), parts)

    def _call(self, moving: Moving, tasks: PyTree, steps: int) -> Moving:
        """Steps by `vmap`, from one draw of each lane."""
        stream = self._after(moving.memory)
        numbers = self._numbers(stream)
        moving = moving._replace(memory=stream)
        for s in range(self.together - steps, self.together):
            moving = _advance(self.kernel, self._shaped(numbers, s), moving, tasks)
        return moving

    # ---- every entry of every leaf as an array over chains ----

    def _broken_up(self, moving: Moving) -> Moving:
        """Lists of columns: of the state in pairs and without what it hands on, of info, of the words of each lane."""
        kept = [leaf for i, leaf in enumerate(jax.tree.leaves(moving.state)) if i not in self._passed]
        return Moving(
            [[words[:, lane] for words in moving.memory] for lane in range(self.lanes)],
            in_pairs([column for leaf in kept for column in columns_of(leaf).reshape(-1)]),
            [list(columns_of(leaf).reshape(-1)) for leaf in jax.tree.leaves(moving.info)],
        )

    def _joined_again(self, columns: Moving, like: Moving) -> Moving:
        """The way back."""
        noise = self._increments_of(columns.memory, self.together - 1)
        state = self._state_of(columns.state, noise)

        def joined(parts: Sequence[Any], leaves: Any) -> Any:
            whole = [
                jnp.stack([jnp.asarray(entry, leaf.dtype) for entry in part], axis=-1).reshape(leaf.shape)
                for part, leaf in zip(parts, jax.tree.leaves(leaves), strict=True)
            ]
            return jax.tree.unflatten(jax.tree.structure(leaves), whole)

        memory = Stream(*(jnp.stack(words, axis=-1) for words in zip(*columns.memory, strict=True)))
        return Moving(memory, joined([part.reshape(-1) for part in state], like.state), joined(columns.info, like.info))

    def _increments_of(self, memory: Sequence[Any], s: int) -> list[Any]:
        """The increments of step s from all lanes, as columns of each leaf of the kernel's."""
        numbers = [number for lane in memory for number in self._drawn(Stream(*lane))]
        noise, start = [], s * self.size
        for leaf in self._leaves:
            noise.append(filled(numbers[start : start + leaf.size], leaf.shape))
            start += leaf.size
        return noise

    def _state_of(self, pairs: Sequence[Any], last: Sequence[Any]) -> list[Any]:
        """The state's leaves as columns; those that hand increments on are the last step's."""
        likes, passed = jax.tree.leaves(self.like), self._passed
        entries = iter(out_of_pairs(pairs, [leaf for i, leaf in enumerate(likes) if i not in passed]))
        return [
            last[passed[i]] if i in passed else filled((next(entries) for _ in range(like.size)), like.shape)
            for i, like in enumerate(likes)
        ]

    def _call_unrolled(self, unrolled: Unrolled, steps: int, moving: Moving) -> Moving:
        """Steps as scalar arithmetic, from one draw of each lane."""
        lanes = [list(self._after(Stream(*lane))) for lane in moving.memory]
        state, info = self._state_of(moving.state, self._increments_of(moving.memory, self.together - 1)), moving.info
        for s in range(self.together - steps, self.together):
            moved = unrolled([*self._increments_of(lanes, s), *state])
            state, reported = moved[: len(state)], moved[len(state) :]
            info = [[total + x for total, x in zip(*pair, strict=True)] for pair in zip(info, reported, strict=True)]
        likes = jax.tree.leaves(self.like)
        full = [
            jnp.broadcast_to(jnp.asarray(entry, like.dtype), (self.width,))
            for i, (part, like) in enumerate(zip(state, likes, strict=True))
            if i not in self._passed
            for entry in part.reshape(-1)
        ]
        return Moving(lanes, in_pairs(full), info)


def _advance(kernel: Kernel, noise: PyTree, moving: Moving, tasks: PyTree) -> Moving:
    state, reported = jax.vmap(kernel.step)(noise, moving.state, tasks)
    return moving._replace(state=state, info=jax.tree.map(lambda total, x: total + x, moving.info, reported))
