"""The reduced loss of a model: its minimum over the quotient, and where along a branch of a scalar it has its wells.

On a branch distances from its end stand for z, on a grid that is fine near the ends and around the minimum; each dip is
refined by ever finer grids.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from langevin_ib.background import FAST
from langevin_ib.errors import LawError, ModelError
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import LINE, Branch

WINDOW_ENERGY = 8.0  # in units of T
GRID = 400
DECADES = 9  # a branch without end is searched as far as 10^9 times its scale
STARTS = 16  # of the search for the minimum
NOWHERE = 1e30  # stands for a loss that is not finite
FLAT = 1e-9  # relative curvature that counts as none
RESOLVED = 1e-4  # T: how far below a grid's lowest point the minimum may lie
WELL_DEPTH = 0.01  # T: a dip that counts as a minimum of its own
NEAR_BOTTOM = 1.0  # T
MOST_WELLS = 20
ZOOMS = 8
MANY, ROUGH_STEPS = 64, 100  # coordinates; steps of each descent
Window = tuple[float, float]
Wells = tuple[tuple[float, float], ...]


class Minimum(NamedTuple):
    """The minimum of the reduced loss over the quotient, in units of T."""

    x: Float[np.ndarray, " k"]
    energy: float
    hessian: Float[np.ndarray, "k k"]


def minimum(reduction: Reduction) -> Minimum:
    """The lowest point of the reduced loss that L-BFGS finds from a fixed set of the model's starts."""
    chart = reduction.chart

    def energy(x):
        return reduction.terms_at(x).energy

    value_and_gradient = jax.jit(jax.value_and_grad(energy))

    def on_host(x):
        value, gradient = value_and_gradient(x)
        finite = np.isfinite(value) and np.isfinite(gradient).all()
        return (float(value), np.asarray(gradient)) if finite else (NOWHERE, np.zeros_like(x))

    def start(key):
        return chart.of(reduction.model.init(key)).astype(jnp.float64)

    starts = jax.jit(lambda: jax.lax.map(start, jax.random.split(jax.random.key(0), STARTS)), compiler_options=FAST)()

    def descend(x, **options):
        return scipy.optimize.minimize(on_host, x, jac=True, method="L-BFGS-B", options=options)

    # Of many coordinates, whose descents are long, only the one that has come lowest goes on to the end.
    rough = {"maxiter": ROUGH_STEPS} if chart.dim > MANY else {}
    best = min((descend(x, **rough) for x in np.asarray(starts)), key=lambda f: f.fun)
    best = descend(best.x) if rough else best
    if not best.fun < NOWHERE:
        raise ModelError(f"model {reduction.model.name}: its loss is finite, with its gradient, at none of its starts")
    hessian = np.asarray(jax.jit(jax.hessian(energy), compiler_options=FAST)(best.x))
    return Minimum(np.asarray(best.x), float(best.fun), 0.5 * (hessian + hessian.T))


def wells_of(reduction: Reduction, branch: Branch) -> list[float]:
    """Where on a branch the reduced loss of a scalar invariant has minima, as far as a search finds them."""
    survey = survey_branch(reduction, branch)
    return [float(survey.axis.z(d)) for d, _ in survey.wells]


def lowest_point(reduction: Reduction) -> float:
    """Where on its home branch the reduced loss of a scalar invariant is least.

    Raises:
        LawError: nowhere: towards an infinite end it comes as low as anywhere.
    """
    branch = reduction.model.home_of(reduction.name)
    axis = _axis_of(branch)
    place, bottom = _find_lowest(reduction, axis)
    far = axis.z(axis.distances[[0, -1]])
    ends = [z for z, end in zip(sorted(far), branch, strict=True) if math.isinf(end)]
    if ends and float(np.min(energies_at(reduction, np.array(ends)))) - bottom <= FLAT * max(1.0, abs(bottom)):
        raise LawError(
            f"the loss of model {reduction.model.name} has no minimum on the branch ({branch[0]:g}, {branch[1]:g}) of "
            f"{reduction.name}: training does not come to rest there"
        )
    return place


class _Axis(NamedTuple):
    """A branch as z = origin + sign·d, with a grid of increasing d that is fine near every end of it."""

    origin: float
    sign: float
    distances: Float[np.ndarray, " n"]

    def z(self, distance):
        return self.origin + self.sign * distance


def _axis_of(branch: Branch) -> _Axis:
    ladder = np.logspace(-DECADES, DECADES, 37 * GRID // 10)
    low, high = branch
    if branch == LINE:
        return _Axis(0.0, 1.0, np.concatenate([-ladder[::-1], [0.0], ladder]))
    if math.isfinite(low) and math.isfinite(high):
        near = np.logspace(-DECADES, 0.0, 9 * GRID // 4)[:-1] / 2
        shares = np.concatenate([near, np.linspace(0.0, 1.0, GRID + 1)[1:-1], 1.0 - near])
        return _Axis(low, 1.0, (high - low) * np.unique(shares))
    origin, sign = (low, 1.0) if math.isfinite(low) else (high, -1.0)
    return _Axis(origin, sign, ladder * max(1.0, abs(origin)))


def energies_at(reduction: Reduction, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """ℓ/T, with +∞ where it is not a number."""
    energies = np.asarray(reduction.terms(z).energy)
    return np.where(np.isnan(energies), np.inf, energies)


def _find_lowest(reduction: Reduction, axis: _Axis) -> tuple[float, float]:
    """Where on a branch the reduced loss is least (possibly at its end), and ℓ/T there."""
    energies = energies_at(reduction, axis.z(axis.distances))
    if not (energies < np.inf).any():
        raise ModelError(
            f"model {reduction.model.name}: its loss is finite nowhere on the branch of {reduction.name} that was "
            f"searched, between {axis.z(axis.distances[0]):g} and {axis.z(axis.distances[-1]):g}"
        )
    place, bottom = _refine_minimum(reduction, axis, axis.distances, int(np.argmin(energies)))
    if bottom == -np.inf:
        raise ModelError(f"model {reduction.model.name}: its loss is −∞ at {reduction.name} = {axis.z(place):.4g}")
    if axis.distances[0] < 0:
        lowest = minimum(reduction)
        if not bottom < lowest.energy - RESOLVED:
            return float(lowest.x[0]), lowest.energy
    return float(axis.z(place)), bottom


def _refine_minimum(
    reduction: Reduction, axis: _Axis, distances: Float[np.ndarray, " n"], best: int
) -> tuple[float, float]:
    """The minimum next to a point of a grid, by ever finer ones until they find nothing lower."""
    lowest = (float(distances[best]), np.inf)
    for _ in range(ZOOMS):
        fine = np.linspace(distances[max(best - 1, 0)], distances[min(best + 1, distances.size - 1)], GRID)
        energies = energies_at(reduction, axis.z(fine))
        best = int(np.argmin(energies))
        if not energies[best] < lowest[1] - RESOLVED:
            break
        lowest, distances = (float(fine[best]), float(energies[best])), fine
    return lowest


class Survey(NamedTuple):
    """The reduced loss along a branch, in units of T.

    Attributes:
        branch: the branch.
        axis: its coordinate d.
        place: where the loss is least.
        bottom: ℓ/T there.
        distances: increasing d, with every minimum among them.
        energies: ℓ/T there.
        wells: (d, ℓ/T) of the minima, the lowest first.
    """

    branch: Branch
    axis: _Axis
    place: float
    bottom: float
    distances: Float[np.ndarray, " n"]
    energies: Float[np.ndarray, " n"]
    wells: list[tuple[float, float]]

    def other_wells(self, window: Window) -> Wells:
        """Minima outside a window that count, see `Placement.elsewhere`."""
        z = self.axis.z(self.distances)
        inside = np.flatnonzero((z >= window[0]) & (z <= window[1]))
        if not inside.size:
            return ()
        base = int(inside[np.argmin(self.energies[inside])])
        height = float(self.energies[base]) - self.bottom

        def barrier(at: int, to: int) -> float:
            """Height of the barrier between two points of the grid, above the higher of them."""
            between = self.energies[min(at, to) : max(at, to) + 1]
            return float(np.max(between) - max(self.energies[at], self.energies[to]))

        wells = []
        for d, energy in self.wells:
            if window[0] <= self.axis.z(d) <= window[1] or energy - self.bottom >= max(WINDOW_ENERGY, height):
                continue
            at = int(np.searchsorted(self.distances, d))
            edge = int(inside[0] if at < inside[0] else inside[-1])
            # The window lies on the flank of this well, or comes near its bottom.
            own = barrier(at, base) <= WELL_DEPTH or (
                barrier(at, edge) <= WELL_DEPTH and self.energies[edge] - energy < NEAR_BOTTOM
            )
            if not own:
                wells.append((float(self.axis.z(d)), energy - self.bottom))
        return tuple(wells)


def survey_branch(reduction: Reduction, branch: Branch) -> Survey:
    axis = _axis_of(branch)
    place, bottom = _find_lowest(reduction, axis)
    centre = axis.sign * (place - axis.origin)
    # Finer around the minimum, where a well beside it would fall between two points of the grid.
    around = np.logspace(-DECADES, 0.0, GRID) * (abs(centre) if centre else 1.0)
    distances = np.concatenate([axis.distances, centre - around, [centre], centre + around])
    distances = np.unique(distances[(distances >= axis.distances[0]) & (distances <= axis.distances[-1])])
    energies = energies_at(reduction, axis.z(distances))
    dips = _dips(energies, WELL_DEPTH)
    dips = dips[np.argsort(energies[dips])][:MOST_WELLS]
    wells = [_refine_minimum(reduction, axis, distances, int(i)) for i in dips]
    wells = sorted([*(w for w in wells if w[1] < np.inf)], key=lambda well: well[1])
    if wells and wells[0][1] < bottom - RESOLVED:
        place, bottom = float(axis.z(wells[0][0])), wells[0][1]
    extra = np.array([axis.sign * (place - axis.origin), *(d for d, _ in wells)])
    distances, first = np.unique(np.concatenate([distances, extra]), return_index=True)
    energies = np.concatenate([energies, energies_at(reduction, axis.z(extra))])[first]
    return Survey(branch, axis, place, bottom, distances, energies, wells)


def _dips(energies: Float[np.ndarray, " n"], depth: float) -> np.ndarray:
    """Indices of minima, those at an end among them, out of which a path to a lower one climbs by `depth` at least.

    Of a flat one the middle. It is `scipy.signal.find_peaks` of −energies between walls, without the import of all of
    `scipy.signal`, for which every plan would wait half a second.
    """
    walled = np.concatenate([[np.inf], energies, [np.inf]])
    walled = np.minimum(walled, 1e300)  # differences of infinities are not numbers
    last = np.append(np.flatnonzero(np.diff(walled) != 0), len(walled) - 1)  # of each stretch of equal numbers
    first = np.append(0, last[:-1] + 1)
    level, dips = walled[first], []
    for i in np.flatnonzero((level[1:-1] < level[:-2]) & (level[1:-1] < level[2:])) + 1:
        lower = np.flatnonzero(level < level[i])
        left, right = lower[lower < i], lower[lower > i]
        before = level[left[-1] if left.size else 0 : i]
        after = level[i + 1 : right[0] + 1 if right.size else None]
        if min(before.max(), after.max()) - level[i] >= depth:
            dips.append((first[i] + last[i]) // 2 - 1)
    return np.array(dips, int)
