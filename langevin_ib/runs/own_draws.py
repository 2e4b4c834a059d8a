"""Draws of one's own, of any sampler, held against the laws as those of a run are.

Plan, laws and windows are made of the settings alone, before a draw is looked at; then the draws are put through what
observes a run's chains, and the run's judge says the rest. Of a run only its steps are missing: identities are those of
a stationary law, there is no companion at h/2 and no reference.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import background
from langevin_ib.config.core import MIN_CHAINS, ChainSettings
from langevin_ib.config.run import RunConfig, named_origins
from langevin_ib.ensemble.records import Schedule, octaves
from langevin_ib.errors import ConfigError, DrawsError
from langevin_ib.laws.candidates import KnownLaw
from langevin_ib.laws.family import Reduction
from langevin_ib.plain import JsonObject
from langevin_ib.runs.arrays import Given, given, source_of
from langevin_ib.runs.descent_details import SgdDetails
from langevin_ib.runs.judge import judge as judged
from langevin_ib.runs.observe import build_observer
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.runs.own_sample import (
    NO_PARAMETERS,
    Units,
    claims_of,
    sample_of_draws,
    seen_of,
    thermometer_of,
    units_of,
)
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.process import Draws, Prepared, Process
from langevin_ib.runs.result import Result
from langevin_ib.runs.run import process_of
from langevin_ib.runs.sampling import check_sample
from langevin_ib.runs.selfchecks import self_doubts
from langevin_ib.session import Session, silent
from langevin_ib.stages import Stages
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Sample

# What a run is told of its own chains; draws have it already.
OF_RUNS = (*ChainSettings.declared(), "step_size", "step_check", "integrator", "increments", "reference")
KEPT = ("seed",)
SAMPLERS = ("langevin", "sgd")
CONTESTED = ("c", "share", "joint")  # what a doubt is about that speaks against the law the draws are said to have
STILL = 100  # equal draws in a row that are a chain standing still
# How a doubt about draws that nobody can draw anew ends.
CURES = {
    "r_hat": "; draw longer, or drop more of the beginnings (burn_in)",
    "drift": "; drop more of the beginnings (burn_in), or draw longer",
    "c": ": the draws are not of the law that the settings name, or have not settled",
    "share": ": the draws are not of the law that the settings name, or have not settled",
    "joint": ": the draws are not of the law that the settings name, or have not settled",
    "window": ": the draws are not of the law that the settings name, have not settled, or need a window that is given",
}
OF_STEPS, LONGER = "raise burn_in or steps", "draw longer"  # of a run, and of draws that are given
CUT_AT = ("r_hat", "window")  # whose cure begins at the first semicolon


@dataclass(frozen=True, init=False, repr=False)
class DrawsConfig(RunConfig):
    """The settings that say what draws are said to be; without those of a run's own chains."""

    def of_draws(self, fingerprint: str) -> DrawsConfig:
        """With a fingerprint of the draws, by which their folder is named."""
        object.__setattr__(self, "_fingerprint", fingerprint)
        return self

    def to_dict(self) -> JsonObject:
        return {name: value for name, value in super().to_dict().items() if name not in OF_RUNS or name in KEPT}

    def digest(self, *, without: Any = ()) -> str:
        named = super().digest(without=without)
        mark = self.__dict__.get("_fingerprint")
        return named if mark is None else hashlib.sha256(f"{named} {mark}".encode()).hexdigest()[:8]


def judge(
    draws: Any,
    model: Any = "uv",
    *,
    burn_in: int = 0,
    report: Stages | None = None,
    compilation_cache: bool = True,
    **settings: Any,
) -> Result:
    """Hold draws of any sampler against the laws of a model, as `run` holds its own.

    The settings say what the draws are said to be: of exp(−(L + C)/T) dθ, T = σ²/β, with `confine` and its strength; or
    of SGD, with `sampler="sgd"`, `noise` and `lr`. A default is used where one is left out, and named in the result.

    The chains are the independent units of every error bar. Fewer than 64 are cut into batches, of 20 autocorrelation
    times each at least; with fewer than 16 units there is no error bar, and no verdict.

    Args:
        draws: parameters, or invariants by name, each with the axes (chain, draw, …): a mapping of names to arrays, a
            pytree like the model's parameters, one array of them flat (chain, draw, q), an xarray dataset or tree,
            ArviZ's InferenceData, or the path of a .npz, .nc or .csv file. Of PyTorch, JAX or NumPy.
        model: as in `RunConfig`.
        burn_in: draws of each chain to leave out at its beginning.
        report: called with the name of each stage.
        compilation_cache: whether compiled programs are taken from the user's cache folder, and kept there.
        settings: of `RunConfig`, without those of a run's own chains.

    Returns:
        The result; its `details` say what the units are, and what is not measured for want of parameters.

    Raises:
        DrawsError: names, shapes or numbers of the draws; too few of them for an error bar.
        ConfigError, ModelError, LawError, BreachError, ProcessError: as `langevin_ib.run`.

    >>> import numpy as np
    >>> wide = 1 + 0.5 * np.random.default_rng(0).normal(size=(64, 200))
    >>> judge({"z": wide}, "uv", beta=10).verdicts["exact"]
    'differs'
    """
    config = asked(model, settings)
    with Session(report or silent, compilation_cache=compilation_cache).open() as session, named_origins(config):
        return judge_within(draws, config, session, burn_in=burn_in)


def asked(model: Any, settings: dict[str, Any]) -> RunConfig:
    """The settings of draws, checked.

    Raises:
        ConfigError: one is of a run's own chains, or the sampler is none whose laws are known.
    """
    for name, value in settings.items():
        if name in OF_RUNS and name not in KEPT:
            raise ConfigError(name, "left out where the draws are given", value)
    config = RunConfig(model=model, **settings)
    if config.sampler not in SAMPLERS:
        raise ConfigError("sampler", f"{' or '.join(SAMPLERS)} for draws that are given", config.sampler)
    return config


def judge_within(draws: Any, config: RunConfig, session: Session, *, burn_in: int = 0) -> Result:
    """`judge` within an open session."""
    began = time.perf_counter()
    if isinstance(burn_in, bool) or not isinstance(burn_in, int) or burn_in < 0:
        raise ConfigError("burn_in", "a whole number from 0", burn_in)
    source = source_of(draws)
    session.report("reading")
    reduction = build_reduction(config, 1.0 if not config.process.gibbs else None)
    own = given(draws, reduction.chart, burn_in=burn_in)
    _check_kind(config, reduction, own, source)
    process, settings = process_of(config), _as_run(config, own, measured=reduction.measured)
    prepared = process.prepare(settings, session)
    background.settle()
    if own.kind == "scalars":
        prepared = _of_scalars(prepared)
    if config.metric is not None and own.kind == "parameters":
        own = own._replace(values=own.values * np.sqrt(np.asarray(config.metric)))
    session.report("judging")
    see, claims = seen_of(prepared.plan.reduction, own), claims_of(prepared, config, own)
    observer = build_observer(prepared.plan.reduction, prepared.plan.edges, prepared.plan.config.slab, claims, see)
    units = units_of(prepared, own, observer, source)
    prepared = _planned(prepared, own, units)
    sample = sample_of_draws(prepared, own, units, observer, claims)
    check_sample(prepared.plan, sample, prepared.remedy)
    starts = _first_charges(prepared.plan.reduction, own, units, sample)
    drawn = Draws(sample, 1.0, max(time.perf_counter() - began, 1e-9), starts=starts)
    prepared = prepared.completed(session.report)
    prepared = replace(prepared, doubts=(*prepared.doubts, *self_doubts(prepared, drawn)))
    details = _details(prepared, drawn, config, (own, units, burn_in, source), process)
    return _finished(judged(prepared, drawn, details, contested=CONTESTED), sample, own, units, began)


def _check_kind(config: RunConfig, reduction: Reduction, own: Given, source: str) -> None:
    """What a protocol needs that scalars alone do not have."""
    if own.kind == "parameters":
        return
    if reduction.measured:
        raise DrawsError(f"{source}: without a law parameters are needed, got {', '.join(own.names)}")
    if config.slab is not None or (config.process.gibbs and not reduction.proper):
        raise DrawsError(
            f"{source}: with confine {config.confine} draws are judged at small |χ|: their parameters are needed, "
            f"got {', '.join(own.names)}"
        )
    if own.kind == "invariants":
        return
    for name in (*reduction.model.cut, *(config.invariant or ())):
        if name not in own.names:
            raise DrawsError(f"{source}: {name} is needed, got {', '.join(own.names)} alone")


def _as_run(config: RunConfig, own: Given, *, measured: bool) -> RunConfig:
    """The settings of a run that has as many draws, for the rules of the plan; none of them moves these chains.

    Without a law the windows are those of a pilot, which is as long as that of a run.
    """
    chains, draws = own.values.shape[:2]
    values: dict[str, Any] = {"chains": max(chains, MIN_CHAINS), "thin": 1}
    if not measured:
        values |= {"steps": draws, "burn_in": 0}
    if config.process.gibbs:
        values |= {"step_check": False, "reference": "none"}
        if not config.confinement.held:
            values["integrator"] = "mala"  # needs no step
    if own.kind == "scalars":
        values["invariant"] = config.invariant or own.names
    return config.replace(**values, precision=64)


def _of_scalars(prepared: Prepared) -> Prepared:
    """What can be said of some scalars alone: no c, no joint test, no law that is fitted by it."""
    c = Absent("c", f"{NO_PARAMETERS}, nor all coordinates of the quotient, of which log det G is a function")
    known = tuple(law for law in prepared.candidates if isinstance(law, KnownLaw))
    return replace(prepared, candidates=known, coefficient=lambda _: c, sampled=None, lowest=None)


def _planned(prepared: Prepared, own: Given, units: Units) -> Prepared:
    """With the draws' own numbers, and settings that say no more than what they are said to be."""
    plan, length = prepared.plan, units.batching.length
    settings = plan.config.replace(chains=len(units.values), steps=length, burn_in=0, thin=1)
    fingerprint = hashlib.sha256(own.values.tobytes()).hexdigest()
    kept = DrawsConfig(**settings.given | {"model": settings.model}).of_draws(fingerprint)
    if "_model" in settings.__dict__:
        object.__setattr__(kept, "_model", settings.__dict__["_model"])
    segments = octaves(length) if units.batching.per_chain == 1 else (length,)
    return replace(prepared, plan=replace(plan, config=kept, schedule=Schedule(0, 1, length, segments)))


def _first_charges(reduction: Reduction, own: Given, units: Units, sample: Sample) -> np.ndarray:
    """χ at the first draw of the chain that each unit is of; unknown without parameters."""
    if own.kind != "parameters":
        return np.full((len(jax.tree.leaves(sample.ends)[0]), reduction.model.group_dim), np.nan)
    charge = jax.jit(jax.vmap(lambda x: seen_of(reduction, own)(x).charge))(jnp.asarray(own.values[:, 0]))
    return np.repeat(np.asarray(charge), units.batching.per_chain, axis=0)


def _details(
    prepared: Prepared, drawn: Draws, config: RunConfig, about: tuple[Given, Units, int, str], process: Process
) -> OwnDrawsDetails:
    own, units, burn_in, source = about
    inner = process.details(prepared, drawn)
    if isinstance(inner, SgdDetails):
        inner = replace(inner, start="given", charge=inner.charge._replace(change=None))
    chains, draws = own.values.shape[:2]
    unmeasured = {
        "parameters": (),
        "invariants": (f"{NO_PARAMETERS}: χ and the identities of a stationary law are not measured",),
        "scalars": (f"{NO_PARAMETERS}: c, χ, the joint law and the identities of a stationary law are not measured",),
    }[own.kind]
    if own.kind != "parameters" and prepared.plan.reduction.model.discrete:
        unmeasured += ("all draws are taken to lie in the component of the quotient that the laws are written on",)
    return OwnDrawsDetails(
        source=source,
        kind=own.kind,
        names=own.names,
        ignored=own.ignored,
        chains=chains,
        draws=draws - units.dropped,
        burn_in=burn_in,
        dropped=burn_in + units.dropped,
        batches=units.batching.per_chain,
        autocorrelation=None if units.slowest is None else units.slowest.time,
        slowest="" if units.slowest is None else units.slowest.name,
        thermometer=thermometer_of(prepared, own, drawn.main),
        claimed=_claimed(config, prepared),
        unmeasured=unmeasured,
        process=inner,
        doubts=(*getattr(inner, "doubts", ()), *_standing(own)),
        independent=getattr(inner, "independent", {}),
    )


def _claimed(config: RunConfig, prepared: Prepared) -> tuple[str, ...]:
    """What the draws are said to be by default alone."""
    names = ["beta", "confine"] if config.process.gibbs else ["lr", "noise", "label_noise"]
    names += list(type(config.confinement).declared())
    settings = prepared.plan.config
    left = [name for name in names if name not in config.given and getattr(settings, name) is not None]
    return tuple(
        f"{name} = {value:g}" if isinstance(value := getattr(settings, name), float) else f"{name} = {value}"
        for name in left
    )


def _standing(own: Given) -> tuple[Doubt, ...]:
    """Chains that stood still for long."""
    same = np.all(np.diff(own.values, axis=1) == 0, axis=2)
    longest = np.zeros(len(same), int)
    current = np.zeros(len(same), int)
    for column in same.T:
        current = np.where(column, current + 1, 0)
        longest = np.maximum(longest, current)
    still = np.flatnonzero(longest >= STILL)
    if not still.size:
        return ()
    worst = int(np.argmax(longest))
    text = (
        f"{still.size} of {len(same)} chains stood still for {STILL} draws or more, the longest, chain {worst}, for "
        f"{longest[worst]}"
    )
    return (Doubt("frozen", text, float(longest[worst]), float(STILL)),)


def _finished(result: Result, sample: Sample, own: Given, units: Units, began: float) -> Result:
    """In terms of the chains that were given, and with what can be done about doubts."""
    chains, draws = len(own.values), units.batching.per_chain * units.batching.length
    seconds = round(time.perf_counter() - began, 3)
    info = replace(
        result.run, chains=chains, steps=draws, step_size=None, time=None, chain_steps_per_s=0, total_wall_s=seconds
    )
    trace = {name: sample.of_chains(rows) for name, rows in result.trace.items()}
    if own.kind == "scalars":
        shape = trace["value"].shape[:2]
        unknown = {"energy": shape, "potential": shape, "charge": (*shape, result.plan.reduction.model.group_dim)}
        trace |= {name: np.full(size, np.nan) for name, size in unknown.items()}
    return replace(
        result,
        run=info,
        trace=trace,
        doubts=_with_temperature(result, tuple(map(_reworded, result.doubts))),
        against=tuple(map(_reworded, result.against)),
    )


def _reworded(doubt: Doubt) -> Doubt:
    """With what can be done about draws."""
    cure = CURES.get(doubt.about)
    if cure is None:
        return doubt._replace(text=doubt.text.replace(OF_STEPS, LONGER), cure=doubt.cure.replace(OF_STEPS, LONGER))
    text = doubt.text.split("; ")[0] if doubt.about in CUT_AT else doubt.text.removesuffix(doubt.cure)
    return doubt._replace(text=text + cure, cure=cure)


def _with_temperature(result: Result, doubts: tuple[Doubt, ...]) -> tuple[Doubt, ...]:
    """Where the identity that measures T is off, that first, with what it measures."""
    details = result.details
    if not isinstance(details, OwnDrawsDetails) or details.thermometer is None:
        return doubts
    begin, measured = f"the identity {details.thermometer.identity} ", details.temperature(result)
    first = [doubt for doubt in doubts if doubt.about == "identity" and doubt.text.startswith(begin)]
    if not first or measured is None:
        return doubts
    text = (
        f"{details.thermometer.words} of the draws is {measured.value:.5g} ± {measured.se:.2g}, and T is "
        f"{result.plan.config.temperature:.5g}: {first[0].text}"
    )
    rest = tuple(doubt for doubt in doubts if doubt is not first[0])
    return (first[0]._replace(text=text), *rest)
