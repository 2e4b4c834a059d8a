"""What is measured on a chain: its invariants, its charge, and which draws count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from langevin_ib import geometry
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.runner import EnsembleResult, Observer, batched
from langevin_ib.laws.family import Reduction
from langevin_ib.statistics import compare


def build_observer(
    reduction: Reduction,
    edges: Mapping[str, Float[np.ndarray, " edges"]],
    slab: float | None,
    *,
    with_energy: bool = False,
) -> Observer:
    """Histograms of the scalars, the statistic t of the family, moments of the scalars and of χ.

    A draw counts if it lies in the home component, in the windows of the scalars that are cut (for such a scalar's own
    histogram: of the others), and, with `slab` ε, at |χ| < ε; then `marginal` has the same of all draws, at any χ.

    Args:
        reduction: model, confinement, temperature.
        edges: bin edges of each scalar that is put into a histogram; those that are cut must be among them.
        slab: ε, or None.
        with_energy: whether to sum the energy of the laws too, ℓ + C(s) over T, over the same draws as t.
    """
    model, chart = reduction.model, reduction.chart
    windows = accumulators.product({name: accumulators.window_histogram(e) for name, e in edges.items()})
    sums = ("statistic", "energy") if with_energy else ("statistic",)
    law = accumulators.product({"windows": windows, **{name: accumulators.masked_sum() for name in sums}})
    parts = {
        "law": law,
        "value": accumulators.moments((len(edges),)),
        "charge": accumulators.moments((model.group_dim,)),
    }
    if slab is not None:
        parts["marginal"] = law
    bounds = {name: (np.float64(e[0]), np.float64(e[-1])) for name, e in edges.items() if name in model.cut}

    def in_all_windows(scalars):
        within = jnp.asarray(True)
        for name, (low, high) in bounds.items():
            within = within & (scalars[name] >= low) & (scalars[name] < high)
        return within

    def counted(scalars, terms, here) -> dict[str, Any]:
        inside = {name: (scalars[name] >= low) & (scalars[name] < high) for name, (low, high) in bounds.items()}
        draws = {}
        for name in edges:
            counts = here
            for other, within in inside.items():
                counts = counts if other == name else counts & within
            draws[name] = accumulators.WindowDraw(scalars[name], counts)
        everywhere = here & in_all_windows(scalars)
        values = {"statistic": -0.5 * terms.log_det, "energy": terms.energy}
        return {"windows": draws, **{name: (values[name], everywhere) for name in sums}}

    def observe(state) -> dict[str, Any]:
        params = state.position
        x = chart.of(params)
        scalars, charge = chart.scalars_of(params), model.moment_map(params)
        home = chart.at_home(params)
        terms = reduction.terms_at(x)
        here = home if slab is None else home & (jnp.linalg.norm(charge) < slab)
        draw = {
            "law": counted(scalars, terms, here),
            "value": jnp.stack([scalars[name] for name in edges]),
            "charge": charge,
            "counts": here & in_all_windows(scalars),
            "energy": geometry.slice_terms(chart, x).loss / reduction.temperature,
            "potential": terms.energy,
        }
        return draw if slab is None else draw | {"marginal": counted(scalars, terms, home)}

    def update(acc, draw):
        return accumulator.update(acc, {name: draw[name] for name in parts})

    accumulator = accumulators.product(parts)
    return Observer(
        observe,
        accumulators.Accumulator(accumulator.init, update, accumulator.merge, accumulator.finalize),
        lambda draw: {name: draw[name] for name in ("value", "charge", "energy", "potential", "counts")},
    )


@dataclass(frozen=True)
class Sample:
    """One ensemble's statistics, all segments together and each apart."""

    result: EnsembleResult
    observer: Observer
    scalars: tuple[str, ...]

    @cached_property
    def total(self) -> Any:
        """Accumulators of the whole run, merged over its segments."""
        with jax.enable_x64(True):
            merge = batched(self.observer.accumulator.merge)
            total = self.result.segments[0]
            for segment in self.result.segments[1:]:
                total = jax.tree.map(np.asarray, merge(total, segment))
        return total

    def moments(self, name: str) -> accumulators.Moments:
        """Per-chain count, mean and variance of `value` (the scalars) or `charge` (χ) over all draws."""
        with jax.enable_x64(True):
            finished = batched(self.observer.accumulator.finalize)(self.total)[name]
        return jax.tree.map(np.asarray, finished)

    def window(self, scalar: str) -> accumulators.WindowSums:
        """Per-chain histogram of a scalar (of the draws on the slab, if there is one)."""
        return self.total["law"]["windows"][scalar]

    @property
    def statistic(self) -> accumulators.MaskedSum:
        """Per-chain sum of t, and the number of draws that it is over."""
        return self.total["law"]["statistic"]

    def in_window(self, scalar: str) -> float:
        """Share of the counted draws that fall into the window."""
        return float(self.window(scalar).counts.sum() / max(self.window(scalar).total.sum(), 1))

    def counted(self, scalar: str) -> int:
        """Draws that count: all, or those on the slab and in the windows of the other cut scalars."""
        return int(self.window(scalar).total.sum())

    @property
    def draws(self) -> int:
        """All recorded draws."""
        return int(np.sum(self.total["value"].n))

    @property
    def empty(self) -> tuple[str, ...]:
        """Scalars without a draw in their window."""
        return tuple(name for name in self.scalars if self.window(name).counts.sum() == 0)

    def histogram(self, scalar: str) -> compare.Histogram:
        """A scalar's histogram as the tests take it."""
        return self._histograms[scalar]

    @cached_property
    def _histograms(self) -> dict[str, compare.Histogram]:
        return {name: compare.histogram_of(np.asarray(self.window(name).counts)) for name in self.scalars}

    def value_moments(self, scalar: str) -> tuple[Float[np.ndarray, " chain"], float]:
        """Mean of a scalar in each chain, and its variance over all draws."""
        moments, i = self.moments("value"), self.scalars.index(scalar)
        means = np.asarray(moments.mean)[:, i]
        return means, float(np.mean(np.asarray(moments.variance)[:, i]) + np.var(means))

    def trace(self, scalar: str) -> Float[np.ndarray, "chain draw"]:
        """Kept draws of a scalar."""
        return np.asarray(self.result.trace["value"])[..., self.scalars.index(scalar)]

    def halves(self, scalar: str) -> tuple[Int[np.ndarray, "chain bins"], Int[np.ndarray, "chain bins"]]:
        """Window counts before and in the last segment: half of a stationary run, the last octave of another."""
        last = np.asarray(self.result.segments[-1]["law"]["windows"][scalar].counts)
        return np.asarray(self.window(scalar).counts) - last, last
