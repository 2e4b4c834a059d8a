"""The Hadamard product: z = u ⊙ v under a linear predictor A z, m independent rescalings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from langevin_ib.models.base import NEGATIVE, POSITIVE, Model
from langevin_ib.models.checks import among, at_least
from langevin_ib.models.losses import HUBER
from langevin_ib.models.own_data import loss_named, read_examples
from langevin_ib.models.pair import pair_slice_terms
from langevin_ib.models.training import Examples, Fresh, Training, data_risk, no_penalty

OPERATORS = ("identity", "random")
SPREAD = (0.7, 1.3)  # singular values of the random operator


def hadamard(
    dim: int = 3,
    operator: str = "identity",
    rows: int = 0,
    seed: int = 0,
    loss: str = "squared",
    huber_threshold: float = HUBER,
    data: str = "",
    data_sha256: str = "",
    *,
    matrix: Float[np.ndarray, "..."] | None = None,
    y: Float[np.ndarray, "..."] | None = None,
) -> Model:
    """A linear model of a product of two vectors: L = Σ_i ℓ((A z)_i, y_i), ½|A z − y|² by default, z = u ⊙ v.

    The group R_{>0}^m acts by u_i ↦ e^{t_i} u_i, v_i ↦ e^{−t_i} v_i; χ_i = ½(u_i² − v_i²), so that ∇χ_i = ξ_i;
    log det G = Σ_i log(u_i² + v_i²). By default y = A z* with every z*_i positive and about one. For SGD an example is
    a row of A and its y_i, with weight n; a fresh one, of squares, is a random combination ξᵀA, ξᵀy of them,
    ξ ~ N(0, I). Labels of `logistic` are the signs of A z*.

    Args:
        dim: m ≥ 1, the length of u, v and z. Parameters are {"u": (m,), "v": (m,)}.
        operator: A: `identity`, or `random` with singular values between 0.7 and 1.3.
        rows: number of rows of A; 0 stands for `dim`. With fewer rows than columns the loss is flat along some z.
        seed: of the random operator.
        loss: ℓ: squared, logistic, huber or module:function.
        huber_threshold: δ of `huber`.
        data: an .npz file with A (n, m) and y (n,); then `dim`, `operator` and `rows` are unused.
        data_sha256: digest of its content; empty for any.
        matrix: A itself, (n, m), from Python; then `dim`, `operator` and `rows` are unused.
        y: the data, (n,), from Python. The signs of the least-squares solution decide the branches of the laws.

    Raises:
        ValueError: an argument is out of range, the shapes of `matrix` and `y` do not fit, or the file is not what it
            has to be.

    Source: arXiv:2601.06597, eqs. (13)–(16).

    >>> model = hadamard(dim=2)
    >>> float(model.loss({"u": jnp.array([1.2, 0.8]), "v": jnp.ones(2)}).round(6))
    0.0
    """
    of_example = loss_named(loss, huber_threshold)
    if data:
        if matrix is not None or y is not None:
            raise ValueError(f"data must be empty where matrix or y is given, got {data}")
        read = read_examples("hadamard", data, data_sha256, of_example)
        matrix, y = read["A"], read["y"]
    a = _operator(dim, operator, rows, seed) if matrix is None else np.asarray(matrix, np.float64)
    if a.ndim != 2 or a.size == 0 or not np.isfinite(a).all():
        raise ValueError(f"matrix must be a matrix of finite numbers, got shape {a.shape}")
    m = a.shape[1]
    solution = np.linspace(1.2, 0.8, m) if m > 1 else np.ones(1)
    labels = a @ solution
    if of_example.labels == "signs":
        labels = np.where(labels < 0, -1.0, 1.0)
    if y is not None:
        labels = np.asarray(y, np.float64)
        if labels.shape != (a.shape[0],) or not np.isfinite(labels).all():
            raise ValueError(f"y must be {a.shape[0]} finite numbers, got shape {labels.shape}")
        solution = np.linalg.lstsq(a, labels, rcond=None)[0]
    signs = np.where(solution < 0, -1.0, 1.0)

    def reduced_loss(z):
        outputs, wanted = jnp.asarray(a, z.dtype) @ z, jnp.asarray(labels, z.dtype)
        return (
            0.5 * jnp.sum((outputs - wanted) ** 2) if of_example.squared else jnp.sum(of_example.each(outputs, wanted))
        )

    def section(invariants):
        z = invariants["z"]
        modulus = jnp.sqrt(jnp.abs(z))
        return {"u": modulus, "v": jnp.sign(z) * modulus}

    def init(key):
        # In the home orthant and away from its walls, where the action is not free and the slice law is infinite.
        magnitudes, side = jax.random.split(key)
        u, v = jax.random.uniform(magnitudes, (2, m), minval=0.5, maxval=1.5)
        flip = jax.random.rademacher(side, (m,), u.dtype)
        return {"u": flip * u, "v": flip * jnp.asarray(signs, u.dtype) * v}

    def predict(params, x):
        return x @ (params["u"] * params["v"])

    training = Training(
        predict=predict,
        task={"x": a, "y": labels, "weight": float(a.shape[0])},
        risk=data_risk(predict, no_penalty, of_example),
        penalty=no_penalty,
        fresh=Fresh((a.shape[0],), lambda task, normals: Examples(normals @ task["x"], normals @ task["y"]))
        if of_example.squared
        else None,
        loss=of_example,
    )

    names = [f"z_{i + 1}" for i in range(m)]
    return Model(
        name="hadamard",
        group=f"R_{{>0}}^{m}, rescaling u_i against v_i",
        group_dim=m,
        loss=lambda params: reduced_loss(params["u"] * params["v"]),
        act=lambda t, params: {"u": params["u"] * jnp.exp(t), "v": params["v"] * jnp.exp(-t)},
        moment_map=lambda params: 0.5 * (params["u"] ** 2 - params["v"] ** 2),
        invariants=lambda params: {"z": params["u"] * params["v"]},
        section=section,
        init=init,
        slice_terms=lambda invariants: pair_slice_terms(reduced_loss(invariants["z"]), jnp.abs(invariants["z"]), 1, 1),
        branches=dict.fromkeys(names, (NEGATIVE, POSITIVE)),
        home={name: NEGATIVE if sign < 0 else POSITIVE for name, sign in zip(names, signs, strict=True)},
        cut=tuple(names),
        training=training,
    )


def _operator(dim: int, operator: str, rows: int, seed: int) -> np.ndarray:
    """A: the identity, cut or padded to the number of rows, or random with known singular values."""
    at_least("dim", dim, 1)
    among("operator", operator, OPERATORS)
    n = at_least("rows", rows, 0) or dim
    at_least("seed", seed, 0)
    if operator == "identity":
        return np.eye(n, dim)
    random = np.random.default_rng(seed)
    left = np.linalg.qr(random.normal(size=(n, n)))[0]
    right = np.linalg.qr(random.normal(size=(dim, dim)))[0]
    rank = min(n, dim)
    return (left[:, :rank] * np.linspace(*SPREAD, rank)) @ right[:rank]
