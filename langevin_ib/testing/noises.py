"""Checks of a gradient noise: its draws against the mean, covariance and cumulants that it states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from langevin_ib.dynamics.descent import check_covariance, sgd
from langevin_ib.dynamics.noise import Noise, cumulants, kind_of
from langevin_ib.errors import ConfigError
from langevin_ib.models import uv
from langevin_ib.testing.breach import hold

DRAWS, BATCHES = 65536, 64
SIGMAS = 6.0
COMMON = "batch_size", "label_noise", "replace", "isotropized"


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
    model = uv() if kind.population else uv(samples=16, scatter=1.0)
    with jax.enable_x64(True):
        point = jnp.array([1.3, 0.4])

    def gradients(seed: int) -> np.ndarray:
        kernel = sgd(model, point, noise=noise, lr=1.0)
        start = kernel.init(point, None)

        def gradient(drawn: Any) -> Any:
            return point - ravel_pytree(kernel.step(drawn, start, None)[0].position)[0]

        drawn = kernel.draw(jax.random.key(seed), DRAWS)
        return np.asarray(jax.lax.map(gradient, drawn, batch_size=DRAWS // BATCHES))

    def covariance() -> None:
        check_covariance(model, noise, point, jax.random.key(0))

    def chains() -> None:
        kernel = sgd(model, point, noise=noise, lr=1.0)
        for leaf in jax.tree.leaves(kernel.draw(jax.random.key(0), 6)):
            hold(leaf.shape[0] == 6, f"draw(key, 6) has to have chains first, got the shape {leaf.shape}")

    def stated_cumulants() -> None:
        """κ₂, κ₃, κ₄ along a direction, against batches of draws, each within six standard errors."""
        direction = jnp.array([0.8, 0.6])
        stated = np.array(cumulants(noise.check(model), noise, point, direction))
        along = (gradients(1) @ np.asarray(direction)).reshape(BATCHES, -1)
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

    found = {"chains": chains, "covariance": covariance}
    if kind.cumulants is not None and not noise.isotropized and not noise.dependence:
        found["cumulants"] = stated_cumulants
    return found
