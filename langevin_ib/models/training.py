"""What a model is trained on: examples of a data set, or fresh Gaussian ones, and the loss that both stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from langevin_ib.models.losses import SQUARED, LabelNoise, Loss, LossFunction, loss_of, mean_over_labels

if TYPE_CHECKING:
    # Type checkers know no PyTree, and lose a shape that stands in an alias.
    Params: TypeAlias = Any
    Output: TypeAlias = jax.Array
else:
    Params: TypeAlias = PyTree[Float[Array, "..."]]
    Output: TypeAlias = Float[Array, "batch ..."]
Task: TypeAlias = Mapping[str, Any]


class Examples(NamedTuple):
    """Inputs and labels, leading axis the example."""

    x: Any
    y: Any


class Fresh(NamedTuple):
    """A population of examples, of which L is the mean.

    Attributes:
        shape: of the standard normal numbers behind one example.
        examples: (task, normals with a leading axis) ↦ examples, without label noise.
        weight: their w.
    """

    shape: tuple[int, ...]
    examples: Callable[[Task, Float[Array, "batch ..."]], Examples]
    weight: float = 1.0


@dataclass(frozen=True)
class Training:
    """L(θ) = w E ℓ(f(θ, x), y) + penalty(θ), ℓ = ½|f − y|² by default; f does not change along the orbits.

    A *task* is what the labels come from, as a mapping of arrays: a data set under the keys `x` and `y`, a teacher's
    parameters, `weight`, the w of its data set, and `mask`, what the square of each of its numbers (the loss of each
    example, if it is another) is multiplied by (absent: 1; a matrix to be completed has one as large as itself). The
    functions take it as an argument so that an ensemble can be trained on as many tasks as it has chains.

    Attributes:
        predict: (θ, x) ↦ f(θ, x), over a leading axis of examples.
        task: the model's own.
        risk: (task, θ) ↦ L(θ), the mean over the data set or over the population.
        penalty: θ ↦ the part of L that no example decides, a function of the invariants; its gradient has no noise.
        draw_task: NumPy generator ↦ another task by the same recipe; None where there is only one.
        fresh: the population, where there is one.
        loss: ℓ, by its name in `losses.LOSSES`, as a function (prediction, label) ↦ ℓ of one example, or a `Loss`.
        labels: noise on the labels that `risk` is the mean over; None: it is that of the labels as they are.

    Raises:
        ValueError: no loss goes by that name.
    """

    predict: Callable[[Params, Any], Output]
    task: Task
    risk: Callable[[Task, Params], Float[Array, ""]]
    penalty: Callable[[Params], Float[Array, ""]]
    draw_task: Callable[[np.random.Generator], Task] | None = None
    fresh: Fresh | None = None
    loss: Loss | str | LossFunction = SQUARED
    labels: LabelNoise | None = None

    def __post_init__(self) -> None:
        loss_of(self.loss)

    @property
    def example_loss(self) -> Loss:
        """ℓ."""
        return loss_of(self.loss)

    @property
    def population(self) -> Fresh:
        """The population; that there is none is a ValueError."""
        if self.fresh is None:
            raise ValueError("the loss is no population's")
        return self.fresh

    @property
    def size(self) -> int:
        """Number of examples in the model's own data set; 0 if the loss is a population's."""
        return size_of(self.task)

    def batch_loss(self, params: Params, examples: Examples, weight: Any) -> Float[Array, ""]:
        """w mean ℓ(f(θ, x_i), y_i) over some examples, and the penalty; for squares ½ w mean |f(θ, x_i) − y_i|²."""
        loss = self.example_loss
        if not loss.squared:
            return weight * loss.mean(self.predict(params, examples.x), examples.y) + self.penalty(params)
        error = self.predict(params, examples.x) - examples.y
        return 0.5 * weight * jnp.sum(error**2) / error.shape[0] + self.penalty(params)

    def mean_loss(self, params: Params, examples: Examples, weight: Any) -> Float[Array, ""]:
        """The same over clean labels, in the mean over `labels`: what `risk` is over a data set."""
        loss = mean_over_labels(self.example_loss, self.labels)
        if loss.squared:
            return self.batch_loss(params, examples, weight)
        return weight * loss.mean(self.predict(params, examples.x), examples.y) + self.penalty(params)


def size_of(task: Task) -> int:
    """Number of examples in a task's data set, those that fill it up included; 0 if it has none."""
    return len(task["x"]) if "x" in task else 0


def cast(task: Task, like: Params) -> dict[str, Array]:
    """A task's arrays in the precision of the parameters."""
    dtype = jax.tree.leaves(like)[0].dtype
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), dict(task))


def data_risk(
    predict: Callable[[Params, Any], Output],
    penalty: Callable[[Params], Float[Array, ""]],
    loss: Loss | str | LossFunction = SQUARED,
) -> Callable[[Task, Params], Float[Array, ""]]:
    """`risk` of a task that is a data set: the mean over all of its examples, each times its `mask` if there is one.

    Args:
        predict: f.
        penalty: as in `Training`.
        loss: ℓ, as in `Training`.
    """
    of_example = loss_of(loss)

    def mean_of_losses(task: Task, params: Params) -> Float[Array, ""]:
        known = cast(task, params)
        each = of_example.each(predict(params, known["x"]), known["y"])
        return known["weight"] * jnp.mean(known.get("mask", 1.0) * each) + penalty(params)

    if not of_example.squared:
        return mean_of_losses

    def risk(task: Task, params: Params) -> Float[Array, ""]:
        known = cast(task, params)
        square = (predict(params, known["x"]) - known["y"]) ** 2
        if "mask" in known:
            square = known["mask"].reshape(-1, *[1] * (square.ndim - 1)) * square
        return 0.5 * known["weight"] * jnp.sum(square) / square.shape[0] + penalty(params)

    return risk


def stack_tasks(tasks: list[Task]) -> Task:
    """One task for each chain, as arrays with a leading axis.

    Data sets of unequal size are filled up with examples 0 ↦ 0, and their weights scaled so that L stays what it was:
    where the model predicts 0 at x = 0, as all of this package do, these have no gradient.
    """
    longest = max((len(task["x"]) for task in tasks if "x" in task), default=0)

    def filled(task: Task) -> Task:
        missing = longest - len(task["x"]) if "x" in task else 0
        if not missing:
            return task
        grown = {key: np.pad(task[key], [(0, missing)] + [(0, 0)] * (np.ndim(task[key]) - 1)) for key in ("x", "y")}
        return {**task, **grown, "weight": task["weight"] * longest / (longest - missing)}

    return jax.tree.map(lambda *leaves: np.stack(leaves), *(filled(task) for task in tasks))


def data_training(
    predict: Callable[[Params, Any], Output],
    x: Any,
    y: Any,
    loss: Loss | str | LossFunction = SQUARED,
    *,
    weight: float = 1.0,
    penalty: Callable[[Params], Float[Array, ""]] | None = None,
) -> Training:
    """A data set and a loss per example: L(θ) = w mean_i ℓ(f(θ, x_i), y_i) + penalty(θ).

    `training.risk(training.task, θ)` is L, for the field `loss` of a model.

    Args:
        predict: (θ, x) ↦ f(θ, x), over a leading axis of examples.
        x: inputs, an array with a leading axis of examples.
        y: labels: of a prediction's shape, signs for `logistic`, indices for `cross-entropy`.
        loss: ℓ, by name, as a function of one prediction and one label, or a `Loss`.
        weight: w.
        penalty: θ ↦ a function of the invariants; none by default.

    Raises:
        ValueError: no loss goes by that name; there are no examples, or not as many labels.

    >>> training = data_training(lambda z, x: x * z, [1.0, 2.0], [1.0, -1.0], "logistic")
    >>> round(float(training.risk(training.task, jnp.zeros(()))), 4)
    0.6931
    """
    x, y = np.asarray(x), np.asarray(y)
    if not (x.ndim and y.ndim and len(x) == len(y) and len(x)):
        raise ValueError(f"y must be one label for each of the examples x, got shapes {x.shape} and {y.shape}")
    cost = no_penalty if penalty is None else penalty
    task = {"x": x, "y": y, "weight": weight}
    return Training(predict, task, data_risk(predict, cost, loss), cost, loss=loss)


def no_penalty(params: Params) -> Float[Array, ""]:
    """For losses that are all misfit."""
    return jnp.zeros((), jax.tree.leaves(params)[0].dtype)


def gaussian(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> Float[np.ndarray, "..."]:
    """A teacher's entries ~ N(0, scale²)."""
    return scale * random.normal(size=shape)


def imbalance(count: int, strength: float) -> Float[np.ndarray, " count"]:
    """s_j = exp(2λ(j − 1)/(count − 1) − λ), which stretches one factor of pair j and shrinks the other.

    Source: arXiv:2601.06597, eqs. (63), (66).

    >>> imbalance(3, 0.5).round(3).tolist()
    [0.607, 1.0, 1.649]
    """
    return np.exp(np.linspace(-strength, strength, count)) if count > 1 else np.exp(np.array([-strength]))
