"""Points of Θ and Θ/G at which a model's contract is checked, and the model's functions there, each compiled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.background import FAST
from langevin_ib.geometry.gram import all_fields, derived_slice_terms, moment_jacobian, slice_terms
from langevin_ib.models.base import Branch, Chart, Model, Params
from langevin_ib.models.training import Examples, cast

PROBED = 16  # fresh inputs at which predictions are compared along an orbit
AWAY = 16  # points of Θ, and of Θ/G, that are no starts
BLOCK = 8  # points per compiled call
STEPS = (0.0, 0.3, 1.0, 3.0)  # perturbations in units of the parameters' size; 0: of their logarithms alone
JITTER = 0.5  # standard deviation in the logarithm of each parameter, or coordinate
DECADES = 1.0  # either way, in the size of each array of parameters
REACH = 2.0  # decades either way, in a coordinate of the quotient about its median
SPLIT = 0.4  # exp(t) is held against exp((1 − SPLIT) t) exp(SPLIT t)


class PointValues(NamedTuple):
    """The model's own functions at a point of Θ."""

    loss: Any
    invariants: Any
    discrete: Any
    scalars: Any
    charge: Any
    predictions: Any
    penalty: Any
    risks: Any
    at_home: Any
    inside: Any


class Geometry(NamedTuple):
    """Of the action at a point: eigenvalues of the Gram matrix of all generators, ascending, 1 where there are none.

    And singular values of M, descending, 1 where there are no generators; how much χ changes over the size of θ.
    """

    spectrum: Any
    coupling: Any
    scale: Any


class Slice(NamedTuple):
    """s(x); `slope` is the derivative of x(s(x)), and the terms are the model's own and those of the geometry."""

    point: Any
    slope: Any
    terms: Any
    derived: Any


class Acted(NamedTuple):
    """A point moved by an element of a group, by none, and by two shares of it; another point, moved by the element."""

    moved: Any
    unmoved: Any
    composed: Any
    other: Any


class Compact(NamedTuple):
    """A point moved by the compact group."""

    values: PointValues
    charge_of_section: Any
    pullback_metric: Any
    unmoved: Any
    moved: Any
    composed: Any


class Probe(NamedTuple):
    """All that the contract asks of a point or, with a leading axis, of many."""

    point: Any
    values: PointValues
    values_moved: PointValues
    unmoved: Any
    moved: Any
    composed: Any
    spectrum: Any
    slice: Slice
    geometry_on_slice: Geometry
    values_on_slice: PointValues
    compact: Compact | None


# Points at which the contract is checked.


def around(random: np.random.Generator, chart: Chart, starts: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "w q"]:
    """Starts whose every parameter is perturbed, and whose every array is scaled on its own."""
    sizes = [leaf.size for leaf in jax.tree.leaves(chart.params_shape)]
    size = max(float(np.sqrt(np.mean(starts**2))), 1.0)  # small starts grow
    steps = np.resize(STEPS, AWAY)[:, None]
    base = starts[np.arange(AWAY) % len(starts)]
    points = base * np.exp(JITTER * random.normal(size=base.shape)) + steps * size * random.normal(size=base.shape)
    scales = 10.0 ** random.uniform(-DECADES, DECADES, size=(AWAY, len(sizes)))
    return points * np.repeat(scales, sizes, axis=1)


def elements(random: np.random.Generator, model: Model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random elements of the group, and of the compact one."""
    return 0.5 * random.normal(size=(count, model.group_dim)), 2.0 * random.normal(size=(count, model.compact_dim))


def spread(random: np.random.Generator, chart: Chart, known: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "w k"]:
    """Points of the quotient, each coordinate drawn on its own: from the known values, or over its branches."""
    count, k = AWAY, known.shape[1]
    rows = random.integers(len(known), size=(count, k))
    x = known[rows, np.arange(k)] * np.exp(JITTER * random.normal(size=(count, k)))
    if chart.model.scalars is not None:
        return x  # branches are of the scalars, and what the coordinates' own ranges are nobody says
    for i, name in enumerate(chart.scalar_names):
        unit = float(np.median(np.abs(known[:, i]))) or 1.0
        branches = chart.model.branches_of(name)
        own = np.array([any(low < value < high for low, high in branches) for value in x[:, i]])
        for row in range(count):
            if not own[row] or random.uniform() < 0.5:
                x[row, i] = _within(random, branches[random.integers(len(branches))], unit)
    return x


def _within(random: np.random.Generator, branch: Branch, unit: float) -> float:
    """A number on an interval: uniform on a bounded one, else over four decades from its end, or from 0."""
    low, high = branch
    far = unit * 10.0 ** random.uniform(-REACH, REACH)
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) * random.uniform(0.01, 0.99)
    if np.isfinite(low):
        return low + far
    if np.isfinite(high):
        return high - far
    return far * random.choice([-1.0, 1.0])


# The model's functions at many points, each of them compiled once.


class _ByIdentity:
    """A model that is equal to itself only: its mappings cannot be hashed."""

    def __init__(self, model: Model):
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.model is self.model

    def __hash__(self) -> int:
        return id(self.model)


class Balanced(NamedTuple):
    """The balanced point over coordinates of the quotient, what has to be regular there, and its scalars."""

    point: Any
    geometry: Geometry
    scalars: Any


@dataclass(frozen=True)
class Evaluator:
    """Host functions of arrays of points, parameters as flat vectors; each is one program, compiled once.

    Attributes:
        chart: of the quotient.
        probe: (points of Θ, elements of the group, of the compact one) ↦ all that the contract asks there.
        balanced: coordinates of the quotient ↦ their balanced points.
    """

    chart: Chart
    probe: Callable[..., Probe]
    balanced: Callable[..., Balanced]


def evaluator_of(model: Model) -> Evaluator:
    """The compiled functions of a model, cached from its check until that of its draws."""
    return _compiled_evaluator(_ByIdentity(model))


@lru_cache(maxsize=2)
def _compiled_evaluator(same: _ByIdentity) -> Evaluator:
    model = same.model
    chart = Chart(model)
    unravel = flattening(chart)

    def flat(tree):
        return ravel_pytree(tree)[0]

    def balanced_at(x):
        point = chart.section(x)
        scalars = flat(list(chart.scalars(x).values()))
        return Balanced(flat(point), _geometry_at(model, point), scalars)

    def act(t, point):
        return flat(model.act(t, unravel(point)))

    def act_compact(t, point):
        assert model.compact_act is not None  # asked of models that have one only
        return flat(model.compact_act(t, unravel(point)))

    def probe_at(theta, move, turn):
        moved = _acted(act, move, theta)
        balanced = _slice_at(chart, chart.of(unravel(theta)))
        places, compact = [theta, balanced.point, moved.moved], None
        if model.compact_act is not None:
            jacobian = jax.jacfwd(lambda point: act_compact(turn, point))(theta)
            turned = _acted(act_compact, turn, theta, balanced.point)
            places += [turned.moved, turned.other]
        # Loops, so that each function is compiled once for all the places.
        values, values_on_slice, values_moved, *values_turned = _each(
            lambda place: _values_at(chart, unravel(place)), places
        )
        geometry, geometry_on_slice = _each(lambda place: _geometry_at(model, unravel(place)), places[:2])
        if model.compact_act is not None:
            charge = values_turned[1].charge
            compact = Compact(
                values_turned[0], charge, jacobian.T @ jacobian, turned.unmoved, turned.moved, turned.composed
            )
        return Probe(
            point=theta,
            values=values,
            values_moved=values_moved,
            unmoved=moved.unmoved,
            moved=moved.moved,
            composed=moved.composed,
            spectrum=geometry.spectrum,
            slice=balanced,
            geometry_on_slice=geometry_on_slice,
            values_on_slice=values_on_slice,
            compact=compact,
        )

    return Evaluator(chart=chart, probe=_in_blocks(probe_at), balanced=_in_blocks(balanced_at))


def _values_at(chart: Chart, params: Params) -> PointValues:
    model = chart.model
    invariants = model.invariants(params)
    scalars = chart.scalars_of(params)
    inside = [_inside(model.branches_of(name), value) for name, value in scalars.items()]
    predictions, penalty, risks = _of_training(model, params)
    return PointValues(
        loss=model.loss(params),
        invariants=chart.flatten(invariants),
        discrete=ravel_pytree([invariants[name] for name in model.discrete])[0],
        scalars=ravel_pytree(list(scalars.values()))[0],
        charge=jnp.ravel(model.moment_map(params)),
        predictions=predictions,
        penalty=penalty,
        risks=risks,
        at_home=chart.at_home(params),
        inside=jnp.all(jnp.stack(inside)),
    )


def flattening(chart: Chart) -> Callable[[Array], Params]:
    """A flat vector in float64 ↦ the parameters of a model."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64), chart.params_shape)
    unravel = []
    # Found while tracing, for to make arrays only to flatten them is a program for each of their shapes.
    jax.eval_shape(lambda params: unravel.append(ravel_pytree(params)[1]), shapes)
    return unravel[0]


def _each(function: Callable[[Array], Any], places: list[Array]) -> list[Any]:
    """A function's values at several points, in a loop."""
    values = jax.lax.map(function, jnp.stack(places))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], values) for i in range(len(places))]


def _acted(act: Callable[[Array, Array], Array], element: Array, theta: Array, other: Array | None = None) -> Acted:
    """An action at an element of its group, in a loop: its fourth step starts where the third has ended."""
    shares = jnp.array([1.0, 0.0, SPLIT, 1.0 - SPLIT, 1.0])
    starts = jnp.stack([theta, theta, theta, theta, theta if other is None else other])

    def step(before: Array, each: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        share, start, goes_on = each
        after = act(share * element, jnp.where(goes_on, before, start))
        return after, after

    steps = jax.lax.scan(step, theta, (shares, starts, jnp.arange(len(shares)) == 3))[1]
    return Acted(steps[0], steps[1], steps[3], steps[4])


def _slice_at(chart: Chart, x: Array) -> Slice:
    derived = jnp.stack(derived_slice_terms(chart, x))
    return Slice(
        point=ravel_pytree(chart.section(x))[0],
        slope=jax.jacfwd(lambda y: chart.of(chart.section(y)))(x),
        terms=derived if chart.model.slice_terms is None else jnp.stack(slice_terms(chart, x)),
        derived=derived,
    )


def _geometry_at(model: Model, params: Params) -> Geometry:
    fields = all_fields(model, params)
    spectrum = jnp.linalg.eigvalsh(fields @ fields.T) if len(fields) else jnp.ones(1)
    if not model.group_dim:
        return Geometry(spectrum, jnp.ones(1), jnp.zeros(()))
    jacobian = moment_jacobian(model, params)
    singular_values = jnp.linalg.svd(jacobian @ fields[: model.group_dim].T, compute_uv=False)
    return Geometry(spectrum, singular_values, jnp.max(jnp.abs(jacobian) @ jnp.abs(ravel_pytree(params)[0])))


def _in_blocks(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one point as one of arrays of points on the host, so many at a time."""
    compiled = jax.jit(lambda block: jax.lax.map(lambda arguments: function(*arguments), block), compiler_options=FAST)

    def evaluate(*arrays: np.ndarray) -> Any:
        count = len(arrays[0])
        rows = np.minimum(np.arange(-(-count // BLOCK) * BLOCK), count - 1).reshape(-1, BLOCK)
        results = [jax.tree.map(np.asarray, compiled(tuple(a[block] for a in arrays))) for block in rows]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)

    return evaluate


def _inside(branches: tuple[Branch, ...], value: Any) -> Array:
    return jnp.any(jnp.stack([(value > low) & (value < high) for low, high in branches]))


def _of_training(model: Model, params: Params) -> tuple[Array, Array, Array]:
    """f(θ, x_i) over a data set, or over fixed fresh inputs, the penalty, and L as the examples give it.

    Empty for a model that is not trained on examples.
    """
    training = model.training
    if training is None:
        return jnp.zeros(0), jnp.zeros(0), jnp.zeros(0)
    known = cast(training.task, params)
    risks = [training.risk(training.task, params)]
    if training.size or training.fresh is None:
        x = known["x"]
        risks.append(training.mean_loss(params, Examples(x, known["y"]), known["weight"]))
    else:
        dtype = jax.tree.leaves(params)[0].dtype
        normals = jax.random.normal(jax.random.key(0), (PROBED, *training.fresh.shape), dtype)
        x = training.fresh.examples(known, normals).x
    return jnp.ravel(training.predict(params, x)), training.penalty(params)[None], jnp.stack(risks)


def at(probes: Probe, i: int) -> Probe:
    """One point of many."""
    return jax.tree.map(lambda leaf: leaf[i], probes)


def finite(values: PointValues) -> Any:
    """Whether loss and invariants are numbers."""
    return np.isfinite(values.loss) & np.isfinite(values.invariants).all(axis=-1)


def in_domain(values: PointValues) -> Any:
    """Whether the whole contract holds at a point: it lies in the branches, in the component of the starts."""
    return finite(values) & values.at_home & values.inside
