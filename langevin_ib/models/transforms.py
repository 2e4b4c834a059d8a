"""Transformations of models: another constant metric, another slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from langevin_ib.models.base import Invariants, Model, Params
from langevin_ib.models.training import Training

SYMMETRY = 1e-12  # relative asymmetry of a metric that counts as rounding


def with_metric(model: Model, metric: Float[np.ndarray, "..."]) -> Model:
    """The same model in the whitened parameters φ = g^{1/2} θ of a constant Riemannian metric g.

    Euclidean geometry in φ is the geometry of g in θ. So isotropic Langevin dynamics in φ is the preconditioned
    dynamics dθ = −g⁻¹∇L dt + √(2T) g^{−1/2} dW, and the matrices of the theory become those of the metric:
    H_ab = ξ_aᵀ g ξ_b, G_χ = Dχ g⁻¹ Dχᵀ, while M = Dχ ξ stays. The moment map is the same function on the same slice,
    so it is canonical in g only where ∇χ = g ξ; `geometry.slice_report` says how far it is from that. Weight decay
    becomes λ θᵀgθ/2.

    Args:
        model: any model; q is the number of its parameters, in the order of `ravel_pytree`.
        metric: g: q positive weights of a diagonal metric, or a symmetric positive definite (q, q) matrix.

    Returns:
        A model whose parameters are one array of shape (q,).

    Raises:
        ValueError: g has another shape, or is not symmetric positive definite.

    Source: arXiv:2601.06597, Methods, where gradients and Gram matrices are taken in a metric g.

    >>> from langevin_ib.models.families.uv import uv
    >>> heavy = with_metric(uv(), np.array([4.0, 1.0]))
    >>> heavy.invariants(jnp.array([2.0, 3.0]))["z"].tolist()  # u = 1, v = 3
    3.0
    """
    flat, unravel_like = ravel_pytree(model.init(jax.random.key(0)))
    shapes = jax.eval_shape(unravel_like, flat)
    root, inverse = _metric_roots(np.asarray(metric, np.float64), flat.size)

    def unwhiten(phi: Float[Array, " q"]) -> Params:
        return _unravelled(_apply(inverse, phi), shapes)

    def whiten(params: Params) -> Float[Array, " q"]:
        return _apply(root, ravel_pytree(params)[0])

    def moved(act: Callable) -> Callable:
        return lambda t, phi: whiten(act(t, unwhiten(phi)))

    training = model.training
    return dataclasses.replace(
        model,
        loss=lambda phi: model.loss(unwhiten(phi)),
        act=moved(model.act),
        moment_map=lambda phi: model.moment_map(unwhiten(phi)),
        invariants=lambda phi: model.invariants(unwhiten(phi)),
        section=lambda invariants: whiten(model.section(invariants)),
        slice_terms=None,
        canonical=False,
        init=lambda key: whiten(model.init(key)),
        compact_act=None if model.compact_act is None else moved(model.compact_act),
        training=None if training is None else _whitened_training(training, unwhiten),
        notes=(
            *model.notes,
            "parameters are φ = g^{1/2} θ: geometry, noise and weight decay are those of the metric g",
        ),
    )


def _unravelled(theta: Float[Array, " q"], shapes: PyTree) -> Params:
    """Parameters of these shapes; leaf by leaf, for JAX's own inverse insists on the precision that it has seen."""
    parts, start = [], 0
    for leaf in jax.tree.leaves(shapes):
        parts.append(theta[start : start + leaf.size].reshape(leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(jax.tree.structure(shapes), parts)


def with_moment_map(
    model: Model,
    moment_map: Callable[[Params], Float[Array, " m"]],
    section: Callable[[Invariants], Params] | None = None,
) -> Model:
    """The same model with another transversal symmetry-breaking map χ, eq. (5), and so another slice.

    Args:
        model: any model.
        moment_map: θ ↦ χ(θ) ∈ R^m, with Dχ ξ invertible on its zero set.
        section: z ↦ the point of the orbit with χ = 0; None keeps the model's own, which is right only if the new χ
            vanishes where the old one does. `contract.check_model` refuses a section that misses the slice.

    Source: arXiv:2601.06597, eqs. (40)–(43): the theorem holds for transversal χ, its closed form for canonical ones.
    """
    return dataclasses.replace(
        model, moment_map=moment_map, section=section or model.section, slice_terms=None, canonical=False
    )


def _whitened_training(training: Training, unwhiten: Callable[[Float[Array, " q"]], Params]) -> Training:
    """The same examples, for whitened parameters."""
    return dataclasses.replace(
        training,
        predict=lambda phi, x: training.predict(unwhiten(phi), x),
        risk=lambda task, phi: training.risk(task, unwhiten(phi)),
        penalty=lambda phi: training.penalty(unwhiten(phi)),
    )


def _metric_roots(metric: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray]:
    """g^{1/2} and g^{−1/2}: vectors for a diagonal metric, symmetric matrices for a full one."""
    if metric.shape == (q,):
        if not (np.isfinite(metric).all() and (metric > 0).all()):
            raise ValueError(f"metric must be made of positive weights, got {np.min(metric):g} among them")
        return np.sqrt(metric), 1.0 / np.sqrt(metric)
    if metric.shape != (q, q):
        raise ValueError(f"metric must be {q} weights or a {q} by {q} matrix, got shape {metric.shape}")
    if not (np.isfinite(metric).all() and np.abs(metric - metric.T).max() <= SYMMETRY * np.abs(metric).max()):
        raise ValueError("metric must be a symmetric matrix, got one that differs from its transpose")
    values, vectors = np.linalg.eigh(metric)
    if not values[0] > 0:
        raise ValueError(f"metric must be positive definite, got the eigenvalue {values[0]:g}")
    return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T


def _apply(matrix: np.ndarray, x: Float[Array, " q"]) -> Float[Array, " q"]:
    """A diagonal or a full matrix times a vector, in the vector's precision."""
    factor = jnp.asarray(matrix, x.dtype)
    return factor * x if matrix.ndim == 1 else factor @ x
