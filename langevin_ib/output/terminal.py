"""A report on a terminal: tables no wider than that is, a line for each sentence."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from langevin_ib.output.blocks import LINED, SENTENCE, Column, Line, Lines, Report, Table

# Of the palette of 256, each about as far from white as from black (contrast 4.4 to 4.8; of the red 3.9 and 5.4), for
# the yellow of many terminals cannot be read on white. Where there are but 16, those nearest to them.
GREEN, RED, ORANGE = "color(28)", "color(160)", "color(130)"
COLOURS = {"agrees": f"bold {GREEN}", "differs": f"bold {RED}", "undecided": f"bold {ORANGE}"}
INDENT = "  "
STYLES = {"yellow": ORANGE}  # of lines, where a terminal has another than their name
UNBOUNDED = 1000  # a table measures what it is cut to, so it is measured on a page that cuts nothing


def show(report: Report, console: Console) -> None:
    """What was found, the title, then tables and lines in their order; the rest is for the page."""
    if report.lead:
        _print_line(Line(report.lead, "bold"), console)
        console.print()
    _print_line(Line(report.title, "" if report.lead else "bold"), console)
    for block in report.blocks:
        if isinstance(block, Table):
            show_table(block, console)
        elif isinstance(block, Lines):
            for line in block.lines:
                _print_line(line, console)


def show_table(table: Table, console: Console) -> None:
    """A table, and its legend below it.

    Where the terminal is too narrow and the table can spare columns, sentences in cells are broken into lines, then
    columns are left out, then the lines between them, then more of them: a distance or a verdict that is cut says
    nothing. If nothing else helps, cells are folded.
    """
    ranks = sorted({0, *(column.spare for column in table.columns)})
    last = max(rank for rank in ranks if rank <= LINED)
    forms = [_Form(0, whole=True), *(_Form(rank) for rank in ranks if rank <= last)]
    if len(ranks) > 1:
        forms += [_Form(rank, bare=True) for rank in ranks if rank >= last]
    page = console.options.update(width=UNBOUNDED)
    grids = (_grid(table, form) for form in forms)
    fitting = (grid for grid in grids if console.measure(grid, options=page).maximum <= console.width)
    console.print(next(fitting, None) or _grid(table, forms[-1]._replace(folded=True)))
    if table.legend:
        _print_line(Line(table.legend, "dim"), console)


class _Form(NamedTuple):
    """How a table is fitted: without columns up to a rank; sentences whole, no lines between columns, cells folded."""

    spared: int
    whole: bool = False
    bare: bool = False
    folded: bool = False


def _grid(table: Table, form: _Form) -> Grid:
    # The tables of studies are wide: they have no room at their edges.
    edges = not form.bare and any(column.verdict for column in table.columns)
    grid = Grid(title=escape(table.title) or None, title_justify="left", pad_edge=edges)
    if form.bare:
        grid.box, grid.padding = None, (0, 1, 0, 0)
    shown = [place for place, column in enumerate(table.columns) if not 0 < column.spare <= form.spared]
    for column in (table.columns[place] for place in shown):
        justify = "left" if column.left else "right"
        grid.add_column(escape(column.title), justify=justify, no_wrap=not form.folded, overflow="fold")
    filled = not form.whole and any(column.spare for column in table.columns)
    for rows in table.sections:
        for row in rows:
            grid.add_row(*(_cell(table.columns[place], row[place], filled) for place in shown))
        grid.add_section()
    return grid


def _cell(column: Column, text: str, filled: bool) -> str | Text:
    """As it is: brackets in a name are no markup."""
    if column.verdict and text.strip():
        return Text(text, style=COLOURS.get(text.split(maxsplit=1)[0], ""))
    if filled and not column.spare:  # a sentence in place of a number pushes no other column out
        text = textwrap.fill(text, SENTENCE, break_long_words=False)
    return escape(text)


def _print_line(line: Line, console: Console) -> None:
    """On a terminal broken between words, the rest further in; whole in a file or a pipe, where it is searched for."""
    text = line.text
    if console.is_terminal:
        text = textwrap.fill(
            text, console.width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
        )
    console.print(Text(text, style=STYLES.get(line.style, line.style)), soft_wrap=True)
