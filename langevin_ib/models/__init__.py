"""Models with a continuous symmetry: one file each, one line in the registry."""

from __future__ import annotations

from collections.abc import Callable

from langevin_ib.config import RunConfig
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Branch, Chart, Invariants, Model, Params, Scalars
from langevin_ib.models.uv import uv

REGISTRY: dict[str, Callable[[RunConfig], Model]] = {
    "uv": lambda config: uv(target=config.target, depth=config.depth),
}


def build_model(config: RunConfig) -> Model:
    """The model that a configuration names.

    Raises:
        ConfigError: no model of that name is registered.
    """
    if config.model not in REGISTRY:
        raise ConfigError("model", f"one of {', '.join(sorted(REGISTRY))}", repr(config.model))
    return REGISTRY[config.model](config)


__all__ = ["REGISTRY", "Branch", "Chart", "Invariants", "Model", "Params", "Scalars", "build_model", "uv"]
