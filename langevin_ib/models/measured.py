"""A model of a loss, a start and scalars alone: what a run can measure of it, without a quotient and so without law."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from langevin_ib.errors import ModelError, one_line
from langevin_ib.models.base import Invariants, Model, Params
from langevin_ib.models.training import Training


def measure_only(
    name: str,
    *,
    loss: Callable[[Params], Float[Array, ""]],
    init: Callable[[Key[Array, ""]], Params],
    scalars: Callable[[Params], Mapping[str, Array]],
    training: Training | None = None,
    moment_map: Callable[[Params], Float[Array, " m"]] | None = None,
    symmetry: tuple[str, int] | None = None,
    notes: tuple[str, ...] = (),
    why: str = "",
    orbit_dim: int | None = None,
) -> Model:
    """A model that runs measure and hold against no law: nothing of the size q × q is formed, q may be thousands.

    Args:
        name: what it is called.
        loss: θ ↦ L(θ), a number.
        init: key ↦ θ, where a chain starts; any pytree of floating-point arrays.
        scalars: θ ↦ {name: number}, what is put into histograms; its mean, variance and errors are reported.
        training: the examples that L is a mean over, for SGD.
        moment_map: θ ↦ χ(θ), a vector of charges to follow, one for each direction of a non-compact group; `stiff`
            confines by it. Without one exp(−L/T) dθ is taken to have a finite mass, which is not checked.
        symmetry: what L is invariant under, in words, and its dimension m, for (q − m)/2 beside λ̂.
        notes: what a reader of the result has to know, one line each.
        why: the reason why there is no law, where it is another than that nobody has given coordinates.
        orbit_dim: q minus the dimension of what L depends on, for (q − m)/2, where that is not the group's dimension.

    Raises:
        ModelError: there are more charges than `symmetry` has dimensions, or these are no whole number from 0.

    >>> model = measure_only(
    ...     "quadratic",
    ...     loss=lambda p: 0.5 * jnp.sum(p**2),
    ...     init=lambda key: jax.random.normal(key, (5000,)),
    ...     scalars=lambda p: {"first": p[0]},
    ... )
    >>> model.charted, model.group_dim
    (False, 0)
    """
    charges = 0 if moment_map is None else _count(name, moment_map, init)
    group, m = ("unnamed" if charges else "none", charges) if symmetry is None else symmetry
    if isinstance(m, bool) or not isinstance(m, int) or m < charges:
        raise ModelError(f"model {name}: symmetry must have a dimension of {charges} at least, one a charge, got {m!r}")

    def section(z: Invariants) -> Params:
        raise ModelError(f"model {name} has no section: its runs measure only")

    def no_charge(params: Params) -> Float[Array, " m"]:
        return jnp.zeros(0, jax.tree.leaves(params)[0].dtype)

    return Model(
        name=name,
        group=group,
        group_dim=charges,
        compact_dim=m - charges,
        loss=loss,
        act=lambda t, params: params,
        moment_map=no_charge if moment_map is None else moment_map,
        invariants=scalars,
        section=section,
        init=init,
        notes=notes,
        training=training,
        charted=False,
        no_law=why,
        orbit_dim=orbit_dim,
    )


def _count(name: str, moment_map: Callable[[Params], Array], init: Callable[[Key[Array, ""]], Params]) -> int:
    """How many charges there are."""
    try:
        shape = jax.eval_shape(lambda: moment_map(init(jax.random.key(0)))).shape
    except Exception as error:  # of a user's functions
        raise ModelError(f"model {name}: its init or moment_map fails: {one_line(error)}") from error
    if len(shape) != 1:
        raise ModelError(f"model {name}: moment_map must return a vector of charges, got shape {shape}")
    return shape[0]
