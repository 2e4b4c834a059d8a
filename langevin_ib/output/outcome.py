"""The output of an experiment: `summary.json`, pictures, one page, and the recovered arrays."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from langevin_ib.output.folders import png, summary_json, write, write_folder

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Table:
    """A table of the page: title, columns, rows of text, and a line under it."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    legend: str = ""


@dataclass(frozen=True)
class Outcome:
    """One experiment, ready to be written.

    Attributes:
        name: of the folder and of `sims.<name>`.
        title: one line.
        config: everything that decides the numbers; its digest names the folder.
        numbers: the summary's own keys.
        tables: of the page, and printed.
        sentences: the conclusions.
        pictures: {file name without suffix: picture}; the first is the paper's figure redrawn.
        recovered: arrays of `recovered.npz`.
        notes: qualifications of the numbers.
    """

    name: str
    title: str
    config: dict[str, Any]
    numbers: dict[str, Any]
    tables: list[Table]
    sentences: list[str]
    pictures: Mapping[str, Figure]
    recovered: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """`<name>-<digest of the configuration>`."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.name}-{digest}"

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        head = {"schema_version": SCHEMA_VERSION, "experiment": self.name, "title": self.title, "config": self.config}
        return {**head, **self.numbers, "sentences": self.sentences, "notes": self.notes}


def save_outcome(outcome: Outcome, out: str | Path) -> Path:
    """Write the folder; returns it.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """

    def fill(fresh: Path) -> None:
        write(fresh / "summary.json", summary_json(outcome.summary))
        images = {}
        for name, picture in outcome.pictures.items():
            images[name] = png(picture)
            write(fresh / f"{name}.png", images[name])
        if outcome.recovered:
            arrays: dict[str, Any] = dict(outcome.recovered)
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            write(fresh / "recovered.npz", buffer.getbuffer())
        write(fresh / "report.html", _build_page(outcome, images))

    return write_folder(Path(out) / outcome.folder, fill)


def show(outcome: Outcome, console: Console) -> None:
    """Tables, sentences and notes on a terminal."""
    console.print(Text(outcome.title, style="bold"), soft_wrap=True)
    for table in outcome.tables:
        rich_table = RichTable(title=table.title, title_justify="left", pad_edge=False)
        for i, column in enumerate(table.columns):
            rich_table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in table.rows:
            rich_table.add_row(*row)
        console.print(rich_table)
        if table.legend:
            console.print(Text(table.legend, style="dim"), soft_wrap=True)
    for line in outcome.sentences:
        console.print(Text(line, style="bold"), soft_wrap=True)
    for line in outcome.notes:
        console.print(Text(line), soft_wrap=True)


def _build_page(outcome: Outcome, images: Mapping[str, bytes]) -> str:
    pictures = "".join(
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'
        for name, image in images.items()
    )
    tables = "".join(_html_table(table) for table in outcome.tables)
    items = "".join(f"<li>{html.escape(line)}</li>" for line in outcome.sentences)
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in outcome.notes)
    title = html.escape(outcome.title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.45; }}
table {{ border-collapse: collapse; margin-bottom: .5rem; }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
img {{ max-width: 27rem; width: 100%; vertical-align: top; }}
pre {{ background: #f5f5f5; padding: .7rem; overflow-x: auto; }}
</style></head><body>
<h1>{title}</h1>
<ul>{items}</ul>
{pictures}
{tables}
{notes}
<h2>Configuration</h2><pre>{html.escape(json.dumps(outcome.config, indent=1))}</pre>
</body></html>
"""


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    legend = f"<p>{html.escape(table.legend)}</p>" if table.legend else ""
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{body}</table>{legend}"


def banded(band: Mapping[str, Any] | None) -> str:
    """`median [5%, 95%]`, to three digits, or a count of seeds; the median alone for a single seed.

    >>> banded({"median": 0.5, "low90": 0.25, "high90": 1.0})
    '0.5 [0.25, 1]'
    """
    if band is None:
        return "–"
    if "of" in band:
        return f"{band['count']} of {band['of']}"
    if band["low90"] == band["high90"]:
        return f"{band['median']:.3g}"
    return f"{band['median']:.3g} [{band['low90']:.3g}, {band['high90']:.3g}]"


def ensemble_of(seeds: int) -> str:
    """The number of seeds in words.

    >>> ensemble_of(1), ensemble_of(32)
    ('1 seed', '32 seeds')
    """
    return f"{seeds} seed{'s' * (seeds != 1)}"


def captioned(title: str, first: str, numbers: Mapping[str, Any], legend: str) -> Table:
    """`numbers["rows"]` as a table, the numbers of the paper's caption, `numbers["caption"]`, beside ours."""
    labels = list(next(iter(numbers["rows"].values())))
    body = []
    for name, row in numbers["rows"].items():
        stated = numbers["caption"].get(name, {})
        cells = [banded(row[x]) + (f" (caption {stated[x]:.3g})" if x in stated else "") for x in labels]
        body.append((name, *cells))
    return Table(title, (first, *labels), body, legend)
