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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib import geometry
from langevin_ib.background import FAST, compiled
from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Params
from langevin_ib.runs.wells import WINDOW_ENERGY

ORBIT_ENERGY = 6.0  # in units of T
FAR = 1e30  # no bound on |χ|
UNCONFINED_REACH = 12.0  # χ has an exponential tail of scale T t: e^-12 of the chains are further out
STARTS, BLOCK = 256, 8
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
    largest = float(np.max(local_of(reduction)(points).size))
    check_kick(config, float(np.sqrt(2.0 * config.step_size * config.temperature)), largest)


def check_kick(config: RunConfig, kick: float, largest: float) -> None:
    """The same of a step's noise and the largest parameter."""
    if config.precision == 32 and kick < 16 * np.finfo(np.float32).eps * largest:
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
    local, names = local_of(reduction)(points), reduction.chart.scalar_names
    sizes = np.max(local.rounded[:, [names.index(name) for name in edges]], axis=0)
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
    if reduction.confinement.orbit != "spread" or reduction.model.group_dim == 0:
        return 0.0
    return float(local_of(reduction)(middle).reach[0])


class Local(NamedTuple):
    """What the rules of the step ask of a point of the quotient or, with a leading axis, of many (NumPy's).

    Attributes:
        curvature: (2,) the largest of the potential at s(x), and the largest at the ends of the orbit's reach.
        reach: the longest way there, in parameters.
        settling: the largest curvature of the loss at s(x).
        size: of the largest parameter of s(x).
        scalars: (scalars,) at x, in the chart's order.
        rounded: (scalars,) of each the largest number whose rounding moves it: itself, and |∂z/∂θ_i| |θ_i|.
    """

    curvature: Any
    reach: Any
    settling: Any
    size: Any
    scalars: Any
    rounded: Any


class LocalSurvey:
    """`Local` at points, evaluated once for each set of them: all the rules look at the same few."""

    def __init__(self, reduction: Reduction, *, by_mass: bool):
        self._evaluate = on_host(
            lambda x: _local_at(reduction, x[:-1], x[-1], by_mass=by_mass),
            block=BLOCK,
            once=True,
            like=(reduction.chart.dim + 1,),
        )
        # A chain that is held does not leave the slice, and along a compact orbit no curvature is new.
        self._farthest = FAR if reduction.confinement.orbit == "spread" else 0.0
        self._known: dict[tuple[float, bytes], Local] = {}

    def __call__(self, points: Float[np.ndarray, "n k"], reach: float | None = None) -> Local:
        """To |χ| = reach, or, given None, to where the confinement has risen by 6 T (t = 0 if there is none)."""
        reach = self._farthest if reach is None else reach
        key = reach, np.asarray(points, np.float64).tobytes()
        if key not in self._known:
            self._known[key] = self._evaluate(np.concatenate([points, np.full((len(points), 1), reach)], axis=1))
        return self._known[key]


def local_of(reduction: Reduction, *, by_mass: bool = False) -> LocalSurvey:
    """The survey of a reduction; by mass, no further along orbits than to where the law's density has fallen by e^−6.

    It is compiled in the background from when it is first asked for.
    """
    name = "local by mass" if by_mass else "local"
    return reduction.program(name, lambda: LocalSurvey(reduction, by_mass=by_mass))


def _local_at(reduction: Reduction, x: Float[Array, " k"], reach: Float[Array, ""], *, by_mass: bool) -> Local:
    chart, model = reduction.chart, reduction.model
    base = chart.section(x)
    flat, unravel = ravel_pytree(base)
    ends, length = _orbit_ends(reduction, x, reach, by_mass=by_mass)
    # One loop, so that second derivatives are compiled once for all places.
    potential, places = reduction.confinement.potential(model), jnp.concatenate([flat[None], ends])
    curvatures = jax.lax.map(lambda y: geometry.largest_curvature(potential, unravel(y)), places)

    def scalars_of(y):
        return jnp.stack(list(chart.scalars_of(unravel(y)).values()))

    slopes, values = jax.jacrev(scalars_of)(flat), scalars_of(flat)
    moves = jnp.abs(jnp.concatenate([slopes * flat, values[:, None]], axis=1))
    return Local(
        curvature=jnp.stack([curvatures[0], jnp.max(curvatures[1:]) if len(ends) else curvatures[0]]),
        reach=length,
        settling=geometry.largest_curvature(model.loss, base),
        size=jnp.max(jnp.abs(flat)),
        scalars=jnp.stack(list(chart.scalars(x).values())),
        rounded=jnp.max(jnp.nan_to_num(moves, posinf=0.0), axis=1),
    )


def _orbit_ends(
    reduction: Reduction, x: Float[Array, " k"], reach: Float[Array, ""], *, by_mass: bool
) -> tuple[Float[Array, "ends q"], Float[Array, ""]]:
    """exp(±t e_a)·s(x), t as far as `Local` says, and the longest way there; none and 0 where orbits are points."""
    model, confinement = reduction.model, reduction.confinement
    m = model.group_dim
    base = reduction.chart.section(x)
    flat = ravel_pytree(base)[0]
    if m == 0:
        return jnp.zeros((0, flat.size)), jnp.zeros(())
    bottom, risen = confinement.energy(model, base), _rises_beyond(reduction, base)

    def log_density(t):
        rise = (confinement.energy(model, model.act(t, base)) - bottom) / reduction.temperature
        return geometry.log_orbit_jacobian(reduction.chart, t, x) - rise

    def beyond(t):
        out = risen(t) | (jnp.linalg.norm(model.moment_map(model.act(t, base))) > reach)
        return out | (log_density(0.0 * t) - log_density(t) > ORBIT_ENERGY) if by_mass else out

    def furthest(direction):
        end = ravel_pytree(_bisect_orbit(reduction, base, beyond, direction))[0]
        return end, jnp.linalg.norm(end - flat)

    ends, lengths = jax.lax.map(furthest, jnp.concatenate([jnp.eye(m), -jnp.eye(m)]))
    return ends, jnp.max(lengths)


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
    reached, least = local_of(reduction), LEAST * step
    reach = UNCONFINED_REACH * config.temperature * config.steps
    while step > least and step * float(np.max(reached(points, reach * step).curvature)) > 1.0:
        step, because = 0.9 * step, "how far chains diffuse along their orbits"
    return step, because


def _steepest_of_law(reduction: Reduction, points: np.ndarray) -> _Steepest:
    """Λ of the step's rule, see the docstring of this module."""

    local = local_of(reduction)(points)

    def largest(curvatures: np.ndarray, i: int) -> _Steepest:
        on = "at" if curvatures[i, 0] >= curvatures[i, 1] else "on the orbit through"
        return _Steepest(float(np.max(curvatures[i])), f"{on} {_named(reduction, local.scalars[i])}")

    curvatures = local.curvature
    plain = largest(curvatures, int(np.argmax(np.max(curvatures, axis=1))))
    if plain.curvature <= FETCHED * float(np.median(curvatures[:, 0])):
        return plain
    curvatures = local_of(reduction, by_mass=True)(points).curvature
    weight = np.ones(len(points))  # draws of the law
    if reduction.chart.dim == 1:
        log_weight = np.nan_to_num(-reduction.terms(points[:, 0]).energy, nan=-np.inf)
        weight = np.exp(log_weight - np.max(log_weight))
    order = np.argsort(np.max(curvatures, axis=1))
    mass = np.cumsum(weight[order])
    typical = largest(curvatures, int(order[np.searchsorted(mass, QUANTILE * mass[-1])]))
    return plain if plain.curvature <= FETCHED * typical.curvature else typical


def _named(reduction: Reduction, values: Float[np.ndarray, " scalars"]) -> str:
    named = zip(reduction.chart.scalar_names[:3], values, strict=False)
    return ", ".join(f"{name} = {float(value):.4g}" for name, value in named)


def starts_of(reduction: Reduction) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """The largest curvature at each of a fixed sample of starts, and the scalars there.

    It is compiled in the background from when it is first asked for.
    """

    def at(key):
        params = reduction.model.init(key)
        scalars = jnp.stack(list(reduction.chart.scalars_of(params).values()))
        return geometry.largest_curvature(reduction.confinement.potential(reduction.model), params), scalars

    def survey():
        return jax.lax.map(at, jax.random.split(jax.random.key(0), STARTS))

    return reduction.program("starts", lambda: compiled(jax.jit(survey, compiler_options=FAST)))


def _steepest_start(reduction: Reduction) -> _Steepest:
    """Largest curvature over a fixed sample of starts: from there a chain has to come down without diverging."""
    with jax.enable_x64(True):
        curvatures, scalars = map(np.asarray, starts_of(reduction)())
    worst = int(np.argmax(curvatures))
    return _Steepest(float(curvatures[worst]), f"at a start of the model, {_named(reduction, scalars[worst])}")


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


def settling_rate(reduction: Reduction, middle: np.ndarray) -> float:
    """The largest curvature of the loss at a point of the slice."""
    return max(float(local_of(reduction)(middle).settling[0]), LEAST)
