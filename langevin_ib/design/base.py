"""A `Model` that was built for a bias, with the requested penalty and the map from parameters to w."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.design.operators import Operator
from langevin_ib.models.base import Invariants, Model, Params

SYNTHESIS, ANALYSIS = "synthesis", "analysis"
FORMS = (SYNTHESIS, ANALYSIS)


@dataclass(frozen=True, kw_only=True)
class Design(Model):
    """A model whose features z = A w are factored, so that (T/2) log det G, least over an orbit, is T times a penalty.

    Attributes:
        operator: A, injective.
        construction: how z is factored, in words, for tables.
        form: `synthesis`, where z may leave the range of a tall A, or `analysis`, where the loss holds it there.
        penalty: z ↦ the requested bias, in units of T = σ²/β, up to a constant that does not depend on z.
        features_of: the model's invariants ↦ z, (m,).
        invariants_at: z ↦ the invariants of parameters with these features, or with the nearest of the rank that the
            construction allows.
        fibre_dim: number of coordinates of the parameters with the same features; 0 where these are one orbit.
        fibre: (t ∈ R^fibre_dim, θ) ↦ another such point; None where they are one orbit. It acts on the parameters of
            the builder, not on those of `models.with_metric`.

    Source: arXiv:2601.06597, "Inverse design of the implicit bias", eqs. (13)–(18).
    """

    operator: Operator
    construction: str
    form: str
    penalty: Callable[[Float[Array, " m"]], Float[Array, ""]]
    features_of: Callable[[Invariants], Float[Array, " m"]]
    invariants_at: Callable[[Float[Array, " m"]], Invariants]
    fibre_dim: int = 0
    fibre: Callable[[Float[Array, " k"], Params], Params] | None = None

    def features(self, params: Params) -> Float[Array, " m"]:
        """z(θ), the factored features."""
        return self.features_of(self.invariants(params))

    def recover(self, params: Params) -> Float[Array, " d"]:
        """w(θ) = A⁺ z(θ), what the predictor sees."""
        z = self.features(params)
        return jnp.asarray(self.operator.pseudo_inverse, z.dtype) @ z

    @property
    def leaves_range(self) -> bool:
        """Whether z need not be A w of any w, so that the penalty is one of z and not of A w."""
        return self.operator.is_tall and self.form == SYNTHESIS


def designed(model: Model, **fields) -> Design:
    """A `Design` from a model and the fields that it adds."""
    return Design(**{spec.name: getattr(model, spec.name) for spec in dataclasses.fields(Model)}, **fields)


def notes_of(operator: Operator, form: str) -> tuple[str, ...]:
    """Notes on A: its shape, its condition number, and the form of the penalty if it is tall."""
    m, d = operator.matrix.shape
    notes = [f"A = {operator.name}, {m} x {d}, condition number {operator.condition:.4g}"]
    if operator.is_tall and form == SYNTHESIS:
        notes.append(
            f"A is tall: z leaves its range, and the penalty on w is the synthesis form, the least over the z with "
            f"A⁺z = w, a space of {m - d} dimensions; at most that of A w"
        )
    elif operator.is_tall:
        notes.append("A is tall: tie |(I − AA⁺)z|²/2 in the loss holds z near its range; the penalty is that of A w")
    return tuple(notes)
