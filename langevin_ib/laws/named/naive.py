"""A control: exp(−ℓ/T) dz, without any correction."""

from __future__ import annotations

from langevin_ib.laws.family import Formula, Reduction
from langevin_ib.laws.law import LawKind


def formula(reduction: Reduction) -> Formula:
    """Against the model's own flat measure where it has one."""
    return Formula("naive", reduction.flat_measure, "exp(−ℓ/T)", lambda t: -t.energy + t.log_flat)


LAW = LawKind("naive", "control", formula, place=5)
