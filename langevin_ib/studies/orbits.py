"""Orbits of a one-parameter group and the slice that picks one point of each, measured along the action itself."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from scipy.optimize import brentq

from langevin_ib.ensemble.runner import batched
from langevin_ib.geometry.gram import constraint_gram
from langevin_ib.models import Model, Params
from langevin_ib.session import check_open

REACH, POINTS = 6.0, 1201  # an orbit is followed over t in [−REACH, REACH]


class Orbits(NamedTuple):
    """Measurements of each orbit over t ∈ [−6, 6], leading axis the orbit; see `follow_orbits`."""

    invariance: Float[np.ndarray, " n"]
    crossings: Float[np.ndarray, " n"]
    section_gap: Float[np.ndarray, " n"]
    square_speed_gap: Float[np.ndarray, " n"]


def follow_orbits(model: Model, points: Params) -> Orbits:
    """Follow exp(t)·θ from given points, in float64; within an open session.

    Args:
        model: with a group of one dimension.
        points: parameters with a leading axis of points.

    Returns:
        invariance: the largest |z(exp(t)·θ) − z(θ)|/|z(θ)| of an orbit, over t and the invariants.
        crossings: how often χ changes its sign along it: how often the orbit meets the slice.
        section_gap: |exp(t₀)·θ − s(z(θ))| where χ vanishes, against `model.section`; NaN where it does not vanish once.
        square_speed_gap: |det G/|d exp(t)·θ/dt|² − 1| there, the speed by a central difference of the action.

    Raises:
        ValueError: the group has more dimensions than one.

    >>> from langevin_ib.models import uv
    >>> with jax.enable_x64(True):
    ...     orbits = follow_orbits(uv(), jnp.array([[2.0, 0.5], [0.3, 3.0]]))
    >>> orbits.crossings.tolist(), bool((orbits.section_gap < 1e-9).all())
    ([1.0, 1.0], True)
    """
    if model.group_dim != 1:
        raise ValueError(f"{model.name} has a group of {model.group_dim} dimensions, not of one")
    check_open()
    exact = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), points)
    times = jnp.linspace(-REACH, REACH, POINTS)[:, None]
    charge = jax.jit(lambda t, point: model.moment_map(model.act(t, point))[0])

    def along(point: Params):
        moved = batched(lambda t: model.act(t, point))(times)
        z = batched(lambda p: jnp.concatenate([jnp.ravel(x) for x in model.invariants(p).values()]))(moved)
        middle = z[POINTS // 2]
        return jnp.max(jnp.abs(z - middle) / jnp.abs(middle)), batched(model.moment_map)(moved)[:, 0]

    drift, charges = jax.tree.map(np.asarray, batched(along)(exact))
    crossings = np.sum(np.signbit(charges[:, 1:]) != np.signbit(charges[:, :-1]), axis=1)
    gaps = [
        _measure_crossing(model, jax.tree.map(lambda leaf, i=i: leaf[i], exact), charge) if once else (np.nan, np.nan)
        for i, once in enumerate(crossings == 1)
    ]
    section_gap, speed_gap = np.array(gaps).T
    return Orbits(drift, crossings.astype(float), section_gap, speed_gap)


def _measure_crossing(model: Model, point: Params, charge) -> tuple[float, float]:
    """At the crossing of an orbit with the slice: the gap to s(z), and that of det G to the square of the speed."""
    zero = brentq(lambda t: float(charge(jnp.array([t]), point)), -REACH, REACH, xtol=1e-13)
    flat = jax.jit(lambda t: ravel_pytree(model.act(t, point))[0])
    crossing, step = jnp.array([zero]), 1e-4
    representative = model.section(model.invariants(point))
    speed = (flat(crossing + step) - flat(crossing - step)) / (2.0 * step)
    determinant = jnp.exp(jnp.linalg.slogdet(constraint_gram(model, representative))[1])
    gap = jnp.linalg.norm(flat(crossing) - ravel_pytree(representative)[0])
    return float(gap), float(jnp.abs(determinant / jnp.sum(speed**2) - 1.0))
