"""How much of a law lies in a window: its mass there over that on all the branches which chains can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law
from langevin_ib.models.base import Branch

REACHES = (40.0, 80.0, 160.0)  # how far x goes on either side, one after the other until the density has fallen off
LOOK = 4096  # points of the grid on which the intervals with mass are searched, besides the given wells
ZOOM, ZOOMS = 512, 4  # points between two of these, and how often, until the end of a stretch is known
BULK = 15.0  # log density (in x) below its top at which a stretch ends: what is left out is about e⁻¹⁵ of the mass
HIGH = 36.0  # ℓ/T above its bottom at which the density is not evaluated any more
FAR_OUT = 18.0  # below this x the power of the density at the end is what is left of it
STRIDE, SLOPE = 3.0, 0.05  # a density that is a power ε > 0.05 at an end still counts as one that can be normalised
NODES = 12
PANELS = (16, 32, 64, 128)
SETTLED = 1e-7

Energy = Callable[[np.ndarray], np.ndarray]


def share_in_window(
    law: Law, energy: Energy, branches: tuple[Branch, ...], window: Branch, wells: Sequence[float] = ()
) -> float:
    """∫_window p dz / Σ_branches ∫ p dz.

    Every branch is parametrised by an x in which powers and exponentials at its ends fall off exponentially: z = a ± eˣ
    on a half-line from a, z = m + w sinh x on the line, z = a + (b − a)/(1 + e⁻ˣ) on (a, b).

    Args:
        law: the density; its normalisation does not matter.
        energy: z ↦ ℓ/T; where it is far above its bottom the density is not evaluated.
        branches: disjoint intervals, one of which holds the window.
        window: [z_lo, z_hi].
        wells: where ℓ has minima, for one may be narrower than what a search by itself would find.

    Raises:
        LawError: the density cannot be normalised on a branch, is not a number there, or the share does not settle.

    >>> exponential = Law("e", "dz", "e^−z", lambda z: -np.abs(z))
    >>> both = (-math.inf, 0.0), (0.0, math.inf)
    >>> round(share_in_window(exponential, np.abs, both, (0.0, 1.0)), 6)  # (1 − e⁻¹)/2
    0.31606
    """
    pieces = []
    for branch in branches:
        chart = _Chart(branch, window)
        for low, high in _intervals_with_mass(law, energy, chart, wells):
            cuts = sorted({low, high, *(x for x in map(chart.place, window) if low < x < high)})
            pieces += [(chart, first, last) for first, last in pairwise(cuts)]
    inside = [window[0] <= chart.value(0.5 * (first + last)) <= window[1] for chart, first, last in pieces]
    previous = math.nan
    for panels in PANELS:
        logs = [_log_terms(law, chart, first, last, panels) for chart, first, last in pieces]
        top = max(float(terms.max()) for terms in logs)
        masses = np.array([np.exp(terms - top).sum() for terms in logs])
        share = float(masses[inside].sum() / masses.sum())
        if abs(share - previous) < SETTLED:
            return share
        previous = share
    raise LawError(f"law {law.label}: its share of the window does not settle")


class _Chart:
    """A branch parametrised by x ∈ R."""

    def __init__(self, branch: Branch, window: Branch):
        self.low, self.high = branch
        self.middle, self.width = 0.5 * sum(window), window[1] - window[0]
        # Of half-lines: |x| is measured from the window's own distance to the end.
        end = self.low if math.isfinite(self.low) else self.high
        self.scale = max(abs(self.middle - end), self.width) if math.isfinite(end) else 1.0

    def value(self, x):
        """z(x)."""
        if math.isinf(self.low) and math.isinf(self.high):
            return self.middle + self.width * np.sinh(x)
        if math.isinf(self.high):
            return self.low + self.scale * np.exp(x)
        if math.isinf(self.low):
            return self.high - self.scale * np.exp(x)
        return self.low + (self.high - self.low) / (1.0 + np.exp(-x))

    def place(self, z: float) -> float:
        """x(z), ±∞ at and beyond the ends."""
        if math.isinf(self.low) and math.isinf(self.high):
            return float(np.arcsinh((z - self.middle) / self.width))
        if math.isinf(self.high) or math.isinf(self.low):
            distance = (z - self.low if math.isinf(self.high) else self.high - z) / self.scale
            return math.log(distance) if distance > 0 else -math.inf
        share = (z - self.low) / (self.high - self.low)
        return -math.inf if share <= 0 else math.inf if share >= 1 else math.log(share / (1.0 - share))

    def log_jacobian(self, x: np.ndarray) -> np.ndarray:
        """log |dz/dx|."""
        if math.isinf(self.low) and math.isinf(self.high):
            return np.log(self.width) + np.abs(x) + np.log1p(np.exp(-2.0 * np.abs(x))) - np.log(2.0)
        if math.isinf(self.high) or math.isinf(self.low):
            return np.log(self.scale) + x
        return np.log(self.high - self.low) - np.abs(x) - 2.0 * np.log1p(np.exp(-np.abs(x)))


def _log_density(law: Law, chart: _Chart, x: np.ndarray) -> np.ndarray:
    """log p dz/dx; a density that overflows to −∞ has no mass there."""
    with np.errstate(over="ignore", invalid="ignore"):
        z = chart.value(x)
        # A point that rounding puts on the end of the branch is beyond it.
        within = np.isfinite(z) & (z > chart.low) & (z < chart.high)
        value = law.log_density(np.where(within, z, chart.value(np.zeros_like(x)))) + chart.log_jacobian(x)
    if np.isnan(value[within]).any():
        at = z[within][np.isnan(value[within])][0]
        raise LawError(f"law {law.label}: its density is not a number at {at:.4g}, outside the window")
    return np.where(within, value, -np.inf)


def _intervals_with_mass(law: Law, energy: Energy, chart: _Chart, wells: Sequence[float]) -> list[tuple[float, float]]:
    """Where in x the loss is within 36 T of its bottom; towards an end of the branch, where p counts at all."""

    def heights(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            energies = np.asarray(energy(chart.value(x)), np.float64)
        return np.where(np.isnan(energies), np.inf, energies)

    own = [chart.place(z) for z in wells if chart.low < z < chart.high]
    for reach in REACHES:
        within = [place for place in own if abs(place) < reach]
        x = np.unique(np.concatenate([np.linspace(-reach, reach, LOOK), within]))
        height = heights(x)
        if not np.isfinite(np.min(height)):
            raise LawError(f"law {law.label}: the loss is nowhere finite on ({chart.low:g}, {chart.high:g})")
        limit = float(np.min(height)) + HIGH
        steps = np.flatnonzero(np.diff(np.concatenate([[False], height < limit, [False]]).astype(int)))
        runs = [(int(first), int(last) - 1) for first, last in zip(steps[::2], steps[1::2], strict=True)]
        ends = []
        for first, last in runs:
            low = x[0] if first == 0 else _find_crossing(heights, limit, x[first], x[first - 1])
            high = x[-1] if last == x.size - 1 else _find_crossing(heights, limit, x[last], x[last + 1])
            ends.append((float(low), float(high)))
        trimmed = _trim(law, chart, ends, reach)
        if trimmed is not None:
            return trimmed
    raise LawError(f"law {law.label}: it cannot be normalised on ({chart.low:g}, {chart.high:g})")


def _find_crossing(heights: Energy, limit: float, inner: float, outer: float) -> float:
    """Where between two points the loss rises beyond the limit."""
    for _ in range(ZOOMS):
        fine = np.linspace(inner, outer, ZOOM)
        above = np.flatnonzero(heights(fine) >= limit)
        first = int(above[0]) if above.size else ZOOM - 1
        inner, outer = float(fine[max(first - 1, 0)]), float(fine[first])
    return outer


def _trim(law: Law, chart: _Chart, ends: list[tuple[float, float]], reach: float) -> list[tuple[float, float]] | None:
    """The stretches, those that go on to an end of the branch as far as the density counts; None if it counts there."""
    grids = [np.linspace(low, high, ZOOM) for low, high in ends]
    values = [_log_density(law, chart, x) for x in grids]
    top = max(float(np.max(value)) for value in values)
    kept = []
    for x, value, (low, high) in zip(grids, values, ends, strict=True):
        bulk = np.flatnonzero(value > top - BULK)
        if not bulk.size:
            continue
        start, stop = low, high
        if low <= -reach:
            if bulk[0] == 0:
                return None
            start = float(x[bulk[0] - 1])
            _check_falls(law, chart, min(float(x[bulk[0]]), -FAR_OUT), -STRIDE)
        if high >= reach:
            if bulk[-1] == ZOOM - 1:
                return None
            stop = float(x[bulk[-1] + 1])
            _check_falls(law, chart, float(x[bulk[-1]]), STRIDE)
        kept.append((start, stop))
    return kept


def _check_falls(law: Law, chart: _Chart, edge: float, outward: float) -> None:
    """A power of the distance to an end that is not integrable is constant or rises in x, far below the top or not."""
    near, far = _log_density(law, chart, np.array([edge, edge + outward]))
    if not (far < near - SLOPE * STRIDE or far == -math.inf):
        raise LawError(f"law {law.label}: it cannot be normalised on ({chart.low:g}, {chart.high:g})")


def _log_terms(law: Law, chart: _Chart, low: float, high: float, panels: int) -> np.ndarray:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    width = (high - low) / panels
    x = (low + width * (np.arange(panels)[:, None] + 0.5 * (nodes + 1.0))).ravel()
    return _log_density(law, chart, x) + np.tile(np.log(0.5 * width * weights), panels)
