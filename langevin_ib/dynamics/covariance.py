"""The covariance Σ(θ) of a step's gradient at a point, of each kind of noise, from what each example gives there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.noise_records import Each
from langevin_ib.dynamics.populations import Points, points_of, population_of
from langevin_ib.errors import ConfigError
from langevin_ib.geometry.charges import GradientNoise
from langevin_ib.models.base import Params
from langevin_ib.models.losses import LabelSpread, label_spread
from langevin_ib.models.training import Task, Training, cast


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
    each = each_example(training, noise, params, task)
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


def each_example(
    training: Training, noise: Noise, params: Params, task: Task | None, points: Points | None = None
) -> Each:
    """What each example gives at θ; of a population those of a quadrature, of so many points."""
    points = points or points_of(training, noise)
    task = cast(training.task if task is None else task, params)
    (inputs, labels), share, weight = population_of(training, noise, task, params, points)
    flat, unravel = ravel_pytree(params)
    loss = training.example_loss

    def output(theta, x):
        prediction = training.predict(unravel(theta), jax.tree.map(lambda leaf: leaf[None], x))[0]
        return jnp.broadcast_to(prediction, loss.output_shape(prediction.shape, labels.shape[1:]))

    shaped = jax.vmap(lambda x: output(flat, x))(inputs)
    outputs = shaped.reshape(len(shaped), -1)
    jacobian = jax.vmap(jax.jacrev(lambda theta, x: jnp.ravel(output(theta, x))), in_axes=(None, 0))(flat, inputs)
    spread = None
    if loss.squared:
        slopes = jax.vmap(jnp.subtract)(shaped, labels).reshape(outputs.shape)
    elif noise.labels.silent:
        slopes = loss.slopes(shaped, labels).reshape(outputs.shape)
    else:
        slopes, spread = label_spread(loss, noise.labels, shaped, labels, points.labels)
    gradients = weight * jnp.einsum("io,ioq->iq", slopes, jacobian)
    return Each(params, share, jacobian, weight, gradients, outputs, spread)


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
