"""Increments of a chain's steps, from words of its own stream: normals, or numbers with a normal's first moments.

An integrator of weak order up to two keeps its order when its normals give way to any numbers with the same first five
moments. Four points do with three bits: ±a with probability 3/8 each, ±b with 1/8 each,

    a² = 1 − √(2/3),  b² = 1 + √6,  so that E ζ² = 1 and E ζ⁴ = 3,

odd moments vanishing. One word of 32 bits holds ten. The order is one of smooth observables; what becomes of bins is
measured (`sims/bench/increments.py`). Normals come in pairs, from two words (Box & Muller, Ann. Math. Stat. 29, 610
(1958)), in arithmetic that compilers do for many chains at once.

Source: Milstein & Tretyakov, *Stochastic Numerics for Mathematical Physics*, 2nd ed., section 2.1; lattice random walks
of this kind: arXiv:2508.20883.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from langevin_ib.config.kernels import FOUR_POINT, INCREMENTS, NORMAL

BATCH = "batch"  # the kernel's own draws for all chains of a block, from a key
SOURCES = (BATCH, *INCREMENTS)
BITS = 3  # of a four-point increment
WORDS = {NORMAL: 2, FOUR_POINT: 1}  # that are taken at a time, and what they hold
PER_DRAW = {NORMAL: 2, FOUR_POINT: 32 // BITS}
INNER, OUTER = math.sqrt(1.0 - math.sqrt(2.0 / 3.0)), math.sqrt(1.0 + math.sqrt(6.0))


def increments_of(source: str, words: Sequence[UInt32[Array, "*shape"]], dtype) -> list[Float[Array, "*shape"]]:
    """All increments that `WORDS[source]` words hold, each an array over what the words are of."""
    if source == NORMAL:
        radius, angle = words
        return list(normals(radius, angle, dtype))
    (word,) = words
    return [four_points(word >> (BITS * j), dtype) for j in range(PER_DRAW[FOUR_POINT])]


def normals(
    radius: UInt32[Array, "*shape"], angle: UInt32[Array, "*shape"], dtype
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Two independent normals: √(−2 ln x) (cos φ, sin φ), x in the middle of one of 2³² cells of (0, 1).

    The largest is 6.76, beyond which a normal has 1.4·10⁻¹¹ of its mass. φ has 30 bits within ±π/4, and one for each
    of two reflections, which make it any angle. In float64 the same words give the same numbers up to the rounding of
    float32.

    >>> pair = normals(jnp.uint32([0, 2**31]), jnp.uint32([3, 1]), jnp.float32)
    >>> [[round(float(x), 3) + 0.0 for x in one] for one in pair]
    [[0.0, 0.0], [-6.764, 1.177]]
    """
    size = jnp.sqrt(-2.0 * jax.lax.log((radius.astype(dtype) + 0.5) * 2.0**-32))
    along, across = _cosine_and_sine((angle.astype(jnp.int32) >> 2).astype(dtype) * (2.0**-31 * math.pi))
    swapped, negative = (angle & 1) == 1, (angle & 2) == 2
    signed = jnp.where(negative, -size, size)
    return signed * jnp.where(swapped, across, along), signed * jnp.where(swapped, along, across)


def _cosine_and_sine(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """For |x| ≤ π/4, by Taylor's series to the rounding of float32: XLA calls its own one by one.

    The first terms left out are x¹⁰/10! = 2·10⁻⁸ and x¹¹/11! = 2·10⁻⁹; in float64, where it costs nothing that matters,
    its own are taken.
    """
    if x.dtype == jnp.float64:
        return jnp.cos(x), jnp.sin(x)
    y = x * x
    cosine = 1.0 + y * (-1 / 2 + y * (1 / 24 + y * (-1 / 720 + y * (1 / 40320))))
    sine = x * (1.0 + y * (-1 / 6 + y * (1 / 120 + y * (-1 / 5040 + y * (1 / 362880)))))
    return cosine, sine


def four_points(bits: UInt32[Array, "..."], dtype) -> Float[Array, "..."]:
    """±a or ±b by the last three bits of each word; those above are not looked at.

    >>> x = four_points(jnp.arange(8, dtype=jnp.uint32), jnp.float32)
    >>> [round(float(jnp.mean(x**k)), 4) + 0.0 for k in range(1, 6)]
    [0.0, 1.0, 0.0, 3.0, 0.0]
    """
    size = jnp.where((bits & 3) == 0, jnp.asarray(OUTER, dtype), jnp.asarray(INNER, dtype))
    return jnp.where((bits & 4) == 0, size, -size)
