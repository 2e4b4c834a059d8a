"""The JSON schema of `summary.json`, which is shipped beside this module."""

from __future__ import annotations

import json
from importlib.resources import files

from langevin_ib.plain import JsonObject

FILE = "summary.schema.json"


def summary_schema() -> JsonObject:
    """The schema, draft 2020-12: closed but for names of laws and invariants, options of models and what plug-ins add.

    >>> summary_schema()["properties"]["schema_version"]
    {'const': 5}
    """
    return json.loads(files("langevin_ib.runs").joinpath(FILE).read_text(encoding="utf-8"))
