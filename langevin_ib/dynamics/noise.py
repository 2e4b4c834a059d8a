"""Gradient noise: what a kind of it is, and its covariance Σ(θ) at a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.config.extensions import load
from langevin_ib.config.noises import HookSettings, NoiseSettings
from langevin_ib.config.records import checked_record
from langevin_ib.dynamics.hook import DRAWS, Hook, Seen, draw_keys, seen
from langevin_ib.dynamics.kicks import AlongPlaces, Kicks, KicksOf
from langevin_ib.dynamics.populations import USUAL, Points, points_of, population_of
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry.charges import GradientNoise
from langevin_ib.models.base import Model, Params
from langevin_ib.models.losses import LabelNoise, LabelSpread, label_spread
from langevin_ib.models.training import Examples, Task, Training, cast, size_of


@dataclass(frozen=True)
class Noise:
    """Where the noise of a stochastic gradient comes from.

    Attributes:
        kind: the name of a `NoiseKind`. Built-in are `minibatch`: examples drawn from the data set; `bernoulli`: each
            example of the data set kept with probability ½ at each step, and weighted by 2; `fresh`: examples drawn
            anew from the population; `label`: the whole data set, its labels perturbed at every step; `isotropic`:
            the same in every direction and at every point, as strong as that of `minibatch` (or without a batch size
            of `label`) at a minimum; `none`: full-batch gradient descent.
        batch_size: B, examples in a step; None for the whole data set.
        label_noise: s, standard deviation of the noise added to each label of a step.
        flip_rate: of labels that are signs or classes instead: the probability with which one of a step is another.
        replace: whether a minibatch is drawn with replacement, independently at each step; else by epochs, each of
            which takes the examples in a new random order (and leaves n mod B of them out).
        isotropized: whether the noise vector is replaced by one of the same length in a uniformly random direction:
            isotropic noise whose strength matches at every point, of covariance (tr Σ/q) I.
        own: settings that only its kind has; None for their defaults.
        scale: m, of a step that takes ∇L + m(ĝ − ∇L): its covariance is m²Σ, and its k-th cumulant m^k times that of ĝ.

    Raises:
        ConfigError: settings that contradict each other, or a kind that nothing goes by.
    """

    kind: str
    batch_size: int | None = None
    label_noise: float = 0.0
    replace: bool = True
    isotropized: bool = False
    own: NoiseSettings | None = None
    scale: float = 1.0
    flip_rate: float = 0.0

    def __post_init__(self) -> None:
        record, kind = self.record, self.kind
        takes, batched = record.settings.takes, record.settings.batched
        if batched and not (self.batch_size and self.batch_size >= 1):
            raise ConfigError("batch_size", f"a whole number from 1 with noise {kind}", self.batch_size)
        if "batch_size" not in takes and self.batch_size is not None:
            raise ConfigError("batch_size", f"left out with noise {kind}, which takes all examples", self.batch_size)
        if "label_noise" not in takes and self.label_noise:
            raise ConfigError("label_noise", f"left out with noise {kind}", self.label_noise)
        if "label_noise" not in takes and self.flip_rate:
            raise ConfigError("flip_rate", f"left out with noise {kind}", self.flip_rate)
        if "label_noise" in takes and self.batch_size is None and self.labels.silent:
            raise ConfigError("label_noise", f"a positive number with noise {kind}", self.label_noise)
        if not self.replace and "replacement" not in takes:
            raise ConfigError("replace", f"yes with noise {kind}", "no")
        if self.isotropized and (record.noiseless or record.constant):
            raise ConfigError("isotropized", f"no with noise {kind}", "yes")
        if not self.scale > 0:
            raise ConfigError("scale", "a positive number", self.scale)

    @property
    def record(self) -> NoiseKind:
        """What its kind is."""
        return kind_of(self.kind)

    @property
    def labels(self) -> LabelNoise:
        """What it does to the labels of a step."""
        return LabelNoise(self.label_noise, self.flip_rate)

    @property
    def settings(self) -> NoiseSettings:
        """Those that only its kind has."""
        return self.record.settings() if self.own is None else self.own

    @property
    def given(self) -> str:
        """The noise in terms of its settings."""
        kind = f"isotropized {self.kind}" if self.isotropized else self.kind
        optional = self.batch_size is not None and not self.record.settings.batched
        return f"{kind} with batch_size {self.batch_size}" if optional else kind

    @property
    def words(self) -> str:
        """The noise in a sentence."""
        return "isotropized noise" if self.isotropized else self.record.words

    @property
    def batches(self) -> str:
        """What a step sees, in a title."""
        of = "" if self.batch_size is None else f" of {self.batch_size}"
        return self.record.batches or self.record.words + of

    @property
    def across(self) -> bool:
        """Whether it lies across the orbits."""
        return self.record.across and not self.isotropized

    @property
    def dependence(self) -> str | None:
        """Why gradients of different steps are correlated; None if they are independent."""
        return self.record.dependence(self)

    def check(self, model: Model) -> Training:
        """The training of a model that has what this noise needs.

        Raises:
            ConfigError: the model has no examples, no data set, or no population.
        """
        training = model.training
        if training is None:
            raise ConfigError("noise", f"none for {model.name}, which says nothing of its examples", self.given)
        self.record.check(self, model, training)
        check_labels(self, training)
        return training


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


def check_data(noise: Noise, model: Model, training: Training) -> None:
    """There has to be a data set."""
    if not training.size:
        raise ConfigError("noise", f"fresh or none for {model.name} here: it has no data set", noise.given)


def check_labels(noise: Noise, training: Training) -> None:
    """Label noise that a loss's labels can have: s for numbers, flips for signs and classes.

    Raises:
        ConfigError: it is the other, or a loss of one's own has more than one label an example.
    """
    loss = training.example_loss
    if loss.labels == "real" and noise.flip_rate:
        wanted = f"left out with loss {loss.name}, whose labels are numbers, which label_noise moves"
        raise ConfigError("flip_rate", wanted, noise.flip_rate)
    if loss.labels != "real" and noise.label_noise:
        wanted = f"left out with loss {loss.name}, whose labels are classes, which flip_rate changes"
        raise ConfigError("label_noise", wanted, noise.label_noise)
    if not (noise.labels.silent or loss.additive) and np.size(training.task.get("y", 0.0)) > training.size > 0:
        option = "flip_rate" if noise.flip_rate else "label_noise"
        wanted = f"left out with loss {loss.name}, which has more than one label an example and is not additive (Loss)"
        raise ConfigError(option, wanted, getattr(noise, option))


def _independent(noise: Noise) -> None:
    del noise


def _uncorrelated(noise: Noise, size: int) -> np.ndarray:
    del noise, size
    return np.zeros(0)


@dataclass(frozen=True)
class NoiseKind:
    """One kind of gradient noise, as pure functions of one chain (but for `draw`), and what is known of it.

    It says what a step's gradient is by `batch`, where that is the mean over some examples, whose labels then can be
    perturbed, or by `gradient`; one that is a function of one's own, by its `hook` (`own_noise`).
    Label noise, a factor and a random direction (`Noise.scale`, `isotropized`) come on top of either, and are none of a
    kind's concern: neither in its draws, nor in its covariance.

    Attributes:
        settings: which of SGD's settings it takes.
        words: what it is called in a sentence.
        batches: what a step sees, in a title; empty for its words and the batch size.
        covariance: (noise, each) ↦ Σ(θ) of one step's gradient, (q, q), that of label noise left out; None of a hook.
        check: (noise, model, training) ↦ None, or a `ConfigError` where the model has not what it needs.
        batch: (source, drawn, task, memory) ↦ the examples of a step.
        gradient: (source, drawn, θ, lesson, memory) ↦ a step's gradient and the memory that is left.
        draw: (source, key, chains) ↦ randomness of one step for all chains, leading axis the chain; None for none.
        init: (source, task) ↦ what a chain remembers at its start.
        cumulants: (noise, along) ↦ cumulants of e·ĝ, with label noise; None if they are not known, and with them the
            error of law (S).
        kicks: (noise, along, k) ↦ the distribution of e·ĝ, with label noise, as points and weights on the host
            (`kicks.Kicks`), the better the larger k; `along` has a leading axis of places. None if it is not known, and
            with it the law `map`.
        outcomes: whether `kicks` knows labels whose noise is not normal, `along.chance` and `along.moves`, as that of
            a loss which is no square; without it there is no law `map` of these.
        dependence: noise ↦ why gradients of different steps are correlated, as the beginning of a sentence; None if
            they are independent.
        correlation: (noise, n) ↦ ρ_k, the correlation of gradients k = 1, 2, … steps apart; empty if there is none.
        population: whether its examples come from the population, not from the data set.
        across: whether it lies across the orbits, as the noise of every gradient of invariant losses does.
        noiseless: whether there is no noise at all.
        constant: whether it is Gaussian, isotropic and at every point as strong as at the minimum of the loss, so that
            chains move by Euler and Maruyama's step at its temperature there, and not by `sgd`.
        hook: the function that it is, which says what is known of Σ and the third cumulant.
    """

    settings: type[NoiseSettings]
    words: str
    covariance: Callable[[Noise, Each], Float[Array, "q q"]] | None
    check: Callable[[Noise, Model, Training], None] = check_data
    batch: Callable[[Source, Any, Task, Any], Batch] | None = None
    gradient: Callable[[Source, Any, Params, Lesson, Any], tuple[Params, Any]] | None = None
    draw: Callable[[Source, Key[Array, ""], int], Any] | None = None
    init: Callable[[Source, Task], Any] | None = None
    cumulants: Callable[[Noise, Along], Cumulants] | None = None
    kicks: KicksOf | None = None
    outcomes: bool = False
    dependence: Callable[[Noise], str | None] = _independent
    correlation: Callable[[Noise, int], np.ndarray] = _uncorrelated
    population: bool = False
    across: bool = True
    noiseless: bool = False
    constant: bool = False
    batches: str = ""
    hook: Hook | None = None


@cache
def kind_of(name: str) -> NoiseKind:
    """The record of a kind; of a function by itself that of `own_noise`.

    Raises:
        ConfigError: there is none of that name.
    """
    found = load("noise", name)
    kind = found if isinstance(found, NoiseKind) or not callable(found) else own_noise(found)
    kind = checked_record("noise", name, kind, NoiseKind)
    ways = (kind.batch is not None) + (kind.gradient is not None) + kind.constant
    if ways != 1:
        raise ConfigError(
            "noise", "a NoiseKind with a batch or a gradient", f"{name}, with {'both' if ways else 'none'}"
        )
    if kind.gradient is not None and "label_noise" in kind.settings.takes:
        raise ConfigError("noise", "a NoiseKind with a batch, as it takes label_noise", f"{name}, with a gradient")
    return kind


def own_noise(
    gradient: Callable[[Key[Array, ""], Params, Seen], Params],
    *,
    covariance: Callable[[Params, Seen], Float[Array, "q q"]] | None = None,
    third: Callable[[Params, Seen, Float[Array, " q"]], Float[Array, ""]] | None = None,
    words: str = "",
    draws: int = DRAWS,
) -> NoiseKind:
    """A noise that is a function, with what is known of it; what is not is estimated from its draws.

    Args:
        gradient: (key, θ, examples) ↦ ĝ of one step, a tree like θ, whose mean over keys is ∇L(θ); `examples` has `x`,
            `y`, `size`, `loss` and `gradient` (`hook.Seen`).
        covariance: (θ, examples) ↦ Σ(θ), q × q, θ as one vector.
        third: (θ, examples, e) ↦ the third cumulant of e·ĝ, e a direction.
        words: what it is called in a sentence; empty for the function's name.
        draws: behind each estimate of Σ(θ), a multiple of 64: its relative error is about √(2/draws).

    Raises:
        ConfigError: of the draws cannot be made 64 batches of two at least.

    >>> own_noise(lambda key, theta, examples: examples.gradient(theta), words="nothing random").words
    'nothing random'
    """
    name = getattr(gradient, "__name__", type(gradient).__name__).strip("<>")
    hook = Hook(name, gradient, covariance, third, draws)

    def draw(source: Source, key: Key[Array, ""], chains: int) -> Any:
        del source
        return draw_keys(key, chains)

    def step(source: Source, drawn: Any, params: Params, lesson: Lesson, memory: Any) -> tuple[Params, Any]:
        key = jax.random.wrap_key_data(drawn)
        return hook.step(key, params, seen(source.training, lesson.task, lesson.loss)), memory

    return NoiseKind(
        settings=HookSettings,
        words=words or name.replace("_", " "),
        covariance=None,
        check=_nothing_to_check,
        gradient=step,
        draw=draw,
        hook=hook,
    )


def _nothing_to_check(noise: Noise, model: Model, training: Training) -> None:
    del noise, model, training


def standard_normals(key: Key[Array, ""], chains: int, shape: tuple[int, ...], dtype: Any) -> Float[Array, "chain ..."]:
    """Standard normal numbers; where an example is a matrix, with all its axes turned round in memory.

    So `attend` reads them as it goes, examples last. In the other order XLA transposes inside each of its sums.
    """
    if len(shape) < 3:
        return jax.random.normal(key, (chains, *shape), dtype)
    drawn = jax.random.normal(key, (chains, *shape[::-1]), dtype)
    return jnp.transpose(drawn, (0, *range(len(shape), 0, -1)))


def gradient_noise(training: Training, noise: Noise, params: Params, task: Task | None = None) -> GradientNoise:
    """∇L(θ) and the covariance Σ(θ) of one step's gradient.

    With f_i = f(θ, x_i), its Jacobian J_i and per-example gradients g_i = w J_iᵀ(f_i − y_i), moments over the data set
    are means, and those over the population are by quadrature (`populations`; more than three inputs: over 8192 fixed
    draws, with a relative error of about 1%). Noise of labels adds w² s² E J_iᵀJ_i/B to the covariance of a kind, B = n
    on the whole data set; a random direction makes it (tr Σ/q) I. Without replacement, Σ is that of a single step.

    Args:
        training: of the model.
        noise: what is drawn.
        params: θ.
        task: what is learnt; None for the model's own.
    """
    if noise.record.hook is not None:
        risk = training.task if task is None else task
        slope = ravel_pytree(jax.grad(lambda theta: training.risk(risk, theta))(params))[0]
        covariance = covariance_batches(training, noise, params, task).mean(axis=0)
        return GradientNoise(slope, isotropic_covariance(covariance) if noise.isotropized else covariance)
    each = _each(training, noise, params, task)
    mean = each.share @ each.gradients
    mean_gradient = mean + ravel_pytree(jax.grad(training.penalty)(params))[0]
    return GradientNoise(mean_gradient, covariance_of(noise, each))


def covariance_batches(
    training: Training, noise: Noise, params: Params, task: Task | None = None
) -> Float[Array, "batch q q"]:
    """Σ(θ) of a hook from independent batches of draws, or the one that it states, of the scaled noise."""
    hook = noise.record.hook
    if hook is None:
        raise ValueError("only the covariance of a hook comes in batches")
    return noise.scale**2 * hook.batches(training, params, task)


def covariance_of(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """Σ of a noise from what each example gives at θ: of its kind and its labels, scaled, and turned if isotropized."""
    known = noise.record.covariance
    if known is None:
        raise ValueError("the covariance of a hook does not follow from its examples")
    covariance, q = known(noise, each), each.gradients.shape[1]
    if jnp.shape(covariance) != (q, q):
        wanted = f"a NoiseKind whose covariance is a matrix of {q} × {q}"
        raise ConfigError("noise", wanted, f"{noise.kind}, with one of shape {jnp.shape(covariance)}")
    if noise.record.batch is not None and each.spread is not None:
        covariance = covariance + _label_covariance(noise, each, each.spread)
    elif noise.record.batch is not None:
        size = float(noise.batch_size or each.share.size)
        second = jnp.einsum("i,ioq,iop->qp", each.share, each.jacobian, each.jacobian)
        covariance = covariance + (each.weight * noise.label_noise) ** 2 / size * second
    if noise.scale != 1.0:
        covariance = noise.scale**2 * covariance
    return isotropic_covariance(covariance) if noise.isotropized else covariance


def _label_covariance(noise: Noise, each: Each, spread: LabelSpread) -> Float[Array, "q q"]:
    """w² E J_iᵀ Cov(∂ℓ/∂f_i) J_i/B, over noisy labels: what they add to Σ where ℓ is no square."""
    size, (n, _, parts, _) = float(noise.batch_size or each.share.size), spread.moves.shape
    jacobian = each.jacobian.reshape(n, parts, -1, each.jacobian.shape[-1])
    slopes = jnp.einsum("k,nked,nkef->nedf", spread.chance, spread.moves, spread.moves)
    return each.weight**2 / size * jnp.einsum("n,nedq,nedf,nefp->qp", each.share, jacobian, slopes, jacobian)


def isotropic_covariance(covariance: Float[Array, "q q"]) -> Float[Array, "q q"]:
    """(tr Σ/q) I."""
    q = covariance.shape[0]
    return jnp.trace(covariance) / q * jnp.eye(q, dtype=covariance.dtype)


def no_covariance(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """Of a kind whose examples are the same at every step: zero."""
    del noise
    q = each.gradients.shape[1]
    return jnp.zeros((q, q), each.gradients.dtype)


def batch_covariance(noise: Noise, each: Each) -> Float[Array, "q q"]:
    """Cov g_i/B, of B examples drawn independently."""
    spread = each.gradients - each.share @ each.gradients
    return (each.share[:, None] * spread).T @ spread / float(noise.batch_size or each.share.size)


def cumulants(training: Training, noise: Noise, params: Params, direction: Float[Array, " q"]) -> Cumulants:
    """Cumulants of e·ĝ for independent steps.

    Args:
        training: of the model.
        noise: with independent steps, not isotropized.
        params: θ.
        direction: e.

    Raises:
        LawError: those of this noise are not known.
    """
    known, m = noise.record.cumulants, noise.scale
    if noise.record.hook is not None and not noise.isotropized:
        stated = _hook_cumulants(training, noise.record.hook, params, direction)
        return Cumulants(m**2 * stated.second, m**3 * stated.third, m**4 * stated.fourth)
    if known is None or noise.isotropized:
        raise LawError(f"law sgd: the third and fourth cumulants of {noise.words} are not known")
    each = _each(training, noise, params, None)
    stated = known(noise, _along(noise, each, direction))
    return stated if m == 1.0 else Cumulants(m**2 * stated.second, m**3 * stated.third, m**4 * stated.fourth)


def _hook_cumulants(training: Training, hook: Hook, params: Params, direction: Float[Array, " q"]) -> Cumulants:
    """Those that it states, the others from the draws behind its Σ."""
    second, third, fourth = hook.moments(training, params, direction).mean(axis=0)
    excess = fourth - 3.0 * second**2
    if hook.covariance is not None:
        second = direction @ hook.batches(training, params)[0] @ direction
    stated = hook.stated_third(training, params, direction)
    return Cumulants(second, third if stated is None else stated, excess)


def kicks_of(noise: Noise, along: AlongPlaces, count: int) -> Kicks:
    """The distribution of e·ĝ of a noise whose kind knows it, scaled about its mean."""
    known = noise.record.kicks
    if known is None:
        raise LawError(f"law map: {noise.words} says nothing of the distribution of its kicks (kicks of its NoiseKind)")
    if along.moves is not None and not noise.record.outcomes:
        raise LawError(
            f"law map: the kicks of {noise.words} know normal noise of labels alone, and that of this loss is another "
            "(outcomes of its NoiseKind)"
        )
    kicks = known(noise, along, count)
    if noise.scale == 1.0:
        return kicks
    mean = (kicks.weights * kicks.values).sum(axis=1, keepdims=True)
    return Kicks(mean + noise.scale * (kicks.values - mean), kicks.weights)


def along_direction(
    training: Training, noise: Noise, params: Params, direction: Float[Array, " q"], points: Points | None = None
) -> Along:
    """What each example gives along e; of a population by a finer quadrature than its covariance asks for.

    Args:
        training: of the model.
        noise: of the steps.
        params: θ.
        direction: e.
        points: of the examples and their noisy labels; None for the usual ones of a kick.

    Raises:
        LawError: an example has more than one noisy label of a loss that is no square, whose outcomes are not listed.
    """
    each = _each(training, noise, params, None, points or points_of(training, noise, USUAL))
    if each.spread is not None and each.spread.moves.shape[2] > 1:
        raise LawError("law map: with more than one label an example the kicks of label noise are not known")
    return _along(noise, each, direction)


def _along(noise: Noise, each: Each, direction: Float[Array, " q"]) -> Along:
    slope = each.jacobian @ direction
    if each.spread is not None:
        return _along_outcomes(each, each.spread, slope, direction)
    label = (each.weight * noise.label_noise) ** 2 * jnp.sum(slope**2, axis=1)
    return Along(each.share, each.gradients @ direction, label, each.weight * slope)


def _along_outcomes(
    each: Each, spread: LabelSpread, slope: Float[Array, "n o"], direction: Float[Array, " q"]
) -> Along:
    """`_along` where noisy labels have outcomes of their own: cumulants of an example are sums over its labels."""
    n, _, labels, _ = spread.moves.shape
    moves = each.weight * jnp.einsum("nked,ned->nek", spread.moves, slope.reshape(n, labels, -1))
    second, third, fourth = (moves**power @ spread.chance for power in (2, 3, 4))
    listed = (spread.chance, moves[:, 0]) if labels == 1 else (None, None)
    return Along(
        each.share,
        each.gradients @ direction,
        jnp.sum(second, axis=1),
        each.weight * slope,
        *listed,
        jnp.sum(third, axis=1),
        jnp.sum(fourth - 3.0 * second**2, axis=1),
    )


def batch_cumulants(noise: Noise, along: Along) -> Cumulants:
    """Of B examples drawn independently: those of one example divided by B, B², B³.

    With h_i = e·g_i and l_i² = w² s² |J_i e|², the central moments of an example are Var h + E l², E (h − h̄)³ +
    3 E (h − h̄) l² and E (h − h̄)⁴ + 6 E (h − h̄)² l² + 3 E l⁴; where label noise is not normal, κ₃ of it joins them as
    E κ₃, and as 4 E (h − h̄) κ₃, and κ₄ as E κ₄.
    """
    share, label, size = along.share, along.label, noise.batch_size or along.share.size
    spread = along.gradient - share @ along.gradient
    second = share @ (spread**2 + label)
    third = share @ (spread**3 + 3.0 * spread * label)
    fourth = share @ (spread**4 + 6.0 * spread**2 * label + 3.0 * label**2) - 3.0 * second**2
    if along.third is not None and along.fourth is not None:
        third = third + share @ along.third
        fourth = fourth + share @ (4.0 * spread * along.third + along.fourth)
    return Cumulants(second / size, third / size**2, fourth / size**3)


def gaussian_cumulants(noise: Noise, along: Along) -> Cumulants:
    """Of label noise on the whole data set: Gaussian, of variance E l²/n, or a mean of n independent outcomes."""
    del noise
    zero, n = jnp.zeros_like(along.label[0]), along.share.size
    second = along.share @ along.label / n
    if along.third is None or along.fourth is None:
        return Cumulants(second, zero, zero)
    return Cumulants(second, along.share @ along.third / n**2, along.share @ along.fourth / n**3)


def _each(training: Training, noise: Noise, params: Params, task: Task | None, points: Points | None = None) -> Each:
    task = cast(training.task if task is None else task, params)
    points = points or points_of(training, noise)
    examples, share, weight = population_of(training, noise, task, params, points)
    flat, unravel = ravel_pytree(params)

    def output(theta, x):
        return training.predict(unravel(theta), jax.tree.map(lambda leaf: leaf[None], x))[0]

    def error(theta, x, y):
        return jnp.ravel(output(theta, x) - y)

    outputs = jax.vmap(lambda x: jnp.ravel(output(flat, x)))(examples[0])
    loss = training.example_loss
    if not loss.squared:
        shaped = jax.vmap(lambda x: output(flat, x))(examples[0])
        jacobian = jax.vmap(jax.jacrev(lambda theta, x: jnp.ravel(output(theta, x))), in_axes=(None, 0))(
            flat, examples[0]
        )
        slopes, spread = loss.slopes(shaped, examples[1]).reshape(outputs.shape), None
        if not noise.labels.silent:
            slopes, spread = label_spread(loss, noise.labels, shaped, examples[1], points.labels)
        gradients = weight * jnp.einsum("io,ioq->iq", slopes, jacobian)
        return Each(params, share, jacobian, weight, gradients, outputs, spread)
    errors = jax.vmap(error, in_axes=(None, 0, 0))(flat, *examples)
    jacobian = jax.vmap(jax.jacrev(error), in_axes=(None, 0, 0))(flat, *examples)
    return Each(params, share, jacobian, weight, weight * jnp.einsum("io,ioq->iq", errors, jacobian), outputs)


def memory_factor(noise: Noise, size: int, momentum: float) -> float:
    """1 + 2 Σ_k μ^k ρ_k: the factor of correlated noise under momentum, in the mean drift of χ.

    With heavy-ball momentum p = θ − ημ/(1 − μ) m moves by −η/(1 − μ) ĝ a step, and χ(p) on average by (η/(1 − μ))²
    times E χ(ĝ) and this factor, ρ_k the correlation of gradients k steps apart: 1 for independent steps.

    Args:
        noise: of the gradient.
        size: n, examples in the data set.
        momentum: μ.

    >>> memory_factor(Noise("minibatch", 4), 16, 0.9), memory_factor(Noise("minibatch", 4, replace=False), 16, 0.0)
    (1.0, 1.0)
    >>> round(memory_factor(Noise("minibatch", 4, replace=False), 16, 0.9), 4)
    0.1585
    """
    correlation = noise.record.correlation(noise, size)
    return float(1.0 + 2.0 * np.sum(float(momentum) ** np.arange(1, len(correlation) + 1) * correlation))
