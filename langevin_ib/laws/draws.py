"""Draws of one reduced law on the quotient, with the terms by which every other law weighs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from langevin_ib.laws.family import Formula, ReducedTerms
from langevin_ib.statistics import compare
from langevin_ib.statistics.convergence import Convergence, convergence


@dataclass(frozen=True)
class LawDraws:
    """Draws of one reduced law, chain axis first, and the terms by which other laws weigh them.

    Attributes:
        formula: the law that was sampled.
        sampler: what sampled it.
        scalars: {scalar: (chain, draw)}.
        terms: the reduced terms at each draw, each (chain, draw); `log_orbit` where the exact law needs it.
        acceptance: mean acceptance rate.
        step_size: MALA's h, or NUTS's leapfrog step.
        position: where each chain ended, x in the chart of the quotient.
    """

    formula: Formula
    sampler: str
    scalars: dict[str, Float[np.ndarray, "chain draw"]]
    terms: ReducedTerms
    acceptance: float
    step_size: float
    position: Float[np.ndarray, "chain k"]

    @cached_property
    def convergence(self) -> dict[str, Convergence]:
        """R-hat and bulk ESS of every scalar (over as many chains as a trace keeps)."""
        return {name: convergence(values[:256]) for name, values in self.scalars.items()}

    @property
    def r_hat(self) -> float:
        """The largest R-hat."""
        return float(np.max([diagnostics.r_hat for diagnostics in self.convergence.values()]))

    @property
    def ess(self) -> float:
        """The smallest bulk ESS of a scalar, scaled up to all chains."""
        chains = next(iter(self.scalars.values())).shape[0]
        return float(np.min([diagnostics.ess for diagnostics in self.convergence.values()])) * chains / min(chains, 256)

    def log_weight(self, formula: Formula) -> Float[np.ndarray, "chain draw"]:
        """log (density of another law / density of the sampled one) at each draw."""
        return np.asarray(formula.log_density(self.terms) - self.formula.log_density(self.terms))

    @property
    def statistic(self) -> Float[np.ndarray, "chain draw"]:
        """t = −½ log det G."""
        return -0.5 * np.asarray(self.terms.log_det)

    def histogram(
        self,
        scalar: str,
        edges: Float[np.ndarray, " edges"],
        weight: Float[np.ndarray, "chain draw"],
        half: int | None = None,
    ) -> compare.Histogram:
        """Weighted bin counts of each chain in a window; of its first (0) or second (1) half only, if asked for."""
        values = self.scalars[scalar]
        if half is not None:
            values, weight = (np.array_split(x, 2, axis=1)[half] for x in (values, weight))
        counts = np.stack([np.histogram(v, edges, weights=w)[0] for v, w in zip(values, weight, strict=True)])
        return compare.histogram_of(counts)
