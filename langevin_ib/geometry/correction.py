"""The implicit bias (T/2) log det G as a function: on the full space, on the quotient, and least along an orbit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from langevin_ib.geometry.gram import fundamental_fields, log_det_gram
from langevin_ib.models.base import Invariants, Model, Params

MAX_TRIES = 250  # steps of at most one: a minimum 200 away in t, a factor e^200 in the parameters, is still reached
LONGEST_STEP = 1.0
SMALLEST_STEP = 1e-12
GRADIENT_TOLERANCE = 1e-10  # the gradient is a pure number, of order one far from the minimum
FLATTEST = 1e-13  # a curvature below this is rounding
LAST_STEP = 1e-2  # at a minimum Newton's step vanishes with the gradient; where the infimum is at infinity it does not
SUFFICIENT = 1e-4  # share of the decrease promised by the gradient that a step has to give
ROUNDING = 1e-12  # of log det H, in units of 1 + |log det H|


class Balanced(NamedTuple):
    """The point of an orbit where log det H is least.

    `params` = exp(t)·θ; `log_det` is log det H there and `gradient` the norm of its derivative in t. Unless
    `converged`, these are the last iterate's, and no minimum.
    """

    t: Float[Array, " m"]
    params: Params
    log_det: Float[Array, ""]
    gradient: Float[Array, ""]
    converged: Bool[Array, ""]


def implicit_bias(model: Model, params: Params, temperature: float) -> Float[Array, ""]:
    """L_IB(θ) = (T/2) log det G_χ(θ), T = σ²/β, eq. (9).

    exp(−(L + L_IB)/T) is a density with respect to the surface measure dσ_S of the slice, not to dz.

    >>> from langevin_ib.models.families.uv import uv
    >>> round(float(implicit_bias(uv(), jnp.array([1.0, 1.0]), 0.2)), 4)  # 0.1 log 2
    0.0693
    """
    return 0.5 * temperature * log_det_gram(model, params)


def effective_loss(model: Model, temperature: float) -> Callable[[Invariants], Float[Array, ""]]:
    """z ↦ ℓ(z) + (T/2) log det G_χ(s(z)), eqs. (1), (9): the effective loss at the balanced point s(z).

    Against dσ_S, as `implicit_bias`: in the coordinates z, log(dσ_S/dz) of `geometry.log_slice_volume` comes on top.

    Args:
        model: gives L, χ and the section s.
        temperature: T = σ²/β.

    >>> from langevin_ib.models.families.uv import uv
    >>> round(float(effective_loss(uv(), 0.2)({"z": jnp.asarray(2.0)})), 4)  # 0.5 + 0.1 log 4
    0.6386
    """

    def loss(invariants: Invariants) -> Float[Array, ""]:
        point = model.section(invariants)
        return model.loss(point) + implicit_bias(model, point, temperature)

    return loss


def minimise_along_orbit(model: Model, params: Params) -> Balanced:
    """min over t ∈ R^m of log det H(exp(t)·θ), behind eqs. (16), (47), (51), (59)–(60); numerically, for any model.

    Newton's iteration in t, in float64 whatever θ is given in; `jax.vmap` takes many points at once. Along each
    eigenvector of the Hessian the step is downhill and at most one long: far out on an orbit log det H is nearly
    linear, and a plain Newton step would leave the range of floats. Where diagonal matrices act, det H is a sum of
    exponentials of t with positive coefficients (Cauchy–Binet), so log det H is convex and has one minimum at most.

    H and not G_χ: it depends on the group and the metric alone. log det G_χ is the same function of θ where ∇χ_a = ξ_a,
    as for every linear rescaling in this package. In general the two agree on the slice if there the gradients ∇χ_i lie
    in the orbit directions and M = H, eqs. (35), (40), (42). Off the slice they may differ, and another χ with the same
    slice has another G_χ.

    Nor does the minimum have to lie on the slice. It does for the models of the paper, whose groups scale two factors
    by λ and 1/λ. On the orbit (e^t a, e^(−2t) b) it does not: χ = ½(a² − 2b²) vanishes at a² = 2b², and
    H = a² + 4b² is least at a² = 8b².

    Args:
        model: gives the action; its χ is not used.
        params: θ, any point of the orbit.

    Returns:
        The minimum. Not converged where there is none, because log det H falls for ever (on the orbit of (0, v) for uv)
        or only approaches its infimum, and where the action is not free at θ (then `log_det` is infinite).

    Source: arXiv:2601.06597, eqs. (15)–(16), (34), (43).

    >>> from langevin_ib.models.families.uv import uv
    >>> balanced = minimise_along_orbit(uv(), jnp.array([4.0, 0.25]))
    >>> balanced.params.round(6).tolist(), bool(balanced.converged)
    ([1.0, 1.0], True)
    """
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        end = jax.jit(lambda point: _search(model, point))(start)
        gradient = jnp.linalg.norm(end.gradient)
        # A compact orbit has a minimum in any case, and log det H is constant on it where the metric is invariant.
        attained = model.compact_orbits | (jnp.linalg.norm(end.newton) <= LAST_STEP)
        converged = jnp.isfinite(end.value) & (gradient <= GRADIENT_TOLERANCE) & attained
        return Balanced(end.t, model.act(end.t, start), end.value, gradient, converged)


class Iterate(NamedTuple):
    """A point of a search: the function, its gradient, the Hessian's eigenvectors, Newton's step along each of them."""

    t: Float[Array, " m"]
    value: Float[Array, ""]
    gradient: Float[Array, " m"]
    directions: Float[Array, "m m"]
    newton: Float[Array, " m"]


class _Search(NamedTuple):
    at: Iterate
    longest: Float[Array, ""]
    tries: Int[Array, ""]


def _search(model: Model, start: Params) -> Iterate:
    def log_det(t):
        # From the fields, not from H: the product would square their condition number, which is large far out.
        triangle = jnp.linalg.qr(fundamental_fields(model, model.act(t, start)).T)[1]
        return 2.0 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(triangle))))

    return newton(log_det, model.group_dim)


def newton(function: Callable[[Float[Array, " m"]], Float[Array, ""]], dim: int) -> Iterate:
    """Where Newton's iteration from t = 0 ends on a function of t ∈ R^dim that grows like a logarithm far out.

    Along each eigenvector of the Hessian the step is downhill and at most one long. For float64, inside `jax.jit`.

    Args:
        function: twice differentiable; where it is not finite no step goes.
        dim: m, the length of t.

    Returns:
        The last iterate; whether its gradient vanishes is for the caller to judge.

    >>> with jax.enable_x64(True):
    ...     end = newton(lambda t: jnp.sum(jnp.log(jnp.cosh(t - 3.0))), 2)
    >>> end.t.round(6).tolist()
    [3.0, 3.0]
    """

    def slope(t):
        value, gradient = jax.value_and_grad(function)(t)
        return gradient, (value, gradient)

    def iterate(t) -> Iterate:
        hessian, (value, gradient) = jax.jacfwd(slope, has_aux=True)(t)
        curvature, directions = jnp.linalg.eigh(hessian)
        along = (directions.T @ gradient) / jnp.maximum(jnp.abs(curvature), FLATTEST)
        return Iterate(t, value, gradient, directions, along)

    def unfinished(search: _Search) -> Bool[Array, ""]:
        left = (search.tries < MAX_TRIES) & (search.longest > SMALLEST_STEP)
        return left & (jnp.linalg.norm(search.at.gradient) > GRADIENT_TOLERANCE)

    def advance(search: _Search) -> _Search:
        at, longest = search.at, search.longest
        step = at.directions @ jnp.clip(at.newton, -longest, longest)
        trial = iterate(at.t - step)
        wanted = at.value - SUFFICIENT * at.gradient @ step + ROUNDING * (1.0 + jnp.abs(at.value))
        accepted = jnp.isfinite(trial.value) & jnp.all(jnp.isfinite(trial.newton)) & (trial.value <= wanted)
        return _Search(
            at=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), trial, at),
            longest=jnp.where(accepted, jnp.minimum(2.0 * longest, LONGEST_STEP), 0.25 * longest),
            tries=search.tries + 1,
        )

    # Nothing is known at θ itself yet, so that anything finite is accepted there: the derivatives, which take long to
    # compile, then stand in the program once.
    zeros, infinite = jnp.zeros(dim, jnp.float64), jnp.asarray(jnp.inf, jnp.float64)
    unknown = Iterate(zeros, infinite, jnp.ones_like(zeros), jnp.eye(dim, dtype=jnp.float64), zeros)
    search = _Search(unknown, jnp.asarray(LONGEST_STEP, jnp.float64), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, advance, search).at
