"""Law `map`: SGD's stationary law at the run's own learning rate, without expansion.

Where a step of a coordinate depends on it and the noise alone, z' = g(z, κ) with κ = e·ĝ along the unit normal e of the
coordinate, the stationary law π is the fixed point of the transfer operator: ∫ φ(z) π(dz) = ∫ E φ(g(z, κ)) π(dz) for
every φ. For uv under label noise g = z (1 − η(z − y − sε))².

φ is known by its values on an even grid (in log |z| where steps multiply z, as those of a product; in z on the whole
line; in |z|, even, for a radius, which a step may carry across 0) and interpolated there by polynomials of the fifth
degree. The mean over κ is a sum over the kicks of the noise, `dynamics.kicks`. That makes a sparse matrix whose left
null vector is π by quadrature weights: no map has to be inverted, and none to be monotone. Noise without bounds carries
a chain off at last; where that is up to 1e-7 of them in a step, π is the law of those that are there still. Below the
grid of a product steps are a random walk in log |z|, the density is like |z|^α with E |z'/z|^−α = 1, and all of that is
one more state. Bin masses are integrals of a cubic spline through the density. The same on a coarser grid with coarser
kicks says how good they are.

Source: Ulam, A Collection of Mathematical Problems, section VI.4, for the operator on bins; Kesten, Acta Math. 131
(1973), for the power of |z| near 0.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.interpolate
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float

from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law
from langevin_ib.laws.sgd import Coordinate
from langevin_ib.laws.step_map import Multiplies, StepMap, check_growth

NAME, MEASURE = "map", "dz"
FORMULA = "fixed point of SGD's own step z' = g(z, κ), κ = e·ĝ, on χ = 0, at this η"

ROUGH = 300  # points of a grid that finds out where the law is
NEGLIGIBLE = 1e-13  # density over its top that the grids leave out
POINTS = (400, 800)  # of the coarser and the finer grid
COUNTS = (10, 14)  # their kicks, as `kicks.KicksOf` counts
ACCURATE = 1e-3  # TV between the bin masses of two grids above which there is no law
SETTLED = 1e-4  # the same, above which both are refined again
FINER = 2.0**0.5  # points and count of the next grid
MOST_POINTS, MOST_COUNT = 3200, 28
LEAK = 1e-7  # mass that may leave the grid, or the branch, in a step: the law is then that of the chains that have not
FALL = 60.0  # log of the density below its top at the lower end of the grid
DEEPEST = 1e-7  # of |z| over its middle, where the grid begins at the latest
TINY = 1e-6  # |z| below which chains are said to have collapsed
STENCIL = 6
KNOWN, NEAR_ZERO = 1e-9, 1e-6  # of a density's top, and of a radius' range: where `log_density` begins


class RunawayError(LawError):
    """Steps carry chains off: no stationary law, whatever (S) says."""


class AboutMap(NamedTuple):
    """What a run says of the law of one scalar besides its masses.

    Attributes:
        accuracy: TV between the bin masses of both grids.
        from_s: TV between its bin masses and those of (S); None without (S).
        growth: E log |z'/z| of a step near z = 0, the Lyapunov exponent there; None where steps do not multiply z.
        below_window: mass of the law nearer to 0 than the window; on the line below it.
        below_tiny: mass below |z| = 1e-6.
        leak: of the chains that follow it, the share that runs away, or leaves the branch, in a step; 0 where
            it is below 1e-9.
    """

    accuracy: float
    from_s: float | None
    growth: float | None
    below_window: float
    below_tiny: float
    leak: float = 0.0


class Grid(NamedTuple):
    """An even grid in x = log |z|, |z| (`even`) or z."""

    x: Float[np.ndarray, " n"]
    log: bool
    even: bool

    @property
    def spacing(self) -> float:
        """h."""
        return float(self.x[1] - self.x[0])

    def stencils(self, places: Float[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
        """Indices and weights, (m, 6), of interpolation at places not above the grid's upper end."""
        t = (places - self.x[0]) / self.spacing
        first = np.floor(t).astype(np.int64) - (STENCIL // 2 - 1)
        first = np.clip(first, -STENCIL if self.even else 0, len(self.x) - STENCIL)
        u = t - first
        weights = np.ones((len(places), STENCIL))
        for i in range(STENCIL):
            for j in range(STENCIL):
                if i != j:
                    weights[:, i] *= (u - j) / (i - j)
        return np.abs(first[:, None] + np.arange(STENCIL)), weights


@dataclass(frozen=True)
class Stationary:
    """π on one grid: weights of its points, and the mass below them (of a product).

    Attributes:
        grid: its points.
        weights: quadrature weights of π.
        rest: mass below the grid.
        leak: mass that leaves grid or branch in a step.
        sign: of z.
        power: α, of a product.
    """

    grid: Grid
    weights: Float[np.ndarray, " n"]
    rest: float
    leak: float
    sign: float
    power: float

    @cached_property
    def _above(self):
        density = self.weights / self.grid.spacing
        x = self.grid.x
        if self.grid.even:
            density = np.concatenate([density[:0:-1], [2.0 * density[0]], density[1:]])
            x = np.concatenate([-x[:0:-1], x])
        return scipy.interpolate.CubicSpline(x, density).antiderivative()

    def above(self, z: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The mass beyond z; above 0 on a half-line it is that of larger |z|."""
        with np.errstate(divide="ignore"):
            x = np.log(np.abs(z)) if self.grid.log else np.abs(z) if self.grid.even else z
        first, last = float(self.grid.x[0]), float(self.grid.x[-1])
        beyond = self._above(last) - self._above(np.clip(x, first, last))
        return beyond + self.rest * -np.expm1(self.power * np.minimum(x - first, 0.0))

    @cached_property
    def known(self) -> tuple[float, float]:
        """Between which z, in increasing order, the density is known: within 1e-9 of its top."""
        x = self._log_density.t[[5, -6]]
        if self.grid.even:
            x = np.array([NEAR_ZERO * x[1], x[1]])
        z = self.sign * np.exp(x) if self.grid.log else self.sign * x if self.grid.even else x
        return float(z.min()), float(z.max())

    def log_density(self, z: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """log p(z), of all z, where it is known."""
        if self.grid.log:
            x = np.log(np.abs(z))
            return self._log_density(x) - x
        return self._log_density(np.abs(z) if self.grid.even else z)

    @cached_property
    def _log_density(self) -> scipy.interpolate.BSpline:
        """Of the density in x."""
        density, x = self.weights / self.grid.spacing, self.grid.x
        if self.grid.even:
            density, x = (
                np.concatenate([density[:0:-1], [2.0 * density[0]], density[1:]]),
                np.concatenate([-x[:0:-1], x]),
            )
        top = int(density.argmax())
        small = np.flatnonzero(density < KNOWN * density[top])
        # Interpolation at the ends of a grid is one-sided, and weights there are no densities.
        first = max([STENCIL, *(small[small < top] + 1)])
        last = min([len(x) - STENCIL, *small[small > top]])
        return scipy.interpolate.make_interp_spline(x[first:last], np.log(density[first:last]), k=5)


class MapLaw:
    """The stationary law of a `StepMap`, on two grids.

    Args:
        step: the map.
        law: (S) of the same coordinate, which says where the law is wide; None where there is none.

    Raises:
        CollapseError: every chain ends at 0.
        RunawayError: its mass runs away from the grid or the branch.
    """

    def __init__(self, step: StepMap, law: Coordinate | None):
        self.step, self.name = step, step.name
        check_growth(step)
        rough = self._stationary(_grid(step, law, ROUGH), COUNTS[0])
        self.coarse = self._stationary(_narrowed(rough, POINTS[0]), COUNTS[0])
        self.fine = self._stationary(_narrowed(rough, POINTS[1]), COUNTS[1])
        leak = self.fine.leak
        if not leak <= LEAK:
            raise RunawayError(
                f"law map: a share {leak:.2g} of the chains leaves the branch, or runs away, at every step: there is "
                "no stationary law, use a smaller lr or less noise"
            )

    def masses(self, edges: Float[np.ndarray, " edges"]) -> tuple[Float[np.ndarray, " bins"], float]:
        """Probability of each bin given the window, and its error: the TV between both grids.

        Raises:
            LawError: the error is above 1e-3 on the finest grid, or the window has no mass.
        """
        edges = np.asarray(edges, np.float64)
        error, count = self._error(edges), COUNTS[1]
        settled = ACCURATE if self.step.sampled else SETTLED  # samples of a population settle slowly
        while error > settled and FINER * len(self.fine.grid.x) <= MOST_POINTS:
            finer = _narrowed(self.fine, round(FINER * len(self.fine.grid.x)))
            count = min(round(FINER * count), MOST_COUNT)
            self.coarse, self.fine = self.fine, self._stationary(finer, count)
            error = self._error(edges)
        if not error <= ACCURATE:
            raise LawError(
                f"law map: its bin masses change by TV {error:.2g} on a finer grid, above {ACCURATE:g}: "
                "the noise has too few outcomes, or the steps are too large"
            )
        return _within(self.fine, edges), error

    def _error(self, edges: np.ndarray) -> float:
        return 0.5 * float(np.abs(_within(self.fine, edges) - _within(self.coarse, edges)).sum())

    def below(self, z: float) -> float:
        """The mass nearer to 0 than z, on a half-line; on the line that below z."""
        return float(np.clip(1.0 - self.fine.above(np.array([z]))[0], 0.0, 1.0))

    @property
    def law(self) -> Law:
        """Its density; good on `fine.known`."""
        return Law(NAME, MEASURE, FORMULA, self.fine.log_density)

    def window(self, share: float) -> tuple[float, float]:
        """The range that leaves out `share` of the law at either end."""
        x = self.fine.grid.x
        z = self.step.sign * np.exp(x) if self.fine.grid.log else x
        above = self.fine.above(z)
        low, high = (float(np.interp(-part, -above, z)) for part in (1.0 - share, share))
        return min(low, high), max(low, high)

    def _stationary(self, grid: Grid, count: int) -> Stationary:
        step, near = self.step, self.step.multiplies
        z = step.sign * np.exp(grid.x) if grid.log else step.sign * grid.x if grid.even else grid.x
        if grid.even:
            z = np.where(z == 0.0, step.sign * 1e-9 * grid.spacing, z)
        moved, weights = step.steps(z, count)
        rows, columns, values, lost = _transitions(grid, moved, weights, step)
        if near is not None:
            for part, extra in zip((rows, columns, values), _from_below(grid, near), strict=True):
                part.append(extra)
        size = len(grid.x) + 1
        matrix: Any = scipy.sparse.csc_matrix(
            (np.concatenate(values), (np.concatenate(columns), np.concatenate(rows))), shape=(size, size)
        )
        pi = _fixed_point(matrix, 1 + len(grid.x) // 2 if near is None else 1 + int(np.argmin(np.abs(z - step.middle))))
        if near is None:
            pi[0] = 0.0
        pi /= pi.sum()
        power = 1.0 if near is None else near.power
        return Stationary(grid, pi[1:], float(pi[0]), float(pi[1:] @ lost), step.sign, power)


def _within(law: Stationary, edges: np.ndarray) -> np.ndarray:
    mass = np.abs(np.diff(law.above(edges)))
    if not mass.sum() > 1e-9:
        raise LawError(f"law map: none of its mass lies in the window [{edges[0]:g}, {edges[-1]:g}]")
    return mass / mass.sum()


def _grid(step: StepMap, law: Coordinate | None, points: int) -> Grid:
    """Where the law lies: the bulk of (S) and a margin, else a wide range about the minimum of the loss."""
    middle = max(abs(step.middle), 1e-3)
    near = step.multiplies
    if law is None:
        low, high = 1e-3 * middle, 30.0 * middle
        if step.line:
            low, high = step.middle - 30.0 * middle, step.middle + 30.0 * middle
    else:
        ends = law.bulk_ends()
        low, high = (min(ends), max(ends)) if step.line else (min(map(abs, ends)), max(map(abs, ends)))
    if step.line:
        margin = 0.25 * (high - low)
        return Grid(np.linspace(low - margin, high + margin, points), log=False, even=False)
    if near is None:
        return Grid(np.linspace(0.0, 1.25 * high, points), log=False, even=True)
    # Down to where the power of |z| makes the rest negligible; what is left there is a state of its own.
    deep = np.log(middle) - FALL / max(near.power, 1e-9)
    start = max(min(deep, np.log(low) - 0.5), np.log(DEEPEST * middle))
    return Grid(np.linspace(start, np.log(high) + 0.7, points), log=True, even=False)


def _narrowed(rough: Stationary, points: int) -> Grid:
    """The grid over which a rough solution is not negligible; its ends and its number of points alone change."""
    grid = rough.grid
    kept = np.flatnonzero(rough.weights > NEGLIGIBLE * rough.weights.max())
    first, last = max(int(kept[0]) - STENCIL, 0), min(int(kept[-1]) + STENCIL, len(grid.x) - 1)
    return grid._replace(x=np.linspace(0.0 if grid.even else grid.x[first], grid.x[last], points))


def _transitions(grid: Grid, moved: np.ndarray, weights: np.ndarray, step: StepMap):
    """From each point of the grid: rows, columns and values of the matrix (0: below the grid), and what is lost."""
    n, k = moved.shape
    origin = np.repeat(np.arange(n), k)
    place, weight = moved.ravel(), np.broadcast_to(weights, moved.shape).ravel()
    if grid.log:
        left = place * step.sign < 0.0
        with np.errstate(divide="ignore"):
            x = np.log(np.abs(place))
    elif grid.even:
        left, x = place * step.sign < 0.0, np.abs(place)
    else:
        left, x = np.zeros(place.shape, bool), place
    out = left | ~(x <= grid.x[-1])
    under = ~out & (x < grid.x[0])
    if not grid.log:
        out, under = out | under, under & False
    lost = np.bincount(origin[out], weight[out], n)
    inside = ~(out | under)
    index, part = grid.stencils(x[inside])
    rows = [np.repeat(origin[inside], STENCIL) + 1, origin[under] + 1]
    columns = [index.ravel() + 1, np.zeros(int(under.sum()), np.int64)]
    values = [(weight[inside, None] * part).ravel(), weight[under]]
    return rows, columns, values, lost


def _from_below(grid: Grid, near: Multiplies):
    """From the state below the grid, where x = x₀ + log(u)/α, u uniform: back onto the grid, or not."""
    power = near.power
    jump = np.log(near.ratios)
    up = jump > 0.0
    nodes, node_weights = np.polynomial.legendre.leggauss(16)
    # Along the last stretch of length J below the grid, from which a jump J comes out: density α e^{−α d} at depth d.
    depth = 0.5 * jump[up, None] * (1.0 + nodes)
    share = near.weights[up, None] * 0.5 * jump[up, None] * node_weights * power * np.exp(-power * depth)
    place = grid.x[0] + jump[up, None] - depth
    kept = place <= grid.x[-1]
    index, part = grid.stencils(place[kept])
    columns, values = index.ravel() + 1, (share[kept][:, None] * part).ravel()
    stay = 1.0 - values.sum()
    return np.zeros(len(columns) + 1, np.int64), np.append(columns, 0), np.append(values, stay)


def _fixed_point(matrix: Any, pinned: int) -> np.ndarray:
    """π with Mπ = π, M the transposed operator: that of one state set to 1, the others solved for.

    Raises:
        LawError: no π is the only one, as where chains come to rest at more than one point.
    """
    size = matrix.shape[0]
    rest = np.delete(np.arange(size), pinned)
    system: Any = (scipy.sparse.identity(size, format="csc") - matrix)[rest]
    right = -system[:, [pinned]].toarray().ravel()
    pi = np.ones(size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.sparse.linalg.MatrixRankWarning)  # it is seen below
        solved: Any = scipy.sparse.linalg.spsolve(system[:, rest].tocsc(), right)
    pi[rest] = solved
    if not np.isfinite(pi).all():
        raise LawError("law map: its steps have no stationary law of their own: without noise chains come to rest")
    return pi
