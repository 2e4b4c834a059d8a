"""Plug-ins with settings of their own, or faults, for `test_settings.py`: no JAX, so that what is tried is quick."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

from langevin_ib.config.confinements import ConfinementSettings
from langevin_ib.config.kernels import KernelSettings
from langevin_ib.config.kinds import BELOW_ONE, POSITIVE, Whole
from langevin_ib.config.noises import NoiseSettings
from langevin_ib.config.processes import LangevinSettings, ProcessSettings
from langevin_ib.config.settings import same_as, setting


@dataclass(frozen=True)
class RingSettings(ConfinementSettings):
    """Radius of a ring."""

    radius: float = setting(1.5, "radius of the ring", POSITIVE)


@dataclass(frozen=True)
class ClashSettings(ConfinementSettings):
    """A setting that is called as one of a built-in confinement."""

    kappa: float = setting(1.0, "another κ", POSITIVE)


class BareSettings(ConfinementSettings):
    """Not a dataclass."""

    radius: float = setting(1.5, "radius of the ring", POSITIVE)


@dataclass(frozen=True)
class TakenSettings(ConfinementSettings):
    """A setting that is called as an option of the command line."""

    out: float = setting(1.5, "radius of the ring", POSITIVE)


@dataclass(frozen=True)
class UnderdampedSettings(LangevinSettings):
    """Langevin dynamics and one setting more."""

    friction: float = setting(0.5, "friction γ", POSITIVE)


class HeldSettings(ConfinementSettings):
    """Held on the slice by a kernel of its own."""

    held: ClassVar[bool] = True
    gibbs_only: ClassVar[bool] = True
    kernel: ClassVar[str] = "odd_settings:SHAKE"


@dataclass(frozen=True)
class ShakeSettings(KernelSettings):
    """Iterations of a projection."""

    held: ClassVar[bool] = True

    iterations: int = setting(3, "iterations of a projection", Whole(1, 99))


class SignsSettings(NoiseSettings):
    """Nothing to set, and no strength that labels could have."""


@dataclass(frozen=True)
class FlipSettings(NoiseSettings):
    """A number with one default for all models, and one that depends on how many coordinates they have."""

    flip_rate: float = setting(0.1, "probability that a label changes its sign", BELOW_ONE)
    lanes: int = setting(None, "labels that change together", Whole(1, 99), sized=(1, 8))


@dataclass(frozen=True)
class SeedsSettings(NoiseSettings):
    """A setting that is called as one of an attribution, of which a run knows nothing."""

    seeds: int = setting(1, "seeds of something", Whole(1, 99))


@dataclass(frozen=True)
class SlowSettings(ProcessSettings):
    """A process that takes β as Langevin dynamics does, and friction."""

    beta: float = same_as(LangevinSettings, "beta")
    friction: float = setting(0.5, "friction γ", POSITIVE)


class DriftingSettings(ProcessSettings):
    """A process that samples no Gibbs measure, unconfined by default."""

    confine: ClassVar[str] = "none"
    gibbs: ClassVar[bool] = False


RING = SimpleNamespace(settings=RingSettings)
CLASH = SimpleNamespace(settings=ClashSettings)
BARE = SimpleNamespace(settings=BareSettings)
TAKEN = SimpleNamespace(settings=TakenSettings)
UNDERDAMPED = SimpleNamespace(settings=UnderdampedSettings)
HELD = SimpleNamespace(settings=HeldSettings)
SHAKE = SimpleNamespace(settings=ShakeSettings)
FLIPS = SimpleNamespace(settings=FlipSettings)
SEEDS = SimpleNamespace(settings=SeedsSettings)
SIGNS = SimpleNamespace(settings=SignsSettings)
SLOW = SimpleNamespace(settings=SlowSettings)
DRIFTING = SimpleNamespace(settings=DriftingSettings)
NONE = SimpleNamespace()
