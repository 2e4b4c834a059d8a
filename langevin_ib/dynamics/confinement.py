"""What makes the full-space measure proper: the loss of a model becomes the potential that chains feel.

A non-compact orbit has infinite volume, so exp(−L/T) dθ cannot be normalised (paper, below eq. (3)). A confinement adds
a term C(θ) to the loss, or holds the chain on the slice, and each leads to another reduced law. There is one file for
each in `confinements/`; its record, a `ConfinementKind`, says all that rules ask of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.config.confinements import ConfinementSettings
from langevin_ib.config.records import record
from langevin_ib.config.run import RunConfig
from langevin_ib.models.base import Model, Params

Energy = Callable[[Model, Params], Float[Array, ""]]


def no_energy(model: Model, params: Params) -> Float[Array, ""]:
    """C = 0."""
    del model
    return jnp.zeros((), jax.tree.leaves(params)[0].dtype)


class Strengths(NamedTuple):
    """Constants of the terms ½κ|χ|² and ½λ|θ|² that a confinement says it adds to the loss."""

    kappa: float = 0.0
    decay: float = 0.0

    def energy(self, model: Model, params: Params) -> Float[Array, ""]:
        """½κ|χ|² + ½λ|θ|²."""
        total = jnp.zeros_like(model.loss(params))
        if self.kappa:
            total = total + self.kappa / 2.0 * jnp.sum(model.moment_map(params) ** 2)
        if self.decay:
            total = total + self.decay / 2.0 * jnp.sum(ravel_pytree(params)[0] ** 2)
        return total


def limit_slice(model: Model) -> str:
    """The paper's law, which most confinements lead to."""
    del model
    return "slice"


@dataclass(frozen=True)
class Confinement:
    """A term C(θ) added to the loss, with its constants.

    Attributes:
        name: `stiff`, `weight-decay`, `none`, ….
        formula: C(θ) in symbols, with its constant.
        energy: (model, θ) ↦ C(θ).
        reduced: the part of C that a reduced law keeps: `no_energy` for a term that vanishes on the slice, C itself
            for weight decay, whose value at the section is a true function of z.
        proper: whether exp(−(L + C)/T) dθ can be normalised on the whole space.
        strength: its constant κ or λ.
        held: None, or the c of the law exp(−ℓ/T) det G^(−c/2) dσ_S of a chain that is held on the slice χ = 0 by
            projection.
        limit: model ↦ the name of the law that it leads to, whose draws need the least weighing to give the others.
        remedy: what to do where chains diverge, for the error.
    """

    name: str
    formula: str
    energy: Energy = no_energy
    reduced: Energy = no_energy
    proper: bool = True
    strength: float = 0.0
    held: float | None = None
    limit: Callable[[Model], str] = limit_slice
    remedy: str = "use a smaller step_size"

    @property
    def orbit(self) -> Literal["spread", "held", "free"]:
        """What a chain does along its orbit: spreads as far as C lets it, is held at the slice, or goes on for ever."""
        if self.held is not None:
            return "held"
        return "spread" if self.proper else "free"

    @property
    def moves_minimum(self) -> bool:
        """Whether chains are where ℓ + C is least, and not where ℓ is: a reduced law keeps a part of C."""
        return self.reduced is not no_energy

    def potential(self, model: Model) -> Callable[[Params], Float[Array, ""]]:
        """V(θ) = L(θ) + C(θ)."""
        return lambda params: model.loss(params) + self.energy(model, params)


@dataclass(frozen=True)
class ConfinementKind:
    """What goes by a name of `--confine`.

    Attributes:
        settings: the class of its settings; says whether it holds chains on the slice, and which processes take it.
        build: (settings, T) ↦ the confinement with these constants.
        slab: the default half-width ε of the slab |χ| < ε outside which draws do not count, as a share of the window's
            top times the dimension of the group; None where all draws count. The setting is called `slab`, and a
            default stands in for it only where orbits have no finite volume.
        without_symmetry: what is left of it where all orbits are points: it `stays`, is the same as `none`, or is
            `refused`.
        strengths: settings ↦ the constants of its terms, where these are ½κ|χ|² and ½λ|θ|²: a run holds its chains
            against them, and not against the energy that moves these. None: the energy is taken as it stands.
    """

    settings: type[ConfinementSettings]
    build: Callable[[Any, float], Confinement]
    slab: float | None = None
    without_symmetry: Literal["stays", "none", "refused"] = "stays"
    strengths: Callable[[Any], Strengths] | None = None


def confinement_kind(name: str) -> ConfinementKind:
    """The record of a name.

    Raises:
        ConfigError: there is none.

    >>> confinement_kind("hard").settings.held
    True
    """
    return record("confinement", name, ConfinementKind)


def build_confinement(config: RunConfig, temperature: float) -> Confinement:
    """The confinement that a configuration names, at a temperature."""
    return confinement_kind(config.confine).build(config.settings_of("confinement"), temperature)


def claimed_potential(
    config: RunConfig, model: Model, confinement: Confinement
) -> Callable[[Params], Float[Array, ""]]:
    """V = L + C as the settings have it, C by its strengths where the confinement states them."""
    kind = confinement_kind(config.confine)
    if kind.strengths is None:
        return confinement.potential(model)
    strengths = kind.strengths(config.settings_of("confinement"))
    return lambda params: model.loss(params) + strengths.energy(model, params)
