"""Increments of a chain's steps, from words of its own stream: normals, or numbers with a normal's first moments.

An integrator of weak order up to two keeps its order when its normals give way to any numbers with the same first five
moments. Four points do with three bits: ±a with probability 3/8 each, ±b with 1/8 each,

    a² = 1 − √(2/3),  b² = 1 + √6,  so that E ξ² = 1 and E ξ⁴ = 3,

odd moments vanishing. One word of 32 bits holds ten. The order is one of smooth observables; what becomes of bins is
measured (`sims/bench/increments.py`).

Source: Milstein & Tretyakov, *Stochastic Numerics for Mathematical Physics*, 2nd ed., section 2.1; lattice random walks
of this kind: arXiv:2508.20883.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from langevin_ib.config.kernels import FOUR_POINT, INCREMENTS, NORMAL

BATCH = "batch"  # the kernel's own draws for all chains of a block, from a key
SOURCES = (BATCH, *INCREMENTS)
BITS = 3  # of a four-point increment
PER_WORD = {NORMAL: 1, FOUR_POINT: 32 // BITS}
INNER, OUTER = math.sqrt(1.0 - math.sqrt(2.0 / 3.0)), math.sqrt(1.0 + math.sqrt(6.0))


def increments_of(source: str, word: UInt32[Array, "*shape"], dtype) -> list[Float[Array, "*shape"]]:
    """All increments that a word holds, each an array over what the words are of."""
    if source == NORMAL:
        return [normal(word, dtype)]
    return [four_points(word >> (BITS * j), dtype) for j in range(PER_WORD[FOUR_POINT])]


def normal(word: UInt32[Array, "*shape"], dtype) -> Float[Array, "*shape"]:
    """√2 erf⁻¹(x), x in the middle of one of 2²³ cells of (−1, 1) by the word's first 23 bits.

    The largest is 5.3, beyond which a normal has 1.2·10⁻⁷ of its mass; the variance is 1 − 1.6·10⁻⁷, the fourth moment
    3 − 10⁻⁵. As fine in float64, so that a run in either precision takes the same increments.

    >>> [round(float(normal(jnp.uint32(w), jnp.float32)), 3) for w in (2**31, 0, 2**32 - 1)]
    [0.0, -5.295, 5.295]
    """
    cell = (word >> 9).astype(jnp.int32).astype(dtype)
    return jnp.asarray(math.sqrt(2.0), dtype) * jax.lax.erf_inv((cell + 0.5) * 2.0**-22 - 1.0)


def four_points(bits: UInt32[Array, "..."], dtype) -> Float[Array, "..."]:
    """±a or ±b by the last three bits of each word; those above are not looked at.

    >>> x = four_points(jnp.arange(8, dtype=jnp.uint32), jnp.float32)
    >>> [round(float(jnp.mean(x**k)), 4) + 0.0 for k in range(1, 6)]
    [0.0, 1.0, 0.0, 3.0, 0.0]
    """
    size = jnp.where((bits & 3) == 0, jnp.asarray(OUTER, dtype), jnp.asarray(INNER, dtype))
    return jnp.where((bits & 4) == 0, size, -size)
