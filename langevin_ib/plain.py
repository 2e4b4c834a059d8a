"""Plain data: what JSON and TOML hold, and how records become it. Dictionaries with string keys begin here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
else:
    Json: TypeAlias = object  # what checks types at run time follows no alias into itself
JsonObject: TypeAlias = dict[str, Json]


@runtime_checkable
class HasDict(Protocol):
    """A record that is not its fields in a file."""

    def to_dict(self) -> JsonObject:
        """Its plain form."""
        ...


@runtime_checkable
class ArrayLike(Protocol):
    """An array or a number of NumPy or JAX, neither of which is imported here."""

    def tolist(self) -> Json:
        """As lists of Python's numbers."""
        ...


def plain(value: object) -> Json:
    """Records, mappings, sequences and arrays as plain data; numbers and words as they are.

    A record is its fields, unless it has a form of its own, `to_dict()`.

    Raises:
        TypeError: something else is among them.

    >>> from typing import NamedTuple
    >>> class Point(NamedTuple):
    ...     x: float
    ...     tags: tuple[str, ...]
    >>> plain({"at": Point(1.0, ("a", "b")), "none": None})
    {'at': {'x': 1.0, 'tags': ['a', 'b']}, 'none': None}
    >>> class Own(Point):
    ...     def to_dict(self):
    ...         return {"at": self.x}
    >>> plain([Own(1.0, ())])
    [{'at': 1.0}]
    >>> plain({"what": object()})
    Traceback (most recent call last):
        ...
    TypeError: object is no plain data
    """
    if isinstance(value, ArrayLike):  # arrays of NumPy and JAX, and their numbers; neither is imported here
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, HasDict) and not isinstance(value, type):
        return value.to_dict()
    if _is_record(value):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is no plain data")


def fields_of(record: object, *names: str) -> JsonObject:
    """A record's fields as plain data: all of them, or these.

    Raises:
        TypeError: it is none, or a field is no plain data.

    >>> from langevin_ib.stages import Resumed
    >>> fields_of(Resumed("sampling", 40, 400), "stage", "step")
    {'stage': 'sampling', 'step': 40}
    >>> fields_of({"step": 40})
    Traceback (most recent call last):
        ...
    TypeError: dict is no record
    """
    if not _is_record(record):
        raise TypeError(f"{type(record).__name__} is no record")
    return {name: plain(getattr(record, name)) for name in names or _names(record)}


def _is_record(value: object) -> bool:
    """Whether it is a dataclass or a named tuple."""
    return not isinstance(value, type) and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))


def _names(record: Any) -> Iterable[str]:
    return record._fields if hasattr(record, "_fields") else (spec.name for spec in dataclasses.fields(record))
