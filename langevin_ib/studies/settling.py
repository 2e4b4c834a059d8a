"""The runs of an attribution: their common setting, kernels and trajectories, and the noise of SGD along its own."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib import geometry
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel, normal_like
from langevin_ib.dynamics.meter import NoiseReport, measure
from langevin_ib.dynamics.noise import HERMITE_INPUTS, Noise, gradient_noise, kind_of
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.runner import Stages, starting_points
from langevin_ib.ensemble.trajectories import record
from langevin_ib.errors import ConfigError, one_line
from langevin_ib.geometry import charges, contract
from langevin_ib.models import Model, Params, Task, Training, build_model, stack_tasks
from langevin_ib.models.training import cast
from langevin_ib.session import versions
from langevin_ib.studies.balance import Paths
from langevin_ib.studies.config import AttributionConfig

DESCENT, SGD, LABEL, ISOTROPIZED, DECAY, LANGEVIN = MECHANISMS = (
    "gradient descent",
    "SGD",
    "label noise",
    "isotropized noise",
    "weight decay",
    "Langevin",
)

STEPS = {False: 20_000, True: 2_000}  # by whether orbits are compact: such a model may shrink to a point without any ρ
LR_SHARE = 0.05  # η Λ
CURVATURES = 8  # starts over which Λ is a median
LABELS = 4096  # fresh examples over which the root mean square of the labels is taken
DECAY_TIME = 0.25  # λt of the default weight decay, which takes |χ| to e^{−2λt} = 61%
METER_TIMES, METER_BATCHES = 20, 32  # recorded times, and batches at each, at which tr Σ is measured
METER_EXAMPLES = 2048  # fresh ones that represent a population of too many inputs for quadrature
METER_WORK = 4e6  # numbers in the Jacobian of all examples above which only one seed is metered
# One stream of random numbers for each use.
STREAM = {"starts": 1, "chains": 2, "meter": 3, "check": 4}


class Setting(NamedTuple):
    """What all mechanisms have in common: settled configuration, model, each seed's task (or None) and its start."""

    config: AttributionConfig
    model: Model
    training: Training
    tasks: Task | None
    starts: Params

    @property
    def like(self) -> Params:
        """One start, for shapes and precision."""
        return jax.tree.map(lambda leaf: leaf[0], self.starts)

    @property
    def size(self) -> int:
        """q."""
        return ravel_pytree(self.like)[0].size

    def key(self, use: str) -> Key[Array, ""]:
        """The key of one use of randomness: the same for all mechanisms, which so see the same batches."""
        return jax.random.fold_in(jax.random.key(self.config.seed), STREAM[use])

    def task_of(self, seed: int) -> Task:
        """What a seed learns."""
        return self.training.task if self.tasks is None else jax.tree.map(lambda leaf: leaf[seed], dict(self.tasks))

    @property
    def tasks_of_chains(self) -> Task | None:
        """Each seed's task in the precision of the runs; None for one."""
        return None if self.tasks is None else cast(self.tasks, self.like)

    @property
    def task_like(self) -> Task | None:
        """One of them, for shapes."""
        return None if self.tasks is None else self.task_of(0)

    def start_of(self, seed: int) -> Params:
        """Where it starts."""
        return jax.tree.map(lambda leaf: leaf[seed], self.starts)


def settle(config: AttributionConfig) -> Setting:
    """The model, its tasks and starts, and a configuration in which every rule has been applied.

    Raises:
        ConfigError: the model has no `training`, or a setting does not fit it.
        ModelError: a user's model breaks its contract.
    """
    model = build_model(config.model, config.options)
    training = model.training
    if training is None:
        raise ConfigError("model", "one that says what its examples are, a Model with training", config.model)
    # A data set of one example has no minibatches to speak of.
    batches = "minibatch" if training.size > 1 or training.fresh is None else "fresh"
    config = dataclasses.replace(config, noise=config.noise or batches)
    _batch_noise(config).check(model)
    setting = Setting(config, model, training, None, {})
    if ":" in config.model:
        contract.check_model(model, setting.key("check"))
    one_task = config.one_task or training.draw_task is None
    setting = setting._replace(
        tasks=None if one_task else _draw_tasks(training, config),
        starts=starting_points(model.init, setting.key("starts"), config.seeds, f"float{config.precision}"),
    )
    changes: dict[str, Any] = {"one_task": one_task, "steps": config.steps or STEPS[model.compact_orbits]}
    if config.label_noise is None:
        changes["label_noise"] = _round_setting(_label_rms(setting)) or 1.0
    if config.lr is None:
        changes["lr"] = _round_setting(LR_SHARE / _median_curvature(setting))
    config = dataclasses.replace(config, **changes)
    if config.weight_decay is None:
        config = dataclasses.replace(config, weight_decay=_round_setting(DECAY_TIME / config.time))
    return setting._replace(config=config)


def protocols(config: AttributionConfig) -> dict[str, tuple[Noise, float]]:
    """(Noise, λ) of each mechanism but Langevin; label noise comes on top of the data's, so that variances add."""
    batches, label = _batch_noise(config), math.hypot(config.data_noise, config.label_noise or 0.0)
    return {
        DESCENT: (Noise("none"), 0.0),
        SGD: (batches, 0.0),
        # With a noise whose labels cannot be perturbed it comes on the whole data set.
        LABEL: (
            dataclasses.replace(batches, label_noise=label)
            if "label_noise" in batches.record.settings.takes
            else Noise("label", None, label),
            0.0,
        ),
        ISOTROPIZED: (dataclasses.replace(batches, isotropized=True), 0.0),
        DECAY: (Noise("none"), float(config.weight_decay or 0.0)),
    }


def _batch_noise(config: AttributionConfig) -> Noise:
    kind = str(config.noise)
    takes = kind_of(kind).settings.takes
    return Noise(
        kind,
        config.batch_size if "batch_size" in takes else None,
        config.data_noise if "label_noise" in takes else 0.0,
    )


def descent(setting: Setting, mechanism: str) -> Kernel:
    """The kernel of a mechanism other than Langevin."""
    config = setting.config
    noise, weight_decay = protocols(config)[mechanism]
    return sgd(
        setting.model,
        setting.like,
        noise=noise,
        lr=float(config.lr or 0.0),
        momentum=config.momentum,
        weight_decay=weight_decay,
        task_like=setting.task_like,
    )


def langevin(setting: Setting, temperature: float) -> Kernel:
    """θ' = θ − h∇L_i(θ) + √(2hT) ξ, with L_i the loss of seed i and h = η/(1 − μ): Euler and Maruyama's step.

    `euler_maruyama` takes one potential for all chains; here each has its task, which `sgd` knows how to learn.
    """
    rate = setting.config.rate
    plain = sgd(setting.model, setting.like, noise=Noise("none"), lr=rate, task_like=setting.task_like)
    normals = normal_like(setting.like)
    amplitude = math.sqrt(2.0 * rate * temperature)

    def draw(key, chains: int):
        plain_key, normal_key = jax.random.split(key)
        return plain.draw(plain_key, chains), normals(normal_key, chains)

    def step(noise, state, task):
        moved, info = plain.step(noise[0], state, task)
        kicked = jax.tree.map(lambda x, n: x + amplitude * n, moved.position, noise[1])
        return moved._replace(position=kicked), info

    return Kernel(draw=draw, init=plain.init, step=step)


def simulate(
    setting: Setting, kernel: Kernel, name: str, report: Stages, checkpoints: Path | None = None
) -> Float[np.ndarray, "seed time q"]:
    """Parameters of every seed at the start and at the recorded times.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    config = setting.config

    def checkpoint_of(block: int) -> Checkpoint | None:
        if checkpoints is None:
            return None
        fingerprint = f"attribution {config.digest()} {name} {block} {versions()}"
        return Checkpoint(checkpoints / f"{name.replace(' ', '-')}-{block}.npz", fingerprint)

    return record(
        kernel,
        setting.starts,
        key=setting.key("chains"),
        steps=int(config.steps or 0),
        stage=name,
        step_size=config.rate,
        tasks=setting.tasks_of_chains,
        progress=report(name),
        checkpoint_of=checkpoint_of,
    )


def follow(setting: Setting, parameters: Float[np.ndarray, "seed time q"]) -> Paths:
    """χ, s, ρ and each seed's own loss along its trajectory.

    Raises:
        ConfigError: one of these is not finite.
    """
    model, training = setting.model, setting.training
    # In float32 the ratio of a pair that is off balance by a factor of 4000 is infinite.
    like = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), setting.like)
    unravel = ravel_pytree(like)[1]

    def observe(task: Task, flat: Float[Array, " q"]) -> Paths:
        params = unravel(flat)
        return Paths(
            charge=model.moment_map(params),
            size=charges.pair_size(model, params),
            log_ratio=charges.log_ratio(model, params),
            loss=training.risk(task, params),
        )

    over_seeds = jax.vmap(observe, in_axes=(None if setting.tasks is None else 0, 0))
    task = cast(training.task if setting.tasks is None else setting.tasks, like)
    # Row by row: the fields of all generators at all points at once would not fit into memory.
    rows = jnp.swapaxes(jnp.asarray(parameters, jnp.float64), 0, 1)
    by_time = jax.jit(lambda known_task, xs: jax.lax.map(partial(over_seeds, known_task), xs))(task, rows)
    paths = Paths(*(np.swapaxes(np.asarray(part), 0, 1) for part in by_time))
    if not all(np.isfinite(part).all() for part in paths):
        raise ConfigError(
            "steps", "few enough that no pair shrinks to nothing, where it has no ratio", setting.config.steps
        )
    return paths


class _Watched(NamedTuple):
    gradient: Float[Array, " q"]


def isotropic_temperature(setting: Setting, parameters: Float[np.ndarray, "seed time q"]) -> Float[np.ndarray, " seed"]:
    """T = η tr Σ/2q of each seed, averaged over recorded times after the start; with momentum, of the rate η/(1 − μ).

    tr Σ is the variance of 32 gradients of the run's own kernel at each of 20 times: no (q, q) matrix, and no Jacobian
    of a network's every output, is formed.

    Args:
        setting: gives noise and rate.
        parameters: of the SGD run.
    """
    config = setting.config
    unravel = ravel_pytree(setting.like)[1]
    noise, _ = protocols(config)[SGD]
    kernel = sgd(
        setting.model, setting.like, noise=noise, lr=config.rate, task_like=setting.task_like,
        watch=lambda params, gradient: _Watched(ravel_pytree(gradient)[0]),
    )  # fmt: skip
    tasks = setting.tasks_of_chains

    def trace(key: Key[Array, ""], flat: Float[Array, "seed q"]) -> Float[Array, " seed"]:
        states = jax.vmap(kernel.init)(jax.vmap(unravel)(flat), tasks)

        def gradients_of(batch_key: Key[Array, ""]) -> Float[Array, "seed q"]:
            return jax.vmap(kernel.step)(kernel.draw(batch_key, config.seeds), states, tasks)[1].gradient

        gradients = jax.lax.map(gradients_of, jax.random.split(key, METER_BATCHES))
        return jnp.sum(jnp.var(gradients, axis=0, ddof=1), axis=-1)

    last = parameters.shape[1] - 1
    rows = np.unique(np.linspace(1, last, min(METER_TIMES, last)).round().astype(int))
    keys = jax.random.split(setting.key("meter"), rows.size)
    points = jnp.swapaxes(jnp.asarray(parameters[:, rows]), 0, 1)
    traces = jax.jit(lambda xs: jax.lax.map(lambda x: trace(*x), xs))((keys, points))
    return np.asarray(config.rate * traces.mean(axis=0) / (2.0 * setting.size))


def noise_meter(setting: Setting, ends: Float[np.ndarray, "seed q"]) -> NoiseReport:
    """`measure` of SGD's noise at the end of its run, for all seeds, or for the first alone where Σ costs too much.

    A population of more inputs than quadrature can do is represented by 2048 fixed fresh examples.

    Args:
        setting: gives the noise and each seed's task.
        ends: parameters.
    """
    config, model, training = setting.config, setting.model, setting.training
    unravel = ravel_pytree(setting.like)[1]
    noise, _ = protocols(config)[SGD]
    shape = training.population.shape if noise.record.population else ()
    sampled = math.prod(shape) > HERMITE_INPUTS
    normals = np.random.default_rng(0).normal(size=(METER_EXAMPLES, *shape)) if sampled else None

    def examples(task: Task) -> tuple[Noise, Task]:
        if normals is None:
            return noise, task
        fresh = training.population.examples(task, jnp.asarray(normals))
        data = {"x": fresh.x, "y": fresh.y, "weight": training.population.weight}
        return dataclasses.replace(noise, kind="minibatch"), {**task, **data}

    def measure_seed(flat: Float[Array, " q"], task: Task) -> NoiseReport:
        params = unravel(flat)
        kind, data = examples(task)
        return measure(model, gradient_noise(training, kind, params, data).covariance, params, config.rate)

    work = setting.size * (METER_EXAMPLES if sampled else 1) * _count_outputs(training, setting.like, sampled)
    seeds = 1 if work > METER_WORK else config.seeds
    meter = jax.jit(measure_seed)
    reports = [meter(jnp.asarray(ends[i]), cast(setting.task_of(i), setting.like)) for i in range(seeds)]
    return NoiseReport(*(np.stack(part) for part in zip(*reports, strict=True)))


def _draw_tasks(training: Training, config: AttributionConfig) -> Task:
    assert training.draw_task is not None  # for the type checker
    try:
        return stack_tasks([training.draw_task(np.random.default_rng([config.seed, i])) for i in range(config.seeds)])
    except ValueError as error:
        raise ConfigError("set", "such that every seed's task can be drawn", one_line(error)) from None


def _median_curvature(setting: Setting) -> float:
    """Median over some seeds of the largest curvature of their loss at the start."""
    curvatures = [
        float(geometry.largest_curvature(partial(setting.training.risk, setting.task_of(seed)), setting.start_of(seed)))
        for seed in range(min(CURVATURES, setting.config.seeds))
    ]
    return float(np.median(curvatures))


def _count_outputs(training: Training, like: Params, per_example: bool) -> int:
    """Numbers that the model predicts: for one example, or for all of its data set."""
    if not training.size:
        return 1
    x = cast(training.task, like)["x"]
    return jax.eval_shape(training.predict, like, x[:1] if per_example else x).size


def _label_rms(setting: Setting) -> float:
    """Root mean square of the labels of the model's own task."""
    training = setting.training
    task = cast(training.task, setting.like)
    if not training.size and training.fresh is not None:
        normals = jnp.asarray(np.random.default_rng(0).normal(size=(LABELS, *training.fresh.shape)))
        return float(jnp.sqrt(jnp.mean(training.fresh.examples(task, normals).y ** 2)))
    return float(jnp.sqrt(jnp.mean(jnp.asarray(task["y"]) ** 2)))


def _round_setting(value: float) -> float:
    """Two significant digits, so that a saved configuration is short and reruns exactly."""
    return float(f"{value:.2g}")
