"""What the laws predict for each scalar, and how a sample is compared with it: by quadrature, or by draws of a law.

Both kinds answer the same questions, so that the judge does not know which it has: which laws exist, their bin
masses, the c that a sample shows, the c that draws of a law would show, the exact law's share of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from langevin_ib.errors import LawError, ModelError
from langevin_ib.laws import Formula, Law, LawKind, Reduction, bin_masses, build_laws
from langevin_ib.laws.base import bin_nodes
from langevin_ib.laws.candidates import KnownLaw, LawAbout, Masses
from langevin_ib.laws.draws import LawDraws
from langevin_ib.laws.family import family_formula
from langevin_ib.laws.support import share_in_window
from langevin_ib.runs.wells import wells_of
from langevin_ib.statistics import coefficient, compare
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.records import Absent
from langevin_ib.statistics.sample import Sums
from langevin_ib.statistics.weights import MIN_SHARE, effective_share, weights_of

CORRECTION_PANELS = 8


@runtime_checkable
class Predictions(Protocol):
    """The laws of one run of Langevin dynamics."""

    @property
    def missing(self) -> list[str]:
        """One line for each law that does not exist here."""
        ...

    @property
    def candidates(self) -> tuple[KnownLaw, ...]:
        """The laws that exist here, with their bin masses."""
        ...

    def coefficient(self, statistic: Sums) -> Coefficient | Absent:
        """The measured c with its error, or why there is none."""
        ...

    def law_coefficient(self, law: str) -> float | None:
        """The c that draws of this law would show: its projection on the family, E_c[t] = E_law[t]."""
        ...

    def share(self, scalar: str) -> float | Absent:
        """The share of the exact law in the scalar's window, of all that chains can reach."""
        ...


def _no_coefficient(abouts: Sequence[LawAbout], masses: dict[str, Float[np.ndarray, " all_bins"]]) -> Absent:
    """Why there is no c where log det G is constant, and which of the limits, laws of other c, are one law then."""
    alike = [about.name for about in abouts if about.role == "limit"]
    alike = [name for name in alike if np.abs(masses[name] - masses[alike[0]]).max() < compare.SAME_LAW]
    same = f": {', '.join(alike[:-1])} and {alike[-1]} are one law here" if len(alike) > 1 else ""
    return Absent("c", f"log det G is constant in the window, so that no draws can identify c{same}")


@dataclass(frozen=True)
class QuadraturePredictions:
    """Laws of one scalar invariant, integrated over its bins; built by `quadrature`."""

    reduction: Reduction
    edges: Float[np.ndarray, " edges"]
    singular_ends: tuple[bool, bool]
    margin: float
    abouts: list[LawAbout]
    built: list[Law]
    missing: list[str]
    masses: dict[str, Float[np.ndarray, " bins"]]

    @property
    def candidates(self) -> tuple[KnownLaw, ...]:
        """Their masses by quadrature, which has settled to 1e-10."""
        return tuple(
            KnownLaw(
                about, {self.reduction.name: Masses(self.masses[about.name], None, self.law_coefficient(about.name))}
            )
            for about in self.abouts
        )

    def coefficient(self, statistic: Sums) -> Coefficient | Absent:
        """Maximum likelihood with the normaliser by quadrature."""
        if any(self.singular_ends):
            return Absent("c", "the window reaches the end of the branch, where the family is not normalisable")
        _, log_base, t = self._nodes
        if coefficient.is_constant(t):
            return _no_coefficient(self.abouts, self.masses)
        try:
            return coefficient.estimate_correction(statistic.total, statistic.n, log_base, t)
        except ValueError as error:
            return Absent("c", str(error))

    def law_coefficient(self, law: str) -> float | None:
        """By quadrature over the window."""
        if any(self.singular_ends):
            return None
        z, log_base, t = self._nodes
        if coefficient.is_constant(t):
            return None
        (density,) = (candidate for candidate in self.built if candidate.name == law)
        try:
            log_density = density.log_density(z)
        except LawError:  # of an orbit integral, which had settled at the nodes of the masses but does not at these
            return None
        log_p = log_density + bin_nodes(self.edges, self.singular_ends, CORRECTION_PANELS).log_weight.ravel()
        p = np.exp(log_p - log_p.max())
        try:
            return coefficient.solve_family(float(p @ t / p.sum()), log_base, t)
        except ValueError:
            return None

    def share(self, scalar: str) -> float | Absent:
        """By quadrature over the branches; a chain on the slice stays on the home branch."""
        exact = next((law for about, law in zip(self.abouts, self.built, strict=True) if about.role == "own"), None)
        if exact is None or not self.reduction.proper:
            return Absent("share", "there is no exact law over all of the branch")
        model, low, high = self.reduction.model, float(self.edges[0]), float(self.edges[-1])
        held = self.reduction.confinement.orbit == "held"
        branches = (model.home_of(scalar),) if held else model.branches_of(scalar)
        try:
            wells = [z for branch in branches for z in wells_of(self.reduction, branch)]
            return share_in_window(exact, lambda z: self.reduction.terms(z).energy, branches, (low, high), wells)
        except (LawError, ModelError) as error:
            return Absent("share", str(error))

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """z, log weight × (c = 0 density), and the statistic t at quadrature nodes of the window."""
        nodes = bin_nodes(self.edges, self.singular_ends, CORRECTION_PANELS)
        z = nodes.z.ravel()
        terms = self.reduction.terms(z)
        return z, nodes.log_weight.ravel() - terms.energy + terms.log_volume, -0.5 * terms.log_det


def quadrature(
    reduction: Reduction,
    edges: Float[np.ndarray, " edges"],
    singular_ends: tuple[bool, bool],
    *,
    kinds: Sequence[LawKind],
    margin: float,
) -> QuadraturePredictions:
    """Build and integrate the requested laws of a scalar invariant; one that cannot be normalised is missing.

    Raises:
        LawError: none of them exists here.
    """
    laws, missing = build_laws(reduction, kinds)
    abouts, built, masses = [], [], {}
    for kind, law in laws:
        try:
            masses[law.name] = bin_masses(law, edges, singular_ends)
            abouts.append(kind.about(law))
            built.append(law)
        except LawError as error:
            missing.append(str(error))
    if not built:
        raise LawError("none of the requested laws exists here: " + "; ".join(missing))
    return QuadraturePredictions(reduction, edges, singular_ends, margin, abouts, built, missing, masses)


@dataclass(frozen=True)
class SampledPredictions:
    """Laws of many coordinates, by reweighting draws of one of them; every mass has an error bar of its own.

    Attributes:
        draws: draws of the law that was sampled.
        edges: bin edges of each scalar.
        margin: equivalence margin on total variation.
        level: confidence of each verdict, so that all scalars together err in 5% at most.
        abouts, formulas: the laws.
        missing: one line for each law that does not exist here.
        cut: scalars whose windows the laws are conditioned on.
    """

    draws: LawDraws
    edges: dict[str, Float[np.ndarray, " edges"]]
    margin: float
    level: float
    abouts: list[LawAbout]
    formulas: list[Formula]
    missing: list[str]
    cut: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the laws that exist here."""
        return [about.name for about in self.abouts]

    @property
    def own(self) -> str | None:
        """The law that the protocol obeys, by name; None where there is none here."""
        return next((about.name for about in self.abouts if about.role == "own"), None)

    @property
    def candidates(self) -> tuple[KnownLaw, ...]:
        """Self-normalised masses, with the chain counts that their errors come from."""
        known = []
        for about in self.abouts:
            histograms = {scalar: self.histogram(about.name, scalar) for scalar in self.edges}
            c = self.law_coefficient(about.name)
            known.append(KnownLaw(about, {scalar: Masses(h.mass, h, c) for scalar, h in histograms.items()}))
        return tuple(known)

    def weight(self, law: str) -> Float[np.ndarray, "chain draw"]:
        """The weights of the reference draws under a law; one for each, for the law that was sampled."""
        if law not in self._weights and law == self.draws.formula.name:
            return np.ones_like(self.draws.statistic)
        return self._weights[law]

    def coefficient(self, statistic: Sums) -> Coefficient | Absent:
        """MCMC maximum likelihood."""
        if np.sum(statistic.n) == 0:
            return Absent("c", "no draw counts")
        if coefficient.is_constant(self.draws.statistic):
            masses = {n: np.concatenate([self.histogram(n, s).mass for s in self.edges]) for n in self.names}
            return _no_coefficient(self.abouts, masses)
        base = self.draws.log_weight(family_formula(0.0, "base"))
        try:
            return coefficient.estimate_correction_by_reweighting(
                statistic.total, statistic.n, self.draws.statistic, base
            )
        except ValueError as error:
            return Absent("c", str(error))

    def law_coefficient(self, law: str) -> float | None:
        """By reweighting."""
        if coefficient.is_constant(self.draws.statistic):
            return None
        weight = self._weights[law].ravel()
        t = self.draws.statistic.ravel()
        base = self.draws.log_weight(family_formula(0.0, "base")).ravel()
        try:
            return coefficient.solve_family(float(weight @ t / weight.sum()), base, t)
        except ValueError:
            return None

    def share(self, scalar: str) -> float | Absent:
        """Unknown: the law is sampled inside the windows."""
        return Absent("share", "the law is known inside the windows only")

    def histogram(self, law: str, scalar: str) -> compare.Histogram:
        """Weighted counts of the reference chains."""
        return self._histograms[law, scalar]

    def shares(self) -> dict[str, float]:
        """Share of the reference draws that each law's weights rest on."""
        return {law: effective_share(weight) for law, weight in self._weights.items()}

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        return {f.name: weights_of(self.draws.log_weight(f)) for f in self.formulas}

    @cached_property
    def _histograms(self) -> dict[tuple[str, str], compare.Histogram]:
        return {
            (f.name, scalar): self.draws.histogram(scalar, edges, self._weights[f.name])
            for f in self.formulas
            for scalar, edges in self.edges.items()
        }


def sampled(
    reduction: Reduction,
    draws: LawDraws,
    edges: dict[str, Float[np.ndarray, " edges"]],
    *,
    laws: Sequence[tuple[LawKind, Formula | LawError]],
    margin: float,
) -> SampledPredictions:
    """Weigh the draws of one law as each requested law; a law too far away is missing, with the reason.

    Raises:
        LawError: none of the requested laws exists here.
    """
    abouts, formulas, missing = [], [], []
    for kind, law in laws:
        if isinstance(law, LawError):
            missing.append(str(law))
            continue
        share = effective_share(weights_of(draws.log_weight(law)))
        if not share >= MIN_SHARE:
            missing.append(
                f"law {kind.name}: its weights rest on {share:.1%} of the draws of law {draws.formula.name}, "
                f"below {MIN_SHARE:.0%}"
            )
            continue
        abouts.append(kind.about(law))
        formulas.append(law)
    if not formulas:
        raise LawError("none of the requested laws exists here: " + "; ".join(missing))
    level = 1.0 - (1.0 - compare.LEVEL) / len(edges)
    return SampledPredictions(draws, edges, margin, level, abouts, formulas, missing, reduction.model.cut)
