"""Mergeable accumulators: what a chain leaves behind when its draws are not kept.

Each is a monoid of four pure functions for one chain: `init` gives the neutral element, `update` adds a draw, `merge`
joins two disjoint stretches of draws (associative, with `init()` neutral), `finalize` gives the statistics. Counts are
int64 and sums float64 whatever the precision of the chains, so no count or small term is lost in a long run; the
caller has x64 enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num


@dataclass(frozen=True)
class Accumulator:
    """`init() -> acc`, `update(acc, draw) -> acc`, `merge(acc, acc) -> acc`, `finalize(acc) -> statistics`."""

    init: Callable[[], Any]
    update: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any]
    finalize: Callable[[Any], Any]


class WindowDraw(NamedTuple):
    """One draw of an invariant: its value z, and whether the draw counts at all."""

    value: Float[Array, ""]
    counts: Bool[Array, ""]


class WindowSums(NamedTuple):
    """Histogram of one chain in a window."""

    counts: Int[Array, "... bins"]
    below: Int[Array, "..."]
    above: Int[Array, "..."]

    @property
    def total(self) -> Int[np.ndarray, "..."]:
        """Draws seen, inside the window and outside."""
        return np.asarray(np.asarray(self.counts).sum(-1) + np.asarray(self.below) + np.asarray(self.above))


def window_histogram(edges: Sequence[float] | Float[np.ndarray, " edges"]) -> Accumulator:
    """Counts in the bins [e_i, e_{i+1}), below e_0 and at or above e_B, of the draws that count."""
    bounds = np.asarray(edges, np.float64)
    bins = bounds.size - 1

    def init() -> WindowSums:
        zero = jnp.zeros((), jnp.int64)
        return WindowSums(jnp.zeros(bins, jnp.int64), zero, zero)

    def update(acc: WindowSums, draw: WindowDraw) -> WindowSums:
        place = jnp.sum(draw.value >= bounds)  # 0: below, 1..B: in a bin, B + 1: above
        one = draw.counts.astype(jnp.int64)
        return WindowSums(
            # A comparison with every bin, not a scatter: XLA runs a scatter over chains one by one on a CPU.
            counts=acc.counts + one * (jnp.arange(1, bins + 1) == place),
            below=acc.below + one * (place == 0),
            above=acc.above + one * (place == bins + 1),
        )

    return Accumulator(init, update, _add, lambda acc: acc)


class MomentSums(NamedTuple):
    """Count, mean and sum of squared deviations of one chain's draws."""

    n: Int[Array, ""]
    mean: Float[Array, "*shape"]
    m2: Float[Array, "*shape"]


class ChainMoments(NamedTuple):
    """Count, mean and (population) variance."""

    n: Num[Array, "..."]
    mean: Float[Array, "..."]
    variance: Float[Array, "..."]


def moments(shape: tuple[int, ...] = ()) -> Accumulator:
    """Mean and variance of draws of a given shape, by Welford's update and Chan's merge."""

    def init() -> MomentSums:
        zeros = jnp.zeros(shape, jnp.float64)
        return MomentSums(jnp.zeros((), jnp.int64), zeros, zeros)

    def update(acc: MomentSums, draw: Float[Array, "..."]) -> MomentSums:
        n = acc.n + 1
        delta = draw.astype(jnp.float64) - acc.mean
        mean = acc.mean + delta / n
        return MomentSums(n, mean, acc.m2 + delta * (draw.astype(jnp.float64) - mean))

    def merge(a: MomentSums, b: MomentSums) -> MomentSums:
        n = a.n + b.n
        share = b.n / jnp.maximum(n, 1)
        delta = b.mean - a.mean
        return MomentSums(n, a.mean + delta * share, a.m2 + b.m2 + delta**2 * a.n * share)

    def finalize(acc: MomentSums) -> ChainMoments:
        return ChainMoments(acc.n, acc.mean, acc.m2 / jnp.maximum(acc.n, 1))

    return Accumulator(init, update, merge, finalize)


def count() -> Accumulator:
    """How many draws there were, whatever they are."""
    return Accumulator(lambda: jnp.zeros((), jnp.int64), lambda n, _: n + 1, lambda a, b: a + b, lambda n: n)


class MaskedSum(NamedTuple):
    """Sum of a statistic over the draws that count, and their number."""

    total: Float[Array, "..."]
    n: Int[Array, "..."]


def masked_sum() -> Accumulator:
    """Σ t and the count, over draws (t, whether it counts)."""

    def update(acc: MaskedSum, draw: tuple[Float[Array, ""], Bool[Array, ""]]) -> MaskedSum:
        value, counts = draw
        return MaskedSum(
            acc.total + jnp.where(counts, value.astype(jnp.float64), 0.0), acc.n + counts.astype(jnp.int64)
        )

    return Accumulator(
        init=lambda: MaskedSum(jnp.zeros((), jnp.float64), jnp.zeros((), jnp.int64)),
        update=update,
        merge=lambda a, b: MaskedSum(a.total + b.total, a.n + b.n),
        finalize=lambda acc: acc,
    )


class EndedSum(NamedTuple):
    """Count and sum of the first row of one chain's draws, and the first and the last draw whole."""

    n: Int[Array, ""]
    total: Float[Array, " k"]
    first: Float[Array, "two k"]
    last: Float[Array, "two k"]


def ended_sum(k: int) -> Accumulator:
    """Σ of the first row of draws (2, k), and the draws at both ends: for sums that telescope, gaps and values."""

    def init() -> EndedSum:
        zeros = jnp.zeros((2, k), jnp.float64)
        return EndedSum(jnp.zeros((), jnp.int64), zeros[0], zeros, zeros)

    def update(acc: EndedSum, draw: Float[Array, "two k"]) -> EndedSum:
        draw = draw.astype(jnp.float64)
        return EndedSum(acc.n + 1, acc.total + draw[0], jnp.where(acc.n > 0, acc.first, draw), draw)

    def merge(a: EndedSum, b: EndedSum) -> EndedSum:
        first, last = jnp.where(a.n > 0, a.first, b.first), jnp.where(b.n > 0, b.last, a.last)
        return EndedSum(a.n + b.n, a.total + b.total, first, last)

    return Accumulator(init, update, merge, lambda acc: acc)


def product(parts: Mapping[str, Accumulator]) -> Accumulator:
    """Several accumulators side by side; a draw is a mapping with the same names."""
    return Accumulator(
        init=lambda: {name: part.init() for name, part in parts.items()},
        update=lambda acc, draw: {name: part.update(acc[name], draw[name]) for name, part in parts.items()},
        merge=lambda a, b: {name: part.merge(a[name], b[name]) for name, part in parts.items()},
        finalize=lambda acc: {name: part.finalize(acc[name]) for name, part in parts.items()},
    )


def _add(a: WindowSums, b: WindowSums) -> WindowSums:
    return WindowSums(*(x + y for x, y in zip(a, b, strict=True)))
