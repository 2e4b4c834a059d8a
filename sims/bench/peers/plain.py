"""Plain loops in JAX and in NumPy: Leimkuhler and Matthews' step as its formula has it, on normals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from langevin_ib.devices import usable_cores
from sims.bench.peers.base import Absent, Bins, Job, Recorder
from sims.bench.peers.loops import Stepwise

Normals = Callable[[Any, Any], Any]  # (key, like) ↦ normals of like's shape (chain, q)


def batched(key: Any, like: Any) -> Any:
    """One draw for all chains."""
    return jax.random.normal(key, like.shape, like.dtype)


def keyed(key: Any, like: Any) -> Any:
    """A key for each chain, split off at every step."""
    keys = jax.random.split(key, like.shape[0])
    return jax.vmap(lambda own: jax.random.normal(own, like.shape[1:], like.dtype))(keys)


def plain_jax(normals: Normals, job: Job) -> Stepwise:
    """θ' = θ − h∇V(θ) + √(hT/2) (ζ_n + ξ_{n+1}) of all chains, (chain, q)."""
    example = jax.tree.map(lambda leaf: leaf[0], job.starts(1, 0))
    unravel = ravel_pytree(example)[1]
    amplitude, h = math.sqrt(0.5 * job.step_size * job.temperature), job.step_size
    gradient = jax.vmap(jax.grad(lambda flat: job.potential(unravel(flat))))

    def init(starts: Any) -> Any:
        flat = jax.vmap(lambda params: ravel_pytree(params)[0])(starts)
        return flat, 0.0 * flat

    def advance(key: Any, state: Any) -> Any:
        x, last = state
        new = normals(key, x)
        return x - h * gradient(x) + amplitude * (last + new), new

    return Stepwise(advance, init, lambda state: jax.vmap(unravel)(state[0]))


plain_batched, plain_keyed = partial(plain_jax, batched), partial(plain_jax, keyed)


class NumpyChains:
    """uv, a share of the chains for each core: NumPy's loops leave Python's lock."""

    def __init__(self, threads: int, job: Job, chains: int, seed: int, recorder: Recorder | None):
        if recorder is not None and not isinstance(recorder, Bins):
            raise Absent("the NumPy loop counts bins and nothing else")
        self.job, self.bins = job, recorder
        parts = np.array_split(np.asarray(job.starts(chains, seed), np.float32), min(threads, chains))
        self.states = [(part.T.copy(), np.zeros_like(part.T)) for part in parts]
        self.random = [np.random.default_rng(own) for own in np.random.SeedSequence(seed).spawn(len(parts))]
        self.counts = np.zeros((len(parts), recorder.bins if recorder else 0), np.int64)
        self.pool = ThreadPoolExecutor(len(parts))

    def run(self, records: int, thin: int) -> float:
        """Seconds of so many records, each after `thin` steps."""
        began = time.perf_counter()
        list(self.pool.map(lambda part: self._part(part, records, thin), range(len(self.states))))
        return time.perf_counter() - began

    def _part(self, part: int, records: int, thin: int) -> None:
        (u, v), (last_u, last_v) = self.states[part]
        random, job = self.random[part], self.job
        h, kappa = np.float32(job.step_size), np.float32(0.5 * job.kappa)
        amplitude = np.float32(math.sqrt(0.5 * job.step_size * job.temperature))
        noise = np.empty((2, u.size), np.float32)
        for _ in range(records):
            for _ in range(thin):
                random.standard_normal(out=noise, dtype=np.float32)
                new_u, new_v = noise
                residual, charge = u * v - np.float32(1.0), kappa * (u * u - v * v)
                kick_u, kick_v = amplitude * (last_u + new_u), amplitude * (last_v + new_v)
                u, v = (
                    u - h * (residual * v + charge * u) + kick_u,
                    v - h * (residual * u - charge * v) + kick_v,
                )
                last_u[:], last_v[:] = new_u, new_v
            if self.bins is not None:
                self.counts[part] += np.histogram(u * v, self.bins.edges)[0]
        self.states[part] = np.stack([u, v]), np.stack([last_u, last_v])

    def positions(self) -> np.ndarray:
        """(chain, 2)."""
        return np.concatenate([x.T for x, _ in self.states])

    def recorded(self) -> np.ndarray:
        """Counts of all chains, in each bin."""
        return self.counts.sum(axis=0)


def numpy_forms() -> dict[str, Callable[..., NumpyChains]]:
    """One thread, or as many as there are cores."""
    return {f"{n} threads": partial(NumpyChains, n) for n in sorted({1, len(usable_cores())})}
