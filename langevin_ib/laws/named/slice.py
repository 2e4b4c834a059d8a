"""The paper's law exp(−ℓ/T) det G^(−1/2) dσ_S, c = 1: the full-space measure conditioned on χ = 0."""

from __future__ import annotations

from langevin_ib.laws.family import family_formula
from langevin_ib.laws.law import LawKind

LAW = LawKind("slice", "limit", lambda reduction: family_formula(1.0, "slice"), place=1, c=1.0)
