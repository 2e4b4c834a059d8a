"""What is measured on a chain: its invariant, its charge, and which draws count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from langevin_ib import compare, streaming
from langevin_ib.ensemble import EnsembleResult, Observer, batched
from langevin_ib.laws.family import Reduction


def build_observer(reduction: Reduction, edges: Float[np.ndarray, " edges"], slab: float | None) -> Observer:
    """Histogram and statistic of z in the window, moments of z and χ; on a slab also the plain marginal's histogram.

    With `slab` ε the window's histogram takes only draws with |χ| < ε.
    """
    model = reduction.model
    histogram = streaming.window_histogram(edges)
    parts = {
        "window": histogram,
        "marginal": histogram,
        "value": streaming.moments(),
        "charge": streaming.moments((model.group_dim,)),
    }
    if slab is None:
        del parts["marginal"]

    def observe(params) -> dict[str, Any]:
        z = model.invariants(params)[reduction.name]
        charge = model.moment_map(params)
        statistic = reduction.statistic(z)
        everything = jnp.asarray(True)
        counts = everything if slab is None else jnp.linalg.norm(charge) < slab
        draw = {"window": streaming.WindowDraw(z, statistic, counts), "value": z, "charge": charge}
        return draw if slab is None else draw | {"marginal": streaming.WindowDraw(z, statistic, everything)}

    return Observer(observe, streaming.product(parts), lambda draw: {k: draw[k] for k in ("value", "charge")})


@dataclass(frozen=True)
class Sample:
    """One ensemble's statistics, all segments together and each apart."""

    result: EnsembleResult
    observer: Observer

    @cached_property
    def total(self) -> Any:
        """Accumulators of the whole run, merged over its segments."""
        with jax.enable_x64(True):
            merge = batched(self.observer.accumulator.merge)
            total = self.result.segments[0]
            for segment in self.result.segments[1:]:
                total = jax.tree.map(np.asarray, merge(total, segment))
        return total

    def moments(self, name: str) -> streaming.Moments:
        """Per-chain count, mean and variance of `value` (z) or `charge` (χ) over all draws."""
        with jax.enable_x64(True):
            finished = batched(self.observer.accumulator.finalize)(self.total)[name]
        return jax.tree.map(np.asarray, finished)

    @property
    def window(self) -> streaming.WindowSums:
        """Per-chain sums in the window (on the slab, if there is one)."""
        return self.total["window"]

    @property
    def in_window(self) -> float:
        """Share of the counted draws that fall into the window."""
        return float(self.window.counts.sum() / max(self.window.total.sum(), 1))

    @property
    def counted(self) -> int:
        """Draws that count: all, or those on the slab."""
        return int(self.window.total.sum())

    @property
    def draws(self) -> int:
        """All recorded draws."""
        return int(np.sum(self.total["value"].n))

    def ensemble(self) -> compare.Ensemble:
        """The window's histogram as the tests take it."""
        return compare.ensemble(np.asarray(self.window.counts))

    def value_moments(self) -> tuple[Float[np.ndarray, " chain"], float]:
        """Mean of z in each chain, and the variance of z over all draws."""
        moments = self.moments("value")
        means = np.asarray(moments.mean)
        return means, float(np.mean(moments.variance) + np.var(means))

    def halves(self) -> tuple[Int[np.ndarray, "chain bins"], Int[np.ndarray, "chain bins"]]:
        """Window counts of the first and the last segment."""
        return self.result.segments[0]["window"].counts, self.result.segments[-1]["window"].counts
