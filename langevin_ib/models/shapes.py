"""What each function of a `Model` returns, traced by itself: a fault is named by the field that has it.

Nothing is computed: shapes are those of `jax.eval_shape`, in float64. Each function is traced twice, for one that keeps
the tracers of a call fails at the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from langevin_ib.errors import ConfigError, ModelError, one_line
from langevin_ib.models.base import Model
from langevin_ib.models.losses import LOSSES, check_labels
from langevin_ib.models.training import Examples, Training, cast, size_of

PROBED = 3  # fresh examples
FUNCTIONS = ("loss", "act", "moment_map", "invariants", "section", "init")
OPTIONAL = ("scalars", "slice_terms", "compact_act")


def check_shapes(model: Model) -> None:
    """Refuse a model one of whose fields is of the wrong kind, fails, or returns another shape than its contract says.

    Raises:
        ModelError: one line that names the field, the shape wanted and the shape that came.

    >>> import dataclasses
    >>> from langevin_ib.models import uv
    >>> check_shapes(dataclasses.replace(uv(), loss=lambda p: p))
    Traceback (most recent call last):
        ...
    langevin_ib.errors.ModelError: model uv: loss must return a real number, shape (), got shape (2,)
    """
    with jax.enable_x64(True):
        fields = _Fields(model)
        fields.kinds()
        theta = fields.start()
        z = fields.coordinates(theta)
        group = jax.ShapeDtypeStruct((model.group_dim,), jnp.float64)
        fields.number("loss", model.loss, theta)
        fields.array("moment_map", model.moment_map, (model.group_dim,), "one number for each of group_dim", theta)
        fields.parameters("act", model.act, theta, group, theta)
        if model.charted:
            fields.parameters("section", model.section, theta, z)
        else:
            fields.numbers(z)
        fields.functions_of_z(z)
        if model.compact_act is not None:
            turn = jax.ShapeDtypeStruct((model.compact_dim,), jnp.float64)
            fields.parameters("compact_act", model.compact_act, theta, turn, theta)
        if model.training is not None:
            fields.training(model.training, theta)


class _Fields:
    """The checks of one model's fields."""

    def __init__(self, model: Model):
        self.model = model

    def refuse(self, field: str, wanted: str, got: str) -> ModelError:
        if not self.model.charted and field == "invariants":
            field = "scalars"  # as `measure_only` takes them
        return ModelError(f"model {self.model.name}: {field} must {wanted}, got {got}")

    def kinds(self) -> None:
        """Fields that are data, and functions that are none."""
        model = self.model
        for name in FUNCTIONS:
            if not callable(getattr(model, name)):
                raise self.refuse(name, "be a function", _describe(getattr(model, name)))
        for name in OPTIONAL:
            if not (getattr(model, name) is None or callable(getattr(model, name))):
                raise self.refuse(name, "be a function or None", _describe(getattr(model, name)))
        for name in ("group_dim", "compact_dim"):
            value = getattr(model, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise self.refuse(name, "be a whole number from 0", _describe(value))
        for name in ("branches", "home"):
            if not isinstance(getattr(model, name), Mapping):
                raise self.refuse(name, "be a mapping of scalars' names", _describe(getattr(model, name)))
        if not (model.training is None or isinstance(model.training, Training)):
            raise self.refuse("training", "be a Training or None", _describe(model.training))
        flat = model.flat
        if flat is not None and not (isinstance(flat, tuple) and len(flat) == 2 and callable(flat[1])):
            raise self.refuse("flat", "be a pair of a name and a function", _describe(flat))

    def traced(self, field: str, function: Callable[..., Any], *like: Any) -> Any:
        """The shapes that a function returns."""
        kept = f"model {self.model.name}: {field} must depend on its arguments alone, got a value of an earlier call"
        try:
            jax.eval_shape(_fresh_copy(function), *like)
            program, result = jax.make_jaxpr(_fresh_copy(function), return_shape=True)(*like)
            if any(isinstance(number, Tracer) for number in program.consts):
                raise ModelError(kept)
            return result
        except ModelError:
            raise
        except ConfigError as error:  # it names what fails, as a loss of one's own does
            raise ModelError(f"model {self.model.name}: {error}") from error
        except jax.errors.UnexpectedTracerError:
            raise ModelError(kept) from None
        except (Exception, SystemExit) as error:  # of a user's function
            raise ModelError(f"model {self.model.name}: {field} fails: {one_line(error)}") from error

    def start(self) -> Any:
        """θ, from `init`."""
        params = self.traced("init", self.model.init, jax.random.key(0))
        if not jax.tree.leaves(params):
            raise self.refuse("init", "return parameters", _describe(params))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            place = f"init{jax.tree_util.keystr(path)}"
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise self.refuse("init", "return floating-point parameters", f"{place} of {leaf.dtype}")
            if leaf.dtype.itemsize < 4:
                raise self.refuse("init", "return parameters in float32 or float64", f"{place} of {leaf.dtype}")
            if leaf.size == 0:
                raise self.refuse("init", "return arrays of at least one parameter", f"{place} of shape {leaf.shape}")
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64), params)

    def mapping(self, field: str, function: Callable[..., Any]) -> Callable[..., dict[str, object]]:
        """A function that returns a mapping of names, as one that returns a dictionary."""

        def named(*args: Any) -> dict[str, object]:
            values = function(*args)
            if not isinstance(values, Mapping):
                raise self.refuse(field, "return a mapping of names to arrays", _describe(values))
            for name in values:
                if not isinstance(name, str):
                    raise self.refuse(field, "return a mapping whose names are words", repr(name))
            return dict(values)

        return named

    def coordinates(self, theta: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """z, from `invariants`; discrete ones may be whole numbers."""
        model = self.model
        z = self.traced("invariants", self.mapping("invariants", model.invariants), theta)
        if not z:
            raise self.refuse("invariants", "return at least one coordinate", "none")
        for name in model.discrete:
            if name not in z:
                raise self.refuse("discrete", f"name invariants ({', '.join(z)})", repr(name))
        for name, value in z.items():
            if not hasattr(value, "dtype"):
                raise self.refuse("invariants", f"return an array for {name}", _shapes(value))
            if name not in model.discrete and not jnp.issubdtype(value.dtype, jnp.floating):
                raise self.refuse("invariants", f"return real numbers for {name}", str(value.dtype))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64), z)

    def numbers(self, z: Mapping[str, jax.ShapeDtypeStruct]) -> None:
        """Scalars of a model without a chart, which are histogrammed as they are."""
        for name, value in z.items():
            if value.shape != ():
                raise self.refuse("scalars", f"return a number for {name}, shape ()", _shapes(value))

    def number(self, field: str, function: Callable[..., Any], *like: Any) -> None:
        """A function that returns one real number."""
        result = self.traced(field, function, *like)
        wanted = "return a real number, shape ()"
        if not (hasattr(result, "shape") and result.shape == ()):
            raise self.refuse(field, wanted, _shapes(result))
        if not jnp.issubdtype(result.dtype, jnp.floating):
            raise self.refuse(field, wanted, str(result.dtype))

    def array(self, field: str, function: Callable[..., Any], shape: tuple[int, ...], meaning: str, *like: Any) -> None:
        """A function that returns an array of a known shape."""
        result = self.traced(field, function, *like)
        if not (hasattr(result, "shape") and result.shape == shape):
            raise self.refuse(field, f"return shape {shape}, {meaning}", _shapes(result))

    def parameters(self, field: str, function: Callable[..., Any], theta: Any, *like: Any) -> None:
        """A function that returns parameters."""
        result = self.traced(field, function, *like)
        same = jax.tree.structure(result) == jax.tree.structure(theta)
        if not same or [leaf.shape for leaf in jax.tree.leaves(result)] != [x.shape for x in jax.tree.leaves(theta)]:
            raise self.refuse(field, f"return parameters as init does, {_shapes(theta)}", _shapes(result))

    def functions_of_z(self, z: Mapping[str, jax.ShapeDtypeStruct]) -> None:
        """Scalars, the flat measure, closed forms."""
        model = self.model
        if model.scalars is not None:
            scalars = self.traced("scalars", self.mapping("scalars", model.scalars), z)
            if not scalars:
                raise self.refuse("scalars", "return at least one number", "none")
            for name, value in scalars.items():
                if getattr(value, "shape", None) != ():
                    raise self.refuse("scalars", f"return a number for {name}, shape ()", _shapes(value))
        if model.flat is not None:
            self.number("flat[1]", model.flat[1], z)
        if model.slice_terms is not None:
            terms = self.traced("slice_terms", model.slice_terms, z)
            for name in ("log_det", "log_volume", "loss"):
                if not hasattr(terms, name):
                    raise self.refuse("slice_terms", "return SliceTerms", _shapes(terms))
                if getattr(getattr(terms, name), "shape", None) != ():
                    wanted = f"return a number for {name}, shape ()"
                    raise self.refuse("slice_terms", wanted, _shapes(getattr(terms, name)))

    def training(self, training: Training, theta: Any) -> None:
        """The examples, and the loss that they make."""
        task = training.task
        if not isinstance(task, Mapping):
            raise self.refuse("training.task", "be a mapping of names to arrays", _describe(task))
        for name in ("y", "weight"):
            if "x" in task and name not in task:
                raise self.refuse("training.task", f"have {name} beside x", f"a task of {', '.join(task)}")
        self.number("training.penalty", training.penalty, theta)
        self.number("training.risk", lambda params: training.risk(task, params), theta)
        if "x" in task:
            known = self.traced("training.task", lambda params: _data(task, params), theta)
            shape = self.predictions(training, theta, known, size_of(task))
            self.labels(training, training.example_loss.classes(shape[1:]))
        if training.fresh is not None:
            fresh = training.fresh
            normals = jax.ShapeDtypeStruct((PROBED, *fresh.shape), jnp.float64)
            examples = self.traced(
                "training.fresh.examples", lambda params, n: fresh.examples(cast(task, params), n), theta, normals
            )
            if not isinstance(examples, Examples):
                raise self.refuse("training.fresh.examples", "return Examples", _shapes(examples))
            self.predictions(training, theta, examples, PROBED)

    def predictions(self, training: Training, theta: Any, examples: Examples, count: int) -> tuple[int, ...]:
        """f(θ, x) and ℓ of it and a label; the shape of the predictions."""
        prediction = self.traced("training.predict", training.predict, theta, examples.x)
        shape = getattr(prediction, "shape", None)
        labels = getattr(examples.y, "shape", ())
        loss = training.example_loss
        if shape is None or shape[:1] != (count,):
            wanted = f"return one prediction for each of {count} examples, shape {labels}"
            raise self.refuse("training.predict", wanted, _shapes(prediction))
        if loss.labels == "classes":
            if shape[:-1] != labels or shape[-1] < 2:
                wanted = f"return a number for each of two or more classes, shape {labels} and an axis of classes"
                raise self.refuse("training.predict", f"{wanted} (loss {loss.name})", _shapes(prediction))
        elif loss.name in LOSSES:
            try:
                broadcast = jnp.broadcast_shapes(shape, labels)
            except ValueError:
                broadcast = None
            if broadcast != shape:
                raise self.refuse("training.predict", f"return the shape of the labels, {labels}", _shapes(prediction))
        if not loss.squared:
            one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), (prediction, examples.y))
            self.number("training.loss", loss.value, *one)
        return shape

    def labels(self, training: Training, classes: int) -> None:
        """Labels of a data set: signs are −1 or 1, classes whole numbers from 0 to below their number."""
        loss = training.example_loss
        try:
            check_labels(loss, np.asarray(training.task["y"], float), classes)
        except ValueError as error:
            raise ModelError(f"model {self.model.name}: training.task: {error}") from None


def _fresh_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A fresh copy of a function: JAX does not trace the same object twice."""

    def same(*args: Any) -> Any:
        return function(*args)

    return same


def _data(task: Mapping[str, Any], params: Any) -> Examples:
    known = cast(task, params)
    return Examples(known["x"], known["y"])


def _shapes(tree: Any) -> str:
    """A tree of arrays as the tree of their shapes."""
    if hasattr(tree, "shape"):
        return f"shape {tree.shape}"
    if not jax.tree.leaves(tree):
        return _describe(tree)
    return f"shapes {jax.tree.map(lambda leaf: tuple(leaf.shape), tree)}"


def _describe(value: Any) -> str:
    """Describe a value of the wrong kind in a few words."""
    text = repr(value) if isinstance(value, int | float | str | bool | type(None)) else f"a {type(value).__name__}"
    return text if len(text) < 80 else f"a {type(value).__name__}"
