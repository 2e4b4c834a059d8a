"""U Vᵀ under all of GL(r): the law where the group acts freely, and what is left where it does not.

U ∈ R^{n×r}, V ∈ R^{p×r}, U ↦ U g, V ↦ V g^{−T}. Balanced points, UᵀU = VᵀV, have rank at most min(n, p), so that for
r > min(n, p) a part of GL(r) leaves each of them where it is: det G = 0 all over the slice, and there is no law. The
same happens at the minimum of the loss where the data have a lower rank than r. Elsewhere the quotient is the manifold
of the n×p matrices of rank r, of dimension r(n + p − r).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.geometry.linalg import log_det_spd
from langevin_ib.models.base import POSITIVE, Invariants, Model, Params, SliceTerms
from langevin_ib.models.measured import measure_only
from langevin_ib.models.spectrum import (
    antisymmetric_basis,
    det2,
    exp_antisymmetric,
    exp_symmetric,
    modulus,
    polar_factors,
    root_spd,
    singular_values,
    sqrt_spd,
    symmetric_basis,
    trace_power_spd2,
)
from langevin_ib.models.training import Training

RANK = 1e-10  # a singular value of the data this share of the largest counts as zero
SPREAD = 0.3  # of a start's singular vectors about the data's, in tangents of angles


def general_linear(training: Training, rows: int, cols: int, rank: int, depth: int = 2) -> Model:
    """The model of {"U": (n, r), "V": (p, r)} under GL(r), for a loss of UVᵀ; one that measures only without a law.

    Args:
        training: gives the loss and, in its task, the matrix that is sought and its mask.
        rows: n.
        cols: p.
        rank: r.
        depth: D; from 3 on, for n = p = r, parameters are {"W1": (r, r), ..., "WD"}, and the loss is of W_D⋯W_1.
    """
    data = np.asarray(training.task["target"]) * np.asarray(training.task["mask"])
    sizes = np.linalg.svd(data, compute_uv=False)
    known = int(np.sum(sizes > RANK * sizes[0])) if sizes[0] else 0
    why = ""
    if rank > min(rows, cols):
        why = (
            f"UᵀU = VᵀV has rank {min(rows, cols)} at most, below r = {rank}, so that GL({rank}) acts freely at no "
            "balanced point and det G = 0 there"
        )
    elif known < rank:
        why = (
            f"the data have rank {known}, below r = {rank}, so that GL({rank}) does not act freely at the minimum of "
            "the loss and det G = 0 there"
        )
    if why:
        return _measured(training, rows, cols, rank, why, depth)
    if depth > 2:
        return _layers(training, rank, depth)
    if rows == cols == rank:
        return _square(training, rank)
    return _rectangular(training, rows, cols, rank)


def moment_map_of(rank: int):
    """θ ↦ χ_S = ½ tr S(UᵀU − VᵀV), S over a basis of the symmetric matrices."""
    symmetric = symmetric_basis(rank)

    def moment_map(params: Params) -> Float[Array, " m"]:
        gap = params["U"].T @ params["U"] - params["V"].T @ params["V"]
        return 0.5 * jnp.einsum("aij,ij->a", jnp.asarray(symmetric, gap.dtype), gap)

    return moment_map


def _combine(t: Float[Array, " k"], basis: Float[np.ndarray, "k r r"]) -> Float[Array, "r r"]:
    return jnp.einsum("a,aij->ij", t, jnp.asarray(basis, t.dtype))


def _group(rank: int) -> dict[str, Any]:
    """The fields of a model that are the group's alone."""
    symmetric, antisymmetric = symmetric_basis(rank), antisymmetric_basis(rank)

    def act(t, params):
        generator = _combine(t, symmetric)
        return {"U": params["U"] @ exp_symmetric(generator), "V": params["V"] @ exp_symmetric(-generator)}

    def compact_act(t, params):
        turn = exp_antisymmetric(_combine(t, antisymmetric))
        return {"U": params["U"] @ turn, "V": params["V"] @ turn}

    compact = {"compact_dim": len(antisymmetric), "compact_act": compact_act} if rank > 1 else {}
    return {
        "name": "matrix",
        "group": f"GL({rank}), U ↦ U g, V ↦ V g^(−T)",
        "group_dim": len(symmetric),
        "act": act,
        "moment_map": moment_map_of(rank),
        **compact,
    }


def _log_det(p: Float[Array, "r r"], depth: int = 2) -> Float[Array, ""]:
    """log det G where D square layers with product P, or U and V with P = UVᵀ, are balanced.

    With Y = (PᵀP)^{1/D}, eigenvalues y, it is Σ_{j≤k} log Σ_{i<D} y_j^i y_k^{D−1−i}. For r = 2 that is symmetric in y₁
    and y₂, and so a function of tr Y and det Y: D² det Y^{D−1} h_{D−1}, h_n = tr Y h_{n−1} − det Y h_{n−2} being the
    sum of all y₁^i y₂^{n−i}. Otherwise det G is that of the form tr A Σ_i Y^i B Y^{D−1−i} on the symmetric matrices.
    """
    rank = len(p)
    if rank == 2:
        size = jnp.abs(det2(p))
        det, trace = size ** (2.0 / depth), trace_power_spd2(p.T @ p, size, 1.0 / depth)
        before, h = jnp.zeros_like(det), jnp.ones_like(det)
        for _ in range(depth - 1):
            before, h = h, trace * h - det * before
        return 2.0 * np.log(depth) + (depth - 1) * jnp.log(det) + jnp.log(h)
    x = modulus(p)
    y = x if depth == 2 else _powers(root_spd(x, depth), 2)[-1]
    basis, toward = jnp.asarray(symmetric_basis(rank), y.dtype), _powers(y, depth - 1)
    return log_det_spd(jnp.einsum("aij,sjk,bkl,sli->ab", basis, toward, basis, toward[::-1]))


def _powers(a: Float[Array, "r r"], last: int) -> Float[Array, "n r r"]:
    """1, A, ..., A^n."""
    powers = [jnp.eye(len(a), dtype=a.dtype)]
    for _ in range(last):
        powers.append(powers[-1] @ a)
    return jnp.stack(powers)


def _of_square_product(training: Training, rank: int) -> dict[str, Any]:
    """The fields of a model of a square product P of full rank, whatever its factors: the component with one det P."""

    def invariants(params):
        product = product_of(params)
        return {"P": product, "sign": jnp.sign(jnp.linalg.det(product))}

    def scalars(z):
        sigma = singular_values(z["P"].T, jnp.eye(rank, dtype=z["P"].dtype))
        return {f"sigma_{j + 1}": sigma[j] for j in range(rank)}

    names = [f"sigma_{j + 1}" for j in range(rank)]
    return {
        "loss": lambda params: training.risk(training.task, params),
        "invariants": invariants,
        "canonical": True,
        "scalars": scalars,
        "branches": dict.fromkeys(names, (POSITIVE,)),
        "cut": (names[-1],),
        "discrete": ("sign",),
        "training": training,
    }


def _square(training: Training, rank: int) -> Model:
    """Square U, V of full rank, whose quotient is the component of P = UVᵀ with the data's sign of det P."""
    home = float(np.sign(np.linalg.det(training.task["target"])))
    shared = _of_square_product(training, rank)

    def section(z):
        u, v = polar_factors(z["P"])
        return {"U": u, "V": v}

    def closed_terms(z):
        # dσ_S over the compact orbits is det G^{−1/2} dP, because dU dV = dP dX for U ↦ U e^X, V ↦ V e^{−Xᵀ}, all X.
        log_det = _log_det(z["P"])
        # L depends on UVᵀ alone.
        identity = jnp.eye(rank, dtype=z["P"].dtype)
        return SliceTerms(log_det, -0.5 * log_det, shared["loss"]({"U": z["P"], "V": identity}))

    def init(key) -> Params:
        left_key, right_key, wide_key = jax.random.split(key, 3)
        # Away from det P = 0, where the action is not free: random rotations around singular values of order one.
        sizes = jax.random.uniform(wide_key, (2, rank), minval=0.7, maxval=1.5)
        u = jax.random.orthogonal(left_key, rank) * sizes[0]
        v = jax.random.orthogonal(right_key, rank) * sizes[1]
        flip = jnp.asarray(home, u.dtype) * jnp.sign(jnp.linalg.det(u @ v.T))
        return {"U": u, "V": v.at[:, 0].multiply(flip)}

    return Model(
        **_group(rank),
        **shared,
        section=section,
        init=init,
        slice_terms=closed_terms,
        notes=(
            f"all of GL({rank}) is divided out: χ fixes its symmetric part, and O({rank}) acts by isometries",
            "laws and draws are those with the target's sign of det UVᵀ",
        ),
    )


def product_of(params: Params) -> Float[Array, "n p"]:
    """UVᵀ, or W_D⋯W_1."""
    if "U" in params:
        return params["U"] @ params["V"].T
    product = params["W1"]
    for i in range(2, len(params) + 1):
        product = params[f"W{i}"] @ product
    return product


def _chain_map(rank: int, depth: int) -> Callable[[Params], Float[Array, " m"]]:
    """θ ↦ χ: ½ tr S(W_i W_iᵀ − W_{i+1}ᵀ W_{i+1}) between each layer and the next, S over the symmetric matrices."""
    symmetric = symmetric_basis(rank)

    def moment_map(params):
        layers = [params[f"W{i + 1}"] for i in range(depth)]
        gaps = jnp.stack([w @ w.T - after.T @ after for w, after in pairwise(layers)])
        return 0.5 * jnp.ravel(jnp.einsum("aij,lij->la", jnp.asarray(symmetric, gaps.dtype), gaps))

    return moment_map


def _layers(training: Training, rank: int, depth: int) -> Model:
    """W_D⋯W_1 of square layers under GL(r)^{D−1}, W_i ↦ g_i W_i g_{i−1}⁻¹, g_0 = g_D = 1.

    At balanced points W_i = X = (PᵀP)^{1/2D} for i < D, up to rotations. Of D − 1 neighbouring groups the Gram matrix
    is tridiagonal, and with Y = X² its determinant is that of the map A ↦ Σ_{i<D} Y^i A Y^{D−1−i} of the symmetric
    matrices.
    """
    symmetric, antisymmetric = symmetric_basis(rank), antisymmetric_basis(rank)
    home = float(np.sign(np.linalg.det(training.task["target"])))
    shared = _of_square_product(training, rank)

    def moved(params, group):
        """W_i ↦ g_i W_i g_{i−1}⁻¹ of pairs (g_i, g_i⁻¹), i = 1, ..., D − 1."""
        changed = dict(params)
        for i, (left, right) in enumerate(group, 1):
            changed[f"W{i}"] = left @ changed[f"W{i}"]
            changed[f"W{i + 1}"] = changed[f"W{i + 1}"] @ right
        return changed

    def act(t, params):
        generators = [_combine(part, symmetric) for part in t.reshape(depth - 1, -1)]
        return moved(params, [(exp_symmetric(s), exp_symmetric(-s)) for s in generators])

    def compact_act(t, params):
        turns = [exp_antisymmetric(_combine(part, antisymmetric)) for part in t.reshape(depth - 1, -1)]
        return moved(params, [(turn, turn.T) for turn in turns])

    def section(z):
        x = root_spd(modulus(z["P"]), depth)
        last = z["P"]
        for _ in range(depth - 1):
            last = _over(last, x)
        return {f"W{i + 1}": x for i in range(depth - 1)} | {f"W{depth}": last}

    def closed_terms(z):
        # As for two layers dσ_S is det G^{−1/2} dP: all |det W_i|^r cancel in dP dX_1 ⋯ dX_{D−1}.
        log_det = _log_det(z["P"], depth)
        identity = jnp.eye(rank, dtype=z["P"].dtype)
        return SliceTerms(log_det, -0.5 * log_det, shared["loss"]({"W1": z["P"]} | dict.fromkeys(rest, identity)))

    rest = [f"W{i}" for i in range(2, depth + 1)]

    def init(key) -> Params:
        turn_key, wide_key = jax.random.split(key)
        sizes = jax.random.uniform(wide_key, (depth, rank), minval=0.7, maxval=1.5)
        turns = 2.0 * np.pi * jax.random.uniform(turn_key, (depth, len(antisymmetric)))
        layers = [
            exp_antisymmetric(_combine(turn, antisymmetric)) * size for turn, size in zip(turns, sizes, strict=True)
        ]
        layers[0] = layers[0].at[0].multiply(home)  # all the others have a positive determinant
        return {f"W{i + 1}": layer for i, layer in enumerate(layers)}

    return Model(
        **shared,
        name="matrix",
        group=f"GL({rank})^{depth - 1}, W_i ↦ g_i W_i g_(i−1)^(−1)",
        group_dim=(depth - 1) * len(symmetric),
        act=act,
        moment_map=_chain_map(rank, depth),
        section=section,
        init=init,
        slice_terms=closed_terms,
        compact_dim=(depth - 1) * len(antisymmetric),
        compact_act=compact_act,
        notes=(
            f"all of GL({rank})^{depth - 1} is divided out: χ fixes its symmetric part, the rest acts by isometries",
            "laws and draws are those with the target's sign of det(W_D⋯W_1)",
        ),
    )


class _Graph:
    """The matrices of rank r as P = L [1; X] A [1, Y] Rᵀ, L and R rotations whose first r columns are the data's.

    A is r×r and invertible, X (n−r)×r, Y r×(p−r): all P of rank r but those with det A = 0, a set of measure zero, and
    r(n + p − r) coordinates. One of X and Y is empty where n = r or p = r, and is left out of the coordinates.
    """

    def __init__(self, data: Float[np.ndarray, "n p"], rank: int):
        left, _, right = np.linalg.svd(data, full_matrices=True)
        self.left, self.right, self.rank = left, right.T, rank

    def of(self, params: Params) -> dict[str, Array]:
        """Coordinates of θ."""
        r, dtype = self.rank, params["U"].dtype
        u, v = jnp.asarray(self.left, dtype).T @ params["U"], jnp.asarray(self.right, dtype).T @ params["V"]
        parts = {"A": u[:r] @ v[:r].T}
        if len(u) > r:
            parts["X"] = _over(u[r:], u[:r])
        if len(v) > r:
            parts["Y"] = _over(v[r:], v[:r]).T
        return parts | {"sign": jnp.sign(jnp.linalg.det(parts["A"]))}

    def sides(self, z: Invariants) -> tuple[Float[Array, "n r"], Float[Array, "p r"]]:
        """[1; X] and [1, Y]ᵀ."""
        identity = jnp.eye(self.rank, dtype=z["A"].dtype)
        left = jnp.concatenate([identity, z["X"]]) if "X" in z else identity
        right = jnp.concatenate([identity, z["Y"].T]) if "Y" in z else identity
        return left, right

    def point(self, u: Float[Array, "n r"], v: Float[Array, "p r"]) -> Params:
        """Factors in the rotated frames as parameters."""
        return {"U": jnp.asarray(self.left, u.dtype) @ u, "V": jnp.asarray(self.right, v.dtype) @ v}

    def core(self, z: Invariants) -> tuple[Float[Array, "n r"], Float[Array, "r r"], Float[Array, "p r"]]:
        """Q, C, Q′ with P = Q C Q′ᵀ in the rotated frames, Q and Q′ of orthonormal columns."""
        left, right = self.sides(z)
        first, second = sqrt_spd(left.T @ left), sqrt_spd(right.T @ right)
        return _over(left, first), first @ z["A"] @ second, _over(right, second)


def _over(top: Float[Array, "n r"], bottom: Float[Array, "r r"]) -> Float[Array, "n r"]:
    """top bottom⁻¹."""
    if len(bottom) == 1:
        return top / bottom[0, 0]
    if len(bottom) == 2:
        (a, b), (c, d) = bottom
        return top @ jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
    return jnp.linalg.solve(bottom.T, top.T).T


def _rectangular(training: Training, rows: int, cols: int, rank: int) -> Model:
    """r ≤ min(n, p), with data of rank r at least."""
    task = training.task
    graph = _Graph(np.asarray(task["target"]) * np.asarray(task["mask"]), rank)

    def loss(params):
        return training.risk(task, params)

    def section(z):
        first, core, second = graph.core(z)
        u, v = polar_factors(core)
        return graph.point(first @ u, second @ v)

    def volumes(z):
        """log det B, B = UᵀU = VᵀV at the balanced point, and log det(1 + XᵀX), log det(1 + YYᵀ)."""
        left, right = graph.sides(z)
        wide, tall = log_det_spd(left.T @ left), log_det_spd(right.T @ right)
        return 0.5 * log_det_spd(z["A"].T @ z["A"]) + 0.5 * (wide + tall), wide, tall

    def closed_terms(z):
        # With U = L [1; X] u and V = R [1, Y]ᵀ v it is dU dV = |det u|^{n−r} |det v|^{p−r} dA dX dY dg, A = u vᵀ; the
        # rest as of square matrices. At a balanced point |det u|² = det B/det(1 + XᵀX), and v's is the same with Y.
        log_det = _log_det(graph.core(z)[1])
        size, wide, tall = volumes(z)
        log_volume = 0.5 * ((rows - rank) * (size - wide) + (cols - rank) * (size - tall) - log_det)
        left, right = graph.sides(z)
        return SliceTerms(log_det, log_volume, loss(graph.point(left @ z["A"], right)))

    def flat(z):
        """Log density of the surface measure of the matrices of rank r, in (A, X, Y)."""
        size, wide, tall = volumes(z)
        return (rows - rank) * (size - 0.5 * wide) + (cols - rank) * (size - 0.5 * tall)

    def scalars(z):
        left, right = graph.sides(z)
        sigma = singular_values((left @ z["A"]).T, right.T)
        return {f"sigma_{j + 1}": sigma[j] for j in range(rank)}

    def init(key) -> Params:
        left_key, right_key, wide_key, x_key, y_key = jax.random.split(key, 5)
        sizes = jax.random.uniform(wide_key, (2, rank), minval=0.7, maxval=1.5)
        u = jax.random.orthogonal(left_key, rank) * sizes[0]
        v = jax.random.orthogonal(right_key, rank) * sizes[1]
        v = v.at[:, 0].multiply(jnp.sign(jnp.linalg.det(u @ v.T)))  # in the data's own frames its det A is positive
        x = SPREAD * jax.random.normal(x_key, (rows - rank, rank))
        y = SPREAD * jax.random.normal(y_key, (cols - rank, rank))
        return graph.point(jnp.concatenate([u, x @ u]), jnp.concatenate([v, y @ v]))

    names = [f"sigma_{j + 1}" for j in range(rank)]
    return Model(
        **_group(rank),
        loss=loss,
        invariants=graph.of,
        section=section,
        init=init,
        flat=(f"dP on rank {rank}", flat),
        slice_terms=closed_terms,
        canonical=True,
        scalars=scalars,
        branches=dict.fromkeys(names, (POSITIVE,)),
        discrete=("sign",),
        training=training,
        notes=(
            f"all of GL({rank}) is divided out: the quotient is that of the matrices of rank {rank}",
            "laws and draws are those with the data's sign of det(LᵀPR), L and R the data's first singular vectors",
        ),
    )


def _measured(training: Training, rows: int, cols: int, rank: int, why: str, depth: int) -> Model:
    """Without a law: singular values of the product, and the charges of the group's symmetric part."""
    names = [f"sigma_{j + 1}" for j in range(min(rows, cols, rank))]
    shapes = {"U": (rows, rank), "V": (cols, rank)}
    if depth > 2:
        shapes = {f"W{i + 1}": (rank, rank) for i in range(depth)}

    def scalars(params):
        return dict(zip(names, jnp.linalg.svd(product_of(params), compute_uv=False), strict=False))

    def init(key) -> Params:
        keys = jax.random.split(key, len(shapes))
        return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    group = f"GL({rank}), U ↦ U g, V ↦ V g^(−T)" if depth == 2 else f"GL({rank})^{depth - 1}"
    return measure_only(
        "matrix",
        loss=lambda params: training.risk(training.task, params),
        init=init,
        scalars=scalars,
        training=training,
        moment_map=moment_map_of(rank) if depth == 2 else _chain_map(rank, depth),
        symmetry=(group, (depth - 1) * rank**2),
        why=why,
        # UVᵀ is then any n × p matrix.
        orbit_dim=rank * (rows + cols) - rows * cols if rank > min(rows, cols) else None,
    )
