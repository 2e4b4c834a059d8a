"""The contract of every sampler: all randomness from one batched draw, then a pure step for one chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key, PyTree

from langevin_ib.models.base import Params


@dataclass(frozen=True)
class Kernel:
    """Three pure functions; every state has a field `position`, the parameters of the chain.

    Attributes:
        draw: (key, chains) ↦ the noise of one step for all chains, chain axis first. With JAX's partitionable threefry,
            chain i then gets the same numbers whatever the number of chains and devices.
        init: params ↦ state, for one chain.
        step: (noise, state) ↦ (state, info), for one chain; `info` is a NamedTuple of scalars, averaged by the runner.
    """

    draw: Callable[[Key[Array, ""], int], PyTree]
    init: Callable[[Params], Any]
    step: Callable[[PyTree, Any], tuple[Any, Any]]
