"""Settings of the built-in confinements, and what the configuration's rules ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langevin_ib.config.kinds import POSITIVE
from langevin_ib.config.settings import Settings, setting
from langevin_ib.config.value_schedules import SCHEDULE

DEFAULT_WEIGHT_DECAY = 0.3
# (one coordinate, many coordinates): with many, a step costs more, and a softer confinement allows larger ones; it is
# compared at its finite κ all the same.
DEFAULT_KAPPA = (100.0, 20.0)


class ConfinementSettings(Settings):
    """Base of the settings of a confinement.

    Attributes:
        held: whether the chains are held on the slice χ = 0, by projection.
        kernel: the integrator of Langevin dynamics that goes with it by default.
        gibbs_only: whether it can be used only with a process that samples a Gibbs measure (`ProcessSettings.gibbs`).
    """

    held: ClassVar[bool] = False
    kernel: ClassVar[str] = "leimkuhler-matthews"
    gibbs_only: ClassVar[bool] = False


@dataclass(frozen=True)
class StiffSettings(ConfinementSettings):
    """κ of C = κ|χ|²/2."""

    group: ClassVar[str] = "protocol"
    gibbs_only: ClassVar[bool] = True

    kappa: float = setting(None, "κ of κ|χ|²/2, with stiff", POSITIVE, sized=DEFAULT_KAPPA)
    kappa_schedule: str | None = setting(
        None, "κ by step, as β by --beta-schedule; in place of kappa", SCHEDULE, changes="kappa"
    )


@dataclass(frozen=True)
class WeightDecaySettings(ConfinementSettings):
    """λ of C = λ|θ|²/2."""

    group: ClassVar[str] = "protocol"

    weight_decay: float = setting(DEFAULT_WEIGHT_DECAY, "λ of λ|θ|²/2, with weight-decay", POSITIVE)
    weight_decay_schedule: str | None = setting(
        None, "λ by step, as β by --beta-schedule; in place of weight_decay", SCHEDULE, changes="weight_decay"
    )


@dataclass(frozen=True)
class NoneSettings(ConfinementSettings):
    """ε of the slab |χ| < ε whose draws are kept."""

    group: ClassVar[str] = "protocol"

    slab: float | None = setting(
        None,
        "keep draws with |χ| < ε, with none",
        POSITIVE,
        shown="window's top × dimension of the group / 20",
        feeds=False,
        ruled=True,
        gibbs_only=True,
    )


class HardSettings(ConfinementSettings):
    """The slice itself, and nothing to set."""

    held: ClassVar[bool] = True
    kernel: ClassVar[str] = "projected"
    gibbs_only: ClassVar[bool] = True


class HardFixmanSettings(HardSettings):
    """The slice, with Fixman's term added."""


CONFINEMENTS: dict[str, type[ConfinementSettings]] = {
    "stiff": StiffSettings,
    "weight-decay": WeightDecaySettings,
    "none": NoneSettings,
    "hard": HardSettings,
    "hard-fixman": HardFixmanSettings,
}
