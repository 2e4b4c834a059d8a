"""Windows and bins, set by rule from the configuration, before any draw of the chains that they judge.

One coordinate: from z_hi, where the reduced loss is 8 T above its minimum (four standard deviations of a quadratic),
down to where it is so below the minimum, but over one decade at most: the slice law z⁻¹ is not integrable at 0. On a
branch that ends elsewhere, distances from its end stand for z; at both ends of a bounded one, where the loss does not
rise so far, 1% is left out. Other wells of the loss whose bottom is within 8 T of the lowest are covered too, unless
less than a quarter of the window would then lie within 8 T, or the lowest were more than a decade below z_hi.
Many coordinates: the same for each scalar that is cut, with the reduced loss replaced by its quadratic expansion at its
minimum (Laplace's approximation); for the others, which need no cut, from the 0.5% to the 99.5% quantile of the
predicted laws, whichever reach further.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from langevin_ib.background import FAST
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.errors import ConfigError, LawError, ModelError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import LINE, Branch, Chart
from langevin_ib.runs.wells import (
    FLAT,
    GRID,
    MOST_WELLS,
    WELL_DEPTH,
    WINDOW_ENERGY,
    ZOOMS,
    Minimum,
    Survey,
    Wells,
    Window,
    energies_at,
    survey_branch,
)

WINDOW_DECADES = 1.0
END_SHARE = 0.01  # of a bounded branch, left out at an end that the window reaches
WELL_SHARE = 0.25  # of a window that covers several wells, within 8 T of the lowest: else few bins have any mass
SUPPORT_ENERGY = 40.0  # a window this far above the minimum everywhere holds e^-40 of the mass
QUANTILES = (0.005, 0.995)
DIGITS = 4  # of a window's ends, or more where these would move an end by over ROUNDING of its width
ROUNDING = 5e-3
FALL = 0.1  # T over the last decade to the end of a branch: the loss has no minimum there, it falls without bound
RESOLUTION = 1e-13  # relative, of a window's end before it is rounded


class Placement(NamedTuple):
    """Where a scalar invariant is compared.

    Attributes:
        branch: the branch that the window lies on.
        window: its ends.
        elsewhere: (z, height above the lowest point of the branch in units of T) of other minima of the reduced loss,
            outside the window and behind a barrier, that are within 8 T of the lowest or below all of the window.
    """

    branch: Branch
    window: Window
    elsewhere: Wells


def scalar_window(config: RunConfig, reduction: Reduction) -> Placement:
    """The window of a scalar invariant, given or by rule, its branch, and the minima that it leaves out.

    Raises:
        ConfigError: a given window spans the end of a branch or lies outside the support.
        LawError: no window follows from the loss, for there is no stationary law.
        ModelError: the loss is not a number somewhere in the window.
    """
    model, name = reduction.model, reduction.name
    home = survey_branch(reduction, model.home_of(name))
    if config.window == AUTO:
        window = _default_window(reduction, home)
        _check_finite_loss(reduction, window)
        return Placement(home.branch, window, home.other_wells(window))
    low, high = interval(config)
    branch = _branch_of(config, reduction, name)
    _check_finite_loss(reduction, (low, high))
    height = float(np.min(reduction.terms(np.linspace(low, high, GRID + 2)[1:-1]).energy)) - home.bottom
    if not height < SUPPORT_ENERGY:
        raise ConfigError(
            "window", f"within the support: somewhere less than {SUPPORT_ENERGY:g} T above the minimum of the loss",
            f"{low:g} {high:g} ({height:.0f} T above)",
        )  # fmt: skip
    survey = home if branch == home.branch else survey_branch(reduction, branch)
    return Placement(branch, (low, high), survey.other_wells((low, high)))


def interval(config: RunConfig) -> Window:
    """The window of a resolved configuration."""
    if isinstance(config.window, str):
        raise TypeError("the window is not resolved yet")
    return config.window


def cut_windows(config: RunConfig, reduction: Reduction, lowest: Minimum) -> dict[str, Window]:
    """The windows of the scalars that are cut, from the quadratic expansion of the reduced loss.

    Raises:
        ConfigError: the loss is flat at its minimum, so that no window follows from it.
        LawError: it does not rise from there.
    """
    model, chart = reduction.model, reduction.chart
    if not model.cut:
        return {}
    values, vectors = np.linalg.eigh(lowest.hessian)
    if not values[0] > FLAT * values[-1]:
        scalars = chart.scalars(jnp.asarray(lowest.x))
        where = ", ".join(f"{name} = {float(scalars[name]):.2g}" for name in model.cut)
        raise ConfigError(
            "options", "such that the reduced loss has one smooth minimum, off the ends of the branches (it is flat "
            f"there or has a kink, at {where}, so no window follows from it)"
            + (", or confine weight-decay" if not reduction.confinement.moves_minimum else ""),
            config.model_options(),
        )  # fmt: skip
    # As far out as the windows reach, to either side along each axis of the expansion.
    far = (vectors * np.sqrt(2.0 * WINDOW_ENERGY / values)).T
    energies = on_host(lambda x: reduction.terms_at(x).energy)(lowest.x + np.concatenate([far, -far]))
    if np.nanmin(np.append(energies, np.inf)) - lowest.energy < WELL_DEPTH:
        raise LawError(f"the loss of model {model.name} has no minimum: there is no stationary law")
    covariance = (vectors / values) @ vectors.T
    windows = {}
    valued, sloped = _scalars_at(chart, lowest.x)
    for name in model.cut:
        if is_given(config, name):
            windows[name] = given_window(config, reduction, name)
            value = float(valued[name])
            if not windows[name][0] < value < windows[name][1]:
                raise ConfigError(
                    "window",
                    f"around the minimum of the reduced loss, {name} = {value:.4g}",
                    "{:g} {:g}".format(*windows[name]),
                )
            continue
        spread = float(np.sqrt(2 * WINDOW_ENERGY * sloped[name] @ covariance @ sloped[name]))
        windows[name] = _window_around(float(valued[name]), spread, model.home_of(name))
    return windows


def _scalars_at(chart: Chart, x: Float[np.ndarray, " k"]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The scalars at a point of the quotient, and their gradients."""
    both = jax.jit(lambda y: (chart.scalars(y), jax.jacfwd(chart.scalars)(y)), compiler_options=FAST)
    return jax.tree.map(np.asarray, both(x))


def is_given(config: RunConfig, name: str) -> bool:
    """Whether the configuration's window is that of this one scalar of several."""
    return config.window != AUTO and config.invariant == (name,)


def given_window(config: RunConfig, reduction: Reduction, name: str) -> Window:
    """The configuration's window, inside one branch of the scalar."""
    _branch_of(config, reduction, name)
    return interval(config)


def _window_around(value: float, spread: float, branch: Branch) -> Window:
    low, high = value - spread, value + spread
    if math.isfinite(branch[0]) and math.isfinite(branch[1]):
        margin = END_SHARE * (branch[1] - branch[0])
        low, high = max(low, branch[0] + margin), min(high, branch[1] - margin)
    elif math.isfinite(branch[0]):
        low = max(low, branch[0] + (high - branch[0]) * 10.0**-WINDOW_DECADES)
    elif math.isfinite(branch[1]):
        high = min(high, branch[1] - (branch[1] - low) * 10.0**-WINDOW_DECADES)
    return rounded_window(low, high)


def quantile_window(values: Float[np.ndarray, " n"], weights: list[Float[np.ndarray, " n"]], branch: Branch) -> Window:
    """The widest of the weighted 0.5% to 99.5% ranges."""
    order = np.argsort(values)
    ends = []
    for weight in weights:
        total = np.cumsum(weight[order])
        places = np.searchsorted(total / total[-1], QUANTILES)
        ends.append(values[order[np.minimum(places, values.size - 1)]])
    low, high = rounded_window(float(np.min(ends)), float(np.max(ends)))
    return max(low, branch[0]), min(high, branch[1])


def rounded_window(low: float, high: float) -> Window:
    """The ends of a window in four significant digits, or as many as move neither by more than 0.5% of its width.

    >>> rounded_window(0.226512, 2.26512), rounded_window(9.99599, 10.00401)
    ((0.2265, 2.265), (9.996, 10.004))
    """

    def shortest(end: float) -> float:
        for digits in range(DIGITS, 17):
            short = float(f"{end:.{digits}g}")
            if abs(short - end) <= ROUNDING * (high - low):
                return short
        return end

    return shortest(low), shortest(high)


def rounded(value: float) -> float:
    """Four significant digits, so that a saved configuration is short and reruns exactly."""
    return float(f"{value:.4g}")


def _branch_of(config: RunConfig, reduction: Reduction, name: str) -> Branch:
    low, high = interval(config)
    branches = [b for b in reduction.model.branches_of(name) if b[0] <= low and high <= b[1]]
    if not branches:
        wanted = " or ".join(f"({a:g}, {b:g})" for a, b in reduction.model.branches_of(name))
        raise ConfigError("window", f"inside one branch of {name}: {wanted}", f"{low:g} {high:g}")
    return branches[0]


class _SublevelInterval(NamedTuple):
    """An interval of a branch within 8 T of the lowest point; an end is None where it reaches the branch's own."""

    low: float | None
    high: float | None


def _default_window(reduction: Reduction, survey: Survey) -> Window:
    _check_bounded(reduction, survey)
    axis, distances = survey.axis, survey.distances
    inside = survey.energies - survey.bottom < WINDOW_ENERGY
    steps = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    home = axis.sign * (survey.place - axis.origin)
    runs = [(int(first), int(last) - 1) for first, last in zip(steps[::2], steps[1::2], strict=True)]
    own = next(k for k, (first, last) in enumerate(runs) if distances[first] <= home <= distances[last])
    runs, own = runs[max(own - MOST_WELLS, 0) : own + MOST_WELLS], min(own, MOST_WELLS)

    def crossing(i: int, outer: int) -> float | None:
        if not 0 <= outer < distances.size:
            return None
        return _find_crossing(reduction, survey, float(distances[i]), float(distances[outer]))

    parts = [_SublevelInterval(crossing(first, first - 1), crossing(last, last + 1)) for first, last in runs]
    choices = [
        choice
        for first in range(own + 1)
        for last in range(own, len(parts))
        if (choice := _cover(survey, parts[first : last + 1], home, alone=first == last)) is not None
    ]
    low, high = max(choices, key=lambda choice: choice[2])[:2]
    ends = sorted((float(axis.z(low)), float(axis.z(high))))
    return rounded_window(*ends)


def _cover(
    survey: Survey, parts: list[_SublevelInterval], home: float, *, alone: bool
) -> tuple[float, float, int] | None:
    """Ends, in d, of a window over neighbouring sublevel intervals, how many it covers; None if too sparse."""
    top = parts[-1].high
    if survey.branch == LINE:
        low, high = parts[0].low, top
    elif math.isfinite(survey.branch[0]) and math.isfinite(survey.branch[1]):
        length = survey.branch[1] - survey.branch[0]
        high = top if top is not None else length - END_SHARE * (length - (parts[0].low or 0.0))
        low = parts[0].low if parts[0].low is not None else END_SHARE * high
    else:
        high, least = top, float(top or 0.0) * 10.0**-WINDOW_DECADES
        parts = [part for part in parts if part.high is not None and part.high > least]
        low = max(least, parts[0].low or 0.0)
        if not alone and home < low:
            return None
    low, high = float(low or 0.0), float(high or 0.0)
    filled = sum(min(part.high or high, high) - max(part.low or low, low) for part in parts)
    if not alone and filled < WELL_SHARE * (high - low):
        return None
    return low, high, len(parts)


def _check_bounded(reduction: Reduction, survey: Survey) -> None:
    """Towards the ends of a branch the loss has to rise, or stay finite: else there is no stationary law, no window."""
    (low, high), z = survey.branch, survey.axis.z(survey.distances)
    of, on = f"the loss of model {reduction.model.name}", f"on the branch ({low:g}, {high:g}) of {reduction.name}"
    for end, last in ((low, int(np.argmin(z))), (high, int(np.argmax(z)))):
        rise = float(survey.energies[last]) - survey.bottom
        if not rise < WINDOW_ENERGY:
            continue
        towards = f"towards {reduction.name} = {end:g} {on}"
        if math.isfinite(end):
            fall = float(energies_at(reduction, np.array([end + 10.0 * (z[last] - end)]))[0] - survey.energies[last])
            if fall > FALL:
                raise LawError(
                    f"{of} falls without bound {towards}, by {fall:.2g} T over the last decade: no window follows; "
                    "give one, or end the branch before"
                )
        elif rise < WELL_DEPTH:
            raise LawError(f"{of} has no minimum {on}: there is no stationary law")
        else:
            raise LawError(f"{of} rises only {rise:.2g} T above its minimum {towards}: there is no stationary law")


def _find_crossing(reduction: Reduction, survey: Survey, inner: float, outer: float) -> float:
    """Where between two distances the loss rises to 8 T above the lowest point."""
    for _ in range(ZOOMS):
        fine = np.linspace(inner, outer, GRID)
        out = ~(energies_at(reduction, survey.axis.z(fine)) - survey.bottom < WINDOW_ENERGY)
        first = max(int(np.argmax(out)) if out.any() else GRID - 1, 1)
        inner, outer = float(fine[first - 1]), float(fine[first])
        if abs(outer - inner) <= RESOLUTION * abs(outer):
            break
    z = float(survey.axis.z(outer))
    if np.isnan(reduction.terms(np.array([z])).energy[0]):
        raise _not_finite(reduction, z)
    return 0.5 * (inner + outer)


def _check_finite_loss(reduction: Reduction, window: Window) -> None:
    z = np.linspace(*window, GRID + 2)[1:-1]
    wrong = np.isnan(np.asarray(reduction.terms(z).energy))
    if wrong.any():
        raise _not_finite(reduction, float(z[wrong][0]))


def _not_finite(reduction: Reduction, z: float) -> Exception:
    return ModelError(
        f"model {reduction.model.name}: its loss is not a number at {reduction.name} = {z:.4g}, where the law has "
        "mass: end its branches there"
    )
