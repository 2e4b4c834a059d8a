"""Gradient noise: its settings, and what a kind of it is; noises of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from langevin_ib.config.extensions import load
from langevin_ib.config.noises import HookSettings, NoiseSettings
from langevin_ib.config.records import checked_record
from langevin_ib.dynamics.hook import DRAWS, Hook, Seen, draw_keys, seen
from langevin_ib.dynamics.kicks import KicksOf
from langevin_ib.dynamics.noise_records import Along, Batch, Cumulants, Each, Lesson, Source
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Model, Params
from langevin_ib.models.losses import LabelNoise
from langevin_ib.models.training import Task, Training


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
            error of law (S). They are not known either without `outcomes`, where noise of labels is not normal.
        kicks: (noise, along, k) ↦ the distribution of e·ĝ, with label noise, as points and weights on the host
            (`kicks.Kicks`), the better the larger k; `along` has a leading axis of places. None if it is not known, and
            with it the law `map`.
        outcomes: whether `kicks` and `cumulants` know labels whose noise is not normal, as that of a loss which is no
            square: `along.chance` and `along.moves`, and `along.third` and `along.fourth`; without it there is neither
            the law `map` nor the error of law (S) of these.
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
