"""Kicks: the distribution of a step's gradient along a direction, as points and weights on the host.

What cumulants say to fourth order, these say as a whole: expectations over one step at any learning rate. A kick is the
mean over a batch of h_i + l_i ε, h_i = e·g_i of an example, l_i² the variance of its label noise, ε ~ N(0, 1). Where it
has few outcomes they are listed one by one. Those of one example, where it has many, are gathered on an even grid. A
batch is put on a lattice by the inverse Fourier transform of its characteristic function, a power of that of one
example, times a filter 1 − O(t⁸), which leaves moments up to the seventh as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Complex, Float

if TYPE_CHECKING:
    from langevin_ib.dynamics.noise import Noise

LISTED = 1024  # outcomes of a batch up to which they are listed
MOST = 64  # examples of which a characteristic function is made; more are gathered
MOST_OUTCOMES = 12  # of a noisy label, where all labels are noisy at once; of more, a Gauss rule
REACH = 16.0  # of a lattice, in standard deviations
TRAPEZOID = 8.5  # a normal number's range, in standard deviations: beyond it lies 2e-17
STENCIL = 6  # points of a grid that one outcome is spread over
GATHERED = 128  # points that outcomes of an example are gathered on, where a batch has several of them
LABEL_NODES = 25  # outcomes that stand for the normal noise of a label, where examples are many


class Kicks(NamedTuple):
    """At each place z, the points and weights of a kick; weights of a place sum to one."""

    values: Float[np.ndarray, "z k"]
    weights: Float[np.ndarray, "z k"]


class AlongPlaces(NamedTuple):
    """`noise.Along` at each place: of each example its probability, e·g, variance of label noise, and response.

    And, where the labels have outcomes, the probability of each, what it adds to e·g, and two cumulants of that.
    """

    share: Float[np.ndarray, "z n"]
    gradient: Float[np.ndarray, "z n"]
    label: Float[np.ndarray, "z n"]
    response: Float[np.ndarray, "z n o"]
    chance: Float[np.ndarray, "z k"] | None = None
    moves: Float[np.ndarray, "z n k"] | None = None
    third: Float[np.ndarray, "z n"] | None = None
    fourth: Float[np.ndarray, "z n"] | None = None

    def outcomes(self) -> AlongPlaces:
        """Each outcome of a label as an example of its own, without label noise: of batches drawn independently."""
        if self.chance is None or self.moves is None:
            return self
        z, n, k = self.moves.shape
        share = (self.share[:, :, None] * self.chance[:, None]).reshape(z, n * k)
        gradient = (self.gradient[:, :, None] + self.moves).reshape(z, n * k)
        return AlongPlaces(share, gradient, np.zeros_like(gradient), np.repeat(self.response, k, axis=1))


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

    From Lanczos' recurrence, by Golub and Welsch (Gautschi, Orthogonal Polynomials, section 2.2).

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


def on_lattice(
    cf: Callable[[Float[np.ndarray, "z t"]], Complex[np.ndarray, "z t"]],
    mean: Float[np.ndarray, " z"],
    variance: Float[np.ndarray, " z"],
    count: int,
) -> Kicks:
    """A distribution of mean 0 from its characteristic function, shifted to `mean`, within 16 standard deviations."""
    points = 2 * count**2
    scale = np.sqrt(variance)[:, None]
    frequencies = np.pi / REACH * np.arange(count**2 + 1)  # at negative ones it is the conjugate
    unit = np.where(scale > 0.0, scale, 1.0)
    values = cf(frequencies / unit) * np.exp(-36.0 * (frequencies / frequencies[-1]) ** 8)
    weights = np.fft.fftshift(np.fft.hfft(values, points, axis=1), axes=1) / points
    lattice = REACH * (2.0 * np.arange(points) / points - 1.0)
    return Kicks(mean[:, None] + scale * lattice, weights / weights.sum(axis=1, keepdims=True))


def label_kicks(noise: Noise, along: AlongPlaces, count: int) -> Kicks:
    """Of label noise on the whole data set: normal, of variance E l²/n, or a mean of n independent outcomes."""
    del noise
    if along.chance is not None and along.moves is not None:
        return _mean_of_outcomes(along, along.chance, along.moves, count)
    share = along.share[0]
    return normal_kicks(along.gradient @ share, along.label @ share / share.size, count)


def _mean_of_outcomes(along: AlongPlaces, chance: np.ndarray, moves: np.ndarray, count: int) -> Kicks:
    """(1/n) Σ_i (h_i + m_i), m_i one of the outcomes of label i, independently of the others."""
    n, k = moves.shape[1:]
    mean = along.gradient.mean(axis=1)
    if k**n <= LISTED:
        each = np.array(list(itertools.product(range(k), repeat=n)))
        values = mean[:, None] + moves[:, np.arange(n), each].mean(axis=2)
        return Kicks(values, np.prod(chance[:, each], axis=2))
    labels = [compressed(Kicks(moves[:, i], chance), MOST_OUTCOMES) for i in range(n)]

    def cf(t):
        total = np.ones(t.shape, complex)
        for one in labels:
            total *= sum(
                one.weights[:, [j]] * np.exp(1j * t / n * one.values[:, [j]]) for j in range(one.values.shape[1])
            )
        return total

    return on_lattice(cf, mean, along.label.sum(axis=1) / n**2, count)


def batch_kicks(noise: Noise, along: AlongPlaces, count: int) -> Kicks:
    """Of B examples drawn independently, each with label noise."""
    noisy = bool(noise.label_noise) and along.chance is None  # else labels have none, or outcomes
    along = along.outcomes()
    size, (z, n) = int(noise.batch_size or along.share.shape[1]), along.share.shape
    if not noisy and math.comb(n + size - 1, size) <= LISTED:
        return _listed(along, size)
    mean, label = (along.share * along.gradient).sum(axis=1), along.label
    one = Kicks(along.gradient - mean[:, None], along.share)
    if n > MOST:
        many = _with_label_noise(one, label) if noisy else one
        if size == 1:
            gathered_kicks = gathered(many, 2 * count**2)
            return gathered_kicks._replace(values=mean[:, None] + gathered_kicks.values)
        one = gathered(many, GATHERED)
        label = np.zeros((z, one.values.shape[1]))
    variance = (one.weights * (one.values**2 + label)).sum(axis=1) / size

    def cf(t):
        total = np.zeros(t.shape, complex)
        for i in range(one.values.shape[1]):
            total += one.weights[:, [i]] * np.exp(
                1j * t / size * one.values[:, [i]] - 0.5 * (t / size) ** 2 * label[:, [i]]
            )
        return total**size

    return on_lattice(cf, mean, variance, count)


def _with_label_noise(kicks: Kicks, variance: Float[np.ndarray, "z n"]) -> Kicks:
    """Kicks with normal noise of their own on top, by its outcomes."""
    epsilon, weights = np.polynomial.hermite_e.hermegauss(LABEL_NODES)
    values = kicks.values[:, :, None] + np.sqrt(variance)[:, :, None] * epsilon
    shares = kicks.weights[:, :, None] * (weights / weights.sum())
    return Kicks(values.reshape(len(values), -1), shares.reshape(len(values), -1))


def gathered(kicks: Kicks, points: int) -> Kicks:
    """Many kicks on a few points, even in sinh⁻¹ of their distance from the mean over their standard deviation.

    Each is spread over the six points about it by Lagrange's weights, which leave the mean of any polynomial of the
    fifth degree in that coordinate as it is. Weights beside a lone outcome are below zero.
    """
    values, weights = kicks
    if values.shape[1] <= points:
        return kicks
    centre = (weights * values).sum(axis=1, keepdims=True)
    scale = np.sqrt((weights * (values - centre) ** 2).sum(axis=1, keepdims=True))
    scale[scale == 0.0] = 1.0
    x = np.arcsinh((values - centre) / scale)
    low, spacing = x.min(axis=1, keepdims=True), np.ptp(x, axis=1, keepdims=True) / (points - 1)
    spacing[spacing == 0.0] = 1.0
    t = (x - low) / spacing
    first = np.clip(np.floor(t).astype(np.int64) - (STENCIL // 2 - 1), 0, points - STENCIL)
    u, origin = t - first, np.arange(len(x))[:, None] * points + first
    total = np.zeros(len(x) * points)
    for i in range(STENCIL):
        part = weights.copy()
        for j in range(STENCIL):
            if i != j:
                part *= (u - j) / (i - j)
        total += np.bincount((origin + i).ravel(), part.ravel(), len(total))
    grid = low + spacing * np.arange(points)
    return Kicks(centre + scale * np.sinh(grid), total.reshape(len(x), points))


def _listed(along: AlongPlaces, size: int) -> Kicks:
    """Every batch of B examples out of n, as a multiset with its probability."""
    share, n = along.share[0], along.share.shape[1]
    batches = np.array(list(itertools.combinations_with_replacement(range(n), size)))
    counts = (batches[:, :, None] == np.arange(n)).sum(axis=1)
    ways = [math.factorial(size) / math.prod(map(math.factorial, row)) for row in counts.tolist()]
    probability = np.array(ways) * np.prod(share**counts, axis=1)
    values = along.gradient[:, batches].mean(axis=2)
    return Kicks(values, np.broadcast_to(probability, values.shape))


def coin_kicks(noise: Noise, along: AlongPlaces, count: int) -> Kicks:
    """Of n examples, each kept with probability ½ and weighted by 2: a sum of n independent terms."""
    del noise
    n = along.share.shape[1]
    if 2**n <= LISTED:
        kept = np.array(list(itertools.product((0.0, 2.0 / n), repeat=n)))
        values = along.gradient @ kept.T
        return Kicks(values, np.full(values.shape, 0.5**n))

    def cf(t):
        total = np.ones(t.shape)
        for i in range(n):
            total *= np.cos(t * along.gradient[:, [i]] / n)
        return total

    return on_lattice(cf, along.gradient.mean(axis=1), (along.gradient**2).sum(axis=1) / n**2, count)


KicksOf = Callable[["Noise", AlongPlaces, int], Kicks]
