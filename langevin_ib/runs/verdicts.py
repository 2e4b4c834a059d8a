"""What draws came to against laws and against each other: records of a result, and their form in `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from langevin_ib.laws.candidates import LawAbout
from langevin_ib.plain import JsonObject, fields_of, plain
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison, Verdict
from langevin_ib.statistics.energy import Dependence, JointTest
from langevin_ib.statistics.records import Absent

GRAVITY = ("agrees", "undecided", "differs")


class Mixing(NamedTuple):
    """Convergence of one ensemble.

    Attributes:
        r_hat: the worst scalar's, ArviZ, over traced chains.
        ess: the least of a scalar's, over all draws, from chain means.
        ess_traced: the least bulk ESS of the traced draws.
        traced: chains and draws of each that R-hat saw.
        diverged: 0, for a run with a diverged chain has no result.
        acceptance: mean acceptance rate; None of a kernel that accepts all.
        rejected: share of projections that failed; None without.
        drift_p_value: of a histogram that stands still between the parts of the run; None where unknown.
    """

    r_hat: float
    ess: float
    ess_traced: float
    traced: tuple[int, int]
    diverged: int
    acceptance: float | None
    rejected: float | None
    drift_p_value: float | None


def worst(comparisons: Mapping[str, Comparison]) -> str:
    """The scalar that is furthest off."""
    return max(
        comparisons,
        key=lambda name: (
            GRAVITY.index(comparisons[name].verdict),
            comparisons[name].tv_lower95,
            comparisons[name].tv_upper95,
        ),
    )


def worst_of(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Its comparison."""
    return comparisons[worst(comparisons)]


def _worst_dict(comparisons: Mapping[str, Comparison]) -> JsonObject:
    """The comparison of the scalar that is furthest off, named; all of them where there are several."""
    name = worst(comparisons)
    several: JsonObject = {"worst": name, "invariants": plain(comparisons)} if len(comparisons) > 1 else {}
    return fields_of(comparisons[name]) | several


class Difference(NamedTuple):
    """Of two estimates, with its standard error and degrees of freedom."""

    value: float
    se: float
    dof: float


@dataclass(frozen=True)
class StepCheck:
    """The run against its companion at h/2.

    Attributes:
        step_size, companion_step_size: of either.
        comparisons: of each scalar, against margin/factor.
        bias_factor: by which the bias at h exceeds the distance measured.
        c_difference: by how much c changes; None where it is not estimated.
    """

    step_size: float
    companion_step_size: float
    comparisons: dict[str, Comparison]
    bias_factor: float
    c_difference: Difference | None

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        c = self.c_difference
        return {
            **fields_of(self, "step_size", "companion_step_size"),
            **_worst_dict(self.comparisons),
            "bias_factor": self.bias_factor,
            "c_difference": None if c is None else c.value,
            "c_difference_se": None if c is None else c.se,
            "c_difference_dof": None if c is None else c.dof,
        }


@dataclass(frozen=True)
class Reference:
    """The reference sampler on the full space, against the draws and against the exact law.

    Attributes:
        sampler, step_size: what it is.
        mixing: its convergence.
        draws: in all.
        in_window: share of them in each scalar's window.
        empirical: bin masses of each scalar.
        comparisons: of each scalar, with the draws.
        against_exact: of each scalar, with the exact law; None without one.
        coefficient: its c.
    """

    sampler: str
    step_size: float
    mixing: Mixing
    draws: int
    in_window: dict[str, float]
    empirical: dict[str, Float[np.ndarray, " bins"]]
    comparisons: dict[str, Comparison]
    against_exact: dict[str, Comparison] | None
    coefficient: Coefficient | Absent

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            **fields_of(self, "sampler", "step_size"),
            **fields_of(self.mixing, "acceptance", "r_hat", "ess", "drift_p_value"),
            **fields_of(self, "draws", "in_window", "empirical"),
            **_worst_dict(self.comparisons),
            "against_exact": None if self.against_exact is None else _worst_dict(self.against_exact),
            "correction": coefficient_dict(self.coefficient),
        }


@dataclass(frozen=True)
class LawResult:
    """A law beside the draws of one scalar.

    Attributes:
        about: name, measure, formula, role.
        mass, mass_se: of each bin, with the standard error of a law that was sampled.
        temperature: the T that was fitted; None where none was.
        c: that draws of the law would show, or that was fitted; None where c cannot be identified.
        comparison: distance, bounds, p-value, verdict.
        error_share: the law's own part of the variance of the distance.
    """

    about: LawAbout
    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]
    temperature: float | None
    c: float | None
    comparison: Comparison
    error_share: float

    @property
    def formula(self) -> str:
        """With what was fitted."""
        if self.temperature is None:
            return self.about.formula
        return f"{self.about.formula}, T = {self.temperature:.4g}, c = {(self.c or 0.0) + 0.0:.4g}"

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            "measure": self.about.measure,
            **fields_of(self, "formula", "mass", "mass_se", "temperature", "c"),
            **fields_of(self.comparison),
            "law_error_share": self.error_share,
        }


class WindowShare(NamedTuple):
    """The share of the draws in a window beside the exact law's own, and the p-value of their equality."""

    measured: float
    share: float | None
    why: str | None
    p_value: float | None


class ScalarMoments(NamedTuple):
    """Mean and variance of a scalar over all draws, in the window or not, with standard errors from the chains."""

    mean: float
    mean_se: float
    variance: float
    variance_se: float


@dataclass(frozen=True)
class InvariantResult:
    """One scalar: its histogram, and the laws beside it.

    Attributes:
        edges: of the bins; the first and the last one are the window.
        mass, mass_se: share of each bin, and its standard error from the scatter of chains.
        in_window: share of the counted draws in the window.
        counted: draws in the home component, on the slab and in the windows of the other cut scalars.
        exact_share: the same share of the exact law; None where no law is exact.
        moments: of all draws.
        laws: in the order of the tables.
        variance_to_independent: by epochs, the variance over that of law (S) of batches drawn with replacement.
    """

    edges: Float[np.ndarray, " edges"]
    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]
    in_window: float
    counted: int
    exact_share: WindowShare | None
    moments: ScalarMoments
    laws: dict[str, LawResult]
    variance_to_independent: float | None = None

    @property
    def window(self) -> tuple[float, float]:
        """Where it is compared."""
        return float(self.edges[0]), float(self.edges[-1])

    def to_dict(self) -> JsonObject:
        """As in `summary.json`, without what is the same for all scalars."""
        ratio = self.variance_to_independent
        return {
            **fields_of(self, "window", "in_window"),
            "in_window_exact": plain(self.exact_share),
            "counted": self.counted,
            "bins": plain(self.edges),
            "empirical": plain(self.mass),
            "empirical_se": plain(self.mass_se),
            "laws": plain(self.laws),
            **fields_of(self.moments),
            **({} if ratio is None else {"variance_to_independent": ratio}),
        }


class Group(NamedTuple):
    """Laws within the margin of each other: the largest distance among them, and one verdict."""

    laws: tuple[str, ...]
    tv: float
    verdict: Verdict


@dataclass(frozen=True)
class Joint:
    """All scalars and ℓ/T at once against one law.

    Attributes:
        law: its name.
        test: by the energy distance.
        dependence: of the pair of features that depends on each other least as it does in the law.
        features: their names.
    """

    law: str
    test: JointTest
    dependence: Dependence
    features: tuple[str, ...]

    @property
    def pair(self) -> tuple[str, str]:
        """The features that `dependence` is about."""
        first, second = self.dependence.pair
        return self.features[first], self.features[second]

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            "law": self.law,
            "test": "energy distance, chains permuted; mean products of normal scores",
            **fields_of(self.test),
            "dependence": fields_of(self.dependence) | {"pair": list(self.pair)},
        }


class DriftStretch(NamedTuple):
    """The plain marginal over one octave of time.

    Attributes:
        time: from, to.
        coefficient: its c.
        in_window, on_slab: shares of all draws.
        charge_rms, charge_mean, charge_mean_se: of χ.
    """

    time: tuple[float, float]
    coefficient: Coefficient | Absent
    in_window: float
    on_slab: float
    charge_rms: float
    charge_mean: float
    charge_mean_se: float

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        rest = [name for name in self._fields if name not in ("time", "coefficient")]
        return {"time": list(self.time), "correction": coefficient_dict(self.coefficient), **fields_of(self, *rest)}


class LawSampler(NamedTuple):
    """What drew a law, and how well."""

    r_hat: float
    ess: float
    acceptance: float
    step_size: float
    chains: int
    draws: int


@dataclass(frozen=True)
class LawReference:
    """The law that was sampled, of a model of many coordinates.

    Attributes:
        law: its name.
        samplers: MALA and NUTS.
        between: their comparison, of each scalar.
        weights: share of the draws that each law's weights rest on.
    """

    law: str
    samplers: dict[str, LawSampler]
    between: dict[str, Comparison]
    weights: dict[str, float]


class Nearest(NamedTuple):
    """The process's own law against the nearest of the fitted ones, each by its worst scalar.

    Attributes:
        law: the nearer one.
        fitted_law: the nearest fitted one.
        sgd_tv, fitted_tv: their distances.
        decided: whether their 95% bounds do not overlap.
    """

    law: str
    fitted_law: str
    sgd_tv: float
    fitted_tv: float
    decided: bool


def coefficient_dict(coefficient: Coefficient | Absent) -> JsonObject:
    """c with its error, or null and the reason, as in `summary.json`."""
    return {"c": None, "why": coefficient.why} if isinstance(coefficient, Absent) else fields_of(coefficient)
