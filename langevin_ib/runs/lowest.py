"""The lowest loss of a model, by L-BFGS in float64 from its starts: what λ̂ is measured from.

Nothing of the run's draws goes into it. Its tolerance is what the last quadratic model of the optimiser says that the
loss has left to fall, ½ gᵀH⁻¹g, at the best point, and the rounding of the loss there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree

from langevin_ib.background import FAST
from langevin_ib.errors import ModelError
from langevin_ib.models.base import Model, Params
from langevin_ib.statistics.learning import Lowest

STARTS, LARGE, FEW = 8, 1000, 4  # starts; of more than so many parameters, where each is dear, fewer
ITERATIONS = 2000
ROUGH, FINE = 1e-8, 1e-15  # of the loss, from all starts and from the best end
NOWHERE = 1e30  # stands for a loss that is not finite
EPS = float(np.finfo(np.float64).eps)


def lowest_loss(model: Model) -> tuple[Lowest, Params]:
    """ℓ_min, and where.

    Raises:
        ModelError: at none of the starts loss and gradient are finite.

    >>> from langevin_ib.models import uv
    >>> lowest, _ = lowest_loss(uv())
    >>> lowest.loss < 1e-15, lowest.starts
    (True, 8)
    """
    with jax.enable_x64(True):

        def start(key):
            return ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(key)))[0]

        def first():
            return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(jax.random.key(0)))

        flat, unravel = ravel_pytree(jax.jit(first, compiler_options=FAST)())
        value_and_gradient = jax.jit(jax.value_and_grad(lambda x: model.loss(unravel(x))), compiler_options=FAST)

        def on_host(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = value_and_gradient(x)
            finite = bool(np.isfinite(value)) and bool(np.isfinite(gradient).all())
            return (float(value), np.asarray(gradient)) if finite else (NOWHERE, np.zeros_like(x))

        count = STARTS if flat.size <= LARGE else FEW
        starts = np.asarray(jax.jit(lambda: jax.lax.map(start, jax.random.split(jax.random.key(1), count)))())

        def descend(x: np.ndarray, accuracy: float):
            options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": accuracy, "gtol": accuracy}
            return scipy.optimize.minimize(on_host, x, jac=True, method="L-BFGS-B", options=options)  # pyright: ignore

        best = min((descend(x, ROUGH) for x in starts), key=lambda end: end.fun)
        if not best.fun < NOWHERE:
            raise ModelError(f"model {model.name}: its loss is finite, with its gradient, at none of its starts")
        best = descend(best.x, FINE)
        _, gradient = on_host(best.x)
        left = 0.5 * float(gradient @ best.hess_inv.dot(gradient))
        return Lowest(float(best.fun), max(left, 0.0) + EPS * abs(float(best.fun)), count), unravel(best.x)
