"""Loops over steps in JAX, compiled once, on all cores: what peers that are one step of one chain have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.devices import in_use, usable_cores
from sims.bench.peers.base import Bins, Job, Moments, Recorder, Sums


class Dynamics(Protocol):
    """All chains of a part, as one loop.

    `init(starts) -> state`; `many(key, state, count) -> state` after `count` steps; `position(state)`, leaves
    (chain, ...). Keys differ from call to call.
    """

    @property
    def init(self) -> Callable[[Any], Any]: ...
    @property
    def position(self) -> Callable[[Any], Any]: ...
    def many(self, key: Any, state: Any, count: Any) -> Any: ...


@dataclass(frozen=True)
class Stepwise:
    """From a step of all chains: `advance(key, state) -> state`."""

    advance: Callable[[Any, Any], Any]
    init: Callable[[Any], Any] = lambda starts: starts
    position: Callable[[Any], Any] = lambda state: state

    def many(self, key: Any, state: Any, count: Any) -> Any:
        """Step n on fold_in(key, n)."""
        return jax.lax.fori_loop(0, count, lambda n, here: self.advance(jax.random.fold_in(key, n), here), state)


@dataclass(frozen=True)
class OnCores:
    """How dynamics become chains: in one program, or in one for each core, in a thread each.

    By itself XLA spreads only large loops over the cores of a CPU; which form is faster depends on the number of
    chains, so that both are tried.
    """

    dynamics: Callable[[Job], Dynamics]
    parts: int = 1

    def __call__(self, job: Job, chains: int, seed: int, recorder: Recorder | None) -> JaxChains:
        return JaxChains(self.dynamics(job), job.starts(chains, seed), seed, recorder, min(self.parts, chains))


def forms(name: str, dynamics: Callable[[Job], Dynamics]) -> dict[str, OnCores]:
    """In one program; on a CPU with several cores, also in one for each."""
    cores = len(usable_cores()) if jax.default_backend() == "cpu" else 1
    return {f"{name}, {parts} thread{'s' * (parts > 1)}": OnCores(dynamics, parts) for parts in sorted({1, cores})}


class JaxChains:
    """Chains of `dynamics`; arrays and keys of one part are never seen by another."""

    def __init__(self, dynamics: Dynamics, starts: Any, seed: int, recorder: Recorder | None, parts: int):
        self.recorder = recorder
        self.program = jax.jit(partial(_advance, dynamics, recorder), donate_argnums=1)
        self.position = dynamics.position
        chains = jax.tree.leaves(starts)[0].shape[0]
        devices = in_use()
        self.devices = [devices[part % len(devices)] for part in range(parts)]
        key, self.carries = jax.random.fold_in(jax.random.key(seed), 1), []
        for part, share in enumerate(np.array_split(np.arange(chains), parts)):
            here = jax.tree.map(lambda leaf, share=share: leaf[share[0] : share[-1] + 1], starts)
            state = jax.jit(dynamics.init)(here)
            # A copy of its own: what is donated must not be a buffer that another still has.
            carry = jax.tree.map(jnp.copy, (jax.random.fold_in(key, part), state, _nothing(recorder, len(share))))
            self.carries.append(jax.device_put(carry, self.devices[part]))
        self.calls, self.pool, self.compiled = 0, ThreadPoolExecutor(parts), False

    def run(self, records: int, thin: int) -> float:
        """Seconds of so many records, each after `thin` steps."""
        if not self.compiled:
            self._all(0, 1)
            self.compiled = True
        self.calls += 1
        began = time.perf_counter()
        self._all(records, thin)
        return time.perf_counter() - began

    def _all(self, records: int, thin: int) -> None:
        parts = range(len(self.carries))
        for part, carry in enumerate(self.pool.map(partial(self._part, records, thin), parts)):
            self.carries[part] = carry

    def _part(self, records: int, thin: int, part: int) -> Any:
        key, state, sums = self.carries[part]
        with jax.default_device(self.devices[part]):
            state, sums = self.program(jax.random.fold_in(key, self.calls), (state, sums), records, thin)
        return jax.block_until_ready((key, state, sums))

    def positions(self) -> Any:
        """NumPy leaves (chain, ...)."""
        return _joined([self.position(state) for _, state, _ in self.carries])

    def recorded(self) -> Any:
        """Counts of all chains, or sums of each."""
        sums = [part for _, _, part in self.carries]
        if isinstance(self.recorder, Bins):
            return sum(np.diff(-np.asarray(part, np.int64)) for part in sums)
        return _joined(sums)


def _advance(dynamics: Dynamics, recorder: Recorder | None, key: Any, carry: Any, records: Any, thin: Any) -> Any:
    def one(r, carry):
        state, sums = carry
        state = dynamics.many(jax.random.fold_in(key, r), state, thin)
        return state, _record(recorder, sums, dynamics.position(state))

    return jax.lax.fori_loop(0, records, one, carry)


def _nothing(recorder: Recorder | None, chains: int) -> Any:
    if isinstance(recorder, Bins):
        # How many draws lie at or above each edge: one comparison with each, and no scatter. Enough for 2³¹ draws.
        return jnp.zeros(recorder.bins + 1, jnp.int32)
    if isinstance(recorder, Moments):
        return Sums(
            jnp.zeros(chains, jnp.int32), *({name: jnp.zeros(chains) for name in recorder.names} for _ in range(2))
        )
    return ()


def _record(recorder: Recorder | None, sums: Any, position: Any) -> Any:
    if isinstance(recorder, Bins):
        z = jnp.prod(position, axis=-1)
        return sums + jnp.sum(z[:, None] >= jnp.asarray(recorder.edges, z.dtype), axis=0, dtype=jnp.int32)
    if isinstance(recorder, Moments):
        values = jax.vmap(recorder.scalars)(position)
        plus = partial(jax.tree.map, lambda total, x: total + x)
        return Sums(sums.n + 1, plus(sums.first, values), plus(sums.second, jax.tree.map(jnp.square, values)))
    return sums


def _joined(parts: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *parts)
