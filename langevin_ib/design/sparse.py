"""Sparse features: a model in which noise penalises Σ log|(A w)_i|, or the norms of blocks of A w."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from langevin_ib.design.base import ANALYSIS, FORMS, SYNTHESIS, Design, designed, notes_of
from langevin_ib.design.data import data, regression
from langevin_ib.design.factors import Factors, blocks, chains, pairs
from langevin_ib.design.operators import Operator, require_injective
from langevin_ib.models.base import Model
from langevin_ib.models.checks import among, at_least, non_negative
from langevin_ib.models.training import Training, no_penalty


def sparse(
    operator: Operator | Real[np.ndarray, "..."],
    *,
    measure: Real[np.ndarray, "..."] | None = None,
    y: Real[np.ndarray, "..."] | None = None,
    depth: int = 2,
    groups: Sequence[Hashable] | None = None,
    form: str = SYNTHESIS,
    start_scale: float = 0.0,
    tie: float = 1.0,
) -> Design:
    """A model of w = A⁺z with factored z, whose least correction along an orbit is T times a logarithm of z = A w.

    L = ½|Φ w − y|². The correction (T/2) log det G, least over an orbit, and what remains of it up to a constant:

    - `depth` 2, z = u ⊙ v: (T/2) Σ log|z_i|, eqs. (14)–(16).
    - `depth` D, z_i = Π_a f_ai: T (D − 1)/D Σ log|z_i|. A deeper product does not change the shape of the bias, and its
      strength only from T/2 to T: the same bias asks for less noise.
    - `groups`, z_B = s_B v_B: (T/2) Σ_B log|z_B|, whole blocks that vanish together.

    A tall A, (m, d) with m > d, has more features than w has numbers, so z = u ⊙ v leaves its range. With `synthesis`
    the predictor sees A⁺z, and the bias on w is inf {Σ log|z_i| : A⁺z = w}, which is at most Σ log|(Aw)_i|: w is put
    together of few columns of A⁺, and A w itself need not have a zero. (For m > d the infimum is −∞ at every w, for a
    z_i can always be brought to 0; the number of those that can depends on w.) With `analysis` the loss holds z in
    the range, by tie/2 |(I − AA⁺)z|²; then z = A w up to what noise and `tie` leave, and the bias is that of A w. For a
    square A both are the same model.

    For SGD an example is a row of Φ and its y_i, with weight n; a fresh one is a random combination ξᵀΦ, ξᵀy of them,
    ξ ~ N(0, I).

    Args:
        operator: A, injective; one of `operators`, or a matrix.
        measure: Φ, (n, d); the identity by default.
        y: the data, (n,); by default Φ w* of a w* whose features are 1.2, ..., 0.8, for a tall A as near to that as
            its range allows. The signs of the features of the least-squares solution of least norm decide the
            branches of the laws.
        depth: D ≥ 2. Parameters are {"u": (m,), "v": (m,)}, or {"factors": (D, m)} for D > 2.
        groups: m labels, equal ones for the features of one block; with depth 2 only. Parameters are then
            {"s": (blocks,), "v": (m,)}.
        form: `synthesis` or `analysis`.
        start_scale: if not 0, a start's entries are ~ N(0, start_scale²); else of order one, in the home branches.
        tie: ≥ 0, of the analysis form.

    Raises:
        ValueError: A has a null space or is numerically not injective, or an argument is out of range.

    Source: arXiv:2601.06597, eqs. (13)–(16); depth D, blocks and the two forms are natural extensions.

    >>> from langevin_ib.design.operators import gradient
    >>> model = sparse(gradient(3))
    >>> model.recover({"u": jnp.ones(3), "v": jnp.array([1.0, 0.0, 2.0])}).tolist()
    [1.0, 1.0, 3.0]
    """
    operator = require_injective(operator)
    among("form", form, FORMS)
    non_negative("tie", tie)
    non_negative("start_scale", start_scale)
    at_least("depth", depth, 2)
    m = operator.matrix.shape[0]
    factors = _choose_factors(m, depth, groups)
    dataset = data(operator, measure, y, np.linspace(1.2, 0.8, m) if m > 1 else np.ones(1))
    projector = operator.matrix @ operator.pseudo_inverse
    tied = operator.is_tall and form == ANALYSIS
    signs = np.where((projector @ dataset.solution if tied else dataset.solution) < 0, -1.0, 1.0)
    off_range = np.eye(m) - projector

    def off_range_penalty(params):
        z = factors.product(params)
        return 0.5 * tie * jnp.sum((jnp.asarray(off_range, z.dtype) @ z) ** 2)

    def predict(params, x):
        return x @ factors.product(params)

    penalty = off_range_penalty if tied else no_penalty
    training = regression(dataset, predict, penalty)
    return designed(
        _build_model(factors, training, signs, start_scale, notes_of(operator, form)),
        operator=operator,
        construction=factors.words,
        form=form,
        penalty=factors.penalty,
        features_of=lambda invariants: invariants["z"],
        invariants_at=lambda z: {"z": z},
    )


def _choose_factors(m: int, depth: int, groups: Sequence[Hashable] | None) -> Factors:
    if groups is None:
        return pairs(m) if depth == 2 else chains(m, depth)
    if depth != 2:
        raise ValueError(f"depth must be 2 with groups, got {depth}")
    if len(groups) != m:
        raise ValueError(f"groups must be {m} labels, one for each feature, got {len(groups)}")
    return blocks(tuple(groups))


def _build_model(
    factors: Factors, training: Training, signs: Float[np.ndarray, " m"], start_scale: float, notes: tuple[str, ...]
) -> Model:
    def loss(params):
        return training.risk(training.task, params)

    def init(key):
        # In the home orthant and away from its walls, where the action is not free and the slice law is infinite.
        if not start_scale:
            return factors.start(key, signs)
        return jax.tree.map(lambda leaf: start_scale * leaf, factors.gaussian(key))

    return Model(
        name="sparse",
        group=factors.group,
        group_dim=factors.group_dim,
        loss=loss,
        act=factors.act,
        moment_map=factors.moment_map,
        invariants=lambda params: {"z": factors.product(params)},
        section=lambda invariants: factors.section(invariants["z"]),
        init=init,
        slice_terms=lambda invariants: factors.slice_terms(loss(factors.section(invariants["z"])), invariants["z"]),
        scalars=factors.scalars,
        branches=factors.branches(),
        home=factors.home(signs),
        cut=tuple(factors.walls),
        training=training,
        notes=notes,
    )
