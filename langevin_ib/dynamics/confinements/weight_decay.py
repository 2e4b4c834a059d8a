"""λ|θ|²/2: what practitioners add; for λ|s(z)|² ≫ T its marginal tends to the law c = 0 with ℓ + λ|s|²/2."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.config.confinements import WeightDecaySettings
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind, Strengths
from langevin_ib.models.base import Model, Params


def weight_decay(lam: float) -> Confinement:
    """C = λ|θ|²/2, of which the reduced law keeps λ|s(z)|²/2."""

    def energy(model: Model, params: Params) -> Float[Array, ""]:
        del model
        return 0.5 * lam * jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)]))

    return Confinement(
        name="weight-decay",
        formula=f"λ|θ|²/2, λ = {lam:g}",
        energy=energy,
        reduced=energy,
        strength=lam,
        limit=lambda model: "hard",
    )


def build(settings: WeightDecaySettings, temperature: float) -> Confinement:
    """From its settings."""
    del temperature
    return weight_decay(settings.weight_decay)


def strengths(settings: WeightDecaySettings) -> Strengths:
    """λ."""
    return Strengths(decay=settings.weight_decay)


CONFINEMENT = ConfinementKind(WeightDecaySettings, build, strengths=strengths)
