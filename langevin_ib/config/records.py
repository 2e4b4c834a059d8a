"""Records of extensions, loaded by name and checked for their kind."""

from __future__ import annotations

from typing import TypeVar

from langevin_ib.config.extensions import SETTING, Kind, load
from langevin_ib.errors import ConfigError

T = TypeVar("T")


def record(kind: Kind, name: str, wanted: type[T]) -> T:
    """The record that goes by a name, imported now.

    Raises:
        ConfigError: there is none, or it is no `wanted`.
    """
    return checked_record(kind, name, load(kind, name), wanted)


def checked_record(kind: Kind, name: str, found: object, wanted: type[T]) -> T:
    """What goes by a name, if it is a record of its kind.

    Raises:
        ConfigError: it is no `wanted`.
    """
    if not isinstance(found, wanted):
        raise ConfigError(SETTING[kind], f"a {wanted.__name__}", f"{name}, which is a {type(found).__name__}")
    return found
