"""Linear algebra of small matrices, written out.

Under vmap on a CPU jax.numpy.linalg becomes one LAPACK call per chain, and each costs as much as a hundred steps.
"""

from __future__ import annotations

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
