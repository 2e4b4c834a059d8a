"""How large a run's steps are: small against the curvature where the law has mass, large enough to get anywhere.

h = s/Λ, with Λ the largest curvature of the potential over the window's orbits as far as the confinement lets a chain
go (6 T), and s the kernel's own; and h Λ' ≤ 1, with Λ' the curvature where chains start and, unconfined, where |χ|
has diffused to 12 T t_end. With many coordinates, draws of the predicted law stand for the window. Where Λ is a hundred
times what 95% of the law's mass has (near a singular point of the loss, say), orbits end where the law's own density on
them has fallen by e^−6, and that 95% quantile stands for Λ; and starts a hundred times steeper than Λ count only if
gradient descent from one of them diverges at h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib import geometry
from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Params
from langevin_ib.runs.windows import WINDOW_ENERGY

ORBIT_ENERGY = 6.0  # in units of T
FAR = 1e30  # no bound on |χ|
UNCONFINED_REACH = 12.0  # χ has an exponential tail of scale T t: e^-12 of the chains are further out
STARTS = 256
FETCHED, QUANTILE = 100.0, 0.95  # curvature this many times that of so much of the law's mass is not the law's
DESCENT = 2000  # steps of gradient descent by which a start has come down, or not
POINTS = 16  # of the window, or of the predicted law's draws times 8, at which the curvature is evaluated
LEAST = 1e-12  # of a step, to which diffusion along the orbits may take it down; of a curvature, that is one
WIDEST, KICK = 0.3, 0.1  # of the window: a step's noise may not be above the first, and is then the second
TRAVEL = 0.01  # of the window, and of the orbits: what a run has to be able to diffuse over
# A bin that is n roundings wide may have one value more or less than that: a distance of 1/2n, a tenth of the margin.
ROUNDING_SHARE = 0.1


def check_travel(config: RunConfig, reduction: Reduction, points: np.ndarray, middle: np.ndarray, because: str) -> None:
    """A chain that diffuses by √(2Th) a step has to get somewhere in its steps, across the window and along orbits."""
    step = float(config.step_size)
    travelled = np.sqrt(2.0 * config.temperature * step * config.steps)
    lengths = {"the window": _window_length(reduction, points, middle), "the orbits": _orbit_length(reduction, middle)}
    for what, length in lengths.items():
        if travelled >= TRAVEL * length:
            continue
        got = f"{step:g}, with which they diffuse over {travelled / length:.1g} of it"
        if because:
            wanted = f"given here, for the rule's does not take chains across {what} in {config.steps} steps"
            raise ConfigError("step_size", wanted, f"{got}: it is set by {because}")
        raise ConfigError("step_size", f"larger, for chains to cross {what} in {config.steps} steps", got)


def check_precision(config: RunConfig, reduction: Reduction, points: np.ndarray) -> None:
    """float32 freezes a chain whose step is below the spacing of floats near its parameters."""
    if config.precision != 32 or isinstance(config.step_size, str):
        return

    def size(x):
        return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(reduction.chart.section(x))]))

    largest = float(np.max(on_host(size)(points)))
    kick = np.sqrt(2.0 * config.step_size * config.temperature)
    if kick < 16 * np.finfo(np.float32).eps * largest:
        raise ConfigError(
            "precision", f"64 here: a step's noise, {kick:.1g}, is lost in float32 parameters of size {largest:.1g}", 32
        )


def check_spacing(config: RunConfig, reduction: Reduction, points: np.ndarray, edges: Mapping[str, np.ndarray]) -> None:
    """Refuse bins that are few roundings wide, of the scalar itself or of the parameters that it depends on.

    In float32 the values that z can take are a lattice: its own spacing, and |∂z/∂θ_i| times that of θ_i.

    Args:
        config: gives the precision of the chains, and the margin that a distance is judged by.
        reduction: gives the scalars at the sections of the orbits.
        points: (n, k) points of the quotient that represent the law.
        edges: bin edges of each scalar.

    Raises:
        ConfigError: bins are too narrow for the precision; asks for 64 bits where these are enough, else for wider
            bins.
    """
    chart = reduction.chart

    def at(x):
        flat, unravel = ravel_pytree(chart.section(x))
        scalars = chart.scalars_of(unravel(flat))
        slopes = jax.jacrev(lambda y: chart.scalars_of(unravel(y)))(flat)
        each = [jnp.append(slopes[name] * flat, scalars[name]) for name in edges]
        return jnp.max(jnp.nan_to_num(jnp.abs(jnp.stack(each)), posinf=0.0), axis=1)

    sizes = np.max(on_host(at)(points), axis=0)
    needed = 0.5 / (ROUNDING_SHARE * config.margin)
    for (name, ends), size in zip(edges.items(), sizes, strict=True):
        width = float(np.min(np.diff(ends)))
        spacing = {bits: float(np.spacing(kind(size))) for bits, kind in ((32, np.float32), (64, np.float64))}
        if width >= needed * spacing[config.precision]:
            continue
        what = f"a bin of {name} is {width:.2g} wide, {width / spacing[config.precision]:.2g} roundings"
        if config.precision == 32 and width >= needed * spacing[64]:
            raise ConfigError("precision", f"64 here: {what} of {spacing[32]:.2g} in float32", 32)
        window = f"{ends[0]:.17g} {ends[-1]:.17g}"
        raise ConfigError("window", f"wider, or in fewer bins: {what} of {spacing[config.precision]:.2g}", window)


def _window_length(reduction: Reduction, points: np.ndarray, middle: np.ndarray) -> float:
    """Length of the window on the slice, in parameters; of many coordinates, four standard deviations either way."""
    if reduction.chart.dim > 1:
        return 2.0 * float(np.sqrt(2.0 * WINDOW_ENERGY * reduction.temperature / settling_rate(reduction, middle)))
    width = abs(float(points[-1, 0] - points[0, 0])) * (POINTS + 1) / (POINTS - 1)
    return width * float(np.exp(reduction.terms(middle[:, 0]).log_volume[0]))


def _orbit_length(reduction: Reduction, middle: np.ndarray) -> float:
    """Reach of a confined chain along its orbit from s(x), in parameters; 0 where the confinement does not bound it."""
    model, confinement = reduction.model, reduction.confinement
    if confinement.orbit != "spread" or model.group_dim == 0:
        return 0.0
    unit = np.eye(model.group_dim)

    def at(x):
        base = reduction.chart.section(x)
        farthest = jax.vmap(lambda direction: _bisect_orbit(reduction, base, _rises_beyond(reduction, base), direction))
        ends = farthest(jnp.asarray(np.concatenate([unit, -unit])))
        flat = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(base)])
        far = jnp.concatenate([leaf.reshape(2 * len(unit), -1) for leaf in jax.tree.leaves(ends)], axis=1)
        return jnp.max(jnp.linalg.norm(far - flat, axis=1))

    return float(on_host(at)(middle)[0])


def _rises_beyond(reduction: Reduction, base: Params) -> Callable:
    """Whether the confinement at exp(t)·s is 6 T above that at s."""
    model, confinement = reduction.model, reduction.confinement
    bottom = confinement.energy(model, base)
    return lambda t: confinement.energy(model, model.act(t, base)) - bottom > ORBIT_ENERGY * reduction.temperature


def _bisect_orbit(reduction: Reduction, base: Params, beyond: Callable, direction: Float[Array, " m"]) -> Params:
    """The last exp(t e)·s in a direction e before `beyond` holds, by bisection."""
    zero = 0.0 * direction[0]

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        out = beyond(middle * direction)
        return jnp.where(out, low, middle), jnp.where(out, middle, high)

    t = jax.lax.fori_loop(0, 50, halve, (zero, zero + 20.0))[0]
    return reduction.model.act(t * direction, base)


class _Steepest(NamedTuple):
    """A curvature, and its place in words."""

    curvature: float
    where: str


def step_size_of(
    config: RunConfig, reduction: Reduction, points: np.ndarray, middle: np.ndarray, safety: float
) -> tuple[float, str]:
    """The step, and the bound that is active; `safety` is the kernel's own h Λ."""
    law = _steepest_of_law(reduction, points)
    start = _steepest_start(reduction)
    by_law = f"the curvature {law.curvature:.3g} {law.where}"
    by_start = f"the curvature {start.curvature:.3g} {start.where}"
    step, because = safety / max(law.curvature, LEAST), by_law
    # Where there is hardly any curvature, a kick still has to stay well inside the window.
    length = _window_length(reduction, points, middle)
    if 2.0 * config.temperature * step > (WIDEST * length) ** 2:
        step, because = (KICK * length) ** 2 / (2.0 * config.temperature), "the width of the window"
    if step * start.curvature > 1.0 and not (start.curvature > FETCHED * law.curvature and _descends(reduction, step)):
        step, because = 1.0 / start.curvature, by_start
    if reduction.proper:
        return step, because
    # The further a chain diffuses along its orbit, the steeper the loss across it, and t_end = h × steps.
    reached, least = _curvature_along_orbits(reduction, points, by_mass=False), LEAST * step
    reach = UNCONFINED_REACH * config.temperature * config.steps
    while step > least and step * float(np.max(reached(reach * step))) > 1.0:
        step, because = 0.9 * step, "how far chains diffuse along their orbits"
    return step, because


def _steepest_of_law(reduction: Reduction, points: np.ndarray) -> _Steepest:
    """Λ of the step's rule, see the docstring of this module."""

    def largest(curvatures: np.ndarray, i: int) -> _Steepest:
        values = reduction.chart.scalars(jnp.asarray(points[i]))
        at = ", ".join(f"{name} = {float(value):.4g}" for name, value in list(values.items())[:3])
        on = "at" if curvatures[i, 0] >= curvatures[i, 1] else "on the orbit through"
        return _Steepest(float(np.max(curvatures[i])), f"{on} {at}")

    curvatures = _curvature_along_orbits(reduction, points, by_mass=False)(None)
    plain = largest(curvatures, int(np.argmax(np.max(curvatures, axis=1))))
    if plain.curvature <= FETCHED * float(np.median(curvatures[:, 0])):
        return plain
    curvatures = _curvature_along_orbits(reduction, points, by_mass=True)(None)
    weight = np.ones(len(points))  # draws of the law
    if reduction.chart.dim == 1:
        log_weight = np.nan_to_num(-reduction.terms(points[:, 0]).energy, nan=-np.inf)
        weight = np.exp(log_weight - np.max(log_weight))
    order = np.argsort(np.max(curvatures, axis=1))
    mass = np.cumsum(weight[order])
    typical = largest(curvatures, int(order[np.searchsorted(mass, QUANTILE * mass[-1])]))
    return plain if plain.curvature <= FETCHED * typical.curvature else typical


def _steepest_start(reduction: Reduction) -> _Steepest:
    """Largest curvature over a fixed sample of starts: from there a chain has to come down without diverging."""
    model = reduction.model
    potential = reduction.confinement.potential(model)
    with jax.enable_x64(True):
        starts = jax.random.split(jax.random.key(0), STARTS)
        curvature_at = jax.jit(
            lambda keys: jax.lax.map(lambda k: geometry.largest_curvature(potential, model.init(k)), keys)
        )
        curvatures = np.asarray(curvature_at(starts))
        worst = int(np.argmax(curvatures))
        values = reduction.chart.scalars_of(model.init(starts[worst]))
        at = ", ".join(f"{name} = {float(value):.4g}" for name, value in list(values.items())[:3])
        return _Steepest(float(curvatures[worst]), f"at a start of the model, {at}")


def _descends(reduction: Reduction, step: float) -> bool:
    """Whether gradient descent of this step reaches a lower potential from every start of the sample."""
    model = reduction.model
    potential = reduction.confinement.potential(model)
    slope = jax.grad(potential)

    def descend(key):
        begin = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(key))

        def advance(_, params):
            return jax.tree.map(lambda leaf, g: leaf - step * g, params, slope(params))

        return potential(jax.lax.fori_loop(0, DESCENT, advance, begin)) <= potential(begin)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), STARTS)
        return bool(np.all(jax.jit(jax.vmap(descend))(keys)))


def _curvature_along_orbits(
    reduction: Reduction, points: np.ndarray, *, by_mass: bool
) -> Callable[[float | None], Float[np.ndarray, "points 2"]]:
    """Curvature at each s(x), x among `points`, and the largest at exp(±t e_a)·s(x), as a function of how far t goes.

    To |χ| = reach, or, given None, to where the confinement has risen by 6 T (to t = 0 if there is none); by mass no
    further than to where the law's density in t has fallen by e^−6.
    """
    model, confinement, temperature = reduction.model, reduction.confinement, reduction.temperature
    potential = confinement.potential(model)
    m = model.group_dim

    def at(x_and_reach):
        x, reach = x_and_reach[:-1], x_and_reach[-1]
        base = reduction.chart.section(x)
        bottom, risen = confinement.energy(model, base), _rises_beyond(reduction, base)

        def log_density(t):
            rise = (confinement.energy(model, model.act(t, base)) - bottom) / temperature
            return geometry.log_orbit_jacobian(reduction.chart, t, x) - rise

        def beyond(t):
            out = risen(t) | (jnp.linalg.norm(model.moment_map(model.act(t, base))) > reach)
            return out | (log_density(0.0 * t) - log_density(t) > ORBIT_ENERGY) if by_mass else out

        def furthest(direction):
            return geometry.largest_curvature(potential, _bisect_orbit(reduction, base, beyond, direction))

        at_base = geometry.largest_curvature(potential, base)
        if m == 0:
            return jnp.stack([at_base, at_base])
        directions = jnp.concatenate([jnp.eye(m), -jnp.eye(m)])
        return jnp.stack([at_base, jnp.max(jax.lax.map(furthest, directions))])

    evaluate = on_host(at)

    def curvatures(reach: float | None) -> Float[np.ndarray, "points 2"]:
        if reach is None:
            # A chain that is held does not leave the slice, and along a compact orbit no curvature is new.
            reach = FAR if confinement.orbit == "spread" else 0.0
        return evaluate(np.concatenate([points, np.full((len(points), 1), reach)], axis=1))

    return curvatures


def settling_rate(reduction: Reduction, middle: np.ndarray) -> float:
    """The largest curvature of the loss at a point of the slice."""

    def at(x):
        return geometry.largest_curvature(reduction.model.loss, reduction.chart.section(x))

    return max(float(on_host(at)(middle)[0]), 1e-12)
