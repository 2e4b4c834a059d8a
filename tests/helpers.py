"""What several test files use."""

import jax
import jax.numpy as jnp

from langevin_ib.ensemble import Observer, Schedule, run_ensemble
from langevin_ib.streaming import count


def starts(model, count=4, seed=5):
    """Some of a model's starts, in float64."""
    return [
        jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(key))
        for key in jax.random.split(jax.random.key(seed), count)
    ]


def advance(model, kernel, begin, steps, key=0, dtype=jnp.float64, **options):
    """The ends of some chains."""
    return run_ensemble(
        kernel,
        jax.tree.map(lambda leaf: leaf.astype(dtype), begin),
        Observer(model.loss, count(), lambda loss: {"loss": loss}),
        key=jax.random.key(key),
        schedule=Schedule(0, steps, 1, (1,)),
        escaped=lambda p: model.loss(p) > 1e9,
        stage="test",
        step_size=0.0,
        **options,
    )
