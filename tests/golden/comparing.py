"""Two results of the same form, compared: words and whole numbers exactly, floats to a tolerance."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent / "stored"


def slug(name: str) -> str:
    """A case's name as that of a file."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)


def plain(value: Any) -> Any:
    """What is left of a value when it has been written as JSON and read again."""
    return json.loads(json.dumps(value))


def load(name: str) -> Any:
    """A stored JSON file."""
    return json.loads((STORED / name).read_text(encoding="utf-8"))


def differences(
    stored: Any,
    new: Any,
    *,
    relative: float,
    absolute: float,
    loose: dict[str, tuple[float, float]] | None = None,
    place: str = "",
) -> list[str]:
    """One line for each difference: another key, length, word, whole number, or a float outside the tolerance.

    Args:
        stored: JSON values.
        new: JSON values.
        relative: |new − stored| ≤ relative · |stored| + absolute is no difference.
        absolute: see there.
        loose: {pattern: (relative, absolute)} of places, as `/masses/exact/z/3`, with a tolerance of their own.
        place: where these values stand.
    """
    options: dict[str, Any] = {"relative": relative, "absolute": absolute, "loose": loose}
    if isinstance(stored, dict) and isinstance(new, dict):
        lines = [f"{place}/{key}: only {'stored' if key in stored else 'new'}" for key in stored.keys() ^ new.keys()]
        for key in stored.keys() & new.keys():
            lines += differences(stored[key], new[key], place=f"{place}/{key}", **options)
        return sorted(lines)
    if isinstance(stored, list) and isinstance(new, list):
        if len(stored) != len(new):
            return [f"{place}: {len(stored)} stored, {len(new)} new: {stored} and {new}"]
        pairs = enumerate(zip(stored, new, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, place=f"{place}/{i}", **options)]
    if isinstance(stored, float) and isinstance(new, float):
        for pattern, tolerance in (loose or {}).items():
            if re.search(pattern, place):
                relative, absolute = tolerance
        same = stored == new or (math.isnan(stored) and math.isnan(new))
        if same or abs(new - stored) <= relative * abs(stored) + absolute:
            return []
        return [f"{place}: {stored!r} stored, {new!r} new, off by {abs(new - stored):.2g}"]
    return [] if type(stored) is type(new) and stored == new else [f"{place}: {stored!r} stored, {new!r} new"]
