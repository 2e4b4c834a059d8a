"""The option `--scheduler`: who computes, other processes or machines; it changes no number."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from langevin_ib.errors import ConfigError, UsageError

ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):\d{1,5}")
LOCAL = re.compile(r"local(:0*[1-9]\d{0,3})?")
NEEDED = ("distributed", "flatbuffers")


def add_scheduler(parser: Any, given: str) -> None:
    """The option, in a parser or a group of one; `given` is what a scheduler is given."""
    text = f"local, local:N or ADDRESS: {given} to processes of this machine or to a Dask scheduler; changes no number"
    parser.add_argument("--scheduler", metavar="WHERE", help=text)


def parse_scheduler(text: str | None) -> str | None:
    """What was typed, if it can be one; None where nothing was.

    Raises:
        ConfigError: it is neither `local`, `local:N`, nor an address.
        UsageError: Dask is not installed.

    >>> parse_scheduler("local:2"), parse_scheduler("tcp://10.0.0.1:8786")
    ('local:2', 'tcp://10.0.0.1:8786')
    """
    if text is None:
        return None
    if not (LOCAL.fullmatch(text) or (ADDRESS.fullmatch(text) and not text.startswith("local:"))):
        raise ConfigError(
            "scheduler", "local, local:N or the address of a Dask scheduler, HOST:PORT", text or "nothing"
        )
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"--scheduler needs pip install {' '.join(missing)}, which the extra dask has too")
    return text
