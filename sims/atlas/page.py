"""The page of the atlas: picture, legend, a table with every cell, and the settings and sentences behind each."""

from __future__ import annotations

from collections.abc import Mapping

from sims.atlas.cells import CHANGES, COLUMNS, ROWS, theory
from sims.atlas.reading import Cell, distance, title, with_error

HEAD = """# The atlas

Which reduced law do the draws obey? Models down, protocols and noises across.

![The atlas: five models under eight protocols and noises, each cell a histogram with the law that holds](atlas.png)

`python -m sims.atlas` runs every cell, one after the other, `--only CELL` some, `--missing` those that have no file,
and `--draw` draws picture and page from the result files in `docs/results/atlas` alone, each of which has the command,
the seed, the versions and the seconds that its run took. Every cell is one run on the full parameter space, seed 0, at
the package's defaults, but for what is said below under *Settings*, with what was changed there after first runs. Cells
that fail, are refused, stay undecided or have doubts are shown as they are. {ran} of {all} cells have been run.

## How to read a cell

- **c** is the exponent of exp(−ℓ/T) det G^(−c/2) dσ_S that fits the draws best, ± one standard error, with chains as
  the unit. The theorem of the paper is c = 1, eq. (8); a chain held on the slice has c = 0; the plain marginal tends to
  c = −1 where the group preserves volume, which that of ReLU neurons does not.
- **The law** is the run's own verdict: it *agrees* if the 95% upper bound of its total-variation distance TV is below
  the margin, 0.01. Of laws that agree, a limit of theory (slice, hard, pushforward) or SGD's own law (`map`, at its
  learning rate; (S), its limit, where there is no `map`) is named before `exact`, which is the marginal at the run's
  finite κ, λ or slab; a limit only if its c (1, 0, −1) lies in the 95% interval of the run's, where `exact` agrees too:
  at a distance below the margin a limit can have another c than the draws. The distance is that of the invariant that
  is furthest from the law. *Undecided* with one law: it neither agrees nor differs, and of the other laws of a protocol
  at most `exact` does not differ either.
- **≠ (6)**: the draws differ from eq. (6) of the paper as it is printed, exp(−ℓ/T) det G^(−1/2) read against dz.
  **≠ (8)**: they differ from its theorem, the same against the slice's surface measure; under SGD, at the temperature
  that fits them best. Of an unconfined marginal, which has no law to be judged: the 95% interval of its c leaves out 1.
  Without a mark the paper's law is not contradicted by this cell, which may be because nothing could be decided.
- **unconfined** is the plain marginal of the run without confinement in its last stretch of time: it drifts, and c is
  where it has come to. **slab** is the same run's draws with |χ| < ε.
- **refused**, **no law**: the reason is in the last table.

## The cells
"""
SETTINGS = """
## Settings

A cell's command is `python -m langevin_ib.sim` with the options of its row, of its column, and of the third table; its
file has it in one piece. What is below under *shorter* is there for a run to last about a minute. Shorter runs make
error bars wider, and verdicts undecided.
The settings of ReLU, attention and matrix under protocols were changed after first runs: draws of the laws from
32 000 to 256 000, because first runs of ReLU and attention with an eighth of the default or less were in doubt (halves
of those draws differed); with them chains from 256 to 512, and attention's steps from 10 000 to 20 000. SGD of
attention was tried with 64 chains of 10 000 steps, which had not mixed, and has 256 of 60 000.
Before, in drafts, chains, steps and draws of the laws of these rows and of Hadamard had been lowered, to shorten runs.
"""
REASONS = """
## What stands against a cell

Doubts, for which a run gives no verdict; and why there is no number or law, in the run's own words.
"""


def page(cells: Mapping[str, Cell]) -> str:
    """The whole page, in Markdown that MyST and any forge reads."""
    ran = [cell for cell in cells.values() if cell.file is not None]
    lines = [HEAD.format(ran=len(ran), all=len(cells))]
    for row, about in ROWS.items():
        lines += [f"### {about.title}", "", _row(["protocol or noise", "theory", "c", "law, TV", "the paper"])]
        lines += [_row(["---"] * 5)]
        lines += [_row(_entries(cells[f"{row}-{column}"], column)) for column in COLUMNS]
        lines.append("")
    lines.append(SETTINGS.lstrip())
    lines += _settings()
    lines += [REASONS, _row(["cell", "in the run's words"]), _row(["---"] * 2)]
    lines += [_row([_link(cell), words]) for cell in ran if (words := _words(cell))]
    return "\n".join(lines) + "\n"


def _settings() -> list[str]:
    """What rows, columns and single cells add to the command."""
    lines = [_row(["row", "options", "shorter, under protocols", "shorter, under SGD"]), _row(["---"] * 4)]
    for row in ROWS.values():
        lines.append(_row([row.title, *(_code(words) for words in (row.options, row.shorter, row.shorter_sgd))]))
    lines += ["", _row(["column", "options"]), _row(["---"] * 2)]
    lines += [_row([", ".join(column.title), _code(column.options)]) for column in COLUMNS.values()]
    lines += ["", _row(["cell", "options", "why"]), _row(["---"] * 3)]
    for (row, column), (options, why) in CHANGES.items():
        lines.append(_row([f"{row}-{column}", _code(options), why]))
    return lines


def _code(words: str) -> str:
    """Options as they are typed; nothing for none."""
    return f"`{words}`" if words else ""


def _row(entries: list[str]) -> str:
    """A row of a table, in which a bar is no border."""
    return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"


def _link(cell: Cell) -> str:
    """A cell's name, which leads to its file."""
    return f"[{cell.name}](results/atlas/{cell.name}.json)"


def _entries(cell: Cell, column: str) -> list[str]:
    """Its protocol, which leads to the file; theory; c; the law and its distance; where the paper says otherwise."""
    about = COLUMNS[column]
    words = ", ".join(about.title)
    if cell.file is None:
        return [words, theory(cell.name), "not run", "", ""]
    c = f"{with_error(cell.values['c'])} <!-- number: atlas/{cell.name}.c -->" if cell.c else "–"
    if cell.law is None or cell.drifts:
        law = cell.verdict if cell.c else f"{cell.headline}: {cell.verdict}"
    else:
        mark = f"<!-- number: atlas/{cell.name}.tv_{cell.law} -->"
        name = title(cell.law) + ("" if cell.decided else " undecided")
        law = f"{name}, TV {distance(cell.values[f'tv_{cell.law}'])} {mark}"
        if cell.law == "map" and "tv_sgd" in cell.values:
            law += f"; (S), TV {distance(cell.values['tv_sgd'])} <!-- number: atlas/{cell.name}.tv_sgd -->"
    against = f"**≠ ({'), ('.join(cell.against)})**" if cell.against else ""
    return [f"[{words}](results/atlas/{cell.name}.json)", theory(cell.name), c, law, against]


def _words(cell: Cell) -> str:
    """Doubts; why there is no number, where no law holds that would stand for it."""
    said = [f"in doubt: {'; '.join(doubts)}"] if (doubts := cell.more.get("doubts")) else []
    if not cell.c and not cell.law:
        said.append(cell.more["why"])
    return f"{'. '.join(said)} <!-- words: atlas/{cell.name} -->" if said else ""
