"""Losses per example, ℓ(prediction, label): some by name, any function, and what noise on labels makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.errors import ConfigError, one_line
from langevin_ib.models.normals import normal_rule

Labels = Literal["real", "signs", "classes"]
LossFunction: TypeAlias = Callable[[Any, Any], Any]

NODES = 257  # of a label's normal noise
HUBER = 1.0


@dataclass(frozen=True)
class Loss:
    """A loss of one example.

    Attributes:
        name: what it is called.
        value: (prediction, label) of one example ↦ ℓ, a number; differentiable in the prediction. Labels come in the
            precision of the parameters, those that are class indices too.
        labels: what labels are: `real` numbers, which label noise moves by s ε; `signs`, −1 and 1, or `classes`, the
            indices 0, 1, … over the last axis of the prediction, which label noise flips.
        additive: whether it is a sum over the labels of an example, the k-th a function of label k and of the k-th
            part of the prediction alone. Without it, label noise needs one label an example. Labels have the leading
            axes of a prediction, or one of them is broadcast to the other.

    >>> Loss("absolute", lambda f, y: jnp.sum(jnp.abs(f - y))).labels
    'real'
    """

    name: str
    value: LossFunction
    labels: Labels = "real"
    additive: bool = False

    @property
    def squared(self) -> bool:
        """Whether it is ½|f − y|², which has closed forms everywhere."""
        return self.value is _half_square

    @property
    def _built_in(self) -> bool:
        return getattr(self.value, "func", self.value) in (_half_square, _logistic, _cross_entropy, _huber)

    def mean(self, predictions: Any, labels: Any) -> Float[Array, ""]:
        """mean_i ℓ(f_i, y_i), over a leading axis of examples."""
        return jnp.mean(self.each(predictions, labels))

    def each(self, predictions: Any, labels: Any) -> Float[Array, " n"]:
        """ℓ(f_i, y_i).

        Raises:
            ConfigError: it fails, it cannot be traced, or ℓ is no number.
        """
        losses = self._over(self.value, predictions, labels)
        if jnp.ndim(losses) != 1:
            got = f"{self.name}, which returns shape {losses.shape[1:]}"
            raise ConfigError("loss", "a function that returns one number for each example", got)
        return losses

    def slopes(self, predictions: Any, labels: Any) -> Any:
        """∂ℓ/∂f of each example, in the shape of the predictions.

        Raises:
            ConfigError: as `each`.
        """
        return self._over(jax.grad(self.value), predictions, labels)

    def _over(self, function: LossFunction, predictions: Any, labels: Any) -> Any:
        """Of each example; what goes wrong in a function of the user's is that function's fault."""
        try:
            return jax.vmap(function)(predictions, labels)
        except Exception as error:
            if self._built_in or isinstance(error, ConfigError):
                raise
            wanted = "a function (prediction, label) ↦ one number, in jax.numpy"
            raise ConfigError("loss", wanted, f"{self.name}, which fails: {one_line(error)}") from None

    def noisy_shape(self, prediction: tuple[int, ...], label: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what noise moves independently in an example, from the shapes of its prediction and its label.

        The label's own; but where either is broadcast to the other, as those of squares, Huber's and the logistic loss,
        each pair of an output and a label has one of its own.

        >>> huber().noisy_shape((3,), (1,)), Loss("own", lambda f, y: (f @ f - y[0]) ** 2).noisy_shape((3,), (1,))
        ((3,), (1,))
        >>> SQUARED.noisy_shape((), (2,)), SQUARED.noisy_shape((3, 1), (2,))
        ((2,), (3, 2))
        """
        return np.broadcast_shapes(prediction, label) if self._broadcasts(prediction, label) else label

    def output_shape(self, prediction: tuple[int, ...], label: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a prediction once it is broadcast to its label, where it is.

        >>> SQUARED.output_shape((), (2,)), CROSS_ENTROPY.output_shape((4,), ())
        ((2,), (4,))
        """
        return np.broadcast_shapes(prediction, label) if self._broadcasts(prediction, label) else prediction

    def _broadcasts(self, prediction: tuple[int, ...], label: tuple[int, ...]) -> bool:
        """Whether it is a sum over pairs of an output and a label."""
        if self._built_in or self.labels == "classes":
            return self.labels != "classes"
        return self.additive and label != prediction[: len(label)]

    def classes(self, prediction: tuple[int, ...]) -> int:
        """Number of classes for a prediction of this shape; 0 for labels that are numbers."""
        return {"real": 0, "signs": 2}.get(self.labels) or (prediction[-1] if self.labels == "classes" else 0)


def _half_square(prediction: Any, label: Any) -> Any:
    return 0.5 * jnp.sum((prediction - label) ** 2)


def _logistic(prediction: Any, label: Any) -> Any:
    return jnp.sum(jax.nn.softplus(-label * prediction))


def _cross_entropy(prediction: Any, label: Any) -> Any:
    if jnp.ndim(prediction) != jnp.ndim(label) + 1:
        wanted = f"predictions with a number for each class, of shape {(*jnp.shape(label), 'K')}"
        raise ValueError(f"loss cross-entropy must be given {wanted}, got shape {jnp.shape(prediction)}")
    index = jnp.asarray(label).astype(jnp.int32)[..., None]
    chosen = jnp.take_along_axis(prediction, index, axis=-1)[..., 0]
    return jnp.sum(jax.nn.logsumexp(prediction, axis=-1) - chosen)


def _huber(threshold: float, prediction: Any, label: Any) -> Any:
    import optax  # noqa: PLC0415 - a model without it needs none

    return jnp.sum(optax.losses.huber_loss(prediction, label, delta=threshold))


def huber(threshold: float = HUBER) -> Loss:
    """Σ ½r² for |r| ≤ δ, else δ(|r| − δ/2), r = f − y.

    Args:
        threshold: δ > 0.

    Raises:
        ValueError: δ is not positive.

    >>> float(huber(0.5).value(jnp.array(3.0), jnp.array(1.0)))
    0.875
    """
    if not (np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"huber_threshold must be a positive number, got {threshold:g}")
    return Loss("huber", partial(_huber, float(threshold)), additive=True)


SQUARED = Loss("squared", _half_square, additive=True)
LOGISTIC = Loss("logistic", _logistic, "signs", additive=True)
CROSS_ENTROPY = Loss("cross-entropy", _cross_entropy, "classes", additive=True)
LOSSES: Mapping[str, Loss] = {loss.name: loss for loss in (SQUARED, LOGISTIC, CROSS_ENTROPY, huber())}


def loss_of(loss: Loss | str | LossFunction) -> Loss:
    """A loss by its name, of a function (prediction, label) ↦ ℓ, or as it is.

    `squared`: ½|f − y|². `logistic`: log(1 + e^{−yf}), labels −1 and 1. `cross-entropy`: log Σ_k e^{f_k} − f_y, y the
    index of a class over the last axis of the prediction. `huber`: `huber()`.

    Raises:
        ValueError: nothing goes by that name.

    >>> loss_of("logistic").labels
    'signs'
    >>> loss_of("hinge")
    Traceback (most recent call last):
        ...
    ValueError: loss must be one of squared, logistic, cross-entropy, huber, or a function, got hinge
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, or a function, got {loss}")
        return LOSSES[loss]
    return Loss(getattr(loss, "__name__", "own"), loss)


def check_labels(loss: Loss, labels: Float[np.ndarray, "..."], classes: int) -> None:
    """Refuse labels that are none of a loss's: signs are −1 or 1, classes whole numbers from 0 to K − 1.

    Args:
        loss: ℓ.
        labels: of all examples.
        classes: K.

    Raises:
        ValueError: says what was wanted and the first that is wrong.

    >>> check_labels(LOGISTIC, np.array([1.0, 0.0]), 2)
    Traceback (most recent call last):
        ...
    ValueError: y must be made of −1 and 1 with loss logistic, got 0
    """
    right, wanted = np.isfinite(labels), "finite numbers"
    if loss.labels == "signs":
        right, wanted = np.abs(labels) == 1.0, "−1 and 1"
    elif loss.labels == "classes":
        right, wanted = np.isin(labels, np.arange(classes)), f"whole numbers from 0 to {classes - 1}"
    if not right.all():
        raise ValueError(f"y must be made of {wanted} with loss {loss.name}, got {labels[~right][0]:g}")


class LabelNoise(NamedTuple):
    """What a step does to its labels.

    Attributes:
        scale: s, standard deviation of what is added to labels that are real numbers.
        rate: the probability with which a label that is a sign or a class is another one, each as likely.
    """

    scale: float = 0.0
    rate: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether labels stay as they are."""
        return not (self.scale or self.rate)


def noisy_labels(loss: Loss, noise: LabelNoise, labels: Array, drawn: Array, classes: int) -> Array:
    """Labels of a step from `drawn`: standard normals for numbers, uniform numbers in [0, 1) for signs and classes."""
    if loss.labels == "real":
        return labels + noise.scale * drawn
    # A uniform number below the rate says which of the other classes, too.
    other = jnp.minimum(jnp.floor(drawn * (classes - 1) / max(noise.rate, 1e-30)), classes - 2)
    return jnp.where(drawn < noise.rate, _moved(loss, labels, other + 1, classes), labels)


def outcomes(
    loss: Loss, noise: LabelNoise, labels: Array, classes: int, nodes: int = NODES
) -> tuple[Float[Array, " k"], Array]:
    """What noise makes of labels, with a leading axis of k outcomes, and the probability of each outcome.

    Of one label; the labels of an example are independent, and the k-th outcome of each stands at the k-th place. Two
    outcomes of a sign, K of a class, and the nodes of a rule for normal noise.
    """
    labels = jnp.asarray(labels)
    if loss.labels == "real":
        epsilon, chance = normal_rule(nodes)
        moved = labels + noise.scale * jnp.asarray(epsilon, labels.dtype).reshape(-1, *[1] * labels.ndim)
        return jnp.asarray(chance, labels.dtype), moved
    chance = np.full(classes, noise.rate / (classes - 1))
    chance[0] = 1.0 - noise.rate
    return jnp.asarray(chance, labels.dtype), jnp.stack([_moved(loss, labels, k, classes) for k in range(classes)])


def _moved(loss: Loss, labels: Array, by: Any, classes: int) -> Array:
    """The label that is `by` places further round."""
    if loss.labels == "signs":
        return labels * (1.0 - 2.0 * by)
    return jnp.mod(labels + by, classes)


def mean_over_labels(loss: Loss, noise: LabelNoise | None) -> Loss:
    """E ℓ(f, ỹ) over noisy labels ỹ as a loss of f and the clean label y: what SGD with such noise descends on average.

    For squares, ½|f − y|² and a constant, it is the loss itself, without the constant.
    """
    if noise is None or noise.silent or loss.squared:
        return loss

    def value(prediction: Any, label: Any) -> Any:
        chance, moved = outcomes(loss, noise, label, loss.classes(jnp.shape(prediction)))
        # Outcomes of all labels of an example at once: a sum over labels has the mean of each.
        return chance @ jax.vmap(loss.value, in_axes=(None, 0))(prediction, moved)

    return Loss(loss.name, value, loss.labels, loss.additive)


class LabelSpread(NamedTuple):
    """How noise on labels moves the slope ∂ℓ/∂f of each example, of e independent labels with o/e outputs each.

    Attributes:
        chance: of each outcome of a label.
        moves: what an outcome adds to the mean slope.
    """

    chance: Float[Array, " k"]
    moves: Float[Array, "n k e d"]


def label_spread(
    loss: Loss, noise: LabelNoise, predictions: Array, labels: Array, nodes: int = NODES
) -> tuple[Float[Array, "n o"], LabelSpread]:
    """The mean of ∂ℓ/∂f over noisy labels, and what is about it."""
    shape = loss.noisy_shape(jnp.shape(predictions)[1:], jnp.shape(labels)[1:])
    n, parts = len(predictions), int(np.prod(shape)) if loss.additive else 1
    chance, moved = outcomes(loss, noise, labels, loss.classes(jnp.shape(predictions)[1:]), nodes)
    slopes = jax.vmap(loss.slopes, in_axes=(None, 0))(predictions, moved).reshape(len(chance), n, parts, -1)
    mean = jnp.einsum("k,kned->ned", chance, slopes)
    return mean.reshape(n, -1), LabelSpread(chance, jnp.moveaxis(slopes - mean, 0, 1))
