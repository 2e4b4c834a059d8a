"""Measurements of trained seeds: ratios, charges, losses, recovery errors; and effects paired over seeds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import stats

from langevin_ib.ensemble.runner import batched
from langevin_ib.geometry import charges
from langevin_ib.models.base import Params
from langevin_ib.models.training import cast
from langevin_ib.studies.balance import median_band
from langevin_ib.studies.problem import SPARSE, Problem, features
from langevin_ib.studies.training import Recorded

FRESH, BATCH = 8192, 512  # fresh examples of a test loss, and those of one batch
TEST_POINTS = 10_000
TEST_SEED = 2


def balance(problem: Problem, params: Recorded) -> dict[str, Float[np.ndarray, "seed time m"]]:
    """|a|/|b| and χ of every generator, along the runs.

    Args:
        problem: gives the symmetry.
        params: leaves (seed, time, ...).
    """
    model = problem.model

    def observe(point: Params):
        return {"ratio": jnp.exp(charges.log_ratio(model, point)), "charge": model.moment_map(point)}

    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        return jax.tree.map(np.asarray, jax.jit(lambda p: jax.lax.map(batched(observe), p))(exact))


def off_by(ratios: Float[np.ndarray, "*n m"]) -> Float[np.ndarray, "*n"]:
    """The factor by which a typical pair is off balance, exp(median |log ratio|) over the generators.

    >>> float(off_by(np.array([[0.5, 1.0, 2.0]]))[0].round(6))
    2.0
    """
    return np.exp(np.median(np.abs(np.log(ratios)), axis=-1))


def fresh_loss(problem: Problem, ends: Recorded, label_noise: float) -> Float[np.ndarray, " seed"]:
    """Mean squared error over fresh examples whose targets carry noise of standard deviation s: E(f − f*)² + s².

    The noise of the targets enters by its variance, its floor; E(f − f*)² is the mean over 8192 examples.
    """
    training = problem.model.training
    assert training is not None
    fresh = training.population

    def mean_square(params: Params, task: Any, key: Any):
        def batch(k: Any):
            examples = fresh.examples(task, jax.random.normal(k, (BATCH, *fresh.shape), jnp.float32))
            return jnp.mean((training.predict(params, examples.x) - examples.y) ** 2)

        return jnp.mean(jax.lax.map(batch, jax.random.split(key, FRESH // BATCH)))

    teacher = {name: value for name, value in problem.tasks.items() if name not in ("x", "y", "weight")}
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), ends)
    keys = jax.random.split(jax.random.key(TEST_SEED), problem.seeds)
    clean = batched(mean_square)(ends, cast(teacher, first), keys)
    return np.asarray(clean, np.float64) + label_noise**2


def square_error(
    estimate: Float[np.ndarray, "seed ..."], truth: Float[np.ndarray, "seed ..."]
) -> Float[np.ndarray, " seed"]:
    """Mean over all entries of (estimate − truth)²."""
    return np.mean((estimate - truth) ** 2, axis=tuple(range(1, estimate.ndim)))


def signal_error(w: Float[np.ndarray, "seed D"], truth: Float[np.ndarray, "seed D"]) -> Float[np.ndarray, " seed"]:
    """Mean squared error of y(t) = Σ_k w_k cos 2πkt on 10⁴ new noiseless points t ~ U(0, 1)."""
    design = features(np.random.default_rng(TEST_SEED).uniform(size=TEST_POINTS), w.shape[1])
    return np.mean(((w - truth) @ design.T) ** 2, axis=1)


def isolated(w: Float[np.ndarray, "seed D"], truth: Float[np.ndarray, "seed D"]) -> dict[str, Any]:
    """Whether the largest amplitudes are at the true places, and the largest elsewhere over the truth's smallest."""
    true = truth != 0
    count = true.sum(axis=1) if true.any() else np.full(len(w), SPARSE)
    size = np.abs(w)
    largest = np.argsort(-size, axis=1)
    correct = np.array([bool(true[i, largest[i, : count[i]]].all()) for i in range(len(w))])
    spurious = np.where(true, 0.0, size).max(axis=1) / np.where(true, np.abs(truth), np.inf).min(axis=1)
    return {"right": correct, "spurious": spurious}


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


def effect(
    values: Float[np.ndarray, " seed"], reference: Float[np.ndarray, " seed"], comparisons: int = 1
) -> dict[str, float] | None:
    """Geometric mean of values/reference, paired over seeds, with Student's 95% interval; else None.

    There is none under two seeds, or where an error is 0.

    With several comparisons the interval is Bonferroni's: all of them hold together in 95%.

    >>> effect(np.array([2.0, 2.0]), np.array([1.0, 1.0]))["ratio"]
    2.0
    """
    if len(values) < 2 or not all(np.isfinite(errors).all() and (errors > 0).all() for errors in (values, reference)):
        return None
    logs = np.log(values) - np.log(reference)
    reach = float(stats.t.ppf(1.0 - 0.025 / comparisons, len(logs) - 1)) * float(logs.std(ddof=1)) / len(logs) ** 0.5
    mean = float(logs.mean())
    return {"ratio": float(np.exp(mean)), "low95": float(np.exp(mean - reach)), "high95": float(np.exp(mean + reach))}


def median_bands(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Median and 90% band of each; of booleans the number of seeds where it holds.

    >>> median_bands({"right": np.array([True, False])})
    {'right': {'count': 1, 'of': 2}}
    """
    return {
        name: {"count": int(row.sum()), "of": len(row)} if row.dtype == bool else median_band(np.asarray(row, float))
        for name, row in values.items()
    }
