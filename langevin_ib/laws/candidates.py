"""A law as the judge's input: its name, and the bin masses that it predicts for an ensemble's scalars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from langevin_ib.statistics.compare import Histogram
from langevin_ib.statistics.records import Absent
from langevin_ib.statistics.sample import Sample

Role = Literal["own", "limit", "control", "fitted"]


class LawAbout(NamedTuple):
    """What tables say of a law, as resolved for one run.

    Attributes:
        name: its key in `summary.json`.
        measure: the reference measure that the formula is written against.
        formula: the density against it.
        role: own (what the protocol obeys), limit, control, or fitted to the draws that it is then compared with.
        place: among the laws, from which colour and dash follow; None: after those that have one.
        c: of a member of the family, whatever the model; None of others.
    """

    name: str
    measure: str
    formula: str
    role: Role
    place: int | None = None
    c: float | None = None


class Masses(NamedTuple):
    """Bin masses of a law of one scalar, given the scalar's window.

    Attributes:
        mass: of each bin.
        between: chain counts of a law that was sampled, whose error bars come from them; None of one that was
            integrated, which has no sampling error.
        c: the c that draws of this law would show, E_c[t] = E_law[t]; or the c that was fitted.
        temperature: the T that was fitted.
    """

    mass: Float[np.ndarray, " bins"]
    between: Histogram | None = None
    c: float | None = None
    temperature: float | None = None

    @property
    def standard_error(self) -> Float[np.ndarray, " bins"]:
        """From the scatter of the law's chains; none of a quadrature, which has settled to 1e-10."""
        if self.between is None:
            return np.zeros_like(self.mass)
        return np.sqrt(np.diag(self.between.covariance))

    def error_share(self, draws: Histogram) -> float:
        """The law's own part of the variance of the difference of two histograms, over all bins."""
        if self.between is None:
            return 0.0
        own = float(np.trace(self.between.covariance))
        whole = own + float(np.trace(draws.covariance))
        return own / whole if whole > 0 else 0.0


@runtime_checkable
class Candidate(Protocol):
    """A law that draws are compared with."""

    @property
    def about(self) -> LawAbout:
        """Name, measure, formula and role."""
        ...

    def masses(self, sample: Sample) -> Mapping[str, Masses] | Absent:
        """Of every scalar; only fitted laws read the sample."""
        ...


@dataclass(frozen=True)
class KnownLaw:
    """A law whose masses were known before the first draw of the chains."""

    about: LawAbout
    known: Mapping[str, Masses]

    def masses(self, sample: Sample | None = None) -> Mapping[str, Masses]:
        """Whatever the sample is."""
        del sample
        return self.known
