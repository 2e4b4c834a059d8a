"""What is measured of trained seeds: losses on fresh examples, errors of what is recovered."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from langevin_ib.ensemble.runner import batched
from langevin_ib.models import Params, Task
from langevin_ib.models.training import cast
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recipes import SPARSE, features
from langevin_ib.studies.recorded import Recorded

FRESH, BATCH = 8192, 512  # fresh examples of a test loss, and those of one batch
TEST_POINTS = 10_000
TEST_SEED = 2


class Isolated(NamedTuple):
    """Whether a seed's largest amplitudes are the true ones, and its largest false one over the smallest true one."""

    right: Bool[np.ndarray, " seed"]
    spurious: Float[np.ndarray, " seed"]


def fresh_loss(problem: Problem, ends: Recorded, label_noise: float) -> Float[np.ndarray, " seed"]:
    """Mean squared error over fresh examples whose targets carry noise of standard deviation s: E(f − f*)² + s².

    The noise of the targets enters by its variance, its floor; E(f − f*)² is the mean over 8192 examples.
    """
    training = problem.training
    fresh = training.population

    def mean_square(params: Params, task: Task, key: Key[Array, ""]) -> Float[Array, ""]:
        def batch(k: Key[Array, ""]) -> Float[Array, ""]:
            examples = fresh.examples(task, jax.random.normal(k, (BATCH, *fresh.shape), jnp.float32))
            return jnp.mean((training.predict(params, examples.x) - examples.y) ** 2)

        return jnp.mean(jax.lax.map(batch, jax.random.split(key, FRESH // BATCH)))

    teacher = {name: value for name, value in problem.own_tasks.items() if name not in ("x", "y", "weight")}
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), ends)
    keys = jax.random.split(jax.random.key(TEST_SEED), problem.seeds)
    clean = batched(mean_square)(ends, cast(teacher, first), keys)
    return np.asarray(clean, np.float64) + label_noise**2


def training_error(
    x: Float[np.ndarray, "seed n d"], y: Float[np.ndarray, "seed n"], w: Float[np.ndarray, "seed d"]
) -> Float[np.ndarray, " seed"]:
    """Mean of (x w − y)² over the examples of each seed."""
    return np.mean((np.einsum("snd,sd->sn", x, w) - y) ** 2, axis=1)


def square_error(
    estimate: Float[np.ndarray, "seed ..."], truth: Float[np.ndarray, "seed ..."]
) -> Float[np.ndarray, " seed"]:
    """Mean over all entries of (estimate − truth)²."""
    return np.mean((estimate - truth) ** 2, axis=tuple(range(1, estimate.ndim)))


def signal_error(w: Float[np.ndarray, "seed D"], truth: Float[np.ndarray, "seed D"]) -> Float[np.ndarray, " seed"]:
    """Mean squared error of y(t) = Σ_k w_k cos 2πkt on 10⁴ new noiseless points t ~ U(0, 1)."""
    design = features(np.random.default_rng(TEST_SEED).uniform(size=TEST_POINTS), w.shape[1])
    return np.mean(((w - truth) @ design.T) ** 2, axis=1)


def isolated(w: Float[np.ndarray, "seed D"], truth: Float[np.ndarray, "seed D"]) -> Isolated:
    """Whether the largest amplitudes are at the true places, and the largest elsewhere over the truth's smallest."""
    true = truth != 0
    count = true.sum(axis=1) if true.any() else np.full(len(w), SPARSE)
    size = np.abs(w)
    largest = np.argsort(-size, axis=1)
    correct = np.array([bool(true[i, largest[i, : count[i]]].all()) for i in range(len(w))])
    spurious = np.where(true, 0.0, size).max(axis=1) / np.where(true, np.abs(truth), np.inf).min(axis=1)
    return Isolated(correct, spurious)


def unobserved_error(
    T: Float[np.ndarray, "seed m n"], truth: Float[np.ndarray, "seed m n"], mask: Float[np.ndarray, "seed m n"]
) -> Float[np.ndarray, " seed"]:
    """Mean squared error over the entries that were not observed; NaN where all were."""
    hidden = 1.0 - mask
    with np.errstate(invalid="ignore"):
        return np.sum(hidden * (T - truth) ** 2, axis=(1, 2)) / np.sum(hidden, axis=(1, 2))


def variation(x: Float[np.ndarray, "seed N"]) -> Float[np.ndarray, " seed"]:
    """Total variation Σ|x_{i+1} − x_i|."""
    return np.abs(np.diff(x, axis=1)).sum(axis=1)
