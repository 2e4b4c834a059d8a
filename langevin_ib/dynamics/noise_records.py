"""What the functions of a noise take and give: a step, each example at a point, the same along a direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.models.base import Params
from langevin_ib.models.losses import LabelSpread
from langevin_ib.models.training import Examples, Task, Training, size_of

if TYPE_CHECKING:
    from langevin_ib.dynamics.noise import Noise


class Source(NamedTuple):
    """What the steps of a noise are made from: its settings, a training, and shapes.

    Attributes:
        noise: with its own `settings`.
        training: of the model; its `predict` are the outputs, its `risk` is the loss on a task.
        like: parameters of one chain.
        task: whose shapes the noise takes: `x`, `y` and `weight` of a data set.
    """

    noise: Noise
    training: Training
    like: Params
    task: Task

    @property
    def examples(self) -> int:
        """n."""
        return size_of(self.task)

    @property
    def dtype(self) -> Any:
        """That of the parameters."""
        return jnp.result_type(*jax.tree.leaves(self.like))


class Lesson(NamedTuple):
    """What one chain learns.

    Attributes:
        task: in the precision of its parameters: `x`, `y` and `weight` of a data set.
        loss: θ ↦ L(θ), which follows from it.
    """

    task: Task
    loss: Callable[[Params], Float[Array, ""]]


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
        examples: their `x` and `y`.
        weight: w, of the loss w/2 |f − y|² of each.
        memory: what the chain remembers of it.
    """

    examples: Examples
    weight: Any
    memory: Any


class Each(NamedTuple):
    """What each example gives at a point θ, of n examples, o outputs and q parameters.

    Attributes:
        params: θ.
        share: the probability with which a step draws it, 1/n of a data set.
        jacobian: J_i, of its outputs.
        weight: w, one for all.
        gradients: g_i = w J_iᵀ ∂ℓ/∂f, in the mean over noisy labels; for squares w J_iᵀ(f_i − y_i). So share @
            gradients is ∇L without the penalty.
        outputs: f_i.
        spread: what noise on labels does to ∂ℓ/∂f; None for squares, where s does it, and without such noise.
    """

    params: Params
    share: Float[Array, " n"]
    jacobian: Float[Array, "n o q"]
    weight: Any
    gradients: Float[Array, "n q"]
    outputs: Float[Array, "n o"]
    spread: LabelSpread | None = None


class Along(NamedTuple):
    """The same along a direction e.

    Attributes:
        share: as in `Each`.
        gradient: e·g_i.
        label: w² s² |J_i e|², the variance of its label noise.
        response: w J_i e: a label that is moved by δ takes that times δ from e·g_i.
        chance: of each outcome of a noisy label, where ℓ is no square and an example has one label; None: label noise
            is normal, or the sum of that of several labels.
        moves: what each outcome adds to e·g_i.
        third: the third cumulant of label noise; None: it is normal.
        fourth: the fourth.
    """

    share: Float[Array, " n"]
    gradient: Float[Array, " n"]
    label: Float[Array, " n"]
    response: Float[Array, "n o"]
    chance: Float[Array, " k"] | None = None
    moves: Float[Array, "n k"] | None = None
    third: Float[Array, " n"] | None = None
    fourth: Float[Array, " n"] | None = None


class Cumulants(NamedTuple):
    """Cumulants of e·ĝ, the noise along a direction.

    Attributes:
        second: its variance.
        third: its third central moment.
        fourth: its fourth central moment, less three times the square of the second.
    """

    second: Float[Array, ""]
    third: Float[Array, ""]
    fourth: Float[Array, ""]
