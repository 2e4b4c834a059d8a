"""A gradient noise that is one function, (key, θ, examples) ↦ ĝ, and what is estimated of it where it is not stated.

What a hook does not state is a mean over draws with fixed keys, the same at every θ: so the estimate of Σ is the exact
covariance of some other noise, one of finitely many outcomes, smooth in θ and across the orbits if the hook is. Its
error comes from independent batches of the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, UInt

from langevin_ib.errors import ConfigError, LangevinIBError, one_line
from langevin_ib.models.base import Params
from langevin_ib.models.training import Task, Training, cast, size_of

BATCHES = 64  # of the draws behind an estimated Σ(θ), wherever laws ask for it
DRAWS = BATCHES * 256
SEED = 20


@dataclass(frozen=True)
class Seen:
    """What a hook sees of what its chain learns.

    Attributes:
        x, y: inputs and labels of the data set, leading axis the example; None where the loss is a population's.
        size: n, how many there are; 0 of a population.
        loss: θ ↦ L(θ).
    """

    x: Any
    y: Any
    size: int
    loss: Callable[[Params], Float[Array, ""]]
    _training: Training
    _task: Task

    def gradient(self, params: Params, weights: Float[Array, " n"] | None = None, labels: Any = None) -> Params:
        """∇L(θ), each example counted `weights` times (of mean 1, if ∇L shall be the mean), with other labels.

        Args:
            params: θ.
            weights: one for each example.
            labels: in place of `y`.

        Raises:
            ConfigError: the loss is a population's, and has no examples to weigh or label.
        """
        if weights is None and labels is None:
            return jax.grad(self.loss)(params)
        if not self.size:
            raise ConfigError("noise", "one without weights and labels here, where there is no data set", "them")
        task = dict(self._task) if labels is None else {**self._task, "y": labels}
        if weights is not None:
            own = task.get("mask", jnp.ones(self.size, self.y.dtype))
            task["mask"] = own * weights.reshape(-1, *[1] * (own.ndim - 1))
        return jax.grad(partial(self._training.risk, task))(params)


def seen(training: Training, task: Task, loss: Callable[[Params], Float[Array, ""]]) -> Seen:
    """What a hook sees of a task."""
    return Seen(task.get("x"), task.get("y"), size_of(task), loss, training, task)


@dataclass(frozen=True)
class Hook:
    """A noise of one's own.

    Attributes:
        name: for errors.
        gradient: (key, θ, seen) ↦ ĝ, whose mean over keys is ∇L.
        covariance: (θ, seen) ↦ Σ(θ), q × q, θ as one vector; None: it is estimated.
        third: (θ, seen, e) ↦ κ₃ of e·ĝ; None: it is estimated.
        draws: behind an estimate, a multiple of the number of batches.

    Raises:
        ConfigError: of the draws cannot be made batches of two at least.
    """

    name: str
    gradient: Callable[[Key[Array, ""], Params, Seen], Params]
    covariance: Callable[[Params, Seen], Float[Array, "q q"]] | None = None
    third: Callable[[Params, Seen, Float[Array, " q"]], Float[Array, ""]] | None = None
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if isinstance(self.draws, bool) or self.draws < 2 * BATCHES or self.draws % BATCHES:
            raise ConfigError("noise", f"one whose draws are a multiple of {BATCHES}, twice it at least", self.draws)

    def step(self, key: Key[Array, ""], params: Params, examples: Seen) -> Params:
        """ĝ, a tree like θ.

        Raises:
            ConfigError: the function cannot be traced, or gives something else.
        """
        noisy = self._called(self.gradient, key, params, examples)
        given, wanted = (
            (jax.tree.structure(tree), [*map(jnp.shape, jax.tree.leaves(tree))]) for tree in (noisy, params)
        )
        if given != wanted:
            got = f"{self.name}, which gives {_shape(noisy)} where the parameters are {_shape(params)}"
            raise ConfigError("noise", "a function whose gradient has the form of the parameters", got)
        return jax.tree.map(lambda g, leaf: jnp.asarray(g, leaf.dtype), noisy, params)

    def batches(self, training: Training, params: Params, task: Task | None = None) -> Float[Array, "batch q q"]:
        """Estimates of Σ(θ) from independent batches of draws; of a covariance that is stated one."""
        examples, mean = self._at(training, params, task)
        if self.covariance is not None:
            stated = jnp.asarray(self._called(self.covariance, params, examples))
            q = mean.size
            if stated.shape != (q, q):
                wanted = f"one whose covariance is a matrix of {q} × {q}"
                raise ConfigError("noise", wanted, f"{self.name}, with one of shape {stated.shape}")
            return stated.astype(mean.dtype)[None]

        def batch(keys):
            spread = self._draws(keys, params, examples) - mean
            return spread.T @ spread / len(spread)

        return jax.lax.map(batch, self._keys())

    def moments(self, training: Training, params: Params, direction: Float[Array, " q"]) -> Float[Array, "batch 3"]:
        """Second, third and fourth central moments of e·ĝ in independent batches of draws."""
        examples, mean = self._at(training, params, None)

        def batch(keys):
            along = (self._draws(keys, params, examples) - mean) @ direction
            return jnp.stack([jnp.mean(along**k) for k in (2, 3, 4)])

        return jax.lax.map(batch, self._keys())

    def stated_third(
        self, training: Training, params: Params, direction: Float[Array, " q"]
    ) -> Float[Array, ""] | None:
        """κ₃ of e·ĝ as the hook states it; None where it does not."""
        if self.third is None:
            return None
        return jnp.asarray(self._called(self.third, params, self._at(training, params, None)[0], direction))

    def _at(self, training: Training, params: Params, task: Task | None) -> tuple[Seen, Float[Array, " q"]]:
        data = cast(training.task if task is None else task, params)
        loss = partial(training.risk, data)
        return seen(training, data, loss), ravel_pytree(jax.grad(loss)(params))[0]

    def _draws(self, keys: Array, params: Params, examples: Seen) -> Float[Array, "draw q"]:
        return jax.vmap(lambda key: ravel_pytree(self.step(key, params, examples))[0])(keys)

    def _keys(self) -> Key[Array, "batch draw"]:
        return jax.random.split(jax.random.key(SEED), (BATCHES, self.draws // BATCHES))

    def _called(self, function: Callable, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except LangevinIBError:
            raise
        except Exception as error:  # of a user's function
            wanted = "a function (key, parameters, examples) ↦ gradient that JAX can trace"
            raise ConfigError("noise", wanted, f"{self.name}: {one_line(error)}") from None


def draw_keys(key: Key[Array, ""], chains: int) -> UInt[Array, "chain words"]:
    """The words of a key for each chain: plain numbers, as every driver takes them."""
    return jax.random.key_data(jax.random.split(key, chains))


def _shape(tree: Any) -> str:
    return f"an array of shape {jnp.shape(tree)}" if hasattr(tree, "shape") else str(jax.tree.map(jnp.shape, tree))
