"""Formulas on the quotient: the family p_c against the slice's surface measure, and the Gibbs measure's marginal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib import geometry
from langevin_ib.dynamics.confinement import Confinement, no_energy
from langevin_ib.geometry.linalg import log_abs_det
from langevin_ib.laws.base import Law, on_host
from langevin_ib.models.base import Chart, Model, Params

SLICE_MEASURE = "dσ_S"
FLAT_MEASURE = "dz"
Program = TypeVar("Program")
COMPILED = ("chart", "flat_measure", "terms")  # of a `Reduction`, once asked for


class ReducedTerms(NamedTuple):
    """The terms of every reduced law, at a point of the quotient, or at many of them (numpy's, on the host)."""

    energy: Any  # reduced loss / T
    log_det: Any  # log det G_χ(s(z))
    log_volume: Any  # log dσ_S/dz
    log_coupling: Any  # log |det M(s(z))|, equal to log det G_χ for a canonical χ
    log_flat: Any = 0.0  # log density of the flat measure in dz, where a model has one of its own
    log_orbit: Any = 0.0  # log of the orbit integral of `laws.orbit`, filled in where the exact law needs it


class DrawTerms(NamedTuple):
    """Those of the terms that are summed over draws; `loss` is the reduced loss / T, without the confinement's part."""

    energy: Float[Array, ""]
    log_det: Float[Array, ""]
    loss: Float[Array, ""]


class Formula(NamedTuple):
    """A reduced law as a combination of terms: its log density in dz, and how the formula is written."""

    name: str
    measure: str
    text: str
    log_density: Callable[[ReducedTerms], Any]
    with_orbit: bool = False  # whether it needs `log_orbit`


@dataclass(frozen=True)
class Reduction:
    """A model, its confinement and its temperature, on the quotient; and ε where draws count at |χ| < ε only."""

    model: Model
    confinement: Confinement
    temperature: float
    slab: float | None = None
    measured: bool = False  # whether no law is asked for: then every draw counts, and nothing is asked of a section
    seen: Float[np.ndarray, " k"] | None = field(default=None, compare=False)  # where conditions on laws are looked at
    programs: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # see `program`

    @cached_property
    def chart(self) -> Chart:
        """The coordinates of the quotient."""
        return Chart(self.model)

    @property
    def proper(self) -> bool:
        """Whether exp(−(L + C)/T) dθ can be normalised: by the confinement, or as orbits are compact or points."""
        return self.confinement.proper or self.model.bounded_orbits

    @property
    def cut(self) -> tuple[str, ...]:
        """Scalars outside whose windows no draw counts: those of laws that may not be integrable there."""
        return () if self.measured else self.model.cut

    def seen_from(self, x: Float[np.ndarray, " k"]) -> Reduction:
        """The same, with a point of the quotient where a law's conditions are looked at: the minimum of the loss."""
        return self._with(seen=x)

    def on_slab(self, slab: float | None) -> Reduction:
        """The same of draws at |χ| < ε; what has been compiled is kept, for no term depends on ε."""
        return self._with(slab=slab)

    def _with(self, **changes: Any) -> Reduction:
        other = replace(self, **changes)
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name in COMPILED})
        return other

    def program(self, name: str, build: Callable[[], Program]) -> Program:
        """What `build` returns, made once for a name: a compiled function, of which no result depends on ε or `seen`.

        One that is compiled in the background is begun by asking for it before it is needed.
        """
        if name not in self.programs:
            self.programs[name] = build()
        return self.programs[name]

    @property
    def name(self) -> str:
        """The scalar invariant of a quotient of one coordinate; of more is a ValueError."""
        if self.chart.dim != 1:
            raise ValueError(f"one scalar invariant is needed, {self.model.name} has {self.chart.dim} coordinates")
        return self.chart.scalar_names[0]

    @cached_property
    def flat_measure(self) -> str:
        """The measure of `printed` and `naive`: Lebesgue's in the coordinates, or the model's own."""
        if self.model.flat is not None:
            return self.model.flat[0]
        return " ".join(f"d{name}" for name in self.chart.shapes)

    @cached_property
    def terms(self) -> Callable[[Float[np.ndarray, " n"]], ReducedTerms]:
        """The terms at an array of values of a scalar invariant, compiled once, from when they are first asked for."""
        return on_host(lambda z: self.terms_at(jnp.reshape(z, (1,))), like=())

    def point(self, z: Float[Array, ""]) -> Params:
        """s(z), the balanced point over a scalar invariant."""
        return self.chart.section(jnp.reshape(z, (1,)))

    def terms_at(self, x: Float[Array, " k"]) -> ReducedTerms:
        """The terms at one point of the quotient."""
        terms = geometry.slice_terms(self.chart, x)
        if self.model.canonical:
            log_coupling = terms.log_det
        else:
            log_coupling = log_abs_det(geometry.coupling(self.model, self.chart.section(x)))
        return ReducedTerms(
            energy=(terms.loss + self._reduced_at(x)) / self.temperature,
            log_det=terms.log_det,
            log_volume=terms.log_volume,
            log_coupling=log_coupling,
            log_flat=0.0 if self.model.flat is None else self.model.flat[1](self.chart.invariants(x)),
        )

    def draw_terms_at(self, x: Float[Array, " k"]) -> DrawTerms:
        """Those of draws at one point: without volume and coupling, for which every kernel's loop would be traced."""
        model = self.model
        if model.slice_terms is not None:
            log_det, _, loss = geometry.slice_terms(self.chart, x)
        else:
            point = self.chart.section(x)
            log_det, loss = geometry.log_det_gram(model, point), model.loss(point)
        return DrawTerms((loss + self._reduced_at(x)) / self.temperature, log_det, loss / self.temperature)

    def _reduced_at(self, x: Float[Array, " k"]) -> Array:
        """What a law keeps of C; where that is nothing no section is traced for it, in any program of a law."""
        if self.confinement.reduced is no_energy:
            return jnp.zeros((), x.dtype)
        return self.confinement.reduced(self.model, self.chart.section(x))

    def draw_terms_of(self, params: Params) -> DrawTerms:
        """Those of a draw: at its place on the quotient, or of a run that measures only at θ itself, without det G."""
        if not self.measured:
            return self.draw_terms_at(self.chart.of(params))
        loss = self.model.loss(params)
        energy = (loss + self.confinement.energy(self.model, params)) / self.temperature
        return DrawTerms(energy, jnp.zeros_like(loss), loss / self.temperature)

    def law(self, formula: Formula) -> Law:
        """A formula as a law of a scalar invariant."""
        return Law(formula.name, formula.measure, formula.text, lambda z: formula.log_density(self.terms(z)))


def family_formula(c: float, name: str) -> Formula:
    """Law (F): p_c ∝ exp(−ℓ/T) det G^(−c/2) dσ_S.

    c = +1 is the paper's theorem, eqs. (8)–(9); c = 0 the Gibbs measure of the slice itself; c = −1 the Gibbs measure
    times the orbit volume. Under weight decay ℓ stands for ℓ(z) + λ|s(z)|²/2.
    """
    power = {1.0: " det G^(−1/2)", 0.0: "", -1.0: " det G^(+1/2)"}.get(c, f" det G^({-c / 2:g})")
    return Formula(name, SLICE_MEASURE, "exp(−ℓ/T)" + power, lambda t: -t.energy - 0.5 * c * t.log_det + t.log_volume)


def pushforward_formula() -> Formula:
    """The Gibbs measure times the orbit volume: exp(−ℓ/T) |det M| det G^(−1/2) dσ_S, c = −1 for a canonical χ."""
    return Formula(
        "pushforward",
        SLICE_MEASURE,
        "exp(−ℓ/T) |det M| det G^(−1/2)",
        lambda t: -t.energy + t.log_coupling - 0.5 * t.log_det + t.log_volume,
    )


def orbit_formula(confinement: Confinement) -> Formula:
    """The exact marginal where `log_orbit` has been filled in: pushforward times the orbit integral."""
    bare = pushforward_formula()
    text = f"exp(−ℓ/T) ∫ exp(−C/T) dθ along the orbit, C = {confinement.formula}"
    return Formula("exact", SLICE_MEASURE, text, lambda t: bare.log_density(t) + t.log_orbit, with_orbit=True)


def family(reduction: Reduction, c: float, name: str) -> Law:
    """Law (F) of a scalar invariant; see `family_formula`."""
    return reduction.law(family_formula(c, name))
