"""Linear algebra of small matrices, written out.

Under vmap on a CPU jax.numpy.linalg becomes one LAPACK call per chain, and each costs as much as a hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNROLLED_SIZE = 12
SMALLEST = 6  # equations that are eliminated without LAPACK


def log_det_spd(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """log det of a symmetric positive definite matrix; −inf or NaN where it is singular."""
    n = matrix.shape[0]
    if n > UNROLLED_SIZE:
        return jnp.linalg.slogdet(matrix)[1]
    log_det, rest = jnp.zeros((), matrix.dtype), matrix
    for _ in range(n):
        pivot = rest[0, 0]
        log_det = log_det + jnp.log(pivot)
        rest = rest[1:, 1:] - jnp.outer(rest[1:, 0], rest[0, 1:]) / pivot
    return log_det


def largest_eigenvalue(
    product: Callable[[Float[Array, " n"]], Float[Array, " n"]], start: Float[Array, " n"], steps: int
) -> Float[Array, ""]:
    """The largest |eigenvalue| of a symmetric matrix, from products with vectors, by Lanczos' iteration.

    Every vector is made orthogonal to all before it, so that no eigenvalue comes twice. It comes from below.
    """

    def step(i, carry):
        vectors, diagonal, side, v = carry
        vectors = vectors.at[i].set(v)
        w = product(v)
        diagonal = diagonal.at[i].set(v @ w)
        for _ in range(2):  # twice is enough
            w = w - vectors.T @ (vectors @ w)
        length = jnp.linalg.norm(w)
        # Where the space is used up the rest of the matrix is zero.
        more = length > 1e-12 * jnp.max(jnp.abs(diagonal))
        return vectors, diagonal, side.at[i].set(jnp.where(more, length, 0.0)), jnp.where(more, w / length, 0.0)

    n = start.size
    empty = jnp.zeros((steps, n), start.dtype), jnp.zeros(steps, start.dtype), jnp.zeros(steps, start.dtype)
    _, diagonal, side, _ = jax.lax.fori_loop(0, steps, step, (*empty, start / jnp.linalg.norm(start)))
    tridiagonal = jnp.diag(diagonal) + jnp.diag(side[:-1], 1) + jnp.diag(side[:-1], -1)
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(tridiagonal)))


def log_abs_det(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """log |det| of a non-singular matrix A, as ½ log det AᵀA, which needs no pivoting."""
    return 0.5 * log_det_spd(matrix.T @ matrix)


def solve(matrix: Float[Array, "m m"], right: Float[Array, " m"]) -> Float[Array, " m"]:
    """matrix⁻¹ right without pivoting for small m: for a matrix near a positive definite one, such as Dχ Dχᵀ.

    Where it is far from that the result may not be finite, which callers have to look at.
    """
    m = right.shape[0]
    if m > SMALLEST:
        return jnp.linalg.solve(matrix, right)
    if m == 1:
        return right / matrix[0, 0]
    factor = matrix[1:, 0] / matrix[0, 0]
    rest = solve(matrix[1:, 1:] - jnp.outer(factor, matrix[0, 1:]), right[1:] - factor * right[0])
    first = (right[0] - matrix[0, 1:] @ rest) / matrix[0, 0]
    return jnp.concatenate([first[None], rest])
