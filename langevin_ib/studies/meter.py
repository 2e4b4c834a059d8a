"""The noise of SGD along its own run: the temperature of equal strength, and how far it is from isotropic."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.meter import NoiseReport, measure
from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.populations import MOST_INPUTS
from langevin_ib.models import Params, Task, Training
from langevin_ib.models.training import cast
from langevin_ib.studies.problem import Problem, size_of
from langevin_ib.studies.recorded import Trained
from langevin_ib.studies.training import Arm, kernel_of

TIMES, BATCHES = 20, 32  # recorded times, and batches at each, at which tr Σ is measured
EXAMPLES = 2048  # fresh ones that represent a population of too many inputs for quadrature
WORK = 4e6  # numbers in the Jacobian of all examples above which only one seed is metered


class _Watched(NamedTuple):
    gradient: Float[Array, " q"]


def isotropic_temperature(problem: Problem, arm: Arm, trained: Trained) -> Float[np.ndarray, " seed"]:
    """T = η tr Σ/2q of each seed, averaged over recorded times after the start; with momentum, of the rate η/(1 − μ).

    tr Σ is the variance of 32 gradients of the run's own kernel at each of 20 times: no (q, q) matrix, and no Jacobian
    of a network's every output, is formed.

    Args:
        problem: model and tasks.
        arm: gives noise and rate.
        trained: what it came to.
    """
    like = jax.tree.map(jnp.asarray, trained.like)
    unravel = ravel_pytree(like)[1]
    plain = Arm(arm.noise, arm.rate, arm.steps)
    kernel = kernel_of(problem, plain, like, watch=lambda params, gradient: _Watched(ravel_pytree(gradient)[0]))
    tasks = problem.tasks_like(like)

    def trace(key: Key[Array, ""], flat: Float[Array, "seed q"]) -> Float[Array, " seed"]:
        states = jax.vmap(kernel.init)(jax.vmap(unravel)(flat), tasks)

        def gradients_of(batch_key: Key[Array, ""]) -> Float[Array, "seed q"]:
            return jax.vmap(kernel.step)(kernel.draw(batch_key, problem.seeds), states, tasks)[1].gradient

        gradients = jax.lax.map(gradients_of, jax.random.split(key, BATCHES))
        return jnp.sum(jnp.var(gradients, axis=0, ddof=1), axis=-1)

    last = trained.flat.shape[1] - 1
    rows = np.unique(np.linspace(1, last, min(TIMES, last)).round().astype(int))
    keys = jax.random.split(problem.key("meter"), rows.size)
    points = jnp.swapaxes(jnp.asarray(trained.flat[:, rows]), 0, 1)
    traces = jax.jit(lambda xs: jax.lax.map(lambda x: trace(*x), xs))((keys, points))
    return np.asarray(arm.rate * traces.mean(axis=0) / (2.0 * size_of(like)))


def noise_meter(problem: Problem, arm: Arm, trained: Trained) -> NoiseReport:
    """`measure` of a noise at the end of its run, for all seeds, or for the first alone where Σ costs too much.

    A population of more inputs than quadrature can do is represented by 2048 fixed fresh examples.

    Args:
        problem: model and tasks.
        arm: gives noise and rate.
        trained: what it came to.
    """
    model, training = problem.model, problem.training
    like = jax.tree.map(jnp.asarray, trained.like)
    unravel = ravel_pytree(like)[1]
    shape = training.population.shape if arm.noise.record.population else ()
    sampled = math.prod(shape) > MOST_INPUTS
    normals = np.random.default_rng(0).normal(size=(EXAMPLES, *shape)) if sampled else None

    def examples(task: Task) -> tuple[Noise, Task]:
        if normals is None:
            return arm.noise, task
        fresh = training.population.examples(task, jnp.asarray(normals))
        data = {"x": fresh.x, "y": fresh.y, "weight": training.population.weight}
        return dataclasses.replace(arm.noise, kind="minibatch"), {**task, **data}

    def measure_seed(flat: Float[Array, " q"], task: Task) -> NoiseReport:
        params = unravel(flat)
        kind, data = examples(task)
        return measure(model, gradient_noise(training, kind, params, data).covariance, params, arm.rate)

    work = size_of(like) * (EXAMPLES if sampled else 1) * _count_outputs(training, like, sampled)
    seeds = 1 if work > WORK else problem.seeds
    meter = jax.jit(measure_seed)
    ends = trained.flat[:, -1]
    reports = [meter(jnp.asarray(ends[i]), cast(problem.task_of(i), like)) for i in range(seeds)]
    return NoiseReport(*(np.stack(part) for part in zip(*reports, strict=True)))


def _count_outputs(training: Training, like: Params, per_example: bool) -> int:
    """Numbers that the model predicts: for one example, or for all of its data set."""
    if not training.size:
        return 1
    x = cast(training.task, like)["x"]
    return jax.eval_shape(training.predict, like, x[:1] if per_example else x).size
