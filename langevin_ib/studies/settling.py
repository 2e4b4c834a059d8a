"""What the mechanisms of an attribution are, and what they have in common: the problem, and every rule applied."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import geometry
from langevin_ib.config.extensions import is_built_in
from langevin_ib.dynamics.descent import check_covariance
from langevin_ib.dynamics.noise import Noise, kind_of
from langevin_ib.errors import ConfigError
from langevin_ib.geometry import contract
from langevin_ib.models import Params, build_model
from langevin_ib.models.training import cast
from langevin_ib.studies.balance import DECAY, DESCENT, ISOTROPIZED, LABEL, SGD
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.problem import Problem, draw_tasks
from langevin_ib.studies.training import Arm

STEPS = {False: 20_000, True: 2_000}  # by whether orbits are compact: such a model may shrink to a point without any ρ
LR_SHARE = 0.05  # η Λ
CHECKED = 2  # starts at which a noise is held against its draws
CURVATURES = 8  # starts over which Λ is a median
LABELS = 4096  # fresh examples over which the root mean square of the labels is taken
DECAY_TIME = 0.25  # λt of the default weight decay, which takes |χ| to e^{−2λt} = 61%


def settle(config: AttributionConfig) -> tuple[Problem, AttributionConfig]:
    """The model with its tasks, and a configuration in which every rule has been applied; within an open session.

    Raises:
        ConfigError: the model has no `training`, a setting does not fit it, or a noise is not what it says.
        ModelError: a user's model breaks its contract.
    """
    model = build_model(config.model, config.options)
    training = model.training
    if training is None:
        raise ConfigError("model", "one that says what its examples are, a Model with training", config.model)
    if not training.example_loss.squared:
        wanted = "without a loss of its own: an attribution tells mechanisms apart for squared errors"
        raise ConfigError("options", wanted, training.example_loss.name)
    # A data set of one example has no minibatches to speak of.
    default = "minibatch" if training.size > 1 or training.fresh is None else "fresh"
    one_task = config.one_task or training.draw_task is None
    config = dataclasses.replace(
        config, noise=config.noise or default, one_task=one_task, steps=config.steps or STEPS[model.compact_orbits]
    )
    batch_noise(config).check(model)
    problem = Problem(model, config.seeds, config.seed, precision=config.precision)
    if ":" in config.model:
        contract.check_model(model, problem.key("check"))
    if not is_built_in("noise", str(config.noise)):
        _check_noise(problem, batch_noise(config))
    if not one_task:
        problem = dataclasses.replace(problem, tasks=draw_tasks(model, config.seeds, config.seed))
    return problem, _with_rules(config, problem)


def _check_noise(problem: Problem, noise: Noise) -> None:
    """Hold a noise against its draws at the first starts, whatever the precision of the runs."""
    with jax.enable_x64(True):
        starts = problem.starts()
        for seed in range(CHECKED):
            at = jax.tree.map(lambda leaf, seed=seed: jnp.asarray(leaf[seed], jnp.float64), starts)
            check_covariance(problem.model, noise, at, jax.random.fold_in(problem.key("noise"), seed))


def _with_rules(config: AttributionConfig, problem: Problem) -> AttributionConfig:
    """Label noise, learning rate and weight decay, where they are not given."""
    starts = problem.starts()
    if config.label_noise is None:
        label_noise = _round_setting(_label_rms(problem, jax.tree.map(lambda leaf: leaf[0], starts))) or 1.0
        config = dataclasses.replace(config, label_noise=label_noise)
    if config.lr is None:
        config = dataclasses.replace(config, lr=_round_setting(LR_SHARE / _median_curvature(problem, starts)))
    if config.weight_decay is None:
        config = dataclasses.replace(config, weight_decay=_round_setting(DECAY_TIME / config.time))
    return config


def arms(config: AttributionConfig) -> dict[str, Arm]:
    """How each mechanism but Langevin trains, under a settled configuration.

    Label noise comes on top of the data's, so that variances add.
    """
    batches, label = batch_noise(config), math.hypot(config.data_noise, config.label_noise or 0.0)
    # With a noise whose labels cannot be perturbed it comes on the whole data set.
    on_batches = "label_noise" in batches.record.settings.takes
    plain = Arm(Noise("none"), float(config.lr or 0.0), int(config.steps or 0), config.momentum)
    return {
        DESCENT: plain,
        SGD: dataclasses.replace(plain, noise=batches),
        LABEL: dataclasses.replace(
            plain,
            noise=dataclasses.replace(batches, label_noise=label) if on_batches else Noise("label", None, label),
        ),
        ISOTROPIZED: dataclasses.replace(plain, noise=dataclasses.replace(batches, isotropized=True)),
        DECAY: dataclasses.replace(plain, weight_decay=float(config.weight_decay or 0.0)),
    }


def langevin(config: AttributionConfig, temperature: float) -> Arm:
    """Langevin dynamics at a temperature, without momentum: its step h is η/(1 − μ)."""
    return Arm(Noise("none"), config.rate, int(config.steps or 0), temperature=temperature)


def batch_noise(config: AttributionConfig) -> Noise:
    """The noise of SGD, of a settled kind.

    Raises:
        ConfigError: the kind brings no random examples, or has no use for a setting.
    """
    kind = str(config.noise)
    settings = kind_of(kind).settings
    if not settings.random_examples:
        raise ConfigError("noise", "one whose examples are drawn at random", kind)
    if config.momentum and "momentum" not in settings.takes:
        raise ConfigError("momentum", f"left out with noise {kind}{settings.why_no_momentum}", config.momentum)
    return Noise(
        kind,
        config.batch_size if "batch_size" in settings.takes else None,
        config.data_noise if "label_noise" in settings.takes else 0.0,
        own=config.own,
    )


def _median_curvature(problem: Problem, starts: Params) -> float:
    """Median over some seeds of the largest curvature of their loss at the start."""
    curvatures = [
        float(
            geometry.largest_curvature(
                partial(problem.training.risk, problem.task_of(seed)),
                jax.tree.map(lambda leaf, seed=seed: leaf[seed], starts),
            )
        )
        for seed in range(min(CURVATURES, problem.seeds))
    ]
    return float(np.median(curvatures))


def _label_rms(problem: Problem, like: Params) -> float:
    """Root mean square of the labels of the model's own task."""
    training = problem.training
    task = cast(training.task, like)
    if not training.size and training.fresh is not None:
        normals = jnp.asarray(np.random.default_rng(0).normal(size=(LABELS, *training.fresh.shape)))
        return float(jnp.sqrt(jnp.mean(training.fresh.examples(task, normals).y ** 2)))
    return float(jnp.sqrt(jnp.mean(jnp.asarray(task["y"]) ** 2)))


def _round_setting(value: float) -> float:
    """Two significant digits, so that a saved configuration is short and reruns exactly."""
    return float(f"{value:.2g}")
