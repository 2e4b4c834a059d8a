"""What drives chains: the kernel's own random numbers, a batch at every step, or a stream of words for each chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.dynamics.increments import BITS, PER_WORD, four_points
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.streams import Stream, next_word, seeded
from langevin_ib.ensemble.unrolled import Unrolled, columns_of, filled, unroll

LANES = 8  # streams of a chain, at most, whose words a step of scalar arithmetic takes


class Moving(NamedTuple):
    """Chains on their way, every leaf with the chain axis first.

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
    """How all chains take steps; burn-in is cut at multiples of those that a call takes."""

    @property
    def together(self) -> int:
        """Steps that one call takes."""
        ...

    def begin(self) -> PyTree:
        """What it carries, at the start."""
        ...

    def take_steps(self, moving: Moving, first_step: Any, count: Any) -> Moving:
        """`count` steps from `first_step` on: a multiple of `together`, or a constant."""
        ...


@dataclass(frozen=True)
class Batches:
    """At step n all chains take their row of `kernel.draw(fold_in(key, n), chains)`.

    Attributes:
        kernel, key, chains, tasks: of the run.
        sharding: of the chains.
        ahead: whether a step's numbers are drawn during the one before.
    """

    kernel: Kernel
    key: Key[Array, ""]
    chains: int
    tasks: PyTree
    sharding: NamedSharding
    ahead: bool
    together: int = 1

    def begin(self) -> tuple[()]:
        """Nothing: a step's numbers follow from its own index."""
        return ()

    def take_steps(self, moving: Moving, first_step: Any, count: Any) -> Moving:
        """Step by step."""

        def draw_and_advance(n, moving):
            noise, tasks = self._noise_of(n), self.tasks
            if self.sharding.num_devices > 1:  # on one device it would only keep XLA from fusing draw and step
                noise, tasks = jax.lax.with_sharding_constraint((noise, tasks), self.sharding)
            return _advance(self.kernel, noise, moving, tasks)

        def advance_and_draw(n, carry):
            here, noise = carry
            return _advance(self.kernel, noise, here, self.tasks), self._noise_of(n + 1)

        if self.ahead:
            carry = (moving, self._noise_of(first_step))
            return jax.lax.fori_loop(first_step, first_step + count, advance_and_draw, carry)[0]
        return jax.lax.fori_loop(first_step, first_step + count, draw_and_advance, moving)

    def _noise_of(self, n):
        return self.kernel.draw(jax.random.fold_in(self.key, n), self.chains)


@dataclass(frozen=True)
class Streams:
    """Chain i takes four-point increments from words of its own, seeded by fold_in(key, i).

    A word holds ten increments: five steps of a model with two parameters. Where a step needs more, several streams of
    the chain are drawn from at a time. Steps are scalar arithmetic where they can be (`unrolled`), else `vmap`'s.

    Attributes:
        kernel, key, chains, tasks: of the run; the kernel says the shapes of its increments.
        like: one chain's state, and its task.
    """

    kernel: Kernel
    key: Key[Array, ""]
    chains: int
    tasks: PyTree
    like: Any

    @cached_property
    def size(self) -> int:
        """Increments of a step."""
        return sum(leaf.size for leaf in self._leaves)

    @property
    def together(self) -> int:
        """Steps that one word serves, one at least."""
        return max(1, PER_WORD // self.size)

    @property
    def lanes(self) -> int:
        """Words that a step takes, one at least."""
        return -(-self.size // PER_WORD)

    def begin(self) -> Stream:
        """Streams (chain, lane)."""
        return seeded(self.key, jnp.arange(self.chains), self.lanes)

    def take_steps(self, moving: Moving, first_step: Any, count: Any) -> Moving:
        """Word by word; what is left of a constant count takes the beginning of one more."""
        del first_step
        rest = count % self.together if isinstance(count, int) else 0
        if self._unrolled is None:
            return self._repeat(self._call, moving, count // self.together, rest)
        columns, joined_again = self._broken_up(moving)
        call = partial(self._call_unrolled, self._unrolled)
        return joined_again(self._repeat(call, columns, count // self.together, rest))

    def _repeat(self, call: Callable[[Moving, int], Moving], moving: Moving, calls: Any, rest: int) -> Moving:
        moving = jax.lax.fori_loop(0, calls, lambda _, here: call(here, self.together), moving)
        return call(moving, rest) if rest else moving

    @property
    def _leaves(self) -> list[Any]:
        return jax.tree.leaves(self.kernel.increments)

    @cached_property
    def _unrolled(self) -> Unrolled | None:
        """A step as scalar arithmetic, of (increments, state) ↦ (state, info)."""
        if self.tasks is not None or self.lanes > LANES:
            return None
        return unroll(lambda noise, state: self.kernel.step(noise, state, None), self.kernel.increments, self.like)

    def _call(self, moving: Moving, steps: int) -> Moving:
        """Steps by `vmap`, from one word of each lane."""
        stream, words = next_word(moving.memory)
        shifts = jnp.arange(PER_WORD, dtype=jnp.uint32) * BITS
        numbers = four_points(words[..., None] >> shifts, self._leaves[0].dtype).reshape(self.chains, -1)
        moving = moving._replace(memory=stream)
        for s in range(steps):
            noise = self._shaped(numbers[:, s * self.size : (s + 1) * self.size])
            moving = _advance(self.kernel, noise, moving, self.tasks)
        return moving

    def _shaped(self, numbers: Float[Array, "chain q"]) -> PyTree:
        """The increments of a step as the kernel's leaves."""
        parts, start = [], 0
        for leaf in self._leaves:
            parts.append(numbers[:, start : start + leaf.size].reshape(self.chains, *leaf.shape))
            start += leaf.size
        return jax.tree.unflatten(jax.tree.structure(self.kernel.increments), parts)

    def _broken_up(self, moving: Moving) -> tuple[Moving, Callable[[Moving], Moving]]:
        """Every entry of every leaf an array over chains, and the way back."""
        leaves, structure = jax.tree.flatten(moving)

        def joined_again(columns: Moving) -> Moving:
            entries = iter(jax.tree.leaves(columns))
            parts = ([next(entries) for _ in range(leaf[0].size)] for leaf in leaves)
            whole = [jnp.stack(part, axis=-1).reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
            return jax.tree.unflatten(structure, whole)

        columns = [list(columns_of(leaf).reshape(-1)) for leaf in leaves]
        return jax.tree.unflatten(structure, columns), joined_again

    def _call_unrolled(self, unrolled: Unrolled, moving: Moving, steps: int) -> Moving:
        """Steps as scalar arithmetic, from one word of each lane; leaves are lists of columns."""
        drawn = [next_word(Stream(*lane)) for lane in zip(*moving.memory, strict=True)]
        words = [word for _, word in drawn]
        numbers = [four_points(word >> (BITS * j), self._leaves[0].dtype) for word in words for j in range(PER_WORD)]
        likes, structure = jax.tree.flatten(self.like)
        state = [filled(part, like.shape) for part, like in zip(_lists(moving.state), likes, strict=True)]
        info = _lists(moving.info)
        for s in range(steps):
            start, noise = s * self.size, []
            for leaf in self._leaves:
                noise.append(filled(numbers[start : start + leaf.size], leaf.shape))
                start += leaf.size
            moved = unrolled([*noise, *state])
            state, reported = moved[: len(state)], moved[len(state) :]
            info = [[total + x for total, x in zip(*pair, strict=True)] for pair in zip(info, reported, strict=True)]
        full = [
            [jnp.broadcast_to(jnp.asarray(entry, like.dtype), words[0].shape) for entry in part.reshape(-1)]
            for part, like in zip(state, likes, strict=True)
        ]
        return Moving(
            jax.tree.map(lambda *lanes: list(lanes), *(stream for stream, _ in drawn)),
            jax.tree.unflatten(structure, full),
            jax.tree.unflatten(jax.tree.structure(moving.info, is_leaf=_is_list), info),
        )


def _lists(tree: PyTree) -> list[list[Array]]:
    return jax.tree.leaves(tree, is_leaf=_is_list)


def _is_list(part: Any) -> bool:
    return isinstance(part, list)


def _advance(kernel: Kernel, noise: PyTree, moving: Moving, tasks: PyTree) -> Moving:
    state, reported = jax.vmap(kernel.step)(noise, moving.state, tasks)
    return moving._replace(state=state, info=jax.tree.map(lambda total, x: total + x, moving.info, reported))
