"""Separable data: a loss of class labels that falls for ever along a ray has no minimum, and there is no law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from langevin_ib.background import FAST
from langevin_ib.config.run import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.laws.family import Reduction
from langevin_ib.models.losses import Loss
from langevin_ib.models.training import cast

STARTS = 4
ITERATIONS = 300
SCALES = 2.0 ** np.arange(11)  # along a ray, from where all labels are right


def check_separable(config: RunConfig, reduction: Reduction) -> None:
    """Refuse data that the model separates, unless something holds the parameters.

    L-BFGS looks for parameters at which every label of the data set is right; there, for predictors that grow with
    their parameters, the loss falls to 0 along the ray through them. What it does not find is not refused.

    Args:
        config: of the run.
        reduction: model and confinement; looked at if its loss is one of class labels.

    Raises:
        ConfigError: of the setting `confine`: loss and confinement have no minimum along a ray.
    """
    training = reduction.model.training
    if training is None or training.example_loss.labels == "real" or not training.size:
        return
    chart, loss = reduction.chart, training.example_loss
    potential = reduction.confinement.potential(reduction.model)

    def energy(x):
        return potential(chart.section(x))

    def start(key):
        return chart.of(reduction.model.init(key)).astype(jnp.float64)

    def along(x):
        point = chart.section(x)
        known = cast(training.task, point)
        right = _margins(loss, training.predict(point, known["x"]), known["y"])
        values = jax.vmap(lambda c: potential(jax.tree.map(lambda leaf: c * leaf, point)))(jnp.asarray(SCALES))
        return jnp.min(right), values

    with jax.enable_x64(True):
        value_and_gradient, ray = jax.jit(jax.value_and_grad(energy)), jax.jit(along, compiler_options=FAST)

        def on_host(x):
            value, gradient = value_and_gradient(x)
            finite = np.isfinite(value) and np.isfinite(gradient).all()
            return (float(value), np.asarray(gradient)) if finite else (1e300, np.zeros_like(x))

        for key in jax.random.split(jax.random.key(0), STARTS):
            found = scipy.optimize.minimize(
                on_host, np.asarray(start(key)), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
            )
            margin, values = map(np.asarray, ray(found.x))
            if margin > 0.0 and np.all(np.diff(values) <= 0.0):
                raise ConfigError(
                    "confine",
                    f"weight-decay with loss {loss.name} here (and a weight_decay): the data are separable, all "
                    f"{training.size} labels right at once, so that the loss falls to 0 at infinity and has no minimum",
                    config.confine,
                )


def _margins(loss: Loss, predictions: Array, labels: Array) -> Float[Array, "..."]:
    """By how much each label is right: y f of a sign, f_y less the largest of the others of a class."""
    if loss.labels == "signs":
        return labels * predictions
    own = jax.nn.one_hot(labels.astype(jnp.int32), predictions.shape[-1], dtype=bool)
    right = jnp.sum(jnp.where(own, predictions, 0.0), axis=-1)
    return right - jnp.max(jnp.where(own, -jnp.inf, predictions), axis=-1)
