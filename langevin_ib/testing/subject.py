"""A kernel as the kit looks at it: on uv, on springs, on slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Target
from langevin_ib.models import uv
from langevin_ib.testing.sampler import Sampler

T, KAPPA = 0.1, 3.0
POINT = 1.3, 0.4


class Slice(NamedTuple):
    """χ = 0 of a quadratic form χ, a point on it, and its dimension."""

    words: str
    moment_map: Callable[[Any], Any]
    start: tuple[float, ...]
    dim: int


FLAT = Slice("a flat slice", lambda x: 0.5 * (x[:1] ** 2 - x[1:] ** 2), (1.5, 1.5), 1)
CONE = Slice("a cone", lambda x: 0.5 * (x[:1] ** 2 + x[1:2] ** 2 - x[2:] ** 2), (1.2, 0.9, 1.5), 2)


class Subject(NamedTuple):
    """A kernel by its record and its settings."""

    kind: KernelKind
    settings: Any

    def on_uv(self, h: float = 0.01, temperature: float = T, dtype: Any = jnp.float64) -> Kernel:
        """For uv under κχ²/2; a held one at its slice."""
        return self.kind.build(self.settings, self.target_on_uv(temperature, dtype), h)

    def target_on_uv(self, temperature: float = T, dtype: Any = jnp.float64) -> Target:
        """Its target."""
        model = uv()
        return Target(stiff(KAPPA).potential(model), temperature, jnp.asarray(POINT, dtype), model.moment_map)

    def on(self, slice_: Slice, h: float) -> Kernel:
        """For a spring on a slice."""
        return self.kind.build(self.settings, self.target_on(slice_), h)

    def target_on(self, slice_: Slice) -> Target:
        """|θ − start|²/2 on a slice."""
        start = jnp.asarray(slice_.start)
        return Target(lambda x: 0.5 * jnp.sum((x - start) ** 2), T, start, slice_.moment_map)

    def start(self, kernel: Kernel, dtype: Any = jnp.float64) -> Any:
        """A state that no symmetry marks, but on the slice for a held kernel."""
        return kernel.init(jnp.asarray((0.9, 0.9) if self.kind.held else POINT, dtype), None)

    @property
    def sampler(self) -> Sampler:
        """On a potential without a moment map."""

        def built(loss: Callable, like: Any, h: float) -> Kernel:
            return self.kind.build(self.settings, Target(loss, T, like, lambda x: jnp.zeros(0)), h)

        def step(key: Any, state: Any, loss: Callable, h: float) -> Any:
            kernel = built(loss, state.position, h)
            noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1))
            return kernel.step(noise, state, None)[0]

        def init(key: Any, x: Any, loss: Callable, h: float) -> Any:
            # At rest: a state may hold the last increment, which has to be one of the law's own.
            del key
            return built(loss, x, h).init(x, None)

        return Sampler(step, init, gives="loss", backend="jax")


def row(kernel: Kernel, seed: int) -> Any:
    """The noise of one step."""
    return jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(seed), 1))
