"""SGD at the minimum of its loss, before anything is sampled: its learning rate, its noise there, the balance of χ.

Rule: lr 0.01 (1 − μ)/Λ, Λ the largest curvature of the loss at its minimum, μ the momentum, over m² where the noise is
scaled by m > 1.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key

from langevin_ib import geometry
from langevin_ib.config.extensions import is_built_in
from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.covariance import gradient_noise, memory_factor
from langevin_ib.dynamics.cumulants import states_cumulants
from langevin_ib.dynamics.descent import check_covariance
from langevin_ib.dynamics.descent_mean import error_of_population
from langevin_ib.dynamics.meter import NoiseReport, measure
from langevin_ib.dynamics.noise import Noise, kind_of
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry import contract
from langevin_ib.geometry.charges import ChargeBalance, charge_balance
from langevin_ib.laws import Reduction
from langevin_ib.laws.base import on_host
from langevin_ib.laws.sgd import Descent
from langevin_ib.models import Model, Params
from langevin_ib.models.training import Training
from langevin_ib.runs.descent_chains import default_share
from langevin_ib.runs.ends import check_from
from langevin_ib.runs.hook_noise import measure_hook, stated_skewness
from langevin_ib.runs.plan import build_reduction, gradient_noise_of, say_slice
from langevin_ib.runs.separable import check_separable
from langevin_ib.runs.wells import lowest_point, minimum
from langevin_ib.runs.windows import (
    rounded,
)
from langevin_ib.session import key_of
from langevin_ib.stages import doing
from langevin_ib.statistics.records import NoiseMeasured

FLIPS = 0.1  # default rate of flipped labels
STRENGTH = 2.8  # of the default label noise, for one example of weight one
END, VANISHING = 1e-9, 1e-2  # |z| next to the end of a branch; |∇z| there over the largest that counts as none
ORDERS = 4  # of the moments that the error of (S) takes
OTHER_POPULATION = 0.2  # error of ∇L by a population's points above which the loss is not the mean over it


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
        tail, descent = self.measured.tail, self.descent
        return states_cumulants(descent.noise, descent.model.training) if tail is None else tail.highest >= ORDERS


def decay_of(balance: ChargeBalance | None, momentum: float) -> float:
    """The rate of a balance at χ = 0 per unit of t = nη; 0 if there is none."""
    return 0.0 if balance is None or np.any(balance.charge) else balance.rate / (1.0 - momentum)


def at_minimum(config: RunConfig) -> AtMinimum:
    """Resolve learning rate and noise, and the process at the minimum of loss and decay.

    Raises:
        ConfigError, ModelError, LawError: as `langevin_ib.run`.
    """
    config = settle_labels(config)
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
    check_collapse(config, reduction, middle)
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


def check_collapse(config: RunConfig, reduction: Reduction, middle: np.ndarray) -> None:
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


def settle_labels(config: RunConfig) -> RunConfig:
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
        config = config.replace(lr=rounded(default_share(config) / float(curvature[0])))
    return settle_label_noise(config, model)


def settle_label_noise(config: RunConfig, model: Model) -> RunConfig:
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
