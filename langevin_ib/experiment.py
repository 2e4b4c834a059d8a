"""One run from configuration to verdict: plan, sample, project, compare."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

from langevin_ib import contract, signals
from langevin_ib.config import MIN_CHAINS, RunConfig, named_origins
from langevin_ib.coverage import coverage_doubts
from langevin_ib.descent import run_descent
from langevin_ib.ensemble.checkpoint import resumes
from langevin_ib.ensemble.runner import check_process
from langevin_ib.errors import ConfigError
from langevin_ib.findings import (
    RunResult,
    contradictions,
    convergence_checks,
    doubts_of,
    head,
    invariant,
    overall,
    run_name,
    share_of,
    shown,
    silent,
    verdict_groups,
    withhold,
)
from langevin_ib.observe import Sample, build_observer
from langevin_ib.plan import Plan
from langevin_ib.predictions import Predictions, SampledPredictions
from langevin_ib.preparation import Prepared, prepare
from langevin_ib.sampling import STREAM, Drawn, Report, Sampler
from langevin_ib.statistics import compare, energy
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL

log = logging.getLogger(__name__)

ORDER = {"leimkuhler-matthews": 2, "euler-maruyama": 1, "projected": 1}
JOINT_DRAWS = 8


def run(
    config: RunConfig,
    *,
    report: Report | None = None,
    chunk_records: int | None = None,
    checkpoints: Path | None = None,
) -> RunResult:
    """Simulate, compare with every law, and judge.

    Args:
        config: what to run; `auto` values are resolved first.
        report: called with the name of each stage, returns a progress callback for it or None.
        chunk_records: records per device call; changes no number.
        checkpoints: a folder in which a long stage saves its state every 15 s of work, and from which a run with the
            same configuration resumes. It stays until the result is saved: `langevin_ib.store.save` removes it, or, of
            a result that is not to be saved, `langevin_ib.store.discard(result.checkpoints)`.

    Raises:
        ConfigError: a setting does not fit the model.
        ModelError: the model breaks its contract.
        LawError: a requested law cannot be normalised on the window.
        DivergenceError: chains diverged.
        BreachError: the model breaks its contract where chains went.
        ProcessError: this process was forked after JAX had started.
    """
    check_process()
    # Accumulators and laws are in float64; the chains' own precision is the configuration's.
    with jax.enable_x64(True), named_origins(config):
        if config.sampler == "sgd":
            return _run_sgd(config, report or silent, chunk_records, checkpoints)
        return _run(config, report or silent, chunk_records, checkpoints)


def _run(config: RunConfig, report: Report, chunk_records: int | None, checkpoints: Path | None) -> RunResult:
    began = time.perf_counter()
    place = None if checkpoints is None else checkpoints / f"{run_name(config)}-{config.digest()}"
    signals.expect(place)
    # Before any draw of the chains, so that a law that does not exist here costs no simulation.
    prepared = prepare(config, report, chunk_records, place)
    plan, predictions = prepared.plan, prepared.predictions
    config, reduction = plan.config, plan.reduction
    alike = _alike(predictions, plan)

    sampler = Sampler(plan, build_observer(reduction, plan.edges, config.slab), report, chunk_records, place)
    stage_began = time.perf_counter()
    sample, step_size = sampler.draws()
    wall = time.perf_counter() - stage_began
    contract.check_draws(reduction.model, sample.result.position)
    _check_not_empty(plan, sample)

    correction = predictions.correction(sample.statistic)
    judged = {name: _judged(predictions, sample, name) for name in plan.scalars}
    shares = {name: share_of(sample, name, *predictions.share(name)) for name in plan.scalars}
    checks: dict[str, Any] = convergence_checks(sample, reduction.proper) | {"step_check": None}
    if config.step_check:
        checks["step_check"] = _step_check(prepared, sample, sampler.companion(step_size), correction, step_size)
    reference, full, doubts = None, None, list(prepared.doubts)
    if config.reference == "mala" and reduction.proper and not reduction.confinement.constrained:
        drawn = sampler.reference(step_size)
        if not drawn.sample.empty:
            reference, full = _reference(prepared, sample, drawn), drawn.sample
        else:
            doubts.append("no draw of the reference MALA fell into the window: it has not settled")
    resumed = resumes(place)

    joint_test = _joint(prepared, sample)
    doubts += doubts_of(checks, reference, stationary=reduction.proper)
    if reduction.proper:  # else neither c nor the share of the slab is that of a stationary law
        exact = [laws["exact"] for laws in judged.values() if "exact" in laws]
        doubts += contradictions(correction, exact, checks["step_check"], reference, shares)
        doubts += coverage_doubts(predictions, sample, full) + _joint_doubts(predictions, sample, joint_test)
    if doubts:
        withhold(judged)
    verdicts = overall(judged)
    summary: dict[str, Any] = {
        **head(plan, sample, step_size, wall, stationary=reduction.proper),
        "diagnostics": checks,
        "doubts": doubts,
        "invariants": {
            name: invariant(plan, sample, name, judged[name], predictions.missing, correction, shares[name])
            for name in shown(plan)
        },
        "verdicts": verdicts,
        "groups": verdict_groups(alike, verdicts),
        "joint": joint_test,
        "drift": None if reduction.proper else _drift(predictions, plan, sample, step_size),
        "law_reference": prepared.law_reference,
        "reference": reference,
    }
    summary["run"]["resumed"] = resumed
    summary["run"]["total_wall_s"] = round(time.perf_counter() - began, 3)
    return RunResult(plan, summary, sample.result.trace, place)


def _run_sgd(config: RunConfig, report: Report, chunk_records: int | None, checkpoints: Path | None) -> RunResult:
    place = None if checkpoints is None else checkpoints / f"{run_name(config)}-{config.digest()}"
    signals.expect(place)
    result = run_descent(config, report, chunk_records, place)
    result.summary["run"]["resumed"] = resumes(place)
    return replace(result, checkpoints=place)


def draw(config: RunConfig) -> tuple[Prepared, Sample, list[str]]:
    """A run's laws, its draws, and the doubts about either, for studies that hold laws of their own against them.

    Without companion, reference and summary.
    """
    with jax.enable_x64(True):
        prepared = prepare(config, silent)
        plan = prepared.plan
        sample, _ = Sampler(plan, build_observer(plan.reduction, plan.edges, plan.config.slab), silent).draws()
        return (
            prepared,
            sample,
            prepared.doubts
            + doubts_of(convergence_checks(sample, plan.reduction.proper), stationary=plan.reduction.proper),
        )


def _check_not_empty(plan: Plan, sample: Sample) -> None:
    for name in sample.empty:
        if plan.config.slab is not None and sample.counted(name) == 0:
            raise ConfigError("slab", "wide enough for some draw to lie on it", f"{plan.config.slab:g}")
        window = f"{plan.edges[name][0]!s} {plan.edges[name][-1]!s}"
        raise ConfigError("window", f"where the chains go: no draw of {name} fell into it", window)


def _judged(predictions: Predictions, sample: Sample, scalar: str) -> dict[str, Any]:
    judged = {}
    for law in predictions.laws:
        found = predictions.compare(law.name, scalar, sample.histogram(scalar))
        judged[law.name] = {
            "measure": law.measure,
            "formula": law.formula,
            "mass": predictions.mass(law.name, scalar).tolist(),
            "mass_se": predictions.mass_se(law.name, scalar).tolist(),
            "c": predictions.law_correction(law.name),
            **found._asdict(),
            "law_error_share": predictions.error_share(law.name, scalar, sample.histogram(scalar)),
        }
    return judged


def _alike(predictions: Predictions, plan: Plan) -> list[tuple[list[str], float]]:
    """Which laws share a verdict, for they lie within the margin of each other: known before the first draw."""
    masses = {law.name: [predictions.mass(law.name, name) for name in plan.scalars] for law in predictions.laws}
    groups = compare.alike(masses, plan.config.margin)
    for names, distance in groups:
        if distance >= compare.SAME_LAW:
            every = "; these are all the laws" if len(names) == len(masses) else ""
            log.info(
                "%s lie within TV %.2g of each other, below the margin %g: one verdict for them together%s",
                ", ".join(names), distance, plan.config.margin, every,
            )  # fmt: skip
    return groups


def _joint(prepared: Prepared, sample: Sample) -> dict[str, Any] | None:
    """All scalars and (ℓ + C(s))/T at once, against `exact` or else the sampled law: energy distance, dependence."""
    law, predictions = prepared.law_draws, prepared.predictions
    if law is None or not isinstance(predictions, SampledPredictions):
        return None
    plan, trace = prepared.plan, sample.result.trace
    name = "exact" if any(one.name == "exact" for one in predictions.laws) else law.formula.name
    weight = predictions.weight(name)
    features = np.concatenate([np.asarray(trace["value"]), np.asarray(trace["potential"])[..., None]], axis=-1)
    counts = np.asarray(trace["counts"])
    # At times fixed beforehand: so many draws of each chain *that count* would weigh the edge of the window more.
    times = np.linspace(0, features.shape[1] - 1, JOINT_DRAWS).round().astype(int)
    drawn = [chain[times][kept[times]] for chain, kept in zip(features, counts, strict=True)]
    drawn = [chain for chain in drawn if len(chain)]
    if len(drawn) < MIN_CHAINS:
        return {"law": name, "why": f"only {len(drawn)} chains have a draw that counts where looked at"}
    predicted = np.stack([*(law.scalars[name] for name in plan.scalars), np.asarray(law.terms.energy)], axis=-1)
    rng = np.random.default_rng([plan.config.seed, STREAM["joint"]])
    offered = energy.resampled(predicted, weight, JOINT_DRAWS, rng)
    # As many draws of the law's chain as of the run's, or the two would not be exchangeable.
    pairs = [
        (own[: len(chain)], chain[rng.choice(len(chain), min(len(own), len(chain)), replace=False)])
        for own, chain in zip(drawn, offered, strict=False)
        if len(chain)
    ]
    if len(pairs) < MIN_CHAINS:
        return {"law": name, "why": f"only {len(pairs)} chains of the law have draws that its weights leave"}
    found = energy.energy_test([own for own, _ in pairs], [chain for _, chain in pairs], rng)
    dependence = energy.dependence_test(features, counts * 1.0, predicted, weight)
    names = (*plan.scalars, "ℓ/T")
    return {
        "law": name,
        "test": "energy distance, chains permuted; mean products of normal scores",
        **found._asdict(),
        "dependence": {**dependence._asdict(), "pair": [names[i] for i in dependence.pair]},
    }


def _joint_doubts(predictions: Predictions, sample: Sample, found: dict[str, Any] | None) -> list[str]:
    """A joint law that is not `exact`, which every chain obeys, while all of its marginals are."""
    if found is None or "why" in found or found["law"] != "exact":
        return []
    if any(predictions.compare("exact", name, sample.histogram(name)).verdict == "differs" for name in sample.scalars):
        return []  # the marginals say it already
    doubts, one = [], found["dependence"]
    gap, (first, second) = abs(one["first"] - one["second"]), one["pair"]
    # Of two normal variables whose correlation changes by r the joint law changes by TV r/π.
    if one["p_value"] < DRIFT_LEVEL and gap - stats.norm.ppf(compare.LEVEL) * one["se"] > np.pi * _margin(predictions):
        doubts.append(
            f"{first} and {second} depend on each other otherwise than in the law exact, with a correlation of normal "
            f"scores of {one['first']:.3f} against {one['second']:.3f} ({p_is(one['p_value'])}): "
            "the step is too large, the chains have not settled, or the law's draws are not of it"
        )
    if found["p_value"] < DRIFT_LEVEL:
        doubts.append(
            f"all invariants and ℓ/T together are not those of the law exact (energy distance "
            f"{found['energy_distance']:.2g}, {p_is(found['p_value'])}), though none by itself is told to differ"
        )
    return doubts


def _margin(predictions: Predictions) -> float:
    return predictions.margin if isinstance(predictions, SampledPredictions) else 1.0


def _worst(found: dict[str, compare.Comparison]) -> dict[str, Any]:
    """The comparison of the scalar that is furthest off, named; all of them where there are several."""
    gravity = ("agrees", "undecided", "differs")
    name = max(found, key=lambda k: (gravity.index(found[k].verdict), found[k].tv_lower95, found[k].tv_upper95))
    if len(found) == 1:
        return found[name]._asdict()
    return {**found[name]._asdict(), "worst": name, "invariants": {k: v._asdict() for k, v in found.items()}}


def _step_check(prepared: Prepared, sample: Sample, companion: Drawn, correction: dict[str, Any], step_size: float):
    """The run against its companion at h/2; Richardson's factor turns their distance into the bias at h."""
    if companion.sample.empty:
        return {"verdict": "undecided", "why": "no draw of the companion run fell into the window"}
    config = prepared.plan.config
    factor = 1.0 / (1.0 - 2.0 ** -ORDER[config.integrator])
    found = {
        name: compare.against_sample(
            sample.histogram(name), companion.sample.histogram(name), config.margin / factor, _level(sample)
        )
        for name in sample.scalars
    }
    half = prepared.predictions.correction(companion.sample.statistic)
    difference = None
    if correction["c"] is not None and half["c"] is not None:
        fewest = min(correction["chains"], half["chains"])
        difference = [correction["c"] - half["c"], float(np.hypot(correction["se"], half["se"])), float(fewest - 1)]
    return {
        "step_size": step_size,
        "companion_step_size": companion.step_size,
        **_worst(found),
        "bias_factor": factor,
        "c_difference": None if difference is None else difference[0],
        "c_difference_se": None if difference is None else difference[1],
        "c_difference_dof": None if difference is None else difference[2],
    }


def _level(sample: Sample) -> float:
    """Confidence of each of several verdicts that are to err together in 5% at most."""
    return 1.0 - (1.0 - compare.LEVEL) / len(sample.scalars)


def _reference(prepared: Prepared, sample: Sample, drawn: Drawn) -> dict[str, Any]:
    reference, predictions = drawn.sample, prepared.predictions
    checks = convergence_checks(reference, stationary=True)
    margin = prepared.plan.config.margin
    against_draws = {
        name: compare.against_sample(sample.histogram(name), reference.histogram(name), margin, _level(sample))
        for name in sample.scalars
    }
    exact = None
    if any(law.name == "exact" for law in predictions.laws):
        exact = _worst({name: predictions.compare("exact", name, reference.histogram(name)) for name in sample.scalars})
    return {
        "sampler": "blackjax.mala",
        "step_size": drawn.step_size,
        "acceptance": checks["acceptance"],
        "r_hat": checks["r_hat"],
        "ess": checks["ess"],
        "drift_p_value": checks["drift_p_value"],
        "draws": reference.draws,
        "in_window": {name: reference.in_window(name) for name in sample.scalars},
        "empirical": {name: reference.histogram(name).mass.tolist() for name in sample.scalars},
        **_worst(against_draws),
        "against_exact": exact,
        "correction": predictions.correction(reference.statistic),
    }


def _drift(predictions: Predictions, plan: Plan, sample: Sample, step_size: float) -> dict[str, Any]:
    """The plain marginal of an unconfined run, stretch by stretch of time: it has no stationary law."""
    schedule = plan.schedule
    starts = (0, *schedule.segments[:-1])
    rows = []
    for first, last, segment in zip(starts, schedule.segments, sample.result.segments, strict=True):
        charge = segment["charge"]
        mean_square = np.mean(charge.m2 / charge.n[:, None] + charge.mean**2, axis=0).sum()
        chain_means = charge.mean.mean(axis=1)
        marginal, on_slab = segment["marginal"], segment["law"]
        seen = marginal["windows"][plan.scalars[0]]
        rows.append(
            {
                "time": [step_size * (schedule.burn_in + r * schedule.thin) for r in (first, last)],
                "correction": predictions.correction(marginal["statistic"]),
                "in_window": float(seen.counts.sum() / seen.total.sum()),
                "on_slab": float(on_slab["windows"][plan.scalars[0]].total.sum() / seen.total.sum()),
                "charge_rms": float(np.sqrt(mean_square)),
                "charge_mean": float(chain_means.mean()),
                "charge_mean_se": float(chain_means.std(ddof=1) / np.sqrt(chain_means.size)),
            }
        )
    return {"stationary": False, "stretches": rows}
