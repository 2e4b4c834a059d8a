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
from langevin_ib.dynamics.kernel import Kernel, KernelKind, Smoothed, Target, gaussian_mean, kernel_kind
from langevin_ib.models import uv
from langevin_ib.testing.breach import hold
from langevin_ib.testing.exact import exact_draws
from langevin_ib.testing.invariance import check_invariance
from langevin_ib.testing.sampler import Sampler
from langevin_ib.testing.temperature import effective_temperature

T, KAPPA = 0.1, 3.0
POINT = 1.3, 0.4
MEAN_DRAWS, SIGMAS = 16384, 6.0  # of the mean over a step's noise; a right one is refused with probability 1e-8
ROUNDING = 1e-10
NODES, MOST_NODES_IN = 6, 4  # Gauss–Hermite's, in each of a step's increments; of more of these it is draws
VIRIAL = 0.003  # of hT(q − m) that counts as the same
HELD, WEAKEST = (2000, 4096), 0.03  # steps and chains on a slice, and the error of T/T that is too large
FULL_SPACE = 100, 32768  # steps, and draws of the first round
SECOND_ORDER = 0.35  # of what is left of a T = 0 step at half the step size
BOUNDED = 2000, 64  # steps and chains at the bound hΛ


class _Slice(NamedTuple):
    """χ = 0 of a quadratic form χ, a point on it, and its dimension."""

    words: str
    moment_map: Callable[[Any], Any]
    start: tuple[float, ...]
    dim: int


FLAT = _Slice("a flat slice", lambda x: 0.5 * (x[:1] ** 2 - x[1:] ** 2), (1.5, 1.5), 1)
CONE = _Slice("a cone", lambda x: 0.5 * (x[:1] ** 2 + x[1:2] ** 2 - x[2:] ** 2), (1.2, 0.9, 1.5), 2)


class _Subject(NamedTuple):
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

    def on(self, slice_: _Slice, h: float) -> Kernel:
        """For a spring on a slice."""
        return self.kind.build(self.settings, self.target_on(slice_), h)

    def target_on(self, slice_: _Slice) -> Target:
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


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those that apply to the kernel of a name."""
    kind = kernel_kind(name)
    subject = _Subject(kind, kind.settings(**settings))
    found = {"record": _record, "shapes": _shapes, "purity": _purity, "chains": _chains, "precision": _precision}
    if not kind.adjusted and not kind.held:
        found |= {"cold": _cold, "weak order": _order, "stability": _stability}
    with jax.enable_x64(True):
        if kind.mean_after is not None or subject.on_uv().mean_after is not None:
            found["mean after"] = _mean_after
        if subject.on_uv().increments is not None:
            found["increments"] = _increments
    if kind.innovation is not None:
        found["innovation"] = _innovation
    if kind.virial is not None:
        found["virial"] = _virial
    if kind.held:
        found["temperature"] = _temperature_held
    if kind.adjusted:
        found |= {"invariance": _invariance, "full space": _full_space}
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


class _Mean(NamedTuple):
    """A mean over a step's noise, and its standard error: zero where it is a sum over nodes."""

    value: np.ndarray
    error: np.ndarray

    def refuses(self, stated: Any, slack: float = ROUNDING) -> bool:
        """Whether a number that is stated is not this one."""
        return bool(np.any(~(np.abs(np.asarray(stated) - self.value) <= SIGMAS * self.error + slack)))

    def __str__(self) -> str:
        error = f" ± {np.max(self.error):.1g}" if np.any(self.error) else ""
        return f"{np.array2string(np.asarray(self.value), precision=7)}{error}"


def _noises(kernel: Kernel) -> tuple[Any, np.ndarray | None]:
    """Nodes and weights where the noise is a few independent normals, else draws and no weights."""
    if kernel.increments is not None:
        flat, unravel = ravel_pytree(kernel.increments)
        if flat.size <= MOST_NODES_IN:
            x, w = np.polynomial.hermite_e.hermegauss(NODES)
            grid = np.stack([part.ravel() for part in np.meshgrid(*[x] * flat.size)], axis=-1)
            weight = np.prod(np.stack([part.ravel() for part in np.meshgrid(*[w] * flat.size)]), axis=0)
            return jax.vmap(unravel)(jnp.asarray(grid)), weight / weight.sum()
    return kernel.draw(jax.random.key(5), MEAN_DRAWS), None


def _mean(kernel: Kernel, of: Callable[[Any], Any]) -> _Mean:
    """Of a function of a step's noise."""
    noise, weight = _noises(kernel)
    values = np.asarray(jax.jit(jax.vmap(of))(noise))
    if weight is not None:
        mean = np.tensordot(weight, values, axes=1)
        return _Mean(mean, np.zeros_like(mean))
    return _Mean(values.mean(axis=0), values.std(axis=0) / MEAN_DRAWS**0.5)


def _quadratic(params: Any) -> Any:
    flat = ravel_pytree(params)[0]
    return jnp.stack([flat @ jnp.array([[2.0, 0.5], [0.5, -1.0]]) @ flat + flat[0] - 3.0])


def _with_fourth() -> Smoothed:
    """The quadratic, and (b·θ)⁴, of which E (b·m + √v b·ξ)⁴ = (b·m)⁴ + 6 v|b|² (b·m)² + 3 v²|b|⁴."""
    slope = jnp.array([0.6, -0.7])

    def values(params: Any) -> Any:
        return jnp.append(_quadratic(params), (ravel_pytree(params)[0] @ slope) ** 4)

    def over_normals(mean: Any, variance: Any) -> Any:
        along, size = ravel_pytree(mean)[0] @ slope, variance * slope @ slope
        fourth = along**4 + 6.0 * size * along**2 + 3.0 * size**2
        return jnp.append(gaussian_mean(_quadratic, mean, variance), fourth)

    return Smoothed(values, over_normals)


def _mean_after(subject: _Subject) -> None:
    """What is stated of a quadratic φ, and by the record of one of degree four, against the mean over the noise."""
    h, kind = 0.05, subject.kind
    kernel, target = subject.on_uv(h), subject.target_on_uv()
    state = kernel.step(_one(kernel, 2), subject.start(kernel), None)[0]
    phi = _quadratic if kind.mean_after is None else _with_fourth()
    after = kind.claimed(subject.settings, target, h)
    assert after is not None  # else it is no check of this kernel
    stated = np.asarray(after(phi, state, None))
    mean = _mean(kernel, lambda noise: phi(kernel.step(noise, state, None)[0].position))
    hold(not mean.refuses(stated), f"mean_after gives {stated}, the mean over its noise is {mean}")


def _increments(subject: _Subject) -> None:
    """Increments are independent normals: mean, variance, neighbours, third to sixth moment of what is drawn."""
    kernel = subject.on_uv()
    shapes = jax.tree.map(jnp.shape, kernel.increments)
    drawn = kernel.draw(jax.random.key(8), MEAN_DRAWS)
    same = jax.tree.map(lambda leaf: leaf.shape[1:], drawn) == shapes
    hold(same, "a row of draw has to have the shapes that increments has")
    numbers = np.asarray(jax.vmap(lambda row: ravel_pytree(row)[0])(drawn))
    for k, (moment, variance) in enumerate(zip((0, 1, 0, 3, 0, 15), (1, 2, 15, 96, 945, 10170), strict=True), 1):
        z = np.max(np.abs((numbers**k).mean(axis=0) - moment)) * (MEAN_DRAWS / variance) ** 0.5
        hold(z <= SIGMAS, f"increments have to be standard normals: moment {k} of draws is {z:.3g} errors off")
    pairs = np.max(np.abs(np.corrcoef(numbers.T) - np.eye(numbers.shape[1]))) if numbers.shape[1] > 1 else 0.0
    hold(pairs <= SIGMAS / MEAN_DRAWS**0.5, f"increments have to be independent, got a correlation of {pairs:.3g}")


def _innovation(subject: _Subject) -> None:
    """φ less its innovation does not depend on the last increment: it is the mean over it."""
    h = 0.05
    kernel, phi = subject.on_uv(h), _with_fourth()
    assert subject.kind.innovation is not None
    innovation = subject.kind.innovation(subject.settings, subject.target_on_uv(), h)
    before = kernel.step(_one(kernel, 2), subject.start(kernel), None)[0]

    def known(noise: Any) -> Any:
        state = kernel.step(noise, before, None)[0]
        return phi(state.position) - innovation(phi, state)

    rests = np.asarray(jax.vmap(known)(_noises(kernel)[0]))
    mean = _mean(kernel, lambda noise: phi(kernel.step(noise, before, None)[0].position))
    hold(np.ptp(rests, axis=0).max() < ROUNDING, "φ less its innovation changes with the last increment")
    hold(not mean.refuses(rests[0]), f"φ less its innovation is {rests[0]}, the mean over the increment {mean}")


def _virial(subject: _Subject) -> None:
    """E[|θ′|²/2 | state] − |θ|²/2 on a flat slice and on a cone, to a share of hT(q − m)."""
    h = 0.01
    for slice_ in (FLAT, CONE):
        kernel, target = subject.on(slice_, h), subject.target_on(slice_)
        state = kernel.step(_one(kernel, 2), kernel.init(jnp.asarray(slice_.start), None), None)[0]
        assert subject.kind.virial is not None
        stated = float(subject.kind.virial(subject.settings, target, h)(state))

        def gap(noise: Any, kernel: Kernel = kernel, state: Any = state) -> Any:
            moved = kernel.step(noise, state, None)[0].position
            return 0.5 * (jnp.sum(moved**2) - jnp.sum(state.position**2))

        mean = _mean(kernel, gap)
        slack = VIRIAL * h * T * slice_.dim
        hold(not mean.refuses(stated, slack), f"on {slice_.words} virial gives {stated:.6g}, its noise {mean}")


def _temperature_held(subject: _Subject) -> None:
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


def _full_space(subject: _Subject) -> None:
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
