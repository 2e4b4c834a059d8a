"""Singular values, the balanced polar factors of a matrix, and bases of symmetric and antisymmetric matrices.

For two and three columns everything is elementary: a LAPACK call per chain, under vmap on a CPU, costs as much as many
steps.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm
from jaxtyping import Array, Float

from langevin_ib.models.pair import asinh_ratio, sinh_ratio

NEWTON_STEPS = 8  # enough for singular values in the ratio 1e5


def singular_values(left: Float[Array, "r n"], right: Float[Array, "r p"]) -> Float[Array, " k"]:
    """Singular values, in descending order, of Σ_j left_j right_jᵀ, min(r, n, p) of them; for r = 2 in closed form.

    With L and R reduced to triangles, σ₁ ± σ₂ of the 2×2 matrix C that is left are |(c₁₁ ± c₂₂, c₁₂ ∓ c₂₁)|: no
    difference of large numbers, so exact to rounding also where columns are parallel or values equal. Differentiable
    where they are distinct and none is zero.

    >>> singular_values(jnp.array([[3.0, 0.0], [0.0, 4.0]]), jnp.eye(2)).tolist()
    [4.0, 3.0]
    """
    rank = left.shape[0]
    if rank == 1:
        return jnp.sqrt(jnp.sum(left**2) * jnp.sum(right**2))[None]
    if rank > 2:
        return jnp.linalg.svd(left.T @ right, compute_uv=False)[:rank]
    (a, b, c), (d, e, f) = _triangle(left), _triangle(right)
    c11, c12, c21, c22 = a * d + b * e, b * f, c * e, c * f
    plus, minus = jnp.hypot(c11 + c22, c12 - c21), jnp.hypot(c11 - c22, c12 + c21)
    # c₁₁c₂₂ − c₁₂c₂₁ = a c d f = σ₁σ₂, which keeps its digits where plus − minus would not.
    larger = 0.5 * (plus + minus)
    return jnp.stack([larger, a * c * d * f / larger])


def _triangle(rows: Float[Array, "2 n"]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """(a, b, c) with rows = [[a, 0], [b, c]] Q, Q of two orthonormal rows: Gram and Schmidt's."""
    first, second = rows
    a = jnp.sqrt(jnp.sum(first**2))
    # |first|²|second|² − (first·second)² by Lagrange's identity.
    areas = jnp.outer(first, second)
    c = jnp.sqrt(0.5 * jnp.sum((areas - areas.T) ** 2)) / a
    return a, first @ second / a, c


def polar_factors(p: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """U = P (PᵀP)^{−1/4}, V = (PᵀP)^{1/4} for an invertible P: balanced factors, UVᵀ = P and UᵀU = VᵀV = (PᵀP)^{1/2}.

    Differentiable to any order, also where singular values coincide.
    """
    if p.shape[0] == 3:
        v, inverse = _sqrt3(modulus(p))
        return p @ inverse, v
    v = sqrt_spd(modulus(p))
    if p.shape[0] == 2:
        adjugate = jnp.array([[0.0, 1.0], [-1.0, 0.0]], p.dtype)
        return p @ (adjugate @ v.T @ adjugate.T) / det2(v), v
    return jnp.linalg.solve(v, p.T).T, v


def modulus(p: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """(PᵀP)^{1/2} of an invertible P, whose eigenvalues are P's singular values."""
    if p.shape[0] == 2:
        return _root2(p.T @ p, jnp.abs(det2(p)))
    if p.shape[0] == 3:
        # Newton's iteration for the orthogonal factor, X ← (μX + X⁻ᵀ/μ)/2, with the factor μ = |det X|^{−1/3}.
        x = p
        for _ in range(NEWTON_STEPS):
            cofactors, det = _cofactors(x)
            scale = jnp.cbrt(1.0 / jnp.abs(det))
            x = 0.5 * (scale * x + cofactors / (scale * det))
        h = x.T @ p
        return 0.5 * (h + h.T)
    return sqrt_spd(p.T @ p)


def _sqrt3(a: Float[Array, "3 3"]) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    """√A and its inverse for a positive definite A, by the scaled iteration of Denman and Beavers."""
    y, z = a, jnp.eye(3, dtype=a.dtype)
    for _ in range(NEWTON_STEPS):
        (y_cofactors, y_det), (z_cofactors, z_det) = _cofactors(y), _cofactors(z)
        scale = (jnp.abs(y_det * z_det)) ** (-1.0 / 6.0)
        y, z = 0.5 * (scale * y + z_cofactors / (scale * z_det)), 0.5 * (scale * z + y_cofactors / (scale * y_det))
    return y, z


def _cofactors(a: Float[Array, "3 3"]) -> tuple[Float[Array, "3 3"], Float[Array, ""]]:
    """The cofactor matrix, det A · A⁻ᵀ, and det A: its rows are the cross products of A's rows."""
    rows = jnp.stack([jnp.cross(a[1], a[2]), jnp.cross(a[2], a[0]), jnp.cross(a[0], a[1])])
    return rows, jnp.sum(rows[0] * a[0])


def det2(a: Float[Array, "2 2"]) -> Float[Array, ""]:
    return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]


def _root2(a: Float[Array, "2 2"], root_det: Float[Array, ""]) -> Float[Array, "2 2"]:
    """√A = (A + √det A)/√(tr A + 2√det A) for a positive definite 2×2 matrix, by Cayley and Hamilton."""
    return (a + root_det * jnp.eye(2, dtype=a.dtype)) / jnp.sqrt(jnp.trace(a) + 2.0 * root_det)


def sqrt_spd(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The positive square root X of a symmetric positive definite matrix A."""
    return _root2(a, jnp.sqrt(det2(a))) if a.shape[0] == 2 else _sqrt_spd(a)


@jax.custom_jvp
def _sqrt_spd(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    values, vectors = jnp.linalg.eigh(a)
    return (vectors * jnp.sqrt(values)) @ vectors.T


@_sqrt_spd.defjvp
def _sqrt_spd_jvp(primals, tangents):
    # X dX + dX X = dA has one solution whatever the spectrum; the derivative through eigh divides by eigenvalue gaps.
    (a,), (da,) = primals, tangents
    x = _sqrt_spd(a)
    n = a.shape[0]
    eye = jnp.eye(n, dtype=a.dtype)
    dx = jnp.linalg.solve(jnp.kron(x, eye) + jnp.kron(eye, x), da.reshape(n * n)).reshape(n, n)
    return x, dx


def root_spd(a: Float[Array, "n n"], degree: int) -> Float[Array, "n n"]:
    """A^{1/k} of a symmetric positive definite A; differentiable to any order, also where eigenvalues coincide."""
    if a.shape[0] == 2:
        return power_spd2(a, 1.0 / degree)
    return _root_spd(degree, a)


def power_spd2(a: Float[Array, "2 2"], power: float) -> Float[Array, "2 2"]:
    """A^γ of a symmetric positive definite 2×2 matrix with eigenvalues m e^{±u}: by Cayley and Hamilton

    A^γ = m^{γ−1} (sinh γu/sinh u) A + m^γ (sinh (1 − γ)u/sinh u) 1,

    where sinh² u = ((a₁₁ − a₂₂)² + 4a₁₂²)/4m², and everything is smooth in u².
    """
    m = jnp.sqrt(det2(a))
    square = (0.25 * (a[0, 0] - a[1, 1]) ** 2 + a[0, 1] * a[1, 0]) / m**2
    u = square * asinh_ratio(square) ** 2  # u²
    whole = sinh_ratio(u)
    of_a = power * sinh_ratio(power**2 * u) / whole
    of_one = (1.0 - power) * sinh_ratio((1.0 - power) ** 2 * u) / whole
    return m ** (power - 1.0) * of_a * a + m**power * of_one * jnp.eye(2, dtype=a.dtype)


def trace_power_spd2(a: Float[Array, "2 2"], root_det: Float[Array, ""], power: float) -> Float[Array, ""]:
    """tr A^γ of a positive definite 2×2 matrix with eigenvalues m e^{±u}, m = √det A: 2m^γ cosh γu."""
    square = (0.25 * (a[0, 0] - a[1, 1]) ** 2 + a[0, 1] * a[1, 0]) / root_det**2
    half = 0.25 * power**2 * square * asinh_ratio(square) ** 2
    return 2.0 * root_det**power * (1.0 + 2.0 * half * sinh_ratio(half) ** 2)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _root_spd(degree: int, a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    values, vectors = jnp.linalg.eigh(a)
    return (vectors * values ** (1.0 / degree)) @ vectors.T


@_root_spd.defjvp
def _root_spd_jvp(degree, primals, tangents):
    # Σ_i X^i dX X^{k−1−i} = dA has one solution whatever the spectrum.
    (a,), (da,) = primals, tangents
    x = _root_spd(degree, a)
    n = a.shape[0]
    powers = [jnp.eye(n, dtype=a.dtype)]
    for _ in range(degree - 1):
        powers.append(powers[-1] @ x)
    form = sum(jnp.kron(powers[i], powers[degree - 1 - i]) for i in range(degree))
    return x, jnp.linalg.solve(form, da.reshape(n * n)).reshape(n, n)


def exp_symmetric(s: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """e^S of a symmetric S; of 2×2, S = τ + N with N² = d², it is e^τ (cosh d + (sinh d/d) N)."""
    if s.shape[0] != 2:
        return expm(s)
    mean = 0.5 * jnp.trace(s)
    rest = s - mean * jnp.eye(2, dtype=s.dtype)
    square = rest[0, 0] ** 2 + rest[0, 1] ** 2
    ratio = sinh_ratio(square)
    return jnp.exp(mean) * (jnp.sqrt(1.0 + square * ratio**2) * jnp.eye(2, dtype=s.dtype) + ratio * rest)


def exp_antisymmetric(s: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """e^S of an antisymmetric S: a rotation; of 2×2 by s₁₂."""
    if s.shape[0] != 2:
        return expm(s)
    cos, sin = jnp.cos(s[0, 1]), jnp.sin(s[0, 1])
    return jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])


def symmetric_basis(n: int) -> Float[np.ndarray, "k n n"]:
    """A basis of the symmetric n×n matrices, orthonormal in the trace inner product: diagonal ones first."""
    return np.concatenate([np.stack([np.diag(row) for row in np.eye(n)]), _pairs(n, 1.0)])


def antisymmetric_basis(n: int) -> Float[np.ndarray, "k n n"]:
    """A basis of the antisymmetric n×n matrices, orthonormal in the trace inner product."""
    return _pairs(n, -1.0)


def _pairs(n: int, sign: float) -> np.ndarray:
    basis = np.zeros((n * (n - 1) // 2, n, n))
    for k, (i, j) in enumerate(combinations(range(n), 2)):
        basis[k, i, j], basis[k, j, i] = np.sqrt(0.5), sign * np.sqrt(0.5)
    return basis
