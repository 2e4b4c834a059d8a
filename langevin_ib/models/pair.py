"""The vector pair (a ∈ R^p, b ∈ R^q) under (e^t a, e^{−t} b): the chart of its orbits, and its starts.

A ReLU neuron, a query/key channel and a column pair of U Vᵀ are such pairs. With s = |a||b| and directions â, b̂, an
orbit is given by w = |b| a = s â ∈ R^p and by b̂ ∈ S^{q−1}, in coordinates η ∈ R^{q−1}: at the angle φ from the middle
of the chart, |η| = ρ with tan(φ/2) = sinh ρ. That is the stereographic projection with its radius drawn in: the surface
measure of the sphere falls like e^{−(q−1)ρ}, where the projection itself would have the tails of a power, in which a
sampler loses its way. The chart leaves out one direction of b̂, its pole φ = π: callers choose it far from where the
mass is, with `frame_avoiding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from langevin_ib.models.base import Invariants, Params, SliceTerms

TRIALS = 4096
SERIES = 1e-3  # ρ² below which five terms of a power series are exact in float64


class PairPoint(NamedTuple):
    """Chart coordinates of pairs: w = |b| a, (..., p), and η of b/|b|, (..., q−1)."""

    w: Float[Array, "... p"]
    eta: Float[Array, "... q1"]


def to_chart(a: Float[Array, "... p"], b: Float[Array, "... q"], frame: Float[np.ndarray, "q q"]) -> PairPoint:
    """(w, η) of pairs (a, b).

    With y = F b/|b| and F the frame, the stereographic projection from the pole y_q = 1, which is the last row of F as
    a direction of b, has the coordinates y_i / (1 − y_q), i < q, of length sinh |η|. For q = 2, η = 0 is opposite to
    the pole and sinh |η| = 1 orthogonal to it.

    Args:
        a, b: batches of vectors, none of them zero.
        frame: F, an orthogonal matrix.

    >>> point = to_chart(jnp.array([0.0, 2.0]), jnp.array([0.0, -3.0]), np.eye(2))
    >>> point.w.tolist(), point.eta.tolist()
    ([0.0, 6.0], [0.0])
    """
    length = jnp.linalg.norm(b, axis=-1, keepdims=True)
    y = (b / length) @ jnp.asarray(frame, b.dtype).T
    side, last = y[..., :-1], y[..., -1:]
    # Near the pole 1 − y_q is lost to rounding, in float32 to the last digit; there it is |y'|²/(1 + y_q).
    below = last < 0.0
    far = jnp.where(below, 1.0, jnp.sum(side**2, axis=-1, keepdims=True))
    projected = side * jnp.where(below, 1.0 / (1.0 - last), (1.0 + last) / far)
    square = jnp.sum(projected**2, axis=-1, keepdims=True)
    return PairPoint(length * a, projected * asinh_ratio(square))


def direction(eta: Float[Array, "... q1"], frame: Float[np.ndarray, "q q"]) -> Float[Array, "... q"]:
    """b/|b| of η: with ρ = |η| and x = η sinh ρ/ρ, y = (2x, |x|² − 1)/cosh² ρ and b/|b| = Fᵀ y."""
    square = jnp.sum(eta**2, axis=-1, keepdims=True)
    projected = eta * sinh_ratio(square)
    far = jnp.sum(projected**2, axis=-1, keepdims=True)
    y = jnp.concatenate([2.0 * projected, far - 1.0], axis=-1) / (far + 1.0)
    return y @ jnp.asarray(frame, eta.dtype)


def log_sphere(eta: Float[Array, "... q1"]) -> Float[Array, ""]:
    """log of db̂/dη, summed over pairs: db̂ = (2/cosh² ρ)^{q−1} dx and dx = (sinh ρ/ρ)^{q−2} cosh ρ dη, ρ = |η|."""
    square = jnp.sum(eta**2, axis=-1)
    q = eta.shape[-1] + 1
    ratio = sinh_ratio(square)
    log_cosh = 0.5 * jnp.log1p(square * ratio**2)
    return jnp.sum((q - 1) * jnp.log(2.0) - (2 * q - 3) * log_cosh + (q - 2) * jnp.log(ratio))


def sinh_ratio(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """sinh ρ/ρ of ρ², smooth at 0."""
    small = square < SERIES
    rho = jnp.sqrt(jnp.where(small, 1.0, square))
    series = 1.0 + square / 6.0 * (1.0 + square / 20.0 * (1.0 + square / 42.0 * (1.0 + square / 72.0)))
    return jnp.where(small, series, jnp.sinh(rho) / rho)


def asinh_ratio(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """arsinh r/r of r², smooth at 0."""
    small = square < SERIES
    r = jnp.sqrt(jnp.where(small, 1.0, square))
    series = 1.0 - square * (1 / 6 - square * (3 / 40 - square * (5 / 112 - square * (35 / 1152 - square * 63 / 2816))))
    return jnp.where(small, series, jnp.arcsinh(r) / r)


def pair_slice_terms(loss: Float[Array, ""], s: Float[Array, "..."], p: int, q: int) -> SliceTerms:
    """log det G = Σ log 2s, and log dσ_S/(dw db̂) = Σ log(2^{−1/2} s^{(q−p−1)/2}), over pairs of |a||b| = s; ℓ as given.

    On the slice |da|² + |db|² = ds²/2s + s |dâ|² + s |db̂|², while dw = s^{p−1} ds dâ.
    """
    log_s = jnp.log(s)
    log_volume = -0.5 * jnp.log(2.0) + 0.5 * (q - p - 1) * log_s
    return SliceTerms(jnp.sum(jnp.log(2.0) + log_s), jnp.sum(log_volume), loss)


def chart_terms(loss: Float[Array, ""], point: PairPoint) -> SliceTerms:
    """`pair_slice_terms` in the coordinates (w, η)."""
    bare = pair_slice_terms(loss, jnp.linalg.norm(point.w, axis=-1), point.w.shape[-1], point.eta.shape[-1] + 1)
    return bare._replace(log_volume=bare.log_volume + log_sphere(point.eta))


# dη is not bounded at the chart's pole, and would depend on where that is.
FLAT = ("dw db̂", lambda invariants: log_sphere(invariants["eta"]))


def slice_terms_of(
    loss: Callable[[Params], Float[Array, ""]], section: Callable[[Invariants], Params]
) -> Callable[[Invariants], SliceTerms]:
    """z ↦ the closed forms of a model whose pairs are in the chart, those of `chart_terms`."""
    return lambda invariants: chart_terms(loss(section(invariants)), PairPoint(invariants["w"], invariants["eta"]))


def balanced(point: PairPoint, frame: Float[np.ndarray, "q q"]) -> tuple[Float[Array, "... p"], Float[Array, "... q"]]:
    """The pairs (a, b) of given (w, η) with |a| = |b| = √s, s = |w|: the section of χ = ½(|a|² − |b|²)."""
    root = jnp.sqrt(jnp.linalg.norm(point.w, axis=-1, keepdims=True))
    return point.w / root, root * direction(point.eta, frame)


def frame_avoiding(directions: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "q q"]:
    """An orthogonal frame whose pole (last row) is far from every given direction and from its opposite.

    Where the predictor is even in a pair, (a, b) and (−a, −b), the mass sits at b̂ and at −b̂ alike, so a pole opposite
    to b̂ would put half of it at infinity. The pole is the best of a fixed set of random directions.
    """
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    q = directions.shape[1]
    random = np.random.default_rng(0)
    trials = random.normal(size=(TRIALS, q))
    trials /= np.linalg.norm(trials, axis=1, keepdims=True)
    pole = trials[np.argmin(np.abs(trials @ unit.T).max(axis=1))]
    full = np.linalg.qr(np.concatenate([pole[:, None], random.normal(size=(q, q - 1))], axis=1))[0].T
    return np.concatenate([full[1:], pole[None]])


def unit_vectors(random: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Random directions along the last axis, for teachers."""
    x = random.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def starting_vectors(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Starts of pairs: random directions along the last axis, lengths between 0.5 and 1.5."""
    toward, length = jax.random.split(key)
    x = jax.random.normal(toward, shape)
    size = jax.random.uniform(length, (*shape[:-1], 1), minval=0.5, maxval=1.5)
    return size * x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def descending(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """The values from the largest to the smallest: pairs that may be exchanged have no other names."""
    return -jnp.sort(-values)
