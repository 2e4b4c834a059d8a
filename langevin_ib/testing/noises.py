"""Checks of a gradient noise: its draws against the mean, covariance, cumulants and kicks that it states, and the mean
after a step of SGD that follows from its covariance against such steps. Of a function what it states, as a run does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.dynamics.cumulants import along_direction, cumulants, kicks_of
from langevin_ib.dynamics.descent import check_covariance, sgd
from langevin_ib.dynamics.descent_mean import DescentClaim
from langevin_ib.dynamics.kernel import Smoothed
from langevin_ib.dynamics.kicks import AlongPlaces
from langevin_ib.dynamics.noise import Noise, kind_of
from langevin_ib.errors import ConfigError
from langevin_ib.models import Model, uv
from langevin_ib.models.base import Chart
from langevin_ib.runs.hook_noise import measure_hook
from langevin_ib.testing.breach import hold

DRAWS, BATCHES = 65536, 64
SIGMAS = 6.0
COMMON = "batch_size", "label_noise", "replace", "isotropized", "scale"
POINT, DIRECTION = (1.3, 0.4), (0.8, 0.6)
KICKS = 24  # what law `map` takes
FREQUENCIES = 0.5, 1.0, 2.0, 3.0  # of waves, over the standard deviation of kicks
ROUNDING = 1e-6  # of kicks from a characteristic function
LR, MOMENTUM, DECAY = 0.3, 0.8, 0.2  # of the step whose mean is stated
MATRIX = np.array([[2.0, 0.5], [0.5, -1.0]])


class _Subject(NamedTuple):
    """A noise, and the model on which it is looked at."""

    noise: Noise
    model: Model

    @property
    def point(self) -> Float[Array, "2"]:
        """θ."""
        return jnp.asarray(POINT)

    def along(self, seed: int) -> Float[np.ndarray, " draws"]:
        """e·ĝ of draws."""
        point = self.point
        kernel = sgd(self.model, point, noise=self.noise, lr=1.0)
        start, direction = kernel.init(point, None), jnp.asarray(DIRECTION)

        def component(drawn: Any) -> Any:
            return (point - ravel_pytree(kernel.step(drawn, start, None)[0].position)[0]) @ direction

        return np.asarray(jax.lax.map(component, kernel.draw(jax.random.key(seed), DRAWS), batch_size=DRAWS // BATCHES))


def checks(name: str, **settings: Any) -> dict[str, Callable[[], None]]:
    """Those of the noise of a name on uv with a data set of 16, or with a population; batch and labels have defaults.

    Raises:
        ConfigError: there is no such noise, its settings are wrong, or it is the constant noise of a kernel.
    """
    kind = kind_of(name)
    if kind.constant:
        raise ConfigError("noise", "one with draws of its own: chains move by the kernel euler-maruyama here", name)
    shared = {key: settings.pop(key) for key in COMMON if key in settings}
    if kind.settings.batched:
        shared.setdefault("batch_size", 4)
    elif "label_noise" in kind.settings.takes:
        shared.setdefault("label_noise", 0.5)
    noise = Noise(name, own=kind.settings(**settings) if settings else None, **shared)
    subject = _Subject(noise, uv() if kind.population else uv(samples=16, scatter=1.0))
    if kind.hook is not None:
        found = {"chains": _chains, "mean": _hook} | (
            {} if kind.hook.covariance is None else {"mean after": _mean_after}
        )
        return {check: lambda run=run: run(subject) for check, run in found.items()}
    found = {"chains": _chains, "covariance": _covariance}
    if not kind.noiseless and not noise.dependence:
        found["mean after"] = _mean_after
    if not noise.isotropized and not noise.dependence:
        found |= {} if kind.cumulants is None else {"cumulants": _cumulants}
        found |= {} if kind.kicks is None else {"kicks": _kicks}
    return {check: lambda run=run: run(subject) for check, run in found.items()}


def _hook(subject: _Subject) -> None:
    """The mean of a function, and the covariance and third cumulant that it states, as a run holds them to its draws.

    A noise without a variance has a covariance or third cumulant in no sense, and must not state them.
    """
    model, noise, point = subject.model, subject.noise, subject.point
    _, measured = measure_hook(model, noise, point, 0.7 * point, Chart(model), LR, jax.random.key(0))
    hook, tail = noise.record.hook, measured.tail
    assert hook is not None  # it is a check of these alone
    assert tail is not None
    hold(tail.mean, f"no mean could be checked: {tail.words}")
    hold(tail.variance or hook.covariance is None, f"it states a covariance and has none: {tail.words}")
    hold(tail.highest >= 3 or hook.third is None, f"it states a third cumulant and has none: {tail.words}")


def _covariance(subject: _Subject) -> None:
    check_covariance(subject.model, subject.noise, subject.point, jax.random.key(0))


def _chains(subject: _Subject) -> None:
    kernel = sgd(subject.model, subject.point, noise=subject.noise, lr=1.0)
    for leaf in jax.tree.leaves(kernel.draw(jax.random.key(0), 6)):
        hold(leaf.shape[0] == 6, f"draw(key, 6) has to have chains first, got the shape {leaf.shape}")


def _cumulants(subject: _Subject) -> None:
    """κ₂, κ₃, κ₄ along a direction, against batches of draws, each within six standard errors."""
    training = subject.noise.check(subject.model)
    stated = np.array(cumulants(training, subject.noise, subject.point, jnp.asarray(DIRECTION)))
    along = subject.along(1).reshape(BATCHES, -1)
    spread = along - along.mean()
    second = (spread**2).mean(axis=1)
    found = np.stack([second, (spread**3).mean(axis=1), (spread**4).mean(axis=1) - 3 * second.mean() ** 2])
    # κ₄ depends on the mean of κ₂ by the batches' own; to first order its error is that of m₄ − 6 κ₂ m₂.
    linear = np.stack([found[0], found[1], (spread**4).mean(axis=1) - 6 * second.mean() * second])
    mean, error = found.mean(axis=1), linear.std(axis=1, ddof=1) / BATCHES**0.5
    for n, (have, se, want) in enumerate(zip(mean, error, stated, strict=True), 2):
        hold(
            abs(have - want) <= SIGMAS * se + 1e-9,
            f"cumulant {n} of its draws is {have:.4g} ± {se:.1g}, stated {want:.4g}",
        )


def _kicks(subject: _Subject) -> None:
    """E cos s(k − k̄)/σ and E sin s(k − k̄)/σ of kicks along a direction, against draws."""
    noise = subject.noise
    along = along_direction(noise.check(subject.model), noise, subject.point, jnp.asarray(DIRECTION))
    stated = kicks_of(noise, AlongPlaces(*jax.tree.map(lambda part: np.asarray(part)[None], along)), KICKS)
    values, weights = np.asarray(stated.values)[0], np.asarray(stated.weights)[0]
    total = float(weights.sum())
    hold(abs(total - 1) < ROUNDING, f"weights of kicks have to sum to one, got {total:.10g}")
    mean = float(weights @ values)
    scale = float(weights @ (values - mean) ** 2) ** 0.5
    hold(scale > 0, "its kicks have no width")
    drawn, values = (subject.along(2) - mean) / scale, (values - mean) / scale
    for s in FREQUENCIES:
        for wave in (np.cos, np.sin):
            sample, want = wave(s * drawn), float(weights @ wave(s * values))
            have, error = float(sample.mean()), float(sample.std() / DRAWS**0.5)
            hold(
                abs(have - want) <= SIGMAS * error + ROUNDING,
                f"the mean {wave.__name__} of {s:g} kicks is {have:.4g} ± {error:.1g} of draws, {want:.4g} as stated",
            )


def _mean_after(subject: _Subject) -> None:
    """E[φ(θ′) | state] of SGD with momentum and decay, stated from Σ, against steps with its draws."""
    noise, model, point = subject.noise, subject.model, subject.point
    kernel = sgd(model, point, noise=noise, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    drawn = kernel.draw(jax.random.key(3), DRAWS + 1)
    state = kernel.step(jax.tree.map(lambda x: x[0], drawn), kernel.init(point, None), None)[0]
    claim = DescentClaim(
        lambda params: model.loss(params) + 0.5 * DECAY * params @ params, noise.check(model), noise, LR, MOMENTUM
    )

    def phi(params: Any) -> Any:
        return jnp.stack([0.5 * params @ params, 0.5 * params @ MATRIX @ params])

    def after(one: Any) -> Any:
        moved = kernel.step(one, state, None)[0]
        return jnp.append(phi(moved.position), claim.velocity_square(moved))

    rest = jax.tree.map(lambda x: x[1:], drawn)
    values = np.asarray(jax.lax.map(after, rest, batch_size=DRAWS // BATCHES))
    # Of a noise that differs by direction only the Hessians are asked for.
    smoothed = Smoothed(phi, lambda mean, variance: phi(mean), np.stack([np.eye(2), MATRIX]))
    square = claim.velocity_gap(state) + claim.velocity_square(state)
    stated = np.asarray(jnp.append(claim.mean_after(smoothed, state, None), square))
    for what, want, sample in zip(("|θ|²/2", "θᵀAθ/2", "|m|²/2"), stated, values.T, strict=True):
        have, error = float(sample.mean()), float(sample.std() / DRAWS**0.5)
        hold(
            abs(have - want) <= SIGMAS * error + 1e-9,
            f"after a step of SGD the mean of {what} over its draws is {have:.5g} ± {error:.1g}, stated {want:.5g}",
        )
