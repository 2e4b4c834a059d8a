"""Runs whose values change: which draws are judged, at which values, and what speaks against it; decided before a draw.

Where all values are constant by the first draw, the run is judged as any run at its last values. Where they go on, the
draws of the last tenth of the steps are, against the law at the values in the middle of it, and only if

    the law itself moves by no more than half the margin from one end of that stretch to the other: the total variation
    between the laws at both ends, or where they are not integrated the relative change of the value;
    and no value changes by more than the margin, relatively, while the slowest coordinate relaxes once, nor has it
    within five such times before that stretch.

By the first draw of a run whose values have come to rest that coordinate has to have relaxed five times since.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import geometry
from langevin_ib.config.run import RunConfig
from langevin_ib.config.value_schedules import ValueSchedule
from langevin_ib.dynamics.confinement import Confinement, confinement_kind
from langevin_ib.dynamics.kernel import Target
from langevin_ib.dynamics.schedules import value_of
from langevin_ib.ensemble.records import Schedule, octaves
from langevin_ib.errors import ConfigError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Model, Params
from langevin_ib.runs.ends import begin_together
from langevin_ib.runs.protocol import Changing, Move, ScheduleInfo
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.sample import Sample, Stretch

log = logging.getLogger(__name__)

PARTS = 9  # stretches that are shown, of a run whose values change, before the one that is judged
LEAST_RECORDS = 10  # of the stretch that is judged
WAITED = 5.0  # relaxation times between the last change of a value and the first draw
MOST_PIECES = 2000  # that a run is looked at in; one that is longer than a relaxation time is as good, of so many
SHIFT_SHARE = 0.5  # of the margin, by which the law may move while it is judged
LINEAR = 1e-5  # relative, of an energy in its strength
LEAST_RATE = 1e-12


def hottest(config: RunConfig) -> RunConfig | None:
    """The run at its highest temperature and largest strengths at once; None where these are what is judged."""
    extremes = {}
    for name, schedule in config.schedules.items():
        least, largest = schedule.range(0, config.last_step)
        extremes[name] = least if name == "beta" else largest
    if all(value == getattr(config, name) for name, value in extremes.items()):
        return None
    return constant_at(config, extremes)


def constant_at(config: RunConfig, values: Mapping[str, float]) -> RunConfig:
    """The run with constant values in place of its schedules."""
    return config.replace(**dict.fromkeys((f"{name}_schedule" for name in config.schedules), None), **values)


def recorded(config: RunConfig, schedule: Schedule) -> Schedule:
    """The same records in stretches that are shown and, behind them, those that are judged, where values go on.

    Raises:
        ConfigError: too few draws would be judged.
    """
    if config.stretch is None:
        return schedule
    first, last = config.stretch
    shown = -(-(first - schedule.burn_in) // schedule.thin)
    judged = schedule.records - shown
    if judged < LEAST_RECORDS:
        wanted = f"enough for {LEAST_RECORDS} draws in the last {last - first}, the only ones that are judged"
        raise ConfigError("steps", wanted, config.steps)
    ends = sorted({round(k * shown / PARTS) for k in range(1, PARTS + 1)} - {0})
    return replace(schedule, segments=(*ends, *(shown + end for end in octaves(judged))), shown=shown)


def strength_of(config: RunConfig, model: Model, reduction: Reduction) -> str | None:
    """The setting of the confinement that changes, whose energy is then linear in it and knows no temperature.

    Raises:
        ConfigError: it is not, or depends on T, which changes.
    """
    names = [name for name in config.schedules if name in config.confinement.declared()]
    kind, point = confinement_kind(config.confine), model.init(jax.random.key(0))

    def energy(temperature: float, **changes: float) -> float:
        confinement: Confinement = kind.build(config.confinement.changed(**changes), temperature)
        return float(confinement.energy(model, point))

    now = energy(reduction.temperature)
    for name in names:
        value = float(getattr(config, name))
        if not np.isclose(energy(reduction.temperature, **{name: 2.0 * value}), 2.0 * now, rtol=LINEAR):
            wanted = f"left out with confine {config.confine}, whose energy is not linear in {name}"
            raise ConfigError(f"{name}_schedule", wanted, getattr(config, f"{name}_schedule"))
    if "beta" in config.schedules and not np.isclose(energy(2.0 * reduction.temperature), now, rtol=LINEAR):
        wanted = f"left out with confine {config.confine}, whose energy depends on the temperature"
        raise ConfigError("beta_schedule", wanted, config.beta_schedule)
    return names[0] if names else None


def target_at(config: RunConfig, reduction: Reduction, like: Params, slowed: int) -> Callable[[Any], Target]:
    """n ↦ what step n of a chain of Langevin dynamics samples: σ²/β(n), L + (κ(n)/κ) C.

    Args:
        config: with schedules.
        reduction: at the values that are judged.
        like: a chain's parameters.
        slowed: steps that stand for one of the schedule.
    """
    model, confinement = reduction.model, reduction.confinement
    name, schedules = strength_of(config, model, reduction), config.schedules
    dtype = jax.tree.leaves(like)[0].dtype
    judged = 1.0 if name is None else float(getattr(config, name))
    strength = None if name is None else value_of(schedules[name], dtype, slowed=slowed)
    beta = value_of(schedules["beta"], dtype, slowed=slowed) if "beta" in schedules else None

    def target(n: Any) -> Target:
        share = None if strength is None else strength(n) / judged

        def potential(params: Params) -> Any:
            energy = confinement.energy(model, params)
            return model.loss(params) + (energy if share is None else share * energy)

        temperature = config.temperature if beta is None else float(config.sigma) ** 2 / beta(n)
        return Target(potential, temperature, like, model.moment_map)

    return target


def highest_temperature(config: RunConfig) -> float:
    """By which a chain that has run away is told: the largest T, times how much softer than judged C is."""
    extreme = hottest(config)
    ranges = {name: schedule.range(0, config.last_step) for name, schedule in config.schedules.items()}
    softest = [float(getattr(config, name)) / least for name, (least, _) in ranges.items() if name != "beta"]
    return (config if extreme is None else extreme).temperature * max([1.0, *softest])


def slowest_rate(reduction: Reduction, x: np.ndarray) -> float:
    """The smallest curvature of the potential at a point of the quotient, a minimum.

    Across the orbits, and where chains spread along them, along those too: c depends on where they are there.
    """
    chart, model = reduction.chart, reduction.model
    potential = reduction.confinement.potential(model)

    def slowest(at):
        rate = geometry.reduced_curvatures(chart, at, potential)[0]
        if model.group_dim == 0 or reduction.confinement.orbit != "spread":
            return rate
        return jnp.minimum(rate, geometry.orbit_curvatures(model, potential, chart.section(at))[0])

    return max(float(np.asarray(on_host(slowest)(x[None]))[0]), LEAST_RATE)


def described(
    config: RunConfig, schedule: Schedule, relaxation: float, shift: Callable[[RunConfig, RunConfig], float | None]
) -> ScheduleInfo | None:
    """What is judged of a run whose values change; None of one whose values do not.

    Args:
        config: without `auto`.
        schedule: when its draws are recorded.
        relaxation: steps in which the slowest coordinate relaxes at the values that are judged.
        shift: total variation between the laws of two configurations without schedules; None where not integrated.
    """
    schedules, stretch = config.schedules, config.stretch
    if not schedules:
        return None
    steps = (schedule.burn_in + schedule.shown * schedule.thin, schedule.steps)
    judged = {name: config.judged_value(name) for name in schedules}
    ends = {name: _extremes(of, steps) if stretch else (judged[name],) * 2 for name, of in schedules.items()}
    values = {name: Changing(str(schedules[name]), judged[name], ends[name]) for name in schedules}
    if stretch is None:
        changed = max(of.length or 0 for of in schedules.values())
        return ScheduleInfo(values, steps, True, relaxation, waited=(steps[0] - changed) / relaxation)
    relative = {name: abs(last - first) / judged[name] for name, (first, last) in ends.items()}
    at_ends = [constant_at(config, {name: ends[name][i] for name in ends}) for i in (0, 1)]
    faster = max(_fastest(of, steps, relaxation) / judged[name] for name, of in schedules.items())
    return ScheduleInfo(
        values,
        steps,
        False,
        relaxation,
        lag=max(faster, max(relative.values()) * relaxation / (steps[1] - steps[0])),
        change=max(relative.values()),
        shift=shift(*at_ends),
    )


def _fastest(schedule: ValueSchedule, steps: tuple[int, int], relaxation: float) -> float:
    """The largest change in a relaxation time, from five of them before a stretch to its end."""
    first = max(0, steps[0] - math.ceil(min(WAITED * relaxation, steps[0])))
    piece = max(1, math.ceil(max(min(relaxation, steps[1]), (steps[1] - first) / MOST_PIECES)))
    ends = [*range(first, steps[1], piece), steps[1]]
    ranges = (schedule.range(*both) for both in pairwise(ends))
    return max(high - low for low, high in ranges)


def _extremes(schedule: ValueSchedule, steps: tuple[int, int]) -> tuple[float, float]:
    """The values at both ends of a stretch, or, of one that goes up and down in it, the least and the largest."""
    low, high = schedule.range(*steps)
    return (low, high) if schedule.at(steps[0]) <= schedule.at(steps[1]) else (high, low)


def check_schedules(config: RunConfig, reduction: Reduction) -> None:
    """Whether the values that change along a run of Langevin dynamics can.

    Raises:
        ConfigError: as `strength_of`; or they do while draws are taken, of a run without a stationary law at any.
    """
    if not config.schedules:
        return
    strength_of(config, reduction.model, reduction)
    if config.stretch is not None and not reduction.proper:
        name = next(iter(config.schedules))
        got = getattr(config, f"{name}_schedule")
        raise ConfigError(f"{name}_schedule", f"at its end by the first draw with confine {config.confine}", got)


def cyclic_doubts(config: RunConfig, schedule: Schedule, relaxation: float) -> list[Doubt]:
    """Of chains that begin at one point, where another run's ended: that they have not yet forgotten it.

    Args:
        config: of the run.
        schedule: when its draws are recorded.
        relaxation: steps in which the slowest coordinate relaxes.
    """
    waited = (schedule.burn_in + schedule.shown * schedule.thin) / relaxation
    if waited >= WAITED or not begin_together(config):
        return []
    text = (
        f"chains that begin at one point (from_cyclic) have {waited:.2g} relaxation times ({relaxation:.3g} steps "
        f"each) before the first draw, fewer than {WAITED:g}: they are not independent yet; raise burn_in"
    )
    return [Doubt("starts", text, waited, WAITED)]


def say_judged(info: ScheduleInfo | None) -> None:
    """Log, before the first draw, what will be judged."""
    if info is not None:
        log.info("%s", info.words())


def schedule_doubts(info: ScheduleInfo | None, margin: float) -> list[Doubt]:
    """Reasons, known before the first draw, why the draws of such a run are not judged."""
    doubts: list[Doubt] = []
    if info is None:
        return doubts
    if info.waited is not None and info.waited < WAITED:
        text = (
            f"the chains have {info.waited:.2g} relaxation times ({info.relaxation:.3g} steps each) between the last "
            f"change of a value and the first draw, fewer than {WAITED:g}; raise burn_in or steps"
        )
        doubts.append(Doubt("schedule", text, info.waited, WAITED))
    if info.ended:
        return doubts
    moved, limit = info.moved, SHIFT_SHARE * margin
    if not moved <= limit:
        what = "the law itself moves by TV" if info.shift is not None else "values change by a share of"
        text = (
            f"{what} {moved:.3g} over the stretch that is judged, more than half the margin, {limit:g}: values change "
            "while draws are taken; run more steps, or let the schedule end before the draws"
        )
        doubts.append(Doubt("schedule", text, moved, limit))
    if info.lag is not None and not info.lag <= margin:
        share = "by more than all of it" if info.lag > 1.0 else f"by {info.lag:.2g} of it"
        text = (
            f"a value changes {share} while the slowest coordinate relaxes ({info.relaxation:.3g} steps), more than "
            f"the margin, {margin:g}: the chains lag behind; change it more slowly"
        )
        doubts.append(Doubt("schedule", text, info.lag, margin))
    return doubts


def with_moves(info: ScheduleInfo | None, config: RunConfig, schedule: Schedule, sample: Sample) -> ScheduleInfo | None:
    """With how the histograms move along the run, where values change while draws are taken."""
    if info is None or not sample.earlier:
        return info
    ends = (0, *(end for end in schedule.segments if end <= schedule.shown), schedule.records)
    moves = []
    for first, last, stretch in zip(ends, ends[1:], (*sample.earlier, sample.whole), strict=False):
        steps = (schedule.burn_in + first * schedule.thin, schedule.burn_in + last * schedule.thin)
        values = {name: of.at(0.5 * sum(steps)) for name, of in config.schedules.items()}
        mean = {name: float(np.mean(np.asarray(stretch.value.mean)[:, i])) for i, name in enumerate(sample.scalars)}
        moves.append(Move(steps, values, mean, {name: _apart(stretch, sample.whole, name) for name in sample.scalars}))
    return replace(info, moves=tuple(moves))


def _apart(stretch: Stretch, last: Stretch, scalar: str) -> float:
    """Total variation between two histograms, draws outside the window counted as two more bins."""

    def masses(of: Stretch) -> np.ndarray:
        window = of.counted.windows[scalar]
        counts = np.append(window.counts.sum(axis=0), [window.below.sum(), window.above.sum()])
        return counts / max(counts.sum(), 1)

    return 0.5 * float(np.abs(masses(stretch) - masses(last)).sum())
