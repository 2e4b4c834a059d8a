"""The lowest loss of a model, by L-BFGS in float64: what λ̂ is measured from.

From starts of the model before the draws, and behind them from where a few chains ended, as these may have found a
basin to which no start leads; beyond that nothing of the draws goes into it. The tolerance is what the last quadratic
model of the optimiser says that the loss has left to fall, ½ gᵀH⁻¹g, at the best point, and the rounding there.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree

from langevin_ib.background import FAST
from langevin_ib.errors import ModelError
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Model, Params
from langevin_ib.statistics.learning import Lowest

STARTS, LARGE, FEW = 8, 1000, 4  # starts; of more than so many parameters, where each is dear, fewer
ITERATIONS = 2000
ROUGH, FINE = 1e-8, 1e-15  # of the loss, from all starts and from the best end
NOWHERE = 1e30  # stands for a loss that is not finite
EPS = float(np.finfo(np.float64).eps)
STRETCH, FALL = 2.0, 0.5  # a loss that falls to less than this share of itself at so many times θ has no end


class LossDescent:
    """L-BFGS on the loss of a model, in float64; loss and gradient are compiled once for all that it comes down from.

    Args:
        model: whose loss it is.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

        def first():
            return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(jax.random.key(0)))

        with jax.enable_x64(True):
            self.flat, self.unravel = ravel_pytree(jax.jit(first, compiler_options=FAST)())
        self._both = jax.jit(jax.value_and_grad(lambda x: model.loss(self.unravel(x))), compiler_options=FAST)

    @property
    def count(self) -> int:
        """From how many points."""
        return STARTS if self.flat.size <= LARGE else FEW

    def from_starts(self) -> tuple[Lowest, Params]:
        """ℓ_min from the model's starts, and where.

        Raises:
            ModelError: at none of the starts loss and gradient are finite.
        """

        def start(key):
            return ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), self.model.init(key)))[0]

        with jax.enable_x64(True):
            keys = jax.random.split(jax.random.key(1), self.count)
            return self._lowest(np.asarray(jax.jit(lambda: jax.lax.map(start, keys))()))

    def from_ends(self, found: Lowest, ends: Any) -> Lowest:
        """ℓ_min once some of the places where chains ended, a leading axis in each leaf, have come down too."""
        chains = len(jax.tree.leaves(ends)[0])
        places = np.unique(np.linspace(0, chains - 1, self.count).astype(int))
        flat = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[places], ends)
        with jax.enable_x64(True):
            rows = (jax.tree.map(lambda leaf, i=i: leaf[i], flat) for i in range(len(places)))
            try:
                again, _ = self._lowest(np.stack([ravel_pytree(row)[0] for row in rows]))
            except ModelError:  # none of them is finite: the run says so elsewhere
                return found
        best = again if again.loss < found.loss else found
        return best._replace(starts=found.starts, ends=len(places), endless=found.endless or again.endless)

    def _lowest(self, points: np.ndarray) -> tuple[Lowest, Params]:
        """The lowest end from these points, and where it is."""
        best = min((self._descend(x, ROUGH) for x in points), key=lambda end: end.fun)
        if not best.fun < NOWHERE:
            raise ModelError(f"model {self.model.name}: its loss is finite, with its gradient, at none of its starts")
        best = self._descend(best.x, FINE)
        _, gradient = self._on_host(best.x)
        left = 0.5 * float(gradient @ best.hess_inv.dot(gradient))
        endless = 0.0 <= self._on_host(STRETCH * best.x)[0] < FALL * best.fun
        tolerance = max(left, 0.0) + EPS * abs(float(best.fun))
        return Lowest(float(best.fun), tolerance, len(points), endless=endless), self.unravel(best.x)

    def _descend(self, x: np.ndarray, accuracy: float):
        options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": accuracy, "gtol": accuracy}
        return scipy.optimize.minimize(self._on_host, x, jac=True, method="L-BFGS-B", options=options)  # pyright: ignore

    def _on_host(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self._both(x)
        finite = bool(np.isfinite(value)) and bool(np.isfinite(gradient).all())
        return (float(value), np.asarray(gradient)) if finite else (NOWHERE, np.zeros_like(x))


def loss_descent(reduction: Reduction) -> LossDescent:
    """That of a run's model, made once: before its draws for their starts, and behind them for their ends."""
    return reduction.program("lowest", lambda: LossDescent(reduction.model))


def lowest_loss(model: Model) -> tuple[Lowest, Params]:
    """ℓ_min from the model's starts, and where.

    Raises:
        ModelError: at none of the starts loss and gradient are finite.

    >>> from langevin_ib.models import uv
    >>> lowest, _ = lowest_loss(uv())
    >>> lowest.loss < 1e-15, lowest.starts
    (True, 8)
    """
    return LossDescent(model).from_starts()
