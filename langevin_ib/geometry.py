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
from jaxtyping import Array, Float, Key

from langevin_ib.errors import ModelError
from langevin_ib.models.base import Chart, Model, Params

UNROLLED_SIZE = 6


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


def log_det_spd(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """log det of a symmetric positive definite matrix; −inf or NaN where it is singular.

    Written out as a Cholesky factorisation for small n: a LAPACK call per chain, which is what `slogdet` becomes under
    vmap on a CPU, made a recorded draw cost as much as a hundred steps.
    """
    n = matrix.shape[0]
    if n > UNROLLED_SIZE:
        return jnp.linalg.slogdet(matrix)[1]
    log_det, rest = jnp.zeros((), matrix.dtype), matrix
    for _ in range(n):
        pivot = rest[0, 0]
        log_det = log_det + jnp.log(pivot)
        rest = rest[1:, 1:] - jnp.outer(rest[1:, 0], rest[0, 1:]) / pivot
    return log_det


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


def log_orbit_jacobian(chart: Chart, t: Float[Array, " m"], x: Float[Array, " k"]) -> Float[Array, ""]:
    """log |det ∂(exp(t)·s(x)) / ∂(t, x)|: Lebesgue measure dθ in the coordinates (t, x), which cover one branch."""

    def embed(coordinates):
        return ravel_pytree(chart.model.act(coordinates[: t.size], chart.section(coordinates[t.size :])))[0]

    jacobian = jax.jacfwd(embed)(jnp.concatenate([t, x]))
    # Rows scaled to one first: far along an orbit they differ by factors like e^{2t}, which JᵀJ would square.
    scale = jnp.max(jnp.abs(jacobian), axis=1)
    scaled = jacobian / scale[:, None]
    return jnp.sum(jnp.log(scale)) + 0.5 * log_det_spd(scaled.T @ scaled)


def largest_curvature(potential, params: Params) -> Float[Array, ""]:
    """Largest absolute eigenvalue of the Hessian of `potential` at θ: what limits an explicit step."""
    flat, unravel = ravel_pytree(params)
    hessian = jax.hessian(lambda x: potential(unravel(x)))(flat)
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(hessian)))


class _Probe(NamedTuple):
    """What `check_model` looks at, at one random point: traced values on the device, then numpy's on the host."""

    loss: Any
    loss_moved: Any
    invariants: Any
    invariants_moved: Any
    invariants_of_section: Any
    charge_of_section: Any
    orbit_spectrum: Any
    coupling_on_slice: Any
    point: Any


def check_model(model: Model, key: Key[Array, ""], points: int = 8, tolerance: float = 1e-8) -> None:
    """Verify a model's contract in float64 at `points` random parameters and random group elements.

    Checked: L and the invariants do not change along the orbit; χ(s(z)) = 0; z(s(z)) = z; the orbit Gram matrix H is
    non-singular (the action is free) at the point and on the slice, and M is too (the slice is transversal);
    dim Z = q − m.

    Raises:
        ModelError: one line that says what failed, by how much, at which point.
    """
    with jax.enable_x64(True):
        key_init, key_move = jax.random.split(key)
        inits = [_as_float64(model.init(k)) for k in jax.random.split(key_init, points)]
        moves = 0.5 * jax.random.normal(key_move, (points, model.group_dim))
        _check_dimensions(model, inits[0])
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inits)
        probes = jax.jit(lambda xs: jax.lax.map(lambda x: _probe(model, *x), xs))((stacked, moves))
        for i in range(points):
            _judge(model, _Probe(*(np.asarray(leaf[i]) for leaf in probes)), tolerance)


def _as_float64(params: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)


def _check_dimensions(model: Model, params: Params) -> None:
    q = ravel_pytree(params)[0].size
    k = Chart(model).dim
    m = model.moment_map(params).size
    if m != model.group_dim:
        raise ModelError(f"model {model.name}: moment_map has {m} components, group_dim is {model.group_dim}")
    if k != q - m - model.compact_dim:
        raise ModelError(
            f"model {model.name}: {k} invariants for {q} parameters and a group of dimension {m + model.compact_dim}: "
            "not q − m"
        )


def _probe(model: Model, params: Params, move: Float[Array, " m"]) -> _Probe:
    moved = model.act(move, params)
    invariants = model.invariants(params)
    balanced = model.section(invariants)

    def flat(tree):
        return ravel_pytree(tree)[0]

    return _Probe(
        loss=model.loss(params),
        loss_moved=model.loss(moved),
        invariants=flat(invariants),
        invariants_moved=flat(model.invariants(moved)),
        invariants_of_section=flat(model.invariants(balanced)),
        charge_of_section=model.moment_map(balanced),
        orbit_spectrum=jnp.linalg.eigvalsh(orbit_gram(model, params)),
        coupling_on_slice=jnp.linalg.svd(coupling(model, balanced), compute_uv=False),
        point=flat(params),
    )


def _judge(model: Model, probe: _Probe, tolerance: float) -> None:
    where = "at θ = [" + ", ".join(f"{x:.4g}" for x in probe.point[:8]) + (", …]" if probe.point.size > 8 else "]")

    def differ(what: str, got: np.ndarray, wanted: np.ndarray) -> None:
        scale = 1.0 + float(np.max(np.abs(wanted)))
        gap = float(np.max(np.abs(got - wanted)))
        if not gap <= tolerance * scale:
            raise ModelError(f"model {model.name}: {what} by {gap:.3g} {where}")

    # Free action first: at a point where it is not free, a failed section is only a consequence.
    smallest, largest = float(probe.orbit_spectrum[0]), float(probe.orbit_spectrum[-1])
    if not smallest > 1e-12 * max(largest, 1e-300):
        raise ModelError(
            f"model {model.name}: the action is not free, the orbit Gram matrix H is singular "
            f"(eigenvalues {smallest:.3g} to {largest:.3g}) {where}"
        )
    differ("the loss changes along the orbit", probe.loss_moved, probe.loss)
    differ("an invariant changes along the orbit", probe.invariants_moved, probe.invariants)
    differ(
        "the section misses the slice, χ(s(z)) ≠ 0,", probe.charge_of_section, np.zeros_like(probe.charge_of_section)
    )
    differ("the section does not invert the invariants", probe.invariants_of_section, probe.invariants)
    if not float(probe.coupling_on_slice[-1]) > 1e-12 * max(float(probe.coupling_on_slice[0]), 1e-300):
        raise ModelError(f"model {model.name}: the slice is not transversal to the orbit, M is singular {where}")
