"""A report as HTML, a file that needs no other or a part of a notebook, by the templates beside this file."""

from __future__ import annotations

import base64
import itertools
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from jinja2 import Environment, PackageLoader, StrictUndefined

from langevin_ib.output.blocks import SENTENCE, Block, Lines, Report
from langevin_ib.output.folders import summary_json
from langevin_ib.plain import HasDict

# Whose versions decide numbers and pictures, as pip calls them.
PACKAGES = (
    "langevin-ib", "jax", "jaxlib", "numpy", "scipy", "blackjax", "numpyro", "optax", "arviz", "xarray", "matplotlib",
)  # fmt: skip


def page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The report as a file that needs no other: what came out, pictures, tables and lines, how to run it again.

    A picture that has its numbers is drawn anew from them by the page's script, where scripts run.

    Args:
        report: what is shown; all of its text is escaped.
        pictures: the content of each picture's PNG file, by its name.
    """
    charts = {picture.name: picture.chart() for picture in report.pictures if picture.chart is not None}
    return _render("page.html", report, pictures, charts)


def fragment(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The body of its page, without styles and scripts, for a page of others."""
    return _render("report.html", report, pictures, {})


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that are installed, among those that decide numbers and pictures."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # of a source folder that was never installed, for one
            continue
    return found


def _render(template: str, report: Report, pictures: Mapping[str, bytes], charts: Mapping[str, HasDict]) -> str:
    blocks = itertools.groupby(_in_order(report), key=lambda block: type(block).__name__)
    parts = {
        "report": report,
        "groups": [(kind, list(group)) for kind, group in blocks],
        "pictures": pictures,
        "charts": {name: _script_json(chart) for name, chart in charts.items()},
        "sentence": SENTENCE,
        "versions": versions(),
    }
    return _environment().get_template(template).render(parts)


def _in_order(report: Report) -> list[Block]:
    """Its blocks, conclusions first where it has no lead."""
    first = [block for block in report.blocks if not report.lead and isinstance(block, Lines) and block.concludes]
    return [*first, *(block for block in report.blocks if block not in first), *report.appendix]


def _script_json(chart: HasDict) -> str:
    """Its numbers inside a script element, which nothing in them can end."""
    text = json.dumps(json.loads(summary_json(chart.to_dict())), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


@cache
def _environment() -> Environment:
    loader = PackageLoader("langevin_ib.output")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["data_url"] = _data_url
    return environment


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
