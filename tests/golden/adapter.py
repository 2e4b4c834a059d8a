"""The golden tests' only way to internal names: a change of the package's structure edits this file and no other here.

`langevin_ib.run` is called as a user calls it. What lies behind it is reached at three points: the function that runs
an ensemble of chains, the one that tunes MALA's step, and the one that draws a law by NUTS.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble import records
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.ensemble.tuning import tune_step_size
from langevin_ib.laws import bin_masses
from langevin_ib.laws.draws import LawDraws
from langevin_ib.laws.family import ReducedTerms
from langevin_ib.models import build_model
from langevin_ib.runs import quotient as reduced
from langevin_ib.runs.processes import langevin, sgd
from langevin_ib.runs.quotient import sample_nuts
from langevin_ib.session import Session
from langevin_ib.stages import Engine, Stillness
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.mechanisms import attribute

Arrays = dict[str, np.ndarray]

# Where each is called from: a name is patched in the module that uses it.
ENGINE = tuple(f"langevin_ib.runs.{module}.run_ensemble" for module in ("processes.sgd", "quotient"))
ENSEMBLE = tuple(f"langevin_ib.runs.{module}.Ensemble" for module in ("sampling", "reference"))
TUNER = {"reference": "langevin_ib.runs.reference.tune_step_size", "law": "langevin_ib.runs.quotient.tune_step_size"}
NUTS = "langevin_ib.runs.processes.langevin.sample_nuts"
# A law's draws small enough to be stored, all of them in the first attempt.
FEW_DRAWS = {"CHAINS": 32, "RECORDS": 20, "ENOUGH": 0, "NUTS_CHAINS": 32, "NUTS_DRAWS": 20, "NUTS_WARMUP": 100}
TRACE_ROWS = 20
WALL = ("wall_s", "chain_steps_per_s", "total_wall_s", "note")  # of summary["run"]: what depends on the machine


# ---- what a run says ----


def summary_of(result: langevin_ib.Result) -> dict[str, Any]:
    """The content of `summary.json` but for times of the clock."""
    summary = result.to_dict()
    # Younger than what is stored, whose sums are too few; `test_identities.py` and `test_learning.py` have them.
    del summary["identities"], summary["learning_coefficient"]
    summary["run"] = {name: value for name, value in summary["run"].items() if name not in WALL}
    return summary


def planned(config: RunConfig) -> dict[str, Any]:
    """What is settled before the first draw of the chains: settings, bins, schedule, laws.

    Returns:
        config: without `auto`; digest: of that; bins: {scalar: edges}; schedule; laws: {law: {measure, formula}};
        missing: one line for each law that there is none of; masses: {law: {scalar: bin masses}}; rates: numbers that
        SGD's plan rests on, which come of a minimum that is searched for.
    """
    with jax.enable_x64(True):
        return _planned_sgd(config) if config.sampler == "sgd" else _planned_langevin(config)


def _planned_langevin(config: RunConfig) -> dict[str, Any]:
    prepared = langevin.prepare(config, Session()).completed()
    plan, laws = prepared.plan, prepared.candidates
    return {
        **_settled(plan.config, plan.edges, plan.schedule),
        "laws": {law.about.name: {"measure": law.about.measure, "formula": law.about.formula} for law in laws},
        "missing": list(prepared.missing),
        "masses": {
            law.about.name: {scalar: masses.mass.tolist() for scalar, masses in law.masses(None).items()}
            for law in laws
        },
        "rates": {},
    }


def _planned_sgd(config: RunConfig) -> dict[str, Any]:
    resolved = sgd.resolve_descent(config, Stage)
    masses = {scalar: bin_masses(law, resolved.edges[scalar]).tolist() for scalar, law in resolved.laws.items()}
    return {
        **_settled(resolved.config, resolved.edges, resolved.schedule),
        "laws": {},
        "missing": list(resolved.missing),
        "masses": {"sgd": masses} if masses else {},
        "rates": {
            "on the slice at the start": float(resolved.balanced),
            "decay of χ": resolved.decay,
            "trace of the noise": float(resolved.meter.trace),
            "temperature of the isotropic laws": 0.0 if resolved.family is None else resolved.family.temperature,
        },
    }


def _settled(config: RunConfig, edges: Mapping[str, np.ndarray], schedule: Schedule) -> dict[str, Any]:
    return {
        "config": config.to_dict(),
        "digest": config.digest(),
        "bins": {name: ends.tolist() for name, ends in edges.items()},
        "schedule": {
            "burn_in": schedule.burn_in,
            "thin": schedule.thin,
            "records": schedule.records,
            "segments": list(schedule.segments),
        },
    }


def attributed(**settings: Any) -> dict[str, Any]:
    """The content of an attribution's `summary.json` but for times of the clock."""
    with Session().open() as session:
        result = attribute(AttributionConfig(**settings), session)
    return {name: value for name, value in result.to_dict().items() if name not in WALL}


# ---- ensembles, stored and given back ----


@contextmanager
def recording(kept: Arrays) -> Iterator[None]:
    """Runs inside do their chains on one device, and leave in `kept` all that the judge will read of them."""

    def engine(kernel: Any, starts: Any, observer: Observer, *, stage: Stage, **options: Any) -> EnsembleResult:
        if observer.trace_rows == records.TRACE_ROWS:
            observer = replace(observer, trace_rows=TRACE_ROWS)
        result = run_ensemble(kernel, starts, observer, stage=_on_one_device(stage), **options)
        kept.update({f"{stage.name}/{name}": leaf for name, leaf in _leaves_of(result).items()})
        return result

    def tuner(name: str, *args: Any, **options: Any) -> tuple[float, Any]:
        step_size, ends = tune_step_size(*args, **options)
        kept[f"{name}/tuned step"] = np.asarray(step_size)
        return step_size, ends

    def nuts(*args: Any, **options: Any) -> LawDraws:
        draws = sample_nuts(*args, **options)
        kept.update({f"nuts/scalars/{name}": values.astype(np.float32) for name, values in draws.scalars.items()})
        kept["nuts/terms"] = np.stack(draws.terms).astype(np.float32)
        kept["nuts/acceptance"], kept["nuts/step_size"] = np.asarray(draws.acceptance), np.asarray(draws.step_size)
        kept["nuts/position"] = np.asarray(draws.position)
        return draws

    with _engines(engine, tuner, nuts):
        yield


@contextmanager
def replaying(kept: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Runs inside do no chain: what `recording` has kept stands for their draws."""

    def engine(kernel: Any, starts: Any, observer: Observer, *, stage: Stage, schedule: Schedule, **_: Any):
        return _result_of(_under(kept, stage.name), starts, observer, schedule)

    def tuner(name: str, build: Any, starts: Any, **_: Any) -> tuple[float, Any]:
        return float(kept[f"{name}/tuned step"]), starts

    def nuts(reduction: Any, formula: Any, *args: Any, **_: Any) -> LawDraws:
        own = _under(kept, "nuts")
        return LawDraws(
            formula,
            "numpyro.NUTS on Z",
            _under(own, "scalars"),
            ReducedTerms(*own["terms"]),
            float(own["acceptance"]),
            float(own["step_size"]),
            own["position"],
        )

    with _engines(engine, tuner, nuts):
        yield


@contextmanager
def on_one_device(ensembles: dict[str, EnsembleResult] | None = None) -> Iterator[None]:
    """Runs inside do their chains on the first device alone; by stage, `ensembles` is given what they leave."""

    def engine(*args: Any, stage: Stage, **options: Any) -> EnsembleResult:
        result = run_ensemble(*args, stage=_on_one_device(stage), **options)
        if ensembles is not None:
            ensembles[stage.name] = result
        return result

    with _patched(engine):
        yield


@contextmanager
def _patched(engine: Callable) -> Iterator[None]:
    """With the function that runs an ensemble, and the class of those that are run later."""

    class Ensemble:
        def __init__(self, *args: Any, **options: Any):
            self.run = partial(engine, *args, **options)

        def compiled(self) -> Ensemble:
            return self

    with ExitStack() as stack:
        for name in ENGINE:
            stack.enter_context(mock.patch(name, engine))
        for name in ENSEMBLE:
            stack.enter_context(mock.patch(name, Ensemble))
        yield


@contextmanager
def _engines(engine: Callable, tuner: Callable, nuts: Callable) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(_patched(engine))
        for name, place in TUNER.items():
            stack.enter_context(mock.patch(place, partial(tuner, name)))
        stack.enter_context(mock.patch(NUTS, nuts))
        for name, value in FEW_DRAWS.items():
            stack.enter_context(mock.patch.object(reduced, name, value))
        yield


def _on_one_device(stage: Stage) -> Stage:
    return replace(stage, placement=replace(stage.placement, threads=1))


def _leaves_of(result: EnsembleResult) -> Arrays:
    """{place: array}: draws of the trace in float32, sums and counts with all their digits."""
    leaves = {f"trace/{name}": _shortened(values) for name, values in result.trace.items()}
    leaves |= {f"info/{name}": np.asarray(values) for name, values in result.info.items()}
    leaves |= {f"still/{name}": np.asarray(values) for name, values in result.still._asdict().items()}
    leaves["width"] = np.asarray(result.engine.width)
    trees = {"position": result.position} | {f"segments/{i}": tree for i, tree in enumerate(result.segments)}
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            leaves[_place(name, path)] = np.asarray(leaf)
    return leaves


def _result_of(own: Arrays, starts: Any, observer: Observer, schedule: Schedule) -> EnsembleResult:
    like = jax.eval_shape(observer.accumulator.init)
    return EnsembleResult(
        segments=[_filled(own, f"segments/{i}", like) for i in range(len(schedule.segments))],
        trace=_under(own, "trace"),
        info=_under(own, "info"),
        position=_filled(own, "position", starts),
        still=Stillness(**_under(own, "still")),
        engine=Engine(1, int(own["width"])),
    )


LATER = {"energy", "identities", "loss", "lowest"}  # sums that runs take since the golden ones were stored


def _filled(own: Arrays, name: str, like: Any) -> Any:
    """A tree of the same form with the stored leaves; zeros for sums that were not taken when they were stored."""

    def leaf(path: Any, like: Any) -> np.ndarray:
        place = _place(name, path)
        if place in own or not (set(place.split("/")) & LATER):
            return own[place]
        return np.zeros((len(own["segments/0/value/n"]), *like.shape), like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, like)


def _place(name: str, path: Any) -> str:
    return f"{name}/{jax.tree_util.keystr(path, simple=True, separator='/')}".rstrip("/")


def _under(arrays: Mapping[str, np.ndarray], name: str) -> Arrays:
    """The arrays whose place begins so, by the rest of it."""
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}


def _shortened(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float64 else np.asarray(values)


def write(path: Path, kept: Arrays) -> None:
    """Whole numbers as short as they go, all compressed."""

    def short(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind != "i":
            return values
        return values.astype(np.min_scalar_type(int(np.abs(values).max(initial=0)) * -1 - 1))

    np.savez_compressed(path, **{name: short(values) for name, values in kept.items()})  # pyright: ignore


def read(path: Path) -> Arrays:
    """The same, in the types that they had."""
    wide = {"i": np.int64, "f": np.float64}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(wide.get(file[name].dtype.kind, file[name].dtype)) for name in file.files}


# ---- chains ----


def path_of(config: RunConfig) -> dict[str, Any]:
    """What the chains of a small run leave, on one device.

    Returns:
        c: {scalar: the fitted c, or the line that says why there is none}; statistic and loss: sums of t = −½ log det G
        over the draws that count and of ℓ over all, per chain; ends: positions, (chain, q); counts: {scalar: (bin,)}.
    """
    ensembles: dict[str, EnsembleResult] = {}
    with on_one_device(ensembles):
        summary = summary_of(langevin_ib.run(config))
    sampled = ensembles["sampling"]
    sums = [segment["law"] for segment in sampled.segments]
    temperature = config.temperature if config.sampler == "langevin" else 1.0
    ends = [np.asarray(leaf, np.float64).reshape(config.chains, -1) for leaf in jax.tree.leaves(sampled.position)]
    return {
        "c": {name: _correction(row["correction"]) for name, row in summary["invariants"].items()},
        "statistic": np.sum([part["statistic"].total for part in sums], axis=0).tolist(),
        "loss": (temperature * np.asarray(sampled.trace["energy"], np.float64).sum(axis=1)).tolist(),
        "ends": np.concatenate(ends, axis=1).tolist(),
        "counts": {
            name: np.sum([part["windows"][name].counts for part in sums], axis=(0, 1)).tolist()
            for name in summary["invariants"]
        },
    }


def _correction(correction: Mapping[str, Any]) -> Any:
    return correction["why"] if correction["c"] is None else correction["c"]


def mala_ends(name: str, options: dict[str, Any], *, temperature: float, step_size: float) -> np.ndarray:
    """Positions (16, q) of 16 chains of MALA on exp(−L/T) after five steps, in float64 on one device."""
    with jax.enable_x64(True):
        model = build_model(name, options)
        starts = jax.vmap(model.init)(jax.random.split(jax.random.key(1), 16))
        result = run_ensemble(
            mala(model.loss, temperature=temperature, step_size=step_size),
            jax.tree.map(lambda leaf: leaf.astype(jnp.float64), starts),
            Observer(lambda state: model.loss(state.position), count(), lambda loss: {"loss": loss}),
            key=jax.random.key(2),
            schedule=Schedule(0, 5, 1, (1,)),
            limit=Limit(step_size),
            stage=_on_one_device(Stage("five steps")),
        )
        return np.concatenate([np.asarray(leaf).reshape(16, -1) for leaf in jax.tree.leaves(result.position)], axis=1)


def build() -> dict[str, str]:
    """What decides the last digits of a compiled program: versions, and the processor's instructions."""
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))]
        flags = " ".join(sorted(lines[0].partition(":")[2].split())) if lines else flags
    digest = hashlib.sha256(flags.encode()).hexdigest()[:16]
    return {"jax": jax.__version__, "numpy": np.__version__, "machine": platform.machine(), "instructions": digest}
