"""One run of SGD from configuration to verdict: its own laws, against the fitted family of isotropic noise.

Rules (before any draw of the chains): lr 0.01 (1 − μ)/Λ, Λ the largest curvature of the loss at its minimum, μ the
momentum, over m² where the noise is scaled by m > 1; windows leave out 0.1% of law (S) at either end, or where there is
none are those of the law `slice` at the temperature of a noise as strong as SGD's across the orbits; burn-in until χ
has fallen by e^−10 at the predicted rate and the slowest coordinate has relaxed ten times; then 400 relaxation times.
Where χ would need more than 200 000 steps, chains start on the slice instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key

from langevin_ib import geometry
from langevin_ib.config.extensions import is_built_in
from langevin_ib.config.processes import SgdSettings
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.descent import check_covariance
from langevin_ib.dynamics.descent_mean import error_of_population
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.meter import NoiseReport, measure
from langevin_ib.dynamics.noise import Noise, gradient_noise, kind_of, memory_factor
from langevin_ib.ensemble.records import Limit, Schedule, Stage, octaves
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry import contract
from langevin_ib.geometry.charges import ChargeBalance, charge_balance
from langevin_ib.laws import Law, Reduction, fitted, formula
from langevin_ib.laws.base import on_host
from langevin_ib.laws.sgd import Descent, OwnError
from langevin_ib.models import Model, Params
from langevin_ib.models.training import Training
from langevin_ib.runs import measured_descent
from langevin_ib.runs.descent_chains import descent_kernel, descent_starts
from langevin_ib.runs.descent_laws import (
    OwnLaws,
    Windowed,
    WithinWindows,
    build_laws,
    candidates,
    independent_variances,
    laws_within,
    say_collapse,
    shift_between,
)
from langevin_ib.runs.ends import check_from
from langevin_ib.runs.hook_noise import heavy, measure_hook, stated_skewness
from langevin_ib.runs.identities import descent_claims
from langevin_ib.runs.measure import details as measured_details
from langevin_ib.runs.measured import MeasuredDetails
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.plan import Plan, build_reduction, gradient_noise_of, say_slice
from langevin_ib.runs.process import Draws, Prepared, Process
from langevin_ib.runs.quotient import sample_mala
from langevin_ib.runs.result import ChargeSummary, ScheduleInfo, SgdDetails
from langevin_ib.runs.sampling import RUNAWAY_STARTS, check_sample
from langevin_ib.runs.scheduled import (
    cyclic_doubts,
    described,
    hottest,
    recorded,
    say_judged,
    schedule_doubts,
)
from langevin_ib.runs.separable import check_separable
from langevin_ib.runs.steps import POINTS, check_kick, check_spacing
from langevin_ib.runs.windows import (
    Window,
    cut_windows,
    given_window,
    is_given,
    lowest_point,
    minimum,
    quantile_window,
    rounded,
    rounded_window,
    scalar_window,
)
from langevin_ib.session import Session, key_of
from langevin_ib.stages import doing
from langevin_ib.statistics.convergence import R_HAT_LIMIT
from langevin_ib.statistics.records import Absent, Doubt, Meter, NoiseMeasured, Uncertain

LR_SHARE = 0.01  # η Λ/(1 − μ)
FLIPS = 0.1  # default rate of flipped labels
STRENGTH = 2.8  # of the default label noise, for one example of weight one
TAIL = 1e-3
DECAY = 10.0
LONGEST_DECAY = 200_000
RELAXATIONS = {"burn_in": 10, "records": 400}
STEPS_RANGE = (20_000, 400_000)
MOST_STEPS = 10**7
THIN_INTERVAL = 0.25
OFF_SLICE = 0.05  # rms χ over |a|² + |b|² halved above which (S) is not yet the law to compare with
NOISELESS_SPREAD = 0.01
NOISELESS = 1e-5  # width of a law about the minimum, as a share of the parameters, below which there is no noise
END, VANISHING = 1e-9, 1e-2  # |z| next to the end of a branch; |∇z| there over the largest that counts as none
ORDERS = 4  # of the moments that the error of (S) takes
SKEWED = 4.0  # standard errors of an estimated skewness within which it counts as none
ACROSS = 1e-9  # share of tr Σ along the orbits below which the draws of a function lie across them
NO_COEFFICIENT = "SGD's noise is not isotropic; the c of the fitted family comes with its T"
OTHER_POPULATION = 0.2  # error of ∇L by a population's points above which the loss is not the mean over it
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


class AtMinimum(NamedTuple):
    """The process at the minimum of the loss, before anything is sampled; see `ResolvedDescent` for the fields.

    `rates` are those at which the coordinates relax, per unit of nη/(1 − μ), and `point` is the balanced point there.
    """

    config: RunConfig
    reduction: Reduction
    middle: np.ndarray
    descent: Descent
    point: Params
    meter: NoiseReport
    measured: NoiseMeasured
    balance: ChargeBalance | None
    rates: np.ndarray

    @property
    def cumulants(self) -> bool:
        """Whether the second to fourth cumulants of the noise are known, or estimated and finite as draws have it."""
        tail = self.measured.tail
        return self.descent.noise.record.cumulants is not None if tail is None else tail.highest >= ORDERS


def decay_of(balance: ChargeBalance | None, momentum: float) -> float:
    """The rate of a balance at χ = 0 per unit of t = nη; 0 if there is none."""
    return 0.0 if balance is None or np.any(balance.charge) else balance.rate / (1.0 - momentum)


def prepare(config: RunConfig, session: Session) -> Prepared:
    """Resolve every `auto` and determine which laws exist, before any draw of the chains.

    Raises:
        ConfigError, ModelError, LawError: as `langevin_ib.run`.
    """
    session.report("planning")
    config = _settle_labels(config)
    reduction = build_reduction(config, temperature=1.0)
    if reduction.measured:
        config = _settle_label_noise(config, reduction.model)
        return measured_descent.prepare(config, reduction, gradient_noise_of(config), session)
    resolved = resolve_descent(config, lambda name: session.stage(config, name))
    family = resolved.family
    say_judged(resolved.changing)
    return Prepared(
        plan=resolved.plan,
        candidates=(
            *candidates(resolved.own, resolved.edges, resolved.errors, resolved.config.margin),
            *(() if family is None else family.candidates),
        ),
        missing=tuple(resolved.missing),
        doubts=(*schedule_doubts(resolved.changing, config.margin), *resolved.doubts),
        coefficient=lambda statistic: Absent("c", NO_COEFFICIENT),
        share=lambda scalar: None,
        stationary=bool(resolved.laws or resolved.own.maps),
        # Where the noise ends at the minimum every chain ends in a point, and there is nothing to judge.
        at_rest=family is None,
        remedy=tuple(resolved.missing),
        own=resolved,
        schedule=resolved.changing,
    )


def details(prepared: Prepared, draws: Draws) -> SgdDetails | MeasuredDetails:
    """The noise at the minimum, the decay of χ, the error of (S) itself; of a run that measures only what it saw."""
    if prepared.plan.reduction.measured:
        return measured_details(prepared, draws)
    resolved: ResolvedDescent = prepared.own
    config, noisy = resolved.config, resolved.family is not None
    charge = _measure_charge(resolved, draws)
    return SgdDetails(
        noise=str(config.noise),
        words=resolved.descent.noise.words,
        across=_lies_across(resolved.descent.noise, resolved.meter),
        start=_start(resolved),
        decay=resolved.decay,
        balance=None if resolved.balance is None else tuple(map(float, resolved.balance.charge)),
        meter=Meter(**{name: float(value) for name, value in resolved.meter._asdict().items()}),
        measured=resolved.measured,
        noisy=noisy,
        law_error=dict(resolved.errors),
        charge=charge,
        doubts=tuple(_charge_doubts(resolved, charge)),
        independent=dict(resolved.independent),
        map=dict(resolved.own.about),
    )


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
        across = _lies_across(descent.noise, meter)
        at_temperature = build_reduction(
            config, temperature=rounded(_isotropic_temperature(descent, meter, point, across))
        )
        doing("fitted laws and windows")
        family, windows, doubts = _fitted_family(config, at_temperature, own.windowed, stage)
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


def at_minimum(config: RunConfig) -> AtMinimum:
    """Resolve learning rate and noise, and the process at the minimum of loss and decay.

    Raises:
        ConfigError, ModelError, LawError: as `langevin_ib.run`.
    """
    config = _settle_labels(config)
    _check_population(config)
    reduction = build_reduction(config, temperature=1.0)
    check_separable(config, reduction)
    check_from(config, reduction.model)
    doing("contract of the model")
    contract.check_model(reduction.model, key_of(config, "check"))
    say_slice(config, reduction)
    if reduction.model.group_dim == 0:
        raise ConfigError("sampler", "langevin for a model without a symmetry, which has no χ to decay", config.sampler)
    doing("minimum of the loss")
    lowest = minimum(reduction)
    # One coordinate: on the home branch, where L-BFGS may not have looked.
    middle = np.array([lowest_point(reduction)]) if reduction.chart.dim == 1 else lowest.x
    _check_collapse(config, reduction, middle)
    config = _settle_noise(config, reduction, middle)
    momentum = float(config.momentum or 0)
    descent = Descent(
        reduction.model, reduction.confinement, gradient_noise_of(config), float(config.lr or 0) / (1.0 - momentum)
    )
    point = reduction.chart.section(jnp.asarray(middle))
    hook = descent.noise.record.hook
    doing("noise at the minimum" if hook is None else f"draws of {descent.noise.words} at the minimum and at a start")
    return AtMinimum(
        config,
        reduction,
        middle,
        descent,
        point,
        *_measure_noise(descent, point, reduction, momentum, key_of(config, "check")),
    )


def _check_population(config: RunConfig) -> None:
    """Refuse fresh examples whose mean loss is another than the model's own, as of a loss over a data set.

    Raises:
        ConfigError: the model has no population, or its loss is not the mean over it.
    """
    model = config.build_model()
    kind = kind_of(str(config.noise))
    if model.training is None or not kind.population:
        return
    fresh = Noise(str(config.noise), batch_size=1)
    training = fresh.check(model)
    with jax.enable_x64(True):
        point = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(key_of(config, "check")))
        error = error_of_population(training, fresh, point)
    if not error <= OTHER_POPULATION:
        of = f"the mean over {training.size} examples" if training.size else "another"
        wanted = (
            f"another for {model.name} here: its loss is {of}, and that of fresh ones has a gradient {error:.0%} off "
            "(an option such as population, where a model has one, makes it theirs)"
        )
        raise ConfigError("noise", wanted, config.noise)


def _check_collapse(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> None:
    """Refuse a loss that is least at the end of a branch where the factors of a coordinate vanish, as those of uv at 0.

    Raises:
        ConfigError, LawError: which coordinate, and what follows.
    """
    chart, model = reduction.chart, reduction.model
    if model.scalars is not None:
        return
    reach = np.concatenate([[END], np.geomspace(1e-6, 1e3, 181)])
    unflipped_loss = config.build_model().loss if config.flip_rate else model.loss
    for i, name in enumerate(chart.scalar_names):
        branch = model.home_of(name)
        if 0.0 not in branch:
            continue
        sign = -1.0 if branch[1] <= 0 else 1.0

        def at(z, i=i):
            x = jnp.asarray(middle, jnp.float64).at[i].set(z)
            flat, unravel = ravel_pytree(chart.section(x))
            steepness = jnp.linalg.norm(jax.grad(lambda p: chart.of(unravel(p))[i])(flat))
            decay = reduction.confinement.energy(model, unravel(flat))
            return model.loss(unravel(flat)), decay, steepness, unflipped_loss(unravel(flat))

        loss, decay, steepness, unflipped = on_host(at)(sign * reach)
        vanishing = steepness[0] < VANISHING * steepness[1:].max()
        if not (vanishing and np.nanargmin(loss + decay) == 0):
            continue
        if config.flip_rate and np.nanargmin(unflipped + decay) != 0:
            raise ConfigError(
                "flip_rate",
                f"lower here: in the mean over flipped labels the loss of {model.name} is least at {name} = 0, the end "
                "of the branch, where chains collapse and no law exists; with labels as they are it is not",
                f"{config.flip_rate:g}",
            )
        if config.weight_decay and np.nanargmin(loss) != 0:
            raise ConfigError(
                "weight_decay",
                f"below the pull of the loss at {name} = 0: here loss and decay together are least there, at the end "
                "of the branch, where chains collapse and no law exists",
                f"{config.weight_decay:g}",
            )
        raise LawError(
            f"law sgd: the loss of {model.name} is least at {name} = 0, the end of the branch, where its factors "
            "vanish: chains collapse there, and there is no law on the branch; give the model another target"
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


def _lies_across(noise: Noise, meter: NoiseReport) -> bool:
    """Whether it lies across the orbits; of a function, by its draws."""
    return noise.across if noise.record.hook is None else meter.orbit_share < ACROSS


def _isotropic_temperature(descent: Descent, meter: NoiseReport, point: Params, across: bool) -> float:
    """The temperature of an isotropic noise as strong across the orbits: SGD's has no component along them."""
    q = sum(leaf.size for leaf in jax.tree.leaves(point))
    along = descent.model.group_dim + descent.model.compact_dim
    return float(meter.temperature) * (q / (q - along) if across else 1.0)


def _window_at_minimum(value: float) -> Window:
    """A window for gradient descent without noise, which ends where the loss is least."""
    spread = NOISELESS_SPREAD * max(abs(value), NOISELESS_SPREAD)
    return rounded(value - spread), rounded(value + spread)


def _settle_labels(config: RunConfig) -> RunConfig:
    """Noise on the labels of a loss that is no square, which is a part of what steps descend: s, or a rate of flips."""
    training = config.build_model().training
    if training is None or training.example_loss.squared or config.label_noise != AUTO:
        return config
    if training.example_loss.labels == "real":
        return config.replace(label_noise=_label_noise(training))
    return config.replace(label_noise=0.0, flip_rate=FLIPS if config.flip_rate is None else config.flip_rate)


def _label_noise(training: Training) -> float:
    return rounded(STRENGTH * (max(training.size, 1) / float(training.task["weight"])) ** 0.5)


def _settle_noise(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> RunConfig:
    """Learning rate and label noise."""
    model = reduction.model
    if config.lr == AUTO:
        potential = reduction.confinement.potential(model)
        curvature = on_host(lambda x: geometry.largest_curvature(potential, reduction.chart.section(x)))(middle[None])
        # With momentum the same η/(1 − μ), which is what (S) and the relaxation depend on; with stronger noise the
        # same ηm², which alone (S) depends on.
        share = LR_SHARE * (1.0 - float(config.momentum or 0)) / max(1.0, float(config.noise_scale or 1.0)) ** 2
        config = config.replace(lr=rounded(share / float(curvature[0])))
    return _settle_label_noise(config, model)


def _settle_label_noise(config: RunConfig, model: Model) -> RunConfig:
    """The default label noise, by the number of examples."""
    if config.label_noise == AUTO:
        training = model.training
        if training is None:
            wanted = f"none for {model.name}, which says nothing of its examples (its field training)"
            raise ConfigError("noise", wanted, config.noise)
        config = config.replace(label_noise=_label_noise(training))
    return config


def _measure_noise(
    descent: Descent, point: Params, reduction: Reduction, momentum: float, key: Key[Array, ""]
) -> tuple[NoiseReport, NoiseMeasured, ChargeBalance | None, np.ndarray]:
    """The noise at the minimum, what else is known of it, the balance of χ, and the rates of the coordinates.

    All rates per unit of nη/(1 − μ), in which momentum leaves the leading order as it is.
    """
    model = descent.model
    training = descent.noise.check(model) if model.training is not None else None
    with jax.enable_x64(True):
        point = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), point)
        chart, potential = reduction.chart, reduction.confinement.potential(model)
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(key))
        hooked = None
        if descent.noise.record.hook is not None:
            hooked = measure_hook(model, descent.noise, point, start, chart, descent.lr, key)
        elif not is_built_in("noise", descent.noise.kind):
            # At a start too: there is nothing to see where the noise ends at the minimum.
            for at in (point, start):
                check_covariance(model, descent.noise, at, key)
        rates = np.asarray(geometry.reduced_curvatures(chart, chart.of(point), potential))
        q = sum(leaf.size for leaf in jax.tree.leaves(point))

        def covariance(params):
            if training is None:
                return jnp.zeros((q, q))
            return gradient_noise(training, descent.noise, params).covariance

        if hooked is not None:
            meter, measured = hooked
            if measured.tail is not None and not measured.tail.variance:
                return meter, measured, None, rates
        elif training is None:
            meter, measured = NoiseReport(*(0.0 for _ in NoiseReport._fields)), NoiseMeasured(None, None, {}, None)
        else:
            meter = jax.tree.map(float, measure(model, covariance(point), point, descent.lr))
            measured = NoiseMeasured(None, None, stated_skewness(training, descent.noise, point, chart), None)
        fixed = covariance(point)
        memory = memory_factor(descent.noise, 0 if training is None else training.size, momentum)
        balance = charge_balance(
            model,
            potential,
            (lambda _: fixed) if descent.noise.record.constant else lambda params: memory * covariance(params),
            point,
            descent.lr,
        )
        return meter, measured, balance, rates


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
        text = f"MALA has not mixed on the law slice: R-hat {draws.r_hat:.3f} > {R_HAT_LIMIT}"
        doubts.append(Doubt("law", text, draws.r_hat, R_HAT_LIMIT))
    return fitted.from_draws(draws, temperature, edges), windows, doubts


def _start(resolved: ResolvedDescent) -> str:
    """Where the chains begin."""
    if resolved.config.from_run is not None:
        return "earlier"
    return "slice" if resolved.balanced else "own"


def draw(prepared: Prepared, session: Session) -> Draws:
    """Run the chains; also χ at their starts."""
    if prepared.plan.reduction.measured:
        return measured_descent.draw(prepared, gradient_noise_of(prepared.plan.config), session)
    resolved: ResolvedDescent = prepared.own
    stage = session.stage(resolved.config, "sampling")
    began = time.perf_counter()
    config, reduction, plan = resolved.config, resolved.reduction, resolved.plan
    model, chart = reduction.model, reduction.chart
    dtype = jnp.float64 if config.precision == 64 else jnp.float32

    def init(key):
        params = model.init(key)
        if not resolved.balanced:
            return params
        return chart.section(chart.of(chart.start_within({}, key)))

    starts, key = descent_starts(config, model, init, dtype)
    potential = reduction.confinement.potential(model)
    highest = float(jax.jit(lambda xs: jnp.max(jax.lax.map(potential, xs, batch_size=1024)))(starts))
    steepest = hottest(config) or config
    noisy = float(resolved.meter.trace) * float(steepest.lr or 0)
    highest_allowed = RUNAWAY_STARTS * (highest + noisy + 1e-12)
    remedy = "; ".join(["use a smaller lr, or less noise", *resolved.missing])
    # The noise again from the settings: the chains' own is `resolved.descent`'s.
    at_minimum_point = chart.section(jnp.asarray(resolved.middle))
    claims = descent_claims(plan, gradient_noise_of(config), at_minimum_point)
    observer = build_observer(reduction, plan.edges, None, claims)
    like, lr = jax.tree.map(lambda leaf: leaf[0], starts), float(config.lr or 0)
    if resolved.descent.noise.record.constant:
        kernel = euler_maruyama(potential, like, temperature=resolved.meter.temperature, step_size=lr)
    else:
        kernel = descent_kernel(config, model, resolved.descent.noise, like)
    result = run_ensemble(
        kernel,
        starts,
        observer,
        key=key,
        schedule=resolved.schedule,
        limit=Limit(lr, lambda params: potential(params) > highest_allowed, remedy),
        stage=stage,
    )
    sample = sample_of(result, observer, plan.scalars, claims, resolved.schedule)
    charge = np.asarray(jax.vmap(model.moment_map)(starts))
    wall = time.perf_counter() - began
    check_sample(plan, sample, prepared.remedy)
    return Draws(sample, lr, wall, starts=charge)


def _measure_charge(resolved: ResolvedDescent, draws: Draws) -> ChargeSummary:
    """Root mean square of χ at the starts and over the draws, in units of half the squared length of the pair.

    And the median over chains of |χ(end) − χ(start)|/|χ(start)|, where chains do not start on the slice.
    """
    reduction, starts = resolved.reduction, draws.starts
    assert starts is not None  # `draw` looks at them
    point = reduction.chart.section(jnp.asarray(resolved.middle))
    size = 0.5 * float(jnp.mean(jnp.diagonal(geometry.orbit_gram(reduction.model, point))))
    last = jax.tree.map(jnp.asarray, draws.main.ends)
    fixed = _start(resolved) == "slice"
    displacement = np.abs(np.asarray(jax.vmap(reduction.model.moment_map)(last)) - starts)
    return ChargeSummary(
        start=float(np.sqrt(np.mean(starts**2))) / size,
        draws=float(np.sqrt(np.mean(draws.main.whole.charge.mean_square))) / size,
        change=None if fixed else float(np.median(displacement / np.maximum(np.abs(starts), 1e-300))),
    )


def _charge_doubts(resolved: ResolvedDescent, charge: ChargeSummary) -> list[Doubt]:
    noise = resolved.descent.noise
    if not (noise.across or noise.record.noiseless or resolved.reduction.proper):
        text = f"{noise.words} on an unconfined model: χ diffuses without end, nothing is stationary"
        return [Doubt("charge", text)]
    if (resolved.laws or resolved.own.maps) and charge.draws > OFF_SLICE:
        text = (
            f"χ has not decayed: over the draws it is {charge.draws:.2g} of the pairs' size (at the start "
            f"{charge.start:.2g}), and SGD's own laws are those at χ = 0: run more steps"
        )
        return [Doubt("charge", text, charge.draws, OFF_SLICE)]
    return []


PROCESS = Process(SgdSettings, prepare, draw, details)
