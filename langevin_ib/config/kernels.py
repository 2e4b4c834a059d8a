"""What the configuration's rules ask of the built-in kernels of Langevin dynamics; none has settings of its own."""

from __future__ import annotations

from typing import ClassVar

from langevin_ib.config.settings import Settings

NORMAL, FOUR_POINT = INCREMENTS = "normal", "four-point"


class KernelSettings(Settings):
    """Base of the settings of a kernel.

    Attributes:
        held: whether it holds chains on the slice χ = 0.
        adjusted: whether an acceptance step removes the bias of its step size.
        increments: that may drive it; without an acceptance step normals may give way to other numbers with their
            first moments.
        dear: by how many a run's default number of steps is divided, for a step that costs so much more.
        scheduled: whether it can be built for a temperature that is an array, and so for one that changes along a run.
    """

    held: ClassVar[bool] = False
    adjusted: ClassVar[bool] = False
    increments: ClassVar[tuple[str, ...]] = (NORMAL,)
    dear: ClassVar[int] = 1
    scheduled: ClassVar[bool] = False


class LeimkuhlerMatthewsSettings(KernelSettings):
    """Nothing to set."""

    increments: ClassVar[tuple[str, ...]] = (FOUR_POINT, NORMAL)
    scheduled: ClassVar[bool] = True


class EulerMaruyamaSettings(KernelSettings):
    """Nothing to set."""

    increments: ClassVar[tuple[str, ...]] = (FOUR_POINT, NORMAL)
    scheduled: ClassVar[bool] = True


class MalaSettings(KernelSettings):
    """Nothing to set."""

    adjusted: ClassVar[bool] = True
    dear: ClassVar[int] = 4


class ProjectedSettings(KernelSettings):
    """Nothing to set."""

    held: ClassVar[bool] = True
    dear: ClassVar[int] = 4
    increments: ClassVar[tuple[str, ...]] = (FOUR_POINT, NORMAL)


KERNELS: dict[str, type[KernelSettings]] = {
    "leimkuhler-matthews": LeimkuhlerMatthewsSettings,
    "euler-maruyama": EulerMaruyamaSettings,
    "mala": MalaSettings,
    "projected": ProjectedSettings,
}
