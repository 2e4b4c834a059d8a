"""Plain data: what JSON and TOML hold, and how records become it. Dictionaries with string keys begin here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
else:
    Json: TypeAlias = object  # what checks types at run time follows no alias into itself
JsonObject: TypeAlias = dict[str, Json]


def plain(value: object) -> Json:
    """Records, mappings, sequences and arrays as plain data, by their fields; numbers and words as they are.

    Raises:
        TypeError: something else is among them.

    >>> from typing import NamedTuple
    >>> class Point(NamedTuple):
    ...     x: float
    ...     tags: tuple[str, ...]
    >>> plain({"at": Point(1.0, ("a", "b")), "none": None})
    {'at': {'x': 1.0, 'tags': ['a', 'b']}, 'none': None}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {spec.name: plain(getattr(value, spec.name)) for spec in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's and JAX's; neither is imported here
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain data")
