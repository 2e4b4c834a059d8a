"""Checks of a law of one coordinate, as a distribution on the window of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, stats

from langevin_ib.config.extensions import summary
from langevin_ib.distributions import LawDistribution, law
from langevin_ib.laws.law import law_kind
from langevin_ib.testing.breach import hold

DRAWS = 20_000
LEVEL = 1e-6  # of the test of its draws: the probability with which a right one is refused
POINTS = 400
CLOSE = 1e-6


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those of the law of a name, for a run of these settings."""
    kind = law_kind(name)

    @cache
    def distribution() -> LawDistribution:
        return law(name, **settings)

    def record() -> None:
        hold(len(summary("law", name)) > 20, "the first line of its file has to say what it is, for --help")
        hold(kind.name, "it has no name")

    def normalised() -> None:
        low, high = distribution().window
        total = integrate.quad(lambda z: float(jnp.exp(distribution().log_prob(z))), low, high, limit=200)[0]
        hold(abs(total - 1) < CLOSE, f"its density integrates to {total:.8g} on its window")

    def mass() -> None:
        law = distribution()
        edges = np.asarray(law.icdf(np.linspace(0.0, 1.0, POINTS + 1)[1:-1]))
        middles, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        # Simpson's rule between neighbouring quantiles.
        inner = [np.exp(np.asarray(law.log_prob(z))) for z in (edges[:-1], middles, edges[1:])]
        simpson = widths * (inner[0] + 4 * inner[1] + inner[2]) / 6
        gap = float(np.max(np.abs(np.diff(np.asarray(law.cdf(edges))) - simpson)) * POINTS)
        hold(
            gap < 1e-4,
            f"its distribution function is no integral of its density: a bin's mass is off by {gap:.2g} of it",
        )

    def sampling() -> None:
        law = distribution()
        draws = np.asarray(law.sample(jax.random.key(0), (DRAWS,)))
        p = float(stats.kstest(np.asarray(law.cdf(draws)), "uniform").pvalue)
        hold(p > LEVEL, f"its draws are not of its distribution function: p = {p:.1g}")

    def limits() -> None:
        law = distribution()
        low, high = law.window
        ends = [float(law.cdf(low)), float(law.cdf(high))]
        hold(
            np.allclose(ends, [0.0, 1.0], atol=1e-9), f"its distribution function goes from {ends[0]:g} to {ends[1]:g}"
        )
        outside = [float(law.log_prob(z)) for z in (low - 1.0, high + 1.0) if np.isfinite(z)]
        hold(all(value == -np.inf for value in outside), "it has mass outside of its window")
        shares = np.linspace(0.01, 0.99, 99)
        gap = float(np.max(np.abs(np.asarray(law.cdf(law.icdf(shares))) - shares)))
        hold(gap < CLOSE, f"its quantiles are off by {gap:.2g} in probability")

    return {"record": record, "normalised": normalised, "mass": mass, "sampling": sampling, "limits": limits}
