"""The vector pair (a ∈ R^p, b ∈ R^q) under (e^t a, e^{−t} b): the chart of its orbits, and its starts.

A ReLU neuron, a query/key channel and a column pair of U Vᵀ are such pairs. With s = |a||b| and directions â, b̂, an
orbit is given by w = |b| a = s â ∈ R^p and by b̂ ∈ S^{q−1}, in stereographic coordinates η ∈ R^{q−1}. The chart leaves
out one direction of b̂, its pole: callers choose it far from where the mass is, with `frame_avoiding`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

TRIALS = 4096


class PairPoint(NamedTuple):
    """Chart coordinates of pairs: w = |b| a, (..., p), and the stereographic η of b/|b|, (..., q−1)."""

    w: Float[Array, "... p"]
    eta: Float[Array, "... q1"]


def to_chart(a: Float[Array, "... p"], b: Float[Array, "... q"], frame: Float[np.ndarray, "q q"]) -> PairPoint:
    """(w, η) of pairs (a, b).

    With y = F b/|b| and F the frame, η_i = y_i / (1 − y_q), i < q: the projection from the pole y_q = 1, which is the
    last row of F as a direction of b. For q = 2, η = 0 is opposite to the pole and |η| = 1 orthogonal to it.

    Args:
        a, b: batches of vectors, none of them zero.
        frame: F, an orthogonal matrix.

    >>> point = to_chart(jnp.array([0.0, 2.0]), jnp.array([0.0, -3.0]), np.eye(2))
    >>> point.w.tolist(), point.eta.tolist()
    ([0.0, 6.0], [0.0])
    """
    length = jnp.linalg.norm(b, axis=-1, keepdims=True)
    y = (b / length) @ jnp.asarray(frame, b.dtype).T
    return PairPoint(length * a, y[..., :-1] / (1.0 - y[..., -1:]))


def direction(eta: Float[Array, "... q1"], frame: Float[np.ndarray, "q q"]) -> Float[Array, "... q"]:
    """b/|b| of stereographic coordinates: y = (2η, |η|² − 1)/(|η|² + 1), b/|b| = Fᵀ y."""
    square = jnp.sum(eta**2, axis=-1, keepdims=True)
    y = jnp.concatenate([2.0 * eta, square - 1.0], axis=-1) / (square + 1.0)
    return y @ jnp.asarray(frame, eta.dtype)


def log_sphere(eta: Float[Array, "... q1"]) -> Float[Array, ""]:
    """log of db̂/dη, the surface measure of the spheres in stereographic coordinates, Π (2/(1 + |η|²))^{q−1}."""
    return eta.shape[-1] * jnp.sum(jnp.log(2.0 / (1.0 + jnp.sum(eta**2, axis=-1))))


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
