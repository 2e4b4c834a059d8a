"""What several test files use."""

import jax
import jax.numpy as jnp


def starts(model, count=4, seed=5):
    """Some of a model's starts, in float64."""
    return [
        jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(key))
        for key in jax.random.split(jax.random.key(seed), count)
    ]
