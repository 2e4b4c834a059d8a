"""A run's `auto` settings, decided by rule from the configuration alone, before any draw.

Rules (each constant is below, none is read off a sample or a law's fit):

window     from z_hi, where the reduced loss is 8 T above its minimum (four standard deviations of a quadratic), down to
           where it is so below the minimum, but over one decade at most: the slice law z⁻¹ is not integrable at 0.
step_size  h = s/Λ, with Λ the largest curvature of the potential over the window's orbits as far as the confinement
           lets a chain go (6 T), and s set per integrator; and h Λ' ≤ 1, with Λ' the curvature where chains start
           and, unconfined, where |χ| has diffused to 12 T t_end.
thin       a draw every 0.25/ω (unconfined: 0.05/ω, for a visit to the slab is short), ω the curvature of the loss at
           the middle of the window; the draws between would add under 1% to the information.
burn_in    a fifth of the steps; 1/32 without confinement, where no stationary law is waited for.
slab       a twentieth of z_hi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from langevin_ib import geometry
from langevin_ib.config import AUTO, RunConfig
from langevin_ib.confinement import build_confinement
from langevin_ib.ensemble import Schedule
from langevin_ib.errors import ConfigError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Branch, build_model

WINDOW_ENERGY = 8.0  # in units of T
WINDOW_DECADES = 1.0
SUPPORT_ENERGY = 40.0  # a window this far above the minimum everywhere holds e^-40 of the mass
STEP_SAFETY = {"leimkuhler-matthews": 0.5, "euler-maruyama": 0.1, "mala": 1.0}  # h Λ; measured in sims/bench
ORBIT_ENERGY = 6.0  # in units of T
UNCONFINED_REACH = 12.0  # χ has an exponential tail of scale T t: e^-12 of the chains are further out
THIN_INTERVAL = {True: 0.25, False: 0.05}  # by whether the measure is proper: a visit to a slab is short
BURN_IN_SHARE = {True: 1 / 5, False: 1 / 32}
SLAB_SHARE = 1 / 20
UNCONFINED_SEGMENTS = 5  # octaves of time in which the drifting marginal is reported
GRID = 400
STARTS = 256
MIN_RECORDS = 10


@dataclass(frozen=True)
class Plan:
    """A configuration without `auto` (except a step size that MALA tunes), and what it implies."""

    config: RunConfig
    reduction: Reduction
    schedule: Schedule
    edges: np.ndarray
    singular_ends: tuple[bool, bool]


def resolve(config: RunConfig) -> Plan:
    """Fill in every `auto`; the result's configuration resolves to itself.

    Raises:
        ConfigError: a setting does not fit the model: a window outside the branch or the support, too few records.
    """
    reduction = Reduction(build_model(config), build_confinement(config), config.temperature)
    branch, window = _window(config, reduction)
    config = config.replace(window=window)
    if config.confine == "none" and config.slab is None:
        config = config.replace(slab=_rounded(max(abs(window[0]), abs(window[1])) * SLAB_SHARE))
    if config.step_check == AUTO:
        config = config.replace(step_check=config.step_size == AUTO and config.integrator != "mala")
    if config.step_check and config.integrator == "mala":
        raise ConfigError("step_check", "no with integrator mala, which has no discretisation bias", "yes")
    if config.step_size == AUTO and config.integrator != "mala":
        config = config.replace(step_size=_rounded(_step_size(config, reduction)))
    if config.thin == AUTO:
        config = config.replace(thin=_thin(config, reduction))
    if config.burn_in == AUTO:
        config = config.replace(burn_in=round(config.steps * BURN_IN_SHARE[reduction.confinement.proper]))
    _check_precision(config, reduction)
    edges = np.linspace(*window, config.bins + 1)
    return Plan(config, reduction, _schedule(config), edges, (window[0] == branch[0], window[1] == branch[1]))


def _check_precision(config: RunConfig, reduction: Reduction) -> None:
    """float32 freezes a chain whose step is below the spacing of floats near its parameters."""
    if config.precision != 32 or isinstance(config.step_size, str):
        return
    z = max(_interval(config), key=abs)
    with jax.enable_x64(True):
        point = reduction.point(jnp.asarray(z))
        largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(point))
    kick = np.sqrt(2.0 * config.step_size * config.temperature)
    if kick < 16 * np.finfo(np.float32).eps * largest:
        raise ConfigError(
            "precision", f"64 here: a step's noise, {kick:.1g}, is lost in float32 parameters of size {largest:.1g}", 32
        )


def _window(config: RunConfig, reduction: Reduction) -> tuple[Branch, tuple[float, float]]:
    model, name = reduction.model, reduction.name
    if config.window == AUTO:
        branch = model.home_of(name)
        return branch, _default_window(reduction, branch)
    low, high = config.window
    branches = [b for b in model.branches_of(name) if b[0] <= low and high <= b[1]]
    if not branches:
        wanted = " or ".join(f"({a:g}, {b:g})" for a, b in model.branches_of(name))
        raise ConfigError("window", f"inside one branch of {name}: {wanted}", f"{low:g} {high:g}")
    bottom = _lowest(reduction, model.home_of(name))[1]
    height = float(np.min(reduction.terms(np.linspace(low, high, GRID + 2)[1:-1]).energy)) - bottom
    if not height < SUPPORT_ENERGY:
        raise ConfigError(
            "window", f"within the support: somewhere less than {SUPPORT_ENERGY:g} T above the minimum of the loss",
            f"{low:g} {high:g} ({height:.0f} T above)",
        )  # fmt: skip
    return branches[0], (low, high)


def _default_window(reduction: Reduction, branch: Branch) -> tuple[float, float]:
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
    ends = sorted((sign * _rounded(low), sign * _rounded(top)))
    return ends[0], ends[1]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(function, low, high))  # pyright: ignore[reportArgumentType]  # untyped overload


def _lowest(reduction: Reduction, branch: Branch) -> tuple[float, float]:
    """Where on a branch the reduced loss is least (possibly at its end), and ℓ/T there."""
    sign = 1.0 if branch[1] > 0 else -1.0
    distances = np.logspace(-9, 9, 37 * GRID // 10)
    energies = reduction.terms(sign * distances).energy
    best = int(np.nanargmin(energies))
    low, high = distances[max(best - 1, 0)], distances[min(best + 1, distances.size - 1)]
    fine = np.linspace(low, high, GRID)
    energies = reduction.terms(sign * fine).energy
    best = int(np.argmin(energies))
    return sign * float(fine[best]), float(energies[best])


def _step_size(config: RunConfig, reduction: Reduction) -> float:
    curvature = _curvature(config, reduction)
    step = min(STEP_SAFETY[config.integrator] / curvature(None), 1.0 / _starting_curvature(reduction))
    if reduction.confinement.proper:
        return step
    # The further a chain diffuses along its orbit, the steeper the loss across it, and t_end = h × steps.
    while step * curvature(UNCONFINED_REACH * config.temperature * step * config.steps) > 1.0:
        step *= 0.9
    return step


def _starting_curvature(reduction: Reduction) -> float:
    """Largest curvature over a fixed sample of starts: from there a chain has to come down without diverging."""
    model = reduction.model
    potential = reduction.confinement.potential(model)
    with jax.enable_x64(True):
        starts = jax.random.split(jax.random.key(0), STARTS)
        found = jax.jit(lambda keys: jax.lax.map(lambda k: geometry.largest_curvature(potential, model.init(k)), keys))
        return float(jnp.max(found(starts)))


def _curvature(config: RunConfig, reduction: Reduction) -> Callable[[float | None], float]:
    """Largest curvature over points exp(±t e_a)·s(z), z in the window, as a function of how far t goes.

    To |χ| = reach, or, given None, to where the confinement has risen by 6 T (to t = 0 if there is none).
    """
    model, confinement, temperature = reduction.model, reduction.confinement, reduction.temperature
    potential = confinement.potential(model)
    m = model.group_dim

    def at(z_and_reach):
        z, reach = z_and_reach
        base = reduction.point(z)
        bottom = confinement.energy(model, base)

        def beyond(t):
            point = model.act(t, base)
            risen = confinement.energy(model, point) - bottom > ORBIT_ENERGY * temperature
            return risen | (jnp.linalg.norm(model.moment_map(point)) > reach)

        def furthest(direction):
            def halve(_, bracket):
                low, high = bracket
                middle = 0.5 * (low + high)
                out = beyond(middle * direction)
                return jnp.where(out, low, middle), jnp.where(out, middle, high)

            t = jax.lax.fori_loop(0, 50, halve, (0.0 * z, 0.0 * z + 20.0))[0]
            return geometry.largest_curvature(potential, model.act(t * direction, base))

        directions = jnp.concatenate([jnp.eye(m), -jnp.eye(m)])
        return jnp.maximum(geometry.largest_curvature(potential, base), jnp.max(jax.lax.map(furthest, directions)))

    evaluate = on_host(at)
    low, high = _interval(config)
    points = np.linspace(low, high, 18)[1:-1]

    def largest(reach: float | None) -> float:
        if reach is None:
            reach = np.inf if confinement.proper else 0.0
        return float(np.max(evaluate(np.stack([points, np.full_like(points, reach)], axis=1))))

    return largest


def _interval(config: RunConfig) -> tuple[float, float]:
    if isinstance(config.window, str):
        raise TypeError("the window is not resolved yet")
    return config.window


def _thin(config: RunConfig, reduction: Reduction) -> int:
    if config.integrator == "mala":
        return 4
    low, high = _interval(config)

    def at(z):
        return geometry.largest_curvature(reduction.model.loss, reduction.point(z))

    rate = float(on_host(at)(np.array([0.5 * (low + high)]))[0])
    wanted = THIN_INTERVAL[reduction.confinement.proper] / (rate * float(config.step_size))
    return int(np.clip(round(wanted), 1, max(1, config.steps // 500)))


def _schedule(config: RunConfig) -> Schedule:
    burn_in, thin = int(config.burn_in), int(config.thin)
    records = (config.steps - burn_in) // thin
    if records < MIN_RECORDS:
        raise ConfigError(
            "steps", f"at least burn_in + {MIN_RECORDS} thin = {burn_in + MIN_RECORDS * thin}", config.steps
        )
    if config.confine == "none":
        first = config.steps / 2**UNCONFINED_SEGMENTS
        ends = [int(first * 2**k) for k in range(1, UNCONFINED_SEGMENTS)]
        cuts = {(end - burn_in) // thin for end in ends}
        segments = (*sorted(cut for cut in cuts if 0 < cut < records), records)
    else:
        records -= records % 2  # two equal halves, which the stationarity test compares
        segments = (records // 2, records)
    return Schedule(burn_in, thin, records, segments)


def _rounded(value: float) -> float:
    """Four significant digits, so that a saved configuration is short and reruns exactly."""
    return float(f"{value:.4g}")
