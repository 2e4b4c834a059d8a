"""The charge χ along training: its change under SGD, step by step and on average.

Every gradient of an invariant loss is orthogonal to the orbit: Dχ ĝ = 0 where ∇χ = ξ. So a step changes a quadratic χ
by its second order alone, χ(θ − ηĝ) = χ(θ) + η² χ(ĝ), exactly. For uv, with g = dL/dz of the batch, that is
χ' = χ (1 − η²g²).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.geometry.gram import fundamental_fields
from langevin_ib.models.base import Model, Params

NEWTON_STEPS = 50
LONGEST_STEP = 0.5  # of Newton's method along the orbit
BALANCED = 1e-7  # drift of χ, in units of η tr Σ, that counts as none
SETTLED = 1e-9  # the same after Newton's method
NO_RATE = 1e-6  # a rate below this share of η tr Σ/|θ|² is none
ROUNDING = 1e-9  # of rates, and 1e-3 of it of drifts, in units of the potential's curvature


class GradientNoise(NamedTuple):
    """Mean (q,) and covariance (q, q) of the stochastic gradient at a point, parameters flattened."""

    mean: Float[Array, " q"]
    covariance: Float[Array, "q q"]


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


class ChargeBalance(NamedTuple):
    """Where the mean drift of χ vanishes along an orbit, and how fast χ goes there; see `charge_balance`."""

    charge: Float[np.ndarray, " m"]
    rate: float


def charge_balance(
    model: Model,
    potential: Callable[[Params], Float[Array, ""]],
    covariance: Callable[[Params], Float[Array, "q q"]],
    params: Params,
    lr: float,
) -> ChargeBalance | None:
    """The balance of SGD along the orbit of a minimum, and the rate of the slowest component of χ near it.

    With V = L + C, dχ/dt = F(χ) = −Dχ ∇V + (η/2) tr(D²χ (Σ + ∇V ∇Vᵀ)) along the orbit; the balance is F(χ*) = 0 and the
    rate the smallest −Re of an eigenvalue of the m × m matrix dF/dχ there, per unit of t = nη. For uv χ* = 0 and the
    rate is ηS, and ηS + 2λ with weight decay λ.

    Args:
        model: gives χ and the action.
        potential: V.
        covariance: θ ↦ Σ(θ).
        params: a balanced point, χ = 0, where V is least.
        lr: η.

    Returns:
        None if there is no balance near, or χ does not converge to it; also for a χ without drift (isotropic noise).
    """

    def drift(t):
        point = model.act(t, params)
        slope = ravel_pytree(jax.grad(potential)(point))[0]
        flat, unravel = ravel_pytree(point)
        pull = jax.jvp(lambda x: model.moment_map(unravel(x)), (flat,), (slope,))[1]
        return charge_rate(model, GradientNoise(slope, covariance(point)), point, lr) - pull

    def expand(t):
        charge_slope = jax.jacfwd(lambda x: model.moment_map(model.act(x, params)))(t)
        return drift(t), jax.jacfwd(drift)(t), charge_slope, model.moment_map(model.act(t, params))

    evaluate = jax.jit(expand)
    flat = ravel_pytree(params)[0]
    kick = lr * float(jnp.trace(covariance(params)))
    curvature = float(jnp.max(jnp.abs(jnp.linalg.eigvalsh(jax.hessian(_flattened(potential, params))(flat)))))
    rounding = ROUNDING * curvature * float(flat @ flat)
    t = np.zeros(model.group_dim)
    expansion = [np.asarray(part) for part in evaluate(jnp.asarray(t, flat.dtype))]
    if np.abs(expansion[0]).max() > BALANCED * kick + 1e-3 * rounding:
        for _ in range(NEWTON_STEPS):
            step = -np.linalg.lstsq(expansion[1], expansion[0], rcond=None)[0]
            t = t + step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
            expansion = [np.asarray(part) for part in evaluate(jnp.asarray(t, flat.dtype))]
            if not np.isfinite(np.concatenate([part.ravel() for part in expansion])).all():
                return None
            if np.abs(expansion[0]).max() <= SETTLED * kick + 1e-3 * rounding:
                break
        else:
            return None
    _, slope, charge_slope, charge = expansion
    rate = float(-np.linalg.eigvals(np.linalg.solve(charge_slope.T, slope.T)).real.max())
    if not rate > (NO_RATE * kick + rounding) / float(flat @ flat):
        return None
    return ChargeBalance(charge if np.any(t) else np.zeros_like(charge), rate)


def _flattened(function: Callable[[Params], Float[Array, ""]], like: Params) -> Callable[[Array], Float[Array, ""]]:
    unravel = ravel_pytree(like)[1]
    return lambda x: function(unravel(x))


def log_ratio(model: Model, params: Params) -> Float[Array, " m"]:
    """ρ_a = artanh(2χ_a/|ξ_a|²), which for a vector pair is log |a|/|b|: |ξ|² = |a|² + |b|².

    >>> from langevin_ib.models import uv
    >>> float(jnp.exp(log_ratio(uv(), jnp.array([3.0, 1.0])))[0].round(4))
    3.0
    """
    square = jnp.sum(fundamental_fields(model, params) ** 2, axis=1)
    return jnp.arctanh(2.0 * model.moment_map(params) / square)


def pair_size(model: Model, params: Params) -> Float[Array, " m"]:
    """s_a = √(|ξ_a|⁴/4 − χ_a²), which for a vector pair is |a||b|."""
    square = jnp.sum(fundamental_fields(model, params) ** 2, axis=1)
    return jnp.sqrt(0.25 * square**2 - model.moment_map(params) ** 2)
