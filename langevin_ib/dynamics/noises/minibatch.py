"""Batches of the data set, drawn with replacement or by epochs.

With replacement Σ = Cov g_i/B, and steps are independent. By epochs each example is used once: Σ of a single step is
(n − B)/(n − 1) times that, and the N batches of an epoch are correlated by ρ_k = −(N − k)/N · B/(n − B), so that their
noise cancels to leading order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from langevin_ib.config.noises import MinibatchSettings
from langevin_ib.dynamics.covariance import batch_covariance
from langevin_ib.dynamics.cumulants import batch_cumulants
from langevin_ib.dynamics.kicks import batch_kicks
from langevin_ib.dynamics.noise import Noise, NoiseKind, check_data
from langevin_ib.dynamics.noise_records import Batch, Each, Source
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model
from langevin_ib.models.training import Examples, Task, Training, size_of


class Deck(NamedTuple):
    """The examples of an epoch in their order, and how many of them have been used."""

    order: Int[Array, " n"]
    used: Int[Array, ""]


def check(noise: Noise, model: Model, training: Training) -> None:
    """A data set of more than one example, and for epochs of a batch at least."""
    check_data(noise, model, training)
    if training.size == 1:
        raise ConfigError(
            "noise",
            f"another for {model.name} here, whose only example is the whole batch (--set samples=16 gives more, "
            "where a model has that option)",
            noise.given,
        )
    if not noise.replace and int(noise.batch_size or 0) > training.size:
        raise ConfigError("batch_size", f"at most the {training.size} examples of an epoch", noise.batch_size)


def init(source: Source, task: Task) -> Deck | None:
    """The deck of a run by epochs."""
    return None if source.noise.replace else Deck(jnp.arange(size_of(task)), jnp.zeros((), jnp.int32))


def draw(source: Source, key: Key[Array, ""], chains: int) -> Float[Array, "chain batch"]:
    """Uniform numbers, not indices: by epochs the range of the next index shrinks."""
    return jax.random.uniform(key, (chains, int(source.noise.batch_size or 0)), jnp.float32)


def batch(source: Source, drawn: Float[Array, " batch"], task: Task, deck: Deck | None) -> Batch:
    """The examples of a step, and the deck that is left."""
    del source
    everything = Examples(task["x"], task["y"])
    if deck is None:
        chosen = _index(drawn, 0, len(everything.y))
    else:
        chosen, deck = _deal(deck, drawn)
    return Batch(jax.tree.map(lambda leaf: leaf[chosen], everything), task["weight"], deck)


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


def covariance(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """Cov g_i/B; without replacement times (n − B)/(n − 1)."""
    covariance = batch_covariance(noise, each)
    if noise.replace:
        return covariance
    size = float(noise.batch_size or each.share.size)
    return covariance * (each.share.size - size) / max(each.share.size - 1, 1)


def dependence(noise: Noise) -> str | None:
    """By epochs."""
    return None if noise.replace else "without replacement the noise of an epoch's steps cancels to leading order"


def correlation(noise: Noise, size: int) -> np.ndarray:
    """ρ_k of the batches of an epoch."""
    batch = noise.batch_size or size
    if noise.replace or batch >= size:
        return np.zeros(0)
    steps = size // batch
    return -(steps - np.arange(1, steps)) / steps * batch / (size - batch)


NOISE = NoiseKind(
    settings=MinibatchSettings,
    words="minibatches",
    covariance=covariance,
    check=check,
    batch=batch,
    draw=draw,
    init=init,
    cumulants=batch_cumulants,
    kicks=batch_kicks,
    outcomes=True,
    dependence=dependence,
    correlation=correlation,
)
