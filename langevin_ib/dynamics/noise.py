"""Gradient noise: its kinds, its covariance Σ(θ) at a point, and the anisotropy of Σ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.errors import ConfigError
from langevin_ib.geometry.charges import GradientNoise
from langevin_ib.geometry.gram import all_fields
from langevin_ib.models.base import Model, Params
from langevin_ib.models.training import Examples, Task, Training, cast

KINDS = ("minibatch", "bernoulli", "label", "fresh", "none")
HERMITE_NODES = 9  # exact for polynomials of degree 17 in each input
HERMITE_INPUTS = 3  # more inputs than these are sampled instead
SAMPLED_INPUTS = 8192


@dataclass(frozen=True)
class Noise:
    """Where the noise of a stochastic gradient comes from.

    Attributes:
        kind: `minibatch`: examples drawn from the data set; `bernoulli`: each example of the data set kept with
            probability ½ at each step, and weighted by 2; `fresh`: examples drawn anew from the population; `label`:
            the whole data set, its labels perturbed at every step; `none`: full-batch gradient descent.
        batch_size: B, examples in a step; with `label` and `none` the whole data set.
        label_noise: s, standard deviation of the noise added to each label of a step.
        replace: whether a minibatch is drawn with replacement, independently at each step; else by epochs, each of
            which takes the examples in a new random order (and leaves n mod B of them out).
        isotropized: whether the noise vector is replaced by one of the same length in a uniformly random direction:
            isotropic noise whose strength matches at every point, of covariance (tr Σ/q) I.

    Raises:
        ConfigError: settings that contradict each other.
    """

    kind: str
    batch_size: int | None = None
    label_noise: float = 0.0
    replace: bool = True
    isotropized: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("noise", f"one of {', '.join(KINDS)}", repr(self.kind))
        batched = self.kind in ("minibatch", "fresh")
        if batched and not (self.batch_size and self.batch_size >= 1):
            raise ConfigError("batch_size", f"a whole number from 1 with noise {self.kind}", self.batch_size)
        if not batched and self.batch_size is not None:
            raise ConfigError(
                "batch_size", f"left out with noise {self.kind}, which takes all examples", self.batch_size
            )
        if self.kind == "bernoulli" and self.label_noise:
            raise ConfigError("label_noise", "left out with noise bernoulli", self.label_noise)
        if self.kind == "label" and not self.label_noise > 0:
            raise ConfigError("label_noise", "a positive number with noise label", self.label_noise)
        if self.kind == "none" and (self.label_noise or self.isotropized):
            raise ConfigError("label_noise", "left out with noise none", self.label_noise)
        if not self.replace and self.kind != "minibatch":
            raise ConfigError("replace", f"yes with noise {self.kind}", "no")

    @property
    def given(self) -> str:
        """The noise in terms of its settings."""
        if self.isotropized:
            return "isotropic" if self.batch_size is None else f"isotropic with batch_size {self.batch_size}"
        return self.kind

    def check(self, model: Model) -> Training:
        """The training of a model that has what this noise needs.

        Raises:
            ConfigError: the model has no examples, no data set, or no population.
        """
        training = model.training
        if training is None:
            raise ConfigError("noise", f"none for {model.name}, which says nothing of its examples", self.given)
        if self.kind == "fresh" and training.fresh is None:
            raise ConfigError("noise", f"another for {model.name} here: its loss is no population's", self.kind)
        if self.kind in ("minibatch", "bernoulli", "label") and not training.size:
            raise ConfigError("noise", f"fresh or none for {model.name} here: it has no data set", self.given)
        if self.kind == "minibatch" and training.size == 1:
            raise ConfigError(
                "noise",
                f"another for {model.name} here, whose only example is the whole batch (--set samples=16 gives more, "
                "where a model has that option)",
                self.given,
            )
        if self.kind == "minibatch" and not self.replace and int(self.batch_size or 0) > training.size:
            raise ConfigError("batch_size", f"at most the {training.size} examples of an epoch", self.batch_size)
        return training


def gradient_noise(training: Training, noise: Noise, params: Params, task: Task | None = None) -> GradientNoise:
    """∇L(θ) and the covariance Σ(θ) of one step's gradient.

    With f_i = f(θ, x_i), its Jacobian J_i and per-example gradients g_i = w J_iᵀ(f_i − y_i): Σ = (Cov g_i + w² s²
    E J_iᵀJ_i)/B over the data set, or over the population by Gauss–Hermite quadrature (more than three inputs: over
    8192 fixed draws, with a relative error of about 1%); for label noise on the whole data set w² s² E J_iᵀJ_i / n.
    With examples kept at random, Σ = (1/n) E g_i g_iᵀ, whose trace does not vanish where only the mean gradient does.
    Without replacement, the covariance of a single step, (n − B)/(n − 1) times that; the steps of an epoch then are
    correlated.

    Args:
        training: of the model.
        noise: what is drawn.
        params: θ.
        task: what is learnt; None for the model's own.
    """
    each = _each(training, noise, params, task)
    share, jacobian, weight, gradients = each.share, each.jacobian, each.weight, each.gradients
    mean = share @ gradients
    mean_gradient = mean + ravel_pytree(jax.grad(training.penalty)(params))[0]
    size = float(noise.batch_size or share.size)
    spread = gradients - mean
    sampling = (share[:, None] * spread).T @ spread / size
    if noise.kind == "minibatch" and not noise.replace:
        sampling = sampling * (share.size - size) / max(share.size - 1, 1)
    if noise.kind == "bernoulli":
        sampling = (share[:, None] * gradients).T @ gradients / share.size
    if noise.kind in ("label", "none"):
        sampling = jnp.zeros_like(sampling)
    label = (weight * noise.label_noise) ** 2 / size * jnp.einsum("i,ioq,iop->qp", share, jacobian, jacobian)
    covariance = sampling + label
    if noise.isotropized:
        q = mean.size
        covariance = jnp.trace(covariance) / q * jnp.eye(q, dtype=mean.dtype)
    return GradientNoise(mean_gradient, covariance)


class Cumulants(NamedTuple):
    """Second to fourth cumulant of the noise along a direction."""

    second: Float[Array, ""]
    third: Float[Array, ""]
    fourth: Float[Array, ""]


def cumulants(training: Training, noise: Noise, params: Params, direction: Float[Array, " q"]) -> Cumulants:
    """Cumulants of e·ĝ for independent steps: those of one example divided by B, B², B³.

    With h_i = e·g_i and l_i² = w² s² |J_i e|², the central moments of an example are Var h + E l², E (h − h̄)³ +
    3 E (h − h̄) l² and E (h − h̄)⁴ + 6 E (h − h̄)² l² + 3 E l⁴; label noise on the whole data set is Gaussian.

    Args:
        training: of the model.
        noise: with replacement, not isotropized.
        params: θ.
        direction: e.
    """
    each = _each(training, noise, params, None)
    share, size = each.share, noise.batch_size or each.share.size
    label = (each.weight * noise.label_noise) ** 2 * jnp.sum((each.jacobian @ direction) ** 2, axis=1)
    if noise.kind in ("label", "none"):
        zero = jnp.zeros_like(label[0])
        return Cumulants(share @ label / size, zero, zero)
    along = each.gradients @ direction
    along = along - share @ along
    second = share @ (along**2 + label)
    third = share @ (along**3 + 3.0 * along * label)
    fourth = share @ (along**4 + 6.0 * along**2 * label + 3.0 * label**2) - 3.0 * second**2
    return Cumulants(second / size, third / size**2, fourth / size**3)


class _Each(NamedTuple):
    """Per example: its probability, the Jacobian of its outputs, its w (one for all), its gradient."""

    share: Float[Array, " n"]
    jacobian: Float[Array, "n o q"]
    weight: Any
    gradients: Float[Array, "n q"]


def _each(training: Training, noise: Noise, params: Params, task: Task | None) -> _Each:
    task = cast(training.task if task is None else task, params)
    examples, share, weight = _population(training, noise, task, params)
    flat, unravel = ravel_pytree(params)

    def error(theta, x, y):
        batch = jax.tree.map(lambda leaf: leaf[None], x)
        return jnp.ravel(training.predict(unravel(theta), batch)[0] - y)

    outputs = jax.vmap(error, in_axes=(None, 0, 0))(flat, *examples)
    jacobian = jax.vmap(jax.jacrev(error), in_axes=(None, 0, 0))(flat, *examples)
    return _Each(share, jacobian, weight, weight * jnp.einsum("io,ioq->iq", outputs, jacobian))


def memory_factor(noise: Noise, size: int, momentum: float) -> float:
    """1 + 2 Σ_k μ^k ρ_k: the factor of correlated noise under momentum, in the mean drift of χ.

    With heavy-ball momentum p = θ − ημ/(1 − μ) m moves by −η/(1 − μ) ĝ a step, and χ(p) on average by (η/(1 − μ))²
    times E χ(ĝ) and this factor, ρ_k the correlation of gradients k steps apart: 1 for independent steps, and for the N
    batches of an epoch ρ_k = −(N − k)/N · B/(n − B), in whose limit μ → 1 the noise cancels.

    Args:
        noise: of the gradient.
        size: n, examples in the data set.
        momentum: μ.

    >>> memory_factor(Noise("minibatch", 4), 16, 0.9), memory_factor(Noise("minibatch", 4, replace=False), 16, 0.0)
    (1.0, 1.0)
    >>> round(memory_factor(Noise("minibatch", 4, replace=False), 16, 0.9), 4)
    0.1585
    """
    if noise.replace or not momentum or noise.batch_size is None or noise.batch_size >= size:
        return 1.0
    batch, steps = noise.batch_size, size // noise.batch_size
    lags = np.arange(1, steps)
    correlation = -(steps - lags) / steps * batch / (size - batch)
    return float(1.0 + 2.0 * np.sum(float(momentum) ** lags * correlation))


def _population(
    training: Training, noise: Noise, task: Task, params: Params
) -> tuple[Examples, Float[Array, " n"], Any]:
    """The examples that a step draws from, their probabilities, and their weight."""
    if noise.kind == "fresh" or not training.size:
        normals, share = _normals(training)
        dtype = jax.tree.leaves(params)[0].dtype
        fresh = training.population
        return fresh.examples(task, jnp.asarray(normals, dtype)), jnp.asarray(share, dtype), fresh.weight
    x, y = task["x"], task["y"]
    return Examples(x, y), jnp.full(len(y), 1.0 / len(y), y.dtype), task["weight"]


def _normals(training: Training) -> tuple[np.ndarray, np.ndarray]:
    shape = training.population.shape
    size = int(np.prod(shape))
    if size > HERMITE_INPUTS:
        return np.random.default_rng(0).normal(size=(SAMPLED_INPUTS, *shape)), np.full(
            SAMPLED_INPUTS, 1 / SAMPLED_INPUTS
        )
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[nodes] * size, indexing="ij")], axis=-1)
    product = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[weights] * size, indexing="ij")]), axis=0)
    return grid.reshape(-1, *shape), product / product.sum()


class NoiseReport(NamedTuple):
    """What an isotropic model would have to make of a gradient noise; see `measure`."""

    trace: Any
    temperature: Any
    anisotropy: Any
    effective_rank: Any
    orbit_share: Any
    misfit: Any


def measure(model: Model, covariance: Float[Array, "q q"], params: Params, lr: float) -> NoiseReport:
    """How far a gradient noise Σ at θ is from isotropic, and which temperature would come nearest.

    Returns:
        trace: tr Σ.
        temperature: T = η tr Σ/2q: Langevin dynamics at this T and step h = η makes kicks of the same mean square.
        anisotropy: the largest eigenvalue of Σ over the mean one; 1 for isotropic noise.
        effective_rank: (tr Σ)²/tr Σ², q for isotropic noise.
        orbit_share: tr PΣ/tr Σ, with P on the orbit directions ξ_a (those of a compact part included): 0 for the noise
            of SGD, whose every gradient is orthogonal to the orbits, m/q for isotropic noise.
        misfit: |Σ − (tr Σ/q) I| / |Σ| in the Frobenius norm, how far one T is from fitting: √(1 − r/q), r the
            effective rank.
    """
    q = covariance.shape[0]
    trace, square = jnp.trace(covariance), jnp.sum(covariance**2)
    basis = jnp.linalg.qr(all_fields(model, params).T)[0]
    gap = covariance - trace / q * jnp.eye(q, dtype=covariance.dtype)
    return NoiseReport(
        trace=trace,
        temperature=lr * trace / (2 * q),
        anisotropy=jnp.linalg.eigvalsh(covariance)[-1] * q / trace,
        effective_rank=trace**2 / square,
        # Not negative, as rounding may have it.
        orbit_share=jnp.maximum(jnp.trace(basis.T @ covariance @ basis) / trace, 0.0),
        misfit=jnp.sqrt(jnp.sum(gap**2) / square),
    )
