"""Checks of a kernel of Langevin dynamics, on uv under stiff confinement and on springs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Kernel, Target, kernel_kind
from langevin_ib.models import uv
from langevin_ib.testing import stated
from langevin_ib.testing.breach import hold
from langevin_ib.testing.exact import exact_draws
from langevin_ib.testing.invariance import check_invariance
from langevin_ib.testing.subject import CONE, FLAT, KAPPA, Subject, T, row
from langevin_ib.testing.temperature import effective_temperature

SIGMAS = 6.0
HELD, WEAKEST = (2000, 4096), 0.03  # steps and chains on a slice, and the error of T/T that is too large
FULL_SPACE = 100, 32768  # steps, and draws of the first round
SECOND_ORDER = 0.35  # of what is left of a T = 0 step at half the step size
BOUNDED = 2000, 64  # steps and chains at the bound hΛ


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those that apply to the kernel of a name."""
    kind = kernel_kind(name)
    subject = Subject(kind, kind.settings(**settings))
    found = {"record": _record, "shapes": _shapes, "purity": _purity, "chains": _chains, "precision": _precision}
    if not kind.adjusted and not kind.held:
        found |= {"cold": _cold, "weak order": _order, "stability": _stability}
    with jax.enable_x64(True):
        if kind.mean_after is not None or subject.on_uv().mean_after is not None:
            found["mean after"] = stated.mean_after
        if subject.on_uv().increments is not None:
            found["increments"] = stated.increments
    if kind.innovation is not None:
        found["innovation"] = stated.innovation
    if kind.virial is not None:
        found["virial"] = stated.virial
    if kind.held:
        found["temperature"] = _temperature_held
    if kind.adjusted:
        found |= {"invariance": _invariance, "full space": _full_space}
    return {check: lambda run=run: run(subject) for check, run in found.items()}


def _record(subject: Subject) -> None:
    kind = subject.kind
    hold(0 < kind.stability < math.inf, f"stability has to be a positive number, got {kind.stability}")
    hold(kind.weak_order is None or kind.weak_order >= 1, f"weak_order has to be at least 1, got {kind.weak_order}")


def _shapes(subject: Subject) -> None:
    kernel = subject.on_uv()
    for leaf in jax.tree.leaves(kernel.draw(jax.random.key(0), 5)):
        hold(leaf.shape[:1] == (5,), f"draw(key, 5) has to have chains first, got the shape {leaf.shape}")
    state = subject.start(kernel)
    hold(hasattr(state, "position"), f"a state has to have a field position, got {type(state).__name__}")
    moved, info = kernel.step(row(kernel, 0), state, None)
    same = jax.tree.structure(moved) == jax.tree.structure(state)
    hold(same, "a step has to keep the structure of its state")
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(moved), strict=True):
        fits = jnp.shape(old) == jnp.shape(new) and jnp.result_type(old) == jnp.result_type(new)
        hold(fits, f"a step has to keep shapes and types, got {jnp.shape(new)} for {jnp.shape(old)}")
    for leaf in jax.tree.leaves(info):
        hold(jnp.shape(leaf) == (), f"info has to be scalars, got one of shape {jnp.shape(leaf)}")
    hold(np.isfinite(moved.position).all(), "a step from a plain point is not finite")


def _purity(subject: Subject) -> None:
    kernel = subject.on_uv()
    state, noise = subject.start(kernel), row(kernel, 3)
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


def _chains(subject: Subject) -> None:
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


def _precision(subject: Subject) -> None:
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            kernel = subject.on_uv(dtype=dtype)
            position = kernel.step(row(kernel, 0), subject.start(kernel, dtype), None)[0].position
            hold(position.dtype == dtype, f"a chain in {jnp.dtype(dtype)} becomes one in {position.dtype}")


def _cold(subject: Subject) -> None:
    """T = 0 is θ − h∇V + O(h²): what is left falls by four at half the step."""
    left = []
    for h in (0.01, 0.005):
        kernel = subject.on_uv(h, 0.0)
        state = subject.start(kernel)
        slope = jax.grad(stiff(KAPPA).potential(uv()))(state.position)
        end = kernel.step(row(kernel, 0), state, None)[0].position
        left.append(float(jnp.max(jnp.abs(end - state.position + h * slope)) / jnp.max(jnp.abs(h * slope))))
    right = left[0] < 1e-9 or (left[0] < 0.5 and left[1] < 0.5 * (1 + 2 * SECOND_ORDER) * left[0])
    hold(
        right, f"at T = 0 a step is not θ − h∇V: off by {left[0]:.2g} of it at h = 0.01, {left[1]:.2g} at half of that"
    )


def _temperature_held(subject: Subject) -> None:
    """E θ·∇V = (q − m) T on a slice that θ ↦ sθ leaves as it is, from runs at h and h/2, their bias taken off."""
    kind, (steps, chains) = subject.kind, HELD
    for slice_ in (FLAT, CONE):
        target, found = subject.target_on(slice_), []
        for times in (1, 2):
            kernel = subject.on(slice_, 0.1 / times)

            def body(n: Any, carry: Any, kernel: Kernel = kernel, target: Target = target, times: int = times) -> Any:
                states, total = carry
                noise = kernel.draw(jax.random.fold_in(jax.random.key(times), n), chains)
                states = jax.vmap(lambda each, state: kernel.step(each, state, None)[0])(noise, states)
                x = states.position
                heat = jnp.sum(x * jax.vmap(jax.grad(target.potential))(x), axis=-1)
                return states, total + jnp.where(n >= times * steps // 10, heat, 0.0)

            start = kernel.init(jnp.asarray(slice_.start), None)
            states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (chains, *jnp.shape(leaf))), start)
            run = jax.jit(lambda states, body=body, n=times * steps: jax.lax.fori_loop(0, n, body, states))
            total = np.asarray(run((states, jnp.zeros(chains)))[1])
            found.append(total / (times * (steps - steps // 10)) / slice_.dim)
        share = kind.bias_factor  # of T(h) − T(h/2), in T(h) − T
        value = found[0].mean() - share * (found[0].mean() - found[1].mean())
        spread = np.hypot((1.0 - share) * found[0].std(ddof=1), share * found[1].std(ddof=1))
        error = float(spread / chains**0.5)
        hold(error < WEAKEST * T, f"on {slice_.words} its temperature is not known: {value:.4g} ± {error:.1g}")
        off = abs(value - T) <= SIGMAS * error
        hold(off, f"on {slice_.words} its temperature is {value:.4g} ± {error:.1g}, and should be {T:g}")


def _order(subject: Subject) -> None:
    """The temperature at h → 0, and a bias at hΛ = 0.2 as the order says: none to be seen on springs from k = 2 on."""
    answer = effective_temperature(subject.sampler, temperature=T, chains=256, steps=1500)
    hold(answer.passed, answer.verdict)
    order, claimed = answer.order, subject.kind.weak_order or 1
    seen = order is not None and abs(answer.bias.value) > SIGMAS * answer.bias.error
    if order is not None and seen:
        words = f"its bias is of order {order.value:.2g} ± {order.error:.1g}, and should be of order {claimed}"
        hold(order.value + 3 * order.error >= claimed, words)


def _stability(subject: Subject) -> None:
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


def _invariance(subject: Subject) -> None:
    def loss(x: Any) -> Any:
        return 0.5 * jnp.sum(jnp.array([0.5, 1.0]) * x**2)

    def step(key: Any, x: Any) -> Any:
        sampler = subject.sampler
        return sampler.step(key, sampler.init(key, x, loss, 0.3), loss, 0.3).position

    answer = check_invariance(step, _Springs(), key=jax.random.key(6), steps=5)
    hold(answer, answer.verdict)


def _full_space(subject: Subject) -> None:
    """exp(−V/T) dθ of uv under κχ²/2 and under λ|θ|²/2 stays as it is, on all of the plane."""
    for confinement in ({"confine": "stiff", "kappa": 10.0}, {"confine": "weight-decay", "weight_decay": T}):
        law = exact_draws(beta=1 / T, **confinement)
        target = Target(law.loss, T, jnp.zeros(2), lambda x: jnp.zeros(0))
        kernel = subject.kind.build(subject.settings, target, 0.03)

        def step(key: Any, x: Any, kernel: Kernel = kernel) -> Any:
            noise = jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1))
            return kernel.step(noise, kernel.init(x, None), None)[0].position

        answer = check_invariance(step, law, key=jax.random.key(7), steps=FULL_SPACE[0], draws=FULL_SPACE[1])
        hold(answer, f"{confinement['confine']}: {answer.verdict}")


class _Springs:
    """exp(−V/T) of two springs."""

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
        """Normal numbers."""
        return jax.random.normal(key, (*sample_shape, 2)) * jnp.sqrt(T / jnp.array([0.5, 1.0]))
