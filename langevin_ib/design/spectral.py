"""Few singular values of a matrix of features: a model in which noise penalises Σ log σ_j(A(W))."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, Real

from langevin_ib.design.base import SYNTHESIS, Design, designed, notes_of
from langevin_ib.design.data import data, regression
from langevin_ib.design.operators import Operator, require_injective
from langevin_ib.models.checks import at_least, non_negative
from langevin_ib.models.families.matrix import columns
from langevin_ib.models.pair import frame_avoiding, to_chart


def spectral(
    operator: Operator | Real[np.ndarray, "..."],
    shape: tuple[int, int],
    *,
    measure: Real[np.ndarray, "..."] | None = None,
    y: Real[np.ndarray, "..."] | None = None,
    rank: int | None = None,
    start_scale: float = 0.0,
    ridge: float = 0.0,
) -> Design:
    """A model of W = A⁺vec(T) with T = UVᵀ, whose least correction over all factorisations is (T/2) Σ log σ_j(T).

    L = ½|Φ W − y|² + ½ ridge Σ_j |u_j|²|v_j|². The group R_{>0}^r rescales the columns of U against those of V;
    log det G = Σ_j log(|u_j|² + |v_j|²), least along an orbit: Σ_j log 2|u_j||v_j|, at equal norms. The factorisations
    of one T are more than an orbit, U ↦ U g, V ↦ V g^{−T} for all g of GL(r). Over them all Π_j |u_j||v_j| ≥ Π_j σ_j(T)
    by Hadamard's inequality, with equality for the singular modes: the right-hand side of eq. (18) is the minimum over
    GL(r), not over the rescalings under its left-hand side.

    A tall A has no analysis form here: the bias is the least over the T with A⁺vec(T) = W.

    Args:
        operator: injective, one of `operators` or a matrix, from W, (d,), to vec(T), row by row.
        shape: of T, two whole numbers from 2, whose product is m.
        measure: Φ, (n, d); the identity by default.
        y: the data, (n,); by default Φ W* of a T* with singular values r, r − 1, ..., 1.
        rank: r; by default the smaller side of T. Parameters are {"U": (rows, r), "V": (cols, r)}.
        start_scale: if not 0, a start's entries are ~ N(0, start_scale²); else of order one.
        ridge: ≥ 0; with 0 and r > 1 the quotient carries no law, for column pairs may cancel each other at any size.

    Raises:
        ValueError: the operator is not injective, the shape is not that of its features, or another argument is out of
            range.

    Source: arXiv:2601.06597, eqs. (17)–(18).

    >>> from langevin_ib.design.operators import identity
    >>> model = spectral(identity(6), (2, 3), rank=1)
    >>> model.recover({"U": jnp.array([[1.0], [2.0]]), "V": jnp.ones((3, 1))}).tolist()
    [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    """
    operator = require_injective(operator)
    m = operator.matrix.shape[0]
    if len(shape) != 2 or min(shape) < 2 or shape[0] * shape[1] != m:
        raise ValueError(f"shape must be two whole numbers from 2 whose product is {m}, got {tuple(shape)}")
    rows, cols = shape
    r = min(shape) if rank is None else at_least("rank", rank, 1)
    if r > min(shape):
        raise ValueError(f"rank must be at most {min(shape)}, the smaller side of T, got {r}")
    non_negative("start_scale", start_scale)
    non_negative("ridge", ridge)
    dataset = data(operator, measure, y, np.ravel(_build_target(rows, cols, r)))
    right = np.linalg.svd(dataset.solution.reshape(rows, cols))[2][:r].T
    frame = frame_avoiding(right.T)

    def features(params):
        return jnp.ravel(params["U"] @ params["V"].T)

    def predict(params, x):
        return x @ features(params)

    def penalty(params):
        return 0.5 * ridge * jnp.sum(jnp.sum(params["U"] ** 2, axis=0) * jnp.sum(params["V"] ** 2, axis=0))

    training = regression(dataset, predict, penalty)
    model = columns(training, rows, right)

    def invariants_at(z):
        left, values, right_modes = jnp.linalg.svd(z.reshape(rows, cols), full_matrices=False)
        root = jnp.sqrt(values[:r])
        return to_chart((left[:, :r] * root).T, root[:, None] * right_modes[:r], frame)._asdict()

    def draw_small(key):
        u, v = jax.random.split(key)
        return {"U": start_scale * jax.random.normal(u, (rows, r)), "V": start_scale * jax.random.normal(v, (cols, r))}

    return designed(
        dataclasses.replace(
            model, name="spectral", init=draw_small if start_scale else model.init, notes=notes_of(operator, SYNTHESIS)
        ),
        operator=operator,
        construction=f"spectral {rows}x{cols}, rank {r}",
        form=SYNTHESIS,
        penalty=lambda z: 0.5 * jnp.sum(jnp.log(jnp.linalg.svd(z.reshape(rows, cols), compute_uv=False)[:r])),
        features_of=lambda invariants: features(model.section(invariants)),
        invariants_at=invariants_at,
        fibre_dim=r * r,
        fibre=_transform_factors,
    )


def _transform_factors(t: Float[Array, " k"], params: dict[str, Float[Array, "..."]]) -> dict[str, Float[Array, "..."]]:
    """(U g, V g^{−T}) with g = exp(t) for a matrix t: the component of GL(r) that, with signs of columns, gives all."""
    r = params["U"].shape[1]
    g = t.reshape(r, r)
    return {"U": params["U"] @ expm(g), "V": params["V"] @ expm(-g).T}


def _build_target(rows: int, cols: int, rank: int) -> Float[np.ndarray, "n p"]:
    """A fixed matrix with the singular values r, ..., 1 and dense singular vectors."""
    random = np.random.default_rng(0)
    left = np.linalg.qr(random.normal(size=(rows, rank)))[0]
    right = np.linalg.qr(random.normal(size=(cols, rank)))[0]
    return (left * np.arange(rank, 0, -1.0)) @ right.T
