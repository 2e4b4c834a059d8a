"""Coordinates in which a reduced law stays bounded at the end of a branch, for samplers of the quotient.

At w = |b| a = 0 of a vector pair, or at z = 0 of a product, a law like `hard` has a density |w|^κ, κ < 0: integrable,
but infinite, and neither MALA nor NUTS goes in. In u with w = u |u|^{1/γ − 1}, γ = (κ + p)/p for p coordinates w,

    |w|^κ dw = γ⁻¹ |u|^{κ/γ + p/γ − p} du = γ⁻¹ du,

the density is flat there. For a ReLU neuron under `hard`, κ = −p/2, this is the section's own a = w/√|w|.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from langevin_ib.background import FAST
from langevin_ib.laws import Formula, Reduction
from langevin_ib.models.base import Branch

NEAR = (1e-8, 1e-6)  # distances from the end, in units of a start's, between which the exponent is read off
NEARER = 1e-10  # and where that is looked at once more
REACHED = 1e-2  # share of its distance from the end at which a scalar has followed a coordinate there
SINGULAR = 1e-3  # |κ| that counts as none
LEAST = 0.1  # smallest γ: a law that is barely integrable is stretched no further


class LogStretch(NamedTuple):
    """Blocks of coordinates x whose distance r from the end of a branch becomes r^γ.

    Attributes:
        places: which coordinates form each block.
        end: where each of them ends.
        power: γ of each block.
    """

    places: Int[np.ndarray, "block p"]
    end: Float[np.ndarray, "block p"]
    power: Float[np.ndarray, " block"]


Stretches = tuple[LogStretch, ...]


def into(stretches: Stretches, x: Float[Array, " k"]) -> Float[Array, " k"]:
    """The stretched coordinates y of x."""
    y = x
    for index, end, power in stretches:
        gap = x[index] - end
        y = y.at[index].set(end + gap * _distance(gap) ** (power - 1.0)[:, None])
    return y


def out_of(stretches: Stretches, y: Float[Array, " k"]) -> Float[Array, " k"]:
    """x of the stretched coordinates y: the inverse of `into`.

    >>> line = (LogStretch(np.array([[0]]), np.array([[0.0]]), np.array([0.5])),)
    >>> out_of(line, jnp.array([3.0, 7.0])).tolist()
    [9.0, 7.0]
    """
    x = y
    for index, end, power in stretches:
        gap = y[index] - end
        x = x.at[index].set(end + gap * _distance(gap) ** (1.0 / power - 1.0)[:, None])
    return x


def log_jacobian(stretches: Stretches, y: Float[Array, " k"]) -> Float[Array, ""]:
    """log |det dx/dy|: each block of p coordinates at distance u has γ⁻¹ u^{p (1/γ − 1)}."""
    total = jnp.zeros((), y.dtype)
    for index, end, power in stretches:
        length = _distance(y[index] - end)[:, 0]
        total += jnp.sum(index.shape[1] * (1.0 / power - 1.0) * jnp.log(length) - jnp.log(power))
    return total


def _distance(gap: Float[Array, "block p"]) -> Float[Array, "block 1"]:
    return jnp.abs(gap) if gap.shape[1] == 1 else jnp.linalg.norm(gap, axis=1, keepdims=True)


def stretches(reduction: Reduction, formula: Formula, windows: Mapping[str, Branch]) -> Stretches:
    """Where a law is infinite at a point of codimension p or at the end of a branch, from its density on the way there.

    A coordinate of the quotient is moved to 0 and to the ends of the model's branches, a row of coordinates along the
    last axis of an invariant to 0, and κ is the slope of log p in the logarithm of the distance. Left as they are: a
    point that the window of a scalar that is cut keeps the draws from; one where the law is bounded, or not integrable;
    and a coordinate for which several ends are singular.
    """
    chart, model = reduction.chart, reduction.model

    def first():
        return chart.of(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(jax.random.key(0))))

    x = np.asarray(jax.jit(first, compiler_options=FAST)())
    # Away from the ends by contract: where it is, and which density it has, matters to none of the exponents.
    log_p = jax.jit(lambda x: formula.log_density(reduction.terms_at(x)))
    scalars = jax.jit(chart.scalars)
    at_start = scalars(x)
    closed = [(name, end) for name, ends in windows.items() for end in model.home_of(name) if end not in ends]

    def approach(index: np.ndarray, end: float, share: float) -> np.ndarray:
        point = x.copy()
        point[index] = end + share * (x[index] - end)
        return point

    def power(index: np.ndarray, end: float) -> float | None:
        near, far = (float(log_p(approach(index, end, share))) for share in NEAR)
        exponent = (far - near) / np.log(NEAR[1] / NEAR[0])
        if not (np.isfinite(exponent) and -index.size < exponent < -SINGULAR):
            return None
        # Nearer by a power law has the same slope, and a density that is steep but finite hardly any.
        nearer = float(log_p(approach(index, end, NEARER)))
        if not (near - nearer) / np.log(NEAR[0] / NEARER) < 0.5 * exponent:
            return None
        near_end = scalars(approach(index, end, NEAR[0]))
        if any(abs(float(near_end[name]) - e) < REACHED * abs(float(at_start[name]) - e) for name, e in closed):
            return None
        return max((exponent + index.size) / index.size, LEAST)

    ends = sorted({0.0, *(end for name in chart.scalar_names for end in model.home_of(name) if np.isfinite(end))})
    by_size: dict[int, list[tuple[np.ndarray, float, float]]] = {}
    for rows, singles in _blocks(reduction):
        singular_ends = [(index, [(e, p) for e in ends if (p := power(index, e)) is not None]) for index in singles]
        if not any(singular for _, singular in singular_ends):
            singular_ends = [(index, [(0.0, p)] if (p := power(index, 0.0)) is not None else []) for index in rows]
        for index, singular in singular_ends:
            if len(singular) == 1:
                by_size.setdefault(index.size, []).append((index, *singular[0]))
    return tuple(
        LogStretch(
            np.stack([index for index, _, _ in blocks]),
            np.stack([np.full(size, end) for _, end, _ in blocks]),
            np.array([p for _, _, p in blocks]),
        )
        for size, blocks in by_size.items()
    )


def _blocks(reduction: Reduction) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """For each invariant its rows of coordinates along the last axis, and its single coordinates."""
    chart, blocks, first = reduction.chart, [], 0
    for name, shape in chart.shapes.items():
        places = first + np.arange(chart.sizes[name])
        first += places.size
        blocks.append((list(places.reshape(-1, shape[-1])) if shape else [], list(places[:, None])))
    return blocks
