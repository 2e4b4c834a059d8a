"""A law of one coordinate as a table: log density and distribution function, polynomials on panels.

Each stretch of the support has a coordinate x in which the density is smooth: z itself where the stretch has two ends
within a branch, the log of the distance to a branch's end, sinh⁻¹ z on the line. Panels of equal width in x are halved
until neither the interpolated log density (wherever it is within 30 of its top) nor any panel's mass moves. Towards an
end of a branch, or infinity, log p dx goes on as a straight line in x, whose mass is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial import chebyshev

from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law
from langevin_ib.laws.family import Reduction

DEGREE = 16
PANELS, MOST_PANELS = 8, 4096
SETTLED_LOG, SETTLED_MASS = 1e-8, 1e-10
DROP = 30.0  # log density (in x) below its top at which the panels end
HIGH = 40.0  # ℓ/T above its bottom at which the density is not evaluated any more
REACHES = (85.0, 60.0, 40.0, 25.0, 16.0)  # of |x| towards an open end; e^−85 is a float32, nearer ends are for those
NEAR = 1e-5  # relative distance to an end other than 0 below which z − end is lost in z's rounding
LOOK, ZOOMS = 512, 3  # points of a search, and how often it is repeated between two of them
SLOPE = 0.05  # a density that is a power ε > 0.05 of the distance at an end still counts as one that can be normalised

Shape = Literal["flat", "above", "below", "between", "line"]


class Stretch(NamedTuple):
    """An interval of z, and whether its ends are those of a branch, or infinite."""

    low: float
    high: float
    open_low: bool
    open_high: bool

    @property
    def shape(self) -> Shape:
        """Of its coordinate."""
        if math.isinf(self.low) and math.isinf(self.high):
            return "line"
        if self.open_low and self.open_high and math.isfinite(self.high - self.low):
            return "between"
        if math.isinf(self.high) or (self.open_low and math.isfinite(self.low)):
            return "above"
        return "below" if self.open_high or math.isinf(self.low) else "flat"

    def value(self, x: Any, xp: Any = np) -> Any:
        """z(x), increasing; `xp` is NumPy or JAX's."""
        match self.shape:
            case "line":
                return xp.sinh(x)
            case "between":
                return self.low + (self.high - self.low) / (1.0 + xp.exp(-x))
            case "above":
                return self.low + xp.exp(x)
            case "below":
                return self.high - xp.exp(-x)
        return x

    def place(self, z: Any, xp: Any = np) -> Any:
        """x(z), of a z inside."""
        match self.shape:
            case "line":
                return xp.arcsinh(z)
            case "between":
                return xp.log(z - self.low) - xp.log(self.high - z)
            case "above":
                return xp.log(z - self.low)
            case "below":
                return -xp.log(self.high - z)
        return z

    def log_jacobian(self, x: Any, xp: Any = np) -> Any:
        """log dz/dx."""
        match self.shape:
            case "line":
                return xp.abs(x) + xp.log1p(xp.exp(-2.0 * xp.abs(x))) - math.log(2.0)
            case "between":
                return math.log(self.high - self.low) - xp.abs(x) - 2.0 * xp.log1p(xp.exp(-xp.abs(x)))
            case "above":
                return x
            case "below":
                return -x
        return 0.0 * x

    def range(self, reach: float) -> tuple[float, float, bool, bool]:
        """The x that there are, as far as `reach` towards an open end, and which ends are open in x."""
        low, high = -reach, reach
        shape = self.shape
        if shape == "flat":
            return self.low, self.high, False, False
        if shape in ("above", "between") and self.low != 0.0:
            low = max(low, math.log(NEAR * abs(self.low)))
        if shape in ("below", "between") and self.high != 0.0:
            high = min(high, -math.log(NEAR * abs(self.high)))
        if shape == "above" and math.isfinite(self.high):
            return low, math.log(self.high - self.low), True, False
        if shape == "below" and math.isfinite(self.low):
            return -math.log(self.high - self.low), high, False, True
        return low, high, True, True


class Piece(NamedTuple):
    """The panels of one stretch, in units of the whole law's mass.

    Attributes:
        stretch: of z.
        first, panels, x0, width: its panels among all, where they begin, their width in x.
        slopes: of log p dx beyond the first and the last panel; 1 where there is nothing beyond.
        tails: the masses there.
        start, end: mass of all that lies below it, and with it.
    """

    stretch: Stretch
    first: int
    panels: int
    x0: float
    width: float
    slopes: tuple[float, float]
    tails: tuple[float, float]
    start: float
    end: float

    @property
    def x1(self) -> float:
        """Where its panels end."""
        return self.x0 + self.panels * self.width


class Table(NamedTuple):
    """A law.

    Attributes:
        log_density: Chebyshev coefficients, on each panel, of the log of the density in x, normalised.
        mass: the same of the mass from the panel's start.
        below: mass below each panel.
        pieces: which panels are whose.
    """

    log_density: Float[np.ndarray, "panel degree"]
    mass: Float[np.ndarray, "panel degree1"]
    below: Float[np.ndarray, " panel"]
    pieces: tuple[Piece, ...]


def tabulate(law: Law, reduction: Reduction, stretches: Sequence[Stretch]) -> Table:
    """A law on some stretches, in increasing order.

    Raises:
        LawError: it cannot be normalised there, or the table does not settle.
    """
    panels = [_panels(law, reduction, stretch) for stretch in stretches]
    top = max(float(one.logs.max()) for one in panels)
    parts = [_integrated(one, top) for one in panels]
    total = sum(float(masses.sum()) + sum(tails) for _, masses, tails in parts)
    pieces, below, first, start = [], [], 0, 0.0
    for one, stretch, (_, masses, tails) in zip(panels, stretches, parts, strict=True):
        low, high = tails[0] / total, tails[1] / total
        end = start + low + float(masses.sum()) / total + high
        pieces.append(Piece(stretch, first, len(masses), one.x0, one.width, one.slopes, (low, high), start, end))
        below.append(start + low + np.concatenate([[0.0], np.cumsum(masses)[:-1]]) / total)
        first, start = first + len(masses), end
    shift = np.zeros(DEGREE + 1)
    shift[0] = top + math.log(total)
    logs = np.concatenate([chebyshev.chebfit(_NODES, one.logs.T, DEGREE).T for one in panels]) - shift
    return Table(logs, np.concatenate([mass for mass, _, _ in parts]) / total, np.concatenate(below), tuple(pieces))


class _Panels(NamedTuple):
    """log p dx at the nodes of each panel, not normalised, and its slopes beyond; infinite at an end that is closed."""

    x0: float
    width: float
    logs: Float[np.ndarray, "panel node"]
    slopes: tuple[float, float]
    open: tuple[bool, bool]


_NODES: np.ndarray = chebyshev.chebpts1(DEGREE + 1)


def _panels(law: Law, reduction: Reduction, stretch: Stretch) -> _Panels:
    low, high, open_low, open_high = _ends(law, reduction, stretch)
    logs = _at_nodes(law, stretch, low, high, PANELS)
    panels = PANELS
    while panels < MOST_PANELS:
        finer = _at_nodes(law, stretch, low, high, 2 * panels)
        coarse = chebyshev.chebfit(_NODES, logs.T, DEGREE)
        halves = [chebyshev.chebval(0.5 * (_NODES + side), coarse) for side in (-1.0, 1.0)]
        guess = np.stack(halves, axis=1).reshape(finer.shape)
        counts = finer > finer.max() - DROP
        error = float(np.abs(np.where(counts, guess - finer, 0.0)).max())
        top = float(finer.max())
        before, after = _masses(logs, top) / panels, _masses(finer, top).reshape(panels, 2).sum(axis=1) / (2 * panels)
        moved = float(np.abs(before / before.sum() - after / after.sum()).max())
        logs, panels = finer, 2 * panels
        if error < SETTLED_LOG and moved < SETTLED_MASS:
            width = (high - low) / panels
            slopes = _slopes(logs, width, open_low, open_high)
            for slope, end in zip(slopes, (stretch.low, stretch.high), strict=True):
                if not slope > SLOPE:
                    raise LawError(f"law {law.label}: it cannot be normalised towards {end:g}; give it a window")
            return _Panels(low, width, logs, slopes, (open_low, open_high))
    raise LawError(
        f"law {law.label}: its density on ({stretch.low:g}, {stretch.high:g}) is not smooth enough for a table "
        f"({MOST_PANELS} panels); use a narrower window"
    )


def _log_density(law: Law, stretch: Stretch, x: np.ndarray) -> np.ndarray:
    z = stretch.value(x)
    value = law.log_density(z) + stretch.log_jacobian(x)
    if np.isnan(value).any():
        raise LawError(f"law {law.label}: its density is not a number at {z[np.isnan(value)][0]:.4g}")
    return value


def _at_nodes(law: Law, stretch: Stretch, low: float, high: float, panels: int) -> np.ndarray:
    width = (high - low) / panels
    x = low + width * (np.arange(panels)[:, None] + 0.5 * (1.0 + _NODES))
    return _log_density(law, stretch, x.ravel()).reshape(x.shape)


def _masses(logs: np.ndarray, top: float) -> np.ndarray:
    """Of each panel, in units of its width."""
    integral = chebyshev.chebint(chebyshev.chebfit(_NODES, np.exp(logs - top).T, DEGREE), lbnd=-1.0, axis=0)
    return 0.5 * np.asarray(chebyshev.chebval(1.0, integral))


def _integrated(one: _Panels, top: float) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Coefficients of the mass from each panel's start, the panels' masses, and those of the tails."""
    integral = chebyshev.chebint(chebyshev.chebfit(_NODES, np.exp(one.logs - top).T, DEGREE), lbnd=-1.0, axis=0)
    coefficients = 0.5 * one.width * integral
    tails = [0.0, 0.0]
    for i, (k, side) in enumerate(((0, -1.0), (-1, 1.0))):
        if one.open[i]:
            height = float(chebyshev.chebval(side, chebyshev.chebfit(_NODES, one.logs[k], DEGREE)))
            tails[i] = math.exp(height - top) / one.slopes[i]
    return coefficients.T, np.asarray(chebyshev.chebval(1.0, coefficients)), (tails[0], tails[1])


def _slopes(logs: np.ndarray, width: float, open_low: bool, open_high: bool) -> tuple[float, float]:
    """How fast log p dx falls outwards; 1 at an end that is closed."""

    def slope(k: int, side: float) -> float:
        derivative = chebyshev.chebder(chebyshev.chebfit(_NODES, logs[k], DEGREE))
        return -side * float(chebyshev.chebval(side, derivative)) * 2.0 / width

    return slope(0, -1.0) if open_low else 1.0, slope(-1, 1.0) if open_high else 1.0


def _ends(law: Law, reduction: Reduction, stretch: Stretch) -> tuple[float, float, bool, bool]:
    """Where the panels begin and end, and which of these ends have a tail beyond."""
    error = LawError(f"law {law.label}: it cannot be normalised on ({stretch.low:g}, {stretch.high:g})")
    for reach in REACHES:
        low, high, open_low, open_high = stretch.range(reach)
        if stretch.shape == "flat":
            return low, high, False, False
        try:
            first, last = _within_energy(reduction, stretch, low, high)
            x = np.linspace(first, last, LOOK)
            values = _log_density(law, stretch, x)
            bulk = np.flatnonzero(values > values.max() - DROP)
        except LawError as failed:  # of an orbit integral, so near to where the action is not free
            error = failed
            continue
        start = x[max(bulk[0] - 1, 0)] if open_low else low
        stop = x[min(bulk[-1] + 1, LOOK - 1)] if open_high else high
        return float(start), float(stop), open_low, open_high
    raise error


def _within_energy(reduction: Reduction, stretch: Stretch, low: float, high: float) -> tuple[float, float]:
    """The outermost x at which ℓ/T is within 40 of its bottom."""

    def energies(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(reduction.terms(stretch.value(x)).energy, np.float64)
        return np.where(np.isnan(values), np.inf, values)

    x = np.linspace(low, high, LOOK)
    height = energies(x)
    for _ in range(ZOOMS):  # a well may be narrower than the grid
        least = int(np.argmin(height))
        near = np.linspace(x[max(least - 1, 0)], x[min(least + 1, len(x) - 1)], LOOK)
        x = np.union1d(x, near)
        height = energies(x)
    within = np.flatnonzero(height < height.min() + HIGH)
    ends = []
    for inner, outer in ((within[0], max(within[0] - 1, 0)), (within[-1], min(within[-1] + 1, len(x) - 1))):
        inside, outside = float(x[inner]), float(x[outer])
        for _ in range(ZOOMS):
            fine = np.linspace(inside, outside, LOOK)
            above = np.flatnonzero(energies(fine) >= height.min() + HIGH)
            k = int(above[0]) if above.size else LOOK - 1
            inside, outside = float(fine[max(k - 1, 0)]), float(fine[k])
        ends.append(outside)
    return ends[0], ends[1]
