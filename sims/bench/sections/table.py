"""What a section is given, and what it prints: a table, whose rows also go into the JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Cell = str | int | float


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        chains: numbers of chains of the rates.
        seconds: of one measurement, about.
        repeats: interleaved rounds; medians are over these.
        quick: whether only what shows that everything runs, and roughly how fast, is measured.
        only: parts of names of peers that take part, beside the package's own; all if there is none.
    """

    chains: tuple[int, ...]
    seconds: float
    repeats: int
    quick: bool
    only: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a peer takes part."""
        return not self.only or name.startswith("ours") or any(part in name for part in self.only)


@dataclass(frozen=True)
class Table:
    """A heading, columns and rows, lines below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For a terminal: columns of equal width, the first to the left."""
        cells = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        first, *others = widths
        lines = [
            "  ".join([row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], others, strict=True))])
            for row in cells
        ]
        return "\n".join([self.title, *(f"  {line.rstrip()}" for line in lines), *(f"  {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """For JSON: rows by the names of the columns, numbers that are not finite as null."""
        rows = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": self.notes}


class Spread(NamedTuple):
    """The median of some rounds, and their extremes."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_shown(self.median)} [{_shown(self.low)}, {_shown(self.high)}]"


def spread(values: Sequence[float]) -> Spread:
    """Of rounds."""
    return Spread(float(np.median(values)), float(np.min(values)), float(np.max(values)))


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return str(cell)


def _plain(cell: Cell) -> Cell | None:
    return None if isinstance(cell, float) and not np.isfinite(cell) else cell
