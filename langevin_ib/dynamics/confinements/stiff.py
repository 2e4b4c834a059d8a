"""κ|χ|²/2: holds the chain near the slice χ = 0; its marginal tends to the law c = 1 as κ → ∞."""

from __future__ import annotations

import jax.numpy as jnp

from langevin_ib.config.confinements import StiffSettings
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind, Strengths


def stiff(kappa: float) -> Confinement:
    """C = κ|χ|²/2, zero on the slice."""
    return Confinement(
        name="stiff",
        formula=f"κ|χ|²/2, κ = {kappa:g}",
        energy=lambda model, params: 0.5 * kappa * jnp.sum(model.moment_map(params) ** 2),
        strength=kappa,
    )


def build(settings: StiffSettings, temperature: float) -> Confinement:
    """From its settings."""
    del temperature
    return stiff(settings.kappa)


def strengths(settings: StiffSettings) -> Strengths:
    """κ."""
    return Strengths(kappa=settings.kappa)


# Without χ it is zero.
CONFINEMENT = ConfinementKind(StiffSettings, build, without_symmetry="none", strengths=strengths)
