"""q|χ|⁴/4: nearly flat at the slice, steep away from it."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from langevin_ib.config.confinements import ConfinementSettings
from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.settings import setting
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind


@dataclass(frozen=True)
class QuarticSettings(ConfinementSettings):
    """q of C = q|χ|⁴/4."""

    gibbs_only: ClassVar[bool] = True

    quartic: float = setting(1000.0, "q of q|χ|⁴/4", POSITIVE)


def build(settings: QuarticSettings, temperature: float) -> Confinement:
    """C vanishes on the slice, so that its limit is the paper's law."""
    del temperature
    return Confinement(
        name="quartic",
        formula=f"q|χ|⁴/4, q = {settings.quartic:g}",
        energy=lambda model, params: 0.25 * settings.quartic * jnp.sum(model.moment_map(params) ** 2) ** 2,
        strength=settings.quartic,
    )


QUARTIC = ConfinementKind(QuarticSettings, build, without_symmetry="none")
