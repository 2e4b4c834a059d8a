"""The Gibbs measure times the orbit volume, c = −1 for a canonical χ: the plain marginal where orbits are compact."""

from __future__ import annotations

from langevin_ib.laws.family import pushforward_formula
from langevin_ib.laws.law import LawKind

LAW = LawKind("pushforward", "limit", lambda reduction: pushforward_formula(), place=3)
