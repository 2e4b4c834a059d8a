"""A control: exp(−ℓ/T) det G^(−1/2) read against dz, as eq. (6) is printed, without the Jacobian dσ_S/dz."""

from __future__ import annotations

from langevin_ib.laws.family import Formula, Reduction
from langevin_ib.laws.law import LawKind


def formula(reduction: Reduction) -> Formula:
    """Law (P), against the model's own flat measure where it has one."""
    return Formula(
        "printed",
        reduction.flat_measure,
        "exp(−ℓ/T) det G^(−1/2)",
        lambda t: -t.energy - 0.5 * t.log_det + t.log_flat,
    )


LAW = LawKind("printed", "control", formula, place=4)
