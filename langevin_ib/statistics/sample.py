"""The statistics of an ensemble of chains that the judge takes: plain arrays, chain axis first, of any source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from langevin_ib.stages import Engine, Stillness
from langevin_ib.statistics.compare import Histogram, histogram_of
from langevin_ib.statistics.identities import Gaps


class WindowCounts(NamedTuple):
    """Bin counts of every chain in a window, and the draws below and above it."""

    counts: Int[np.ndarray, "chain bins"]
    below: Int[np.ndarray, " chain"]
    above: Int[np.ndarray, " chain"]

    @property
    def total(self) -> Int[np.ndarray, " chain"]:
        """All draws, inside the window and outside."""
        return self.counts.sum(axis=-1) + self.below + self.above


class Sums(NamedTuple):
    """Σ of a statistic over the draws of each chain that count, and their number."""

    total: Float[np.ndarray, " chain"]
    n: Int[np.ndarray, " chain"]

    @property
    def mean(self) -> float:
        """Over all chains."""
        return float(np.sum(self.total) / np.sum(self.n))


class Moments(NamedTuple):
    """Per chain: draws, mean and (population) variance."""

    n: Num[np.ndarray, " chain"]
    mean: Float[np.ndarray, "chain ..."]
    variance: Float[np.ndarray, "chain ..."]

    @property
    def mean_square(self) -> Float[np.ndarray, "chain ..."]:
        """E[x²] of each chain."""
        return np.asarray(self.mean**2 + self.variance)


class Counted(NamedTuple):
    """Sums over the draws that count.

    Attributes:
        windows: of each scalar.
        statistic: of t = −½ log det G.
        energy: of what the laws weigh, (ℓ + C(s))/T; SGD: T = 1.
        loss: of ℓ/T, ℓ alone; None where nobody looked.
    """

    windows: dict[str, WindowCounts]
    statistic: Sums
    energy: Sums
    loss: Sums | None = None


@dataclass(frozen=True)
class Stretch:
    """The sums of one segment of time.

    Attributes:
        counted: over the draws that count: at home, inside the windows of the scalars that are cut, on the slab.
        marginal: the same at any χ; None without a slab.
        value: moments of the scalars, over all draws.
        charge: moments of χ, over all draws.
        loss: moments of ℓ/T, over all draws; None where nobody looked.
        lowest: the least ℓ/T of each chain's draws; None likewise.
        norm: moments of |θ|²/2, over all draws, of a run that measures only.
    """

    counted: Counted
    marginal: Counted | None
    value: Moments
    charge: Moments
    loss: Moments | None = None
    lowest: Float[np.ndarray, " chain"] | None = None
    norm: Moments | None = None


class Part(NamedTuple):
    """Counts of a part of a run in the bins of a window, and its draws of each chain."""

    counts: Int[np.ndarray, "chain bins"]
    length: int


@dataclass(frozen=True)
class Sample:
    """One ensemble.

    Attributes:
        scalars: their names, in the order of `Stretch.value`.
        stretches: as the schedule has them.
        whole: all of them together.
        trace: thinned draws of some chains, each (traced chain, draw, …): "value", "charge", "energy", "potential",
            "counts".
        info: the kernel's diagnostics of its steps, a mean for each chain.
        ends: the parameters of each chain after the last step, a pytree with a leading chain axis.
        still: of each chain, for how long it did not move.
        engine: how it was run.
        gaps: of the identities of its steps; None where nobody looked.
        per_chain: batches that every chain is cut into, the units of all error bars, one behind the other; 1 where the
            chains are the units.
        earlier: stretches before those that are judged, of which nothing else here knows.
    """

    scalars: tuple[str, ...]
    stretches: tuple[Stretch, ...]
    whole: Stretch
    trace: Mapping[str, Shaped[np.ndarray, "traced draw ..."]]
    info: Mapping[str, Float[np.ndarray, " chain"]]
    ends: Any
    still: Stillness
    engine: Engine
    gaps: Gaps | None = None
    per_chain: int = 1
    earlier: tuple[Stretch, ...] = ()

    def window(self, scalar: str) -> WindowCounts:
        """Histogram of a scalar in each chain (of the draws on the slab, if there is one)."""
        return self.whole.counted.windows[scalar]

    @property
    def statistic(self) -> Sums:
        """Sum of t in each chain, and the number of draws that it is over."""
        return self.whole.counted.statistic

    @property
    def energy(self) -> Sums:
        """Sum of the laws' energy over the same draws."""
        return self.whole.counted.energy

    def in_window(self, scalar: str) -> float:
        """Share of the counted draws that fall into the window."""
        return float(self.window(scalar).counts.sum() / max(self.window(scalar).total.sum(), 1))

    def counted(self, scalar: str) -> int:
        """Draws that count: all, or those on the slab and in the windows of the other cut scalars."""
        return int(self.window(scalar).total.sum())

    @property
    def draws(self) -> int:
        """All recorded draws."""
        return int(np.sum(self.whole.value.n))

    @property
    def empty(self) -> tuple[str, ...]:
        """Scalars without a draw in their window."""
        return tuple(name for name in self.scalars if self.window(name).counts.sum() == 0)

    def histogram(self, scalar: str) -> Histogram:
        """A scalar's histogram as the tests take it."""
        return self._histograms[scalar]

    @cached_property
    def _histograms(self) -> dict[str, Histogram]:
        return {name: histogram_of(self.window(name).counts) for name in self.scalars}

    def value_moments(self, scalar: str) -> tuple[Float[np.ndarray, " chain"], float]:
        """Mean of a scalar in each chain, and its variance over all draws."""
        moments, i = self.whole.value, self.scalars.index(scalar)
        means = np.asarray(moments.mean)[:, i]
        return means, float(np.mean(np.asarray(moments.variance)[:, i]) + np.var(means))

    def trace_of(self, scalar: str) -> Float[np.ndarray, "traced draw"]:
        """Kept draws of a scalar, a row for each chain, however it is cut."""
        return self.of_chains(self.rows_of(scalar))

    def of_chains(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the units as rows of the chains that they are of."""
        return rows if self.per_chain == 1 else rows.reshape(-1, self.per_chain * rows.shape[1], *rows.shape[2:])

    def abreast(self, scalar: str) -> np.ndarray:
        """Kept draws of a scalar, of two chains at the same time in rows that follow each other."""
        rows = self.rows_of(scalar)
        if self.per_chain == 1:
            return rows
        pairs = len(rows) // self.per_chain // 2
        each = rows[: 2 * pairs * self.per_chain].reshape(pairs, 2, self.per_chain, rows.shape[1])
        return np.moveaxis(each, 1, 2).reshape(-1, rows.shape[1])

    def rows_of(self, scalar: str) -> Float[np.ndarray, "unit draw"]:
        """Kept draws of a scalar, a row for each unit of the error bars."""
        return np.asarray(self.trace["value"])[..., self.scalars.index(scalar)]

    def halves(self, scalar: str) -> tuple[np.ndarray, np.ndarray]:
        """Window counts of the earlier and of the later half of the batches of every chain."""
        counts = self.window(scalar).counts
        each = counts.reshape(-1, self.per_chain, counts.shape[1])
        first = self.per_chain // 2
        return each[:, :first].reshape(-1, counts.shape[1]), each[:, first:].reshape(-1, counts.shape[1])

    def parts(self, scalar: str) -> tuple[Part, Part]:
        """Window counts before and in the last stretches, as few of them as make up a quarter of the run."""
        lengths = [int(np.asarray(stretch.value.n)[0]) for stretch in self.stretches]
        count = next(k for k in range(1, len(lengths) + 1) if 4 * sum(lengths[-k:]) >= sum(lengths))
        last = sum(np.asarray(stretch.counted.windows[scalar].counts) for stretch in self.stretches[-count:])
        length = sum(lengths[-count:])
        return Part(self.window(scalar).counts - last, sum(lengths) - length), Part(np.asarray(last), length)
