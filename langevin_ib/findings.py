"""What every run is asked, whatever made its draws: the head of its summary, convergence, doubts, verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import geometry
from langevin_ib.config import RunConfig
from langevin_ib.laws import Reduction
from langevin_ib.observe import Sample
from langevin_ib.plan import Plan
from langevin_ib.statistics import compare
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.convergence import DRIFT_LEVEL, R_HAT_LIMIT, convergence, ensemble_ess

SCHEMA_VERSION = 1
SLICE_POINTS = 64
CONTRADICTION_LEVEL = 1e-4  # false-positive rate of each of the comparisons that `contradictions` makes
STAYING = 1.5  # R-hat above which chains hardly leave the parts of the space that they began in


@dataclass(frozen=True, repr=False)
class RunResult:
    """What a run found. It can be pickled: the model is then built anew, as its configuration names it, if it does.

    Attributes:
        plan: the configuration with every `auto` filled in, and the laws' common ground.
        summary: the content of `summary.json`.
        trace: {"value": (chain, draw, scalar), "charge": (chain, draw, m), "energy" (ℓ/T), "potential" ((ℓ + C(s))/T),
            "counts": (chain, draw)}, thinned and capped; SGD: T = 1.
        checkpoints: the folder with the states of its stages, which `langevin_ib.store.save` removes; None without.
    """

    plan: Plan
    summary: dict[str, Any]
    trace: dict[str, np.ndarray]
    checkpoints: Path | None = None

    def __repr__(self) -> str:
        """Model, c and verdicts in one line; the summary has the rest."""
        c = next(iter(self.summary.get("invariants", {}).values()), {}).get("correction", {"c": None})
        said = [] if c["c"] is None else [f"c = {_pm(c)}"]
        said += [f"{law} {verdict}" for law, verdict in self.summary.get("verdicts", {}).items()]
        doubts = len(self.summary.get("doubts", ()))
        said += [f"{doubts} doubt{'s' * (doubts != 1)}"] if doubts else []
        return f"RunResult({', '.join([self.plan.config.model_name, *said])})"


def silent(stage: str) -> None:
    del stage


def run_name(config: RunConfig) -> str:
    """A model's name as a part of a file name."""
    return config.model_name.replace(":", "-")


def shown(plan: Plan) -> list[str]:
    """The scalars that the configuration asks to see."""
    wanted = plan.config.invariant
    return [name for name in plan.scalars if wanted is None or name in wanted]


def head(plan: Plan, sample: Sample, step_size: float, wall: float, *, stationary: bool) -> dict[str, Any]:
    """Configuration, run and protocol, as every summary begins."""
    config, reduction = plan.config, plan.reduction
    return {
        "schema_version": SCHEMA_VERSION,
        "config": config.to_dict(),
        "temperature": config.temperature if config.sampler == "langevin" else None,
        "run": {
            "chains": config.chains,
            "steps": plan.schedule.steps,
            "draws": sample.draws,
            "step_size": step_size,
            "time": step_size * plan.schedule.steps,
            "devices": sample.result.devices,
            "wall_s": round(wall, 3),
            "chain_steps_per_s": round(config.chains * plan.schedule.steps / wall),
            "total_wall_s": 0.0,
        },
        "protocol": {
            "group": reduction.model.group,
            "coordinates": reduction.chart.dim,
            "confinement": reduction.confinement.formula,
            "stationary": stationary,
            "conditioned_on": None if config.slab is None else f"|χ| < {config.slab:g}",
            "elsewhere": [{"at": z, "height": height} for z, height in plan.elsewhere],
            "cut": {name: list(map(float, plan.edges[name][[0, -1]])) for name in reduction.model.cut},
            "slice": _slice(reduction, sample),
            "notes": list(reduction.model.notes),
        },
    }


def invariant(
    plan: Plan,
    sample: Sample,
    name: str,
    laws: dict[str, Any],
    missing: list[str],
    correction: dict[str, Any],
    share: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A scalar's histogram and the laws that it was held against."""
    edges, draws = plan.edges[name], sample.histogram(name)
    return {
        "window": list(map(float, edges[[0, -1]])),
        "in_window": sample.in_window(name),
        "in_window_exact": share,
        "counted": sample.counted(name),
        "bins": edges.tolist(),
        "empirical": draws.mass.tolist(),
        "empirical_se": np.sqrt(np.diag(draws.covariance)).tolist(),
        "laws": laws,
        "unavailable": missing,
        "correction": correction,
    }


def _slice(reduction: Reduction, sample: Sample) -> dict[str, Any]:
    """How far χ is from the canonical moment map of eq. (42), at the sections of some draws."""
    last = jax.tree.map(lambda leaf: jnp.asarray(leaf[:SLICE_POINTS], jnp.float64), sample.result.position)
    found = geometry.slice_report(reduction.model, last)
    return {name: float(value) for name, value in found._asdict().items()}


def overall(judged: dict[str, Any]) -> dict[str, str]:
    """One verdict for each law: it differs if it does for some scalar, and agrees if it does for all."""
    laws = next(iter(judged.values()))
    found = {}
    for law in laws:
        verdicts = {scalar[law]["verdict"] for scalar in judged.values()}
        found[law] = "differs" if "differs" in verdicts else "agrees" if verdicts == {"agrees"} else "undecided"
    return found


def convergence_checks(sample: Sample, stationary: bool) -> dict[str, Any]:
    """R-hat, ESS, drift between the parts of a run, acceptance, rejections: what `doubts_of` looks at."""
    found = {name: convergence(sample.trace(name)) for name in sample.scalars}
    test = compare.p_value_of_drift if stationary else compare.p_value_of_change
    drift = [test(*sample.halves(name)) for name in sample.scalars]
    known = [p for p in drift if p is not None]
    info = {name: float(np.mean(values)) for name, values in sample.result.info.items()}
    return {
        # NumPy's, which do not pass over a NaN.
        "r_hat": float(np.max([one.r_hat for one in found.values()])),
        "ess": float(np.min([ensemble_ess(*sample.value_moments(name)) for name in sample.scalars])),
        "ess_traced": float(np.min([one.ess for one in found.values()])),
        "traced": list(sample.trace(sample.scalars[0]).shape),
        "diverged": 0,  # a run with a diverged chain has no summary
        "acceptance": info.get("acceptance_rate"),
        "rejected": info.get("rejected"),
        # On a slab, of the last octave of time against all before. The least of several, each of which has to be that
        # small by itself, times their number: Bonferroni.
        "drift_p_value": min(1.0, min(known) * len(known)) if known else None,
    }


def doubts_of(checks: dict[str, Any], reference: dict[str, Any] | None = None, *, stationary: bool = True) -> list[str]:
    """Reasons why no verdict on a law is given, each with its number."""
    doubts = []
    drift = checks["drift_p_value"]
    drifts = drift is not None and drift < DRIFT_LEVEL
    if stationary:
        if not checks["r_hat"] <= R_HAT_LIMIT:
            more = (
                "run more steps"
                if checks["r_hat"] <= STAYING or drifts  # chains on their way are not yet chains that stay
                else "chains hardly leave the parts of the space that they began in: it takes many times the steps, a "
                "lower beta or a larger step_size"
            )
            doubts.append(f"the chains have not mixed: R-hat {checks['r_hat']:.3f} > {R_HAT_LIMIT}; {more}")
        if drifts:
            doubts.append(
                f"the histogram still moves between the halves of the run ({p_is(drift)}); raise burn_in or steps"
            )
    elif drifts:
        doubts.append(
            "on the slab the histogram of the last octave of time is not that of the time before "
            f"({p_is(drift)}): the coordinates of the quotient have not settled; raise burn_in or steps"
        )
    step = checks.get("step_check")
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
                f"the draws and MALA differ by TV {reference['tv']:.4f} ({p_is(reference['p_value'])}), more "
                "than the margin: the step is too large or the chains have not settled"
            )
        if exact is not None and exact["verdict"] == "differs":
            doubts.append(f"MALA and the exact law disagree (TV {exact['tv']:.4f}): one of them is wrong")
    return doubts


def contradictions(
    correction: dict[str, Any],
    laws: list[dict[str, Any]],
    step: dict[str, Any] | None,
    reference: dict[str, Any] | None,
    shares: dict[str, dict[str, Any]],
) -> list[str]:
    """Doubts where the numbers of one run do not fit each other, however small the distances are.

    Compared are c of the draws, of the companion at h/2, of MALA and of the exact law; the draws with MALA, where MALA
    fits the exact law; and the share of the draws in each window with the exact law's own. Each comparison is wrong on
    a healthy run with probability 1e-4.

    Args:
        correction: c of the draws.
        laws: of each scalar, the exact law's row; empty where there is none.
        step: what the companion showed.
        reference: what MALA showed.
        shares: of each scalar, the share of the draws in its window and that of the exact law, from `share_of`.
    """
    doubts = []
    exact_c = laws[0]["c"] if laws else None
    off = _apart(correction, exact_c)
    if off is not None:
        doubts.append(
            f"c of the draws is {_pm(correction)} and that of the exact law {exact_c:z.3f} ({p_is(off)}): "
            "the chains have not settled, or the step is too large"
        )
    if step is not None and step.get("c_difference") is not None:
        off = compare.p_value_of_difference(step["c_difference"], step["c_difference_se"], step["c_difference_dof"])
        if off is not None and off < CONTRADICTION_LEVEL:
            doubts.append(
                f"c changes by {step['c_difference']:+z.3f} ± {step['c_difference_se']:.3f} when the step is halved "
                f"({p_is(off)}); use a smaller step_size"
            )
    # Chains of MALA that stick have no error bars to be held against anything.
    if reference is not None and reference["p_value"] is not None:
        doubts += _against_mala(correction, exact_c, laws, reference)
    for name, found in shares.items():
        if found["p_value"] is not None and found["p_value"] < CONTRADICTION_LEVEL:
            doubts.append(
                f"{found['measured']:.2%} of the draws of {name} lie in the window, where the exact law has "
                f"{found['share']:.2%} of its mass ({p_is(found['p_value'])}): chains do not reach all of it, or "
                "have not settled there"
            )
    return doubts


def _against_mala(
    correction: dict[str, Any], exact_c: float | None, laws: list[dict[str, Any]], reference: dict[str, Any]
) -> list[str]:
    mala, exact = reference["correction"], reference["against_exact"]
    doubts = []
    off = None if mala["c"] is None else _apart(correction, mala["c"], mala)
    if off is not None:
        doubts.append(
            f"c of the draws is {_pm(correction)} and that of MALA {_pm(mala)} ({p_is(off)}): use a smaller step_size"
        )
    off = _apart(mala, exact_c)
    if off is not None:
        doubts.append(
            f"c of MALA is {_pm(mala)} and that of the exact law {exact_c:z.3f} ({p_is(off)}): one of them is wrong"
        )
    if exact is None or exact["p_value"] is None:
        return doubts
    worst = min((law["p_value"] for law in laws if law["p_value"] is not None), default=1.0)
    fits = exact["p_value"] >= CONTRADICTION_LEVEL
    if fits and max(reference["p_value"], worst) < CONTRADICTION_LEVEL:
        doubts.append(
            f"MALA fits the exact law ({p_is(exact['p_value'])}) and the draws fit neither it ("
            f"{p_is(reference['p_value'])}) nor the law ({p_is(worst)}): the draws are biased; use a smaller "
            "step_size"
        )
    return doubts


def _apart(correction: dict[str, Any], other: float | None, measured: dict[str, Any] | None = None) -> float | None:
    """p-value of a c against another, which may have been measured too, if it is below the level."""
    if other is None or correction["c"] is None:
        return None
    both = [correction] if measured is None else [correction, measured]
    se = float(np.hypot.reduce([one["se"] for one in both]))
    p = compare.p_value_of_difference(correction["c"] - other, se, float(min(one["chains"] for one in both) - 1))
    return p if p is not None and p < CONTRADICTION_LEVEL else None


def _pm(correction: dict[str, Any]) -> str:
    return f"{correction['c']:z.3f} ± {correction['se']:.3f}"


def share_of(sample: Sample, name: str, share: float | None, why: str | None) -> dict[str, Any]:
    """The share of the draws in a scalar's window beside the exact law's own, and the p-value of their equality."""
    window = sample.window(name)
    p_value = None
    if share is not None:
        p_value = compare.p_value_of_share(np.asarray(window.counts).sum(axis=1), np.asarray(window.total), share)
    return {"measured": sample.in_window(name), "share": share, "why": why, "p_value": p_value}


def withhold(judged: dict[str, dict[str, Any]]) -> None:
    """No verdict on any law, for there are doubts."""
    for laws in judged.values():
        for law in laws.values():
            law["verdict"] = "undecided"


def verdict_groups(alike: list[tuple[list[str], float]], verdicts: dict[str, str]) -> list[dict[str, Any]]:
    """One verdict for laws that lie within the margin of each other.

    The draws agree with the group if they do with one of its laws, and differ from it if they do from all.
    """
    groups = []
    for names, distance in alike:
        each = {verdicts[name] for name in names}
        verdict = "agrees" if "agrees" in each else "differs" if each == {"differs"} else "undecided"
        groups.append({"laws": names, "tv": distance, "verdict": verdict})
    return groups
