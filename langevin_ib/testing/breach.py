"""What a check raises, and the one line that it says."""

from __future__ import annotations

from langevin_ib.errors import LangevinIBError


class ConformanceError(LangevinIBError, AssertionError):
    """A plug-in breaks its contract: says which check, and by how much."""


def hold(condition: object, words: str) -> None:
    """Raise where a condition does not hold.

    >>> hold(True, "nothing is said")
    """
    if not condition:
        raise ConformanceError(words)
