"""Checks of what a kernel states of its steps apart from them: means over their noise, by quadrature or draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.kernel import Kernel, Smoothed, gaussian_mean
from langevin_ib.testing.breach import hold
from langevin_ib.testing.subject import CONE, FLAT, Subject, T, row

MEAN_DRAWS, SIGMAS = 16384, 6.0  # of the mean over a step's noise; a right one is refused with probability 1e-8
ROUNDING = 1e-10
NODES, MOST_NODES_IN = 6, 4  # Gauss–Hermite's, in each of a step's increments; of more of these it is draws
VIRIAL = 0.003  # of hT(q − m) that counts as the same


class _Mean(NamedTuple):
    """A mean over a step's noise, and its standard error: zero where it is a sum over nodes."""

    value: np.ndarray
    error: np.ndarray

    def refuses(self, stated: Any, slack: float = ROUNDING) -> bool:
        """Whether a number that is stated is not this one."""
        return bool(np.any(~(np.abs(np.asarray(stated) - self.value) <= SIGMAS * self.error + slack)))

    def __str__(self) -> str:
        error = f" ± {np.max(self.error):.1g}" if np.any(self.error) else ""
        return f"{np.array2string(np.asarray(self.value), precision=7)}{error}"


def _noises(kernel: Kernel) -> tuple[Any, np.ndarray | None]:
    """Nodes and weights where the noise is a few independent normals, else draws and no weights."""
    if kernel.increments is not None:
        flat, unravel = ravel_pytree(kernel.increments)
        if flat.size <= MOST_NODES_IN:
            x, w = np.polynomial.hermite_e.hermegauss(NODES)
            grid = np.stack([part.ravel() for part in np.meshgrid(*[x] * flat.size)], axis=-1)
            weight = np.prod(np.stack([part.ravel() for part in np.meshgrid(*[w] * flat.size)]), axis=0)
            return jax.vmap(unravel)(jnp.asarray(grid)), weight / weight.sum()
    return kernel.draw(jax.random.key(5), MEAN_DRAWS), None


def _mean(kernel: Kernel, of: Callable[[Any], Any]) -> _Mean:
    """Of a function of a step's noise."""
    noise, weight = _noises(kernel)
    values = np.asarray(jax.jit(jax.vmap(of))(noise))
    if weight is not None:
        mean = np.tensordot(weight, values, axes=1)
        return _Mean(mean, np.zeros_like(mean))
    return _Mean(values.mean(axis=0), values.std(axis=0) / MEAN_DRAWS**0.5)


def _quadratic(params: Any) -> Any:
    flat = ravel_pytree(params)[0]
    return jnp.stack([flat @ jnp.array([[2.0, 0.5], [0.5, -1.0]]) @ flat + flat[0] - 3.0])


def _with_fourth() -> Smoothed:
    """The quadratic, and (b·θ)⁴, of which E (b·m + √v b·ξ)⁴ = (b·m)⁴ + 6 v|b|² (b·m)² + 3 v²|b|⁴."""
    slope = jnp.array([0.6, -0.7])

    def values(params: Any) -> Any:
        return jnp.append(_quadratic(params), (ravel_pytree(params)[0] @ slope) ** 4)

    def over_normals(mean: Any, variance: Any) -> Any:
        along, size = ravel_pytree(mean)[0] @ slope, variance * slope @ slope
        fourth = along**4 + 6.0 * size * along**2 + 3.0 * size**2
        return jnp.append(gaussian_mean(_quadratic, mean, variance), fourth)

    return Smoothed(values, over_normals)


def mean_after(subject: Subject) -> None:
    """What is stated of a quadratic φ, and by the record of one of degree four, against the mean over the noise."""
    h, kind = 0.05, subject.kind
    kernel, target = subject.on_uv(h), subject.target_on_uv()
    state = kernel.step(row(kernel, 2), subject.start(kernel), None)[0]
    phi = _quadratic if kind.mean_after is None else _with_fourth()
    after = kind.claimed(subject.settings, target, h)
    assert after is not None  # else it is no check of this kernel
    stated = np.asarray(after(phi, state, None))
    mean = _mean(kernel, lambda noise: phi(kernel.step(noise, state, None)[0].position))
    hold(not mean.refuses(stated), f"mean_after gives {stated}, the mean over its noise is {mean}")


def increments(subject: Subject) -> None:
    """Increments are independent normals: mean, variance, neighbours, third to sixth moment of what is drawn."""
    kernel = subject.on_uv()
    shapes = jax.tree.map(jnp.shape, kernel.increments)
    drawn = kernel.draw(jax.random.key(8), MEAN_DRAWS)
    same = jax.tree.map(lambda leaf: leaf.shape[1:], drawn) == shapes
    hold(same, "a row of draw has to have the shapes that increments has")
    numbers = np.asarray(jax.vmap(lambda row: ravel_pytree(row)[0])(drawn))
    for k, (moment, variance) in enumerate(zip((0, 1, 0, 3, 0, 15), (1, 2, 15, 96, 945, 10170), strict=True), 1):
        z = np.max(np.abs((numbers**k).mean(axis=0) - moment)) * (MEAN_DRAWS / variance) ** 0.5
        hold(z <= SIGMAS, f"increments have to be standard normals: moment {k} of draws is {z:.3g} errors off")
    pairs = np.max(np.abs(np.corrcoef(numbers.T) - np.eye(numbers.shape[1]))) if numbers.shape[1] > 1 else 0.0
    hold(pairs <= SIGMAS / MEAN_DRAWS**0.5, f"increments have to be independent, got a correlation of {pairs:.3g}")


def innovation(subject: Subject) -> None:
    """φ less its innovation does not depend on the last increment: it is the mean over it."""
    h = 0.05
    kernel, phi = subject.on_uv(h), _with_fourth()
    assert subject.kind.innovation is not None
    innovation = subject.kind.innovation(subject.settings, subject.target_on_uv(), h)
    before = kernel.step(row(kernel, 2), subject.start(kernel), None)[0]

    def known(noise: Any) -> Any:
        state = kernel.step(noise, before, None)[0]
        return phi(state.position) - innovation(phi, state)

    rests = np.asarray(jax.vmap(known)(_noises(kernel)[0]))
    mean = _mean(kernel, lambda noise: phi(kernel.step(noise, before, None)[0].position))
    hold(np.ptp(rests, axis=0).max() < ROUNDING, "φ less its innovation changes with the last increment")
    hold(not mean.refuses(rests[0]), f"φ less its innovation is {rests[0]}, the mean over the increment {mean}")


def virial(subject: Subject) -> None:
    """E[|θ′|²/2 | state] − |θ|²/2 on a flat slice and on a cone, to a share of hT(q − m)."""
    h = 0.01
    for slice_ in (FLAT, CONE):
        kernel, target = subject.on(slice_, h), subject.target_on(slice_)
        state = kernel.step(row(kernel, 2), kernel.init(jnp.asarray(slice_.start), None), None)[0]
        assert subject.kind.virial is not None
        stated = float(subject.kind.virial(subject.settings, target, h)(state))

        def gap(noise: Any, kernel: Kernel = kernel, state: Any = state) -> Any:
            moved = kernel.step(noise, state, None)[0].position
            return 0.5 * (jnp.sum(moved**2) - jnp.sum(state.position**2))

        mean = _mean(kernel, gap)
        slack = VIRIAL * h * T * slice_.dim
        hold(not mean.refuses(stated, slack), f"on {slice_.words} virial gives {stated:.6g}, its noise {mean}")
