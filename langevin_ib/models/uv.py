"""uv and its deep form: z = u₁⋯u_D, quadratic loss, group of rescalings between neighbouring factors."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from langevin_ib.models.base import NEGATIVE, POSITIVE, Model


def uv(target: float = 1.0, depth: int = 2) -> Model:
    """A product of D scalars trained to a number: ℓ(z) = ½(z − y)², z = u₁⋯u_D.

    The group R_{>0}^{D−1} acts by u_a ↦ e^{t_a} u_a, u_{a+1} ↦ e^{−t_a} u_{a+1}, a = 1..D−1; the moment map is
    χ_a = ½(u_a² − u_{a+1}²), so that ∇χ_a = ξ_a. The action is free where no two neighbouring factors vanish
    together; the branches z > 0 and z < 0 are its orbits with D equal moduli on the slice. For D = 2,
    log det G = log(u² + v²).

    Args:
        target: y, any finite number; its sign decides the branch that the laws are written on.
        depth: D ≥ 2, the number of factors. Parameters are one array of shape (D,).

    Source: arXiv:2601.06597, eqs. (4)–(7); depth D is the natural extension.

    >>> model = uv(target=1.0)
    >>> float(model.loss(jnp.array([2.0, 0.5])))
    0.0
    """
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")

    def product(params):
        # Multiplied out: the gradient of jnp.prod made a step four times slower.
        z = params[0]
        for a in range(1, depth):
            z = z * params[a]
        return z

    def act(t, params):
        edges = jnp.concatenate([jnp.zeros_like(t[:1]), t, jnp.zeros_like(t[:1])])
        return params * jnp.exp(edges[1:] - edges[:-1])

    def section(invariants):
        z = invariants["z"]
        modulus = jnp.abs(z) ** (1.0 / depth)
        return jnp.concatenate([jnp.full((depth - 1,), modulus), (jnp.sign(z) * modulus)[None]])

    def init(key):
        # Truncated, so that no ensemble, however large, holds an outlier whose cubic gradient overruns the step.
        return jax.random.truncated_normal(key, -2.0, 2.0, (depth,))

    return Model(
        name="uv",
        group=f"R_{{>0}}^{depth - 1}, rescaling neighbouring factors",
        group_dim=depth - 1,
        loss=lambda params: 0.5 * (product(params) - target) ** 2,
        act=act,
        moment_map=lambda params: 0.5 * (params[:-1] ** 2 - params[1:] ** 2),
        invariants=lambda params: {"z": product(params)},
        section=section,
        init=init,
        branches={"z": (NEGATIVE, POSITIVE)},
        home={"z": NEGATIVE if target < 0 else POSITIVE},
        cut=("z",),
    )
