"""One run from configuration to verdict: plan, sample, project, compare."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from langevin_ib import compare, geometry
from langevin_ib.config import RunConfig
from langevin_ib.diagnostics import DRIFT_LEVEL, R_HAT_LIMIT, convergence, ensemble_ess
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.laws import Law, bin_masses, build_laws
from langevin_ib.laws.base import bin_nodes
from langevin_ib.observe import Sample, build_observer
from langevin_ib.plan import Plan, resolve
from langevin_ib.sampling import Drawn, Report, Sampler

SCHEMA_VERSION = 1
ORDER = {"leimkuhler-matthews": 2, "euler-maruyama": 1}
CORRECTION_PANELS = 8


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        plan: the configuration with every `auto` filled in, and the laws' common ground.
        summary: the content of `summary.json`.
        trace: {"value": (chain, draw), "charge": (chain, draw, m)}, thinned and capped.
    """

    plan: Plan
    summary: dict[str, Any]
    trace: dict[str, np.ndarray]


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
        checkpoints: a folder in which a long stage saves its state every half minute, and from which a run with the
            same configuration resumes; removed when the run is complete.

    Raises:
        ConfigError: a setting does not fit the model.
        ModelError: the model breaks its contract.
        LawError: a requested law cannot be normalised on the window.
        DivergenceError: chains diverged.
    """
    with jax.enable_x64(True):  # accumulators and laws; the chains' own precision is the configuration's
        return _run(config, report or (lambda stage: None), chunk_records, checkpoints)


def _run(config: RunConfig, report: Report, chunk_records: int | None, checkpoints: Path | None) -> RunResult:
    began = time.perf_counter()
    report("planning")
    plan = resolve(config)
    config, reduction = plan.config, plan.reduction
    # Before any draw, so that a law that does not exist on this window costs no simulation.
    laws, missing = build_laws(reduction, config.laws, config.slab)
    if not laws:
        raise LawError("none of the requested laws exists here: " + "; ".join(missing))
    masses = _law_masses(plan, laws)

    place = None if checkpoints is None else checkpoints / f"{config.model}-{config.digest()}"
    sampler = Sampler(plan, build_observer(reduction, plan.edges, config.slab), report, chunk_records, place)
    geometry.check_model(reduction.model, sampler.key("check"))
    stage_began = time.perf_counter()
    sample, step_size = sampler.draws()
    wall = time.perf_counter() - stage_began
    if sample.window.counts.sum() == 0:
        if config.slab is not None and sample.counted == 0:
            raise ConfigError("slab", "wide enough for some draw to lie on it", f"{config.slab:g}")
        window = f"{plan.edges[0]!s} {plan.edges[-1]!s}"
        raise ConfigError("window", "where the chains go: no draw fell into it", window)

    correction = _correction(plan, sample.window)
    checks: dict[str, Any] = _convergence(sample, reduction.confinement.proper) | {"step_check": None}
    if config.step_check:
        checks["step_check"] = _step_check(plan, sample, sampler.companion(step_size), correction, step_size)
    reference, unsettled = None, []
    if config.reference == "mala" and reduction.confinement.proper:
        drawn = sampler.reference()
        if drawn.sample.window.counts.sum() > 0:
            reference = _reference(plan, sample, drawn, masses)
        else:
            unsettled.append("no draw of the reference MALA fell into the window: it has not settled")
    if place is not None:
        shutil.rmtree(place, ignore_errors=True)

    doubts = unsettled + _doubts(plan, checks, reference)
    steps_done = config.chains * plan.schedule.steps
    summary: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "config": config.to_dict(),
        "temperature": config.temperature,
        "run": {
            "chains": config.chains,
            "steps": plan.schedule.steps,
            "draws": sample.draws,
            "step_size": step_size,
            "time": step_size * plan.schedule.steps,
            "devices": sample.result.devices,
            "wall_s": round(wall, 3),
            "chain_steps_per_s": round(steps_done / wall),
            "total_wall_s": 0.0,
        },
        "protocol": {
            "group": reduction.model.group,
            "confinement": reduction.confinement.formula,
            "stationary": reduction.confinement.proper,
            "conditioned_on": None if config.slab is None else f"|χ| < {config.slab:g}",
        },
        "diagnostics": checks,
        "doubts": doubts,
        "invariants": {
            reduction.name: {
                "window": list(map(float, (plan.edges[0], plan.edges[-1]))),
                "in_window": sample.in_window,
                "counted": sample.counted,
                "bins": plan.edges.tolist(),
                "empirical": sample.ensemble().mass.tolist(),
                "empirical_se": np.sqrt(np.diag(sample.ensemble().covariance)).tolist(),
                "laws": _judged(plan, sample, laws, masses, bool(doubts)),
                "unavailable": missing,
                "correction": correction,
            }
        },
        "drift": None if reduction.confinement.proper else _drift(plan, sample, step_size),
        "reference": reference,
    }
    summary["run"]["total_wall_s"] = round(time.perf_counter() - began, 3)
    return RunResult(plan, summary, sample.result.trace)


def _law_masses(plan: Plan, laws: list[Law]) -> dict[str, np.ndarray]:
    try:
        return {law.name: bin_masses(law, plan.edges, plan.singular_ends) for law in laws}
    except LawError as error:
        raise LawError(f"{error}; change the window, or leave that law out of laws") from None


def _family_nodes(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, log weight × (c = 0 density), and the statistic t at quadrature nodes of the window."""
    nodes = bin_nodes(plan.edges, plan.singular_ends, CORRECTION_PANELS)
    z = nodes.z.ravel()
    terms = plan.reduction.terms(z)
    return z, nodes.log_weight.ravel() - terms.energy + terms.log_volume, -0.5 * terms.log_det


def _correction(plan: Plan, window) -> dict[str, Any]:
    """The measured c, or why there is none."""
    if any(plan.singular_ends):
        return {"c": None, "why": "the window reaches the end of the branch, where the family is not normalisable"}
    _, log_base, statistic = _family_nodes(plan)
    try:
        found = compare.estimate_correction(window.statistic, window.counts.sum(axis=-1), log_base, statistic)
    except ValueError as error:
        return {"c": None, "why": str(error)}
    return {"c": found.c, "se": found.se, "ci95": list(found.ci95)}


def _law_correction(plan: Plan, law: Law) -> float | None:
    """The c that draws of this law would show in this window: its projection on the family, E_c[t] = E_law[t]."""
    if any(plan.singular_ends):
        return None
    z, log_base, statistic = _family_nodes(plan)
    log_weight = bin_nodes(plan.edges, plan.singular_ends, CORRECTION_PANELS).log_weight.ravel()
    log_p = law.log_density(z) + log_weight
    p = np.exp(log_p - log_p.max())
    return compare.solve_family(float(p @ statistic / p.sum()), log_base, statistic)


def _judged(
    plan: Plan, sample: Sample, laws: list[Law], masses: dict[str, np.ndarray], doubted: bool
) -> dict[str, Any]:
    ensemble = sample.ensemble()
    judged = {}
    for law in laws:
        found = compare.against_law(ensemble, masses[law.name], plan.config.margin)
        judged[law.name] = {
            "measure": law.measure,
            "formula": law.formula,
            "mass": masses[law.name].tolist(),
            "c": _law_correction(plan, law),
            **found._asdict(),
            "verdict": "undecided" if doubted else found.verdict,
        }
    return judged


def _convergence(sample: Sample, stationary: bool) -> dict[str, Any]:
    traced = sample.result.trace["value"]
    found = convergence(traced)
    means, variance = sample.value_moments()
    acceptance = sample.result.info.get("acceptance_rate")
    return {
        "r_hat": found.r_hat,
        "ess": ensemble_ess(means, variance),
        "ess_traced": found.ess,
        "traced": list(traced.shape),
        "diverged": 0,  # a run with a diverged chain has no summary
        "acceptance": None if acceptance is None else float(np.mean(acceptance)),
        # Without a stationary law there is nothing to drift from, and the stretches differ in length.
        "drift_p_value": compare.p_value_of_drift(*sample.halves()) if stationary else None,
    }


def _step_check(plan: Plan, sample: Sample, companion: Drawn, correction: dict[str, Any], step_size: float):
    """The run against its companion at h/2; Richardson's factor turns their distance into the bias at h."""
    if companion.sample.window.counts.sum() == 0:
        return {"verdict": "undecided", "why": "no draw of the companion run fell into the window"}
    factor = 1.0 / (1.0 - 2.0 ** -ORDER[plan.config.integrator])
    found = compare.against_sample(sample.ensemble(), companion.sample.ensemble(), plan.config.margin / factor)
    half = _correction(plan, companion.sample.window)
    difference = None
    if correction["c"] is not None and half["c"] is not None:
        difference = [correction["c"] - half["c"], float(np.hypot(correction["se"], half["se"]))]
    return {
        "step_size": step_size,
        "companion_step_size": companion.step_size,
        **found._asdict(),
        "bias_factor": factor,
        "c_difference": None if difference is None else difference[0],
        "c_difference_se": None if difference is None else difference[1],
    }


def _reference(plan: Plan, sample: Sample, drawn: Drawn, masses: dict[str, np.ndarray]) -> dict[str, Any]:
    reference = drawn.sample
    checks = _convergence(reference, stationary=True)
    against_draws = compare.against_sample(sample.ensemble(), reference.ensemble(), plan.config.margin)
    exact = None
    if "exact" in masses:
        exact = compare.against_law(reference.ensemble(), masses["exact"], plan.config.margin)._asdict()
    return {
        "sampler": "blackjax.mala",
        "step_size": drawn.step_size,
        "acceptance": checks["acceptance"],
        "r_hat": checks["r_hat"],
        "ess": checks["ess"],
        "drift_p_value": checks["drift_p_value"],
        "draws": reference.draws,
        "in_window": reference.in_window,
        "empirical": reference.ensemble().mass.tolist(),
        **against_draws._asdict(),
        "against_exact": exact,
        "correction": _correction(plan, reference.window),
    }


def _drift(plan: Plan, sample: Sample, step_size: float) -> dict[str, Any]:
    """The plain marginal of an unconfined run, stretch by stretch of time: it has no stationary law."""
    schedule = plan.schedule
    starts = (0, *schedule.segments[:-1])
    rows = []
    for first, last, segment in zip(starts, schedule.segments, sample.result.segments, strict=True):
        charge = segment["charge"]
        mean_square = np.mean(charge.m2 / charge.n[:, None] + charge.mean**2, axis=0).sum()
        chain_means = charge.mean.mean(axis=1)
        found = _correction(plan, segment["marginal"])
        rows.append(
            {
                "time": [step_size * (schedule.burn_in + r * schedule.thin) for r in (first, last)],
                "correction": found,
                "in_window": float(segment["marginal"].counts.sum() / segment["marginal"].total.sum()),
                "on_slab": float(segment["window"].total.sum() / segment["marginal"].total.sum()),
                "charge_rms": float(np.sqrt(mean_square)),
                "charge_mean": float(chain_means.mean()),
                "charge_mean_se": float(chain_means.std(ddof=1) / np.sqrt(chain_means.size)),
            }
        )
    return {"stationary": False, "stretches": rows}


def _doubts(plan: Plan, checks: dict[str, Any], reference: dict[str, Any] | None) -> list[str]:
    """Reasons why no verdict on a law is given, each with its number."""
    doubts = []
    if plan.reduction.confinement.proper:
        if not checks["r_hat"] <= R_HAT_LIMIT:
            doubts.append(f"the chains have not mixed: R-hat {checks['r_hat']:.3f} > {R_HAT_LIMIT}; run more steps")
        drift = checks["drift_p_value"]
        if drift is not None and drift < DRIFT_LEVEL:
            doubts.append(
                f"the histogram still moves between the halves of the run (p = {drift:.1g}); raise burn_in or steps"
            )
    step = checks["step_check"]
    if step is not None and step["verdict"] == "differs":
        doubts.append(
            f"the draws change by TV {step['tv']:.4f} when the step is halved, more than the margin allows; "
            "use a smaller step_size"
        )
    if reference is not None:
        if not reference["r_hat"] <= R_HAT_LIMIT:
            doubts.append(f"the reference has not mixed: R-hat {reference['r_hat']:.3f} > {R_HAT_LIMIT}")
        exact = reference["against_exact"]
        if reference["verdict"] == "differs":
            doubts.append(
                f"the draws and MALA differ by TV {reference['tv']:.4f} (p = {reference['p_value']:.1g}), more than "
                "the margin: the step is too large or the chains have not settled"
            )
        if exact is not None and exact["verdict"] == "differs":
            doubts.append(f"MALA and the exact law disagree (TV {exact['tv']:.4f}): one of them is wrong")
    return doubts
