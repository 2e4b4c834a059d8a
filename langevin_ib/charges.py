"""The charge χ along training: how much of it SGD takes away, step by step and on average.

Every gradient of an invariant loss is orthogonal to the orbit: Dχ ĝ = 0 where ∇χ = ξ. So a step changes a quadratic χ
by its second order alone, χ(θ − ηĝ) = χ(θ) + η² χ(ĝ), exactly. For uv, with g = dL/dz of the batch, that is
χ' = χ (1 − η²g²).
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.geometry import fundamental_fields
from langevin_ib.models.base import Model, Params
from langevin_ib.noise import GradientNoise

Numbers: TypeAlias = Float[Array, "..."] | Float[np.ndarray, "..."]


def charge_increment(model: Model, gradient: Params, lr: float) -> Float[Array, " m"]:
    """χ(θ − ηĝ) − χ(θ) = η² χ(ĝ), for a quadratic form χ with ∇χ = ξ, as in all models but `rotation`.

    >>> from langevin_ib.models import uv
    >>> u, v, g = 2.0, 1.0, 0.5
    >>> round(float(charge_increment(uv(), g * jnp.array([v, u]), 0.1)[0]), 6)  # −χ η²g², χ = 1.5
    -0.00375
    """
    return lr**2 * model.moment_map(gradient)


def charge_rate(model: Model, noise: GradientNoise, params: Params, lr: float) -> Float[Array, " m"]:
    """dχ/dt on average, t = nη: (η/2) tr(D²χ (Σ + ∇L ∇Lᵀ)); without the last term, the diffusion limit's.

    For a vector pair χ = ½(|a|² − |b|²) this is (η/2)(tr Σ_aa − tr Σ_bb); with Γ the batch's gradient with respect to
    a bᵀ, whose gradients are Γb and Γᵀa, it is (η/2)(bᵀ E[ΓᵀΓ] b − aᵀ E[ΓΓᵀ] a): −ηSχ for uv, with S = E Γ². Where
    p ≠ q it does not vanish at |a| = |b| but where these two forms are equal.

    Args:
        model: gives χ.
        noise: ∇L and Σ at θ.
        params: θ.
        lr: η.
    """
    flat, unravel = ravel_pytree(params)
    curvature = jax.hessian(lambda x: model.moment_map(unravel(x)))(flat)
    second = noise.covariance + jnp.outer(noise.mean, noise.mean)
    return 0.5 * lr * jnp.einsum("aij,ij->a", curvature, second)


def log_ratio(model: Model, params: Params) -> Float[Array, " m"]:
    """ρ_a = artanh(2χ_a/|ξ_a|²), which for a vector pair is log |a|/|b|: |ξ|² = |a|² + |b|².

    >>> from langevin_ib.models import uv
    >>> float(jnp.exp(log_ratio(uv(), jnp.array([3.0, 1.0])))[0].round(4))
    3.0
    """
    square = jnp.sum(fundamental_fields(model, params) ** 2, axis=1)
    return jnp.arctanh(2.0 * model.moment_map(params) / square)


def log_ratio_at(charge: Numbers, size: Numbers) -> Float[Array, "..."]:
    """ρ = arsinh(χ/s), s = |a||b|: the log ratio of a pair of this charge once it has this size."""
    return jnp.arcsinh(charge / size)


def pair_size(model: Model, params: Params) -> Float[Array, " m"]:
    """s_a = √(|ξ_a|⁴/4 − χ_a²), which for a vector pair is |a||b|."""
    square = jnp.sum(fundamental_fields(model, params) ** 2, axis=1)
    return jnp.sqrt(0.25 * square**2 - model.moment_map(params) ** 2)
