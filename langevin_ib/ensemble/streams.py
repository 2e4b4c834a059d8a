"""A stream of random words for each chain: xoshiro128++, seeded from the run's key and the chain's own index.

A chain's words depend on nothing else: not on how many chains there are, nor on devices, chunks or processes. Carried
as state they cost a dozen operations each; counter-based bits, which JAX draws from a key, some forty.

Source: Blackman & Vigna, ACM Trans. Math. Softw. 47(4), 36 (2021); its authors' reference code is in the public domain.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32


class Stream(NamedTuple):
    """The state of xoshiro128++, four words of which not all are 0; arrays of one shape, an entry for each chain."""

    s0: UInt32[Array, "*chains"]
    s1: UInt32[Array, "*chains"]
    s2: UInt32[Array, "*chains"]
    s3: UInt32[Array, "*chains"]


def seeded(key: Key[Array, ""], chains: Int[Array, " chain"], lanes: int = 1) -> Stream:
    """Streams (chain, lane) of chains by their index: 128 bits for each lane, folded into fold_in(key, i) by threefry.

    Two of n chains overlap in a run of N words, of the 2¹²⁸ − 1 of the period, with a probability of about n²N/2¹²⁸:
    3·10⁻¹⁶ for n = 10⁶ and N = 10¹¹.

    Args:
        key: of the run.
        chains: their indices.
        lanes: streams of each chain.
    """

    def state(i: Int[Array, ""], lane: Int[Array, ""]) -> UInt32[Array, " 4"]:
        own = jax.random.fold_in(jax.random.fold_in(key, i), lane)
        return jnp.concatenate([jax.random.key_data(jax.random.fold_in(own, half)) for half in (0, 1)])

    words = jax.vmap(lambda i: jax.vmap(lambda lane: state(i, lane))(jnp.arange(lanes)))(chains)
    # The state 0 stays 0: 2^−128 of all.
    first = jnp.where(jnp.any(words != 0, axis=-1), words[..., 0], jnp.uint32(1))
    return Stream(first, words[..., 1], words[..., 2], words[..., 3])


def word_of(stream: Stream) -> UInt32[Array, "*chains"]:
    """32 random bits of a state of xoshiro128++.

    The state 1, 2, 3, 4 of the reference code, and the one after it:

    >>> stream = Stream(*(jnp.uint32(i) for i in (1, 2, 3, 4)))
    >>> int(word_of(stream)), int(word_of(advanced(stream)))
    (641, 1573767)
    """
    return _rotated(stream.s0 + stream.s3, 7) + stream.s0


def advanced(stream: Stream) -> Stream:
    """The next state."""
    s0, s1, s2, s3 = stream
    shifted = s1 << 9
    s2 = s2 ^ s0
    s3 = s3 ^ s1
    return Stream(s0 ^ s3, s1 ^ s2, s2 ^ shifted, _rotated(s3, 11))


def next_word(stream: Stream) -> tuple[Stream, UInt32[Array, "*chains"]]:
    """The next state, and the word of this one."""
    return advanced(stream), word_of(stream)


def _rotated(word: UInt32[Array, "*chains"], bits: int) -> UInt32[Array, "*chains"]:
    return (word << bits) | (word >> (32 - bits))
