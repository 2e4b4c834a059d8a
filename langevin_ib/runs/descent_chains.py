"""What the chains of SGD are made of, with laws or without: where they begin, their keys, the step that moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Key

from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.schedules import value_of
from langevin_ib.ensemble.runner import starting_points
from langevin_ib.models.base import Model, Params
from langevin_ib.runs.ends import ends_of
from langevin_ib.session import key_of

LR_SHARE = 0.01  # η Λ/(1 − μ) by rule
NOISELESS = 1e-5  # width of a law about the minimum, as a share of the parameters, below which there is no noise


def default_share(config: RunConfig) -> float:
    """ηΛ of the default learning rate: 0.01 (1 − μ), over m² of a noise that is scaled by m > 1.

    With momentum the same η/(1 − μ), which is what (S) and the relaxation depend on; with stronger noise the same ηm²,
    which alone (S) depends on.
    """
    return LR_SHARE * (1.0 - float(config.momentum or 0)) / max(1.0, float(config.noise_scale or 1.0)) ** 2


def descent_kernel(config: RunConfig, model: Model, noise: Noise, like: Params) -> Kernel:
    """The step of SGD, with values that change where the configuration says so.

    Args:
        config: without an `auto` of learning rate, momentum or decay.
        model: what is trained.
        noise: as the settings name it.
        like: a chain's parameters.
    """
    dtype = jax.tree.leaves(like)[0].dtype
    values = {name: value_of(schedule, dtype) for name, schedule in config.schedules.items()}
    return sgd(
        model,
        like,
        noise=noise,
        lr=values.get("lr", float(config.lr or 0)),
        momentum=float(config.momentum or 0),
        weight_decay=values.get("weight_decay", float(config.weight_decay or 0)),
    )


def descent_starts(
    config: RunConfig, model: Model, init: Callable[[Key[Array, ""]], Params], dtype: Any
) -> tuple[Params, Key[Array, ""]]:
    """Where chains begin, by `init` or where those of another run ended, and their key.

    Raises:
        ConfigError: as `ends_of`.
    """
    key = key_of(config, "chains")
    if config.from_run is None:
        return starting_points(init, key_of(config, "starts"), config.chains, dtype), key
    ended = ends_of(config, model)
    return ended.starts(dtype), ended.key(key)
