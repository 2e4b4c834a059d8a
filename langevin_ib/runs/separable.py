"""Separable data: a loss of class labels that falls for ever along a ray has no minimum, and there is no law."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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
from langevin_ib.models.training import Training, cast

STARTS, ITERATIONS = 16, 300  # of L-BFGS
PATHS, EXAMPLES = 256, 30_000  # of Adam, all at once; fewer for large data sets, so that their examples are no more
STEPS, RATE = 500, 0.05
POLISHED = 8  # ends of these paths that L-BFGS goes on from
SCALES = 2.0 ** np.arange(11)  # along a ray, from where all labels are right
NOTHING = 1e-9  # by which a confinement may rise along rays of the slice, where it is 0 but for rounding

Point = Float[np.ndarray, " k"]


def check_separable(config: RunConfig, reduction: Reduction) -> None:
    """Refuse data that the model separates, unless something holds the parameters or labels are flipped.

    Parameters are looked for at which every label of the data set is right. There a predictor that grows with its
    parameters, such as a positively homogeneous one, f(cθ) = c^k f(θ), sends the loss to 0 along the ray through them;
    that it falls there is checked. Who looks is L-BFGS from 16 starts; then, of more than one coordinate, where a
    ReLU network has poor local minima, Adam from up to 256, and L-BFGS from its best ends. What they do not find is not
    refused.

    Args:
        config: of the run.
        reduction: model and confinement; looked at if its loss is one of class labels.

    Raises:
        ConfigError: of the setting `confine`: loss and confinement have no minimum along a ray.
    """
    training = reduction.model.training
    if training is None or training.example_loss.labels == "real" or not training.size:
        return
    if training.labels is not None and training.labels.rate:
        return  # along each ray a flipped label is wrong by more and more
    with jax.enable_x64(True):
        search = _Search(reduction, training)
        if search.held() or not any(map(search.falls, search.places())):
            return
    raise ConfigError(
        "confine",
        f"weight-decay with loss {training.example_loss.name} here (and a weight_decay): the data are separable, all "
        f"{training.size} labels right at once, so that the loss falls to 0 at infinity and has no minimum",
        config.confine,
    )


class _Search:
    """Parameters that get all labels right, in float64."""

    def __init__(self, reduction: Reduction, training: Training) -> None:
        chart, model, confinement = reduction.chart, reduction.model, reduction.confinement
        potential = confinement.potential(model)

        def margin(x):
            point = chart.section(x)
            known = cast(training.task, point)
            return jnp.min(_margins(training.example_loss, training.predict(point, known["x"]), known["y"]))

        def ray(x, of):
            return jax.vmap(lambda c: of(jax.tree.map(lambda leaf: c * leaf, chart.section(x))))(jnp.asarray(SCALES))

        self._start: Callable = lambda key: chart.of(model.init(key)).astype(jnp.float64)
        self._energy: Callable = lambda x: potential(chart.section(x))
        self._margin = margin
        self._along: Callable = lambda x: (margin(x), ray(x, potential))
        self._holds: Callable = lambda key: ray(
            self._start(key), lambda p: confinement.energy(model, p) + training.penalty(p)
        )
        self._slope = jax.jit(jax.value_and_grad(self._energy))
        self._paths = int(np.clip(EXAMPLES // training.size, POLISHED, PATHS)) if chart.dim > 1 else 0

    def held(self) -> bool:
        """Whether what is added to the loss grows along rays."""
        holds = jax.jit(jax.vmap(self._holds), compiler_options=FAST)(jax.random.split(jax.random.key(0), POLISHED))
        return bool(np.all(np.asarray(holds)[:, -1] > np.asarray(holds)[:, 0] + NOTHING))

    def falls(self, x: Point) -> bool:
        """Whether all labels are right, and the potential does not rise along the ray."""
        margin, values = map(np.asarray, jax.jit(self._along, compiler_options=FAST)(x))
        return bool(margin > 0.0 and np.all(np.diff(values) <= NOTHING))

    def places(self) -> Iterator[Point]:
        """Where the search ends."""
        for key in jax.random.split(jax.random.key(0), STARTS):
            yield self._lowest(np.asarray(self._start(key)))
        if self._paths:
            keys = jax.random.split(jax.random.key(1), self._paths)
            margins, best, energies, ends = map(np.asarray, jax.jit(jax.vmap(self._path))(keys))
            yield best[np.argmax(margins)]
            yield from map(self._lowest, ends[np.argsort(energies)[:POLISHED]])

    def _lowest(self, start: Point) -> Point:
        def on_host(x):
            value, gradient = self._slope(x)
            finite = np.isfinite(value) and np.isfinite(gradient).all()
            return (float(value), np.asarray(gradient)) if finite else (1e300, np.zeros_like(x))

        options = {"maxiter": ITERATIONS}
        return scipy.optimize.minimize(on_host, start, jac=True, method="L-BFGS-B", options=options).x

    def _path(self, key: Array) -> tuple[Array, Array, Array, Array]:
        """The largest margin on a path of Adam, where it was, and the energy and place at its end."""
        import optax  # noqa: PLC0415 - most runs need none

        adam, start = optax.adam(RATE), self._start(key)

        def step(state: Any, _: None) -> tuple[Any, None]:
            x, moments, margin, best = state
            change, moments = adam.update(jax.grad(self._energy)(x), moments)
            x = x + change
            here = self._margin(x)
            return (x, moments, jnp.maximum(margin, here), jnp.where(here > margin, x, best)), None

        first = (start, adam.init(start), self._margin(start), start)
        (x, _, margin, best), _ = jax.lax.scan(step, first, None, length=STEPS)
        return margin, best, self._energy(x), x


def _margins(loss: Loss, predictions: Array, labels: Array) -> Float[Array, "..."]:
    """By how much each label is right: y f of a sign, f_y less the largest of the others of a class."""
    if loss.labels == "signs":
        return labels * predictions
    own = jax.nn.one_hot(labels.astype(jnp.int32), predictions.shape[-1], dtype=bool)
    right = jnp.sum(jnp.where(own, predictions, 0.0), axis=-1)
    return right - jnp.max(jnp.where(own, -jnp.inf, predictions), axis=-1)
