"""The contract of a peer: chains of one job that can be moved on, read, and timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Potential
from langevin_ib.ensemble.runner import starting_points
from langevin_ib.models import Model, build_model
from langevin_ib.plain import Json


class Absent(Exception):  # noqa: N818  # what is not here is no error
    """Why something is not measured, in a few words."""


@dataclass(frozen=True)
class Job:
    """What every peer samples: exp(−V/T), V = L + κ|χ|²/2, with one step, in float32.

    Attributes:
        name: in tables.
        model: L and χ.
        step_size, temperature, kappa: h, T, κ.
        same_branch: whether starts are made positive; for uv, so that all chains are on the branch that is counted.
        given: starts that take the place of the model's, one for each chain at least.
    """

    name: str
    model: Model
    step_size: float
    temperature: float = 0.1
    kappa: float = 100.0
    same_branch: bool = False
    given: Any = None

    @cached_property
    def potential(self) -> Potential:
        """V."""
        return stiff(self.kappa).potential(self.model)

    def starts(self, chains: int, seed: int) -> Any:
        """The same for every peer: leaves (chain, ...)."""
        if self.given is not None:
            return jax.tree.map(lambda leaf: jnp.asarray(leaf[:chains], jnp.float32), self.given)
        starts = starting_points(self.model.init, jax.random.key(seed), chains, jnp.float32)
        return jax.tree.map(jnp.abs, starts) if self.same_branch else starts

    @cached_property
    def parameters(self) -> int:
        """Of one chain."""
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(self.model.init, jax.random.key(0))))


UV_STEP = 1.165e-3


def job(name: str, options: Mapping[str, Json] | None = None, label: str | None = None) -> Job:
    """A model's; of uv by the step of the main command, of others by a tenth of it, which is stable for all of them."""
    step_size = UV_STEP if name == "uv" else 0.1 * UV_STEP
    return Job(label or name, build_model(name, options), step_size, same_branch=name == "uv")


@dataclass(frozen=True)
class Bins:
    """z = uv counted in equal bins, over all chains; z is the product of all parameters."""

    low: float
    width: float
    bins: int

    @property
    def edges(self) -> np.ndarray:
        """Of the bins."""
        return self.low + self.width * np.arange(self.bins + 1)


@dataclass(frozen=True)
class Moments:
    """Sums of every scalar and of its square, of each chain: θ ↦ {name: number}, and the names."""

    scalars: Callable[[Any], Mapping[str, Any]]
    names: tuple[str, ...]


Recorder = Bins | Moments


class Sums(NamedTuple):
    """Of one chain, or with a chain axis first: number of draws, Σ x and Σ x² of each scalar."""

    n: Any
    first: Mapping[str, Any]
    second: Mapping[str, Any]


@runtime_checkable
class Chains(Protocol):
    """Chains on their way."""

    def run(self, records: int, thin: int) -> float:
        """`thin` steps and a record, `records` times, from where they stand: seconds, without compilation."""
        ...

    def positions(self) -> Any:
        """Where they stand: NumPy leaves (chain, ...)."""
        ...

    def recorded(self) -> Any:
        """What the recorder has of them: `Bins` counts of all chains, `Moments` sums of each."""
        ...


# (job, chains, seed, recorder) ↦ chains, at their starts.
Build = Callable[[Job, int, int, Recorder | None], Chains]


@dataclass(frozen=True)
class Peer:
    """What is measured: one sampler, in the forms in which it may be written, the fastest of which counts.

    Attributes:
        name: in tables.
        forms: how it can be written; the one that is fastest on a short run represents it.
        uv_only: whether it has no other potential.
        order: weak order of its scheme: 2 Leimkuhler–Matthews, 1 Euler–Maruyama.
        slow: whether it is so slow that fewer chains check it.
    """

    name: str
    forms: Mapping[str, Build]
    uv_only: bool = False
    order: int = 2
    slow: bool = False
