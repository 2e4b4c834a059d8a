"""What a report is made of: tables, lines, pictures. A command makes a `Report`; terminal and page show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from matplotlib.figure import Figure

from langevin_ib.plain import HasDict

LINED = 3
SENTENCE = 32  # characters of a cell above which it is one, and may be broken


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: its heading.
        left: whether its cells stand at the left.
        spare: 0 if it is always shown; else its rank among those that a narrow terminal leaves out, 1 first. Those up
            to `LINED` go before the lines between columns do, the others after these.
        verdict: whether its cells are coloured by the verdict that they begin with.
    """

    title: str
    left: bool = False
    spare: int = 0
    verdict: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: headings.
        sections: rows in groups, between which there is a line.
        title: above it.
        legend: below it.
    """

    columns: tuple[Column, ...]
    sections: tuple[tuple[tuple[str, ...], ...], ...]
    title: str = ""
    legend: str = ""


class Linked(str):
    """A cell's text that leads somewhere on a page: to a file beside it, by a relative address."""

    __slots__ = ("href",)
    href: str

    def __new__(cls, text: str, href: str) -> Linked:
        made = super().__new__(cls, text)
        made.href = href
        return made


class Line(NamedTuple):
    """A sentence, and how it is shown: "", "bold", "dim" or "yellow", which warns."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Lines:
    """Sentences, under a heading on a page."""

    lines: tuple[Line, ...]
    title: str = ""

    @property
    def concludes(self) -> bool:
        """Whether all of them are conclusions, which are bold."""
        return bool(self.lines) and all(line.style == "bold" for line in self.lines)


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: of its file, without suffix.
        alt: what it shows, in words.
        draw: makes it.
        chart: its numbers, from which a page draws it anew where scripts run; None if it is shown as it is.
    """

    name: str
    alt: str
    draw: Callable[[], Figure]
    chart: Callable[[], HasDict] | None = None


Block: TypeAlias = Table | Lines | Picture


@dataclass(frozen=True)
class Report:
    """A result as it is shown, on a terminal and on a page; pictures, `appendix` and `config` on the page alone.

    Attributes:
        title: one line.
        blocks: in their order.
        appendix: what the page has below them.
        config: the settings, as the page lists them.
        lead: what was found, in one sentence, before everything else; a page without one begins with its conclusions.
        rerun: the command that does the same again, a line for each of its steps.
    """

    title: str
    blocks: tuple[Block, ...]
    appendix: tuple[Block, ...] = ()
    config: str = ""
    lead: str = ""
    rerun: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """In the order of the page."""
        return tuple(block for block in (*self.blocks, *self.appendix) if isinstance(block, Picture))

    @property
    def sentences(self) -> list[str]:
        """The conclusions: its bold lines.

        >>> Report("z", (Lines((Line("c = 1", "bold"), Line("R-hat 1.0"))),)).sentences
        ['c = 1']
        """
        lines = (line for block in self.blocks if isinstance(block, Lines) for line in block.lines)
        return [line.text for line in lines if line.style == "bold"]


def simple_table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], legend: str = "") -> Table:
    """A table whose first column stands at the left, the others at the right, all of them always shown."""
    headings = tuple(Column(name, left=i == 0) for i, name in enumerate(columns))
    return Table(headings, (tuple(rows),), title, legend)
