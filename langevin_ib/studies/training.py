"""Training an ensemble of seeds under one arm: through the ensemble runner, or least squares in closed form."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from langevin_ib.dynamics.descent import Watch, nothing, sgd
from langevin_ib.dynamics.kernel import Kernel, normal_like
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.records import Stage
from langevin_ib.ensemble.runner import batched
from langevin_ib.ensemble.trajectories import ROWS, record, record_steps
from langevin_ib.errors import ConfigError
from langevin_ib.models import Params, Task
from langevin_ib.session import check_open
from langevin_ib.stages import Progress
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Recorded, Trained


@dataclass(frozen=True)
class Arm:
    """How a problem is trained.

    Attributes:
        noise: of a step.
        lr: η.
        steps: their number.
        momentum: μ of heavy-ball momentum.
        weight_decay: λ.
        temperature: T of normal kicks √(2hT) ζ on top, h = η; None without.
        start_scale: standard deviation of the start; None for the problem's.
        start_factors: (parameter, factor) by which some parameters' start is larger than that.

    Raises:
        ValueError: a value is out of range.
    """

    noise: Noise
    lr: float
    steps: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    temperature: float | None = None
    start_scale: float | None = None
    start_factors: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Noise):
            raise ValueError(f"noise must be a Noise, as Noise('none'), got {self.noise!r}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int | np.integer) or self.steps < 1:
            raise ValueError(f"steps must be a whole number from 1, got {self.steps!r}")
        above = {"lr": self.lr, "start_scale": 1.0 if self.start_scale is None else self.start_scale}
        for name, value in above.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, got {value!r}")
        # A T that was measured may be infinite: its run diverges, and says so.
        for name, value in {"weight_decay": self.weight_decay, "temperature": self.temperature or 0.0}.items():
            if value < 0:
                raise ValueError(f"{name} must be a number from 0, got {value!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be a number from 0 to below 1, got {self.momentum!r}")

    @property
    def rate(self) -> float:
        """η/(1 − μ), the effective learning rate over times long against the momentum's memory 1/(1 − μ)."""
        return self.lr / (1.0 - self.momentum)


def train(
    problem: Problem,
    arm: Arm,
    *,
    stage: str,
    rows: int = ROWS,
    progress: Progress | None = None,
    starts: Recorded | None = None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train every seed on its task by θ' = θ − η ĝ, in the problem's precision; within an open session.

    Args:
        problem: model, tasks and starts.
        arm: noise, η, steps, and what the problem's starts are multiplied by.
        stage: named in errors.
        rows: times at which parameters are kept, at most.
        progress: called with (steps done, steps in all).
        starts: parameters to continue from, leading axis the seed, in place of the problem's.
        checkpoint: where to save the state now and then, and to resume from.

    Raises:
        DivergenceError: some seed's parameters ran away.
    """
    check_open()
    began = time.perf_counter()
    starts = _starts_of(problem, arm) if starts is None else starts
    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, f"float{problem.precision}"), starts)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    # On the host: an ensemble that is cut into blocks would slice it there.
    tasks = jax.tree.map(np.asarray, problem.tasks_like(like))
    flat = record(
        kernel_of(problem, arm, like), starts, key=problem.key("chains"), steps=arm.steps, tasks=tasks, rows=rows,
        stage=Stage(stage, progress, checkpoint=checkpoint), step_size=arm.rate,
    )  # fmt: skip
    steps = np.asarray(record_steps(arm.steps, rows), float)
    return Trained(steps, flat, jax.tree.map(np.asarray, like), time.perf_counter() - began)


def kernel_of(problem: Problem, arm: Arm, like: Params, *, watch: Watch = nothing) -> Kernel:
    """One step of an arm, θ' = θ − η ĝ, or with a temperature θ' = θ − h∇L_i(θ) + √(2hT) ζ, L_i the loss of seed i.

    The latter is Euler and Maruyama's step; `euler_maruyama` takes one potential for all chains, and here each has its
    task, which `sgd` knows how to learn.

    Args:
        problem: model and tasks.
        arm: noise, η, μ, λ, T.
        like: one point, for shapes and precision.
        watch: what a step without temperature reports of its gradient.
    """
    task_like: Task | None = None if problem.tasks is None else problem.task_of(0)
    plain = sgd(
        problem.model, like, noise=arm.noise, lr=arm.lr, momentum=arm.momentum, weight_decay=arm.weight_decay,
        task_like=task_like, watch=watch,
    )  # fmt: skip
    if arm.temperature is None:
        return plain
    normals = normal_like(like)
    amplitude = math.sqrt(2.0 * arm.lr * arm.temperature)

    def draw(key, chains: int):
        plain_key, normal_key = jax.random.split(key)
        return plain.draw(plain_key, chains), normals(normal_key, chains)

    def step(noise, state, task):
        moved, info = plain.step(noise[0], state, task)
        kicked = jax.tree.map(lambda x, n: x + amplitude * n, moved.position, noise[1])
        return moved._replace(position=kicked), info

    return Kernel(draw=draw, init=plain.init, step=step)


def _starts_of(problem: Problem, arm: Arm) -> Recorded:
    starts: Any = problem.starts(arm.start_scale)
    for name, factor in arm.start_factors:
        if name not in starts:
            raise ValueError(f"start_factors must name parameters among {', '.join(starts)}, got {name}")
        starts = {**starts, name: factor * starts[name]}
    return starts


def recovered(problem: Problem, params: Recorded) -> Float[np.ndarray, "seed ..."]:
    """The unknown at each seed's parameters (leaves with leading axis the seed, as `Trained.ends`), in float64."""
    check_open()
    if isinstance(params, Trained):
        raise ValueError("params must be parameters of one time, as trained.ends, got all that was recorded")
    if problem.recover is None:
        raise ValueError("a student recovers nothing")
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
    y = np.stack([problem.task_of(i)["y"] for i in range(problem.seeds)])
    start = np.stack(
        [start_scale * np.random.default_rng([problem.seed, i, 1]).normal(size=x.shape[2]) for i in range(len(y))]
    )
    return descend_linear(np.asarray(x), y, start, lr, steps, option)
