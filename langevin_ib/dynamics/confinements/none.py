"""No term: exp(−L/T) dθ has no stationary law on a non-compact orbit, only drift; draws with |χ| < ε are judged."""

from __future__ import annotations

from langevin_ib.config.confinements import NoneSettings
from langevin_ib.dynamics.confinement import Confinement, ConfinementKind
from langevin_ib.models.base import Model


def unconfined(slab: float | None = None) -> Confinement:
    """C = 0: where orbits are compact or points its marginal is the pushforward, and on a thin slab the law c = 1."""

    def limit(model: Model) -> str:
        return "pushforward" if slab is None and model.bounded_orbits else "slice"

    return Confinement("none", "none", proper=False, limit=limit)


def build(settings: NoneSettings, temperature: float) -> Confinement:
    """From its settings."""
    del temperature
    return unconfined(settings.slab)


CONFINEMENT = ConfinementKind(NoneSettings, build, slab=1 / 20)
