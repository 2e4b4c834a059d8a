"""Matrix factorisation U Vᵀ: the diagonal rescalings of the paper, or all of GL(r)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.models.base import POSITIVE, Model, Params
from langevin_ib.models.checks import among, at_least, non_negative
from langevin_ib.models.general_linear import general_linear, product_of
from langevin_ib.models.losses import HUBER
from langevin_ib.models.own_data import loss_named, read_examples
from langevin_ib.models.pair import (
    FLAT,
    PairPoint,
    balanced,
    descending,
    direction,
    frame_avoiding,
    slice_terms_of,
    starting_vectors,
    to_chart,
)
from langevin_ib.models.spectrum import singular_values
from langevin_ib.models.training import Examples, Fresh, Training, cast

GROUPS = ("diagonal", "gl")


def matrix(
    rows: int = 3,
    cols: int = 3,
    rank: int = 2,
    observed: float = 1.0,
    group: str = "diagonal",
    ridge: float = 0.5,
    noise: float = 0.0,
    seed: int = 0,
    spectrum: str = "",
    start_scale: float = 0.0,
    loss: str = "squared",
    huber_threshold: float = HUBER,
    data: str = "",
    data_sha256: str = "",
    depth: int = 2,
) -> Model:
    """Low-rank completion of a matrix: L = Σ_{observed ij} ℓ((UVᵀ)_ij, Y_ij) + ridge, U ∈ R^{n×r}, V ∈ R^{p×r}.

    ℓ = ½(f − y)² unless another is given; of `logistic` labels are the signs of Y.

    The target Y has the singular values r, r − 1, ..., 1, or those given. For SGD an example is an observed entry, with
    their number as its weight; a fresh one of squares, where all are observed, is xᵀUVᵀx' of two Gaussian vectors.
    Which group is divided out changes the prediction:

    `diagonal`: R_{>0}^r, u_j ↦ e^{t_j} u_j, v_j ↦ e^{−t_j} v_j; χ_j = ½(|u_j|² − |v_j|²); log det G = Σ_j log(|u_j|² +
    |v_j|²), eq. (58), at every point, orthogonal columns or not; the ridge is ½ ridge Σ_j |u_j|²|v_j|². Scalars: the
    s_j = |u_j||v_j| in descending order, for columns may be exchanged, and the singular values σ_j of UVᵀ.

    `gl`: all of GL(r). Its non-compact part, symmetric S, acts by U ↦ U e^S, V ↦ V e^{−S}; χ_S = ½ tr S(UᵀU − VᵀV),
    with S over a basis orthonormal in the trace inner product, so that ∇χ_S = ξ_S; m = r(r+1)/2. Its compact part O(r)
    acts by isometries and is divided out too. The invariant is P = UVᵀ and the ridge ½ ridge |P|². At balanced points
    log det G = Σ_i log 2σ_i + Σ_{i<j} log(σ_i + σ_j). Scalars: the σ_j. The quotient is that of the matrices P of rank
    r; against dP on them, its surface measure, dσ_S = det G^{−1/2} Π_i σ_i^{−(n+p−2r)/2} dP. For r > min(n, p), or for
    data of lower rank than r, GL(r) does not act freely at balanced points, or at the minimum: there is no law, and
    runs measure only.

    Args:
        rows: n ≥ 2.
        cols: p ≥ 2. Parameters are {"U": (n, r), "V": (p, r)}.
        rank: r; of `diagonal` larger ones than n and p are over-parameterised, and have their laws all the same.
        observed: the probability with which an entry is observed, in (0, 1]; which ones is fixed by the seed.
        group: `diagonal` or `gl`.
        ridge: ≥ 0; with 0 the diagonal quotient carries no law, for column pairs may cancel each other at any size.
        noise: standard deviation of Gaussian noise on the target's entries, ≥ 0.
        seed: of target, noise and observed entries.
        spectrum: the target's singular values as numbers with commas, at most min(rank, rows, cols) of them; empty for
            as many as that and ..., 2, 1. Fewer make a target of lower rank.
        start_scale: if not 0, a start's entries are ~ N(0, start_scale²); else of order one.
        loss: ℓ: squared, logistic, huber or module:function.
        huber_threshold: δ of `huber`.
        data: an .npz file with T_observed (n, p) and mask (n, p); then rows, cols, observed, noise and spectrum are
            unused.
        data_sha256: digest of its content; empty for any.
        depth: D ≥ 2; from 3 on layers W_D⋯W_1 stand for UVᵀ, all of them r×r, with parameters {"W1": (r, r), ...} and
            the group GL(r)^{D−1}; log det G = Σ_{j≤k} log Σ_{i<D} (σ_j^i σ_k^{D−1−i})^{2/D} at balanced points.

    Raises:
        ValueError: an argument is out of range, no entry is observed, or the file is not what it has to be.

    Source: arXiv:2601.06597, eqs. (12), (17), (18), (52)–(60) for the diagonal group.
    """
    of_example = loss_named(loss, huber_threshold)
    read = read_examples("matrix", data, data_sha256, of_example) if data else None
    if read is not None:
        rows, cols = read["mask"].shape
    at_least("rows", rows, 2)
    at_least("cols", cols, 2)
    at_least("rank", rank, 1)
    among("group", group, GROUPS)
    at_least("depth", depth, 2)
    if depth > 2 and not (group == "gl" and rows == cols == rank):
        raise ValueError(f"depth must be 2 unless group is gl and rows, cols and rank are one number, got {depth}")
    if not 0 < observed <= 1:
        raise ValueError(f"observed must be a probability above 0, got {observed:g}")
    non_negative("ridge", ridge)
    non_negative("noise", noise)
    non_negative("start_scale", start_scale)
    count = min(rank, rows, cols)
    singular = _spectrum(spectrum, count)
    at_least("seed", seed, 0)

    def draw_task(random):
        left = np.linalg.qr(random.normal(size=(rows, count)))[0]
        right = np.linalg.qr(random.normal(size=(cols, count)))[0]
        target = (left * singular) @ right.T + noise * random.normal(size=(rows, cols))
        if of_example.labels == "signs":
            target = np.where(target < 0, -1.0, 1.0)
        mask = (random.uniform(size=(rows, cols)) < observed).astype(float)
        if not mask.any():
            raise ValueError(
                f"observed must be large enough that some entry is observed, got {observed:g} with seed {seed}"
            )
        return _task_of(target, mask, right)

    def misfit(task, params):
        known = cast({"target": task["target"], "mask": task["mask"]}, params)
        if not of_example.squared:
            each = of_example.each(jnp.ravel(product_of(params)), jnp.ravel(known["target"]))
            return jnp.ravel(known["mask"]) @ each
        return 0.5 * jnp.sum(known["mask"] * (product_of(params) - known["target"]) ** 2)

    def predict(params, x):
        if depth > 2:
            return jnp.einsum("bi,ij,bj->b", x[:, :rows], product_of(params), x[:, rows:])
        return jnp.sum((x[:, :rows] @ params["U"]) * (x[:, rows:] @ params["V"]), axis=1)

    def fresh(task, normals):
        return Examples(normals, jnp.einsum("bi,ij,bj->b", normals[:, :rows], task["target"], normals[:, rows:]))

    penalty = {"diagonal": _pair_ridge, "gl": _product_ridge}[group]
    training = Training(
        predict=predict,
        task=draw_task(np.random.default_rng(seed)) if read is None else _task_of_file(read, count),
        risk=lambda task, params: misfit(task, params) + 0.5 * ridge * penalty(params),
        penalty=lambda params: 0.5 * ridge * penalty(params),
        draw_task=draw_task if read is None else None,
        fresh=Fresh((rows + cols,), fresh) if observed == 1 and read is None and of_example.squared else None,
        loss=of_example,
    )
    if group == "diagonal":
        model = columns(training, rows, training.task["right"], rank)
    else:
        model = general_linear(training, rows, cols, rank, depth)
    if not start_scale:
        return model

    def small(key):
        shapes = jax.eval_shape(model.init, key)
        keys = jax.random.split(key, len(shapes))
        return {n: start_scale * jax.random.normal(k, shapes[n].shape) for k, n in zip(keys, shapes, strict=True)}

    return dataclasses.replace(model, init=small)


def _task_of(target: np.ndarray, mask: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The observed entries as examples."""
    i, j = np.nonzero(mask)
    x = np.concatenate([np.eye(len(target))[i], np.eye(len(right))[j]], axis=1)
    return {"target": target, "mask": mask, "right": right, "x": x, "y": target[i, j], "weight": float(len(x))}


def _task_of_file(read: dict[str, np.ndarray], rank: int) -> dict[str, Any]:
    """The same of a file; right singular vectors are those of the matrix with zeros where it is not observed."""
    right = np.linalg.svd(read["T_observed"])[2][:rank].T
    return _task_of(read["T_observed"], read["mask"], right)


def _spectrum(text: str, rank: int) -> np.ndarray:
    """The target's singular values, filled up with zeros."""
    if not text:
        return np.arange(rank, 0, -1.0)
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not 0 < len(values) <= rank or not all(np.isfinite(v) and v > 0 for v in values):
        raise ValueError(f"spectrum must be 1 to {rank} positive numbers with commas between, got {text!r}")
    return np.array(values + [0.0] * (rank - len(values)))


def _pair_ridge(params: Params) -> Float[Array, ""]:
    return jnp.sum(jnp.sum(params["U"] ** 2, axis=0) * jnp.sum(params["V"] ** 2, axis=0))


def _product_ridge(params: Params) -> Float[Array, ""]:
    return jnp.sum(product_of(params) ** 2)


def _rescale(t: Float[Array, " r"], params: Params) -> Params:
    return {"U": params["U"] * jnp.exp(t), "V": params["V"] * jnp.exp(-t)}


def _imbalance(params: Params) -> Float[Array, " r"]:
    return 0.5 * (jnp.sum(params["U"] ** 2, axis=0) - jnp.sum(params["V"] ** 2, axis=0))


def columns(training: Training, rows: int, right: Float[np.ndarray, "p k"], rank: int | None = None) -> Model:
    """The model of {"U": (n, r), "V": (p, r)} under R_{>0}^r, its columns' rescalings, for a loss that allows them.

    Args:
        training: gives the loss, L = risk(task, θ).
        rows: n.
        right: right singular vectors of the matrix that is sought, none of them zero: the chart's pole avoids them.
        rank: r, if it is another than their number.

    Source: arXiv:2601.06597, eqs. (17), (18), (58).
    """
    return _columns(training, rows, right, right.shape[1] if rank is None else rank)


def _columns(training: Training, rows: int, right: Float[np.ndarray, "p k"], rank: int) -> Model:
    cols = right.shape[0]
    known = min(rank, rows, cols)  # singular values of UVᵀ that are not zero by their number
    frame = frame_avoiding(right.T)  # the pole of the chart of v_j/|v_j|: far from all right singular vectors

    def loss(params):
        return training.risk(training.task, params)

    def section(invariants):
        u, v = balanced(PairPoint(invariants["w"], invariants["eta"]), frame)
        return {"U": u.T, "V": v.T}

    def scalars(invariants):
        s = descending(jnp.linalg.norm(invariants["w"], axis=1))
        sigma = singular_values(invariants["w"], direction(invariants["eta"], frame))
        return {f"s_{j + 1}": s[j] for j in range(rank)} | {f"sigma_{j + 1}": sigma[j] for j in range(known)}

    def init(key):
        left_key, right_key = jax.random.split(key)
        return {"U": starting_vectors(left_key, (rank, rows)).T, "V": starting_vectors(right_key, (rank, cols)).T}

    return Model(
        name="matrix",
        group=f"R_{{>0}}^{rank}, rescaling the columns of U against those of V",
        group_dim=rank,
        loss=loss,
        act=_rescale,
        moment_map=_imbalance,
        invariants=lambda params: to_chart(params["U"].T, params["V"].T, frame)._asdict(),
        section=section,
        init=init,
        flat=FLAT,
        slice_terms=slice_terms_of(loss, section),
        canonical=True,
        scalars=scalars,
        branches={
            f"{name}_{j + 1}": (POSITIVE,) for name, count in (("s", rank), ("sigma", known)) for j in range(count)
        },
        notes=("the diagonal part of GL(r) is divided out, as in the paper; group=gl divides by all of it",),
        training=training,
    )
