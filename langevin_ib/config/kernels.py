"""What the configuration's rules ask of the built-in kernels of Langevin dynamics; none has settings of its own."""

from __future__ import annotations

from typing import ClassVar

from langevin_ib.config.settings import Settings


class KernelSettings(Settings):
    """Base of the settings of a kernel.

    Attributes:
        held: whether it holds chains on the slice χ = 0.
        adjusted: whether an acceptance step removes the bias of its step size.
    """

    held: ClassVar[bool] = False
    adjusted: ClassVar[bool] = False


class LeimkuhlerMatthewsSettings(KernelSettings):
    """Nothing to set."""


class EulerMaruyamaSettings(KernelSettings):
    """Nothing to set."""


class MalaSettings(KernelSettings):
    """Nothing to set."""

    adjusted: ClassVar[bool] = True


class ProjectedSettings(KernelSettings):
    """Nothing to set."""

    held: ClassVar[bool] = True


KERNELS: dict[str, type[KernelSettings]] = {
    "leimkuhler-matthews": LeimkuhlerMatthewsSettings,
    "euler-maruyama": EulerMaruyamaSettings,
    "mala": MalaSettings,
    "projected": ProjectedSettings,
}
