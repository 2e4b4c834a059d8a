"""What an ensemble of seeds trains on: one model, and for each seed a task and a start, the same for all arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.ensemble.runner import starting_points
from langevin_ib.errors import ConfigError, one_line
from langevin_ib.models import Model, Params, Task, stack_tasks
from langevin_ib.models.training import Training, cast
from langevin_ib.session import check_open

# One stream of JAX's random numbers for each use; tasks have NumPy's, seeded by (seed, index of the task).
STREAM = {"starts": 1, "chains": 2, "meter": 3, "check": 4, "noise": 5}


@dataclass(frozen=True)
class Problem:
    """One model on as many tasks as there are seeds.

    Attributes:
        model: gives parameters, loss, symmetry, and in `training` its examples.
        seeds: their number.
        seed: of all randomness.
        tasks: stacked, leading axis the seed; None where all seeds learn the model's own.
        restart: standard deviation of the start's entries ↦ the model with such starts; None where it cannot be set.
        start_scale: the default of that; None without `restart`.
        recover: θ ↦ the unknown: amplitudes w (figure 5), signal x (6), matrix T (4); None for a teacher.
        truth: of the unknown, leading axis the seed; None where it is not given.
        precision: bits of the parameters.
    """

    model: Model
    seeds: int
    seed: int
    tasks: Task | None = None
    restart: Callable[[float], Model] | None = None
    start_scale: float | None = None
    recover: Callable[[Params], Float[Array, "..."]] | None = None
    truth: Float[np.ndarray, "seed ..."] | None = None
    precision: int = 32

    @property
    def training(self) -> Training:
        """The model's examples; that there are none is a ValueError."""
        if self.model.training is None:
            raise ValueError(f"{self.model.name} says nothing of what its examples are")
        return self.model.training

    @property
    def own_tasks(self) -> Task:
        """Each seed's own task, stacked; that there are none is a ValueError."""
        if self.tasks is None:
            raise ValueError("its seeds have no tasks of their own")
        return self.tasks

    @property
    def known(self) -> Float[np.ndarray, "seed ..."]:
        """The truth, or NaN in its place where it is not known."""
        return np.full((self.seeds, 1), np.nan) if self.truth is None else self.truth

    def key(self, use: str) -> Key[Array, ""]:
        """The key of one use of randomness: the same for all arms, which so see the same batches."""
        return jax.random.fold_in(jax.random.key(self.seed), STREAM[use])

    def starts(self, scale: float | None = None) -> Params:
        """Where each seed starts; the same directions at every scale.

        Raises:
            ValueError: the scale is not positive, or cannot be set.
            UsageError: no session is open.
        """
        check_open()
        model = self.model
        if scale is not None:
            if not scale > 0:
                raise ValueError(f"the scale of the starts must be positive, got {scale:g}")
            if self.restart is None:
                raise ValueError(f"the scale of the starts of {model.name} cannot be set")
            model = self.restart(scale)
        return starting_points(model.init, self.key("starts"), self.seeds, f"float{self.precision}")

    def task_of(self, seed: int) -> Task:
        """What a seed learns."""
        return self.training.task if self.tasks is None else {name: leaf[seed] for name, leaf in self.tasks.items()}

    def tasks_like(self, like: Params) -> Task | None:
        """Each seed's task in the precision of the parameters; None where all learn the model's own."""
        return None if self.tasks is None else cast(self.tasks, like)


def size_of(params: Params) -> int:
    """q, the number of parameters at one point."""
    return ravel_pytree(params)[0].size


def draw_tasks(model: Model, seeds: int, seed: int) -> Task:
    """A task for each seed, drawn by the model from NumPy's generator of (seed, index), whatever their number.

    Raises:
        ValueError: the model has one task only.
        ConfigError: a task cannot be drawn with the model's options.
    """
    draw = model.training and model.training.draw_task
    if draw is None:
        raise ValueError(f"{model.name} has one task only")
    try:
        return stack_tasks([draw(np.random.default_rng([seed, i])) for i in range(seeds)])
    except ValueError as error:
        raise ConfigError("set", "such that every seed's task can be drawn", one_line(error)) from None
