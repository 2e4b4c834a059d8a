"""One judge for every process: draws against laws, against each other, and what speaks against a verdict."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import jax
import numpy as np
import scipy

from langevin_ib import geometry
from langevin_ib.config.run import MIN_CHAINS
from langevin_ib.dynamics.schedules import sum_of
from langevin_ib.errors import ModelError
from langevin_ib.laws.candidates import Candidate, KnownLaw, LawAbout, Masses
from langevin_ib.laws.family import Reduction
from langevin_ib.runs.coverage import coverage_doubts
from langevin_ib.runs.doubts import by_cause, contradictions, convergence_doubts, health_doubts, joint_doubts
from langevin_ib.runs.lowest import loss_descent
from langevin_ib.runs.plan import Plan
from langevin_ib.runs.process import Check, Draws, Prepared
from langevin_ib.runs.protocol import Elsewhere, ProtocolInfo, RunInfo, SliceDepartures
from langevin_ib.runs.result import Details, Result
from langevin_ib.runs.scheduled import with_moves
from langevin_ib.runs.verdicts import (
    Difference,
    DriftStretch,
    Group,
    InvariantResult,
    Joint,
    LawResult,
    Mixing,
    Nearest,
    Reference,
    ScalarMoments,
    StepCheck,
    WindowShare,
)
from langevin_ib.session import STREAM
from langevin_ib.statistics import compare, energy
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison, Histogram, Verdict
from langevin_ib.statistics.convergence import convergence, ensemble_ess
from langevin_ib.statistics.identities import identities_of, identity_doubts
from langevin_ib.statistics.learning import LearningCoefficient, learning_coefficient
from langevin_ib.statistics.records import Absent, Doubt
from langevin_ib.statistics.sample import Sample

log = logging.getLogger(__name__)

SLICE_POINTS = 64
DRIFT_STRETCHES = 5  # octaves of time, of a run without confinement, of which the summary tells
JOINT_DRAWS = 8

ScalarLaws = dict[str, LawResult]


def judge(
    prepared: Prepared, draws: Draws, details: Details | None = None, *, contested: Collection[str] = ()
) -> Result:
    """Hold the draws of any process against its laws and checks.

    Args:
        prepared: plan and laws, as they were before the first draw.
        draws: the chains that are judged, and what they are checked by.
        details: what only this process has to say, its own doubts among it.
        contested: what a doubt has to be about to speak against the process's own law alone, where it is the draws that
            are in question: it withholds the verdict on that law, and no other.
    """
    plan, sample = prepared.plan, draws.main
    masses, missing = _masses(prepared.candidates, sample, prepared.missing)
    laws = {scalar: _against_laws(masses, sample, scalar, plan.config.margin) for scalar in plan.scalars}
    coefficient = prepared.coefficient(sample.statistic)
    shares = {scalar: window_share(prepared, sample, scalar) for scalar in plan.scalars}
    mixing = mixing_of(sample, drifting=plan.drifting)
    step_check, reference, absent = _checks(prepared, draws, masses, coefficient)
    joint = _joint(prepared, sample)

    identities = identities_of(sample.gaps)
    every: list[Doubt] = []
    process = type(plan.config.process)
    if not prepared.at_rest:
        every = [
            *prepared.doubts,
            *absent,
            *convergence_doubts(mixing, step_check, reference, drifting=plan.drifting, process=process),
        ]
        every += [*health_doubts(sample, process), *getattr(details, "doubts", ())]
        every += identity_doubts(identities, stationary=getattr(details, "stationary", False))
        for check in draws.checks:
            every += identity_doubts(identities_of(check.sample.gaps), f" of {_named(check)}")
        if not plan.drifting:  # else neither c nor the share of the slab is that of a stationary law
            own = [row for rows in laws.values() for row in rows.values() if row.about.role == "own"]
            every += contradictions(coefficient, own, step_check, reference, shares)
            full = next((check.sample for check in draws.checks if check.reference and not check.sample.empty), None)
            every += coverage_doubts(prepared.sampled, sample, full) + joint_doubts(laws, joint, plan.config.margin)
    against = tuple(doubt for doubt in every if doubt.about in contested)
    every = by_cause([doubt for doubt in every if doubt.about not in contested])
    if every:
        laws = _withheld(laws)
    elif against:
        laws = _withheld(laws, "own")
    verdicts = overall(laws)
    independent = getattr(details, "independent", {})
    return Result(
        plan=plan,
        run=_run_info(plan, draws),
        protocol=_protocol(prepared, sample),
        mixing=mixing,
        step_check=step_check,
        invariants={
            scalar: _invariant(plan, sample, scalar, laws[scalar], shares[scalar], independent.get(scalar))
            for scalar in shown_scalars(plan)
        },
        coefficient=coefficient,
        missing=missing,
        doubts=tuple(every),
        verdicts=verdicts,
        groups=_groups(masses, plan, verdicts),
        joint=joint,
        drift=_drift(prepared, sample, draws.step_size) if plan.drifting else None,
        law_reference=prepared.law_reference,
        reference=reference,
        nearest=_nearest(laws),
        details=details,
        trace=dict(sample.trace),
        identities=identities,
        learning=_learning(prepared, draws),
        against=against,
        schedule=with_moves(prepared.schedule, plan.config, plan.schedule, sample),
    )


def _learning(prepared: Prepared, draws: Draws) -> LearningCoefficient | Absent | None:
    """λ̂ at the run's temperature; None of a process that has none."""
    if prepared.lowest is None:
        return None
    try:
        lowest = prepared.lowest()
    except ModelError as error:
        return Absent("λ̂", str(error))
    reduction = prepared.plan.reduction
    lowest = loss_descent(reduction).from_ends(lowest, draws.main.ends)
    return learning_coefficient(
        draws.main,
        lowest,
        temperature=reduction.temperature,
        dimensions=dimensions(reduction),
        improper=prepared.improper,
        companion=next((check.sample for check in draws.checks if not check.reference), None),
    )


def dimensions(reduction: Reduction) -> tuple[int, int]:
    """q, and m of the whole symmetry, or what its model says in its place."""
    model = reduction.model
    q = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(reduction.chart.params_shape))
    return q, model.group_dim + model.compact_dim if model.orbit_dim is None else model.orbit_dim


def _named(check: Check) -> str:
    """An ensemble that the run is held against, in words."""
    return f"the reference {check.sampler}" if check.reference else "the companion at h/2"


def shown_scalars(plan: Plan) -> list[str]:
    """The scalars that the configuration asks to see."""
    wanted = plan.config.invariant
    return [name for name in plan.scalars if wanted is None or name in wanted]


Known = dict[LawAbout, Mapping[str, Masses]]


def _masses(candidates: Sequence[Candidate], sample: Sample, missing: Sequence[str]) -> tuple[Known, tuple[str, ...]]:
    """The masses of each law, and one line for each that has none."""
    known, lines = {}, list(missing)
    for candidate in candidates:
        masses = candidate.masses(sample)
        if isinstance(masses, Absent):
            lines.append(f"law {masses.what}: {masses.why}")
        else:
            known[candidate.about] = masses
    return known, tuple(lines)


def level_of(scalars: Sequence[str]) -> float:
    """Confidence of each of several verdicts that are to err together in 5% at most."""
    return 1.0 - (1.0 - compare.LEVEL) / len(scalars)


def held_against(draws: Histogram, law: Masses, margin: float, level: float) -> Comparison:
    """A histogram against a law's masses: one-sample where these have no noise, else two-sample."""
    if law.between is None:
        return compare.against_law(draws, law.mass, margin, level)
    return compare.against_sample(draws, law.between, margin, level)


def _against_laws(known: Known, sample: Sample, scalar: str, margin: float) -> ScalarLaws:
    draws, level = sample.histogram(scalar), level_of(sample.scalars)
    return {
        about.name: LawResult(
            about,
            masses[scalar].mass,
            masses[scalar].standard_error,
            masses[scalar].temperature,
            masses[scalar].c,
            held_against(draws, masses[scalar], margin, level),
            masses[scalar].error_share(draws),
        )
        for about, masses in known.items()
    }


def window_share(prepared: Prepared, sample: Sample, scalar: str) -> WindowShare | None:
    """The share of the draws in a scalar's window beside the exact law's own, and the p-value of their equality."""
    share = prepared.share(scalar)
    if share is None:
        return None
    if isinstance(share, Absent):
        return WindowShare(sample.in_window(scalar), None, share.why, None)
    window = sample.window(scalar)
    p_value = compare.p_value_of_share(window.counts.sum(axis=1), window.total, share)
    return WindowShare(sample.in_window(scalar), share, None, p_value)


def _moved(sample: Sample, scalar: str, drifting: bool) -> float | None:
    """A p-value of the change of a histogram; None where it cannot be told."""
    if sample.per_chain > 1:
        return compare.p_value_of_change(*sample.halves(scalar))
    before, last = sample.parts(scalar)
    if drifting:
        return compare.p_value_of_change(before.counts, last.counts)
    if not before.length:
        return None
    return compare.p_value_of_drift(before.counts, last.counts, before.length / last.length)


def mixing_of(sample: Sample, *, drifting: bool) -> Mixing:
    """R-hat, ESS, acceptance, rejections, and whether the histogram moves between the parts of a run."""
    traces = {name: convergence(sample.trace_of(name)) for name in sample.scalars}
    moved = [p for p in (_moved(sample, name, drifting) for name in sample.scalars) if p is not None]
    info = {name: float(np.mean(values)) for name, values in sample.info.items()}
    chains, kept = sample.trace_of(sample.scalars[0]).shape
    return Mixing(
        # NumPy's, which do not pass over a NaN.
        r_hat=float(np.max([trace.r_hat for trace in traces.values()])),
        ess=float(np.min([ensemble_ess(*sample.value_moments(name)) for name in sample.scalars])),
        ess_traced=float(np.min([trace.ess for trace in traces.values()])),
        traced=(chains, kept),
        diverged=0,
        acceptance=info.get("acceptance_rate"),
        rejected=info.get("rejected"),
        # On a slab, of the last octave of time against all before. The least of several, each of which has to be that
        # small by itself, times their number: Bonferroni.
        drift_p_value=min(1.0, min(moved) * len(moved)) if moved else None,
    )


def _checks(
    prepared: Prepared, draws: Draws, known: Known, coefficient: Coefficient | Absent
) -> tuple[StepCheck | Absent | None, Reference | None, list[Doubt]]:
    """The draws against every other ensemble."""
    step_check: StepCheck | Absent | None = None
    reference, doubts = None, []
    for check in draws.checks:
        if check.reference:
            if check.sample.empty:
                doubts.append(Doubt("mala", "no draw of the reference MALA fell into the window: it has not settled"))
            else:
                reference = _reference(prepared, draws.main, check, known)
        elif check.sample.empty:
            step_check = Absent("step", "no draw of the companion run fell into the window")
        else:
            step_check = _step_check(prepared, draws, check, coefficient)
    return step_check, reference, doubts


def _compared(first: Sample, second: Sample, margin: float) -> dict[str, Comparison]:
    level = level_of(first.scalars)
    return {
        name: compare.against_sample(first.histogram(name), second.histogram(name), margin, level)
        for name in first.scalars
    }


def _step_check(prepared: Prepared, draws: Draws, check: Check, coefficient: Coefficient | Absent) -> StepCheck:
    """The run against its companion at h/2; Richardson's factor turns their distance into the bias at h."""
    half, difference = prepared.coefficient(check.sample.statistic), None
    if not isinstance(coefficient, Absent) and not isinstance(half, Absent):
        fewest = min(coefficient.chains, half.chains)
        difference = Difference(coefficient.c - half.c, float(np.hypot(coefficient.se, half.se)), float(fewest - 1))
    margin = prepared.plan.config.margin / check.bias_factor
    return StepCheck(
        draws.step_size, check.step_size, _compared(draws.main, check.sample, margin), check.bias_factor, difference
    )


def _reference(prepared: Prepared, sample: Sample, check: Check, known: Known) -> Reference:
    margin, against_exact = prepared.plan.config.margin, None
    for about, masses in known.items():
        if about.role == "own":
            level = level_of(sample.scalars)
            against_exact = {
                name: held_against(check.sample.histogram(name), masses[name], margin, level) for name in sample.scalars
            }
    return Reference(
        sampler=check.sampler,
        step_size=check.step_size,
        mixing=mixing_of(check.sample, drifting=False),
        draws=check.sample.draws,
        in_window={name: check.sample.in_window(name) for name in sample.scalars},
        empirical={name: check.sample.histogram(name).mass for name in sample.scalars},
        comparisons=_compared(sample, check.sample, margin),
        against_exact=against_exact,
        coefficient=prepared.coefficient(check.sample.statistic),
    )


def _joint(prepared: Prepared, sample: Sample) -> Joint | Absent | None:
    """All scalars and (ℓ + C(s))/T at once, against `exact` or else the sampled law: energy distance, dependence."""
    sampled = prepared.sampled
    if sampled is None:
        return None
    plan, trace, law = prepared.plan, sample.trace, sampled.draws
    name = sampled.own or law.formula.name
    weight = sampled.weight(name)
    features = np.concatenate([np.asarray(trace["value"]), np.asarray(trace["potential"])[..., None]], axis=-1)
    counts = np.asarray(trace["counts"])
    # At times fixed beforehand: so many draws of each chain *that count* would weigh the edge of the window more.
    times = np.linspace(0, features.shape[1] - 1, JOINT_DRAWS).round().astype(int)
    taken = [chain[times][kept[times]] for chain, kept in zip(features, counts, strict=True)]
    taken = [chain for chain in taken if len(chain)]
    if len(taken) < MIN_CHAINS:
        return Absent(name, f"only {len(taken)} chains have a draw that counts where looked at")
    predicted = np.stack([*(law.scalars[scalar] for scalar in plan.scalars), np.asarray(law.terms.energy)], axis=-1)
    rng = np.random.default_rng([plan.config.seed, STREAM["joint"]])
    offered = energy.resampled(predicted, weight, JOINT_DRAWS, rng)
    # As many draws of the law's chain as of the run's, or the two would not be exchangeable.
    pairs = [
        (own[: len(chain)], chain[rng.choice(len(chain), min(len(own), len(chain)), replace=False)])
        for own, chain in zip(taken, offered, strict=False)
        if len(chain)
    ]
    if len(pairs) < MIN_CHAINS:
        return Absent(name, f"only {len(pairs)} chains of the law have draws that its weights leave")
    test = energy.energy_test([own for own, _ in pairs], [chain for _, chain in pairs], rng)
    dependence = energy.dependence_test(features, counts * 1.0, predicted, weight)
    return Joint(name, test, dependence, (*plan.scalars, "ℓ/T"))


def _withheld(laws: dict[str, ScalarLaws], role: str | None = None) -> dict[str, ScalarLaws]:
    """No verdict on any law, for there are doubts; with a role, those of it are not agreed with."""

    def undecided(law: LawResult) -> LawResult:
        if role is not None and (law.about.role != role or law.comparison.verdict == "differs"):
            return law
        return LawResult(
            law.about, law.mass, law.mass_se, law.temperature, law.c,
            law.comparison._replace(verdict="undecided"), law.error_share,
        )  # fmt: skip

    return {scalar: {name: undecided(law) for name, law in rows.items()} for scalar, rows in laws.items()}


def overall(laws: Mapping[str, ScalarLaws]) -> dict[str, Verdict]:
    """One verdict for each law: it differs if it does for some scalar, and agrees if it does for all."""
    verdicts: dict[str, Verdict] = {}
    for name in next(iter(laws.values())):
        each = {rows[name].comparison.verdict for rows in laws.values()}
        verdicts[name] = "differs" if "differs" in each else "agrees" if each == {"agrees"} else "undecided"
    return verdicts


def laws_alike(known: Mapping[LawAbout, Mapping[str, Masses]], plan: Plan) -> list[tuple[list[str], float]]:
    """Which laws share a verdict, for they lie within the margin of each other."""
    masses = {about.name: [of[scalar].mass for scalar in plan.scalars] for about, of in known.items()}
    return compare.groups_within(masses, plan.config.margin)


def say_alike(candidates: Sequence[Candidate], plan: Plan) -> None:
    """Log, before the first draw, which known laws will share a verdict."""
    known = {law.about: law.known for law in candidates if isinstance(law, KnownLaw)}
    for names, distance in laws_alike(known, plan):
        if distance >= compare.SAME_LAW:
            every = "; these are all the laws" if len(names) == len(known) else ""
            log.info(
                "%s lie within TV %.2g of each other, below the margin %g: one verdict for them together%s",
                ", ".join(names), distance, plan.config.margin, every,
            )  # fmt: skip


def _groups(known: Known, plan: Plan, verdicts: Mapping[str, Verdict]) -> tuple[Group, ...]:
    return tuple(group_of(names, distance, verdicts) for names, distance in laws_alike(known, plan))


def group_of(names: Sequence[str], distance: float, verdicts: Mapping[str, Verdict]) -> Group:
    """One verdict for laws within the margin of each other.

    The draws agree with the group if they do with one of its laws, and differ from it if they do from all.
    """
    each = {verdicts[name] for name in names}
    verdict: Verdict = "agrees" if "agrees" in each else "differs" if each == {"differs"} else "undecided"
    return Group(tuple(names), distance, verdict)


def _nearest(laws: Mapping[str, ScalarLaws]) -> Nearest | None:
    """The process's own law against the nearest fitted one, each by its worst scalar; decided if bounds do not meet."""
    worst = {
        law.about: max((rows[name].comparison for rows in laws.values()), key=lambda row: row.tv)
        for name, law in next(iter(laws.values())).items()
    }
    own = next((about for about in worst if about.role == "own"), None)
    fitted = [about for about in worst if about.role == "fitted"]
    if own is None or not fitted:
        return None
    rival = min(fitted, key=lambda about: worst[about].tv)
    near, far = worst[own], worst[rival]
    return Nearest(
        law=own.name if near.tv <= far.tv else rival.name,
        fitted_law=rival.name,
        sgd_tv=near.tv,
        fitted_tv=far.tv,
        decided=near.tv_upper95 < far.tv_lower95 or far.tv_upper95 < near.tv_lower95,
    )


def _invariant(
    plan: Plan, sample: Sample, scalar: str, laws: ScalarLaws, share: WindowShare | None, independent: float | None
) -> InvariantResult:
    draws, moments = sample.histogram(scalar), scalar_moments(sample, scalar)
    return InvariantResult(
        edges=plan.edges[scalar],
        mass=draws.mass,
        mass_se=np.sqrt(np.diag(draws.covariance)),
        in_window=sample.in_window(scalar),
        counted=sample.counted(scalar),
        exact_share=share,
        moments=moments,
        laws=laws,
        variance_to_independent=None if independent is None else moments.variance / independent,
    )


def scalar_moments(sample: Sample, scalar: str) -> ScalarMoments:
    """Mean and variance of a scalar over all draws, in the window or not, with standard errors from the chains."""
    moments, i = sample.whole.value, sample.scalars.index(scalar)
    means, variances = (np.asarray(part)[:, i] for part in (moments.mean, moments.variance))
    squares = variances + (means - means.mean()) ** 2
    mean, mean_square = ((float(draws.mean()), float(scipy.stats.sem(draws))) for draws in (means, squares))
    return ScalarMoments(*mean, *mean_square)


def _time(plan: Plan, draws: Draws) -> float:
    """h times the steps; where η changes, Σ η_n."""
    steps, rate = plan.schedule.steps, plan.config.schedules.get("lr")
    return draws.step_size * steps if rate is None else sum_of(rate, steps)


def _run_info(plan: Plan, draws: Draws) -> RunInfo:
    chains, steps = plan.config.chains, plan.schedule.steps
    return RunInfo(
        chains=chains,
        steps=steps,
        draws=draws.main.draws,
        step_size=draws.step_size,
        time=_time(plan, draws),
        threads=draws.main.engine.threads,
        wall_s=round(draws.wall_s, 3),
        chain_steps_per_s=round(chains * steps / draws.wall_s),
        note=draws.main.engine.idle,
    )


def _protocol(prepared: Prepared, sample: Sample) -> ProtocolInfo:
    plan, reduction = prepared.plan, prepared.plan.reduction
    q, m = dimensions(reduction)
    slice_ = None
    if not reduction.measured:
        # How far χ is from the canonical moment map of eq. (42), at the sections of some draws.
        last = jax.tree.map(lambda leaf: np.asarray(leaf[:SLICE_POINTS], np.float64), sample.ends)
        departures = geometry.slice_report(reduction.model, last)
        slice_ = SliceDepartures(**{name: float(value) for name, value in departures._asdict().items()})
    return ProtocolInfo(
        group=reduction.model.group,
        coordinates=reduction.chart.dim if reduction.model.charted else q - m,
        confinement=reduction.confinement.formula,
        stationary=prepared.stationary,
        conditioned_on=None if plan.config.slab is None else f"|χ| < {plan.config.slab:g}",
        elsewhere=tuple(Elsewhere(z, height) for z, height in plan.elsewhere),
        cut={name: (float(plan.edges[name][0]), float(plan.edges[name][-1])) for name in reduction.cut},
        slice=slice_,
        notes=tuple(reduction.model.notes),
    )


def _drift(prepared: Prepared, sample: Sample, step_size: float) -> tuple[DriftStretch, ...]:
    """The plain marginal of an unconfined run, in its last stretches of time: it has no stationary law."""
    plan, schedule = prepared.plan, prepared.plan.schedule
    starts, scalar, rows = (0, *schedule.segments[:-1]), plan.scalars[0], []
    stretches = list(zip(starts, schedule.segments, sample.stretches, strict=True))
    if len(stretches) > 1 and schedule.records < 1.25 * starts[-1]:  # the rest behind the last octave, if it is short
        stretches.pop()
    for first, last, stretch in stretches[-DRIFT_STRETCHES:]:
        assert stretch.marginal is not None  # an unconfined run keeps draws on a slab
        seen, on_slab = stretch.marginal.windows[scalar], stretch.counted.windows[scalar]
        chain_means = stretch.charge.mean.mean(axis=1)
        begin, end = (step_size * (schedule.burn_in + r * schedule.thin) for r in (first, last))
        rows.append(
            DriftStretch(
                time=(begin, end),
                coefficient=prepared.coefficient(stretch.marginal.statistic),
                in_window=float(seen.counts.sum() / seen.total.sum()),
                on_slab=float(on_slab.total.sum() / seen.total.sum()),
                charge_rms=float(np.sqrt(np.mean(stretch.charge.mean_square, axis=0).sum())),
                charge_mean=float(chain_means.mean()),
                charge_mean_se=float(chain_means.std(ddof=1) / np.sqrt(chain_means.size)),
            )
        )
    return tuple(rows)
