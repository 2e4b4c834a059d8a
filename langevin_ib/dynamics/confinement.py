"""What makes the full-space measure proper: the loss of a model becomes the potential that chains feel.

A non-compact orbit has infinite volume, so exp(−L/T) dθ cannot be normalised (paper, below eq. (3)). Each protocol here
adds a term C(θ) to the loss, and each leads to another reduced law; `langevin_ib.laws` has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.config.run import RunConfig
from langevin_ib.geometry.gram import log_det_gram
from langevin_ib.models.base import Model, Params


@dataclass(frozen=True)
class Confinement:
    """A term C(θ) added to the loss.

    Attributes:
        name: `stiff`, `weight-decay` or `none`.
        formula: C(θ) in symbols, with its constant.
        energy: C(θ) for one model.
        reduced: the part of C that a reduced law keeps: 0 for a term that vanishes on the slice, C itself for weight
            decay, whose value at the section is a true function of z.
        proper: whether exp(−(L + C)/T) dθ can be normalised on the whole space.
        strength: its constant κ or λ.
        constrained: whether the chain is held on the slice χ = 0 by projection instead.
        fixman: whether T/2 log det G_χ is added there.
    """

    name: str
    formula: str
    energy: Callable[[Model, Params], Float[Array, ""]]
    reduced: Callable[[Model, Params], Float[Array, ""]]
    proper: bool
    strength: float = 0.0
    constrained: bool = False
    fixman: bool = False

    def potential(self, model: Model) -> Callable[[Params], Float[Array, ""]]:
        """V(θ) = L(θ) + C(θ)."""
        return lambda params: model.loss(params) + self.energy(model, params)


def _zero(model: Model, params: Params) -> Float[Array, ""]:
    return jnp.zeros_like(model.loss(params))


def stiff(kappa: float) -> Confinement:
    """C = κ|χ|²/2: holds the chain near the slice χ = 0; its marginal tends to the law c = 1 as κ → ∞."""
    return Confinement(
        name="stiff",
        formula=f"κ|χ|²/2, κ = {kappa:g}",
        energy=lambda model, params: 0.5 * kappa * jnp.sum(model.moment_map(params) ** 2),
        reduced=_zero,
        proper=True,
        strength=kappa,
    )


def weight_decay(lam: float) -> Confinement:
    """C = λ|θ|²/2: what practitioners add; for λ|s(z)|² ≫ T its marginal tends to the law c = 0 with ℓ + λ|s|²/2."""

    def energy(model: Model, params: Params) -> Float[Array, ""]:
        del model
        return 0.5 * lam * jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)]))

    return Confinement(
        "weight-decay", f"λ|θ|²/2, λ = {lam:g}", energy=energy, reduced=energy, proper=True, strength=lam
    )


def unconfined() -> Confinement:
    """C = 0: the measure exp(−L/T) dθ is not normalisable and the chain has no stationary law, only drift and slabs."""
    return Confinement("none", "none", energy=_zero, reduced=_zero, proper=False)


def hard() -> Confinement:
    """The chain projected onto the slice at every step: the Gibbs measure exp(−ℓ/T) dσ_S, c = 0."""
    return Confinement("hard", "χ = 0 by projection", energy=_zero, reduced=_zero, proper=True, constrained=True)


def hard_fixman(temperature: float) -> Confinement:
    """The same with C = (T/2) log det G_χ, Fixman's correction, which turns c = 0 into the paper's law c = 1.

    Its gradient is singular where the action is not free, and there the law c = 1 may not be integrable (z⁻¹ at z = 0
    for uv): an explicit step takes a chain that gets there far away. Keep such points behind several T.

    Source: Fixman, PNAS 71, 3050 (1974); Ciccotti, Lelièvre & Vanden-Eijnden, CPAM 61, 371 (2008).
    """
    return Confinement(
        name="hard-fixman",
        formula="χ = 0 by projection, and T/2 log det G",
        energy=lambda model, params: 0.5 * temperature * log_det_gram(model, params),
        reduced=_zero,
        proper=True,
        constrained=True,
        fixman=True,
    )


def build_confinement(config: RunConfig) -> Confinement:
    """The confinement that a configuration names."""
    if config.kappa is not None:
        return stiff(config.kappa)
    if config.weight_decay is not None:
        return weight_decay(config.weight_decay)
    if config.confine == "hard":
        return hard()
    if config.confine == "hard-fixman":
        return hard_fixman(config.temperature)
    return unconfined()
