"""Checks of a kernel of Langevin dynamics, on uv under stiff confinement and on springs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Target, kernel_kind
from langevin_ib.models import uv
from langevin_ib.testing.breach import hold
from langevin_ib.testing.invariance import check_invariance
from langevin_ib.testing.sampler import Sampler
from langevin_ib.testing.temperature import effective_temperature

T, KAPPA = 0.1, 3.0
POINT = 1.3, 0.4
MEAN_DRAWS, SIGMAS = 16384, 6.0  # of the mean over a step's noise; a right one is refused with probability 1e-8
SECOND_ORDER = 0.35  # of what is left of a T = 0 step at half the step size
BOUNDED = 2000, 64  # steps and chains at the bound hΛ


class _Subject(NamedTuple):
    """A kernel by its record and its settings."""

    kind: KernelKind
    settings: Any

    def on_uv(self, h: float = 0.01, temperature: float = T, dtype: Any = jnp.float64) -> Kernel:
        """For uv under κχ²/2; a held one at its slice."""
        model = uv()
        like = jnp.asarray(POINT, dtype)
        potential = stiff(KAPPA).potential(model)
        return self.kind.build(self.settings, Target(potential, temperature, like, model.moment_map), h)

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


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those that apply to the kernel of a name."""
    kind = kernel_kind(name)
    subject = _Subject(kind, kind.settings(**settings))
    found = {"record": _record, "shapes": _shapes, "purity": _purity, "chains": _chains, "precision": _precision}
    if not kind.adjusted and not kind.held:
        found |= {"cold": _cold, "weak order": _order, "stability": _stability}
    with jax.enable_x64(True):
        if subject.on_uv().mean_after is not None:
            found["mean after"] = _mean_after
    if kind.adjusted:
        found["invariance"] = _invariance
    return {check: lambda run=run: run(subject) for check, run in found.items()}


def _record(subject: _Subject) -> None:
    kind = subject.kind
    hold(0 < kind.stability < math.inf, f"stability has to be a positive number, got {kind.stability}")
    hold(kind.weak_order is None or kind.weak_order >= 1, f"weak_order has to be at least 1, got {kind.weak_order}")


def _one(kernel: Kernel, seed: int, chains: int = 1) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], kernel.draw(jax.random.key(seed), chains))


def _shapes(subject: _Subject) -> None:
    kernel = subject.on_uv()
    for leaf in jax.tree.leaves(kernel.draw(jax.random.key(0), 5)):
        hold(leaf.shape[:1] == (5,), f"draw(key, 5) has to have chains first, got the shape {leaf.shape}")
    state = subject.start(kernel)
    hold(hasattr(state, "position"), f"a state has to have a field position, got {type(state).__name__}")
    moved, info = kernel.step(_one(kernel, 0), state, None)
    same = jax.tree.structure(moved) == jax.tree.structure(state)
    hold(same, "a step has to keep the structure of its state")
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(moved), strict=True):
        fits = jnp.shape(old) == jnp.shape(new) and jnp.result_type(old) == jnp.result_type(new)
        hold(fits, f"a step has to keep shapes and types, got {jnp.shape(new)} for {jnp.shape(old)}")
    for leaf in jax.tree.leaves(info):
        hold(jnp.shape(leaf) == (), f"info has to be scalars, got one of shape {jnp.shape(leaf)}")
    hold(np.isfinite(moved.position).all(), "a step from a plain point is not finite")


def _purity(subject: _Subject) -> None:
    kernel = subject.on_uv()
    state, noise = subject.start(kernel), _one(kernel, 3)
    step = jax.jit(kernel.step)
    for what, first, second in (
        ("draw", kernel.draw(jax.random.key(3), 2), kernel.draw(jax.random.key(3), 2)),
        ("step", step(noise, state, None), step(noise, state, None)),
    ):
        for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
            plain = [
                jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in (one, other)
            ]
            hold(
                np.array_equal(*map(np.asarray, plain), equal_nan=True), f"{what} gives another result the second time"
            )


def _chains(subject: _Subject) -> None:
    kernel, count = subject.on_uv(), 256
    noise = kernel.draw(jax.random.key(1), count)
    state = subject.start(kernel)
    ends = np.asarray(jax.vmap(lambda each: kernel.step(each, state, None)[0].position)(noise))
    alone = np.asarray(kernel.step(jax.tree.map(lambda leaf: leaf[7], noise), state, None)[0].position)
    hold(np.allclose(ends[7], alone, rtol=1e-9, atol=1e-12), "a chain among others moves otherwise than alone")
    moves = ends - ends.mean(axis=0)
    # A quarter of the chains may share a point where a proposal is refused.
    hold(len(np.unique(ends, axis=0)) > count // 4, "chains share their noise: many make the same step")
    size = np.sum(moves**2, axis=0)
    size = np.where(size > 0, size, 1.0)
    neighbours = np.max(np.abs(np.sum(moves[:-1] * moves[1:], axis=0) / size))
    hold(neighbours < SIGMAS / count**0.5, f"the noise of neighbouring chains is correlated by {neighbours:.2g}")


def _precision(subject: _Subject) -> None:
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            kernel = subject.on_uv(dtype=dtype)
            position = kernel.step(_one(kernel, 0), subject.start(kernel, dtype), None)[0].position
            hold(position.dtype == dtype, f"a chain in {jnp.dtype(dtype)} becomes one in {position.dtype}")


def _cold(subject: _Subject) -> None:
    """T = 0 is θ − h∇V + O(h²): what is left falls by four at half the step."""
    left = []
    for h in (0.01, 0.005):
        kernel = subject.on_uv(h, 0.0)
        state = subject.start(kernel)
        slope = jax.grad(stiff(KAPPA).potential(uv()))(state.position)
        end = kernel.step(_one(kernel, 0), state, None)[0].position
        left.append(float(jnp.max(jnp.abs(end - state.position + h * slope)) / jnp.max(jnp.abs(h * slope))))
    right = left[0] < 1e-9 or (left[0] < 0.5 and left[1] < 0.5 * (1 + 2 * SECOND_ORDER) * left[0])
    hold(
        right, f"at T = 0 a step is not θ − h∇V: off by {left[0]:.2g} of it at h = 0.01, {left[1]:.2g} at half of that"
    )


def _mean_after(subject: _Subject) -> None:
    """Of a quadratic φ, against the mean over many draws of the step's noise."""
    kernel = subject.on_uv(0.05)
    state = kernel.step(_one(kernel, 2), subject.start(kernel), None)[0]
    matrix = jnp.array([[2.0, 0.5], [0.5, -1.0]])

    def phi(params: Any) -> Any:
        flat = ravel_pytree(params)[0]
        return flat @ matrix @ flat + flat[0] - 3.0

    noise = kernel.draw(jax.random.key(5), MEAN_DRAWS)
    values = np.asarray(jax.vmap(lambda each: phi(kernel.step(each, state, None)[0].position))(noise))
    assert kernel.mean_after is not None  # else it is no check of this kernel
    stated, mean = float(kernel.mean_after(phi, state, None)), float(values.mean())
    error = float(values.std() / MEAN_DRAWS**0.5)
    hold(
        abs(stated - mean) <= SIGMAS * error + 1e-12,
        f"mean_after gives {stated:.5g}, its draws {mean:.5g} ± {error:.1g}",
    )


def _order(subject: _Subject) -> None:
    """The temperature at h → 0, and a bias at hΛ = 0.2 as the order says: none to be seen on springs from k = 2 on."""
    answer = effective_temperature(subject.sampler, temperature=T, chains=256, steps=1500)
    hold(answer.passed, answer.verdict)
    order, claimed = answer.order, subject.kind.weak_order or 1
    seen = order is not None and abs(answer.bias.value) > SIGMAS * answer.bias.error
    if order is not None and seen:
        words = f"its bias is of order {order.value:.2g} ± {order.error:.1g}, and should be of order {claimed}"
        hold(order.value + 3 * order.error >= claimed, words)


def _stability(subject: _Subject) -> None:
    """At its bound hΛ chains stay where the law is."""
    h, (steps, chains) = subject.kind.stability, BOUNDED
    like = jnp.zeros(2)
    kernel = subject.kind.build(
        subject.settings, Target(lambda x: 0.5 * jnp.sum(x**2), T, like, lambda x: jnp.zeros(0)), h
    )

    def body(n: Any, states: Any) -> Any:
        noise = kernel.draw(jax.random.fold_in(jax.random.key(4), n), chains)
        return jax.vmap(lambda each, state: kernel.step(each, state, None)[0])(noise, states)

    states = jax.vmap(lambda x: kernel.init(x, None))(jnp.zeros((chains, 2)))
    end = np.asarray(jax.lax.fori_loop(0, steps, body, states).position)
    far = float(np.max(np.abs(end))) / T**0.5
    hold(far < 20.0, f"at hΛ = {h:g}, its stability, chains are {far:.3g} standard deviations away")


def _invariance(subject: _Subject) -> None:
    def loss(x: Any) -> Any:
        return 0.5 * jnp.sum(jnp.array([0.5, 1.0]) * x**2)

    def step(key: Any, x: Any) -> Any:
        sampler = subject.sampler
        return sampler.step(key, sampler.init(key, x, loss, 0.3), loss, 0.3).position

    answer = check_invariance(step, _Springs(), key=jax.random.key(6), steps=5)
    hold(answer, answer.verdict)


class _Springs:
    """exp(−V/T) of two springs."""

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Normal numbers."""
        return jax.random.normal(key, (*sample_shape, 2)) * jnp.sqrt(T / jnp.array([0.5, 1.0]))
