"""The record of pure functions that describes a model with a continuous symmetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from jaxtyping import Array, Float, Key, PyTree

Params: TypeAlias = PyTree[Float[Array, "..."]]
Invariants: TypeAlias = Mapping[str, Float[Array, "..."]]
Branch: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Model:
    """A loss L(θ) = ℓ(h(θ)) that a group G leaves alone, and the coordinates of its quotient.

    All functions act on one parameter pytree, never on a batch, and are differentiable where the action is free.

    Attributes:
        name: what it is called on the command line.
        group: the group and its action, in words, for tables and figures.
        group_dim: m, the dimension of G.
        loss: L(θ), a scalar.
        act: (t ∈ R^m, θ) ↦ exp(t·e)·θ.
        moment_map: χ(θ) ∈ R^m, eq. (5); the slice is χ⁻¹(0).
        invariants: {name: z(θ)}, coordinates on Θ/G.
        section: z ↦ the balanced representative s(z) of the orbit, χ(s(z)) = 0.
        init: key ↦ θ, where a chain starts.
        branches: {name: open intervals of z on which the action is free}; the reduced laws live on one of them.
        home: {name: the branch that holds the minimum of the loss}.
        minibatch_loss: (θ, key) ↦ loss on one random batch, for models trained by SGD.

    Source: arXiv:2601.06597, Methods, eqs. (19)–(22).
    """

    name: str
    group: str
    group_dim: int
    loss: Callable[[Params], Float[Array, ""]]
    act: Callable[[Float[Array, " m"], Params], Params]
    moment_map: Callable[[Params], Float[Array, " m"]]
    invariants: Callable[[Params], Invariants]
    section: Callable[[Invariants], Params]
    init: Callable[[Key[Array, ""]], Params]
    branches: Mapping[str, tuple[Branch, ...]]
    home: Mapping[str, Branch]
    minibatch_loss: Callable[[Params, Key[Array, ""]], Float[Array, ""]] | None = None
