"""A run that measures only: it draws, and reports what the draws show, held against no law.

Rules (before any draw that is reported): h = s/Λ, s the kernel's own and Λ the largest curvature of V at the lowest
point that L-BFGS finds and at 16 ends of the pilot's chains, and h Λ′ ≤ 1 with Λ′ that at 8 starts; the pilot is run
again with a smaller step until its own ends ask for none. A draw every 0.25/(ωh), ω the largest curvature of ℓ at the
lowest point; a fifth of the steps burn in, behind the last change of a value. The step is safe at the hottest and
stiffest that schedules make the run, too. Windows: `pilot.py`. Curvatures are taken by products of the Hessian with
vectors, so that nothing is q × q.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import jax
import numpy as np

from langevin_ib.config.extensions import is_built_in, names
from langevin_ib.config.kernels import FOUR_POINT, NORMAL
from langevin_ib.config.kinds import NO_LAWS
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.confinement import confinement_kind
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Target, kernel_kind
from langevin_ib.errors import ConfigError, DivergenceError
from langevin_ib.geometry.measured import check_measured, softness, stiffness
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Model, Params
from langevin_ib.runs.lowest import loss_descent, lowest_loss
from langevin_ib.runs.measured import MeasuredDetails, MeasuredPlan
from langevin_ib.runs.pilot import Pilot, run_pilot, windows_of
from langevin_ib.runs.plan import Plan, build_reduction, build_schedule
from langevin_ib.runs.process import Draws, Prepared
from langevin_ib.runs.protocol import ScheduleInfo
from langevin_ib.runs.scheduled import (
    check_schedules,
    cyclic_doubts,
    described,
    hottest,
    say_judged,
    schedule_doubts,
)
from langevin_ib.runs.steps import check_kick
from langevin_ib.runs.windows import rounded
from langevin_ib.session import Session, key_of
from langevin_ib.statistics.learning import Lowest, Measured, mean_of
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Moments

STARTS, ENDS = 8, 16  # points whose curvature is looked at
TRIES, SMALLER = 8, 0.8  # of steps; a step this share of the one before is no other
BACK = 4.0  # by which a step is cut where the pilot diverges
THIN_INTERVAL, BURN_IN_SHARE = 0.25, 1 / 5
LEAST_CURVATURE = 1e-12
MISSED = 0.95  # share of the draws in a window by rule, below which the pilot had not settled
NO_LAW = "no law is asked for"
IMPROPER = "exp(−L/T) dθ has no finite mass along the orbits, where draws drift"


def without_laws(config: RunConfig, model: Model) -> tuple[RunConfig, str]:
    """The settings of a run that measures only, and why there is no law where the settings ask for some.

    Raises:
        ConfigError: laws of a model that can have none, or a setting that is about orbits of one that has none.
    """
    why = ""
    if not config.measures_only:
        why = f"{model.name} has no coordinates of its quotient, so that there is no law to hold draws against"
        if model.no_law:
            why = f"{model.name} has no law: {model.no_law}"
        if "laws" in config.given:
            raise ConfigError("laws", f"{NO_LAWS} or left out: {why}", ", ".join(config.laws))
        config = config.replace(laws=(NO_LAWS,))
    if config.reference is not None and "reference" not in config.given:
        config = config.replace(reference="none")  # another sampler, of many coordinates as dear as the run
    return (without_orbits(config) if model.group_dim == 0 else config), why


def without_orbits(config: RunConfig) -> RunConfig:
    """The settings of a model whose orbits are points: nothing to confine.

    Raises:
        ConfigError: a setting that is about orbits.
    """
    left = confinement_kind(config.confine).without_symmetry
    if left == "refused":
        built_in = [name for name in names("confinement") if is_built_in("confinement", name)]
        stay = [name for name in built_in if confinement_kind(name).without_symmetry == "stays"]
        raise ConfigError("confine", f"{' or '.join(stay)} for a model without a symmetry", config.confine)
    if config.slab is not None:
        raise ConfigError("slab", "left out for a model without a symmetry", f"{config.slab:g}")
    own = dict.fromkeys(field.name for field in fields(config.settings_of("confinement")))
    return config.replace(confine="none", **own) if left == "none" else config


def prepare(config: RunConfig, reduction: Reduction, session: Session) -> Prepared:
    """Resolve every `auto` of a run of Langevin dynamics, by a pilot.

    Raises:
        ConfigError, ModelError, DivergenceError: as `langevin_ib.run`.
    """
    config, reduction, why = checked(config, reduction)
    check_schedules(config, reduction)
    lowest, where = loss_descent(reduction).from_starts()
    kernel = kernel_kind(str(config.integrator))
    config = _settled(config, kernel)
    config, pilot = _with_step(config, reduction, kernel, where, session)
    if not isinstance(config.step_size, str):
        check_kick(config, float(np.sqrt(2.0 * config.step_size * config.temperature)), pilot.largest)
    plan, by_rule = plan_of(config, reduction, pilot)
    improper = None if reduction.proper else IMPROPER
    changing = changing_of(plan, plan.config.step_size)
    return prepared_of(plan, MeasuredPlan(why, (pilot.chains, pilot.steps), by_rule), changing, lowest, improper)


def checked(config: RunConfig, reduction: Reduction) -> tuple[RunConfig, Reduction, str]:
    """Settings and model of a run that measures only, the model checked; and as `without_laws` has it.

    Raises:
        ConfigError, ModelError: as `check_measured` and `without_laws`.
    """
    check_measured(reduction.model, key_of(config, "check"))
    config, why = without_laws(config, reduction.model)
    return config, build_reduction(config, temperature=reduction.temperature), why


def plan_of(config: RunConfig, reduction: Reduction, pilot: Pilot) -> tuple[Plan, tuple[str, ...]]:
    """The plan, with the windows that the pilot sets, and the names of the scalars whose windows these are."""
    windows = windows_of(config, reduction, pilot)
    by_rule = tuple(windows) if config.window == AUTO else ()
    if len(windows) == 1:
        config = config.replace(window=next(iter(windows.values())))
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in windows.items()}
    plan = Plan(config, reduction.on_slab(config.slab), build_schedule(config), edges, (False, False))
    return plan, by_rule


def changing_of(plan: Plan, pace: float | str) -> tuple[ScheduleInfo | None, list[Doubt]]:
    """What is reported of a run whose values change; what speaks against that, and against starts at another's ends.

    The rate at which the slowest direction relaxes is the smallest curvature of the potential where that is lowest.

    Args:
        plan: of the run.
        pace: time that a step takes, a number where values change or chains go on from another run: h or η/(1 − μ).
    """
    config, reduction = plan.config, plan.reduction
    if not (config.schedules or config.from_cyclic):
        return None, []
    potential = reduction.confinement.potential(reduction.model)
    _, where = lowest_loss(replace(reduction.model, loss=potential))
    rate = softness(potential, where)
    relaxation = 1.0 / (max(rate, LEAST_CURVATURE) * float(pace))
    info = described(config, plan.schedule, relaxation, lambda first, last: None)
    say_judged(info)
    return info, [*schedule_doubts(info, config.margin), *cyclic_doubts(config, plan.schedule, relaxation)]


def prepared_of(
    plan: Plan,
    own: MeasuredPlan,
    changing: tuple[ScheduleInfo | None, list[Doubt]],
    lowest: Lowest | None,
    improper: str | None,
) -> Prepared:
    """A run without candidates; `changing` is as `changing_of` has it."""
    absent, (schedule, doubts) = Absent("c", own.why or NO_LAW), changing
    return Prepared(
        plan=plan,
        candidates=(),
        missing=(f"no law: {own.why}",) if own.why else (),
        doubts=tuple(doubts),
        coefficient=lambda statistic: absent,
        share=lambda scalar: None,
        stationary=improper is None,
        lowest=None if lowest is None else lambda: lowest,
        improper=improper,
        own=own,
        schedule=schedule,
    )


def details(prepared: Prepared, draws: Draws) -> MeasuredDetails:
    """Energies, norms and charges of the draws."""
    own: MeasuredPlan = prepared.own
    plan, whole = prepared.plan, draws.main.whole
    assert whole.loss is not None  # its observer sums ℓ and |θ|²/2
    assert whole.norm is not None
    energy, temperature = mean_of(whole.loss), plan.reduction.temperature
    charge = [
        mean_of(Moments(whole.charge.n, np.asarray(whole.charge.mean)[:, a], np.asarray(whole.charge.variance)[:, a]))
        for a in range(plan.reduction.model.group_dim)
    ]
    doubts = []
    for scalar in own.by_rule:
        share = draws.main.in_window(scalar)
        if share < MISSED:
            text = f"{share:.1%} of the draws of {scalar} lie in the window that the pilot set: it had not settled"
            doubts.append(Doubt("window", f"{text}; raise burn_in, or give the window", share, MISSED))
    return MeasuredDetails(
        plan=own,
        loss=Measured(energy.value * temperature, energy.se * temperature),
        energy=energy if plan.config.process.gibbs else None,
        norm=mean_of(whole.norm),
        charge=tuple(charge),
        doubts=tuple(doubts),
    )


def _settled(config: RunConfig, kernel: KernelKind) -> RunConfig:
    """Step check and burn-in, which need no pilot."""
    if config.step_check == AUTO:
        config = config.replace(step_check=not kernel.adjusted)
    if config.step_check and kernel.adjusted:
        wanted = f"no with integrator {config.integrator}, which has no discretisation bias"
        raise ConfigError("step_check", wanted, "yes")
    return settle_burn_in(config)


def settle_burn_in(config: RunConfig) -> RunConfig:
    """A fifth of the steps, behind the last change of a value; none where values go on."""
    if config.burn_in != AUTO:
        return config
    if config.stretch is not None:
        return config.replace(burn_in=0)
    changing = max((of.length or 0 for of in config.schedules.values()), default=0)
    return config.replace(burn_in=changing + round((config.steps - changing) * BURN_IN_SHARE))


def pilot_burn_in(config: RunConfig) -> int:
    """That of the run; of one whose values go on, which draws from its first step on, a fifth of the steps."""
    return int(config.burn_in) if config.stretch is None else round(config.steps * BURN_IN_SHARE)


def _with_step(
    config: RunConfig, reduction: Reduction, kernel: KernelKind, where: Params, session: Session
) -> tuple[RunConfig, Pilot]:
    """Step size, increments and thinning, and the pilot that was run with that step."""
    moved = kernel if kernel.tuning is None else kernel_kind("leimkuhler-matthews")
    soft = max(float(stiffness(reduction.model.loss, [where])[0]), LEAST_CURVATURE)
    given = config.step_size != AUTO and kernel.tuning is None
    if given:
        step = float(config.step_size)
        pilot = _pilot(config, reduction, moved, step, session)
    else:
        extreme, limit = hottest(config), np.inf
        if extreme is not None:
            limit, _ = _safe_step(extreme, build_reduction(extreme), moved, where, session)
        step, pilot = _safe_step(config, reduction, moved, where, session, limit)
        if kernel.tuning is None:
            config = config.replace(step_size=step)
    if config.increments == AUTO:
        config = config.replace(increments=FOUR_POINT if step * soft <= 1 / 16 else NORMAL)
    if config.thin == AUTO:
        thin = int(np.clip(round(THIN_INTERVAL / (soft * step)), 1, max(1, config.steps // 500)))
        config = config.replace(thin=kernel.thin or (thin if thin < 10 else thin // 10 * 10))
    return config, pilot


def _safe_step(
    config: RunConfig,
    reduction: Reduction,
    kernel: KernelKind,
    where: Params,
    session: Session,
    limit: float = np.inf,
) -> tuple[float, Pilot]:
    """The largest step by rule, up to a limit, and its pilot."""
    potential = reduction.confinement.potential(reduction.model)
    keys = jax.random.split(jax.random.key(0), STARTS)
    start = float(max(stiffness(potential, [reduction.model.init(key) for key in keys])))
    bottom = max(float(stiffness(potential, [where])[0]), LEAST_CURVATURE)

    def rule(points: list[Params]) -> float:
        steepest = max([bottom, *map(float, stiffness(potential, points))]) if points else bottom
        return rounded(min(kernel.stability / steepest, 1.0 / max(start, LEAST_CURVATURE), limit))

    return settle_step(rule, lambda h: _pilot(config, reduction, kernel, h, session))


def settle_step(rule: Callable[[list[Params]], float], pilot_at: Callable[[float], Pilot]) -> tuple[float, Pilot]:
    """The step that a rule gives at points, and the pilot of that step: run again while its own ends ask for less.

    Raises:
        DivergenceError: its chains diverge at the smallest step that is tried, too.
    """
    step = rule([])
    for last in (*[False] * (TRIES - 1), True):
        try:
            pilot = pilot_at(step)
        except DivergenceError:
            if last:
                raise
            step = rounded(step / BACK)
            continue
        wanted = rule(pilot.points(ENDS))
        if last or wanted >= SMALLER * step:
            return step, pilot
        step = wanted
    raise AssertionError("the last try returns or raises")


def _pilot(config: RunConfig, reduction: Reduction, kernel: KernelKind, step: float, session: Session) -> Pilot:
    potential = reduction.confinement.potential(reduction.model)
    settings = config.settings_of("kernel") if kernel is kernel_kind(str(config.integrator)) else kernel.settings()

    def build(like: Params) -> Kernel:
        target = Target(potential, reduction.temperature, like, reduction.model.moment_map)
        built = kernel.build(settings, target, step)
        return built if built.increments is None else built.on(NORMAL)

    remedy = reduction.confinement.remedy
    return run_pilot(config, reduction, build, step, session, burn_in=pilot_burn_in(config), remedy=remedy)
