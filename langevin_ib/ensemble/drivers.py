"""What drives chains: a batch of the kernel's own random numbers at every step, or a stream of words for each chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, UInt32

from langevin_ib.dynamics.increments import BITS, PER_WORD, four_points
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble import streams
from langevin_ib.ensemble.streams import Stream
from langevin_ib.ensemble.unrolled import Columns, columns_of, joined, unroll


class Words(NamedTuple):
    """How the words of a chain serve its steps.

    Attributes:
        lanes: words that are drawn together, each from a stream of its own.
        steps: that they serve.
    """

    lanes: int
    steps: int


def words_for(increments: int) -> Words:
    """As few words as hold the increments of a step, or as many steps as one word serves.

    >>> words_for(2), words_for(12)
    (Words(lanes=1, steps=5), Words(lanes=2, steps=1))
    """
    return Words(-(-increments // PER_WORD), max(1, PER_WORD // increments))


def four_point_steps(kernel: Kernel, tasks: PyTree) -> tuple[Words, Callable[..., Any]]:
    """Steps of all chains on four-point increments.

    Returns:
        How words serve the steps, and `advance(stream, state, info, calls, rest)`, which takes `calls` times as many
        steps as they serve, then `rest` more, a constant: the new stream, state and sums of info, every leaf with the
        chain axis first.
    """
    assert kernel.increments is not None  # the runner asks
    leaves, structure = jax.tree.flatten(kernel.increments)
    size = sum(leaf.size for leaf in leaves)
    words = words_for(size)

    def numbers(stream: list[Stream]) -> tuple[list[Stream], list[Array]]:
        """The increments of a call, one array over chains each."""
        drawn = [streams.next_word(lane) for lane in stream]
        dtype = leaves[0].dtype
        return [lane for lane, _ in drawn], [
            four_points(word >> (BITS * j), dtype) for _, word in drawn for j in range(PER_WORD)
        ]

    def leaf_columns(numbers: list[Array]) -> list[Columns]:
        ...

    raise NotImplementedError
