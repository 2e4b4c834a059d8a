"""How finely the examples of a step and the noise of their labels are integrated: points and weights of both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float
from scipy.stats import qmc

from langevin_ib.models.base import Params
from langevin_ib.models.losses import NODES
from langevin_ib.models.normals import REACH, normal_grid
from langevin_ib.models.training import Examples, Task, Training

if TYPE_CHECKING:
    from langevin_ib.dynamics.noise import Noise

HERMITE_NODES = 9  # of squares; exact for polynomials of degree 17 in each input
FINE_NODES = (48, 24, 11)  # in each of one, two, three inputs, for the whole distribution of a kick
MOST_INPUTS = 3  # more inputs than these are sampled instead
SAMPLED_INPUTS = 8192
REACH_OF_SEVERAL = 6.0  # standard deviations of each of two or three inputs
USUAL, FINEST = 14, 28  # `count` of a covariance, and the largest by which points still grow
PAIRS = 32768  # examples times nodes of their labels, about, for the whole distribution of a kick
MANY, FEWER = 4096, 129  # examples above which a covariance has fewer nodes of a label than NODES, and how many


class Points(NamedTuple):
    """Of how many points sums over examples and noisy labels are.

    Attributes:
        inputs: in each normal number of a population by quadrature, or samples of all together.
        labels: nodes of a label's normal noise, where ℓ is no square.
        hermite: whether those of inputs are Gauss and Hermite's, as of squares, else the trapezoidal rule's.
        sampled: whether the inputs are too many for quadrature.
        quasi: whether samples are Sobol's points, else 8192 independent draws.
    """

    inputs: int
    labels: int = NODES
    hermite: bool = True
    sampled: bool = False
    quasi: bool = False


def from_population(training: Training, noise: Noise) -> bool:
    """Whether the examples of a step are those of the population."""
    return noise.record.population or not training.size


def points_of(training: Training, noise: Noise, count: int | None = None) -> Points:
    """The points of a noise.

    For squares, polynomials of the inputs where predictions are, Gauss–Hermite. Slopes of other losses have kinks or
    turn steeply, and are summed by the trapezoidal rule. More than three inputs are sampled.

    Args:
        training: of the model.
        noise: of the steps.
        count: for the whole distribution of a kick, as `kicks.KicksOf` counts; None for its covariance.
    """
    squared, finer = training.example_loss.squared, min(USUAL if count is None else count, FINEST)
    inputs, examples, of_inputs = 0, max(training.size, 1), Points(1)
    if from_population(training, noise):
        inputs = int(np.prod(training.population.shape))
        of_inputs = _points_of_inputs(inputs, squared, smoothed=bool(noise.label_noise), count=count)
        examples = of_inputs.inputs if of_inputs.sampled else of_inputs.inputs ** max(inputs, 1)
    if squared or not noise.label_noise:
        return of_inputs
    if count is None:
        return of_inputs._replace(labels=NODES if examples <= MANY else FEWER)
    # However many examples there are, a finer rule has more nodes, so that two rules tell what the nodes miss.
    return of_inputs._replace(labels=max(2 * finer + 33, min(16 * finer + 33, PAIRS // examples)))


def _points_of_inputs(inputs: int, squared: bool, smoothed: bool, count: int | None) -> Points:
    finer = min(USUAL if count is None else count, FINEST)
    if inputs > MOST_INPUTS:
        if count is None:
            return Points(SAMPLED_INPUTS, sampled=True)
        return Points(2 ** (7 + round(2.0 * math.log2(finer) - 1.6)), sampled=True, quasi=True)
    if squared:
        return Points(HERMITE_NODES if count is None else FINE_NODES[max(inputs, 1) - 1])
    # Where noise on the labels smooths kinks away, fewer inputs do, and labels can have more.
    of_one = 4 * finer + 9 if smoothed else 16 * finer + 33
    return Points({2: 2 * finer + 5, 3: finer + 3}.get(inputs, of_one), hermite=False)


def population_of(
    training: Training, noise: Noise, task: Task, params: Params, points: Points
) -> tuple[Examples, Float[Array, " n"], Any]:
    """The examples that a step draws from, their probabilities, and their weight."""
    if from_population(training, noise):
        normals, share = _normals(training.population.shape, points)
        dtype = jax.tree.leaves(params)[0].dtype
        fresh = training.population
        return fresh.examples(task, jnp.asarray(normals, dtype)), jnp.asarray(share, dtype), fresh.weight
    x, y = task["x"], task["y"]
    return Examples(x, y), jnp.full(len(y), 1.0 / len(y), y.dtype), task["weight"]


def _normals(shape: tuple[int, ...], points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Normal numbers with a leading axis, and their weights."""
    size, count = int(np.prod(shape)), points.inputs
    if points.sampled:
        if points.quasi:
            uniform = qmc.Sobol(size, rng=np.random.default_rng(count)).random(count)
            drawn = scipy.special.ndtri(uniform).reshape(count, *shape)
        else:
            drawn = np.random.default_rng(0).normal(size=(count, *shape))
        return drawn, np.full(count, 1.0 / count)
    if not points.hermite:
        grid, product = normal_grid(size, count, REACH if size == 1 else REACH_OF_SEVERAL)
        return grid.reshape(-1, *shape), product
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[nodes] * size, indexing="ij")], axis=-1)
    product = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[weights] * size, indexing="ij")]), axis=0)
    return grid.reshape(-1, *shape), product / product.sum()
