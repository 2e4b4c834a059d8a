"""Does a model keep its contract? Verified in float64 at its starts, over Θ and Θ/G, and at the draws of chains.

A model that is right only where its `init` goes gives a wrong law silently: so the identities are checked at
points that no start reaches, and again at the draws of a run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from langevin_ib.background import FAST
from langevin_ib.errors import BreachError, LangevinIBError, ModelError, one_line
from langevin_ib.geometry.probes import (
    AWAY,
    Evaluator,
    Probe,
    around,
    at,
    elements,
    evaluator_of,
    finite,
    in_domain,
    spread,
)
from langevin_ib.models.base import RESERVED, Chart, Model, SliceTerms
from langevin_ib.models.shapes import check_shapes

DRAWS = 64  # chains whose end points are checked
LOOSE = 1e-6  # tolerance away from the starts, relative to size, for rounding is amplified there
SINGULAR = 1e-12  # smallest over largest eigenvalue of a Gram matrix that counts as singular
ILL = 1e-8  # below it a point is so near to where the action is not free that its digits say nothing


def check_model(model: Model, key: Key[Array, ""], points: int = 8, tolerance: float = 1e-8) -> None:
    """Verify a model's contract in float64, at `points` random starts and at 32 points away from them.

    Half of these are points of Θ, starts whose parameters are perturbed and scaled over two decades; half are points of
    Θ/G, whose coordinates are put together at random and spread over their branches. There the tolerance is 1e-6
    relative to size; what is not finite is left out; and outside the branches, or in another component, only what has
    to hold everywhere is asked.

    Checked: `act` is a group action; L and the invariants do not change along the orbit; discrete invariants do not
    either, and are the same at every start; χ(s(z)) = 0; z(s(z)) = z, and its derivative is the identity; L(s(z)) = L;
    the Gram matrix of all orbit directions is non-singular (the action is free), and M is on the slice (the slice is
    transversal); dim Z = q − m; a compact group leaves L, the invariants and the slice alone and acts by isometries;
    closed forms of `slice_terms` are what automatic differentiation gives; predictions do not change along the orbit,
    and the mean over the data set is L; the scalars' names are distinct, printable, without /, and none is reserved:
    files and pictures have them, where `$…$` is shown as it stands. First of all, that no function fails and that each
    returns the shape that it has to.

    Raises:
        ModelError: one line that says what failed, by how much, at which point.

    >>> from langevin_ib.models import uv
    >>> check_model(uv(), jax.random.key(0))
    """
    with jax.enable_x64(True):
        try:
            _check_fields(model)
            _check_dimensions(Chart(model))
            evaluator = evaluator_of(model)
            drawn = jax.jit(lambda key: _draw_starts(model, key, points), compiler_options=FAST)(key)
            starts, moves, turns, key_away = map(np.asarray, drawn)
            random = np.random.default_rng(key_away)
            at_starts = evaluator.probe(starts, moves, turns)
            _check_coordinate(evaluator.chart, at(at_starts, 0))
            labels = evaluator.chart.labels
            home = np.concatenate([np.ravel(labels[name]) for name in model.discrete] or [np.zeros(0)])
            for i in range(points):
                _check_point(model, at(at_starts, i), tolerance, home=home)
            _check_start(evaluator.chart, at(at_starts, 0))
            perturbed = evaluator.probe(around(random, evaluator.chart, starts), *elements(random, model, AWAY))
            for i in range(AWAY):
                _check_point(model, at(perturbed, i), LOOSE)
            known = np.concatenate(
                [probe.values.invariants[in_domain(probe.values)] for probe in (at_starts, perturbed)]
            )
            x = spread(random, evaluator.chart, known)
            _check_ends(evaluator, x)
            _check_quotient(evaluator, x, random, ModelError)
        except LangevinIBError:
            raise
        except Exception as error:  # of a user's functions, whose shapes or names do not fit
            raise ModelError(f"model {model.name}: one of its functions fails: {one_line(error)}") from error


def check_draws(model: Model, positions: PyTree[Float[Array | np.ndarray, "chain ..."]]) -> None:
    """The same at draws of a run, where no start and no random point may have been.

    Args:
        model: one that `check_model` has passed.
        positions: parameters with a leading axis of chains, in any precision; 64 of them, evenly spaced, are checked.

    Raises:
        BreachError: one line that says what failed, by how much, at which draw.
    """
    with jax.enable_x64(True):
        leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(positions)]
        points = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
        points = _evenly_spaced(points)
        random = np.random.default_rng(len(points))
        probes = evaluator_of(model).probe(points, *elements(random, model, len(points)))
        for i in range(len(points)):
            _check_point(model, at(probes, i), LOOSE, error=BreachError)


def check_law_draws(model: Model, x: Float[np.ndarray, "n k"]) -> None:
    """The same at the balanced points of coordinates of the quotient, which a law's own chains have reached.

    Raises:
        BreachError: one line that says what failed, by how much, at which point.
    """
    with jax.enable_x64(True):
        x = _evenly_spaced(np.asarray(x, np.float64))
        _check_quotient(evaluator_of(model), x, np.random.default_rng(len(x)), BreachError)


def _evenly_spaced(points: np.ndarray) -> np.ndarray:
    return points[np.linspace(0, len(points) - 1, min(DRAWS, len(points))).astype(int)]


# Fields, names, shapes.


def _check_fields(model: Model) -> None:
    """Refuse functions that return wrong types or shapes, and fields of wrong data."""
    check_shapes(model)
    if isinstance(model.cut, str) or not all(isinstance(name, str) for name in model.cut):
        raise ModelError(f"model {model.name}: cut must be a tuple of names, got {model.cut!r}")
    for name, intervals in (*model.branches.items(), *((name, (home,)) for name, home in model.home.items())):
        if not (isinstance(intervals, tuple) and intervals and all(_is_interval(interval) for interval in intervals)):
            raise ModelError(
                f"model {model.name}: branches of {name} must be a tuple of intervals (low, high), got {intervals!r}"
            )
    for name, home in model.home.items():
        if home not in model.branches_of(name):
            raise ModelError(
                f"model {model.name}: home of {name} must be one of its branches {model.branches_of(name)}, got {home}"
            )


def _is_interval(interval) -> bool:
    return isinstance(interval, tuple) and len(interval) == 2 and float(interval[0]) < float(interval[1])


def check_names(chart: Chart) -> None:
    """Scalars are compared and saved under their names, so no two may share one, nor take one that is in use."""
    model = chart.model
    for name in chart.scalar_names:
        if not name.isprintable() or not name.strip(" .") or "/" in name:
            raise ModelError(
                f"model {model.name}: a scalar must have a name of printable characters without /, got {name!r}"
            )
        if name in RESERVED:
            raise ModelError(
                f"model {model.name}: no scalar can be called {name}, which a file of draws has already "
                f"({', '.join(RESERVED)}): name it otherwise"
            )
    if model.scalars is None:
        twice = [name for name, times in Counter(chart.coordinate_names).items() if times > 1]
        if twice:
            raise ModelError(
                f"model {model.name}: two scalars are called {twice[0]}, for an entry of a vector z is named z_1, z_2, "
                "...: name the invariants otherwise"
            )


def _draw_starts(model: Model, key: Key[Array, ""], points: int) -> tuple[Array, Array, Array, Array]:
    """Starts as flat vectors, elements of the group and of the compact one, and the data of a key for other points."""
    key_init, key_move, key_turn, key_away = jax.random.split(key, 4)

    def start(each):
        return ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(each)))[0]

    return (
        jax.lax.map(start, jax.random.split(key_init, points)),
        0.5 * jax.random.normal(key_move, (points, model.group_dim)),
        2.0 * jax.random.normal(key_turn, (points, model.compact_dim)),
        jax.random.key_data(key_away),
    )


def _check_dimensions(chart: Chart) -> None:
    model = chart.model
    check_names(chart)
    q = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(chart.params_shape))
    m = model.group_dim
    if (model.compact_act is None) != (model.compact_dim == 0):
        raise ModelError(f"model {model.name}: compact_act and compact_dim = {model.compact_dim} do not go together")
    if chart.dim != q - m - model.compact_dim:
        raise ModelError(
            f"model {model.name}: {chart.dim} invariants for {q} parameters and a group of dimension "
            f"{m + model.compact_dim}: not q − m"
        )
    if chart.dim == 1 and len(chart.scalar_names) != 1:
        raise _not_coordinate(model)
    for name in (*model.branches, *model.home, *model.cut):
        if name not in chart.scalar_names:
            raise ModelError(f"model {model.name}: {name} is none of its scalars ({', '.join(chart.scalar_names)})")


def _check_coordinate(chart: Chart, start: Probe) -> None:
    scalars, x = start.values.scalars, start.values.invariants
    if chart.dim == 1 and not np.allclose(scalars, x, equal_nan=True):
        raise _not_coordinate(chart.model)


def _not_coordinate(model: Model) -> ModelError:
    return ModelError(f"model {model.name}: the scalar of a quotient of one coordinate has to be that coordinate")


def _check_start(chart: Chart, start: Probe) -> None:
    for name, value in zip(chart.scalar_names, start.values.scalars, strict=True):
        intervals = chart.model.branches_of(name)
        if not any(low < float(value) < high for low, high in intervals):
            raise ModelError(
                f"model {chart.model.name}: init starts at {name} = {float(value):.4g}, "
                f"in none of its branches {intervals}"
            )


# Judgement.


def _location(what: str, values: np.ndarray) -> str:
    return f"at {what} = [" + ", ".join(f"{x:.4g}" for x in values[:8]) + (", …]" if values.size > 8 else "]")


def _check_ends(evaluator: Evaluator, x: Float[np.ndarray, "n k"]) -> None:
    """Rescalings fix the origin, which no random point meets: a coordinate whose branch holds 0 is checked there."""
    chart = evaluator.chart
    model = chart.model
    if model.scalars is not None:
        return
    for i, name in enumerate(chart.scalar_names):
        if not any(low < 0 < high for low, high in model.branches_of(name)):
            continue
        origin = x[:1].copy()
        origin[:, i] = 0.0
        at_origin = evaluator.balanced(origin)
        bad = _singular(at_origin.geometry.spectrum[0]) or _singular(at_origin.geometry.coupling[0][::-1])
        if bad or not np.isfinite(at_origin.point).all():
            raise ModelError(
                f"model {model.name}: the action is not free, or the section fails, at {name} = 0, inside its branches "
                f"{model.branches_of(name)}: end them there"
            )


def _check_quotient(
    evaluator: Evaluator, x: Float[np.ndarray, "n k"], random: np.random.Generator, error: type[Exception]
) -> None:
    """Check points of the quotient, and their balanced points.

    That coordinates return is too much to ask of an angle that has gone round: the point and its scalars have to.
    """
    model = evaluator.chart.model
    balanced = evaluator.balanced(x)
    points, wanted = balanced.point, balanced.scalars
    probes = evaluator.probe(points, *elements(random, model, len(x)))
    for i in range(len(x)):
        probe, where = at(probes, i), _location("z", x[i]) + (", where a chain went" if error is BreachError else "")
        intended = all(
            any(low < value < high for low, high in model.branches_of(name))
            for name, value in zip(evaluator.chart.scalar_names, wanted[i], strict=True)
        )
        if not intended:
            continue
        if not finite(probe.values):
            # Where only the loss is no number, `windows` says whether that is in the way.
            lost = not (np.isfinite(probe.point).all() and np.isfinite(probe.values.invariants).all())
            if evaluator.chart.dim == 1 and lost:
                raise error(
                    f"model {model.name}: the section fails {where}, inside the branches "
                    f"{model.branches_of(evaluator.chart.scalar_names[0])}: end them where it does"
                )
            continue
        for got, known in ((probe.values.scalars, wanted[i]), (probe.slice.point, points[i])):
            gap = float(np.max(np.abs(got - known)))
            if not gap <= LOOSE * (1.0 + float(np.max(np.abs(known)))):
                raise error(f"model {model.name}: the section does not invert the invariants by {gap:.3g} {where}")
        _check_point(model, probe, LOOSE, error=error)


def _singular(spectrum: np.ndarray, share: float = SINGULAR) -> bool:
    """Whether the smallest of ascending eigenvalues is nothing beside the largest."""
    return not float(spectrum[0]) > share * max(float(spectrum[-1]), 1e-300)


def _check_point(
    model: Model,
    probe: Probe,
    tolerance: float,
    *,
    home: np.ndarray | None = None,
    error: type[Exception] = ModelError,
) -> None:
    """Refuse a model that breaks its contract at a point; `home` are the discrete invariants, given at a start."""
    where = _location("θ", probe.point) + (", where a chain went" if error is BreachError else "")
    values, moved = probe.values, probe.values_moved
    at_start = home is not None
    full_contract = at_start or bool(in_domain(values))
    if not at_start and not (finite(values) and (full_contract or finite(moved))):
        return

    def differ(what: str, got: Any, wanted: Any, size: float = 0.0) -> None:
        scale = 1.0 + max(float(np.max(np.abs(wanted), initial=0.0)), size)
        gap = float(np.max(np.abs(got - wanted), initial=0.0))
        if not gap <= tolerance * scale:
            raise error(f"model {model.name}: {what} by {gap:.3g} {where}")

    if at_start:
        for what, quantity in (("the loss", values.loss), ("an invariant", values.invariants), ("χ", values.charge)):
            if not np.isfinite(quantity).all():
                raise error(f"model {model.name}: {what} is not a number {where}, a start")
    # Free action first: at a point where it is not free, a failed section is only a consequence.
    if full_contract and _singular(probe.spectrum):
        if error is BreachError:
            return  # noise may take a chain there, whatever the model
        raise error(
            f"model {model.name}: the action is not free, the orbit Gram matrix H is singular "
            f"(eigenvalues {float(probe.spectrum[0]):.3g} to {float(probe.spectrum[-1]):.3g}) {where}"
        )
    differ("the loss changes along the orbit", moved.loss, values.loss)
    differ("a discrete invariant changes along the orbit", moved.discrete, values.discrete)
    if home is not None:
        differ("a discrete invariant differs from its value at another start", values.discrete, home)
    differ("an invariant changes along the orbit", moved.invariants, values.invariants)
    differ("act(0, θ) is not θ,", probe.unmoved, probe.point)
    differ("act is no group action, exp(t + t')θ is not exp(t')exp(t)θ,", probe.composed, probe.moved)
    if probe.compact is not None:
        compact = probe.compact
        differ("the loss changes under the compact action", compact.values.loss, values.loss)
        differ("an invariant changes under the compact action", compact.values.invariants, values.invariants)
    differ("a prediction changes along the orbit", moved.predictions, values.predictions)
    differ("the penalty changes along the orbit", moved.penalty, values.penalty)
    loss = None if model.training is None else model.training.example_loss
    errors = "squared errors, ½ w |f − y|²" if loss is None or loss.squared else f"w ℓ(f, y), ℓ {loss.name}"
    differ(
        f"SGD takes {errors} (and a penalty), and the mean over the examples is not the loss,",
        values.risks,
        np.full_like(values.risks, values.loss),
    )
    ill = _singular(probe.spectrum, ILL) or _singular(probe.geometry_on_slice.spectrum, ILL)
    if full_contract and (at_start or not ill):
        _check_section(model, probe, differ, error, where)
    if probe.compact is not None:
        compact = probe.compact
        differ("compact_act(0, θ) is not θ,", compact.unmoved, probe.point)
        differ("the compact action is no isometry", compact.pullback_metric, np.eye(len(compact.pullback_metric)))
        differ("compact_act is no group action, exp(t + t')θ is not exp(t')exp(t)θ,", compact.composed, compact.moved)


def _check_section(model: Model, probe: Probe, differ: Callable[..., None], error: type[Exception], where: str) -> None:
    """The section of a point in the branches and in the component of the starts."""
    values, balanced, on_slice = probe.values, probe.slice, probe.values_on_slice
    none = np.zeros_like(on_slice.charge)
    scale = float(probe.geometry_on_slice.scale)
    differ("the section misses the slice, χ(s(z)) ≠ 0,", on_slice.charge, none, scale)
    differ("the section does not invert the invariants", on_slice.invariants, values.invariants)
    differ("the section does not keep the discrete invariants", on_slice.discrete, values.discrete)
    differ("the loss differs at the section, L(s(z)) ≠ L,", on_slice.loss, values.loss)
    if _singular(probe.geometry_on_slice.spectrum):
        raise error(f"model {model.name}: the action is not free at the section, H is singular there, {where}")
    if _singular(probe.geometry_on_slice.coupling[::-1]):
        raise error(f"model {model.name}: the slice is not transversal to the orbit, M is singular {where}")
    if probe.compact is not None:
        differ("the compact action leaves the slice", probe.compact.charge_of_section, none, scale)
    differ("the derivative of z(s(z)) is not the identity", balanced.slope, np.eye(len(balanced.slope)))
    if model.canonical:
        log_coupling = np.sum(np.log(probe.geometry_on_slice.coupling))
        differ("χ is not canonical, log |det M| is not log det G,", log_coupling, balanced.derived[0])
    # Last: where the action or the slice is broken, these are consequences.
    for name, given, derived in zip(SliceTerms._fields, balanced.terms, balanced.derived, strict=True):
        differ(f"slice_terms gives another {name} than the geometry,", np.atleast_1d(given), np.atleast_1d(derived))
