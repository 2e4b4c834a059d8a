"""The data of a design: measurements y = Φ w of the unknown w, as a regression on the features z."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Real

from langevin_ib.design.operators import Operator, finite_array
from langevin_ib.models.base import Params
from langevin_ib.models.training import Examples, Fresh, Output, Training, data_risk

SMALLEST = 1e-3  # feature of the default w*, relative to the largest, that counts as not zero
DRAWS = 100


class Data(NamedTuple):
    """y = X z, X = Φ A⁺, so that ½|Xz − y|² = ½|Φw − y|².

    Attributes:
        x: X, (n, m).
        y: (n,).
        solution: features (m,) of the w that y was generated from, or else of the least-squares solution of least norm.
    """

    x: Float[np.ndarray, "n m"]
    y: Float[np.ndarray, " n"]
    solution: Float[np.ndarray, " m"]


def data(
    operator: Operator,
    measure: Real[np.ndarray, "..."] | None,
    y: Real[np.ndarray, "..."] | None,
    features: Float[np.ndarray, " m"],
) -> Data:
    """The regression of measurements on features.

    Args:
        operator: A, injective.
        measure: Φ, (n, d); the identity if None.
        y: (n,); if None, Φ w* with w* = A⁺z* and the given z*, of which more is drawn where a tall A leaves zeros in
            A w*.
        features: z*.

    Raises:
        ValueError: the shapes do not fit, or a number is not finite.
    """
    d = operator.matrix.shape[1]
    phi = np.eye(d) if measure is None else finite_array("measure", measure, 2)
    if phi.shape[1] != d:
        raise ValueError(f"measure must be a matrix of {d} columns, got shape {phi.shape}")
    x = phi @ operator.pseudo_inverse
    if y is None:
        solution = _avoid_zeros(operator, features)
        return Data(x, x @ solution, solution)
    targets = finite_array("y", y, 1)
    if len(targets) != len(phi):
        raise ValueError(f"y must be {len(phi)} finite numbers, got {len(targets)}")
    return Data(x, targets, np.linalg.lstsq(x, targets, rcond=None)[0])


def regression(
    dataset: Data, predict: Callable[[Params, Any], Output], penalty: Callable[[Params], Float[Array, ""]]
) -> Training:
    """½|Xz − y|² + penalty: an example is a row of X and its y_i, weight n; a fresh one ξᵀX and ξᵀy, ξ ~ N(0, I)."""
    return Training(
        predict=predict,
        task={"x": dataset.x, "y": dataset.y, "weight": float(len(dataset.y))},
        risk=data_risk(predict, penalty),
        penalty=penalty,
        fresh=Fresh(dataset.y.shape, lambda task, normals: Examples(normals @ task["x"], normals @ task["y"])),
    )


def _avoid_zeros(operator: Operator, features: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """z* itself if A is square, else A A⁺z* of z* or of a random vector, so that no entry is near zero."""
    if not operator.is_tall:
        return features
    random = np.random.default_rng(0)
    projector = operator.matrix @ operator.pseudo_inverse
    candidate = projector @ features
    for _ in range(DRAWS):
        if np.abs(candidate).min() > SMALLEST * np.abs(candidate).max():
            break
        candidate = projector @ random.normal(size=features.size)
    return candidate
