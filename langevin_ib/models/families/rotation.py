"""SO(2) on the plane: a compact group, whose orbits need no confinement."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.models.base import POSITIVE, Model
from langevin_ib.models.training import Examples, Fresh, Training, data_risk, no_penalty


def rotation() -> Model:
    """The plane under rotations, with ℓ(r) = r²/2.

    Orbits are circles of length 2πr, so exp(−L/T) dθ is proper as it stands and the plain marginal of r is
    r exp(−r²/2T) dr: the Gibbs measure times the orbit's volume, the law c = −1. With χ = xy the gradient
    ∇χ = (y, x) equals the field ξ = (−y, x) on the ray y = 0, so the slice is canonical there: H = G = r², dσ_S = dr.
    Parameters are one array (x, y). For SGD the predictor is r, its label 0.

    Source: arXiv:2601.06597 sets compact groups aside; this is the case that it leaves out.

    >>> float(rotation().invariants(jnp.array([3.0, 4.0]))["r"])
    5.0
    """

    def act(t, params):
        x, y = params
        cos, sin = jnp.cos(t[0]), jnp.sin(t[0])
        return jnp.stack([x * cos - y * sin, x * sin + y * cos])

    def radius(params):
        return jnp.hypot(params[0], params[1])

    def predict(params, x):
        return x * radius(params)

    return Model(
        name="rotation",
        group="SO(2), rotating the plane",
        group_dim=1,
        loss=lambda params: 0.5 * jnp.sum(params**2),
        act=act,
        moment_map=lambda params: (params[0] * params[1])[None],
        invariants=lambda params: {"r": radius(params)},
        section=lambda invariants: jnp.stack([invariants["r"], jnp.zeros_like(invariants["r"])]),
        init=lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (2,)),
        branches={"r": (POSITIVE,)},
        home={"r": POSITIVE},
        cut=("r",),
        compact_orbits=True,
        notes=("the group is compact: the plain marginal is the law c = −1, no confinement needed",),
        training=Training(
            predict=predict,
            task={"x": np.ones(1), "y": np.zeros(1), "weight": 1.0},
            risk=data_risk(predict, no_penalty),
            penalty=no_penalty,
            fresh=Fresh((), lambda task, normals: Examples(normals, jnp.zeros_like(normals))),
        ),
    )
