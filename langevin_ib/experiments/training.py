"""Training an ensemble of seeds: stochastic gradients through the ensemble runner, least squares in closed form."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Progress, batched
from langevin_ib.ensemble.trajectories import ROWS, record, record_steps
from langevin_ib.errors import ConfigError
from langevin_ib.experiments.problems import Problem
from langevin_ib.jax_settings import default_settings
from langevin_ib.session import Session

CHAINS = 2  # the stream of random numbers of the runs
if TYPE_CHECKING:
    Recorded: TypeAlias = Any  # type checkers know no PyTree
else:
    Recorded: TypeAlias = PyTree[Float[np.ndarray, "..."] | Float[Array, "..."]]  # parameters, on the host or not


@dataclass(frozen=True)
class Protocol:
    """How a problem is trained.

    Attributes:
        noise: of a step.
        lr: η.
        steps: their number.
        start_scale: standard deviation of the start; None for the problem's.
        start_factors: (parameter, factor) by which some parameters' start is larger than that.
    """

    noise: Noise
    lr: float
    steps: int
    start_scale: float | None = None
    start_factors: tuple[tuple[str, float], ...] = ()


class Trained(NamedTuple):
    """Recorded steps and parameters, and the seconds that it took, compilation included."""

    steps: Float[np.ndarray, " time"]
    params: Recorded  # leaves (seed, time, ...)
    wall_s: float

    @property
    def ends(self) -> Recorded:
        """Parameters after the last step, leading axis the seed."""
        return jax.tree.map(lambda leaf: leaf[:, -1], self.params)


def train(
    problem: Problem,
    protocol: Protocol,
    *,
    stage: str,
    rows: int = ROWS,
    progress: Progress | None = None,
    starts: Recorded | None = None,
) -> Trained:
    """Train every seed on its task by θ' = θ − η ĝ, in float32.

    Args:
        problem: model, tasks and starts.
        protocol: noise, η, steps, and what the problem's starts are multiplied by.
        stage: named in errors.
        rows: times at which parameters are kept, at most.
        progress: called with (steps done, steps in all).
        starts: parameters to continue from, leading axis the seed, in place of the problem's.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    began = time.perf_counter()
    with Session().open():
        if starts is None:
            initial: Any = problem.starts(protocol.start_scale)
            for name, factor in protocol.start_factors:
                initial = {**initial, name: factor * initial[name]}
            starts = initial
        starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), starts)
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        tasks = {name: np.asarray(value, np.float32) for name, value in problem.tasks.items()}

        kernel = sgd(
            problem.model, like, noise=protocol.noise, lr=protocol.lr,
            task_like={name: value[0] for name, value in tasks.items()},
        )  # fmt: skip
        key = jax.random.fold_in(jax.random.key(problem.seed), CHAINS)
        flat = record(
            kernel, starts, key=key, steps=protocol.steps, stage=stage, step_size=protocol.lr, tasks=tasks,
            rows=rows, progress=progress,
        )  # fmt: skip
        unravel = ravel_pytree(like)[1]
        params = jax.tree.map(np.asarray, batched(batched(unravel))(jnp.asarray(flat)))
    return Trained(np.asarray(record_steps(protocol.steps, rows), float), params, time.perf_counter() - began)


def recovered(problem: Problem, params: Recorded) -> Float[np.ndarray, "seed ..."]:
    """The unknown at each seed's parameters (leaves with leading axis the seed), in float64."""
    if problem.recover is None:
        raise ValueError("a student recovers nothing")
    with default_settings():
        exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        return np.asarray(batched(problem.recover)(exact))


def descend_linear(
    x: Float[np.ndarray, "seed n d"],
    y: Float[np.ndarray, "seed n"],
    start: Float[np.ndarray, "seed d"],
    lr: float,
    steps: int,
    option: str = "plain_lr",
) -> Float[np.ndarray, "seed d"]:
    """w after n steps w' = w − η ∇ mean (Xw − y)² from a start: closed form, by the eigenvectors of H = 2XᵀX/n.

    In each of them w_n = (1 − ηλ)ⁿ w_0 + (1 − (1 − ηλ)ⁿ)/λ b, b = 2Xᵀy/n; where λ = 0, b is 0 too and w stays.

    Raises:
        ConfigError: η > 2/λ_max for some seed, where the descent diverges.
    """
    solutions = []
    for X, target, first in zip(x, y, start, strict=True):
        size = len(target)
        values, vectors = np.linalg.eigh(2.0 * X.T @ X / size)
        if lr * values[-1] > 2.0:
            raise ConfigError(option, f"below 2/λ = {2.0 / values[-1]:.3g} for the plain model", lr)
        linear_term = vectors.T @ (2.0 * X.T @ target / size)
        nonzero = np.maximum(values, 0.0) > 1e-12 * values[-1]
        values = np.where(nonzero, values, 1.0)
        decay = np.where(nonzero, (1.0 - lr * values) ** steps, 1.0)
        solutions.append(
            vectors @ (decay * (vectors.T @ first) + np.where(nonzero, (1.0 - decay) / values * linear_term, 0.0))
        )
    return np.stack(solutions)


def descend_plain(
    problem: Problem, x: Any, lr: float, steps: int, start_scale: float, option: str = "plain_lr"
) -> Float[np.ndarray, "seed d"]:
    """The model that learns w itself, on the same data; its start is N(0, start_scale²) for each seed.

    Raises:
        ConfigError: of the option that sets η, which is too large for some seed.
    """
    y = np.asarray(problem.tasks["y"])
    start = np.stack(
        [start_scale * np.random.default_rng([problem.seed, i, 1]).normal(size=x.shape[2]) for i in range(len(y))]
    )
    return descend_linear(np.asarray(x), y, start, lr, steps, option)
