"""The JSON schema of a study's `summary.json`, which is shipped beside this module."""

from __future__ import annotations

import json
from importlib.resources import files

from langevin_ib.plain import JsonObject

FILE = "summary.schema.json"


def summary_schema() -> JsonObject:
    """The schema, draft 2020-12: closed but for names of rows, quantities, arms and parts, a model's options, and the
    settings of a noise of another package.

    >>> summary_schema()["properties"]["schema_version"]
    {'const': 3}
    """
    return json.loads(files("langevin_ib.studies").joinpath(FILE).read_text(encoding="utf-8"))
