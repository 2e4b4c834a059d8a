"""Settings of the built-in kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langevin_ib.config.settings import Settings


@dataclass(frozen=True)
class KernelSettings(Settings):
    """What every kernel's settings say besides.

    Attributes:
        held: whether its chains are held on the slice.
        adjusted: whether its draws have no discretisation bias.
    """

    held: ClassVar[bool] = False
    adjusted: ClassVar[bool] = False


@dataclass(frozen=True)
class EulerMaruyamaSettings(KernelSettings):
    """None of its own."""


@dataclass(frozen=True)
class LeimkuhlerMatthewsSettings(KernelSettings):
    """None of its own."""


@dataclass(frozen=True)
class MalaSettings(KernelSettings):
    """None of its own."""

    adjusted: ClassVar[bool] = True


@dataclass(frozen=True)
class ProjectedSettings(KernelSettings):
    """None of its own."""

    held: ClassVar[bool] = True
