"""Draws of one's own as arrays: which of a model's numbers they are, in which order, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from langevin_ib.errors import DrawsError, one_line
from langevin_ib.models.base import Chart
from langevin_ib.runs.draw_files import assembled, of_dataset, read_draws

Kind = Literal["parameters", "invariants", "scalars"]
WHOLE = "theta"  # what parameters are called that are one array without a name
LEAST_DRAWS = 10  # of a chain
LEAST_CHAINS = 2
ARRAYS = "draws"  # what they are called in errors, where they are no file


class Given(NamedTuple):
    """Draws as they were given, checked.

    Attributes:
        kind: parameters; invariants, all coordinates of the quotient; or scalars, some numbers of a draw.
        names: of the arrays.
        values: flat parameters, coordinates in the chart's order, or scalars in the order of `names`.
        ignored: names that are none of the model's.
    """

    kind: Kind
    names: tuple[str, ...]
    values: Float[np.ndarray, "chain draw k"]
    ignored: tuple[str, ...] = ()


def source_of(draws: Any) -> str:
    """What draws are called in errors: the name of their file."""
    return str(draws) if isinstance(draws, str | Path) else ARRAYS


def given(draws: Any, chart: Chart, *, burn_in: int = 0) -> Given:
    """The draws, by the model's own names.

    Args:
        draws: the path of a file (`draw_files.read_draws`), an xarray dataset or tree, ArviZ's InferenceData, a
            mapping of names to arrays, a pytree of arrays like the model's parameters, or one array of them flat;
            with the axes (chain, draw, …).
        chart: of the model.
        burn_in: draws of each chain to leave out.

    Raises:
        DrawsError: names or shapes are not those of the model; numbers are not finite, or all whole; a chain does not
            move, or is another one again.
    """
    source = source_of(draws)
    if isinstance(draws, str | Path):
        draws = read_draws(draws)
    elif hasattr(draws, "data_vars") or hasattr(draws, "posterior"):
        draws = of_dataset(draws, source)
    matched = _matched(draws, chart, source)
    _check_lengths(matched.values.shape, burn_in, source)
    matched = matched._replace(values=matched.values[:, burn_in:])
    _check_numbers(matched, source)
    return matched


def _matched(draws: Any, chart: Chart, source: str) -> Given:
    leaves = _leaves(chart)
    structure = jax.tree.structure(chart.params_shape)
    if isinstance(draws, Mapping) and not any(isinstance(value, Mapping) for value in draws.values()):
        arrays = {str(name): _array(value, name, source) for name, value in draws.items()}
        return _by_name(assembled(arrays), chart, source)
    # A leaf is what is no container: a list of lists is an array.
    if hasattr(draws, "shape") or not isinstance(draws, Mapping | tuple):
        return _flat(_array(draws, "", source), WHOLE, chart, source)
    if jax.tree.structure(draws) != structure:
        raise DrawsError(f"{source}: they must be a pytree like the parameters, {_described(leaves)}")
    named = zip(leaves, jax.tree.leaves(draws), strict=True)
    return _parameters({name: _array(value, name, source) for name, value in named}, chart, source)


def _leaves(chart: Chart) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters, in the order in which they are flattened."""
    paths = jax.tree_util.tree_flatten_with_path(chart.params_shape)[0]
    return {
        ".".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)
        or WHOLE: tuple(leaf.shape)
        for path, leaf in paths
    }


def _described(leaves: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} (chain, draw{''.join(f', {n}' for n in shape)})" for name, shape in leaves.items())


def _array(value: Any, name: object, source: str) -> np.ndarray:
    label = f"{source}: {name}" if name else source
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)  # of PyTorch
    except (TypeError, ValueError, RuntimeError) as error:
        raise DrawsError(f"{label} is no array of numbers ({one_line(error)})") from None
    if array.dtype.kind not in "fiu":
        raise DrawsError(f"{label} must be an array of numbers, got one of {array.dtype}")
    return array.astype(np.float64)


def _by_name(arrays: dict[str, np.ndarray], chart: Chart, source: str) -> Given:
    leaves = _leaves(chart)
    if leaves.keys() <= arrays.keys():
        ignored = tuple(name for name in arrays if name not in leaves)
        return _parameters({name: arrays[name] for name in leaves}, chart, source)._replace(ignored=ignored)
    coordinates = _coordinates(arrays, chart)
    if coordinates is not None:
        names = tuple(name for name in arrays if name in {*chart.shapes, *chart.coordinate_names})
        ignored = tuple(name for name in arrays if name not in names)
        return Given("invariants", names, _stacked(coordinates, source), ignored)
    scalars = {name: arrays[name] for name in chart.scalar_names if name in arrays}
    if scalars:
        ignored = tuple(name for name in arrays if name not in scalars)
        return Given("scalars", tuple(scalars), _stacked(scalars, source), ignored)
    if len(arrays) == 1 and not leaves.keys() & arrays.keys():
        ((name, array),) = arrays.items()
        if array.ndim == 3 and array.shape[2] == _count(leaves):
            return _flat(array, name, chart, source)
    got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    raise DrawsError(
        f"{source}: they must have the parameters of {chart.model.name}, {_described(leaves)}, or its invariants, "
        f"{', '.join(chart.scalar_names)} (chain, draw); got {got}"
    )


def _count(leaves: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in leaves.values())


def _parameters(arrays: dict[str, np.ndarray], chart: Chart, source: str) -> Given:
    leaves = _leaves(chart)
    first = next(iter(arrays))
    for name, shape in leaves.items():
        array = arrays[name]
        if array.ndim < 2 or array.shape[2:] != shape:
            wanted = ", ".join(["chain", "draw", *map(str, shape)])
            raise DrawsError(f"{source}: {name} must have the shape ({wanted}), got {array.shape}")
        _check_alike(name, array, first, arrays[first], source)
    flat = [arrays[name].reshape(*arrays[name].shape[:2], math.prod(shape)) for name, shape in leaves.items()]
    return Given("parameters", tuple(leaves), np.concatenate(flat, axis=2))


def _flat(array: np.ndarray, name: str, chart: Chart, source: str) -> Given:
    leaves = _leaves(chart)
    if len(leaves) == 1 and array.ndim != 3:
        return _parameters({next(iter(leaves)): array}, chart, source)
    if array.ndim != 3 or array.shape[2] != _count(leaves):
        raise DrawsError(f"{source}: parameters must have the shape (chain, draw, {_count(leaves)}), got {array.shape}")
    return Given("parameters", (name,), array)


def _coordinates(arrays: Mapping[str, np.ndarray], chart: Chart) -> dict[str, np.ndarray] | None:
    """All coordinates of the chart, each by itself; None where one is missing."""
    found: dict[str, np.ndarray] = {}
    for name, shape in chart.shapes.items():
        own = chart.coordinate_names[len(found) : len(found) + chart.sizes[name]]
        if name in arrays and arrays[name].ndim >= 2 and arrays[name].shape[2:] == shape:
            parts = arrays[name].reshape(*arrays[name].shape[:2], len(own))
            found |= {each: parts[..., i] for i, each in enumerate(own)}
        elif all(each in arrays for each in own):
            found |= {each: arrays[each] for each in own}
        else:
            return None
    return found


def _stacked(arrays: Mapping[str, np.ndarray], source: str) -> np.ndarray:
    first = next(iter(arrays))
    for name, array in arrays.items():
        if array.ndim != 2:
            raise DrawsError(f"{source}: {name} must have the shape (chain, draw), got {array.shape}")
        _check_alike(name, array, first, arrays[first], source)
    return np.stack(list(arrays.values()), axis=-1)


def _check_alike(name: str, array: np.ndarray, first: str, other: np.ndarray, source: str) -> None:
    if array.shape[:2] != other.shape[:2]:
        raise DrawsError(
            f"{source}: {name} must have as many chains and draws as {first}, {other.shape[:2]}, got {array.shape[:2]}"
        )


def _check_lengths(shape: tuple[int, ...], burn_in: int, source: str) -> None:
    chains, draws = shape[:2]
    if chains < LEAST_CHAINS:
        raise DrawsError(
            f"{source}: at least {LEAST_CHAINS} chains are needed, for one cannot show whether it has settled, got "
            f"{chains}; the axes are (chain, draw, …)"
        )
    if draws - burn_in < LEAST_DRAWS:
        rest = f", {burn_in} of them dropped" if burn_in else ""
        raise DrawsError(
            f"{source}: at least {LEAST_DRAWS} draws of each chain are needed, got {draws}{rest}, of {chains} chains; "
            "the axes are (chain, draw, …)"
        )


def _check_numbers(matched: Given, source: str) -> None:
    values = matched.values
    wrong = ~np.isfinite(values)
    if wrong.any():
        chain, draw, _ = (int(i) for i in np.argwhere(wrong)[0])
        raise DrawsError(
            f"{source}: {int(wrong.sum())} of {wrong.size} numbers are not finite, the first in chain {chain} at draw "
            f"{draw} of those kept (both from 0)"
        )
    still = np.flatnonzero(np.all(np.ptp(values, axis=1) == 0, axis=1))
    if still.size:
        raise DrawsError(f"{source}: {still.size} of {len(values)} chains do not move, the first is chain {still[0]}")
    unique, first = np.unique(values.reshape(len(values), -1), axis=0, return_index=True)
    if len(unique) < len(values):
        again = next(i for i in range(len(values)) if i not in first)
        same = next(i for i in range(again) if np.array_equal(values[i], values[again]))
        raise DrawsError(f"{source}: chains {same} and {again} have the same draws")
    if (values == np.round(values)).all():
        raise DrawsError(
            f"{source}: all numbers are whole, as indices, labels or counts are: {matched.kind} of a model are real "
            "numbers, whose density the laws are"
        )
