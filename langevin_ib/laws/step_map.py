"""One step of SGD as a map of a coordinate, z' = g(z, κ), and what it does near z = 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.background import FAST
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.cumulants import along_direction, kicks_of
from langevin_ib.dynamics.kicks import AlongPlaces
from langevin_ib.dynamics.populations import Points, points_of
from langevin_ib.errors import LawError
from langevin_ib.laws.base import on_host
from langevin_ib.laws.sgd import CollapseError, Descent, weaker
from langevin_ib.models.base import LINE, Branch, Chart, Params

FINE_COUNT = 128  # kicks, as `kicks.KicksOf` counts, at z = 0 alone
CLOSED = 1e-7
PROBES = 6
NEAR = 1e-10  # |z| over its middle where steps multiply it
STEEPEST = 300.0  # power of |z| beyond which a law is as good as zero there
BLOCK = 16384  # pairs (z, κ) evaluated at once
OUTCOMES = 2**20  # of the examples of all places that are looked at together
PLACES = 512  # of them, at most


class Multiplies(NamedTuple):
    """Steps near z = 0: E log |z'/z|, and the power α of the density |z|^(α − 1) that follows."""

    growth: float
    power: float
    ratios: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]


class StepMap:
    """One step of SGD as a map of a coordinate, z' = g(z, κ).

    Args:
        descent: checked by `check_map`; of plain steps.
        index: the coordinate's place in the chart.
        middle: a point of the quotient, the minimum of the loss.
        branch: the interval that the coordinate lives on.
    """

    def __init__(self, descent: Descent, index: int, middle: Float[np.ndarray, " k"], branch: Branch):
        if branch != LINE and 0.0 not in branch:
            raise LawError(f"law map: the branch {branch} neither is the whole line nor begins at 0")
        self.descent = descent
        self.name = descent.chart.scalar_names[index]
        self.line = branch == LINE
        self.sign = -1.0 if branch[1] <= 0 else 1.0
        self.middle = float(middle[index])
        base_point, chart = np.asarray(middle, np.float64), descent.chart
        potential = descent.confinement.potential(descent.model)
        training = descent.noise.check(descent.model)

        def place(z):
            return chart.section(jnp.asarray(base_point).at[index].set(z))

        def along(points):
            def at(z):
                point = place(z)
                return along_direction(training, descent.noise, point, _normal(chart, point, index), points)

            return at

        def slope(z):
            return ravel_pytree(jax.grad(potential)(place(z)))[0]

        def moved(z, kick, pull):
            point = place(z)
            flat, unravel = ravel_pytree(point)
            return chart.of(unravel(flat - descent.lr * (pull + kick * _normal(chart, point, index))))[index]

        self._training, self._along = training, along
        self._programs: dict[Points, tuple[Callable[[np.ndarray], Any], int]] = {}
        # The slope once for each place, not for each kick: it may be a mean over many examples and noisy labels.
        self._slope = on_host(slope, once=True)
        self._moved = jax.jit(jax.vmap(moved), compiler_options=FAST)

    @property
    def sampled(self) -> bool:
        """Whether the inputs of its population are samples, not nodes of quadrature."""
        return points_of(self._training, self.descent.noise).sampled

    def steps(self, z: Float[np.ndarray, " z"], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Where a step leads from each place, and with which probabilities, (z, k) both."""
        points = points_of(self._training, self.descent.noise, count)
        program, places = self._program(points)
        parts = []
        for start in range(0, len(z), places):
            along = AlongPlaces(*program(z[start : start + places]))
            parts.append(kicks_of(self.descent.noise, along, count))
        values, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        values = values - (weights * values).sum(axis=1, keepdims=True)
        kicks, place, slopes = values.ravel(), np.repeat(np.arange(len(z)), values.shape[1]), self._slope(z)
        moved = []
        with jax.enable_x64(True):
            for start in range(0, kicks.size, BLOCK):
                pairs = np.minimum(np.arange(start, start + BLOCK), kicks.size - 1)
                moved.append(np.asarray(self._moved(z[place[pairs]], kicks[pairs], slopes[place[pairs]])))
        return np.concatenate(moved)[: kicks.size].reshape(values.shape), weights

    def _program(self, points: Points) -> tuple[Callable[[np.ndarray], Any], int]:
        """What each example gives at some places, and at how many of these it is asked for at a time."""
        if points not in self._programs:
            along = self._along(points)
            with jax.enable_x64(True):
                outcomes = max(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(along, self.middle)))
            places = int(np.clip(OUTCOMES // outcomes, 1, PLACES))
            self._programs[points] = on_host(along, once=True, block=places), places
        return self._programs[points]

    @cached_property
    def multiplies(self) -> Multiplies | None:
        """How steps multiply z near 0; None on the line, and where they carry it across 0."""
        if self.line:
            return None
        z = self.sign * NEAR * max(abs(self.middle), 1e-3)
        moved, weights = (part[0] for part in self.steps(np.array([z]), FINE_COUNT))
        ratios = np.abs(moved / z)
        if np.median(ratios) > 2.0 / NEAR**0.5:
            return None
        weights = np.maximum(weights, 0.0)  # those of a lattice may be a rounding error below zero
        weights = weights / weights.sum()
        logs = np.log(np.maximum(ratios, 1e-300))
        growth = float(weights @ logs)

        def excess(power):
            return float(np.log(weights @ np.exp(-power * logs)))

        power = 0.0
        if growth > 0:
            top = 1.0
            while excess(top) < 0 and top < STEEPEST:
                top *= 2.0
            bracket = (1e-9 * top, top)
            power = scipy.optimize.root_scalar(excess, bracket=bracket).root if excess(top) > 0 else STEEPEST
        return Multiplies(growth, float(power), ratios, weights)


def check_map(descent: Descent, coordinates: int) -> None:
    """Whether a step of each coordinate depends on it and the noise alone, exactly, at points of the slice.

    Held there: any gradient in the span of the examples' and their labels' leaves χ at zero; moves a coordinate as its
    part along that coordinate's normal does by itself; and each example's part is the same wherever the others are.

    Raises:
        LawError: it does not, or the noise says nothing of its kicks.
    """
    noise = descent.noise
    if noise.dependence is not None:
        raise LawError(f"law map: {noise.dependence}, and a step depends on those before it")
    if noise.record.kicks is None or noise.isotropized:
        raise LawError(f"law map: {noise.words} says nothing of the distribution of its kicks (kicks of its NoiseKind)")
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), (PROBES, 3))
        probe = jax.jit(
            lambda keys: jax.lax.map(lambda each: _departure(descent, coordinates, each), keys), compiler_options=FAST
        )
        worst = float(np.max(np.asarray(probe(keys))))
    if not worst <= CLOSED:
        raise LawError(
            f"law map: a step of finite size leaves the slice or mixes the coordinates (by {worst:.2g} of their size), "
            "so that none follows from its own place and the noise alone"
        )


def _departure(descent: Descent, coordinates: int, keys: Key[Array, " 3"]) -> Float[Array, ""]:
    """How far a step at a point of the slice is from one map for each coordinate, relative to their size."""
    noise, model, chart = descent.noise, descent.model, descent.chart
    training, potential = noise.check(model), descent.confinement.potential(model)
    x, other = (chart.of(model.init(key)) for key in keys[:2])
    point = chart.section(x)
    flat, unravel = ravel_pytree(point)
    slope = ravel_pytree(jax.grad(potential)(point))[0]
    covariance = gradient_noise(training, noise, point).covariance
    # The range of Σ is the span of what the noise can be.
    kick = covariance @ jax.random.normal(keys[2], flat.shape, flat.dtype)
    kick = kick * jnp.sqrt(jnp.trace(covariance)) / (jnp.linalg.norm(kick) + 1e-300)
    after = unravel(flat - descent.lr * (slope + kick))
    leaves = jnp.abs(model.moment_map(after)).max() / (jnp.sum(ravel_pytree(after)[0] ** 2) + 1e-300)

    def alone(place, i):
        """Where a coordinate goes by its own part of the kick, from one place; and each example's part there."""
        here = chart.section(place)
        normal = _normal(chart, here, i)
        pull = ravel_pytree(jax.grad(potential)(here))[0]
        moved = unravel(ravel_pytree(here)[0] - descent.lr * (pull + (kick @ _normal(chart, point, i)) * normal))
        own = along_direction(training, noise, here, normal, points_of(training, noise))
        return chart.of(moved)[i], jnp.concatenate([own.gradient, own.label])

    # In one traced program, for each coordinate: from x, and from where all others are elsewhere.
    index = jnp.arange(coordinates)
    places = jnp.concatenate([jnp.tile(x, (coordinates, 1)), jax.vmap(lambda i: other.at[i].set(x[i]))(index)])
    found = jax.lax.map(lambda each: alone(*each), (places, jnp.tile(index, 2)))
    moved, parts = (part.reshape(2, coordinates, *part.shape[1:]) for part in found)
    off = jnp.abs(chart.of(after)[:coordinates] - moved) / (1.0 + jnp.abs(x[:coordinates]))
    unlike = jnp.abs(parts[0] - parts[1]).max(axis=1) / (jnp.abs(parts[0]).max(axis=1) + 1e-300)
    return jnp.concatenate([leaves[None], off.ravel(), unlike]).max()


def _normal(chart: Chart, point: Params, index: int | Array) -> Float[Array, " q"]:
    """The unit normal of a coordinate at a point."""
    flat, unravel = ravel_pytree(point)
    normal = jax.grad(lambda p: chart.of(unravel(p))[index])(flat)
    return normal / jnp.linalg.norm(normal)


def check_growth(step: StepMap) -> None:
    """Whether chains come away from 0, where steps multiply z: whether E log |z'/z| > 0 there.

    Raises:
        CollapseError: they do not; says how fast they fall.
    """
    near = step.multiplies
    if near is None or near.growth > 0.0:
        return
    raise CollapseError(
        f"law map: every chain ends at {step.name} = 0: near it E log |{step.name}'/{step.name}| of a step is "
        f"{near.growth:.3g} ≤ 0, so that |{step.name}| falls by a factor e in {-1.0 / min(near.growth, -1e-300):.3g} "
        f"steps, and there is no law to judge: {weaker(step.descent)}"
    )
