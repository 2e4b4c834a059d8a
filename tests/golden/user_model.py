"""A user's models, named as `user_model:NAME`: one with a symmetry, one without."""

import jax
import jax.numpy as jnp

from langevin_ib.models import Model


def shifted() -> Model:
    """z = u + v with L = ½(z − 1)² + z⁴/8, under shifts (u + t, v − t)."""

    def loss(p):
        z = p[0] + p[1]
        return 0.5 * (z - 1.0) ** 2 + z**4 / 8.0

    return Model(
        name="shifted",
        group="R, shifting u against v",
        group_dim=1,
        loss=loss,
        act=lambda t, p: p + jnp.stack([t[0], -t[0]]),
        moment_map=lambda p: p[:1] - p[1:],
        invariants=lambda p: {"z": p[0] + p[1]},
        section=lambda z: jnp.stack([z["z"], z["z"]]) / 2,
        init=lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (2,)),
    )


def well() -> Model:
    """A model without a symmetry: x ∈ R with L = (x² − 1)²/4."""
    return Model(
        name="well",
        group="trivial",
        group_dim=0,
        loss=lambda p: 0.25 * (p[0] ** 2 - 1.0) ** 2,
        act=lambda t, p: p,
        moment_map=lambda p: jnp.zeros(0, p.dtype),
        invariants=lambda p: {"x": p[0]},
        section=lambda z: jnp.stack([z["x"]]),
        init=lambda key: jax.random.truncated_normal(key, -2.0, 2.0, (1,)),
    )
