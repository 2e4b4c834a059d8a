"""A run's `auto` settings, decided by rule from the configuration alone, before any draw.

Rules (each constant is below, none is read off a sample or a law's fit; the windows' are in `windows.py`,
the step's in `steps.py`):

step_size  from the curvature, see `steps.py`.
thin       a draw every 0.25/ω (unconfined: 0.05/ω, for a visit to the slab is short), ω the curvature of the loss at
           the middle of the window (at the minimum, with many coordinates); the draws between would add under 1% to
           the information.
           Above ten it is a multiple of ten, which a word of increments serves whole.
increments four-point where h ω ≤ 1/16, else normal; normal where the kernel takes no other.
burn_in    a fifth of the steps; where a schedule changes a value, of those after its last change, behind it (what is
           judged where it goes on longer: `scheduled.py`). Without confinement, where no stationary law is waited for,
           1/32 of them, or as long as the reduced loss needs to settle: 8/ω, ω its smallest curvature at the same
           point, but no more than 1/4.
slab       a share of z_hi (of the largest scalar's, with many coordinates) times the dimension of the group; which
           share the confinement says, and the kernel how it wants its step and its draws spaced.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from langevin_ib import devices, geometry
from langevin_ib.background import FAST
from langevin_ib.config.extensions import is_built_in
from langevin_ib.config.kernels import FOUR_POINT, NORMAL
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.confinement import build_confinement, confinement_kind
from langevin_ib.dynamics.kernel import KernelKind, kernel_kind
from langevin_ib.dynamics.labels import with_noisy_labels
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.records import Schedule, octaves
from langevin_ib.errors import ConfigError, LangevinIBError, LawError, ModelError, one_line
from langevin_ib.geometry.gram import DENSE
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Chart, Model
from langevin_ib.models.transforms import with_metric
from langevin_ib.runs.protocol import CANONICAL
from langevin_ib.runs.scheduled import hottest, recorded
from langevin_ib.runs.steps import POINTS, check_precision, check_spacing, check_travel, settling_rate, step_size_of
from langevin_ib.runs.wells import Minimum, Wells, Window
from langevin_ib.runs.windows import rounded, scalar_window

log = logging.getLogger(__name__)

LOOKED_AT = 4  # starts at whose orbits a model's slice is held against the action

THIN_INTERVAL = {True: 0.25, False: 0.05}  # by whether the measure is proper: a visit to a slab is short
BURN_IN_SHARE = {True: 1 / 5, False: 1 / 32}
# Of four-point increments the sixth cumulant is another than a normal's, which shows where the observed coordinates
# themselves move far in a step: `sims/bench/increments.py`.
FINE = 1 / 16
SETTLING, SETTLING_SHARE = 8.0, 1 / 4
MIN_RECORDS = 10
TENS = 10
FREE_POINTS = 257  # odd: the middle of a window around 0, where rescalings fix the origin, is one of them


@dataclass(frozen=True)
class Plan:
    """A configuration without `auto` (except a step size that MALA tunes), and what it implies.

    Attributes:
        config: the settings.
        reduction: model, confinement, temperature.
        schedule: burn-in and records.
        edges: bin edges of each scalar.
        singular_ends: whether a scalar's window ends where its branch does.
        elsewhere: other minima of the reduced loss of a scalar invariant, see `windows.Placement`.
    """

    config: RunConfig
    reduction: Reduction
    schedule: Schedule
    edges: dict[str, np.ndarray]
    singular_ends: tuple[bool, bool]
    elsewhere: Wells = ()

    @property
    def scalars(self) -> tuple[str, ...]:
        """The scalars that are put into histograms."""
        return tuple(self.edges)

    @property
    def drifting(self) -> bool:
        """Whether the chains spread along the orbits without end, so that only draws on a slab are judged."""
        return self.config.process.gibbs and not (self.reduction.proper or self.reduction.measured)

    def __reduce__(self) -> tuple[Any, ...]:
        """What a pickle holds: all but the model's functions, which are built anew from the configuration."""
        waiting = "reduction" not in vars(self)
        temperature = self._temperature if waiting else self.reduction and self.reduction.temperature
        rest = (self.schedule, self.edges, self.singular_ends, self.elsewhere)
        return _restored, (self.config, temperature, *rest)

    def __getattr__(self, name: str) -> Any:
        """The reduction of a plan from a pickle, when it is first asked for: to build a model starts JAX.

        So that a process which only collects results can go on to fork others. None, and the log says so, where the
        model cannot be built.
        """
        if name != "reduction":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        reduction = None
        try:
            devices.start()
            with jax.enable_x64(True):
                reduction = build_reduction(self.config, self._temperature)
        except Exception as error:  # of a user's module, which may not be there
            log.warning("a result is restored without its model, plan.reduction is None: %s", one_line(error))
        object.__setattr__(self, "reduction", reduction)
        return reduction


def _restored(config: RunConfig, temperature: float | None, *rest: Any) -> Plan:
    """A plan from a pickle, without its reduction yet."""
    plan, names = object.__new__(Plan), ("config", "schedule", "edges", "singular_ends", "elsewhere", "_temperature")
    for name, value in zip(names, (config, *rest, temperature), strict=True):
        object.__setattr__(plan, name, value)
    return plan


def say_slice(config: RunConfig, reduction: Reduction) -> None:
    """Log, before the first draw, that χ of a model of someone's own is not canonical, where its law is another's then.

    Chains and laws of such a χ may take minutes, and it is seldom meant. At the draws it is measured again.
    """
    model = reduction.model
    if model.group_dim == 0 or is_built_in("model", config.model_name):
        return
    starts = jax.jit(
        lambda: jax.vmap(model.init)(jax.random.split(jax.random.key(0), LOOKED_AT)), compiler_options=FAST
    )
    seen = geometry.slice_report(model, starts())
    if seen.canonical_gap < CANONICAL or seen.log_det_spread < CANONICAL:
        return
    log.info(
        "the slice is not canonical: eq. (42) is off by %.2g of |H| at the model's starts, and law slice is that of "
        "this χ alone; unless it is meant, compare ∇χ with ξ, the derivative of act at t = 0",
        float(seen.canonical_gap),
    )


def build_reduction(config: RunConfig, temperature: float | None = None) -> Reduction:
    """The model, with its metric, and the confinement that a configuration names; at another temperature if given.

    Raises:
        ConfigError: there is no such model or invariant, or an option does not fit it.
    """
    model = config.build_model()
    if config.metric is not None:
        q = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(model.init(jax.random.key(0))))
        if len(config.metric) != q:
            raise ConfigError(
                "metric", f"{q} positive numbers, one for each parameter", f"{len(config.metric)} numbers"
            )
        model = with_metric(model, np.asarray(config.metric))
    model = _under_noisy_labels(model, config)
    temperature = temperature or config.temperature
    measured = config.measures_only or not model.charted
    reduction = Reduction(model, build_confinement(config, temperature), temperature, config.slab, measured)
    known = _chart_of(reduction).scalar_names
    for name in config.invariant or ():
        if name not in known:
            raise ConfigError("invariant", f"among {', '.join(known)}", name)
    if config.law_draws is not None and measured:
        raise ConfigError("law_draws", "left out where no law is asked for", config.law_draws)
    if config.window != AUTO and len(known) > 1 and (config.invariant is None or len(config.invariant) != 1):
        raise ConfigError("window", f"auto, or given with --invariant naming one of {', '.join(known)}", "a range")
    if config.law_draws is not None and reduction.chart.dim == 1:
        raise ConfigError("law_draws", "left out with one coordinate, whose laws are integrated", config.law_draws)
    return reduction


def _under_noisy_labels(model: Model, config: RunConfig) -> Model:
    """What steps with noisy labels descend: the mean of a loss that is no square over them."""
    if "noise" not in config.records or config.label_noise == AUTO:  # squares alone wait for its rule
        return model
    noise = gradient_noise_of(config)
    return model if noise.labels.silent else with_noisy_labels(model, noise)


def gradient_noise_of(config: RunConfig) -> Noise:
    """The gradient noise that a configuration names; its label noise has to be a number."""
    label, flips = float(config.label_noise or 0.0), float(config.flip_rate or 0.0)
    own, scale = config.settings_of("noise"), float(config.noise_scale or 1.0)
    given = {"own": own, "scale": scale, "flip_rate": flips}
    return Noise(str(config.noise), config.batch_size, label, bool(config.replacement), **given)


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


def resolve(config: RunConfig, reduction: Reduction | None = None) -> Plan:
    """Resolve every `auto` for a model of one coordinate; the result's configuration resolves to itself.

    Args:
        config: the settings.
        reduction: what has been built of them, whose programs are used again.

    Raises:
        ConfigError: a setting does not fit the model: a window outside the branch or the support, too few records.
    """
    reduction = build_reduction(config) if reduction is None else reduction
    branch, window, elsewhere = scalar_window(config, reduction)
    _check_free(reduction, window)
    config = config.replace(window=window)
    points = np.linspace(*window, POINTS + 2)[1:-1, None]
    config = _resolve_dynamics(
        config, reduction, points, np.array([[0.5 * sum(window)]]), max(abs(window[0]), abs(window[1]))
    )
    edges = {reduction.name: np.linspace(*window, config.bins + 1)}
    check_spacing(config, reduction, points, edges)
    singular = window[0] == branch[0], window[1] == branch[1]
    schedule = build_schedule(config)
    return Plan(config, reduction.on_slab(config.slab), schedule, edges, singular, elsewhere)


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
    q = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(reduction.chart.params_shape))
    points = draws[: POINTS if q > DENSE else 8 * POINTS]  # curvatures of many parameters are dear
    config = _resolve_dynamics(config, reduction, points, lowest.x[None], width)
    wanted = config.invariant or tuple(windows)
    # Scalars that are cut stay in, whatever is shown: the laws are those inside their windows.
    compared = {name: w for name, w in windows.items() if name in wanted or name in reduction.model.cut}
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in compared.items()}
    check_spacing(config, reduction, points, edges)
    schedule = build_schedule(config)
    return Plan(config, reduction.on_slab(config.slab), schedule, edges, (False, False))


def _resolve_dynamics(
    config: RunConfig, reduction: Reduction, points: np.ndarray, middle: np.ndarray, largest: float
) -> RunConfig:
    """Slab, step, thinning and burn-in, from points of the quotient that represent the law."""
    share, kernel = confinement_kind(config.confine).slab, kernel_kind(str(config.integrator))
    if share is not None and config.slab is None and not reduction.proper:
        config = config.replace(slab=rounded(largest * share))
    if config.step_check == AUTO:
        config = config.replace(step_check=not kernel.adjusted)
    if config.step_check and kernel.adjusted:
        wanted = f"no with integrator {config.integrator}, which has no discretisation bias"
        raise ConfigError("step_check", wanted, "yes")
    because = ""
    if config.step_size == AUTO and kernel.tuning is None:
        step, because = step_size_of(config, reduction, points, middle, kernel.stability)
        bounds = [(step, because), *_where_hottest(config, points, middle, kernel.stability)]
        step, because = min(bounds, key=lambda bound: bound[0])
        config = config.replace(step_size=rounded(step))
    if not because:
        check_precision(config, reduction, points)
    if kernel.tuning is None:
        check_travel(config, reduction, points, middle, because)
    if config.increments == AUTO:
        coarse = float(config.step_size) * settling_rate(reduction, middle)
        config = config.replace(increments=FOUR_POINT if coarse <= FINE else NORMAL)
    if config.thin == AUTO:
        config = config.replace(thin=kernel.thin or _thinning(config, reduction, middle))
    if config.burn_in == AUTO:
        config = config.replace(burn_in=_burn_in_steps(config, kernel, reduction, middle))
    if because:  # once the step is known, and float64 with it worth while
        check_precision(config, reduction, points)
    return config


def _where_hottest(config: RunConfig, points: np.ndarray, middle: np.ndarray, safety: float) -> list[tuple[float, str]]:
    """The step, and its bound, at the hottest and stiffest that a schedule makes the run; none if it is none.

    Of one coordinate in the window of that temperature, of many at the points of the law that is judged.
    """
    extreme = hottest(config)
    if extreme is None:
        return []
    reduction = build_reduction(extreme)
    if reduction.chart.dim == 1:
        with contextlib.suppress(LawError):  # no law there, and no window by rule: that of what is judged stands
            window = scalar_window(extreme.replace(window=AUTO), reduction).window
            points = np.linspace(*window, POINTS + 2)[1:-1, None]
    step, because = step_size_of(extreme, reduction, points, middle, safety)
    return [(step, f"{because}, where its schedules take the run")]


def _thinning(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> int:
    wanted = THIN_INTERVAL[reduction.proper] / (settling_rate(reduction, middle) * float(config.step_size))
    thin = int(np.clip(round(wanted), 1, max(1, config.steps // 500)))
    return thin if thin < TENS else thin // TENS * TENS


def _burn_in_steps(config: RunConfig, kernel: KernelKind, reduction: Reduction, middle: np.ndarray) -> int:
    if config.stretch is not None:
        return 0
    changing = max((schedule.length or 0 for schedule in config.schedules.values()), default=0)
    share = changing + round((config.steps - changing) * BURN_IN_SHARE[reduction.proper])
    if reduction.proper or kernel.tuning is not None:
        return share
    slowest = float(on_host(lambda x: geometry.reduced_curvatures(reduction.chart, x)[0])(middle)[0])
    settled = SETTLING / (max(slowest, 1e-12) * float(config.step_size))
    return max(share, int(min(settled, SETTLING_SHARE * config.steps)))


def build_schedule(config: RunConfig) -> Schedule:
    """Burn-in and records of a configuration without `auto`.

    Raises:
        ConfigError: too few steps for ten records.
    """
    burn_in, thin = int(config.burn_in), int(config.thin)
    records = (config.steps - burn_in) // thin
    if records < MIN_RECORDS:
        raise ConfigError(
            "steps", f"at least burn_in + {MIN_RECORDS} thin = {burn_in + MIN_RECORDS * thin}", config.steps
        )
    return recorded(config, Schedule(burn_in, thin, records, octaves(records)))
