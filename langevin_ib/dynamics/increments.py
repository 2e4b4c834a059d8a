"""Increments of a weak scheme: random numbers that need only have a normal's first moments.

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

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

NORMAL, FOUR_POINT = SOURCES = "normal", "four-point"
BITS = 3  # of an increment
PER_WORD = 32 // BITS
INNER, OUTER = math.sqrt(1.0 - math.sqrt(2.0 / 3.0)), math.sqrt(1.0 + math.sqrt(6.0))


def four_points(bits: UInt32[Array, "..."], dtype) -> Float[Array, "..."]:
    """±a or ±b by the last three bits of each word; those above are not looked at.

    >>> x = four_points(jnp.arange(8, dtype=jnp.uint32), jnp.float32)
    >>> [round(float(jnp.mean(x**k)), 4) + 0.0 for k in range(1, 6)]
    [0.0, 1.0, 0.0, 3.0, 0.0]
    """
    size = jnp.where((bits & 3) == 0, jnp.asarray(OUTER, dtype), jnp.asarray(INNER, dtype))
    return jnp.where((bits & 4) == 0, size, -size)
