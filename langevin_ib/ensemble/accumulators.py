"""Mergeable accumulators: what a chain leaves behind when its draws are not kept.

Each is a monoid of four pure functions for one chain: `init` gives the neutral element, `update` adds a draw, `merge`
joins two disjoint stretches of draws (associative, with `init()` neutral), `finalize` gives the statistics. Counts are
int64 and sums float64 whatever the precision of the chains, so no count or small term is lost in a long run; the
caller has x64 enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
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


def least() -> Accumulator:
    """The smallest of the draws' numbers; infinite before the first."""
    return Accumulator(
        init=lambda: jnp.full((), jnp.inf, jnp.float64),
        update=lambda acc, value: jnp.minimum(acc, value.astype(jnp.float64)),
        merge=jnp.minimum,
        finalize=lambda acc: acc,
    )


class GapDraw(NamedTuple):
    """What a draw gives for identities of a step: E[φ_i(θ′) | state] − φ_i(θ), φ_0 = |θ − θ₀|²/2 about any θ₀.

    Attributes:
        position: θ, flat; empty where θ₀ = 0 has to do.
        drift: E[θ′ | state] − θ, of its size.
        gap: of each φ; in front E[|θ′ − θ|² | state]/2, or where θ₀ = 0 all of φ_0's.
        value: of each φ, in front |θ|²/2.
    """

    position: Float[Array, " q"]
    drift: Float[Array, " q"]
    gap: Float[Array, " k"]
    value: Float[Array, " k"]


class GapTotal(NamedTuple):
    """Of one chain: how many terms were added, their sum, and the last values of φ, for the size of rounding."""

    n: Int[Array, ""]
    total: Float[Array, " k"]
    value: Float[Array, " k"]


class _Telescope(NamedTuple):
    """`seen` draws of this stretch; θ₀, the last draw's gap and value, the sum of all stretches, number by number."""

    seen: Int[Array, ""]
    n: Int[Array, ""]
    centre: Float[Array, " q"]
    gap: tuple[Float[Array, ""], ...]
    value: tuple[Float[Array, ""], ...]
    total: tuple[Float[Array, ""], ...]


def telescoped_gaps(q: int, k: int, thin: int) -> Accumulator:
    """Σ of the gaps of draws less the change of φ between them, a martingale's increments over the steps.

    θ₀ is the first draw of a stretch and the sum begins at the second: what follows is then a martingale about a point
    of its past, with the noise of |θ − θ₀| and not of |θ|. The gaps of the `thin` steps between two draws are estimated
    by the first of them for one step (then nothing is estimated), else by the trapezoidal rule, which is off where the
    mean gap, given θ₀, still falls: by ½x coth(½x) − 1 of it after a change by e^−x between two draws.

    Args:
        q: size of positions; 0 leaves φ_0 about 0.
        k: how many φ.
        thin: steps between draws; 0 sums gaps alone, of every draw.
    """

    def init() -> _Telescope:
        zeros, none = (jnp.zeros((), jnp.float64),) * k, jnp.zeros((), jnp.int64)
        return _Telescope(none, none, jnp.zeros(q, jnp.float64), zeros, zeros, zeros)

    def update(acc: _Telescope, draw: GapDraw) -> _Telescope:
        # Numbers apart, not arrays of k: XLA goes through an array of chains by k element by element on a CPU.
        gap, value = ([part[i].astype(jnp.float64) for i in range(k)] for part in (draw.gap, draw.value))
        if not thin:
            total = tuple(map(jnp.add, acc.total, gap))
            return acc._replace(n=acc.n + 1, value=tuple(value), total=total)
        position, drift = draw.position.astype(jnp.float64), draw.drift.astype(jnp.float64)
        centre = jnp.where(acc.seen > 0, acc.centre, position)
        if q:
            gap[0] += jnp.sum((position - centre) * drift)
            value[0] -= jnp.sum(centre * position)
        counts = acc.seen > 1
        total = []
        for i in range(k):
            step = acc.gap[i] if thin == 1 else 0.5 * (acc.gap[i] + gap[i])
            total.append(acc.total[i] + jnp.where(counts, step - (value[i] - acc.value[i]) / thin, 0.0))
        n = acc.n + counts.astype(jnp.int64)
        return _Telescope(acc.seen + 1, n, centre, tuple(gap), tuple(value), tuple(total))

    def merge(a: _Telescope, b: _Telescope) -> _Telescope:
        # Stretches about centres of their own: what lies between them is left out.
        began = b.seen + b.n > 0
        latest = jax.tree.map(lambda x, y: jnp.where(began, y, x), a, b)
        return latest._replace(n=a.n + b.n, total=tuple(map(jnp.add, a.total, b.total)))

    def finalize(acc: _Telescope) -> GapTotal:
        return GapTotal(acc.n, jnp.stack(acc.total), jnp.stack(acc.value))

    return Accumulator(init, update, merge, finalize)


def product(parts: Mapping[str, Accumulator], rare: Collection[str] = ()) -> Accumulator:
    """Several accumulators side by side; a draw is a mapping with the same names, of which `rare` may be left out."""

    def update(acc: dict[str, Any], draw: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: acc[name] if name in rare and name not in draw else part.update(acc[name], draw[name])
            for name, part in parts.items()
        }

    return Accumulator(
        init=lambda: {name: part.init() for name, part in parts.items()},
        update=update,
        merge=lambda a, b: {name: part.merge(a[name], b[name]) for name, part in parts.items()},
        finalize=lambda acc: {name: part.finalize(acc[name]) for name, part in parts.items()},
    )


def _add(a: WindowSums, b: WindowSums) -> WindowSums:
    return WindowSums(*(x + y for x, y in zip(a, b, strict=True)))
