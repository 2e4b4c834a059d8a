"""The family p_c against the slice's surface measure, eq. (6) read literally, and the control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from langevin_ib import geometry
from langevin_ib.confinement import Confinement
from langevin_ib.laws.base import Law, on_host
from langevin_ib.models.base import Chart, Model

SLICE_MEASURE = "dσ_S"
FLAT_MEASURE = "dz"


class ReducedTerms(NamedTuple):
    """What every reduced law is made of, at points of the quotient: traced on the device, numpy's on the host."""

    energy: Any  # reduced loss / T, shape (n,)
    log_det: Any  # log det G(s(z)), shape (n,)
    log_volume: Any  # log dσ_S/dz, shape (n,)


@dataclass(frozen=True)
class Reduction:
    """A model, its confinement and its temperature, seen from the quotient by one scalar invariant."""

    model: Model
    confinement: Confinement
    temperature: float

    @cached_property
    def chart(self) -> Chart:
        """The coordinates of the quotient."""
        return Chart(self.model)

    @property
    def name(self) -> str:
        """The scalar invariant of a quotient of one coordinate; of more is a ValueError."""
        if self.chart.dim != 1:
            raise ValueError(f"one scalar invariant is needed, {self.model.name} has {self.chart.dim} coordinates")
        return self.chart.scalar_names[0]

    @cached_property
    def terms(self) -> Callable[[Float[np.ndarray, " n"]], ReducedTerms]:
        """ℓ/T, log det G and log dσ_S/dz at an array of points, compiled once."""
        return on_host(self._terms)

    def point(self, z):
        """s(z), the balanced point over a scalar invariant."""
        return self.chart.section(jnp.reshape(z, (1,)))

    def _terms(self, z) -> ReducedTerms:
        point = self.point(z)
        return ReducedTerms(
            energy=self.confinement.reduced_loss(self.model)(point) / self.temperature,
            log_det=geometry.log_det_gram(self.model, point),
            log_volume=geometry.log_slice_volume(self.chart, jnp.reshape(z, (1,))),
        )

    def statistic(self, z):
        """t(z) = −½ log det G(s(z)), whose coefficient in log p_c is c; for one traced z."""
        return -0.5 * geometry.log_det_gram(self.model, self.point(jnp.asarray(z)))

    def family_log_density(self, c: float):
        """log p_c in dz, up to a constant: −ℓ/T − (c/2) log det G + log dσ_S/dz, law (F)."""

        def log_density(z):
            terms = self.terms(z)
            return -terms.energy - 0.5 * c * terms.log_det + terms.log_volume

        return log_density


def family(reduction: Reduction, c: float, name: str) -> Law:
    """Law (F): p_c ∝ exp(−ℓ/T) det G^(−c/2) dσ_S.

    c = +1 is the paper's theorem, eqs. (8)–(9); c = 0 the Gibbs measure of the slice itself; c = −1 the Gibbs measure
    times the orbit volume. Under weight decay ℓ stands for ℓ(z) + λ|s(z)|²/2.
    """
    power = {1.0: " det G^(−1/2)", 0.0: "", -1.0: " det G^(+1/2)"}.get(c, f" det G^({-c / 2:g})")
    return Law(name, SLICE_MEASURE, "exp(−ℓ/T)" + power, reduction.family_log_density(c))


def printed(reduction: Reduction) -> Law:
    """Law (P): exp(−ℓ/T) det G^(−1/2) read against dz, as eq. (6) is printed, without the Jacobian dσ_S/dz."""

    def log_density(z):
        terms = reduction.terms(z)
        return -terms.energy - 0.5 * terms.log_det

    return Law("printed", FLAT_MEASURE, "exp(−ℓ/T) det G^(−1/2)", log_density)


def naive(reduction: Reduction) -> Law:
    """exp(−ℓ/T) dz: the control without any correction."""
    return Law("naive", FLAT_MEASURE, "exp(−ℓ/T)", lambda z: -reduction.terms(z).energy)
