"""Stochastic gradient descent: θ' = θ − η ĝ(θ), ĝ from a batch of examples, through an optax optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from langevin_ib.dynamics.kernel import Kernel, refuse_task
from langevin_ib.dynamics.noise import Noise
from langevin_ib.models.base import Model, Params
from langevin_ib.models.training import Examples, Task, Training, cast, size_of

Watch = Callable[[Params, Params], Any]  # (θ, ĝ) ↦ a NamedTuple of arrays, averaged by the runner


class Deck(NamedTuple):
    """The examples of an epoch in their order, and how many of them have been used."""

    order: Int[Array, " n"]
    used: Int[Array, ""]


class SGDState(NamedTuple):
    """Position of one chain, its optimiser's state, and the deck of a run by epochs (else None)."""

    position: Params
    optimiser: Any
    deck: Deck | None


class SGDInfo(NamedTuple):
    """A step has nothing to report unless it is watched."""


class _Draw(NamedTuple):
    """One step's randomness, for each chain."""

    batch: Any
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
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    task_like: Task | None = None,
    watch: Watch = nothing,
) -> Kernel:
    """θ' = θ − η (ĝ(θ) + λθ), with heavy-ball momentum μ: m' = μ m + ĝ + λθ, θ' = θ − η m' (optax's).

    ĝ is the gradient of ½ w mean |f(θ, x_b) − y_b − s ε_b|² + penalty over the batch of a step; with noise `bernoulli`
    of ½ w mean_i 2 κ_i |f(θ, x_i) − y_i|² + penalty over the data set, κ_i = 0 or 1 by a fair coin. With
    `noise.isotropized` it is ∇L + |ĝ − ∇L| ξ/|ξ|, ξ ~ N(0, I). A model without `training` can be run
    with noise `none` only, on its loss.

    A chain's task is a `Task`, best in the precision of its parameters; without one it learns the model's own.

    Args:
        model: gives L and the examples.
        like: a parameter pytree whose shapes and dtype the noise takes.
        noise: where the noise comes from.
        lr: η > 0.
        momentum: μ in [0, 1).
        weight_decay: λ ≥ 0.
        task_like: a task whose shapes the noise takes, where those of the chains have other shapes than the model's own
            (`stack_tasks` fills them up).
        watch: what to average along the run, from θ and ĝ before each step.

    Raises:
        ConfigError: the model does not have what the noise needs.
    """
    lr = float(lr)
    training = None if model.training is None and noise.kind == "none" else noise.check(model)
    steps = [optax.add_decayed_weights(float(weight_decay))] if weight_decay else []
    optimiser = optax.chain(*steps, optax.sgd(lr, momentum=float(momentum) if momentum else None))
    flat = ravel_pytree(like)[0]
    size = noise.batch_size or 0
    shapes = {} if training is None else training.task if task_like is None else task_like
    examples = size_of(shapes)
    mask_shape = jnp.shape(shapes["mask"]) if "mask" in shapes else (examples,)

    def init(params: Params, task: Task | None) -> SGDState:
        deck = None
        if training is not None and noise.kind == "minibatch" and not noise.replace:
            deck = Deck(jnp.arange(size_of(training.task if task is None else task)), jnp.zeros((), jnp.int32))
        return SGDState(params, optimiser.init(params), deck)

    def draw(key: Array, chains: int) -> _Draw:
        batch_key, label_key, direction_key = jax.random.split(key, 3)
        batch, labels = jnp.zeros((chains, 0)), jnp.zeros((chains, 0))
        if training is not None and noise.kind == "minibatch":
            # Uniform numbers, not indices: by epochs the range of the next index shrinks.
            batch = jax.random.uniform(batch_key, (chains, size), jnp.float32)
        if training is not None and noise.kind == "bernoulli":
            batch = _coins(batch_key, chains, mask_shape)
        if training is not None and noise.kind == "fresh":
            batch = _normals(batch_key, chains, (size, *training.population.shape), flat.dtype)
        if training is not None and noise.label_noise:
            labels = _normals(label_key, chains, _label_shape(training, size or examples, like), flat.dtype)
        direction = jax.random.normal(direction_key, (chains, flat.size if noise.isotropized else 0), flat.dtype)
        return _Draw(batch, labels, direction)

    def gradient(noise_draw: _Draw, params: Params, deck: Deck | None, task: Task | None) -> tuple[Params, Deck | None]:
        if training is None:
            refuse_task(task)
            return jax.grad(model.loss)(params), deck
        data = cast(training.task if task is None else task, like)

        def risk(p):
            return model.loss(p) if training is None or task is None else training.risk(data, p)

        if noise.kind == "none":
            return jax.grad(risk)(params), deck
        if noise.kind == "bernoulli":
            kept = 2.0 * noise_draw.batch.astype(flat.dtype)
            noisy = jax.grad(partial(training.risk, {**data, "mask": data.get("mask", 1.0) * kept}))(params)
        else:
            batch, weight, deck = _batch(training, noise, noise_draw.batch, data, deck)
            if noise.label_noise:
                batch = batch._replace(y=batch.y + noise.label_noise * noise_draw.labels)
            noisy = jax.grad(training.batch_loss)(params, batch, weight)
        if noise.isotropized:
            noisy = _isotropized(noisy, jax.grad(risk)(params), noise_draw.direction)
        return noisy, deck

    def step(noise_draw: _Draw, state: SGDState, task: Task | None) -> tuple[SGDState, Any]:
        slope, deck = gradient(noise_draw, state.position, state.deck, task)
        info = watch(state.position, slope)
        updates, optimiser_state = optimiser.update(slope, state.optimiser, state.position)
        return SGDState(optax.apply_updates(state.position, updates), optimiser_state, deck), info

    return Kernel(draw=draw, init=init, step=step)


def _normals(key: Array, chains: int, shape: tuple[int, ...], dtype: Any) -> Float[Array, "chain ..."]:
    """Standard normal numbers; where an example is a matrix, with all its axes turned round in memory.

    So `attend` reads them as it goes, examples last. In the other order XLA transposes inside each of its sums.
    """
    if len(shape) < 3:
        return jax.random.normal(key, (chains, *shape), dtype)
    drawn = jax.random.normal(key, (chains, *shape[::-1]), dtype)
    return jnp.transpose(drawn, (0, *range(len(shape), 0, -1)))


def _coins(key: Array, chains: int, shape: tuple[int, ...]) -> Float[Array, "chain ..."]:
    """Tosses of a fair coin, each one bit of a random word: a uniform number for each costs more than the gradient."""
    size = math.prod(shape)
    words = jax.random.bits(key, (chains, -(-size // 32)), jnp.uint32)
    bits = (words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return bits.reshape(chains, -1)[:, :size].reshape(chains, *shape).astype(jnp.float32)


def _label_shape(training: Training, size: int, like: Params) -> tuple[int, ...]:
    """Shape of the labels of a batch of a given size."""
    task = cast(training.task, like)
    if training.size:
        x = jax.ShapeDtypeStruct((size, *task["x"].shape[1:]), task["x"].dtype)
    else:
        fresh = training.population
        x = jax.eval_shape(fresh.examples, task, jax.ShapeDtypeStruct((size, *fresh.shape), jnp.float32)).x
    return jax.eval_shape(training.predict, like, x).shape


def _batch(
    training: Training, noise: Noise, drawn: Any, task: Task, deck: Deck | None
) -> tuple[Examples, Any, Deck | None]:
    """The examples of a step, their weight, and the deck that is left."""
    if noise.kind == "fresh":
        return training.population.examples(task, drawn), training.population.weight, deck
    everything = Examples(task["x"], task["y"])
    if noise.kind == "label":
        return everything, task["weight"], deck
    if deck is None:
        chosen = _index(drawn, 0, len(everything.y))
    else:
        chosen, deck = _deal(deck, drawn)
    return jax.tree.map(lambda leaf: leaf[chosen], everything), task["weight"], deck


def _index(uniform: Float[Array, "*n"], low: Any, high: int) -> Int[Array, "*n"]:
    """A whole number in [low, high); float32 uniforms may round up to one."""
    return jnp.minimum(low + jnp.floor(uniform * (high - low)).astype(jnp.int32), high - 1)


def _deal(deck: Deck, drawn: Float[Array, " batch"]) -> tuple[Int[Array, " batch"], Deck]:
    """The next B examples of an epoch, by Fisher and Yates' shuffle: each is swapped in from those not yet used.

    The order that one epoch ends with is where the next begins: a uniform shuffle of any order is uniform.
    """
    n, size = deck.order.size, drawn.size
    used = jnp.where(deck.used + size > n, 0, deck.used)

    def swap(b, order):
        place = used + b
        other = _index(drawn[b], place, n)
        first, second = order[place], order[other]
        return order.at[place].set(second).at[other].set(first)

    order = jax.lax.fori_loop(0, size, swap, deck.order)
    return jax.lax.dynamic_slice(order, (used,), (size,)), Deck(order, used + size)


def _isotropized(gradient: Params, mean: Params, direction: Float[Array, " q"]) -> Params:
    """mean + |gradient − mean| ξ/|ξ|."""
    drift, unravel = ravel_pytree(mean)
    length = jnp.linalg.norm(ravel_pytree(gradient)[0] - drift)
    return unravel(drift + length * direction / jnp.linalg.norm(direction))
