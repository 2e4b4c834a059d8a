"""The result of a run, from the judge to the page, and `summary.json` as its plain form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from langevin_ib.config.run import RunConfig
from langevin_ib.plain import Json, JsonObject, fields_of, plain
from langevin_ib.runs.protocol import (
    ProtocolInfo,
    RunInfo,
    ScheduleInfo,
)
from langevin_ib.runs.verdicts import (
    DriftStretch,
    Group,
    InvariantResult,
    Joint,
    LawReference,
    Mixing,
    Nearest,
    Reference,
    StepCheck,
    coefficient_dict,
)
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Verdict
from langevin_ib.statistics.identities import Identity
from langevin_ib.statistics.learning import LearningCoefficient, Measured
from langevin_ib.statistics.records import Absent, Doubt

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from langevin_ib.runs.plan import Plan

SCHEMA_VERSION = 5


@runtime_checkable
class Details(Protocol):
    """What only one process has to say; a record of its own, which may have, besides:

    Attributes:
        doubts: a tuple of its own reasons why no verdict is given, each a `Doubt`.
        independent: by epochs, the variance of each scalar under the law of batches drawn with replacement.
        stationary: whether identities are those of a stationary law, not of steps.
    """

    def to_dict(self, result: Result) -> JsonObject:
        """Its keys in `summary.json`."""
        ...


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """What a run came to. It can be pickled: the model is then built anew, as its configuration names it, if it does.

    Attributes:
        plan: the configuration with every `auto` filled in, and the laws' common ground.
        run: how much was drawn.
        protocol: what was sampled.
        mixing: convergence of the chains.
        step_check: the run at h/2; None where it was not asked for.
        invariants: of each scalar that the configuration asks to see.
        coefficient: c of the family (F), one number for all coordinates together.
        missing: one line for each law that there is none of.
        doubts: reasons why no verdict is given.
        verdicts: of each law: differs if it does for some scalar, agrees if it does for all, else undecided.
        groups: laws within the margin of each other.
        joint: of many coordinates.
        drift: of an unconfined run.
        law_reference: of many coordinates.
        reference: MALA on the full space.
        nearest: where laws were fitted beside the process's own.
        details: what only this process has to say.
        identities: of the steps of the chains, each tested or not, and why not.
        learning: λ̂ at the run's temperature, or why there is none; None of a process without one.
        against: of draws of one's own, what speaks against the law that they are said to have, and no other.
        trace: {"value": (chain, draw, scalar), "charge": (chain, draw, m), "energy" (ℓ/T), "potential" ((ℓ + C(s))/T),
            "counts": (chain, draw)}, thinned and capped; SGD: T = 1.
        checkpoints: the folder with the states of its stages, which `output.store.save` removes; None without.
        schedule: what is judged where values change along the run; None where none does.

    >>> import langevin_ib
    >>> config = RunConfig(beta=10.0, chains=64, steps=2000, step_check=False, reference="none")
    >>> result = langevin_ib.run(config)
    >>> result.to_xarray()["posterior"]["z"].dims
    ('chain', 'draw')
    >>> result.invariants["z"].laws["slice"].about.measure
    'dσ_S'
    """

    plan: Plan
    run: RunInfo
    protocol: ProtocolInfo
    mixing: Mixing
    step_check: StepCheck | Absent | None
    invariants: dict[str, InvariantResult]
    coefficient: Coefficient | Absent
    missing: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    verdicts: dict[str, Verdict]
    groups: tuple[Group, ...]
    joint: Joint | Absent | None
    drift: tuple[DriftStretch, ...] | None
    law_reference: LawReference | None
    reference: Reference | None
    nearest: Nearest | None
    details: Details | None
    trace: dict[str, np.ndarray]
    identities: tuple[Identity | Absent, ...] = ()
    against: tuple[Doubt, ...] = ()
    checkpoints: Path | None = None
    learning: LearningCoefficient | Absent | None = None
    schedule: ScheduleInfo | None = None

    def to_dict(self) -> JsonObject:
        """The content of `summary.json`, as plain data; its schema is shipped as `runs/summary.schema.json`."""
        config = self.plan.config
        return {
            "schema_version": SCHEMA_VERSION,
            "config": config.to_dict(),
            "temperature": config.temperature if config.process.gibbs else None,
            "run": plain(self.run),
            "protocol": plain(self.protocol),
            "diagnostics": fields_of(self.mixing) | {"step_check": _step_check_dict(self.step_check)},
            "identities": [
                {"name": one.what, "why": one.why} if isinstance(one, Absent) else plain(one) for one in self.identities
            ],
            "learning_coefficient": learning_dict(self.learning),
            "doubts": [doubt.text for doubt in self.doubts],
            "invariants": {
                name: {
                    **invariant.to_dict(),
                    "unavailable": list(self.missing),
                    "correction": coefficient_dict(self.coefficient),
                }
                for name, invariant in self.invariants.items()
            },
            "verdicts": plain(self.verdicts),
            "groups": plain(self.groups),
            "joint": {"law": self.joint.what, "why": self.joint.why}
            if isinstance(self.joint, Absent)
            else plain(self.joint),
            "drift": None if self.drift is None else {"stationary": False, "stretches": plain(self.drift)},
            "law_reference": plain(self.law_reference),
            "reference": plain(self.reference),
            **({} if self.schedule is None else {"schedule": plain(self.schedule)}),
            **({} if self.details is None else self.details.to_dict(self)),
        }

    @property
    def fits(self) -> dict[str, dict[str, float | None]]:
        """The T and c of each law that was fitted."""
        laws = next(iter(self.invariants.values())).laws
        fitted = {name: law for name, law in laws.items() if law.about.role == "fitted"}
        return {name: {"temperature": law.temperature, "c": law.c} for name, law in fitted.items()}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`to_dict()`, kept."""
        return self.to_dict()

    def __repr__(self) -> str:
        """Model, c and verdicts in one line; the summary has the rest."""
        said = [] if isinstance(self.coefficient, Absent) else [f"c = {self.coefficient}"]
        said += [f"{law} {verdict}" for law, verdict in self.verdicts.items()]
        said += [f"{len(self.doubts)} doubt{'s' * (len(self.doubts) != 1)}"] if self.doubts else []
        return f"Result({', '.join([self.plan.config.model_name, *said])})"

    def save(self, out: str | Path) -> Path:
        """Write the folder of this run into `out`; returns it. See `langevin_ib.output.store.save`.

        Raises:
            OSError: it cannot be written.
        """
        from langevin_ib.output.store import save  # noqa: PLC0415 - with Matplotlib, as what follows

        return save(self, out)

    def to_xarray(self) -> xr.DataTree:
        """The thinned draws, as in `draws.nc`: scalars, χ, ℓ/T and (ℓ + C)/T in the group `posterior`.

        Its dimensions are (chain, draw), and (chain, draw, generator) of χ. ArviZ's statistics take the group's
        dataset, in 0.x and 1.x alike: `arviz.rhat(result.to_xarray()["posterior"].to_dataset())`.

        These are all draws, whether or not they lie in the window, inside which alone the laws are normalised and
        judged. Cut them before they are held against a law, with `low, high = langevin_ib.law("exact", config).window`:
        `draws.where((draws > low) & (draws < high))`. Those of an unconfined run belong to the slab |χ| < ε as well.
        """
        from langevin_ib.output.dataset import draws  # noqa: PLC0415 - with xarray

        return draws(self)

    def plot(self) -> Figure:
        """Its picture: each invariant's histogram with every law, and the residuals."""
        from langevin_ib.output.histogram import figure  # noqa: PLC0415
        from langevin_ib.output.plots import closed  # noqa: PLC0415

        return closed(figure(self))

    def _repr_html_(self) -> str:
        """What a notebook shows: the body of its page."""
        from langevin_ib.output.folders import png  # noqa: PLC0415
        from langevin_ib.output.page import fragment  # noqa: PLC0415
        from langevin_ib.output.report import run_report  # noqa: PLC0415

        report = run_report(self)
        return fragment(report, {picture.name: png(picture.draw()) for picture in report.pictures})

    def __eq__(self, other: object) -> bool:
        """The same numbers, NaN equal to NaN; of the plan all but the model's functions, which a pickle builds anew."""
        if not isinstance(other, Result):
            return NotImplemented
        return all(_same(getattr(self, spec.name), getattr(other, spec.name)) for spec in dataclasses.fields(self))

    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]  # it has arrays

    def __getstate__(self) -> dict[str, object]:
        """Without what is made anew."""
        return {name: value for name, value in self.__dict__.items() if name != "summary"}


def learning_dict(learning: LearningCoefficient | Absent | None) -> JsonObject | None:
    """λ̂ with its error, or null and the reason, as in `summary.json`; null of a process without a temperature."""
    if learning is None:
        return None
    if isinstance(learning, Absent):
        return {"value": None, "why": learning.why}
    every, lowest = learning.all_draws, learning.lowest
    absent = isinstance(every, Absent)
    told = {"value": None, "se": None, "why": every.why} if absent else {**fields_of(every), "why": None}
    return {
        **told,
        "window": plain(learning.window) if isinstance(learning.window, Measured) else None,
        "regular": learning.regular,
        "loss_min": lowest.loss,
        "loss_min_tolerance": lowest.tolerance,
        "starts": lowest.starts,
        "ends": lowest.ends,
        "lowest_seen": learning.seen,
        "below": learning.below,
        "step_change": plain(learning.step_change),
    }


def _step_check_dict(check: StepCheck | Absent | None) -> Json:
    return {"verdict": "undecided", "why": check.why} if isinstance(check, Absent) else plain(check)


def _same(first: Any, second: Any) -> bool:
    """Equal content, through records, mappings and arrays; functions are not looked at."""
    if type(first) is not type(second):
        return False
    if isinstance(first, RunConfig):  # a model that was given as an object goes by its name after a pickle
        return first.to_dict() == second.to_dict()
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(map(_same, first, second))
    if dataclasses.is_dataclass(first):
        return all(
            _same(getattr(first, spec.name), getattr(second, spec.name))
            for spec in dataclasses.fields(first)
            if spec.name != "reduction"
        )
    if isinstance(first, float) and np.isnan(first):
        return bool(np.isnan(second))
    return bool(first == second)
