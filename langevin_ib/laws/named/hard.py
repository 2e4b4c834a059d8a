"""The Gibbs measure of the slice itself, exp(−ℓ/T) dσ_S, c = 0: chains that are held on it by projection."""

from __future__ import annotations

from langevin_ib.laws.family import family_formula
from langevin_ib.laws.law import LawKind

LAW = LawKind("hard", "limit", lambda reduction: family_formula(0.0, "hard"), place=2, c=0.0)
