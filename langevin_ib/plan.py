"""A run's `auto` settings, decided by rule from the configuration alone, before any draw.

Rules (each constant is below, none is read off a sample or a law's fit; the windows' are in `windows.py`):

step_size  h = s/Λ, with Λ the largest curvature of the potential over the window's orbits as far as the confinement
           lets a chain go (6 T), and s set per integrator; and h Λ' ≤ 1, with Λ' the curvature where chains start
           and, unconfined, where |χ| has diffused to 12 T t_end. With many coordinates, draws of the predicted law
           stand for the window.
thin       a draw every 0.25/ω (unconfined: 0.05/ω, for a visit to the slab is short), ω the curvature of the loss at
           the middle of the window (at the minimum, with many coordinates); the draws between would add under 1% to
           the information.
burn_in    a fifth of the steps. Without confinement, where no stationary law is waited for, 1/32 of them, or as long
           as the reduced loss needs to settle: 8/ω, ω its smallest curvature at the same point, but no more than 1/4.
slab       a twentieth of z_hi (of the largest scalar's, with many coordinates) times the dimension of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import geometry
from langevin_ib.config import AUTO, RunConfig
from langevin_ib.confinement import build_confinement
from langevin_ib.ensemble import Schedule
from langevin_ib.errors import ConfigError, LangevinIBError, ModelError, one_line
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Chart, build_model
from langevin_ib.models.transforms import with_metric
from langevin_ib.windows import Minimum, Window, rounded, scalar_window

STEP_SAFETY = {  # h Λ; measured in sims/bench
    "leimkuhler-matthews": 0.5,
    "euler-maruyama": 0.1,
    "projected": 0.1,
    "mala": 1.0,
}
ORBIT_ENERGY = 6.0  # in units of T
FAR = 1e30  # no bound on |χ|
UNCONFINED_REACH = 12.0  # χ has an exponential tail of scale T t: e^-12 of the chains are further out
THIN_INTERVAL = {True: 0.25, False: 0.05}  # by whether the measure is proper: a visit to a slab is short
BURN_IN_SHARE = {True: 1 / 5, False: 1 / 32}
SLAB_SHARE = 1 / 20
SETTLING, SETTLING_SHARE = 8.0, 1 / 4
UNCONFINED_SEGMENTS = 5  # octaves of time in which the drifting marginal is reported
STARTS = 256
POINTS = 16  # of the window, or of the predicted law's draws times 8, at which curvature is looked at
MIN_RECORDS = 10
FREE_POINTS = 257  # odd: the middle of a window around 0, where rescalings fix the origin, is one of them


@dataclass(frozen=True)
class Plan:
    """A configuration without `auto` (except a step size that MALA tunes), and what it implies."""

    config: RunConfig
    reduction: Reduction
    schedule: Schedule
    edges: dict[str, np.ndarray]
    singular_ends: tuple[bool, bool]

    @property
    def scalars(self) -> tuple[str, ...]:
        """The scalars that are put into histograms."""
        return tuple(self.edges)


def build_reduction(config: RunConfig, temperature: float | None = None) -> Reduction:
    """The model, with its metric, and the confinement that a configuration names; at another temperature if given.

    Raises:
        ConfigError: there is no such model or invariant, or an option does not fit it.
    """
    model = build_model(config.model, config.model_options())
    if config.metric is not None:
        q = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(model.init(jax.random.key(0))))
        if len(config.metric) != q:
            raise ConfigError(
                "metric", f"{q} positive numbers, one for each parameter", f"{len(config.metric)} numbers"
            )
        model = with_metric(model, np.asarray(config.metric))
    reduction = Reduction(model, build_confinement(config), temperature or config.temperature)
    known = _chart_of(reduction).scalar_names
    for name in config.invariant or ():
        if name not in known:
            raise ConfigError("invariant", f"among {', '.join(known)}", name)
    if config.window != AUTO and len(known) > 1 and (config.invariant is None or len(config.invariant) != 1):
        raise ConfigError("window", f"auto, or given with --invariant naming one of {', '.join(known)}", "a range")
    if config.law_draws is not None and reduction.chart.dim == 1:
        raise ConfigError("law_draws", "left out with one coordinate, whose laws are integrated", config.law_draws)
    return reduction


def _chart_of(reduction: Reduction) -> Chart:
    """The chart; an error of a user's `init`, `invariants` or `scalars` in one line."""
    try:
        return reduction.chart
    except LangevinIBError:
        raise
    except Exception as error:  # of a user's functions
        raise ModelError(
            f"model {reduction.model.name}: its init, invariants or scalars fail: {one_line(error)} "
            "(invariants and scalars are mappings of names to arrays)"
        ) from error


def _check_free(reduction: Reduction, window: Window) -> None:
    """The laws are written where the action is free: at every point of the window the section has an orbit."""
    z = np.linspace(*window, FREE_POINTS)[1:-1]
    log_det = np.asarray(reduction.terms(z).log_det)
    if not np.isfinite(log_det).all():
        at = z[~np.isfinite(log_det)][0]
        raise ModelError(
            f"model {reduction.model.name}: the action is not free, or the section fails, at {reduction.name} = "
            f"{at:.4g}, inside the window [{window[0]:g}, {window[1]:g}]: end its branches there"
        )


def resolve(config: RunConfig) -> Plan:
    """Fill in every `auto` for a model of one coordinate; the result's configuration resolves to itself.

    Raises:
        ConfigError: a setting does not fit the model: a window outside the branch or the support, too few records.
    """
    reduction = build_reduction(config)
    branch, window = scalar_window(config, reduction)
    _check_free(reduction, window)
    config = config.replace(window=window)
    points = np.linspace(*window, POINTS + 2)[1:-1, None]
    config = _settle(config, reduction, points, np.array([[0.5 * sum(window)]]), max(abs(window[0]), abs(window[1])))
    edges = {reduction.name: np.linspace(*window, config.bins + 1)}
    return Plan(
        config, reduction, _schedule(config, reduction.proper), edges, (window[0] == branch[0], window[1] == branch[1])
    )


def resolve_many(
    config: RunConfig, reduction: Reduction, windows: Mapping[str, Window], lowest: Minimum, draws: np.ndarray
) -> Plan:
    """The same for a model of many coordinates.

    Args:
        windows: of every scalar, by rule.
        lowest: the minimum of the reduced loss.
        draws: (n, k) points of the quotient, drawn from the predicted law.

    Raises:
        ConfigError: too few records.
    """
    largest = max(max(abs(low), abs(high)) for low, high in windows.values())
    width = largest * reduction.model.group_dim
    config = _settle(config, reduction, draws[: 8 * POINTS], lowest.x[None], width)
    wanted = config.invariant or tuple(windows)
    # Scalars that are cut stay in, whatever is shown: the laws are those inside their windows.
    kept = {name: w for name, w in windows.items() if name in wanted or name in reduction.model.cut}
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in kept.items()}
    return Plan(config, reduction, _schedule(config, reduction.proper), edges, (False, False))


def _settle(
    config: RunConfig, reduction: Reduction, points: np.ndarray, middle: np.ndarray, largest: float
) -> RunConfig:
    """Slab, step, thinning and burn-in, from points of the quotient that stand for where the law lives."""
    if config.confine == "none" and config.slab is None and not reduction.proper:
        config = config.replace(slab=rounded(largest * SLAB_SHARE))
    if config.step_check == AUTO:
        config = config.replace(step_check=config.step_size == AUTO and config.integrator != "mala")
    if config.step_check and config.integrator == "mala":
        raise ConfigError("step_check", "no with integrator mala, which has no discretisation bias", "yes")
    if config.step_size == AUTO and config.integrator != "mala":
        config = config.replace(step_size=rounded(_step_size(config, reduction, points)))
    if config.thin == AUTO:
        config = config.replace(thin=_thin(config, reduction, middle))
    if config.burn_in == AUTO:
        config = config.replace(burn_in=_burn_in(config, reduction, middle))
    _check_precision(config, reduction, points)
    return config


def _check_precision(config: RunConfig, reduction: Reduction, points: np.ndarray) -> None:
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


def _step_size(config: RunConfig, reduction: Reduction, points: np.ndarray) -> float:
    curvature = _curvature(reduction, points)
    step = min(STEP_SAFETY[config.integrator] / curvature(None), 1.0 / _starting_curvature(reduction))
    if reduction.proper:
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


def _curvature(reduction: Reduction, points: np.ndarray) -> Callable[[float | None], float]:
    """Largest curvature over points exp(±t e_a)·s(x), x among `points`, as a function of how far t goes.

    To |χ| = reach, or, given None, to where the confinement has risen by 6 T (to t = 0 if there is none).
    """
    model, confinement, temperature = reduction.model, reduction.confinement, reduction.temperature
    potential = confinement.potential(model)
    m = model.group_dim

    def at(x_and_reach):
        x, reach = x_and_reach[:-1], x_and_reach[-1]
        zero = 0.0 * reach
        base = reduction.chart.section(x)
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

            t = jax.lax.fori_loop(0, 50, halve, (zero, zero + 20.0))[0]
            return geometry.largest_curvature(potential, model.act(t * direction, base))

        directions = jnp.concatenate([jnp.eye(m), -jnp.eye(m)])
        return jnp.maximum(geometry.largest_curvature(potential, base), jnp.max(jax.lax.map(furthest, directions)))

    evaluate = on_host(at)

    def largest(reach: float | None) -> float:
        if reach is None:
            # A constrained chain does not leave the slice, and along a compact orbit no curvature is new.
            free = confinement.proper and not confinement.constrained
            reach = FAR if free else 0.0
        return float(np.max(evaluate(np.concatenate([points, np.full((len(points), 1), reach)], axis=1))))

    return largest


def _thin(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> int:
    if config.integrator == "mala":
        return 4

    def at(x):
        return geometry.largest_curvature(reduction.model.loss, reduction.chart.section(x))

    rate = max(float(on_host(at)(middle)[0]), 1e-12)
    wanted = THIN_INTERVAL[reduction.proper] / (rate * float(config.step_size))
    return int(np.clip(round(wanted), 1, max(1, config.steps // 500)))


def _burn_in(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> int:
    share = round(config.steps * BURN_IN_SHARE[reduction.proper])
    if reduction.proper or config.integrator == "mala":
        return share
    slowest = float(on_host(lambda x: geometry.reduced_curvatures(reduction.chart, x)[0])(middle)[0])
    settled = SETTLING / (max(slowest, 1e-12) * float(config.step_size))
    return max(share, int(min(settled, SETTLING_SHARE * config.steps)))


def _schedule(config: RunConfig, proper: bool) -> Schedule:
    burn_in, thin = int(config.burn_in), int(config.thin)
    records = (config.steps - burn_in) // thin
    if records < MIN_RECORDS:
        raise ConfigError(
            "steps", f"at least burn_in + {MIN_RECORDS} thin = {burn_in + MIN_RECORDS * thin}", config.steps
        )
    if not proper:
        first = config.steps / 2**UNCONFINED_SEGMENTS
        ends = [int(first * 2**k) for k in range(1, UNCONFINED_SEGMENTS)]
        cuts = {(end - burn_in) // thin for end in ends}
        segments = (*sorted(cut for cut in cuts if 0 < cut < records), records)
    else:
        records -= records % 2  # two equal halves, which the stationarity test compares
        segments = (records // 2, records)
    return Schedule(burn_in, thin, records, segments)
