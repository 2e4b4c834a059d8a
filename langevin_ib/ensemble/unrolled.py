"""A step of one chain as scalar arithmetic: every entry of every array an array of its own over the chains.

XLA's loops over (chain, 2) arrays of `vmap`, with their slices and pads of two, are several times slower on a CPU than
the same arithmetic on one array for each number, which it fuses into one pass over registers (`sims/bench/steps.py`).
`unroll` evaluates the jaxpr of a one-chain function with NumPy's object arrays of such columns: what only moves entries
about (slices, reshapes, transposes, gathers at fixed places) is done by index while tracing and costs nothing at run
time; products of matrices become sums of products. What is multiplied by a constant 0 or 1 is left out, so that 0
times an infinity is 0 here. What is not known for certain to be the same is left to `vmap`.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

log = logging.getLogger(__name__)
MOST = 800  # scalar operations of a step; of more, XLA compiles for seconds and gains nothing over `vmap`
Columns = np.ndarray  # of dtype object: arrays over chains, or constants

# Primitives that only move entries about, and those that do where the places are constants.
MOVES = frozenset(
    (
        "broadcast_in_dim", "concatenate", "copy", "expand_dims", "pad", "reshape", "rev", "slice", "split", "squeeze",
        "transpose",
    )
)  # fmt: skip
PICKS = frozenset(("gather", "dynamic_slice"))
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "remat2": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
}  # fmt: skip
REDUCED = {
    "reduce_sum": operator.add,
    "reduce_max": lambda x, y: _of_kind(np.maximum, jnp.maximum, x, y),
    "reduce_min": lambda x, y: _of_kind(np.minimum, jnp.minimum, x, y),
}
ENTRYWISE = frozenset(
    (
        "abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "convert_element_type", "cos", "cosh", "div", "eq",
        "erf", "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p",
        "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow", "rsqrt", "select_n", "sign", "sin",
        "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor",
    )
)  # fmt: skip


class CannotUnrollError(Exception):
    """A primitive that is none of these, or too many operations."""


class _Count:
    """Scalar operations so far."""

    def __init__(self) -> None:
        self.done = 0

    def add(self, operations: int) -> None:
        self.done += operations
        if self.done > MOST:
            raise CannotUnrollError(f"more than {MOST} operations")


# Columns of each leaf of a one-chain function's arguments ↦ columns of each leaf of its result.
Unrolled = Callable[[Sequence[Columns]], list[Columns]]


def unroll(function: Callable[..., PyTree], *like: PyTree) -> Unrolled | None:
    """The function on columns; None where it cannot be, or would be too long.

    Args:
        function: of one chain.
        like: its arguments' shapes.

    >>> doubled = unroll(lambda x: 2.0 * x @ x, jnp.zeros(2))
    >>> (result,) = doubled([columns_of(jnp.array([[1.0, 2.0], [0.0, 3.0]]))])
    >>> joined(result).tolist()
    [10.0, 18.0]
    """
    closed = jax.make_jaxpr(function)(*like)

    def call(arguments: Sequence[Columns]) -> list[Columns]:
        return _evaluate(closed, list(arguments), _Count())

    one = [jax.ShapeDtypeStruct((1, *np.shape(leaf)), leaf.dtype) for leaf in jax.tree.leaves(like)]

    def trial(leaves: list[Any]) -> list[Any]:
        return [joined(columns) for columns in call([columns_of(leaf) for leaf in leaves])]

    try:
        found = jax.tree.leaves(jax.eval_shape(trial, one))
    except CannotUnrollError:
        return None
    except Exception as error:  # a primitive in a form that was not met before: slower, but right
        log.info("a step is left to vmap: %s", error)
        return None
    wanted = [(getattr(aval, "shape", None), getattr(aval, "dtype", None)) for aval in closed.out_avals]
    return call if [(leaf.shape[1:], leaf.dtype) for leaf in found] == wanted else None


def passed_on(function: Callable[..., PyTree], *like: PyTree) -> dict[int, int]:
    """Which leaves of a function's result are leaves of its arguments, untouched: {of the result: of the arguments}.

    >>> passed_on(lambda x, y: (x + y, x), 1.0, 2.0)
    {1: 0}
    """
    program = jax.make_jaxpr(function)(*like).jaxpr
    places = {variable: i for i, variable in enumerate(program.invars)}
    found = {i: places.get(variable) for i, variable in enumerate(program.outvars) if not isinstance(variable, Literal)}
    return {i: place for i, place in found.items() if place is not None}


def in_pairs(columns: Sequence[Any]) -> list[Any]:
    """Neighbouring columns of one float type as real and imaginary part of a complex one, others as they are.

    XLA on a CPU computes each output of a loop's body by itself, with all that leads to it: half as many outputs are
    half the work. Nothing is computed with the complex numbers.

    >>> in_pairs([jnp.ones(1), jnp.zeros(1), jnp.ones(1)])
    [Array([1.+0.j], dtype=complex64), Array([1.], dtype=float32)]
    """
    packed, left = [], list(columns)
    while left:
        first = left.pop(0)
        paired = left and first.dtype == left[0].dtype and first.dtype in (jnp.float32, jnp.float64)
        packed.append(jax.lax.complex(first, left.pop(0)) if paired else first)
    return packed


def out_of_pairs(packed: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """The way back: one column for each entry of leaves like these."""
    wanted = [leaf.dtype for leaf in like for _ in range(leaf.size)]
    columns: list[Any] = []
    for column in packed:
        split = jnp.iscomplexobj(column) and not jnp.issubdtype(wanted[len(columns)], jnp.complexfloating)
        columns += [jax.lax.real(column), jax.lax.imag(column)] if split else [column]
    return columns


def columns_of(leaf: Any) -> Columns:
    """A leaf (chain, …) as columns."""
    flat = jnp.reshape(leaf, (leaf.shape[0], -1))
    return filled((flat[:, i] for i in range(flat.shape[1])), leaf.shape[1:])


def joined(columns: Columns, chains: int | None = None) -> Any:
    """Columns as a leaf (chain, …); constants among them take the others' length, or that of `chains`."""
    entries = list(columns.reshape(-1))
    length = next((entry.shape[0] for entry in entries if not _is_constant(entry)), chains or 1)
    full = [jnp.broadcast_to(jnp.asarray(entry), (length,)) for entry in entries]
    return jnp.stack(full, axis=-1).reshape(length, *columns.shape)


def filled(entries: Iterable[Any], shape: tuple[int, ...]) -> Columns:
    """Entries in an array of objects."""
    # Through a flat view: NumPy would take an array that is put at the place () for one to be copied.
    out = np.empty(shape, object)
    flat = out.reshape(-1)
    for i, entry in enumerate(entries):
        flat[i] = entry
    return out


def _constants(value: Any) -> Columns:
    array = np.asarray(value)
    return filled(array.reshape(-1), array.shape)


def _is_constant(entry: Any) -> bool:
    return isinstance(entry, np.generic | int | float | bool)


def _of_kind(of_constants: Callable[..., Any], of_columns: Callable[..., Any], x: Any, y: Any) -> Any:
    return of_constants(x, y) if _is_constant(x) and _is_constant(y) else of_columns(x, y)


def _evaluate(closed: ClosedJaxpr | Jaxpr, arguments: list[Columns], count: _Count) -> list[Columns]:
    jaxpr: Any = getattr(closed, "jaxpr", closed)  # that of a remat is open
    constants = getattr(closed, "consts", ())
    known: dict[Any, Columns] = dict(zip(jaxpr.constvars, map(_constants, constants), strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Columns:
        return _constants(variable.val) if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        values = [read(variable) for variable in equation.invars]
        dtypes = [variable.aval.dtype for variable in equation.invars]
        known |= dict(zip(equation.outvars, _apply(equation, values, dtypes, count), strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _apply(equation: Any, values: list[Columns], dtypes: list[Any], count: _Count) -> list[Columns]:
    name, parameters = equation.primitive.name, equation.params
    if name in CALLS:
        inner = parameters[CALLS[name]]
        return _evaluate(inner, values, count)
    if name == "stop_gradient":
        return values
    if name in MOVES or name in PICKS:
        return _move(equation, values, dtypes)
    if name == "iota":
        with jax.ensure_compile_time_eval():
            return [_constants(equation.primitive.bind(**parameters))]
    if name in REDUCED:
        return [_reduce(REDUCED[name], values[0], tuple(map(int, parameters["axes"])), count)]
    if name == "dot_general":
        return [_product(values[0], values[1], parameters["dimension_numbers"], count)]
    if name in ENTRYWISE:
        return [_entrywise(equation, values, dtypes, count)]
    raise CannotUnrollError(name)


def _move(equation: Any, values: list[Columns], dtypes: list[Any]) -> list[Columns]:
    """What goes where, found by moving indices."""
    picks = equation.primitive.name in PICKS
    moved, fixed = (values[:1], values[1:]) if picks else (values, [])
    if not all(_is_constant(entry) for value in fixed for entry in value.reshape(-1)):
        raise CannotUnrollError(f"{equation.primitive.name} at places that depend on the chain")
    ends = np.cumsum([value.size for value in moved])
    entries = np.concatenate([value.reshape(-1) for value in moved])
    with jax.ensure_compile_time_eval():
        indices = [
            jnp.arange(end - value.size, end).reshape(value.shape) for end, value in zip(ends, moved, strict=True)
        ]
        places = [
            jnp.asarray(value.tolist(), dtype).reshape(value.shape)
            for value, dtype in zip(fixed, dtypes[1 : 1 + len(fixed)], strict=True)
        ]
        # A place out of bounds may give a number that is not among the entries: here it gives −1.
        outside = {"fill_value": -1} if equation.primitive.name == "gather" else {}
        results = equation.primitive.bind(*indices, *places, **(equation.params | outside))
        found = [np.asarray(result) for result in (results if equation.primitive.multiple_results else [results])]
    if any(np.any(result < 0) for result in found):
        raise CannotUnrollError(f"{equation.primitive.name} out of bounds")
    return [filled((entries[i] for i in result.reshape(-1)), result.shape) for result in found]


def _entrywise(equation: Any, values: list[Columns], dtypes: list[Any], count: _Count) -> Columns:
    shape = np.broadcast_shapes(*(value.shape for value in values))
    flat = [np.broadcast_to(value, shape).reshape(-1) for value in values]
    name = equation.primitive.name
    simple = {"add": _add, "add_any": _add, "mul": _multiply}.get(name)

    def one(*entries: Any) -> Any:
        count.add(1)
        if simple is not None:
            return simple(*entries)
        if name == "integer_pow" and equation.params["y"] == 2:
            return _multiply(entries[0], entries[0])
        return _bind(equation, entries, dtypes)

    return filled(map(one, *flat), shape)


def _bind(equation: Any, entries: tuple[Any, ...], dtypes: list[Any]) -> Any:
    length = next((entry.shape for entry in entries if not _is_constant(entry)), None)
    if length is None:
        with jax.ensure_compile_time_eval():
            constants = [jnp.asarray(entry, dtype) for entry, dtype in zip(entries, dtypes, strict=True)]
            return np.asarray(equation.primitive.bind(*constants, **equation.params))[()]
    full = [
        jnp.full(length, entry, dtype) if _is_constant(entry) else entry
        for entry, dtype in zip(entries, dtypes, strict=True)
    ]
    return equation.primitive.bind(*full, **equation.params)


def _reduce(operation: Callable[[Any, Any], Any], value: Columns, axes: tuple[int, ...], count: _Count) -> Columns:
    kept = [axis for axis in range(value.ndim) if axis not in axes]
    shape = tuple(value.shape[axis] for axis in kept)
    if not value.size:
        raise CannotUnrollError("a sum of nothing")
    rows = value.transpose(*kept, *axes).reshape(int(np.prod(shape)), -1)
    count.add(value.size)
    operation = _add if operation is operator.add else operation
    return filled((reduce(operation, row) for row in rows), shape)


def _product(left: Columns, right: Columns, dimensions: Any, count: _Count) -> Columns:
    """Σ over the contracted axes, batch axes first."""
    (left_sum, right_sum), (left_batch, right_batch) = dimensions
    left_free = [axis for axis in range(left.ndim) if axis not in (*left_sum, *left_batch)]
    right_free = [axis for axis in range(right.ndim) if axis not in (*right_sum, *right_batch)]
    batch = [left.shape[axis] for axis in left_batch]
    rows, columns = [left.shape[axis] for axis in left_free], [right.shape[axis] for axis in right_free]
    groups, above, across = (int(np.prod(lengths)) for lengths in (batch, rows, columns))
    inner = int(np.prod([left.shape[axis] for axis in left_sum]))
    if not inner * left.size * right.size:
        raise CannotUnrollError("a sum of nothing")
    a = left.transpose(*left_batch, *left_free, *left_sum).reshape(groups, above, inner)
    b = right.transpose(*right_batch, *right_free, *right_sum).reshape(groups, across, inner)
    count.add(2 * groups * above * across * inner)
    sums = (reduce(_add, map(_multiply, x, y)) for k in range(len(a)) for x in a[k] for y in b[k])
    return filled(sums, (*batch, *rows, *columns))


def _add(x: Any, y: Any) -> Any:
    if _is_constant(x) and x == 0:
        return y
    if _is_constant(y) and y == 0:
        return x
    return x + y


def _multiply(x: Any, y: Any) -> Any:
    for constant, other in ((x, y), (y, x)):
        if _is_constant(constant):
            if constant == 0:
                return constant
            if constant == 1:
                return other
    return x * y
