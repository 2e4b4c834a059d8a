"""Settings of the built-in confinements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langevin_ib.config.settings import Settings


@dataclass(frozen=True)
class ConfinementSettings(Settings):
    """What every confinement's settings say besides.

    Attributes:
        held: whether chains are held on the slice by projection.
        processes: that it can be used in.
    """

    held: ClassVar[bool] = False
    processes: ClassVar[tuple[str, ...]] = ("langevin", "sgd")


@dataclass(frozen=True)
class StiffSettings(ConfinementSettings):
    """κ of κ|χ|²/2."""

    processes: ClassVar[tuple[str, ...]] = ("langevin",)
    kappa: float = 100.0


@dataclass(frozen=True)
class WeightDecaySettings(ConfinementSettings):
    """λ of λ|θ|²/2."""

    weight_decay: float = 0.3


@dataclass(frozen=True)
class NoneSettings(ConfinementSettings):
    """ε of the slab |χ| < ε whose draws are kept."""

    slab: float | None = None


@dataclass(frozen=True)
class HardSettings(ConfinementSettings):
    """None of its own."""

    held: ClassVar[bool] = True
    processes: ClassVar[tuple[str, ...]] = ("langevin",)


@dataclass(frozen=True)
class HardFixmanSettings(HardSettings):
    """None of its own."""
