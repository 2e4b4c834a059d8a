"""Kicks: the distribution of a step's gradient along a direction, as points and weights on the host.

What cumulants say to fourth order, these say as a whole: expectations over one step at any learning rate. A kick is the
mean over a batch of h_i + l_i ε, h_i = e·g_i of an example, l_i² the variance of its label noise, ε ~ N(0, 1). Few
outcomes are listed one by one. More are compressed to a Gauss rule, which has as many nodes as is asked for, k, and
the same moments up to the order 2k − 1 (Golub and Welsch, from Lanczos' recurrence); a sum of B independent terms is
made by doubling, each sum compressed in turn, which leaves those moments exact.

Source: Gautschi, Orthogonal Polynomials: Computation and Approximation, section 2.2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from langevin_ib.dynamics.noise import Along, Noise

LISTED = 256  # outcomes of a batch up to which they are listed
TRAPEZOID = 8.5  # a normal number's range, in standard deviations: beyond it lies 2e-17


class Kicks(NamedTuple):
    """At each place z, the points and weights of a kick; weights of a place sum to one."""

    values: Float[np.ndarray, "z k"]
    weights: Float[np.ndarray, "z k"]


def normal_kicks(mean: Float[np.ndarray, " z"], variance: Float[np.ndarray, " z"], count: int) -> Kicks:
    """N(mean, variance), by the trapezoidal rule, exact to rounding for what is smooth.

    It has count² points, so that a logarithm is averaged well too where a step multiplies by a number near 0.
    """
    epsilon = np.linspace(-TRAPEZOID, TRAPEZOID, count**2)
    weights = np.exp(-0.5 * epsilon**2)
    values = mean[:, None] + np.sqrt(variance)[:, None] * epsilon
    return Kicks(values, np.broadcast_to(weights / weights.sum(), values.shape))


def compressed(kicks: Kicks, count: int) -> Kicks:
    """The Gauss rule of `count` nodes with the moments of some kicks; these themselves, where they have no more.

    >>> coins = Kicks(np.array([[0.0, 1.0, 2.0]]), np.array([[0.25, 0.5, 0.25]]))
    >>> compressed(coins, 2).values.round(6).tolist()
    [[0.292893, 1.707107]]
    """
    values, weights = kicks
    if values.shape[1] <= count:
        return kicks
    centre = (weights * values).sum(axis=1, keepdims=True)
    scale = np.abs(values - centre).max(axis=1, keepdims=True)
    scale[scale == 0.0] = 1.0
    x = (values - centre) / scale
    basis = np.zeros((count, *x.shape))
    basis[0] = np.sqrt(weights)
    jacobi = np.zeros((len(x), count, count))
    for k in range(count):
        image = x * basis[k]
        jacobi[:, k, k] = np.einsum("zi,zi->z", image, basis[k])
        if k + 1 == count:
            break
        for _ in range(2):  # against all before, twice: the recurrence alone loses orthogonality
            image -= np.einsum("kz,kzi->zi", np.einsum("kzi,zi->kz", basis[: k + 1], image), basis[: k + 1])
        length = np.linalg.norm(image, axis=1)
        # Fewer points than nodes: the rule is complete, and the nodes that are left get no weight.
        length[length < 1e-13] = 0.0
        jacobi[:, k, k + 1] = jacobi[:, k + 1, k] = length
        basis[k + 1] = image / np.where(length > 0.0, length, 1.0)[:, None]
    nodes, vectors = np.linalg.eigh(jacobi)
    return Kicks(centre + scale * nodes, vectors[:, 0] ** 2)


def added(first: Kicks, second: Kicks, count: int) -> Kicks:
    """The sum of two independent kicks."""
    values = first.values[:, :, None] + second.values[:, None, :]
    weights = first.weights[:, :, None] * second.weights[:, None, :]
    return compressed(Kicks(values.reshape(len(values), -1), weights.reshape(len(values), -1)), count)


def mean_of(one: Kicks, size: int, count: int) -> Kicks:
    """The mean of `size` independent kicks of one distribution."""
    total: Kicks | None = None
    power, left = one if size == 1 else compressed(one, count), size
    while left:
        if left % 2:
            total = power if total is None else added(total, power, count)
        left //= 2
        if left:
            power = added(power, power, count)
    assert total is not None
    return Kicks(total.values / size, total.weights)


def label_kicks(noise: Noise, along: Along, count: int) -> Kicks:
    """Of label noise on the whole data set: normal, of variance E l²/n."""
    del noise
    share = along.share[0]
    return normal_kicks(along.gradient @ share, along.label @ share / share.size, count)


def batch_kicks(noise: Noise, along: Along, count: int) -> Kicks:
    """Of B examples drawn independently, each with label noise."""
    share, size = along.share[0], int(noise.batch_size or along.share.shape[1])
    n, noisy = share.size, bool(np.any(along.label > 0.0))
    if not noisy and math.comb(n + size - 1, size) <= LISTED:
        return _listed(along, size)
    one = Kicks(along.gradient, along.share)
    if noisy:
        epsilon, weights = np.polynomial.hermite_e.hermegauss(count)
        values = along.gradient[:, :, None] + np.sqrt(along.label)[:, :, None] * epsilon
        both = np.broadcast_to(along.share[:, :, None] * (weights / weights.sum()), values.shape)
        one = Kicks(values.reshape(len(values), -1), both.reshape(len(values), -1))
    return mean_of(compressed(one, count), size, count)


def _listed(along: Along, size: int) -> Kicks:
    """Every batch of B examples out of n, as a multiset with its probability."""
    share, n = along.share[0], along.share.shape[1]
    batches = np.array(list(itertools.combinations_with_replacement(range(n), size)))
    counts = (batches[:, :, None] == np.arange(n)).sum(axis=1)
    ways = [math.factorial(size) / math.prod(map(math.factorial, row)) for row in counts.tolist()]
    probability = np.array(ways) * np.prod(share**counts, axis=1)
    values = along.gradient[:, batches].mean(axis=2)
    return Kicks(values, np.broadcast_to(probability, values.shape))


def coin_kicks(noise: Noise, along: Along, count: int) -> Kicks:
    """Of n examples, each kept with probability ½ and weighted by 2: a sum of n independent terms."""
    del noise
    n = along.share.shape[1]
    halves = np.full((len(along.gradient), 2), 0.5)
    total: Kicks | None = None
    for i in range(n):
        toss = Kicks(np.stack([np.zeros_like(along.gradient[:, i]), 2.0 * along.gradient[:, i] / n], axis=1), halves)
        total = toss if total is None else added(total, toss, max(count, LISTED if 2 ** (i + 1) <= LISTED else 0))
    assert total is not None
    return total


KicksOf = Callable[["Noise", "Along", int], Kicks]
