"""The plan of a run of SGD: its own laws and the fitted family, windows and schedule, before any draw of the chains.

Rules: windows leave out 0.1% of law (S) at either end, or where there is none are those of the law `slice` at the
temperature of a noise as strong as SGD's across the orbits; burn-in until χ has fallen by e^−10 at the predicted rate
and the slowest coordinate has relaxed ten times; then 400 relaxation times. Where χ would need more than 200 000 steps,
chains start on the slice instead. The learning rate: `descent_minimum.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.meter import NoiseReport
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.records import Schedule, Stage, octaves
from langevin_ib.errors import ConfigError
from langevin_ib.geometry.charges import ChargeBalance
from langevin_ib.laws import Law, Reduction, fitted, formula
from langevin_ib.laws.sgd import Descent, OwnError
from langevin_ib.models import Params
from langevin_ib.runs.descent_chains import NOISELESS
from langevin_ib.runs.descent_charge import diffusion_doubts, lies_across
from langevin_ib.runs.descent_laws import (
    OwnLaws,
    Windowed,
    WithinWindows,
    build_laws,
    independent_variances,
    laws_within,
    say_collapse,
    shift_between,
)
from langevin_ib.runs.descent_minimum import at_minimum, decay_of
from langevin_ib.runs.hook_noise import heavy
from langevin_ib.runs.plan import Plan, build_reduction
from langevin_ib.runs.protocol import ScheduleInfo
from langevin_ib.runs.quotient import sample_mala
from langevin_ib.runs.scheduled import (
    cyclic_doubts,
    described,
    recorded,
)
from langevin_ib.runs.steps import POINTS, check_kick, check_spacing
from langevin_ib.runs.wells import Window, minimum
from langevin_ib.runs.windows import (
    cut_windows,
    given_window,
    is_given,
    quantile_window,
    rounded,
    rounded_window,
    scalar_window,
)
from langevin_ib.session import key_of
from langevin_ib.stages import doing
from langevin_ib.statistics.convergence import R_HAT_LIMIT
from langevin_ib.statistics.records import Doubt, NoiseMeasured, Uncertain

TAIL = 1e-3
DECAY = 10.0
LONGEST_DECAY = 200_000
RELAXATIONS = {"burn_in": 10, "records": 400}
STEPS_RANGE = (20_000, 400_000)
MOST_STEPS = 10**7
THIN_INTERVAL = 0.25
NOISELESS_SPREAD = 0.01
SKEWED = 4.0  # standard errors of an estimated skewness within which it counts as none
AT_REST = "law sgd: the noise vanishes at the minimum of the loss, where chains come to rest: there is no density"
NOISY_LABELS = "; noise on the labels would keep them moving"
DEPENDENT = "while windows and temperatures are set for independent steps, so that no law is judged"


@dataclass(frozen=True)
class ResolvedDescent:
    """The resolved plan of a run of SGD, before its first draw.

    Attributes:
        config: without `auto`.
        descent: the process whose law is (S).
        reduction: model and confinement at T = 1, so that its energies are ℓ.
        middle: the minimum of the reduced loss.
        meter: the noise there.
        measured: what else is known of it.
        own: (S) and `map` of each scalar, or none of any.
        missing: one line for each law that does not exist here.
        errors: how far the law of each scalar is from (S) by itself, to leading order in η.
        independent: variance of each scalar under the law (S) of batches drawn with replacement; of runs by epochs.
        family: the fitted laws; None without noise.
        edges: bin edges of each scalar.
        schedule: burn-in and records.
        balanced: whether chains start on the slice.
        balance: the predicted balance of χ near the minimum, and its rate per unit of nη/(1 − μ); None without one.
        doubts: reasons not to trust the fitted laws.
        changing: what is judged where η or λ changes along the run.
    """

    config: RunConfig
    descent: Descent
    reduction: Reduction
    middle: np.ndarray
    meter: NoiseReport
    measured: NoiseMeasured
    own: WithinWindows
    missing: list[str]
    errors: dict[str, OwnError]
    independent: dict[str, float]
    family: fitted.FittedFamily | None
    edges: dict[str, np.ndarray]
    schedule: Schedule
    balanced: bool
    balance: ChargeBalance | None
    doubts: list[Doubt]
    changing: ScheduleInfo | None = None

    @property
    def plan(self) -> Plan:
        """The resolved plan in the form that all runs share."""
        return Plan(self.config, self.reduction, self.schedule, self.edges, (False, False))

    @property
    def laws(self) -> dict[str, Law]:
        """(S) of each scalar, or none of any."""
        return self.own.laws

    @property
    def decay(self) -> float:
        """The rate at which χ is predicted to go to zero near the minimum, per unit of t = nη; 0 if it does not."""
        return decay_of(self.balance, float(self.config.momentum or 0))

    def descent_with(self, noise: Noise) -> Descent:
        """The same process under another noise."""
        return replace(self.descent, noise=noise)


def resolve_descent(config: RunConfig, stage: Callable[[str], Stage]) -> ResolvedDescent:
    """Resolve every `auto` and determine which laws exist, before any draw of the chains.

    Raises:
        ConfigError, ModelError, LawError: as `langevin_ib.run`.
    """
    at = at_minimum(config)
    config, reduction, middle, descent, point, meter, measured, balance, rates = at
    decay = 0.0 if balance is None else balance.rate
    size = float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(point))))
    # The stationary width √(η tr Σ/Λ): however short a step is, and its kick with it.
    noisy = descent.lr * meter.trace > float(rates.max()) * (NOISELESS * size) ** 2
    schedule_config, schedule, balanced = _build_schedule(config, descent, decay if noisy else 0.0, rates, noisy)
    if noisy:
        largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(point))
        check_kick(config, float(config.lr or 0) * meter.trace**0.5, largest)

    family, windows, doubts, independent = None, {}, [], {}
    tail = measured.tail
    if tail is not None and not tail.variance:
        own = OwnLaws(None, None, [f"law sgd, map: {heavy(descent.noise.words, tail)}"])
    elif noisy or descent.noise.record.noiseless:
        doing(_of_laws(descent))
        own = build_laws(descent, middle, plain=not config.momentum, cumulants=at.cumulants)
    else:
        own = OwnLaws(None, None, [AT_REST + (NOISY_LABELS if descent.noise.record.population else "")])
    if noisy:
        across = lies_across(descent.noise, meter)
        at_temperature = build_reduction(
            config, temperature=rounded(_isotropic_temperature(descent, meter, point, across))
        )
        doing("fitted laws and windows")
        family, windows, doubts = _fitted_family(config, at_temperature, own.windowed, stage)
        doubts += diffusion_doubts(descent.noise, meter, proper=reduction.proper)
        if descent.noise.dependence is not None:
            doubts.append(Doubt("epochs", f"{descent.noise.dependence}, {DEPENDENT}"))
            independent = independent_variances(descent, middle)
    else:
        values = reduction.chart.scalars(jnp.asarray(middle))
        windows = {name: _window_at_minimum(float(value)) for name, value in values.items()}
    if config.window == AUTO and reduction.chart.dim == 1:
        schedule_config = schedule_config.replace(window=next(iter(windows.values())))
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in windows.items()}
    points = middle[None] if len(edges) > 1 else np.linspace(*next(iter(windows.values())), POINTS + 2)[1:-1, None]
    check_spacing(config, reduction, points, edges)
    doing(_of_laws(descent))
    within = laws_within(own, windows, edges)
    say_collapse(within.about)
    momentum = float(config.momentum or 0)
    known = within.laws if at.cumulants else {}
    limits = {name: (own.coordinates or {})[name] for name in known}
    errors = {
        name: _own_error(coordinate.error(edges[name], momentum), measured.skewness.get(name))
        for name, coordinate in limits.items()
    }
    relaxation = _relaxation(config, descent, rates)
    forgetting = min(relaxation, decay * descent.lr) if decay > 0 else relaxation  # where they began, along orbits too
    doubts += cyclic_doubts(schedule_config, schedule, 1.0 / forgetting)
    doubts += [Doubt("law", text) for text in (each.check_terms() for each in limits.values()) if text is not None]
    return ResolvedDescent(
        config=schedule_config,
        descent=descent,
        reduction=reduction,
        middle=middle,
        meter=meter,
        measured=measured,
        own=within,
        missing=[*own.missing, *within.missing],
        errors=errors,
        independent=independent,
        family=family,
        edges=edges,
        schedule=schedule,
        balanced=balanced,
        balance=balance,
        doubts=doubts,
        changing=described(
            schedule_config,
            schedule,
            1.0 / relaxation,
            shift_between(own, descent, middle, edges),
        ),
    )


def _of_laws(descent: Descent) -> str:
    """What laws take their time for, in a line of progress."""
    hook = descent.noise.record.hook
    if hook is None or not descent.estimated:
        return "laws (S) and map"
    return f"law (S), Σ at each of its points from {hook.draws} draws (draws of own_noise; fewer are faster)"


def _own_error(error: OwnError, skewness: Uncertain | None) -> OwnError:
    """With the skewness of more draws where it is an estimate, which counts as none within four standard errors."""
    if skewness is None or skewness.error is None:
        return error
    skewed = abs(skewness.value) > SKEWED * skewness.error
    return error._replace(order=0.5 if skewed else 1.0, skewness=skewness.value)


def _isotropic_temperature(descent: Descent, meter: NoiseReport, point: Params, across: bool) -> float:
    """The temperature of an isotropic noise as strong across the orbits: SGD's has no component along them."""
    q = sum(leaf.size for leaf in jax.tree.leaves(point))
    along = descent.model.group_dim + descent.model.compact_dim
    return float(meter.temperature) * (q / (q - along) if across else 1.0)


def _window_at_minimum(value: float) -> Window:
    """A window for gradient descent without noise, which ends where the loss is least."""
    spread = NOISELESS_SPREAD * max(abs(value), NOISELESS_SPREAD)
    return rounded(value - spread), rounded(value + spread)


def _relaxation(config: RunConfig, descent: Descent, rates: np.ndarray) -> float:
    """The rate per step at which the slowest coordinate relaxes, at the learning rate that is judged."""
    slowest = max(float(rates.min()), 1e-3 * float(rates.max())) * descent.lr
    # One that oscillates comes down no faster than its velocity.
    return min(slowest, -0.5 * float(np.log(config.momentum))) if config.momentum else slowest


def _build_schedule(
    config: RunConfig, descent: Descent, decay: float, rates: np.ndarray, noisy: bool
) -> tuple[RunConfig, Schedule, bool]:
    """Steps, burn-in, thinning, and whether chains start on the slice."""
    lr, relaxation = descent.lr, _relaxation(config, descent, rates)
    changing = 0 if config.stretch else max((of.length or 0 for of in config.schedules.values()), default=0)
    needed = DECAY / (decay * lr) if decay > 0 else np.inf
    balanced = needed > LONGEST_DECAY and noisy  # without noise the decay of χ is all that a run shows
    settling = int(np.ceil(max(needed if needed <= LONGEST_DECAY else 0.0, RELAXATIONS["burn_in"] / relaxation)))
    burn_in = changing + settling
    thin = config.thin
    if thin == AUTO:
        thin = max(1, round(THIN_INTERVAL / (float(rates.max()) * lr)))
    if config.burn_in != AUTO:
        burn_in = int(config.burn_in)
    steps = config.steps
    if isinstance(steps, str):
        steps = burn_in + int(np.clip(RELAXATIONS["records"] / relaxation, *STEPS_RANGE))
    elif config.burn_in == AUTO:
        burn_in = 0 if config.stretch else changing + min(settling, (steps - changing) // 2)
    if steps > MOST_STEPS and isinstance(config.steps, str):
        raise ConfigError("lr", f"large enough for a run of {MOST_STEPS:g} steps (or give steps)", f"{lr:g}")
    thin = int(min(int(thin), max(1, (steps - burn_in) // 10)))
    records = (steps - burn_in) // thin
    if records < 2:
        raise ConfigError("steps", f"at least burn_in + 2 thin = {burn_in + 2 * thin}", steps)
    settled = config.replace(steps=steps, burn_in=burn_in, thin=thin)
    return settled, recorded(settled, Schedule(burn_in, thin, records, octaves(records))), balanced


def _fitted_family(config: RunConfig, at_temperature: Reduction, own: Mapping[str, Windowed] | None, stage):
    """The fitted family near the temperature of `at_temperature`, the windows, and doubts about the family."""
    temperature = at_temperature.temperature
    warm = Reduction(at_temperature.model, at_temperature.confinement, 1.0)
    if at_temperature.chart.dim == 1:
        name = at_temperature.name
        if own is not None and config.window == AUTO:
            low, high = rounded_window(*own[name].window(TAIL))
        else:
            low, high = scalar_window(config, at_temperature).window
        edges = np.linspace(low, high, config.bins + 1)
        return fitted.from_quadrature(warm, edges, temperature), {name: (low, high)}, []
    lowest = minimum(at_temperature)
    cuts: dict[str, Window] = cut_windows(config, at_temperature, lowest)
    for name in cuts:
        if own is not None and not is_given(config, name):
            cuts[name] = rounded_window(*own[name].window(TAIL))
    draws = sample_mala(
        at_temperature, formula(at_temperature, "slice"), cuts, lowest.x,
        key=key_of(config, "law"), with_orbit=False, stage=stage, count_of_draws=config.law_draws,
    )  # fmt: skip
    windows: dict[str, Window] = {}
    ones = [np.ones(draws.statistic.size)]
    for name in at_temperature.chart.scalar_names:
        if name not in cuts and is_given(config, name):
            windows[name] = given_window(config, at_temperature, name)
        else:
            windows[name] = cuts.get(name) or quantile_window(
                draws.scalars[name].ravel(), ones, at_temperature.model.home_of(name)
            )
    edges = {name: np.linspace(*window, config.bins + 1) for name, window in windows.items()}
    doubts = []
    if not draws.r_hat <= R_HAT_LIMIT:
        text = f"MALA has not mixed on the law slice: R-hat {draws.r_hat:.3f} > {R_HAT_LIMIT}; raise law_draws"
        doubts.append(Doubt("law", text, draws.r_hat, R_HAT_LIMIT))
    return fitted.from_draws(draws, temperature, edges), windows, doubts
