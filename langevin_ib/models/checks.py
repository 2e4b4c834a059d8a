"""Ranges of the builders' arguments: each check returns its value or raises one line, `NAME must be ..., got ...`."""

from __future__ import annotations

import math


def at_least(name: str, value: int, low: int, why: str = "") -> int:
    """A whole number from `low`.

    Raises:
        ValueError: it is smaller.

    >>> at_least("width", 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: width must be at least 1, got 0
    """
    if value < low:
        raise ValueError(f"{name} must be at least {low}{why and ', ' + why}, got {value}")
    return value


def non_negative(name: str, value: float) -> float:
    """A finite number from 0.

    Raises:
        ValueError: it is negative or not finite.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number from 0, got {value:g}")
    return value


def among(name: str, value: str, known: tuple[str, ...]) -> str:
    """One of some words.

    Raises:
        ValueError: it is another one.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value
