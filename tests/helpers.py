"""What several test files use."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.runner import Observer, Schedule, run_ensemble
from langevin_ib.models import build_model
from langevin_ib.models.training import Examples, Fresh, Training, no_penalty


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
        Observer(lambda state: model.loss(state.position), count(), lambda loss: {"loss": loss}),
        key=jax.random.key(key),
        schedule=Schedule(0, steps, 1, (1,)),
        escaped=lambda p: model.loss(p) > 1e9,
        stage="test",
        step_size=0.0,
        **options,
    )


def skewed():
    """uv on ½(z − 1)² in expectation, each label 1 + 2 (Exp(1) − 1), fresh at every step."""

    def predict(p, x):
        return x * p[0] * p[1]

    def examples(task, normals):
        exponential = -jax.scipy.special.log_ndtr(-normals)
        return Examples(jnp.ones_like(normals), task["y"][0] + 2.0 * (exponential - 1.0))

    training = Training(
        predict=predict,
        task={"y": np.ones(1)},
        risk=lambda task, p: 0.5 * (p[0] * p[1] - 1.0) ** 2,
        penalty=no_penalty,
        fresh=Fresh((), examples),
    )
    return dataclasses.replace(build_model("uv"), training=training)
