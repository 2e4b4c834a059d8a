"""Somebody's sampler, in JAX or in NumPy, as something that can be run: many chains on a given potential.

A step is a function of a key, a state, the gradient (or the loss) of the potential, and a step size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.errors import ConfigError, one_line
from langevin_ib.testing.target import Target

Backend = Literal["auto", "jax", "numpy"]
PROBE = 64  # chains on which it is seen whether a step uses its key


def _start(key: Any, position: Any, gradient: Any, step_size: float) -> Any:
    del key, gradient, step_size
    return position


def _position(state: Any) -> Any:
    if hasattr(state, "position"):
        return state.position
    if isinstance(state, tuple | list | dict):
        raise ConfigError("sampler", "given a function position of its state", f"none, of a {type(state).__name__}")
    return state


@dataclass(frozen=True)
class Sampler:
    """A step with what stands around it. A function of the same arguments will do where the rest has its defaults.

    Attributes:
        step: (key, state, gradient, h) ↦ state, of one chain. In JAX the key is one of JAX's, in NumPy a
            `numpy.random.Generator`. The gradient is a function of a vector of parameters.
        init: (key, position, gradient, h) ↦ state; by default the state is the position.
        position: state ↦ the vector of parameters; by default the state, or its field `position`.
        gives: what stands in the gradient's place, `gradient` or `loss`.
        backend: `jax`, `numpy`, or `auto`: JAX if the step can be traced by it, else NumPy.
        batched: whether a step in NumPy takes the positions of all chains at once, (chains, q): much faster.
    """

    step: Callable[[Any, Any, Callable[[Any], Any], float], Any]
    init: Callable[[Any, Any, Callable[[Any], Any], float], Any] = _start
    position: Callable[[Any], Any] = _position
    gives: Literal["gradient", "loss"] = "gradient"
    backend: Backend = "auto"
    batched: bool = False

    def __post_init__(self) -> None:
        if self.gives not in ("gradient", "loss"):
            raise ConfigError("gives", "gradient or loss", self.gives)
        if self.backend not in ("auto", "jax", "numpy"):
            raise ConfigError("backend", "auto, jax or numpy", self.backend)

    def of(self, target: Target, xp: Any) -> Callable[[Any], Any]:
        """What a step is given of a potential."""
        return target.gradient(xp) if self.gives == "gradient" else target.loss(xp)


def stateful(make: Callable[[np.random.Generator, Any, Callable[[Any], Any], float], Any], **settings: Any) -> Sampler:
    """An object with a method `step()` that moves it and returns its new position, as a sampler in NumPy.

    Args:
        make: (generator, start, gradient, h) ↦ the object; the generator is the only source of its randomness.
        settings: `gives`, as of `Sampler`.

    >>> class Walk:
    ...     def __init__(self, rng, start, gradient, h):
    ...         self.rng, self.x, self.gradient, self.h = rng, start, gradient, h
    ...     def step(self):
    ...         noise = self.rng.normal(size=self.x.shape)
    ...         self.x = self.x - self.h * self.gradient(self.x) + (2 * self.h * 0.1) ** 0.5 * noise
    ...         return self.x
    >>> stateful(Walk).backend
    'numpy'
    """

    def init(rng: Any, position: Any, gradient: Any, step_size: float) -> Any:
        return make(rng, position, gradient, step_size), position

    def step(rng: Any, state: Any, gradient: Any, step_size: float) -> Any:
        del rng, gradient, step_size
        return state[0], np.array(state[0].step())  # copied: many change it in place

    return Sampler(step, init, lambda state: state[1], backend="numpy", **settings)


class Path(NamedTuple):
    """What a run gives: where each chain ended, and its mean of x ∂V/∂x, both (chains, q)."""

    end: np.ndarray
    virial: np.ndarray


class Length(NamedTuple):
    """Steps that are left out, and steps that count."""

    burn_in: int
    steps: int


def resolved(step: Callable | Sampler, target: Target, step_size: float) -> Sampler:
    """A sampler that is known to run, in JAX or in NumPy.

    Raises:
        ConfigError: it fails, changes the shape of the position, or makes no use of its key.
    """
    sampler = step if isinstance(step, Sampler) else Sampler(step)
    faults = []
    for backend in ("jax", "numpy") if sampler.backend == "auto" else (sampler.backend,):
        candidate = replace(sampler, backend=backend)
        try:
            _check(candidate, target, step_size)
        except ConfigError:
            raise
        except Exception as error:
            faults.append(f"{backend}: {one_line(error)}")
        else:
            return candidate
    raise ConfigError(
        "step", "a function (key, state, gradient, step_size) ↦ state", f"one that fails: {'; '.join(faults)}"
    )


def _check(sampler: Sampler, target: Target, step_size: float) -> None:
    """That it runs, and that its randomness is that of its key: none from elsewhere, and each chain has its own."""
    starts = np.ones((PROBE, target.size)) * target.widths()
    if sampler.backend == "jax":
        # Traced twice: numbers that are drawn outside of JAX become constants, other ones in each program.
        runs = [_in_jax(sampler, target, step_size) for _ in range(2)]
        ends = [run(starts, Length(0, 1), seed).end for run, seed in ((runs[0], 0), (runs[1], 0), (runs[0], 1))]
    else:
        ends = [_in_numpy(sampler, target, step_size, starts, Length(0, 1), seed).end for seed in (0, 0, 1)]
    first, again, other = ends
    wanted = "one whose randomness comes from its key"
    if not np.array_equal(first, again, equal_nan=True):
        raise ConfigError("step", f"{wanted} alone", "another state for the same key")
    if np.array_equal(first, other, equal_nan=True):
        raise ConfigError("step", wanted, "the same state for two keys")
    if np.array_equal(first, np.broadcast_to(first[:1], first.shape)):
        raise ConfigError("step", "one with random numbers of each chain's own", f"{PROBE} chains that move as one")


def simulate(sampler: Sampler, target: Target, step_size: float, starts: np.ndarray, length: Length, seed: int) -> Path:
    """Run chains from their starts, (chains, q), and average x ∂V/∂x over their steps but for the burn-in."""
    if sampler.backend == "jax":
        return _in_jax(sampler, target, step_size)(starts, length, seed)
    return _in_numpy(sampler, target, step_size, starts, length, seed)


def _shaped(position: Any, like: Any) -> Any:
    if np.shape(position) != np.shape(like):
        raise ConfigError(
            "step", f"one that keeps the position's shape {np.shape(like)[-1:]}", f"{np.shape(position)[-1:]}"
        )
    return position


def _in_jax(sampler: Sampler, target: Target, step_size: float) -> Callable[[np.ndarray, Length, int], Path]:
    given, gradient = sampler.of(target, jnp), target.gradient(jnp)

    @jax.jit
    def run(starts, burn_in, steps, key):
        key_init, key_run = jax.random.split(key)
        chains = starts.shape[0]
        states = jax.vmap(lambda key, x: sampler.init(key, x, given, step_size))(
            jax.random.split(key_init, chains), starts
        )

        def body(n, carry):
            states, total = carry
            keys = jax.random.split(jax.random.fold_in(key_run, n), chains)
            moved = jax.vmap(lambda key, state: sampler.step(key, state, given, step_size))(keys, states)
            if jax.tree.structure(moved) != jax.tree.structure(states):
                wanted = "one that returns a state like that of `init`, and `position` where a state is not a position"
                raise ConfigError("step", wanted, f"a {type(moved).__name__} from a {type(states).__name__}")
            # The carry of a loop keeps its types; a step that returns another float type is not wrong for it.
            states = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.result_type(old)), moved, states)
            x = _shaped(jax.vmap(sampler.position)(states), starts)
            return states, total + jnp.where(n >= burn_in, x * gradient(x), 0.0)

        states, total = jax.lax.fori_loop(0, burn_in + steps, body, (states, jnp.zeros_like(starts)))
        return jax.vmap(sampler.position)(states), total / steps

    def simulated(starts: np.ndarray, length: Length, seed: int) -> Path:
        return Path(*map(np.asarray, run(jnp.asarray(starts), length.burn_in, length.steps, jax.random.key(seed))))

    return simulated


def _in_numpy(
    sampler: Sampler, target: Target, step_size: float, starts: np.ndarray, length: Length, seed: int
) -> Path:
    given, gradient = sampler.of(target, np), target.gradient(np)
    groups = [starts] if sampler.batched else list(starts)
    ends, means = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for rng, start in zip(np.random.default_rng(seed).spawn(len(groups)), groups, strict=True):
            state = sampler.init(rng, np.array(start), given, step_size)
            total = np.zeros_like(start)
            for n in range(length.burn_in + length.steps):
                state = sampler.step(rng, state, given, step_size)
                x = _shaped(sampler.position(state), start)
                if n >= length.burn_in:
                    total += x * gradient(x)
            ends.append(np.array(sampler.position(state)))
            means.append(total / length.steps)
    return Path(*(parts[0] if sampler.batched else np.stack(parts) for parts in (ends, means)))
