"""Settings that every run has: what is chosen by name, the chains, the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langevin_ib.config.confinements import CONFINEMENTS
from langevin_ib.config.kinds import (
    AUTO,
    LIMIT,
    POSITIVE,
    Diagonal,
    Extension,
    Interval,
    ModelKind,
    Names,
    OneOf,
    Options,
    Text,
    Whole,
    YesNo,
)
from langevin_ib.config.processes import PROCESSES
from langevin_ib.config.settings import Settings, setting

if TYPE_CHECKING:
    from langevin_ib.models.base import Model

Auto = Literal["auto"]

# (one coordinate, many coordinates)
DEFAULT_CHAINS = (4096, 1024)
DEFAULT_STEPS = (400_000, 50_000)
DEFAULT_BINS = (40, 20)
MIN_CHAINS = 16  # chains are the independent unit of every error bar; fewer carry none
MAX_BINS = 1000


@dataclass(frozen=True)
class ChoiceSettings(Settings):
    """What is sampled: the model, the process, the confinement, by name."""

    group: ClassVar[str] = "model"
    place: ClassVar[int] = 0

    model: str | Model | Callable[..., Model] = setting(
        "uv", "uv, hadamard, relu, attention, matrix, rotation, or module:function", ModelKind(), shown=""
    )
    options: dict[str, Any] | None = setting(
        None, "options of the model, NAME=VALUE each", Options(), follows=("model",)
    )
    sampler: str = setting("langevin", "what trains the model", Extension("process", tuple(PROCESSES)))
    metric: tuple[float, ...] | None = setting(
        None,
        "diagonal of a constant metric g on the parameters; dynamics preconditioned by g⁻¹",
        Diagonal(),
        place=3,
        follows=("model",),
    )
    confine: str = setting(
        AUTO,
        "what makes the measure proper; auto: stiff, or none with sgd",
        Extension("confinement", tuple(CONFINEMENTS)),
        auto=True,
        group="protocol",
        follows=("sampler",),
    )


@dataclass(frozen=True)
class ChainSettings(Settings):
    """How many chains, how long, what is kept of them."""

    group: ClassVar[str] = "dynamics"
    place: ClassVar[int] = 0
    feeds: ClassVar[bool] = False

    chains: int = setting(AUTO, "independent chains", Whole(MIN_CHAINS, 10**7), auto=True, sized=DEFAULT_CHAINS)
    steps: int = setting(
        AUTO,
        "steps of a chain, with burn-in; sgd: 400 relaxation times after it",
        Whole(10, LIMIT),
        auto=True,
        sized=DEFAULT_STEPS,
        feeds=True,
        follows=("sampler",),
    )
    burn_in: int | Auto = setting(
        AUTO,
        "steps to discard; auto: a fifth (unconfined: 1/32 to 1/4; sgd: until χ has decayed and z relaxed)",
        Whole(0, LIMIT),
        auto=True,
        ruled=True,
        follows=("sampler",),
    )
    thin: int | Auto = setting(
        AUTO,
        "steps between recorded draws; auto: from the curvature",
        Whole(1, 10**6),
        auto=True,
        ruled=True,
        follows=("sampler",),
    )
    from_run: str | None = setting(
        None,
        "a finished run's folder: chains begin where its chains ended",
        Text("a folder", "RUN"),
    )
    from_cyclic: bool | None = setting(
        None, "more chains than it has take its ends again and again", YesNo(), shown="no"
    )
    precision: int = setting(32, "bits of the chains' floats", OneOf(32, 64), place=2)
    seed: int = setting(0, "seed of all randomness", Whole(0, LIMIT), place=2)


@dataclass(frozen=True)
class ComparisonSettings(Settings):
    """What is put into histograms, and how near is near."""

    group: ClassVar[str] = "comparison"
    place: ClassVar[int] = 0
    feeds: ClassVar[bool] = False

    window: tuple[float, float] | Auto = setting(
        AUTO, "LO HI: range of z that is compared", Interval(), auto=True, ruled=True, follows=("sampler",)
    )
    invariant: tuple[str, ...] | None = setting(
        None, "invariants to compare", Names(), shown="all of the model", follows=("model",)
    )
    bins: int = setting(AUTO, "histogram bins in the window", Whole(2, MAX_BINS), auto=True, sized=DEFAULT_BINS)
    law_draws: int | None = setting(
        None,
        "many coordinates: draws of the law that predictions rest on",
        Whole(10_000, 10**8),
        shown="512000",
        place=2,
    )
    margin: float = setting(0.01, "equivalence margin on total variation", POSITIVE, place=2)
