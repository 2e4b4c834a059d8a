"""The family (F) of isotropic noise at the temperature, and the c, that fit a sample best: the rival of SGD's own law.

p_{β,c} ∝ exp(−βℓ) det G^(−c/2) dσ_S is an exponential family in (β, c) = (1/T, c) with the statistics −ℓ and
t = −½ log det G: maximum likelihood matches their means. The fit is to the draws that are then compared, which favours
the fitted laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from langevin_ib.errors import LawError
from langevin_ib.laws import Reduction
from langevin_ib.laws.base import bin_nodes
from langevin_ib.laws.candidates import LawAbout, Masses
from langevin_ib.laws.draws import LawDraws
from langevin_ib.laws.family import family_formula
from langevin_ib.statistics import coefficient
from langevin_ib.statistics.records import Absent
from langevin_ib.statistics.sample import Sample
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, weights_of

FIXED = {"slice": 1.0, "hard": 0.0, "pushforward": -1.0}
FREE = "fitted"
PANELS = 8
SPAN = 1e6  # how far a best temperature may be from the one that the noise meter gives
EXTREME_C = 60.0
GRADIENT = 1e-9  # in standard deviations
REMEDY = "run more steps if chains are still coming down to the minimum, else use a smaller lr or less noise"


class Fit(NamedTuple):
    """The best temperature of a law of the family, and its c."""

    temperature: float
    c: float


@dataclass(frozen=True)
class FittedLaw:
    """A law of the family at the T that fits the draws best; at c = None that too is fitted."""

    name: str
    c: float | None
    family: FittedFamily

    @property
    def about(self) -> LawAbout:
        """Without what is fitted."""
        place = [*FIXED, FREE].index(self.name) + 1
        return LawAbout(self.name, "dσ_S", "(F): exp(−ℓ/T) det G^(−c/2) dσ_S", "fitted", place)

    def masses(self, sample: Sample) -> dict[str, Masses] | Absent:
        """By maximum likelihood, which matches the means of ℓ, and of t where c is free."""
        try:
            fit = self.family.fit(sample.energy.mean, sample.statistic.mean, self.c)
        except LawError as error:
            return Absent(self.name, str(error))
        return {scalar: self.family.masses(fit, scalar) for scalar in self.family.edges}


@dataclass(frozen=True)
class FittedFamily:
    """The family over points of the quotient inside the windows: quadrature nodes, or draws of one of its laws.

    Attributes:
        energy: ℓ at the points.
        statistic: t there.
        log_base: log (c = 0 measure dσ_S over the density that the points have, or times their quadrature weight).
        temperature: near which the best one is searched.
        draws: the draws that the points are, chain axis first; None for nodes.
        edges: bin edges of each scalar.
    """

    energy: Float[np.ndarray, "*points"]
    statistic: Float[np.ndarray, "*points"]
    log_base: Float[np.ndarray, "*points"]
    temperature: float
    draws: LawDraws | None
    edges: dict[str, Float[np.ndarray, " edges"]]

    @property
    def candidates(self) -> tuple[FittedLaw, ...]:
        """Its laws of fixed c, and that of free c."""
        coefficients = {**FIXED, FREE: None}
        return tuple(FittedLaw(name, c, self) for name, c in coefficients.items())

    def fit(self, mean_energy: float, mean_statistic: float, c: float | None) -> Fit:
        """Match the mean of ℓ, at a given c; or those of ℓ and t, c being free.

        Raises:
            LawError: no temperature (and c) does, or it is too far for the draws that the family is known by.
        """
        fit = (
            self._fit_both(mean_energy, mean_statistic)
            if c is None
            else Fit(1.0 / self._inverse_temperature(mean_energy, c), c)
        )
        if self.draws is not None:
            share = effective_share(self._weight(fit))
            if share < MIN_SHARE:
                raise LawError(
                    f"left out, for its best T = {fit.temperature:.3g} and c = {fit.c:.2f} are too far from "
                    f"T = {self.temperature:.3g}, at which the fitted laws were sampled ({share:.1%} of those draws "
                    f"would count, {MIN_SHARE:.0%} are needed): {REMEDY}"
                )
        return fit

    def masses(self, fit: Fit, scalar: str) -> Masses:
        """Bin masses of a law of the family: exact ones of nodes, weighted counts of draws."""
        if self.draws is not None:
            histogram = self.draws.histogram(scalar, self.edges[scalar], self._weight(fit))
            return Masses(histogram.mass, histogram, fit.c, fit.temperature)
        mass = self._weight(fit).sum(axis=1)
        return Masses(mass / mass.sum(), None, fit.c, fit.temperature)

    def _weight(self, fit: Fit) -> np.ndarray:
        return weights_of(self.log_base - self.energy / fit.temperature + fit.c * self.statistic)

    def _means(self, beta: float, c: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of (−ℓ, t)."""
        weight = self._weight(Fit(1.0 / beta, c)).ravel()
        weight = weight / weight.sum()
        pair = np.stack([-self.energy.ravel(), self.statistic.ravel()])
        mean = pair @ weight
        return mean, (pair - mean[:, None]) * weight @ (pair - mean[:, None]).T

    def _inverse_temperature(self, mean_energy: float, c: float) -> float:
        """β with E[ℓ] = the mean: E[ℓ] falls with β."""

        def gap(log_beta: float) -> float:
            return float(self._means(np.exp(log_beta), c)[0][0] + mean_energy)

        low, high = (-np.log(self.temperature) + side * np.log(SPAN) for side in (-1.0, 1.0))
        if not gap(low) < 0 < gap(high):
            raise LawError(
                f"left out, for at no temperature has it the mean loss of the draws, {mean_energy:.4g}: {REMEDY}"
            )
        root = scipy.optimize.brentq(gap, low, high, xtol=1e-12)  # pyright: ignore  # untyped overload
        return float(np.exp(root))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _fit_both(self, mean_energy: float, mean_statistic: float) -> Fit:
        """Newton's method, through SciPy, on the convex log Z(β, c) + β ℓ̄ − c t̄.

        In units of the statistics' own spread: t may hardly vary on a narrow window, and its gradient with it.
        """
        if coefficient.is_constant(self.statistic):
            raise LawError("left out, for log det G is constant, so that c cannot be fitted: see the laws of fixed c")
        wanted = np.array([-mean_energy, mean_statistic])
        begin = np.array([self._inverse_temperature(mean_energy, 0.0), 0.0])
        unit = 1.0 / np.sqrt(np.diag(self._means(begin[0], begin[1])[1]))

        def function(x):
            beta, c = begin + x * unit
            log_weight = self.log_base - beta * self.energy + c * self.statistic
            top = log_weight.max()
            return float(top + np.log(np.exp(log_weight - top).sum()) - np.array([beta, c]) @ wanted)

        def gradient(x):
            return (self._means(*(begin + x * unit))[0] - wanted) * unit

        def hessian(x):
            return self._means(*(begin + x * unit))[1] * np.outer(unit, unit)

        optimum = scipy.optimize.minimize(
            function, np.zeros(2), jac=gradient, hess=hessian, method="trust-exact", options={"gtol": GRADIENT}
        )
        beta, c = begin + optimum.x * unit
        if not (np.abs(gradient(optimum.x)).max() < 100 * GRADIENT and beta > 0 and abs(c) < EXTREME_C):
            raise LawError(
                "left out, for no T and c together give it the draws' means of the loss and of log det G: see the "
                "laws of fixed c"
            )
        return Fit(float(1.0 / beta), float(c))


def from_quadrature(reduction: Reduction, edges: Float[np.ndarray, " edges"], temperature: float) -> FittedFamily:
    """The family of a scalar invariant on a window; `reduction` has T = 1, so that its energies are ℓ."""
    nodes = bin_nodes(edges, (False, False), PANELS)
    terms = reduction.terms(nodes.z.ravel())
    shape = nodes.z.shape
    return FittedFamily(
        np.asarray(terms.energy).reshape(shape),
        -0.5 * np.asarray(terms.log_det).reshape(shape),
        nodes.log_weight + np.asarray(terms.log_volume).reshape(shape),
        temperature,
        None,
        {reduction.name: edges},
    )


def from_draws(draws: LawDraws, temperature: float, edges: dict[str, Float[np.ndarray, " edges"]]) -> FittedFamily:
    """The family of many coordinates, by weighing draws of one of its laws at the temperature given."""
    energy = np.asarray(draws.terms.energy) * temperature
    log_base = draws.log_weight(family_formula(0.0, "base")) + energy / temperature
    return FittedFamily(energy, draws.statistic, log_base, temperature, draws, edges)
