"""A report as HTML, a file that needs no other or a part of a notebook, by the templates beside this file."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from langevin_ib.output.blocks import SENTENCE, Report


def page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The report's title, blocks, appendix and settings, in that order; pictures that follow each other side by side.

    Args:
        report: what is shown; all of its text is escaped.
        pictures: the content of each picture's PNG file, by its name.
    """
    return _render("page.html", report, pictures)


def fragment(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The body of its page, without styles, for a page of others."""
    return _render("report.html", report, pictures)


def _render(template: str, report: Report, pictures: Mapping[str, bytes]) -> str:
    blocks = itertools.groupby((*report.blocks, *report.appendix), key=lambda block: type(block).__name__)
    groups = [(kind, list(group)) for kind, group in blocks]
    parts = {"report": report, "groups": groups, "pictures": pictures, "sentence": SENTENCE}
    return _environment().get_template(template).render(parts)


@cache
def _environment() -> Environment:
    loader = PackageLoader("langevin_ib.output")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["data_url"] = _data_url
    return environment


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
