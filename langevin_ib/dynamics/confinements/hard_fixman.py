"""χ = 0 by projection, with Fixman's correction (T/2) log det G, which turns c = 0 into the paper's law c = 1."""

from __future__ import annotations

from langevin_ib.config.confinements import HardFixmanSettings
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind
from langevin_ib.geometry.gram import log_det_gram


def hard_fixman(temperature: float) -> Confinement:
    """The chain on the slice with C = (T/2) log det G_χ.

    Its gradient is singular where the action is not free, and there the law c = 1 may not be integrable (z⁻¹ at z = 0
    for uv): an explicit step takes a chain that gets there far away. Keep such points behind several T.

    Source: Fixman, PNAS 71, 3050 (1974); Ciccotti, Lelièvre & Vanden-Eijnden, CPAM 61, 371 (2008).
    """
    return Confinement(
        name="hard-fixman",
        formula="χ = 0 by projection, and T/2 log det G",
        energy=lambda model, params: 0.5 * temperature * log_det_gram(model, params),
        held=1.0,
        remedy=(
            "with Fixman's term chains fall for good into points where the action is not free: raise beta, or run for "
            "less time"
        ),
    )


def build(settings: HardFixmanSettings, temperature: float) -> Confinement:
    """At the run's temperature."""
    del settings
    return hard_fixman(temperature)


CONFINEMENT = ConfinementKind(HardFixmanSettings, build, without_symmetry="refused")
