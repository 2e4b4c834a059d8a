"""The contract of every sampler: all randomness from one batched draw, then a pure step of one chain on its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.models.base import Params

Potential = Callable[[Params], Float[Array, ""]]


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
    """

    draw: Callable[[Key[Array, ""], int], PyTree]
    init: Callable[[Params, PyTree], Any]
    step: Callable[[PyTree, Any, PyTree], tuple[Any, Any]]


def refuse_task(task: PyTree) -> None:
    """For kernels whose potential, θ ↦ V, is the same for all chains.

    Raises:
        ValueError: there is a task, which would not be looked at.
    """
    if task is not None:
        raise ValueError("all chains of this kernel share one potential: it takes no tasks")


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
