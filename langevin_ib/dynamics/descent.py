"""Stochastic gradient descent: θ' = θ − η ĝ(θ), ĝ from a batch of examples, through an optax optimiser."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.kernel import Kernel, refuse_task
from langevin_ib.dynamics.noise import Noise, standard_normals
from langevin_ib.dynamics.noise_records import Lesson, Source
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model, Params
from langevin_ib.models.losses import noisy_labels
from langevin_ib.models.training import Examples, Task, cast

CHECKED, DIRECTIONS = 4096, 8  # draws, and directions along which a noise is held against its covariance
SIGMAS = 6.0
ROUNDING = 1e-9

Watch = Callable[[Params, Params], Any]  # (θ, ĝ) ↦ a NamedTuple of arrays, averaged by the runner


class SGDState(NamedTuple):
    """Position of one chain, its optimiser's state, and what its noise remembers (None where it has no memory)."""

    position: Params
    optimiser: Any
    memory: Any


class SGDInfo(NamedTuple):
    """A step has nothing to report unless it is watched."""


class _Draw(NamedTuple):
    """One step's randomness, for each chain: of the noise's own kind, of its labels, and of its direction."""

    own: Any
    labels: Any
    direction: Any


def nothing(params: Params, gradient: Params) -> SGDInfo:
    """Watch nothing."""
    del params, gradient
    return SGDInfo()


def sgd(
    model: Model,
    like: Params,
    *,
    noise: Noise,
    lr: float | optax.Schedule,
    momentum: float = 0.0,
    weight_decay: float | optax.Schedule = 0.0,
    task_like: Task | None = None,
    watch: Watch = nothing,
) -> Kernel:
    """θ' = θ − η (ĝ(θ) + λθ), with heavy-ball momentum μ: m' = μ m + ĝ + λθ, θ' = θ − η m' (optax's).

    ĝ is the gradient of w mean ℓ(f(θ, x_b), ỹ_b) + penalty over the batch of a step, or what the noise's kind says:
    ½|f − y_b − s ε_b|² for squares; labels that are classes are flipped (`losses.noisy_labels`). With a `noise.scale`
    m it is ∇L + m(ĝ − ∇L), with `isotropized` ∇L + m|ĝ − ∇L| ζ/|ζ|, ζ ~ N(0, I). A model without `training` can be
    run without noise only, on its loss.

    A chain's task is a `Task`, best in the precision of its parameters; without one it learns the model's own.

    Args:
        model: gives L and the examples.
        like: a parameter pytree whose shapes and dtype the noise takes.
        noise: where the noise comes from.
        lr: η > 0, or its value at step n.
        momentum: μ in [0, 1).
        weight_decay: λ ≥ 0, or its value at step n.
        task_like: a task whose shapes the noise takes, where those of the chains have other shapes than the model's own
            (`stack_tasks` fills them up).
        watch: what to average along the run, from θ and ĝ before each step.

    Raises:
        ConfigError: the model does not have what the noise needs.
    """
    kind = noise.record
    if kind.constant:
        raise ConfigError("noise", "another in a step of SGD: its strength is that at a minimum", noise.given)
    training = None if model.training is None and kind.noiseless else noise.check(model)
    rate = lr if callable(lr) else float(lr)
    optimiser = optax.chain(*_decay_of(weight_decay), optax.sgd(rate, momentum=float(momentum) if momentum else None))
    shapes = None if training is None else training.task if task_like is None else task_like
    source = None if training is None or shapes is None else Source(noise, training, like, shapes)

    def init(params: Params, task: Task | None) -> SGDState:
        memory = None
        if source is not None and kind.init is not None:
            memory = kind.init(source, source.training.task if task is None else task)
        return SGDState(params, optimiser.init(params), memory)

    draw, gradient = _draw_of(noise, source, like), _gradient_of(model, noise, source, like)

    def step(noise_draw: _Draw, state: SGDState, task: Task | None) -> tuple[SGDState, Any]:
        slope, memory = gradient(noise_draw, state.position, state.memory, task)
        info = watch(state.position, slope)
        updates, optimiser_state = optimiser.update(slope, state.optimiser, state.position)
        return SGDState(optax.apply_updates(state.position, updates), optimiser_state, memory), info

    return Kernel(draw=draw, init=init, step=step)


def _decay_of(weight_decay: float | optax.Schedule) -> list[optax.GradientTransformation]:
    """ĝ ↦ ĝ + λθ, by optax; nothing where λ = 0."""
    if callable(weight_decay):
        return [optax.inject_hyperparams(optax.add_decayed_weights)(weight_decay=weight_decay)]
    return [optax.add_decayed_weights(float(weight_decay))] if weight_decay else []


def _draw_of(noise: Noise, source: Source | None, like: Params) -> Callable[[Array, int], _Draw]:
    """(key, chains) ↦ the randomness of one step."""
    kind, flat = noise.record, ravel_pytree(like)[0]

    def draw(key: Array, chains: int) -> _Draw:
        own_key, label_key, direction_key = jax.random.split(key, 3)
        own, labels = jnp.zeros((chains, 0)), jnp.zeros((chains, 0))
        if source is not None and kind.draw is not None:
            own = kind.draw(source, own_key, chains)
        if source is not None and noise.label_noise:
            labels = standard_normals(label_key, chains, _label_shape(source), flat.dtype)
        elif source is not None and noise.flip_rate:
            labels = jax.random.uniform(label_key, (chains, *_label_shape(source)), flat.dtype)
        direction = jax.random.normal(direction_key, (chains, flat.size if noise.isotropized else 0), flat.dtype)
        return _Draw(own, labels, direction)

    return draw


def _gradient_of(
    model: Model, noise: Noise, source: Source | None, like: Params
) -> Callable[[_Draw, Params, Any, Task | None], tuple[Params, Any]]:
    """(draw, θ, memory, task) ↦ ĝ(θ) and the memory after it; without a source ∇L."""
    kind = noise.record
    classes = 0 if source is None or not noise.flip_rate else _classes(source)

    def gradient(noise_draw: _Draw, params: Params, memory: Any, task: Task | None) -> tuple[Params, Any]:
        if source is None:
            refuse_task(task)
            return jax.grad(model.loss)(params), memory
        data = cast(source.training.task if task is None else task, like)
        lesson = Lesson(data, model.loss if task is None else partial(source.training.risk, data))
        if kind.gradient is not None:
            noisy, memory = kind.gradient(source, noise_draw.own, params, lesson, memory)
        else:
            assert kind.batch is not None  # `kind_of` asks for one of the two
            examples, weight, memory = kind.batch(source, noise_draw.own, data, memory)
            if noise.label_noise:
                examples = examples._replace(y=examples.y + noise.label_noise * noise_draw.labels)
            elif noise.flip_rate:
                loss = source.training.example_loss
                flipped = noisy_labels(loss, noise.labels, examples.y, noise_draw.labels, classes)
                examples = examples._replace(y=flipped)
            noisy = jax.grad(source.training.batch_loss)(params, examples, weight)
        if noise.scale != 1.0:
            mean = jax.grad(lesson.loss)(params)
            noisy = jax.tree.map(lambda g, drift: drift + noise.scale * (g - drift), noisy, mean)
        if noise.isotropized:
            noisy = _isotropized(noisy, jax.grad(lesson.loss)(params), noise_draw.direction)
        return noisy, memory

    return gradient


def _label_shape(source: Source) -> tuple[int, ...]:
    """Shape of what noise moves in a batch."""
    x, y = _batch_like(source)
    prediction = jax.eval_shape(source.training.predict, source.like, x).shape
    loss = source.training.example_loss
    return (prediction[0], *loss.noisy_shape(prediction[1:], y.shape[1:]))


def _classes(source: Source) -> int:
    """Number of classes of a label."""
    prediction = jax.eval_shape(source.training.predict, source.like, _batch_like(source)[0])
    return source.training.example_loss.classes(prediction.shape[1:])


def _batch_like(source: Source) -> Examples:
    """The shapes of a batch."""
    training, size = source.training, source.noise.batch_size or source.examples
    task = cast(training.task, source.like)
    if training.size and not source.noise.record.population:
        like = {name: jax.ShapeDtypeStruct((size, *task[name].shape[1:]), task[name].dtype) for name in ("x", "y")}
        return Examples(like["x"], like["y"])
    fresh = training.population
    return jax.eval_shape(fresh.examples, task, jax.ShapeDtypeStruct((size, *fresh.shape), jnp.float32))


def _isotropized(gradient: Params, mean: Params, direction: Float[Array, " q"]) -> Params:
    """mean + |gradient − mean| ζ/|ζ|."""
    drift, unravel = ravel_pytree(mean)
    length = jnp.linalg.norm(ravel_pytree(gradient)[0] - drift)
    return unravel(drift + length * direction / jnp.linalg.norm(direction))


def check_covariance(model: Model, noise: Noise, params: Params, key: Key[Array, ""]) -> None:
    """Hold what a noise says of itself against gradients that it draws at a point: their mean ∇L, their covariance Σ.

    Along some directions v, v·(ĝ − ∇L) has to have mean 0 and variance vᵀΣv, each within six standard errors of
    4096 draws. A noise that is right is refused with probability below 1e-6, whatever its direction.

    Args:
        model: with what the noise needs.
        noise: whose steps are `sgd`'s.
        params: θ, in float64.
        key: of the draws and directions.

    Raises:
        ConfigError: it does not fit; says by how much.
    """
    training = noise.check(model)
    kernel = sgd(model, params, noise=noise, lr=1.0)
    draws_key, direction_key = jax.random.split(key)
    start = kernel.init(params, None)
    flat = ravel_pytree(params)[0]

    def gradient(drawn):
        return flat - ravel_pytree(kernel.step(drawn, start, None)[0].position)[0]

    gradients = jax.lax.map(gradient, kernel.draw(draws_key, CHECKED), batch_size=CHECKED)
    stated = gradient_noise(training, noise, params)
    frame = jnp.linalg.qr(jax.random.normal(direction_key, (flat.size, flat.size), flat.dtype))[0][:, :DIRECTIONS]
    along = np.asarray((gradients - stated.mean) @ frame)
    variance = np.asarray(jnp.einsum("qd,qp,pd->d", frame, stated.covariance, frame))
    floor = ROUNDING * (float(jnp.trace(stated.covariance)) + float(jnp.sum(stated.mean**2)) + 1e-300)
    for what, sample, wanted in (("mean", along, np.zeros_like(variance)), ("variance", along**2, variance)):
        found, error = sample.mean(axis=0), sample.std(axis=0) / CHECKED**0.5
        slack = SIGMAS * error + (floor**0.5 if what == "mean" else floor)
        wrong = ~(np.abs(found - wanted) <= slack)
        if wrong.any():
            i = int(np.argmax(np.where(wrong, np.abs(found - wanted) / np.maximum(slack, 1e-300), 0.0)))
            raise ConfigError(
                "noise",
                "a NoiseKind whose draws have the mean of the loss's gradient and the covariance that it states",
                f"{noise.kind}: along a direction, at a point, their {what} is {found[i]:.4g} ± {error[i]:.1g}, and "
                f"it should be {wanted[i]:.4g}",
            )
