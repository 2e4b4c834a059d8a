"""Orbits, slices and their Gram matrices, all derived from a `Model` by automatic differentiation.

Parameters are flattened in the order of `ravel_pytree`; the metric is Euclidean; q is the number of parameters and m
the dimension of the group. Equation numbers are those of arXiv:2601.06597.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.errors import LangevinIBError, ModelError, one_line
from langevin_ib.linalg import log_det_spd
from langevin_ib.models.base import Chart, Model, Params, SliceTerms
from langevin_ib.models.training import Examples, cast

PROBED = 16  # fresh inputs at which predictions are compared along an orbit


def fundamental_fields(model: Model, params: Params) -> Float[Array, "m q"]:
    """ξ_a(θ) = d/dt exp(t e_a)·θ at t = 0, a = 1..m, eq. (19)."""
    return _fields(model.act, model.group_dim, params)


def _fields(act, dim: int, params: Params) -> Float[Array, "m q"]:
    at_zero = jnp.zeros(dim, ravel_pytree(params)[0].dtype)
    return jax.jacfwd(lambda t: ravel_pytree(act(t, params))[0])(at_zero).T


def moment_jacobian(model: Model, params: Params) -> Float[Array, "m q"]:
    """Dχ(θ), whose rows are the gradients ∇χ_i."""
    flat, unravel = ravel_pytree(params)
    return jax.jacrev(lambda x: model.moment_map(unravel(x)))(flat)


def all_fields(model: Model, params: Params) -> Float[Array, "k q"]:
    """The fundamental fields of G and, below them, of the compact group that is divided out too."""
    fields = fundamental_fields(model, params)
    if model.compact_act is None:
        return fields
    return jnp.concatenate([fields, _fields(model.compact_act, model.compact_dim, params)])


def orbit_gram(model: Model, params: Params) -> Float[Array, "m m"]:
    """H_ab = ⟨ξ_a, ξ_b⟩, eq. (34)."""
    fields = fundamental_fields(model, params)
    return fields @ fields.T


def coupling(model: Model, params: Params) -> Float[Array, "m m"]:
    """M_ia = Dχ_i ξ_a, eq. (33)."""
    return moment_jacobian(model, params) @ fundamental_fields(model, params).T


def constraint_gram(model: Model, params: Params) -> Float[Array, "m m"]:
    """G_χ = Dχ Dχᵀ, eq. (24)."""
    jacobian = moment_jacobian(model, params)
    return jacobian @ jacobian.T


def log_det_gram(model: Model, params: Params) -> Float[Array, ""]:
    """log det G_χ(θ): the geometric correction of eqs. (1), (9) is T/2 times this.

    >>> from langevin_ib.models import uv
    >>> float(jnp.exp(log_det_gram(uv(), jnp.array([1.0, 1.0]))).round(6))  # u² + v²
    2.0
    """
    return log_det_spd(constraint_gram(model, params))


def log_slice_volume(chart: Chart, x: Float[Array, " k"]) -> Float[Array, ""]:
    """log(dσ_S/dx) = ½ log det(DsᵀDs): the surface measure of the slice in the coordinates x of the quotient.

    Where a compact group of isometries is divided out too, Ds is joined by its fundamental fields: dσ_S, integrated
    over the compact orbits, whose volume per invariant measure of the group is the same everywhere.
    """
    jacobian = jax.jacfwd(lambda z: ravel_pytree(chart.section(z))[0])(x)
    if chart.model.compact_act is not None:
        fields = _fields(chart.model.compact_act, chart.model.compact_dim, chart.section(x))
        jacobian = jnp.concatenate([jacobian, fields.T], axis=1)
    return 0.5 * log_det_spd(jacobian.T @ jacobian)


def slice_terms(chart: Chart, x: Float[Array, " k"]) -> SliceTerms:
    """log det G, log dσ_S/dx and ℓ at s(x): the model's closed forms where it has them, else from the geometry."""
    if chart.model.slice_terms is not None:
        return chart.model.slice_terms(chart.invariants(x))
    return derived_slice_terms(chart, x)


def derived_slice_terms(chart: Chart, x: Float[Array, " k"]) -> SliceTerms:
    """The same from the loss, χ and the section by automatic differentiation, whatever the model has."""
    point = chart.section(x)
    return SliceTerms(log_det_gram(chart.model, point), log_slice_volume(chart, x), chart.model.loss(point))


def log_orbit_jacobian(chart: Chart, t: Float[Array, " m"], x: Float[Array, " k"]) -> Float[Array, ""]:
    """log |det ∂(exp(t)·s(x)) / ∂(t, x)|: Lebesgue measure dθ in the coordinates (t, x), which cover one branch."""

    def embed(coordinates):
        return ravel_pytree(chart.model.act(coordinates[: t.size], chart.section(coordinates[t.size :])))[0]

    jacobian = jax.jacfwd(embed)(jnp.concatenate([t, x]))
    # Rows scaled to one first: far along an orbit they differ by factors like e^{2t}, which JᵀJ would square.
    scale = jnp.max(jnp.abs(jacobian), axis=1)
    scaled = jacobian / scale[:, None]
    return jnp.sum(jnp.log(scale)) + 0.5 * log_det_spd(scaled.T @ scaled)


def largest_curvature(potential, params: Params) -> Float[Array, ""]:
    """Largest absolute eigenvalue of the Hessian of `potential` at θ: what limits an explicit step."""
    flat, unravel = ravel_pytree(params)
    hessian = jax.hessian(lambda x: potential(unravel(x)))(flat)
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(hessian)))


def reduced_curvatures(chart: Chart, x: Float[Array, " k"], potential=None) -> Float[Array, " k"]:
    """Eigenvalues, ascending, of the Hessian of L (or of `potential`) at s(x) without the directions along the orbit.

    At its minimum they are the rates at which the coordinates of the quotient settle.
    """
    potential = chart.model.loss if potential is None else potential
    point = chart.section(x)
    flat, unravel = ravel_pytree(point)
    fields = all_fields(chart.model, point)
    across = jnp.linalg.svd(fields, full_matrices=True)[2][fields.shape[0] :]
    hessian = jax.hessian(lambda y: potential(unravel(y)))(flat)
    return jnp.linalg.eigvalsh(across @ hessian @ across.T)


class SliceReport(NamedTuple):
    """How a slice stands to the orbits, over some of its points; see `slice_report`."""

    equation_40: Any
    canonical_gap: Any
    log_det_spread: Any


def slice_report(model: Model, points: Params) -> SliceReport:
    """What the theorem needs of a slice, measured in float64 on the orbits of given points.

    Args:
        model: any model.
        points: parameters with a leading axis of points; looked at are the sections of their orbits.

    Returns:
        `equation_40`: the largest |G_χ − M H⁻¹ Mᵀ| / |G_χ|, eq. (40): 0 where the gradients of χ lie along the orbit.
        `canonical_gap`: the largest |M − H| / |H|, eq. (42): 0 for a canonical χ.
        `log_det_spread`: largest minus smallest log det G_χ − log det H: by eq. (43) 0 for a canonical χ; a number that
        is not 0 is a correction of the slice law, in units of −½ log p, that is due to χ and not to the orbits.

    >>> from langevin_ib.models import uv
    >>> [float(value) for value in slice_report(uv(), jnp.array([[1.0, 2.0], [0.5, 3.0]]))]
    [0.0, 0.0, 0.0]
    """

    def at(params):
        point = model.section(model.invariants(params))
        H, M, G = orbit_gram(model, point), coupling(model, point), constraint_gram(model, point)
        residual = jnp.linalg.norm(G - M @ jnp.linalg.solve(H, M.T)) / jnp.linalg.norm(G)
        return residual, jnp.linalg.norm(M - H) / jnp.linalg.norm(H), log_det_spd(G) - log_det_spd(H)

    with jax.enable_x64(True):
        residual, gap, excess = jax.jit(lambda xs: jax.lax.map(at, xs))(_as_float64(points))
        return SliceReport(*(np.asarray(value) for value in (residual.max(), gap.max(), excess.max() - excess.min())))


class _Compact(NamedTuple):
    """What `check_model` looks at in the action of a compact group."""

    loss_turned: Any
    invariants_turned: Any
    charge_turned: Any
    stretch: Any


class _Probe(NamedTuple):
    """What `check_model` looks at, at one random point: traced values on the device, then numpy's on the host."""

    loss: Any
    loss_moved: Any
    discrete: Any
    discrete_moved: Any
    invariants: Any
    invariants_moved: Any
    invariants_of_section: Any
    charge_of_section: Any
    orbit_spectrum: Any
    coupling_on_slice: Any
    compact: _Compact | None
    slice_terms: Any
    derived_terms: Any
    predictions: Any
    predictions_moved: Any
    risk: Any
    point: Any


def check_model(model: Model, key: Key[Array, ""], points: int = 8, tolerance: float = 1e-8) -> None:
    """Verify a model's contract in float64 at `points` random parameters and random group elements.

    Checked: L and the invariants do not change along the orbit; discrete invariants do not either, and are the same at
    every start; χ(s(z)) = 0; z(s(z)) = z; the Gram matrix of all orbit directions is non-singular (the action is free)
    at the point, and M is on the slice (the slice is transversal); dim Z = q − m; a compact group leaves L, the
    invariants and the slice alone and acts by isometries; closed forms of `slice_terms` are what automatic
    differentiation gives; predictions do not change along the orbit, and the mean over the data set is L.

    Raises:
        ModelError: one line that says what failed, by how much, at which point.
    """
    with jax.enable_x64(True):
        key_init, key_move, key_turn = jax.random.split(key, 3)
        try:
            _check_fields(model)
            inits = [_as_float64(model.init(k)) for k in jax.random.split(key_init, points)]
            moves = 0.5 * jax.random.normal(key_move, (points, model.group_dim))
            turns = 2.0 * jax.random.normal(key_turn, (points, model.compact_dim))
            chart = Chart(model)
            _check_dimensions(chart, inits[0])
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inits)
            probes = jax.jit(lambda xs: jax.lax.map(lambda x: _probe(chart, *x), xs))((stacked, moves, turns))
        except LangevinIBError:
            raise
        except Exception as error:  # of a user's functions, whose shapes or names do not fit
            raise ModelError(f"model {model.name}: one of its functions fails: {one_line(error)}") from error
        found = [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), probes) for i in range(points)]
        for probe in found:
            _judge(model, probe, found[0].discrete, tolerance)
        _check_start(chart, inits[0])


def _check_fields(model: Model) -> None:
    """Mistakes in the fields that are data, not functions, and in the types that functions return."""
    if any(
        not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        for leaf in jax.tree.leaves(model.init(jax.random.key(0)))
    ):
        raise ModelError(f"model {model.name}: init must return floating-point parameters")
    if isinstance(model.cut, str) or not all(isinstance(name, str) for name in model.cut):
        raise ModelError(f"model {model.name}: cut must be a tuple of names, got {model.cut!r}")
    for name, intervals in (*model.branches.items(), *((name, (one,)) for name, one in model.home.items())):
        if not (isinstance(intervals, tuple) and intervals and all(_is_interval(one) for one in intervals)):
            raise ModelError(
                f"model {model.name}: branches of {name} must be a tuple of intervals (low, high), got {intervals!r}"
            )


def _is_interval(one) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and float(one[0]) < float(one[1])


def _as_float64(params: Params) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)


def _shapes(params: Params) -> tuple:
    return jax.tree.structure(params), [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]


def _check_dimensions(chart: Chart, params: Params) -> None:
    model = chart.model
    q = ravel_pytree(params)[0].size
    m = model.moment_map(params).size
    if m != model.group_dim:
        raise ModelError(f"model {model.name}: moment_map has {m} components, group_dim is {model.group_dim}")
    if (model.compact_act is None) != (model.compact_dim == 0):
        raise ModelError(f"model {model.name}: compact_act and compact_dim = {model.compact_dim} do not go together")
    if chart.dim != q - m - model.compact_dim:
        raise ModelError(
            f"model {model.name}: {chart.dim} invariants for {q} parameters and a group of dimension "
            f"{m + model.compact_dim}: not q − m"
        )
    for what, made in (
        ("section", model.section(model.invariants(params))),
        ("action", model.act(jnp.zeros(m), params)),
    ):
        if _shapes(made) != _shapes(params):
            raise ModelError(f"model {model.name}: the {what} returns parameters of another structure than init")
    if chart.dim == 1:
        x = chart.of(params)
        found = tuple(chart.scalars(x).values())
        if len(found) != 1 or not bool(jnp.allclose(found[0], x[0])):
            raise ModelError(
                f"model {model.name}: the scalar of a quotient of one coordinate has to be that coordinate"
            )
    for name in (*model.branches, *model.home, *model.cut):
        if name not in chart.scalar_names:
            raise ModelError(f"model {model.name}: {name} is none of its scalars ({', '.join(chart.scalar_names)})")


def _check_start(chart: Chart, params: Params) -> None:
    for name, value in chart.scalars_of(params).items():
        intervals = chart.model.branches_of(name)
        if not any(low < float(value) < high for low, high in intervals):
            raise ModelError(
                f"model {chart.model.name}: init starts at {name} = {float(value):.4g}, "
                f"in none of its branches {intervals}"
            )


def _probe(chart: Chart, params: Params, move: Float[Array, " m"], turn: Float[Array, " mc"]) -> _Probe:
    model = chart.model
    moved = model.act(move, params)
    invariants, invariants_moved = model.invariants(params), model.invariants(moved)
    balanced = model.section(invariants)

    def flat(tree):
        return ravel_pytree(tree)[0]

    def signs(found):
        return flat([found[name] for name in model.discrete])

    fields = all_fields(model, params)
    return _Probe(
        loss=model.loss(params),
        loss_moved=model.loss(moved),
        discrete=signs(invariants),
        discrete_moved=signs(invariants_moved),
        invariants=flat(invariants),
        invariants_moved=flat(invariants_moved),
        invariants_of_section=flat(model.invariants(balanced)),
        charge_of_section=model.moment_map(balanced),
        orbit_spectrum=jnp.linalg.eigvalsh(fields @ fields.T),
        coupling_on_slice=jnp.linalg.svd(coupling(model, balanced), compute_uv=False),
        compact=_probe_compact(model, params, balanced, turn),
        slice_terms=jnp.stack(slice_terms(chart, chart.of(params))),
        derived_terms=jnp.stack(derived_slice_terms(chart, chart.of(params))),
        predictions=_predictions(model, params),
        predictions_moved=_predictions(model, moved),
        risk=_risk(model, params),
        point=flat(params),
    )


def _predictions(model: Model, params: Params) -> Float[Array, " n"]:
    """f(θ, x_i) over a data set, or over fixed fresh inputs; empty for a model that is not trained on examples."""
    training = model.training
    if training is None:
        return jnp.zeros(0)
    known = cast(training.task, params)
    if training.size or training.fresh is None:
        x = known["x"]
    else:
        dtype = jax.tree.leaves(params)[0].dtype
        normals = jax.random.normal(jax.random.key(0), (PROBED, *training.fresh.shape), dtype)
        x = training.fresh.examples(known, normals).x
    return jnp.ravel(training.predict(params, x))


def _risk(model: Model, params: Params) -> Float[Array, " n"]:
    """L as the examples give it, where they are a data set."""
    training = model.training
    if training is None or not training.size:
        return jnp.zeros(0)
    known = cast(training.task, params)
    return training.batch_loss(params, Examples(known["x"], known["y"]), known["weight"])[None]


def _probe_compact(model: Model, params: Params, balanced: Params, turn: Float[Array, " mc"]) -> _Compact | None:
    act = model.compact_act
    if act is None:
        return None
    x, unravel = ravel_pytree(params)
    jacobian = jax.jacfwd(lambda y: ravel_pytree(act(turn, unravel(y)))[0])(x)
    turned = act(turn, params)
    return _Compact(
        loss_turned=model.loss(turned),
        invariants_turned=ravel_pytree(model.invariants(turned))[0],
        charge_turned=model.moment_map(act(turn, balanced)),
        stretch=jacobian.T @ jacobian,
    )


def _judge(model: Model, probe: _Probe, home: np.ndarray, tolerance: float) -> None:
    where = "at θ = [" + ", ".join(f"{x:.4g}" for x in probe.point[:8]) + (", …]" if probe.point.size > 8 else "]")

    def differ(what: str, got: np.ndarray, wanted: np.ndarray) -> None:
        scale = 1.0 + float(np.max(np.abs(wanted), initial=0.0))
        gap = float(np.max(np.abs(got - wanted), initial=0.0))
        if not gap <= tolerance * scale:
            raise ModelError(f"model {model.name}: {what} by {gap:.3g} {where}")

    # Free action first: at a point where it is not free, a failed section is only a consequence.
    smallest, largest = float(probe.orbit_spectrum[0]), float(probe.orbit_spectrum[-1])
    if not smallest > 1e-12 * max(largest, 1e-300):
        raise ModelError(
            f"model {model.name}: the action is not free, the orbit Gram matrix H is singular "
            f"(eigenvalues {smallest:.3g} to {largest:.3g}) {where}"
        )
    differ("the loss changes along the orbit", probe.loss_moved, probe.loss)
    differ("a discrete invariant changes along the orbit", probe.discrete_moved, probe.discrete)
    differ("a discrete invariant differs from its value at another start", probe.discrete, home)
    differ("an invariant changes along the orbit", probe.invariants_moved, probe.invariants)
    differ(
        "the section misses the slice, χ(s(z)) ≠ 0,", probe.charge_of_section, np.zeros_like(probe.charge_of_section)
    )
    differ("the section does not invert the invariants", probe.invariants_of_section, probe.invariants)
    if not float(probe.coupling_on_slice[-1]) > 1e-12 * max(float(probe.coupling_on_slice[0]), 1e-300):
        raise ModelError(f"model {model.name}: the slice is not transversal to the orbit, M is singular {where}")
    if probe.compact is not None:
        turned = probe.compact
        differ("the loss changes under the compact action", turned.loss_turned, probe.loss)
        differ("an invariant changes under the compact action", turned.invariants_turned, probe.invariants)
        differ("the compact action leaves the slice", turned.charge_turned, np.zeros_like(turned.charge_turned))
        differ("the compact action is no isometry", turned.stretch, np.eye(len(turned.stretch)))
    differ("a prediction changes along the orbit", probe.predictions_moved, probe.predictions)
    differ(
        "SGD takes squared errors, ½ w |f − y|² (and a penalty), and the mean over the examples is not the loss,",
        probe.risk,
        np.full_like(probe.risk, probe.loss),
    )
    # Last: where the action or the slice is broken, these are consequences.
    for name, given, derived in zip(SliceTerms._fields, probe.slice_terms, probe.derived_terms, strict=True):
        differ(f"slice_terms gives another {name} than the geometry,", np.atleast_1d(given), np.atleast_1d(derived))
