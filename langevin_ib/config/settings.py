"""Settings as declarations: what every record of settings has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of one extension, each with a default."""
