"""Windows and bins, set by rule from the configuration, before any draw of the chains that they judge.

One coordinate: from z_hi, where the reduced loss is 8 T above its minimum (four standard deviations of a quadratic),
down to where it is so below the minimum, but over one decade at most: the slice law z⁻¹ is not integrable at 0.
Many coordinates: the same for each scalar that is cut, with the reduced loss replaced by its quadratic expansion at its
minimum (Laplace's approximation); for the others, which need no cut, from the 0.5% to the 99.5% quantile of the
predicted laws, whichever reach further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import optimize

from langevin_ib.config import AUTO, RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import LINE, Branch

WINDOW_ENERGY = 8.0  # in units of T
WINDOW_DECADES = 1.0
SUPPORT_ENERGY = 40.0  # a window this far above the minimum everywhere holds e^-40 of the mass
GRID = 400
QUANTILES = (0.005, 0.995)
STARTS = 16  # of the search for the minimum
FLAT = 1e-9  # relative curvature that counts as none

Window = tuple[float, float]


class Minimum(NamedTuple):
    """The minimum of the reduced loss over the quotient, in units of T."""

    x: Float[np.ndarray, " k"]
    energy: float
    hessian: Float[np.ndarray, "k k"]


def scalar_window(config: RunConfig, reduction: Reduction) -> tuple[Branch, Window]:
    """The window of a scalar invariant, given or by rule, and the branch that it lies on.

    Raises:
        ConfigError: a given window spans the end of a branch or lies outside the support.
    """
    model, name = reduction.model, reduction.name
    if config.window == AUTO:
        branch = model.home_of(name)
        return branch, _default_window(reduction, branch)
    low, high = interval(config)
    branch = _branch_of(config, reduction, name)
    bottom = _lowest(reduction, model.home_of(name))[1]
    height = float(np.min(reduction.terms(np.linspace(low, high, GRID + 2)[1:-1]).energy)) - bottom
    if not height < SUPPORT_ENERGY:
        raise ConfigError(
            "window", f"within the support: somewhere less than {SUPPORT_ENERGY:g} T above the minimum of the loss",
            f"{low:g} {high:g} ({height:.0f} T above)",
        )  # fmt: skip
    return branch, (low, high)


def interval(config: RunConfig) -> Window:
    """The window of a configuration in which it has been filled in."""
    if isinstance(config.window, str):
        raise TypeError("the window is not resolved yet")
    return config.window


def minimum(reduction: Reduction) -> Minimum:
    """The lowest point of the reduced loss that L-BFGS finds from a fixed set of the model's starts."""
    chart = reduction.chart

    def energy(x):
        return reduction.terms_at(x).energy

    value_and_gradient = jax.jit(jax.value_and_grad(energy))

    def on_host(x):
        value, gradient = value_and_gradient(jnp.asarray(x))
        finite = np.isfinite(value) and np.isfinite(gradient).all()
        return (float(value), np.asarray(gradient)) if finite else (1e30, np.zeros_like(x))

    starts = [chart.of(reduction.model.init(k)) for k in jax.random.split(jax.random.key(0), STARTS)]
    found = [optimize.minimize(on_host, np.asarray(x, np.float64), jac=True, method="L-BFGS-B") for x in starts]
    best = min(found, key=lambda f: f.fun)
    hessian = np.asarray(jax.jit(jax.hessian(energy))(jnp.asarray(best.x)))
    return Minimum(np.asarray(best.x), float(best.fun), 0.5 * (hessian + hessian.T))


def cut_windows(config: RunConfig, reduction: Reduction, lowest: Minimum) -> dict[str, Window]:
    """The windows of the scalars that are cut, from the quadratic expansion of the reduced loss.

    Raises:
        ConfigError: the loss is flat at its minimum, so that no window follows from it.
    """
    model, chart = reduction.model, reduction.chart
    if not model.cut:
        return {}
    values, vectors = np.linalg.eigh(lowest.hessian)
    if not values[0] > FLAT * values[-1]:
        found = chart.scalars(jnp.asarray(lowest.x))
        where = ", ".join(f"{name} = {float(found[name]):.2g}" for name in model.cut)
        raise ConfigError(
            "options", "such that the reduced loss has one smooth minimum, off the ends of the branches (it is flat "
            f"there or has a kink, at {where}, so no window follows from it)"
            + (", or confine weight-decay" if config.weight_decay is None else ""), config.model_options(),
        )  # fmt: skip
    covariance = (vectors / values) @ vectors.T
    windows = {}
    for name in model.cut:
        if is_given(config, name):
            windows[name] = given_window(config, reduction, name)
            value = float(chart.scalars(jnp.asarray(lowest.x))[name])
            if not windows[name][0] < value < windows[name][1]:
                raise ConfigError(
                    "window",
                    f"around the minimum of the reduced loss, {name} = {value:.4g}",
                    "{:g} {:g}".format(*windows[name]),
                )
            continue
        value, gradient = jax.value_and_grad(lambda x, name=name: chart.scalars(x)[name])(jnp.asarray(lowest.x))
        spread = float(np.sqrt(2 * WINDOW_ENERGY * gradient @ covariance @ gradient))
        windows[name] = _between(float(value), spread, model.home_of(name))
    return windows


def is_given(config: RunConfig, name: str) -> bool:
    """Whether the configuration's window is that of this one scalar of several."""
    return config.window != AUTO and config.invariant == (name,)


def given_window(config: RunConfig, reduction: Reduction, name: str) -> Window:
    """The configuration's window, inside one branch of the scalar."""
    _branch_of(config, reduction, name)
    return interval(config)


def _between(value: float, spread: float, branch: Branch) -> Window:
    sign = -1.0 if branch[1] <= 0 else 1.0
    high = sign * value + spread
    low = sign * value - spread
    if 0.0 in branch:
        low = max(low, high * 10.0**-WINDOW_DECADES)
    ends = sorted((sign * rounded(low), sign * rounded(high)))
    return ends[0], ends[1]


def quantile_window(values: Float[np.ndarray, " n"], weights: list[Float[np.ndarray, " n"]], branch: Branch) -> Window:
    """The widest of the weighted 0.5% to 99.5% ranges."""
    order = np.argsort(values)
    ends = []
    for weight in weights:
        total = np.cumsum(weight[order])
        places = np.searchsorted(total / total[-1], QUANTILES)
        ends.append(values[order[np.minimum(places, values.size - 1)]])
    low, high = (rounded(float(end)) for end in (np.min(ends), np.max(ends)))
    return max(low, branch[0]), min(high, branch[1])


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


def lowest_point(reduction: Reduction) -> float:
    """Where on its home branch the reduced loss of a scalar invariant is least."""
    return _lowest(reduction, reduction.model.home_of(reduction.name))[0]


def _default_window(reduction: Reduction, branch: Branch) -> Window:
    if branch == LINE:
        return _window_on_the_line(reduction)
    sign = 1.0 if branch[1] > 0 else -1.0
    place, bottom = _lowest(reduction, branch)

    def excess(distance: float) -> float:
        return float(reduction.terms(np.array([sign * distance])).energy[0]) - bottom - WINDOW_ENERGY

    top = max(abs(place), 1e-12)
    while excess(top) < 0:
        top *= 2.0
    top = _root(excess, abs(place), top)
    low = top * 10.0**-WINDOW_DECADES
    if low < abs(place) and excess(low) > 0:
        low = _root(excess, low, abs(place))
    ends = sorted((sign * rounded(low), sign * rounded(top)))
    return ends[0], ends[1]


def _window_on_the_line(reduction: Reduction) -> Window:
    """8 T above the minimum on either side: no end of a branch is near."""
    place, bottom = _lowest(reduction, LINE)

    def end(direction: float) -> float:
        def excess(distance: float) -> float:
            return float(reduction.terms(np.array([place + direction * distance])).energy[0]) - bottom - WINDOW_ENERGY

        reach = max(abs(place), 1.0)
        while excess(reach) < 0:
            reach *= 2.0
        return rounded(place + direction * _root(excess, 0.0, reach))

    return end(-1.0), end(1.0)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(function, low, high))  # pyright: ignore[reportArgumentType]  # untyped overload


def _lowest(reduction: Reduction, branch: Branch) -> tuple[float, float]:
    """Where on a branch the reduced loss is least (possibly at its end), and ℓ/T there."""
    if branch == LINE:
        found = minimum(reduction)
        return float(found.x[0]), found.energy
    sign = 1.0 if branch[1] > 0 else -1.0
    distances = np.logspace(-9, 9, 37 * GRID // 10)
    energies = reduction.terms(sign * distances).energy
    best = int(np.nanargmin(energies))
    low, high = distances[max(best - 1, 0)], distances[min(best + 1, distances.size - 1)]
    fine = np.linspace(low, high, GRID)
    energies = reduction.terms(sign * fine).energy
    best = int(np.argmin(energies))
    return sign * float(fine[best]), float(energies[best])
