"""A model for faults that the built-in ones do not show."""

import jax
import jax.numpy as jnp

from langevin_ib.models import Model
from langevin_ib.models.base import NEGATIVE, POSITIVE


def unequal() -> Model:
    """ℓ = ½(z − 1)², z = u²v, u > 0, under (u, v) ↦ (e^t u, e^(−2t) v), which changes volumes along its orbits."""

    def z(params):
        return params["u"] ** 2 * params["v"]

    def section(invariants):
        u = jnp.abs(jnp.sqrt(2.0) * invariants["z"]) ** (1.0 / 3.0)
        return {"u": u, "v": jnp.sign(invariants["z"]) * u / jnp.sqrt(2.0)}

    def init(key):
        u, v = jax.random.uniform(key, (2,), minval=0.7, maxval=1.3)
        return {"u": u, "v": v}

    return Model(
        name="unequal",
        group="R, (u, v) to (e^t u, e^(-2t) v)",
        group_dim=1,
        loss=lambda params: 0.5 * (z(params) - 1.0) ** 2,
        act=lambda t, params: {"u": params["u"] * jnp.exp(t[0]), "v": params["v"] * jnp.exp(-2.0 * t[0])},
        moment_map=lambda params: (0.5 * params["u"] ** 2 - params["v"] ** 2)[None],
        invariants=lambda params: {"z": z(params)},
        section=section,
        init=init,
        scalars=lambda invariants: {"z": invariants["z"]},
        branches={"z": (NEGATIVE, POSITIVE)},
    )
