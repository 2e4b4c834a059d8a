"""χ = 0 by projection at every step: the Gibbs measure of the slice itself, the law c = 0."""

from __future__ import annotations

from langevin_ib.config.confinements import HardSettings
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind


def hard() -> Confinement:
    """The chain projected onto the slice at every step: the Gibbs measure exp(−ℓ/T) dσ_S, c = 0."""
    return Confinement("hard", "χ = 0 by projection", held=0.0, limit=lambda model: "hard")


def build(settings: HardSettings, temperature: float) -> Confinement:
    """From its settings."""
    del settings, temperature
    return hard()


CONFINEMENT = ConfinementKind(HardSettings, build, without_symmetry="refused")
