"""The contract of every sampler: all randomness from one batched draw, then a pure step of one chain on its task.

There is one file for each kernel of Langevin dynamics in `kernels/`; its record, a `KernelKind`, says all that rules
ask of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.records import record
from langevin_ib.dynamics.increments import BATCH, SOURCES
from langevin_ib.models.base import Params

Potential = Callable[[Params], Float[Array, ""]]
MomentMap = Callable[[Params], Float[Array, " m"]]
Temperature = float | Float[Array, ""]
# (φ, state, task) ↦ E[φ(θ′) | state] for a quadratic φ, a number or (k,) of them.
MeanAfter = Callable[[Callable[[Params], Float[Array, "..."]], Any, PyTree], Float[Array, "..."]]

# (φ, state) ↦ φ(θ) less its mean over the increment that the last step added.
Innovation = Callable[[Callable[[Params], Float[Array, "..."]], Any], Float[Array, "..."]]


@dataclass(frozen=True)
class Smoothed:
    """Functions φ_1 … φ_k of θ, whose means over increments are known.

    Attributes:
        values: θ ↦ φ(θ).
        over_normals: (m, v) ↦ E φ(m + √v ζ), ζ ~ N(0, I), exact for any increments that share its first five moments:
            of polynomials up to degree five.
        hessians: D²φ of those in front, the others being linear; None where nobody asks.
    """

    values: Callable[[Params], Float[Array, " k"]]
    over_normals: Callable[[Params, Any], Float[Array, " k"]]
    hessians: Float[np.ndarray, "k q q"] | None = None

    def __call__(self, params: Params) -> Float[Array, " k"]:
        """φ(θ)."""
        return self.values(params)


@dataclass(frozen=True)
class Kernel:
    """Three pure functions; every state has a field `position`, the parameters of the chain.

    A chain's task is the data that it learns, a pytree of arrays; None where all chains share the model's own loss. It
    never changes along a run, and so is an argument: not in the noise, which is drawn anew at every step, nor in the
    state, which would be copied. It has no default: a kernel that forgot to pass its chain's task on to another's step
    would run on the model's own.

    Attributes:
        draw: (key, chains) ↦ the noise of one step for all chains, chain axis first. With JAX's partitionable threefry,
            chain i then gets the same numbers whatever the number of chains and devices.
        init: (params, task) ↦ state, for one chain.
        step: (noise, state, task) ↦ (state, info), for one chain; `info` is a NamedTuple of scalars, averaged by the
            runner.
        mean_after: (φ, state, task) ↦ E[φ(θ′) | state], exact for a quadratic φ, which may be a vector; None where
            there is no formula. A stationary chain has E[mean_after(φ, state) − φ(θ)] = 0 at any step size.
        increments: the shapes of a step's noise where it is independent normals, which may then come from a stream of
            the chain's own, or give way to other numbers with their first five moments; None where it is not.
        source: `batch`, a row of `draw`; `normal` or `four-point`, increments from a stream of the chain's own.
    """

    draw: Callable[[Key[Array, ""], int], PyTree]
    init: Callable[[Params, PyTree], Any]
    step: Callable[[PyTree, Any, PyTree], tuple[Any, Any]]
    mean_after: MeanAfter | None = None
    increments: Params | None = field(default=None, compare=False)
    source: str = BATCH

    def on(self, source: str) -> Kernel:
        """The same step on increments of another kind.

        Raises:
            ValueError: its noise may not be replaced, or there is no such kind.
        """
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source}")
        if source != BATCH and self.increments is None:
            raise ValueError(f"source must be {BATCH} for a kernel with draws of its own, got {source}")
        return replace(self, source=source)


@dataclass(frozen=True)
class Target:
    """What chains sample: exp(−V/T) dθ, or on the slice exp(−V/T) dσ_S.

    Attributes:
        potential: V.
        temperature: T, not negative; an array of a step whose T is another than the last one's.
        like: a parameter pytree whose shapes and dtype the noise takes.
        moment_map: χ, for kernels that hold their chains at χ = 0.
    """

    potential: Potential
    temperature: Temperature
    like: Params
    moment_map: MomentMap


@dataclass(frozen=True)
class KernelKind:
    """What goes by a name of `--integrator`.

    Attributes:
        settings: the class of its settings; says whether it holds its chains on the slice, and whether its draws have
            no discretisation bias (it is adjusted).
        build: (settings, target, h) ↦ the kernel; h is a number, or an array while it is tuned.
        stability: h Λ, Λ the largest curvature where the law has mass, of a step that is set by rule.
        weak_order: k, where the bias is O(h^k); None if it is adjusted.
        thin: steps between recorded draws; None for the rule, which goes by the curvature.
        tuning: (acceptance, steps) of the stages in which its step is tuned; None where the step is set by rule.
        label: what it is called as a reference; None: its name.
        mean_after: (settings, target, h) ↦ `Kernel.mean_after` of a kernel with these, computed apart from `build`: a
            run holds its chains against it, and a fault in one of the two then shows. It takes its φ to
            `gaussian_mean`, so that they may be of degree four. None: that of what is built, of quadratic φ.
        innovation: (settings, target, h) ↦ (φ, state) ↦ φ(θ) − E[φ(θ) | all but the last increment], where the state
            has that increment: it has mean zero, and taken off the identities' gaps it takes their noise with it.
        virial: (settings, target, h) ↦ state ↦ E[|θ′|²/2 | state] − |θ|²/2, of a kernel that holds its chains on a
            slice and has no other mean in a formula; χ is quadratic and homogeneous there.
    """

    settings: type[KernelSettings]
    build: Callable[[Any, Target, Any], Kernel]
    stability: float
    weak_order: int | None = None
    thin: int | None = None
    tuning: tuple[tuple[float, int], ...] | None = None
    label: str | None = None
    mean_after: Callable[[Any, Target, Any], MeanAfter] | None = None
    innovation: Callable[[Any, Target, Any], Innovation] | None = None
    virial: Callable[[Any, Target, Any], Callable[[Any], Float[Array, ""]]] | None = None

    def __post_init__(self) -> None:
        if (self.weak_order is None) != self.adjusted:
            raise ValueError("a kernel has a weak order, or its settings say that it is adjusted")
        if self.held and self.tuning is not None:
            raise ValueError("a kernel that holds its chains on the slice has a step that is set by rule")

    @property
    def held(self) -> bool:
        """Whether its chains are held on the slice."""
        return self.settings.held

    @property
    def adjusted(self) -> bool:
        """Whether its draws have no discretisation bias."""
        return self.settings.adjusted

    def claimed(self, settings: KernelSettings, target: Target, step_size: float) -> MeanAfter | None:
        """E[φ(θ′) | state] of a kernel with these settings; None where it is not stated."""
        if self.mean_after is not None:
            return self.mean_after(settings, target, step_size)
        return self.build(settings, target, step_size).mean_after

    @property
    def bias_factor(self) -> float:
        """By which the bias at h exceeds the distance between h and h/2: 1/(1 − 2^−k), Richardson's."""
        return 1.0 if self.weak_order is None else 1.0 / (1.0 - 2.0**-self.weak_order)


def kernel_kind(name: str) -> KernelKind:
    """The record of a name.

    Raises:
        ConfigError: there is none.

    >>> kernel_kind("leimkuhler-matthews").weak_order
    2
    """
    return record("kernel", name, KernelKind)


def gaussian_mean(phi: Callable[[Params], Float[Array, "..."]], mean: Params, variance: Any) -> Float[Array, "..."]:
    """E φ(m + √v ζ) = φ(m) + ½ v tr D²φ, ζ ~ N(0, I), of a quadratic φ; of a `Smoothed` as it says itself."""
    if isinstance(phi, Smoothed):
        return phi.over_normals(mean, variance)
    flat, unravel = ravel_pytree(mean)
    return phi(mean) + 0.5 * variance * jnp.trace(jax.hessian(lambda x: phi(unravel(x)))(flat), axis1=-2, axis2=-1)


def refuse_task(task: PyTree) -> None:
    """For kernels whose potential, θ ↦ V, is the same for all chains.

    Raises:
        ValueError: there is a task, which would not be looked at.
    """
    if task is not None:
        raise ValueError("all chains of this kernel share one potential: it takes no tasks")


def root(x: Any) -> Any:
    """√x: of a number a number, of an array, as of a temperature that changes from step to step, an array."""
    return math.sqrt(x) if isinstance(x, int | float) else jnp.sqrt(x)


class LangevinInfo(NamedTuple):
    """An unadjusted step has nothing to report: faults show in the position itself."""


def normal_like(like: Params) -> Callable[[Key[Array, ""], int], Params]:
    """One (chains, q) normal a step for the whole ensemble, cut into the leaves of `like`.

    One batched draw is 2–3 times faster than a key per chain (uv, two cores; `sims/bench/throughput.py`).
    """
    flat, _ = ravel_pytree(like)
    leaves, treedef = jax.tree.flatten(like)
    sizes = [leaf.size for leaf in leaves]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]

    def draw(key, chains: int) -> Params:
        noise = jax.random.normal(key, (chains, flat.size), flat.dtype)
        parts = [
            noise[:, start : start + size].reshape((chains, *leaf.shape))
            for start, size, leaf in zip(starts, sizes, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, parts)

    return draw
