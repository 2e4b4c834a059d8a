"""What a process hands to the judge: laws and plan before the first draw, then the draws and their checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from langevin_ib.laws.candidates import Candidate
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.learning import Lowest
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Sample, Sums

if TYPE_CHECKING:
    from langevin_ib.background import Later
    from langevin_ib.config.processes import ProcessSettings
    from langevin_ib.config.run import RunConfig
    from langevin_ib.runs.plan import Plan
    from langevin_ib.runs.predictions import SampledPredictions
    from langevin_ib.runs.protocol import ScheduleInfo
    from langevin_ib.runs.result import Details
    from langevin_ib.runs.verdicts import LawReference
    from langevin_ib.session import Session
    from langevin_ib.stages import Stages


@dataclass(frozen=True)
class Prepared:
    """A run before any draw of the chains that are judged.

    Attributes:
        plan: the configuration without `auto`, and what it implies.
        candidates: the laws that the draws are held against.
        missing: one line for each law that there is none of.
        doubts: reasons not to trust the laws.
        coefficient: sums of t = −½ log det G ↦ the c of the family (F) that they show, or why there is none.
        share: scalar ↦ the exact law's share of its window, or why it is not known; None where no law is exact.
        stationary: whether the draws have a stationary law.
        at_rest: whether every chain ends in a point, so that there is nothing to judge.
        sampled: the law's draws, of a model of many coordinates; for the joint test and the coverage.
        law_reference: what the summary says of them.
        remedy: what is said, besides, where no draw falls into a window.
        lowest: the lowest loss that an optimiser finds, from which λ̂ is measured; None where there is no T.
        improper: why a mean over all draws is that of no law; None where it is one.
        own: what else the process needs to draw.
        schedule: what is judged where values change along the run; None where none does.
        law_again: the law by another sampler, which no plan waits for: what the summary says of both samplers, and the
            doubts about either; None where no law is sampled, or `law_reference` has it already.
    """

    plan: Plan
    candidates: tuple[Candidate, ...]
    missing: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    coefficient: Callable[[Sums], Coefficient | Absent]
    share: Callable[[str], float | Absent | None]
    stationary: bool
    at_rest: bool = False
    sampled: SampledPredictions | None = None
    law_reference: LawReference | None = None
    remedy: tuple[str, ...] = ()
    lowest: Callable[[], Lowest] | None = None
    improper: str | None = None
    own: Any = None
    schedule: ScheduleInfo | None = None
    law_again: Later[tuple[LawReference, tuple[Doubt, ...]]] | None = None

    def completed(self, report: Stages | None = None) -> Prepared:
        """With what the other sampler of the law has to say, waited for if need be; `report` is told of the stage."""
        if self.law_again is None:
            return self
        if report is not None:
            report("law again")
        reference, doubts = self.law_again.result()
        return replace(self, law_reference=reference, doubts=(*self.doubts, *doubts), law_again=None)


@dataclass(frozen=True)
class Check:
    """Another ensemble that the draws are held against.

    Attributes:
        sampler: what made it.
        sample: its draws.
        step_size: its step.
        bias_factor: Richardson's factor, by which the bias at h exceeds the distance measured.
        reference: whether it has no bias of its own, so that it is held against the exact law too; else it is the
            same dynamics at another step. A run has one of each at most.
    """

    sampler: str
    sample: Sample
    step_size: float
    bias_factor: float = 1.0
    reference: bool = False


@dataclass(frozen=True)
class Draws:
    """The chains that are judged, and what they are checked by.

    Attributes:
        main: their sums.
        step_size: h, or η.
        wall_s: seconds that sampling took.
        checks: other ensembles.
        starts: χ at the starts of the chains, where the process looks at it.
    """

    main: Sample
    step_size: float
    wall_s: float
    checks: tuple[Check, ...] = ()
    starts: np.ndarray | None = None


class Process(NamedTuple):
    """A noisy dynamics that a run samples.

    Attributes:
        settings: the class of its settings.
        prepare: fills in every `auto`, and says which laws there are; before any draw of the chains.
        draw: the chains that are judged, and those that they are checked by.
        details: what only this process has to say, a record with `to_dict(result)`, its keys in `summary.json`; it may
            have `doubts` and `independent` too (`result.Details`). None if nothing.
    """

    settings: type[ProcessSettings]
    prepare: Callable[[RunConfig, Session], Prepared]
    draw: Callable[[Prepared, Session], Draws]
    details: Callable[[Prepared, Draws], Details | None]
