"""A law of one coordinate as a table: log density and distribution function, polynomials on panels.

Each stretch of the support has a coordinate x in which the density is smooth: z itself where the stretch has two ends
within a branch, the log of the distance to a branch's end, sinh⁻¹ z on the line. Eight panels cover where log p dx is
within 30 of its top; further panels, as wide as they may be, go outwards from there: to the window's end, or as far as
the density is a number, log p dx is within 1e9 of its top and |x| < 700. A panel is halved until neither its log
density nor its mass moves, and until its density is a polynomial. Beyond the last one log p dx is a straight line in x.
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
KNOWN_PANELS = 48  # of a law that is known on a grid
SETTLED_LOG, SETTLED_MASS = 1e-8, 1e-11  # of a log density within `DROP` of its top; further down relative to how far
ROUNDING = 1e-14  # relative, of a log density
DROP = 30.0  # log density (in x) below its top at which the bulk ends
HIGH = 40.0  # ℓ/T above its bottom beyond which no bulk is looked for
REACHES = (85.0, 60.0, 40.0, 25.0, 16.0)  # of |x| towards an open end; the first within which a bulk is found
FAR, DEEP = 700.0, 1e9  # |x| and the log density below its top at which panels end; e^700 is a number
FINEST = 2.0**-12  # of a panel of the bulk: narrower ones are not tried further out
TRAILING = 2.0**-6  # of the widest: narrower panels are left out where the law ends
NEAR = 1e-5  # relative distance to an end other than 0 below which z − end is lost in z's rounding
LOOK, ZOOMS = 512, 3  # points of a search, and how often it is repeated between two of them
FINITE = 1e-3  # |slope − 1| towards an end at which the density counts as finite there; log |z|'s is 1.4e-3 at e^−700
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
        first, panels, x0, x1, middle: its panels among all, where they begin and end in x, and an x on them.
        slopes: of log p dx beyond the first and the last panel, outwards; 1 where there is nothing beyond.
        tails: the masses there.
        start, end: mass of all that lies below it, and with it.
        limits: of log p at its ends.
    """

    stretch: Stretch
    first: int
    panels: int
    x0: float
    x1: float
    middle: float
    slopes: tuple[float, float]
    tails: tuple[float, float]
    start: float
    end: float
    limits: tuple[float, float]


class Table(NamedTuple):
    """A law.

    Attributes:
        log_density: Chebyshev coefficients, on each panel, of the log of the density in x, normalised.
        mass: the same of the mass from the panel's start.
        below: mass below each panel.
        starts, widths: of each panel, in x.
        pieces: which panels are whose.
    """

    log_density: Float[np.ndarray, "panel degree"]
    mass: Float[np.ndarray, "panel degree1"]
    below: Float[np.ndarray, " panel"]
    starts: Float[np.ndarray, " panel"]
    widths: Float[np.ndarray, " panel"]
    pieces: tuple[Piece, ...]


def tabulate(law: Law, reduction: Reduction, stretches: Sequence[Stretch]) -> Table:
    """A law on some stretches, in increasing order.

    Raises:
        LawError: it cannot be normalised there, or the table does not settle.
    """
    return _assembled(law, [_panels(law, reduction, stretch) for stretch in stretches], stretches)


def tabulate_known(law: Law, stretches: Sequence[Stretch], ends: tuple[float, float]) -> Table:
    """A law that is known between two z only, a straight line in x beyond; on even panels, whatever its accuracy.

    Raises:
        LawError: a stretch does not overlap with where it is known, or it cannot be normalised.
    """
    return _assembled(law, [_known_panels(law, stretch, ends) for stretch in stretches], stretches)


def _assembled(law: Law, panels: Sequence[_Panels], stretches: Sequence[Stretch]) -> Table:
    """Stretches side by side, normalised together."""
    top = max(float(one.logs.max()) for one in panels)
    parts = [_integrated(one, top) for one in panels]
    total = sum(float(masses.sum()) + sum(tails) for _, masses, tails in parts)
    log_total = top + math.log(total)
    pieces, below, first, start = [], [], 0, 0.0
    for one, stretch, (_, masses, tails) in zip(panels, stretches, parts, strict=True):
        low, high = tails[0] / total, tails[1] / total
        end = start + low + float(masses.sum()) / total + high
        x0, x1 = float(one.starts[0]), float(one.starts[-1] + one.widths[-1])
        middle = float(one.starts[len(masses) // 2])
        limits = _limits(law, one, stretch, log_total)
        pieces.append(Piece(stretch, first, len(masses), x0, x1, middle, one.slopes, (low, high), start, end, limits))
        below.append(start + low + np.concatenate([[0.0], np.cumsum(masses)[:-1]]) / total)
        first, start = first + len(masses), end
    shift = np.zeros(DEGREE + 1)
    shift[0] = log_total
    return Table(
        np.concatenate([_fit(one.logs) for one in panels]) - shift,
        np.concatenate([mass for mass, _, _ in parts]) / total,
        np.concatenate(below),
        np.concatenate([one.starts for one in panels]),
        np.concatenate([one.widths for one in panels]),
        tuple(pieces),
    )


class _Panels(NamedTuple):
    """log p dx at the nodes of each panel, not normalised; how it falls beyond them, and whether there is a beyond."""

    starts: Float[np.ndarray, " panel"]
    widths: Float[np.ndarray, " panel"]
    logs: Float[np.ndarray, "panel node"]
    slopes: tuple[float, float]
    open: tuple[bool, bool]


_NODES: np.ndarray = chebyshev.chebpts1(DEGREE + 1)


def _panels(law: Law, reduction: Reduction, stretch: Stretch) -> _Panels:
    first, last, top = _bulk(law, reduction, stretch)
    low, high, open_low, open_high = stretch.range(FAR)
    width = (last - first) / PANELS
    lower = _outwards(law, stretch, (first, low), width, top)[::-1]
    upper = _outwards(law, stretch, (last, high), width, top)
    panels = [*lower, *((first + k * width, width) for k in range(PANELS)), *upper]
    starts, widths, logs = _refined(law, stretch, np.array(panels), top)
    short = starts[0] - low, high - (starts[-1] + widths[-1])
    is_open = bool(open_low or short[0] > 0.0), bool(open_high or short[1] > SETTLED_LOG * widths[-1])
    return _Panels(starts, widths, logs, _falling(law, stretch, _slopes(logs, widths, is_open)), is_open)


def _known_panels(law: Law, stretch: Stretch, ends: tuple[float, float]) -> _Panels:
    low, high, open_low, open_high = stretch.range(FAR)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = [float(stretch.place(np.float64(end))) for end in ends]
    first, last = max(low, known[0]), min(high, known[1])
    if not first < last:
        raise LawError(f"law {law.label}: none of its mass lies in ({stretch.low:g}, {stretch.high:g})")
    corners = np.linspace(first, last, KNOWN_PANELS + 1)
    starts, widths = corners[:-1], np.diff(corners)
    logs = _at_nodes(law, stretch, np.column_stack([starts, widths]))
    is_open = bool(open_low or first > low), bool(open_high or last < high)
    return _Panels(starts, widths, logs, _falling(law, stretch, _slopes(logs, widths, is_open)), is_open)


def _falling(law: Law, stretch: Stretch, slopes: tuple[float, float]) -> tuple[float, float]:
    """Slopes, where the law can be normalised with them."""
    for slope, end in zip(slopes, (stretch.low, stretch.high), strict=True):
        if not slope > SLOPE:
            raise LawError(f"law {law.label}: it cannot be normalised towards {end:g}; give it a window")
    return slopes


def _outwards(
    law: Law, stretch: Stretch, ends: tuple[float, float], width: float, top: float
) -> list[tuple[float, float]]:
    """Panels (start, width) from one x towards another, each as wide as its log density allows."""
    x, limit = ends
    side = 1.0 if limit > x else -1.0
    least, found = width * FINEST, []
    while side * (limit - x) > 0.0 and len(found) < MOST_PANELS:
        there = x + side * width if width < side * (limit - x) else limit
        panel = np.array([[min(x, there), abs(there - x)]])
        try:
            coarse, fine = _at_nodes(law, stretch, panel), _at_nodes(law, stretch, _halved(panel))
        except LawError:  # of an orbit integral, too far out
            coarse = fine = np.full((1, 1), np.nan)
        if not (np.isfinite(coarse).all() and np.isfinite(fine).all() and _errors(coarse, fine, top)[0] < SETTLED_LOG):
            width *= 0.5
            if width < least:
                # The last ones, ever narrower up to where the law cannot be evaluated, have slopes that are noise.
                while found and found[-1][1] < TRAILING * max(one[1] for one in found):
                    found.pop()
                break
            continue
        found.append((float(panel[0, 0]), float(panel[0, 1])))
        x, width = there, 2.0 * width
        if fine.min() < top - DEEP:
            break
    return found


def _refined(law: Law, stretch: Stretch, panels: np.ndarray, top: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, widths, logs at the nodes of panels that are halved until they have settled."""
    logs, settled = _at_nodes(law, stretch, panels), []
    done = 0.0  # the settled panels' mass, in units of e^top
    count = len(panels)
    while len(panels):
        if count > MOST_PANELS:
            raise LawError(
                f"law {law.label}: its density on ({stretch.low:g}, {stretch.high:g}) is not smooth enough for a table "
                f"({MOST_PANELS} panels); use a narrower window"
            )
        halves = _halved(panels)
        finer = _at_nodes(law, stretch, halves)
        higher = max(top, float(finer.max()))
        done, top = done * math.exp(top - higher), higher
        before, spill = _masses(logs, panels[:, 1], top)
        after = _masses(finer, halves[:, 1], top)[0].reshape(-1, 2).sum(axis=1)
        # Masses against that of all, not against that of their own sum: a coarse panel's is wrong by any factor.
        worst = np.maximum(np.abs(before - after), spill) / (done + np.abs(after).sum())
        fine_enough = (_errors(logs, finer, top) < SETTLED_LOG) & (worst < SETTLED_MASS)
        settled.append(np.column_stack([panels, logs])[fine_enough])
        done += float(after[fine_enough].sum())
        again = np.repeat(~fine_enough, 2)
        panels, logs = halves[again], finer[again]
        count += int((~fine_enough).sum())
    rows = np.concatenate(settled)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[:, 0], rows[:, 1], rows[:, 2:]


def _halved(panels: np.ndarray) -> np.ndarray:
    """Both halves of each panel (start, width)."""
    half = 0.5 * panels[:, 1]
    return np.stack([panels[:, 0], half, panels[:, 0] + half, half], axis=1).reshape(-1, 2)


def _errors(logs: np.ndarray, finer: np.ndarray, top: float) -> np.ndarray:
    """How far a panel's polynomial is from the log density on its halves; further down relative to how far.

    A log density of 1e7 is known to 1e-8 at best.
    """
    coarse = _fit(logs).T
    guess = np.stack([chebyshev.chebval(0.5 * (_NODES + side), coarse) for side in (-1.0, 1.0)], axis=1)
    finer = finer.reshape(guess.shape)
    scale = np.maximum(np.maximum(1.0, (top - finer) / DROP), np.abs(finer) * (ROUNDING / SETTLED_LOG))
    return (np.abs(guess - finer) / scale).max(axis=(1, 2))


def _fit(values: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients of each panel."""
    return chebyshev.chebfit(_NODES, values.T, DEGREE).T


def _log_density(law: Law, stretch: Stretch, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        z = stretch.value(x)
        value = law.log_density(z) + stretch.log_jacobian(x)
    if np.isnan(value).any():
        raise LawError(f"law {law.label}: its density is not a number at {z[np.isnan(value)][0]:.4g}")
    return value


def _at_nodes(law: Law, stretch: Stretch, panels: np.ndarray) -> np.ndarray:
    x = panels[:, :1] + panels[:, 1:] * (0.5 * (1.0 + _NODES))
    return _log_density(law, stretch, x.ravel()).reshape(x.shape)


def _masses(logs: np.ndarray, widths: np.ndarray, top: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each panel, and what the highest terms of its density's polynomial are worth."""
    density = _fit(np.exp(logs - top))
    integral = chebyshev.chebint(density.T, lbnd=-1.0, axis=0)
    spill = 0.5 * widths * np.abs(density[:, -2:]).sum(axis=1)
    return 0.5 * widths * np.asarray(chebyshev.chebval(1.0, integral)), spill


def _integrated(one: _Panels, top: float) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Coefficients of the mass from each panel's start, the panels' masses, and those of the tails."""
    integral = chebyshev.chebint(_fit(np.exp(one.logs - top)).T, lbnd=-1.0, axis=0)
    coefficients = 0.5 * one.widths * integral
    tails = [math.exp(_at_end(one.logs, k) - top) / one.slopes[k] if one.open[k] else 0.0 for k in (0, 1)]
    return coefficients.T, np.asarray(chebyshev.chebval(1.0, coefficients)), (tails[0], tails[1])


def _at_end(logs: np.ndarray, end: int) -> float:
    """log p dx where the panels begin (0) or end (1)."""
    return float(chebyshev.chebval((-1.0, 1.0)[end], _fit(logs[-end][None])[0]))


def _slopes(logs: np.ndarray, widths: np.ndarray, is_open: tuple[bool, bool]) -> tuple[float, float]:
    """How fast log p dx falls outwards; 1 at an end that is closed."""

    def slope(end: int) -> float:
        side = (-1.0, 1.0)[end]
        derivative = chebyshev.chebder(_fit(logs[-end][None])[0])
        return -side * float(chebyshev.chebval(side, derivative)) * 2.0 / float(widths[-end])

    return slope(0) if is_open[0] else 1.0, slope(1) if is_open[1] else 1.0


def _limits(law: Law, one: _Panels, stretch: Stretch, log_total: float) -> tuple[float, float]:
    """log p at both ends of a stretch: p is the distance to the end to the power of the slope, less one."""
    corners = float(one.starts[0]), float(one.starts[-1] + one.widths[-1])

    def limit(end: int) -> float:
        if math.isinf(stretch[end]):
            return -math.inf
        if not stretch[2 + end]:  # of the window, within a branch
            return float(law.log_density(np.array([stretch[end]]))[0]) - log_total
        excess = one.slopes[end] - 1.0
        if abs(excess) > FINITE:
            return math.copysign(math.inf, -excess)
        return _at_end(one.logs, end) - float(stretch.log_jacobian(corners[end])) - log_total

    return limit(0), limit(1)


def _bulk(law: Law, reduction: Reduction, stretch: Stretch) -> tuple[float, float, float]:
    """Between which x log p dx is within 30 of its top, and this."""
    error = LawError(f"law {law.label}: it cannot be normalised on ({stretch.low:g}, {stretch.high:g})")
    for reach in REACHES:
        low, high, *_ = stretch.range(reach)
        try:
            first, last = _within_energy(reduction, stretch, low, high)
            x = np.linspace(first, last, LOOK)
            values = _log_density(law, stretch, x)
        except LawError as failed:  # of an orbit integral, so near to where the action is not free
            error = failed
            continue
        bulk = np.flatnonzero(values > values.max() - DROP)
        start, stop = x[max(bulk[0] - 1, 0)], x[min(bulk[-1] + 1, LOOK - 1)]
        return float(start), float(stop), float(values.max())
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
