"""The result of a run: records from the judge to the page, and `summary.json` as their plain form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from langevin_ib.config.run import RunConfig
from langevin_ib.config.value_schedules import read_schedule
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.plain import Json, JsonObject, fields_of, plain
from langevin_ib.stages import Resumed
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison, Verdict
from langevin_ib.statistics.energy import Dependence, JointTest
from langevin_ib.statistics.identities import Identity
from langevin_ib.statistics.learning import LearningCoefficient, Measured
from langevin_ib.statistics.records import Absent, Doubt, Meter, NoiseMeasured

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from langevin_ib.laws.map import AboutMap
    from langevin_ib.laws.sgd import OwnError
    from langevin_ib.runs.plan import Plan

SCHEMA_VERSION = 5
GRAVITY = ("agrees", "undecided", "differs")


@dataclass(frozen=True)
class RunInfo:
    """How much was drawn, and how fast.

    Attributes:
        chains, steps, draws: numbers of chains, of steps of each, of draws of all.
        step_size: h, or η; None of draws of one's own.
        time: h × steps, or Σ η_n.
        threads: that ran the chains.
        wall_s: seconds of sampling.
        chain_steps_per_s: chains × steps over them.
        total_wall_s: seconds of the whole run.
        resumed: stages that went on from a checkpoint.
        refused: a sentence for each checkpoint that was found and not continued.
        note: what kept the run from all cores, as a sentence; None if nothing.
    """

    chains: int
    steps: int
    draws: int
    step_size: float | None
    time: float | None
    threads: int
    wall_s: float
    chain_steps_per_s: int
    total_wall_s: float = 0.0
    resumed: tuple[Resumed, ...] = ()
    refused: tuple[str, ...] = ()
    note: str | None = None


class Elsewhere(NamedTuple):
    """A minimum of the reduced loss that the window leaves out: where, and how far above the lowest in units of T."""

    at: float
    height: float


CANONICAL = 1e-6  # relative departure from eqs. (40) and (42) that counts as none


class SliceDepartures(NamedTuple):
    """How far χ is from eqs. (40) and (42), relative, and what the second changes in log det G; see `geometry`."""

    equation_40: float
    canonical_gap: float
    log_det_spread: float


class Changing(NamedTuple):
    """A value that changes: its schedule, its value that laws go by, and those at both ends of what is judged."""

    schedule: str
    judged: float
    ends: tuple[float, ...]


class Move(NamedTuple):
    """A stretch of a run whose values change: its steps, the values in the middle, of each scalar mean and distance.

    The distance `tv` is the total variation to the histogram of the last stretch.
    """

    steps: tuple[int, int]
    values: dict[str, float]
    mean: dict[str, float]
    tv: dict[str, float]


@dataclass(frozen=True)
class ScheduleInfo:
    """What is judged of a run whose values change along it.

    Attributes:
        values: of each setting that changes.
        steps: from, to: those whose draws are judged.
        ended: whether all values are constant by then.
        relaxation: steps in which the slowest coordinate relaxes, at the values that are judged.
        waited: relaxation times between the last change and the first draw; None where values go on.
        lag: the largest relative change of a value in a relaxation time, from five of them before those steps on; None
            where they have ended, as what follows.
        change: the largest relative change over the stretch.
        shift: total variation between the laws at both ends of it; None where they are not integrated.
        moves: how the histogram moves up to there.
    """

    values: dict[str, Changing]
    steps: tuple[int, int]
    ended: bool
    relaxation: float
    waited: float | None = None
    lag: float | None = None
    change: float | None = None
    shift: float | None = None
    moves: tuple[Move, ...] = ()

    @property
    def moved(self) -> float:
        """By how much the law moves while it is judged, as far as that is known."""
        return (self.change or 0.0) if self.shift is None else self.shift

    def words(self) -> str:
        """What is judged, in one sentence."""
        each = "; ".join(f"{name} {read_schedule(of.schedule).words()}" for name, of in self.values.items())
        values = ", ".join(f"{name} = {of.judged:.6g}" for name, of in self.values.items())
        if self.ended:
            return f"{each}: the draws from step {self.steps[0]} on are judged, at {values}, constant by then"
        return (
            f"{each}, while draws are taken: those of the last stretch are judged, steps {self.steps[0]} to "
            f"{self.steps[1]}, at the values in its middle, {values}; over it the law moves by "
            + (
                f"TV {self.shift:.3g}"
                if self.shift is not None
                else f"an unknown distance, values by {self.change:.2g}"
            )
        )


@dataclass(frozen=True)
class ProtocolInfo:
    """What was sampled.

    Attributes:
        group: the symmetry.
        coordinates: of the quotient.
        confinement: its energy as a formula.
        stationary: whether there is a stationary law.
        conditioned_on: the slab, in words; None without.
        elsewhere: other minima of the reduced loss.
        cut: windows that the laws are conditioned on.
        slice: how far χ is from canonical; None of a run that measures only.
        notes: of the model.
    """

    group: str
    coordinates: int
    confinement: str
    stationary: bool
    conditioned_on: str | None
    elsewhere: tuple[Elsewhere, ...]
    cut: dict[str, tuple[float, float]]
    slice: SliceDepartures | None
    notes: tuple[str, ...]


class Mixing(NamedTuple):
    """Convergence of one ensemble.

    Attributes:
        r_hat: the worst scalar's, ArviZ, over traced chains.
        ess: the least of a scalar's, over all draws, from chain means.
        ess_traced: the least bulk ESS of the traced draws.
        traced: chains and draws of each that R-hat saw.
        diverged: 0, for a run with a diverged chain has no result.
        acceptance: mean acceptance rate; None of a kernel that accepts all.
        rejected: share of projections that failed; None without.
        drift_p_value: of a histogram that stands still between the parts of the run; None where unknown.
    """

    r_hat: float
    ess: float
    ess_traced: float
    traced: tuple[int, int]
    diverged: int
    acceptance: float | None
    rejected: float | None
    drift_p_value: float | None


def worst(comparisons: Mapping[str, Comparison]) -> str:
    """The scalar that is furthest off."""
    return max(
        comparisons,
        key=lambda name: (
            GRAVITY.index(comparisons[name].verdict),
            comparisons[name].tv_lower95,
            comparisons[name].tv_upper95,
        ),
    )


def worst_of(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Its comparison."""
    return comparisons[worst(comparisons)]


def _worst_dict(comparisons: Mapping[str, Comparison]) -> JsonObject:
    """The comparison of the scalar that is furthest off, named; all of them where there are several."""
    name = worst(comparisons)
    several: JsonObject = {"worst": name, "invariants": plain(comparisons)} if len(comparisons) > 1 else {}
    return fields_of(comparisons[name]) | several


class Difference(NamedTuple):
    """Of two estimates, with its standard error and degrees of freedom."""

    value: float
    se: float
    dof: float


@dataclass(frozen=True)
class StepCheck:
    """The run against its companion at h/2.

    Attributes:
        step_size, companion_step_size: of either.
        comparisons: of each scalar, against margin/factor.
        bias_factor: by which the bias at h exceeds the distance measured.
        c_difference: by how much c changes; None where it is not estimated.
    """

    step_size: float
    companion_step_size: float
    comparisons: dict[str, Comparison]
    bias_factor: float
    c_difference: Difference | None

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        c = self.c_difference
        return {
            **fields_of(self, "step_size", "companion_step_size"),
            **_worst_dict(self.comparisons),
            "bias_factor": self.bias_factor,
            "c_difference": None if c is None else c.value,
            "c_difference_se": None if c is None else c.se,
            "c_difference_dof": None if c is None else c.dof,
        }


@dataclass(frozen=True)
class Reference:
    """The reference sampler on the full space, against the draws and against the exact law.

    Attributes:
        sampler, step_size: what it is.
        mixing: its convergence.
        draws: in all.
        in_window: share of them in each scalar's window.
        empirical: bin masses of each scalar.
        comparisons: of each scalar, with the draws.
        against_exact: of each scalar, with the exact law; None without one.
        coefficient: its c.
    """

    sampler: str
    step_size: float
    mixing: Mixing
    draws: int
    in_window: dict[str, float]
    empirical: dict[str, Float[np.ndarray, " bins"]]
    comparisons: dict[str, Comparison]
    against_exact: dict[str, Comparison] | None
    coefficient: Coefficient | Absent

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            **fields_of(self, "sampler", "step_size"),
            **fields_of(self.mixing, "acceptance", "r_hat", "ess", "drift_p_value"),
            **fields_of(self, "draws", "in_window", "empirical"),
            **_worst_dict(self.comparisons),
            "against_exact": None if self.against_exact is None else _worst_dict(self.against_exact),
            "correction": coefficient_dict(self.coefficient),
        }


@dataclass(frozen=True)
class LawResult:
    """A law beside the draws of one scalar.

    Attributes:
        about: name, measure, formula, role.
        mass, mass_se: of each bin, with the standard error of a law that was sampled.
        temperature: the T that was fitted; None where none was.
        c: that draws of the law would show, or that was fitted; None where c cannot be identified.
        comparison: distance, bounds, p-value, verdict.
        error_share: the law's own part of the variance of the distance.
    """

    about: LawAbout
    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]
    temperature: float | None
    c: float | None
    comparison: Comparison
    error_share: float

    @property
    def formula(self) -> str:
        """With what was fitted."""
        if self.temperature is None:
            return self.about.formula
        return f"{self.about.formula}, T = {self.temperature:.4g}, c = {(self.c or 0.0) + 0.0:.4g}"

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            "measure": self.about.measure,
            **fields_of(self, "formula", "mass", "mass_se", "temperature", "c"),
            **fields_of(self.comparison),
            "law_error_share": self.error_share,
        }


class WindowShare(NamedTuple):
    """The share of the draws in a window beside the exact law's own, and the p-value of their equality."""

    measured: float
    share: float | None
    why: str | None
    p_value: float | None


class ScalarMoments(NamedTuple):
    """Mean and variance of a scalar over all draws, in the window or not, with standard errors from the chains."""

    mean: float
    mean_se: float
    variance: float
    variance_se: float


@dataclass(frozen=True)
class InvariantResult:
    """One scalar: its histogram, and the laws beside it.

    Attributes:
        edges: of the bins; the first and the last one are the window.
        mass, mass_se: share of each bin, and its standard error from the scatter of chains.
        in_window: share of the counted draws in the window.
        counted: draws in the home component, on the slab and in the windows of the other cut scalars.
        exact_share: the same share of the exact law; None where no law is exact.
        moments: of all draws.
        laws: in the order of the tables.
        variance_to_independent: by epochs, the variance over that of law (S) of batches drawn with replacement.
    """

    edges: Float[np.ndarray, " edges"]
    mass: Float[np.ndarray, " bins"]
    mass_se: Float[np.ndarray, " bins"]
    in_window: float
    counted: int
    exact_share: WindowShare | None
    moments: ScalarMoments
    laws: dict[str, LawResult]
    variance_to_independent: float | None = None

    @property
    def window(self) -> tuple[float, float]:
        """Where it is compared."""
        return float(self.edges[0]), float(self.edges[-1])

    def to_dict(self) -> JsonObject:
        """As in `summary.json`, without what is the same for all scalars."""
        ratio = self.variance_to_independent
        return {
            **fields_of(self, "window", "in_window"),
            "in_window_exact": plain(self.exact_share),
            "counted": self.counted,
            "bins": plain(self.edges),
            "empirical": plain(self.mass),
            "empirical_se": plain(self.mass_se),
            "laws": plain(self.laws),
            **fields_of(self.moments),
            **({} if ratio is None else {"variance_to_independent": ratio}),
        }


class Group(NamedTuple):
    """Laws within the margin of each other: the largest distance among them, and one verdict."""

    laws: tuple[str, ...]
    tv: float
    verdict: Verdict


@dataclass(frozen=True)
class Joint:
    """All scalars and ℓ/T at once against one law.

    Attributes:
        law: its name.
        test: by the energy distance.
        dependence: of the pair of features that depends on each other least as it does in the law.
        features: their names.
    """

    law: str
    test: JointTest
    dependence: Dependence
    features: tuple[str, ...]

    @property
    def pair(self) -> tuple[str, str]:
        """The features that `dependence` is about."""
        first, second = self.dependence.pair
        return self.features[first], self.features[second]

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        return {
            "law": self.law,
            "test": "energy distance, chains permuted; mean products of normal scores",
            **fields_of(self.test),
            "dependence": fields_of(self.dependence) | {"pair": list(self.pair)},
        }


class DriftStretch(NamedTuple):
    """The plain marginal over one octave of time.

    Attributes:
        time: from, to.
        coefficient: its c.
        in_window, on_slab: shares of all draws.
        charge_rms, charge_mean, charge_mean_se: of χ.
    """

    time: tuple[float, float]
    coefficient: Coefficient | Absent
    in_window: float
    on_slab: float
    charge_rms: float
    charge_mean: float
    charge_mean_se: float

    def to_dict(self) -> JsonObject:
        """As in `summary.json`."""
        rest = [name for name in self._fields if name not in ("time", "coefficient")]
        return {"time": list(self.time), "correction": coefficient_dict(self.coefficient), **fields_of(self, *rest)}


class LawSampler(NamedTuple):
    """What drew a law, and how well."""

    r_hat: float
    ess: float
    acceptance: float
    step_size: float
    chains: int
    draws: int


@dataclass(frozen=True)
class LawReference:
    """The law that was sampled, of a model of many coordinates.

    Attributes:
        law: its name.
        samplers: MALA and NUTS.
        between: their comparison, of each scalar.
        weights: share of the draws that each law's weights rest on.
    """

    law: str
    samplers: dict[str, LawSampler]
    between: dict[str, Comparison]
    weights: dict[str, float]


class Nearest(NamedTuple):
    """The process's own law against the nearest of the fitted ones, each by its worst scalar.

    Attributes:
        law: the nearer one.
        fitted_law: the nearest fitted one.
        sgd_tv, fitted_tv: their distances.
        decided: whether their 95% bounds do not overlap.
    """

    law: str
    fitted_law: str
    sgd_tv: float
    fitted_tv: float
    decided: bool


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


class ChargeSummary(NamedTuple):
    """χ of a run of SGD.

    Attributes:
        start, draws: root mean square at the starts and over the draws, in units of half of |a|² + |b|².
        change: median over chains of |χ(end) − χ(start)|/|χ(start)|; None where chains start on the slice.
    """

    start: float
    draws: float
    change: float | None


@dataclass(frozen=True)
class SgdDetails:
    """What a run of SGD says besides.

    Attributes:
        noise: its kind.
        words: what it is called in a sentence.
        across: whether the noise lies across the orbits.
        start: `own`, or `slice` where χ would take too long to decay; `earlier`, the ends of another run;
            `given`: that of draws of one's own is unknown.
        decay: predicted rate of χ per unit of t = nη, of its slowest component.
        balance: the χ that the noise leads to; None if to none.
        meter: the noise at the minimum.
        noisy: whether there is any there; else the meter's ratios are those of rounding errors.
        law_error: of each scalar, how far the law is from (S) by itself.
        charge: what became of χ.
        doubts: reasons why no verdict is given.
        independent: by epochs, the variance of each scalar under law (S) of batches drawn with replacement.
        map: what is known of the law `map` of each scalar; none of any where it does not exist.
        measured: what is known of the noise at the minimum besides the meter.
    """

    noise: str
    words: str
    across: bool
    start: str
    decay: float
    balance: tuple[float, ...] | None
    meter: Meter
    noisy: bool
    law_error: dict[str, OwnError]
    charge: ChargeSummary
    doubts: tuple[Doubt, ...] = ()
    independent: dict[str, float] = dataclasses.field(default_factory=dict)
    map: dict[str, AboutMap] = dataclasses.field(default_factory=dict)
    measured: NoiseMeasured = dataclasses.field(default_factory=lambda: NoiseMeasured(None, None, {}, None))

    @property
    def metered(self) -> bool:
        """Whether the meter is of a covariance that exists."""
        return self.noisy and (self.measured.tail is None or self.measured.tail.variance)

    def to_dict(self, result: Result) -> JsonObject:
        """As in `summary.json`: the key `descent`."""
        shown = self.meter._fields if self.metered else () if self.noisy else ("trace", "temperature")
        errors, tail = self.measured.errors, self.measured.tail
        finite = tail is not None and np.isfinite(tail.exponent)
        return {
            "descent": {
                **fields_of(self, "noise", "start", "decay", "balance"),
                "meter": {name: getattr(self.meter, name) if name in shown else None for name in self.meter._fields},
                "meter_errors": None if errors is None else dict(zip(self.meter._fields, errors, strict=True)),
                "skewness": plain(self.measured.skewness) or None,
                "tail": None if tail is None else tail._asdict() | {"exponent": tail.exponent if finite else None},
                "fits": result.fits if self.noisy else None,
                "nearest": plain(result.nearest),
                "law_error": plain(self.law_error) or None,
                "map": plain(self.map) or None,
                "charge": plain(self.charge),
            }
        }


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


def coefficient_dict(coefficient: Coefficient | Absent) -> JsonObject:
    """c with its error, or null and the reason, as in `summary.json`."""
    return {"c": None, "why": coefficient.why} if isinstance(coefficient, Absent) else fields_of(coefficient)


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
