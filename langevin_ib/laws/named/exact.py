"""What the protocol obeys at its finite κ, λ or slab, no limit taken: by quadrature over the orbit.

What a chain does along its orbit decides: held on the slice it has the law of that; where it goes on for ever there is
a law of draws on a slab only; where a confinement lets it spread, the marginal is an integral over the orbit. Compact
orbits contribute their volume, exactly, and orbits that are points nothing.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.background import FAST
from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law
from langevin_ib.laws.confined import confined_law, slab_law
from langevin_ib.laws.family import Formula, Reduction, family_formula, orbit_formula, pushforward_formula
from langevin_ib.laws.law import LawKind
from langevin_ib.laws.orbit import check_splits, constant_along_orbits, log_orbit_integral

ON_A_SLAB = "law exact: no quadrature on a slab in more than one dimension; slice is the limit of a thin one"
UNBOUNDED = "law exact: an unconfined measure is not normalisable and has no marginal without a slab"
NOT_ALONG_COMPACT = "law exact: no quadrature along a compact orbit under a confinement that changes along it"
DIVERGES = "law exact: the orbit integral does not converge, the confinement does not rise along the orbit"


def exact_formula(reduction: Reduction) -> Formula:
    """The exact marginal in any number of coordinates.

    Raises:
        LawError: there is none, or no way to compute it.
    """
    law = _without_integral(reduction)
    if law == "slab":
        raise LawError(ON_A_SLAB)
    if law != "orbit":
        return law
    chart, confinement = reduction.chart, reduction.confinement
    if reduction.seen is None:
        x = jax.jit(lambda: chart.of(reduction.model.init(jax.random.key(0))), compiler_options=FAST)()
    else:
        x = reduction.seen
    # At which the integral's conditions are checked.
    point = jax.jit(chart.section, compiler_options=FAST)(jnp.asarray(x, float))
    check_splits(chart, confinement, point)
    integral = jax.jit(
        lambda point: log_orbit_integral(chart, confinement, reduction.temperature, point), compiler_options=FAST
    )
    if not np.isfinite(integral(point)):
        raise LawError(DIVERGES)
    return orbit_formula(confinement)


def exact(reduction: Reduction) -> Law:
    """The exact marginal of a scalar invariant; on a slab it assumes that the density of χ is flat across it.

    Raises:
        LawError: there is none, no quadrature for this case (a group of dimension above 3, or a slab with a group above
            1), or the quadrature does not reach 1e-8.
    """
    law = _without_integral(reduction)
    if law == "slab":
        if reduction.slab is None:
            raise LawError(UNBOUNDED)
        return slab_law(reduction, reduction.slab)
    return confined_law(reduction) if law == "orbit" else reduction.law(law)


def _without_integral(reduction: Reduction) -> Formula | Literal["slab", "orbit"]:
    """The law where it is one of the limits, exactly; else what has to be integrated over."""
    model, confinement = reduction.model, reduction.confinement
    volume = pushforward_formula()._replace(name="exact")
    if confinement.held is not None:
        return family_formula(confinement.held, "exact")
    if model.group_dim == 0:
        return family_formula(0.0, "exact")  # the orbits are points: Gibbs's measure itself
    if reduction.slab is not None or not reduction.proper:
        return "slab"
    if confinement.orbit == "free":
        return volume
    if not model.compact_orbits:
        return "orbit"
    if not constant_along_orbits(reduction.chart, confinement, model.init(jax.random.key(0))):
        raise LawError(NOT_ALONG_COMPACT)
    return volume


LAW = LawKind("exact", "own", exact_formula, exact, place=0)
