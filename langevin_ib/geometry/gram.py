"""Orbits, slices and their Gram matrices, all derived from a `Model` by automatic differentiation.

Parameters are flattened in the order of `ravel_pytree`; the metric is Euclidean; q is the number of parameters and m
the dimension of the group. Equation numbers are those of arXiv:2601.06597.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from langevin_ib.background import FAST
from langevin_ib.geometry.linalg import largest_eigenvalue, log_det_spd
from langevin_ib.models.base import Chart, Model, Params, SliceTerms

DENSE, LANCZOS = 100, 48  # parameters up to which all eigenvalues are computed; products with vectors for more


def fundamental_fields(model: Model, params: Params) -> Float[Array, "m q"]:
    """ξ_a(θ) = d/dt exp(t e_a)·θ at t = 0, a = 1..m, eq. (19)."""
    return _fields(model.act, model.group_dim, params)


def _fields(act, dim: int, params: Params) -> Float[Array, "m q"]:
    at_zero = jnp.zeros(dim, ravel_pytree(params)[0].dtype)
    return jax.jacfwd(lambda t: ravel_pytree(act(t, params))[0])(at_zero).T


def moment_jacobian(model: Model, params: Params) -> Float[Array, "m q"]:
    """Dχ(θ), whose rows are the gradients ∇χ_i."""
    flat, unravel = ravel_pytree(params)
    return jax.jacrev(lambda x: model.moment_map(unravel(x)))(flat)


def all_fields(model: Model, params: Params) -> Float[Array, "k q"]:
    """The fundamental fields of G and, below them, of the compact group that is divided out too."""
    fields = fundamental_fields(model, params)
    if model.compact_act is None:
        return fields
    return jnp.concatenate([fields, _fields(model.compact_act, model.compact_dim, params)])


def orbit_gram(model: Model, params: Params) -> Float[Array, "m m"]:
    """H_ab = ⟨ξ_a, ξ_b⟩, eq. (34)."""
    fields = fundamental_fields(model, params)
    return fields @ fields.T


def coupling(model: Model, params: Params) -> Float[Array, "m m"]:
    """M_ia = Dχ_i ξ_a, eq. (33)."""
    return moment_jacobian(model, params) @ fundamental_fields(model, params).T


def constraint_gram(model: Model, params: Params) -> Float[Array, "m m"]:
    """G_χ = Dχ Dχᵀ, eq. (24)."""
    jacobian = moment_jacobian(model, params)
    return jacobian @ jacobian.T


def log_det_gram(model: Model, params: Params) -> Float[Array, ""]:
    """log det G_χ(θ): the geometric correction of eqs. (1), (9) is T/2 times this.

    >>> from langevin_ib.models import uv
    >>> float(jnp.exp(log_det_gram(uv(), jnp.array([1.0, 1.0]))).round(6))  # u² + v²
    2.0
    """
    return log_det_spd(constraint_gram(model, params))


def log_slice_volume(chart: Chart, x: Float[Array, " k"]) -> Float[Array, ""]:
    """log(dσ_S/dx) = ½ log det(DsᵀDs): the surface measure of the slice in the coordinates x of the quotient.

    Where a compact group of isometries is divided out too, Ds is joined by its fundamental fields: dσ_S, integrated
    over the compact orbits, whose volume per invariant measure of the group is the same everywhere.
    """
    jacobian = jax.jacfwd(lambda z: ravel_pytree(chart.section(z))[0])(x)
    if chart.model.compact_act is not None:
        fields = _fields(chart.model.compact_act, chart.model.compact_dim, chart.section(x))
        jacobian = jnp.concatenate([jacobian, fields.T], axis=1)
    return 0.5 * log_det_spd(jacobian.T @ jacobian)


def slice_terms(chart: Chart, x: Float[Array, " k"]) -> SliceTerms:
    """log det G, log dσ_S/dx and ℓ at s(x): the model's closed forms where it has them, else from the geometry."""
    if chart.model.slice_terms is not None:
        return chart.model.slice_terms(chart.invariants(x))
    return derived_slice_terms(chart, x)


def derived_slice_terms(chart: Chart, x: Float[Array, " k"]) -> SliceTerms:
    """The same from the loss, χ and the section by automatic differentiation, whatever the model has."""
    point = chart.section(x)
    return SliceTerms(log_det_gram(chart.model, point), log_slice_volume(chart, x), chart.model.loss(point))


def log_orbit_jacobian(chart: Chart, t: Float[Array, " m"], x: Float[Array, " k"]) -> Float[Array, ""]:
    """log |det ∂(exp(t)·s(x)) / ∂(t, x)|: Lebesgue measure dθ in the coordinates (t, x), which cover one branch.

    Integrated over the orbits of a compact group of isometries, where that is divided out too.
    """

    def embed(coordinates):
        return ravel_pytree(chart.model.act(coordinates[: t.size], chart.section(coordinates[t.size :])))[0]

    jacobian = jax.jacfwd(embed)(jnp.concatenate([t, x]))
    if chart.model.compact_act is not None:
        fields = _fields(chart.model.compact_act, chart.model.compact_dim, chart.model.act(t, chart.section(x)))
        jacobian = jnp.concatenate([jacobian, fields.T], axis=1)
    # Rows scaled to one first: far along an orbit they differ by factors like e^{2t}, which JᵀJ would square.
    scale = jnp.max(jnp.abs(jacobian), axis=1)
    scaled = jacobian / scale[:, None]
    return jnp.sum(jnp.log(scale)) + 0.5 * log_det_spd(scaled.T @ scaled)


def largest_curvature(potential, params: Params) -> Float[Array, ""]:
    """Largest absolute eigenvalue of the Hessian of `potential` at θ: what limits an explicit step.

    Of more than 100 parameters by products of the Hessian with vectors, which come from below: short by 1e-10 at most
    at 24 points each of a ReLU network, a Hadamard model and attention (`tests/test_larger_groups.py`), by 2e-3 of a
    random matrix of 3000, whose largest eigenvalues lie close.
    """
    flat, unravel = ravel_pytree(params)
    if flat.size > DENSE:
        slope = jax.grad(lambda x: potential(unravel(x)))
        start = jnp.asarray(np.random.default_rng(0).normal(size=flat.size), flat.dtype)
        return largest_eigenvalue(lambda v: jax.jvp(slope, (flat,), (v,))[1], start, LANCZOS)
    hessian = jax.hessian(lambda x: potential(unravel(x)))(flat)
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(hessian)))


def reduced_curvatures(chart: Chart, x: Float[Array, " k"], potential=None) -> Float[Array, " k"]:
    """Eigenvalues, ascending, of the Hessian of L (or of `potential`) at s(x) without the directions along the orbit.

    At its minimum they are the rates at which the coordinates of the quotient settle.
    """
    potential = chart.model.loss if potential is None else potential
    point = chart.section(x)
    flat, unravel = ravel_pytree(point)
    fields = all_fields(chart.model, point)
    across = jnp.linalg.svd(fields, full_matrices=True)[2][fields.shape[0] :]
    hessian = jax.hessian(lambda y: potential(unravel(y)))(flat)
    return jnp.linalg.eigvalsh(across @ hessian @ across.T)


def orbit_curvatures(model: Model, potential, params: Params) -> Float[Array, " m"]:
    """Eigenvalues, ascending, of the Hessian of a potential along the orbit of θ, in units of its Gram matrix.

    At a minimum they are the rates at which chains settle along the orbit: 2λ with weight decay λ, of a balanced pair.

    >>> from langevin_ib.models import uv
    >>> decay = lambda p: 0.1 * jnp.sum(p**2) / 2
    >>> round(float(orbit_curvatures(uv(), decay, jnp.array([1.0, 1.0]))[0]), 6)
    0.2
    """
    zero = jnp.zeros(model.group_dim, ravel_pytree(params)[0].dtype)
    hessian = jax.hessian(lambda t: potential(model.act(t, params)))(zero)
    root = jnp.linalg.cholesky(orbit_gram(model, params))
    half = jax.scipy.linalg.solve_triangular(root, hessian, lower=True)
    return jnp.linalg.eigvalsh(jax.scipy.linalg.solve_triangular(root, half.T, lower=True))


class SliceReport(NamedTuple):
    """Relation of a slice to the orbits, over some of its points; see `slice_report`."""

    equation_40: Any
    canonical_gap: Any
    log_det_spread: Any


def slice_report(model: Model, points: PyTree[Float[Array | np.ndarray, "points ..."]]) -> SliceReport:
    """What the theorem needs of a slice, measured in float64 on the orbits of given points.

    Args:
        model: any model.
        points: parameters with a leading axis of points; the report is at the sections of their orbits.

    Returns:
        `equation_40`: the largest |G_χ − M H⁻¹ Mᵀ| / |G_χ|, eq. (40): 0 where the gradients of χ lie along the orbit.
        `canonical_gap`: the largest |M − H| / |H|, eq. (42): 0 for a canonical χ.
        `log_det_spread`: largest minus smallest log det G_χ − log det H: by eq. (43) 0 for a canonical χ; a number that
        is not 0 is a correction of the slice law, in units of −½ log p, that is due to χ and not to the orbits.

    >>> from langevin_ib.models import uv
    >>> [float(value) for value in slice_report(uv(), jnp.array([[1.0, 2.0], [0.5, 3.0]]))]
    [0.0, 0.0, 0.0]
    """

    def at(params):
        point = model.section(model.invariants(params))
        H, M, G = orbit_gram(model, point), coupling(model, point), constraint_gram(model, point)
        residual = jnp.linalg.norm(G - M @ jnp.linalg.solve(H, M.T)) / jnp.linalg.norm(G)
        return residual, jnp.linalg.norm(M - H) / jnp.linalg.norm(H), log_det_spd(G) - log_det_spd(H)

    if model.group_dim == 0:
        return SliceReport(*(np.zeros(()) for _ in SliceReport._fields))
    with jax.enable_x64(True):
        points = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), points)
        each = jax.jit(lambda xs: jax.lax.map(at, xs), compiler_options=FAST)(points)
        residual, gap, excess = map(np.asarray, each)
        return SliceReport(*(np.asarray(value) for value in (residual.max(), gap.max(), excess.max() - excess.min())))
