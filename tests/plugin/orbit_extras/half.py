"""exp(−ℓ/T) det G^(−1/4) dσ_S: half of the paper's correction, as a control."""

from langevin_ib.laws.family import family_formula
from langevin_ib.laws.law import LawKind

HALF = LawKind("half", "control", lambda reduction: family_formula(0.5, "half"), c=0.5)
