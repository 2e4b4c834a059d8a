"""Noises that are functions: of draws weighed by exponential numbers, of labels by Student's t, and wrong ones."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.noise import own_noise


def skewed(key, params, examples):
    """That of the book."""
    return examples.gradient(params, weights=jax.random.exponential(key, (examples.size,)))


def labelled(key, params, examples):
    """As built-in label noise of s = 1."""
    return examples.gradient(params, labels=examples.y + jax.random.normal(key, examples.y.shape))


def labels(key, params, examples):
    """That of the book."""
    return examples.gradient(params, labels=examples.y + 0.2 * jax.random.t(key, 1.5, examples.y.shape))


def student(key, params, examples):
    """Of 1.5 degrees of freedom, a ratio of normals to the power of one that is uniform: Pareto's tail, symmetric."""
    sign_key, size_key = jax.random.split(key)
    sizes = jax.random.uniform(size_key, examples.y.shape, minval=1e-7) ** (-1.0 / 1.5)
    return examples.gradient(params, labels=examples.y + 0.05 * jax.random.rademacher(sign_key, sizes.shape) * sizes)


def everywhere(key, params, examples):
    return examples.gradient(params) + 0.1 * jax.random.normal(key, params.shape)


def biased(key, params, examples):
    return 1.05 * skewed(key, params, examples)


def wide(key, params, examples):
    return jnp.zeros(3)


def broken(key, params, examples):
    return params @ jnp.zeros(5)


def _each(params, examples):
    """g_i."""
    one = jnp.eye(examples.size) * examples.size
    return jax.vmap(lambda weights: ravel_pytree(examples.gradient(params, weights=weights))[0])(one)


def covariance(params, examples):
    gradients = _each(params, examples)
    return gradients.T @ gradients / examples.size**2


def third(params, examples, direction):
    return 2.0 * jnp.sum((_each(params, examples) @ direction) ** 3) / examples.size**3


STATED = own_noise(skewed, covariance=covariance, third=third, words="exponential weights")
TOO_STRONG = own_noise(skewed, covariance=lambda params, examples: 1.5 * covariance(params, examples))
TOO_SKEWED = own_noise(skewed, third=lambda *given: 2.0 * third(*given))
PRECISE = own_noise(skewed, draws=2**18, words="exponential weights")
