"""What a run has to say: its table, its lines and its picture as one report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.output.answer import answer
from langevin_ib.output.blocks import Column, Line, Lines, Picture, Report, Table
from langevin_ib.output.chart import Chart, Panel
from langevin_ib.output.histogram import figure, styles, verdicts
from langevin_ib.output.law_table import MARKS, law_table
from langevin_ib.output.learning import learning_lines
from langevin_ib.output.measured import measured_of, measured_table
from langevin_ib.output.report_schedule import schedule_lines
from langevin_ib.output.wording import wording_of
from langevin_ib.runs.descent_details import SgdDetails
from langevin_ib.runs.own_details import OwnDrawsDetails
from langevin_ib.runs.protocol import CANONICAL, SliceDepartures
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import (
    DriftStretch,
    Joint,
    LawReference,
    LawResult,
    Reference,
    StepCheck,
    WindowShare,
    worst,
    worst_of,
)
from langevin_ib.statistics.compare import SAME_LAW, Comparison, p_is
from langevin_ib.statistics.identities import Identity
from langevin_ib.statistics.records import Absent

EQUALITY_LEVEL = 1e-3

LawRows = Mapping[tuple[str, str], LawResult]  # by (invariant, law)
CHECKED = {
    "agrees": "below the margin with 95% confidence",
    "differs": "above the margin with 95% confidence",
    "undecided": "not bounded by the margin at this sample size",
}


def run_report(result: Result) -> Report:
    """The picture, the table of verdicts, then c, the diagnostics and whatever stands against a verdict."""
    laws = next(iter(result.invariants.values())).laws
    names = ", ".join(result.invariants)
    alt = f"Histogram of {names} with each law, residuals below"
    picture = Picture("histogram", alt, partial(figure, result), partial(run_chart, result))
    measured = measured_of(result) is not None
    table = (law_table(result),) if laws else (measured_table(result),) if measured else ()
    return Report(
        title=run_title(result),
        blocks=(picture, *table, Lines(findings(result), "What was checked")),
        appendix=(_densities(laws),) if laws else (),
        config=json.dumps(result.plan.config.to_dict(), indent=1, ensure_ascii=False),
        lead=answer(result),
        rerun=wording_of(result.details).rerun(result),
    )


def run_chart(result: Result) -> Chart:
    """The numbers of its picture, those of `summary.json`."""
    panels = [Panel.of(name, name, of) for name, of in result.summary["invariants"].items()]
    first = next(iter(result.invariants))
    abouts = (law.about for law in result.invariants[first].laws.values())
    return Chart.of(panels, styles(abouts), verdicts(result, first))


def run_title(result: Result) -> str:
    """Model, window, temperature or noise, and protocol in one line."""
    where = ""
    if len(result.invariants) == 1:
        ((name, invariant),) = result.invariants.items()
        where = "{} in [{:g}, {:g}], ".format(name, *invariant.window)
    return f"{result.plan.config.model_name}: {where}{wording_of(result.details).subject(result)}"


def _densities(laws: Mapping[str, LawResult]) -> Table:
    columns = (Column("law", left=True), Column("density", left=True), Column("with respect to", left=True))
    rows = tuple((name, law.formula, law.about.measure) for name, law in laws.items())
    return Table(columns, (rows,), "Densities")


def findings(result: Result) -> tuple[Line, ...]:
    """Everything that the table does not hold."""
    config, invariants, wording = result.plan.config, result.invariants, wording_of(result.details)
    lines = [*wording.head(result), Line(_run_line(result))]
    laws = {(name, law): row for name, invariant in invariants.items() for law, row in invariant.laws.items()}
    if laws:
        lines.append(Line(_verdict_line(laws, config.margin)))
    lines += _group_lines(result)
    if config.from_run is not None:
        lines.append(Line(f"the chains began where those of {config.from_run} ended"))
    lines += wording.own(result) + tuple(schedule_lines(result.schedule))
    lines += learning_lines(result)
    lines += _identity_lines(result)
    lines += _joint_lines(result) + _law_reference_lines(result.law_reference)
    kernel = config.records.get("kernel")  # which a process of someone's own need not have
    biased = isinstance(kernel, KernelSettings) and not kernel.adjusted
    if wording.stepped and (biased or result.step_check is not None):
        lines.append(_step_line(result.step_check, " and on normals" if config.increments == "four-point" else ""))
    lines += _reference_lines(result.reference) + _drift_lines(result.drift)
    lines += _slice_lines(result.protocol.slice) + _elsewhere_lines(result)
    run = result.run
    noted = (*result.missing, *result.protocol.notes, *run.refused, *([] if run.note is None else [run.note]))
    lines += [Line(line, "yellow") for line in noted]
    against = "no verdict" if measured_of(result) is None else "in doubt"
    lines += [Line(f"{against}: {doubt}", "yellow") for doubt in result.doubts]
    if not result.doubts:
        decided = {name for group in result.groups if group.verdict != "undecided" for name in group.laws}
        if result.against:  # which is why nothing is decided of the process's own law
            decided |= {name for (_, name), law in laws.items() if law.about.role == "own"}
        left = {key: law for key, law in laws.items() if key[1] not in decided}
        more = "run more steps or more chains" if wording.stepped else "draw longer, or more chains"
        lines += _undecided_lines(left, config.margin, len(invariants) > 1, (_law_budget(result), more))
    return tuple(lines)


def _run_line(result: Result) -> str:
    """Budget, share in the windows, convergence."""
    mixing, invariants, wording = result.mixing, result.invariants, wording_of(result.details)
    acceptance = "" if mixing.acceptance is None else f", acceptance {mixing.acceptance:.3f}"
    if mixing.rejected is not None:
        acceptance += f", projections rejected {mixing.rejected:.2g}"
    # Chains that end in a point have no mixing to speak of.
    converged = [f"R-hat {mixing.r_hat:.3f}, ESS {mixing.ess:.3g}{acceptance}"] if wording.mixes else []
    converged += [f"diverged {mixing.diverged}"] if wording.stepped else []
    windows = ", ".join(
        (f"{name} " if len(invariants) > 1 else "")
        + f"{invariant.in_window:.1%} of {invariant.counted} draws"
        + (" in the window" if len(invariants) == 1 else " in [{:g}, {:g}]".format(*invariant.window))
        + _own_share(invariant.exact_share)
        for name, invariant in invariants.items()
    )
    return f"{wording.budget(result)}, {windows}; {', '.join(converged)}"


def _own_share(window: WindowShare | None) -> str:
    """Beside the share of the draws in the window that of the exact law, where it is known."""
    if window is None or window.share is None:
        return ""
    return f" (the exact law: {window.share:.1%})"


def _group_lines(result: Result) -> list[Line]:
    """Laws that lie within the margin of each other, which a verdict by that margin does not tell apart."""
    lines, laws = [], result.verdicts
    for mark, group in zip(MARKS, result.groups, strict=False):
        same = group.tv < SAME_LAW
        every = len(group.laws) == len(laws)
        what = "one law here" if same else f"within TV {group.tv:.2g} of each other, below the margin"
        over = " over all invariants" if len(result.invariants) > 1 else ""  # each row has that of its own
        text = f"({mark}) {', '.join(group.laws)} are {what}: one verdict for them together{over}, {group.verdict}"
        if every and len(laws) > 1:
            text += "; these are all the laws, so that the run tells nothing between them"
            text += "" if same else f" (a smaller margin, {result.plan.config.process.wider} or a wider window would)"
        lines.append(Line(text, "yellow" if every else ""))
    return lines


def _identity_lines(result: Result) -> list[Line]:
    """How many standard errors each identity of a step is off; of several charges the furthest."""
    tested = [one for one in result.identities if isinstance(one, Identity)]
    families: dict[str, list[Identity]] = {}
    for one in tested:
        families.setdefault(one.name.split()[0], []).append(one)
    told = []
    for name, members in families.items():
        furthest = max(members, key=lambda one: abs(one.errors))
        of = f" (the furthest of {len(members)})" if len(members) > 1 else ""
        told.append(f"{name} {furthest.errors:+.1f} se{of}".replace("-", "−"))
    of = "a step" if wording_of(result.details).stepped else "the stationary law"
    lines = [Line(f"identities of {of}: {', '.join(told)}")] if told else []
    absent = [one for one in result.identities if isinstance(one, Absent)]
    return lines + [
        Line(f"no {one.what}{'' if one.what == 'identities' else ' identity'}: {one.why}") for one in absent
    ]


def _joint_lines(result: Result) -> list[Line]:
    joint = result.joint
    if joint is None:
        return []
    verdicts = ", ".join(f"{law} {verdict}" for law, verdict in result.verdicts.items())
    together = Line(f"over all invariants together: {verdicts}", "bold")
    if isinstance(joint, Absent):
        return [together, Line(f"no joint test: {joint.why}")]
    laws = next(iter(result.invariants.values())).laws
    own = joint.law in laws and laws[joint.law].about.role == "own"
    limit = "" if own else " (a limit, not the exact one)"
    test = (
        f"joint test of all invariants and ℓ/T against the law {joint.law}{limit}: "
        f"energy distance {joint.test.energy_distance:.2g}, {p_is(joint.test.p_value)} "
        f"({joint.test.chains} chains of each permuted){_dependence(joint)}"
    )
    return [together, Line(test)]


def _dependence(joint: Joint) -> str:
    """The pair that depends on each other least as it does in the law."""
    (first, second), dependence = joint.pair, joint.dependence
    return (
        f"; correlation of normal scores of {first} and {second} {dependence.first:z.3f}, "
        f"in the law {dependence.second:z.3f}"
        f" ({p_is(dependence.p_value)}, the least of all pairs times their number)"
    )


def _law_reference_lines(reference: LawReference | None) -> list[Line]:
    if reference is None:
        return []
    samplers = "; ".join(
        f"{name}: R-hat {sampler.r_hat:.3f}, ESS {sampler.ess:.3g}, acceptance {sampler.acceptance:.3f}"
        for name, sampler in reference.samplers.items()
    )
    between = reference.between.values()
    furthest = max(comparison.tv for comparison in between)
    least = min((comparison.p_value for comparison in between if comparison.p_value is not None), default=None)
    shares = ", ".join(f"{law} {share:.0%}" for law, share in reference.weights.items())
    text = (
        f"predictions from draws of the law {reference.law}, {samplers}; largest TV between the two "
        f"{furthest:.4f} (least {p_is(least)}); weights rest on {shares} of them"
    )
    return [Line(text)]


def _elsewhere_lines(result: Result) -> list[Line]:
    """Minima of the reduced loss that the window leaves out."""
    minima = result.protocol.elsewhere
    if not minima:
        return []
    name = next(iter(result.invariants))
    places = ", ".join(f"{name} = {place.at:.4g} ({abs(place.height):.2f} T above the lowest)" for place in minima)
    return [Line(f"the reduced loss has minima outside the window too, at {places}", "yellow")]


def _slice_lines(slice_: SliceDepartures | None) -> list[Line]:
    """Only where χ is not the canonical moment map."""
    if slice_ is None or slice_.canonical_gap < CANONICAL:
        return []
    holds = "holds" if slice_.equation_40 < CANONICAL else f"fails, by {slice_.equation_40:.2g} of |G_χ|"
    harmless = slice_.log_det_spread < CANONICAL
    text = (
        f"the slice is not canonical, for ∇χ is not the direction of the action: eq. (42) is off by "
        f"{slice_.canonical_gap:.2g} of |H|, eq. (40) {holds}; log det G_χ − log det H varies by "
        f"{slice_.log_det_spread:.2g} over it, "
        + ("harmless here: the theorem's law is the same with either" if harmless else "and the theorem's law with it")
    )
    return [Line(text, "" if harmless else "yellow")]


def _of_worst(comparisons: Mapping[str, Comparison]) -> str:
    """Of several invariants, the one that a number is of."""
    return f" of {worst(comparisons)}" if len(comparisons) > 1 else ""


def _step_line(check: StepCheck | Absent | None, driven: str) -> Line:
    if check is None:
        return Line("the step is not checked at h/2 (step_check no): its bias is unknown", "yellow")
    if isinstance(check, Absent):
        return Line(f"no step check: {check.why}", "yellow")
    c, step = "", worst_of(check.comparisons)
    if check.c_difference is not None:
        c = f", c changes by {check.c_difference.value:+z.3f} ± {check.c_difference.se:.3f}"
    return Line(
        f"step check: at h/2 = {check.companion_step_size:.4g}{driven} the histogram{_of_worst(check.comparisons)} "
        f"changes by TV {step.tv:.4f} (floor {step.tv_floor:.4f}, {p_is(step.p_value)}){c}; "
        f"bias {CHECKED[step.verdict]}"
    )


def _reference_lines(reference: Reference | None) -> list[Line]:
    if reference is None:
        return []
    draws, mixing, against = worst_of(reference.comparisons), reference.mixing, ""
    if reference.against_exact is not None:
        exact = worst_of(reference.against_exact)
        against = f", against exact{_of_worst(reference.against_exact)} TV {exact.tv:.4f} ({p_is(exact.p_value)})"
    text = (
        f"reference {reference.sampler}: against the draws{_of_worst(reference.comparisons)} TV {draws.tv:.4f} "
        f"({p_is(draws.p_value)}){against}; acceptance {mixing.acceptance:.3f}, "
        f"R-hat {mixing.r_hat:.3f}, ESS {mixing.ess:.3g}"
    )
    return [Line(text)]


def _drift_lines(stretches: tuple[DriftStretch, ...] | None) -> list[Line]:
    if stretches is None:
        return []
    head = "unconfined: exp(−L/T) dθ is not normalisable; the plain marginal is not stationary, it drifts:"
    lines = [Line(head, "yellow")]
    for row in stretches:
        c = row.coefficient
        value = "–" if isinstance(c, Absent) else f"{c.c:+z.3f} ± {c.se:.3f}"
        text = (
            f"  t = {row.time[0]:7.1f} to {row.time[1]:7.1f}: c of the plain marginal {value}, "
            f"rms |χ| {row.charge_rms:.3g}, on the slab {row.on_slab:.2%}"
        )
        lines.append(Line(text))
    return lines


def _verdict_line(laws: LawRows, margin: float) -> str:
    """What the verdicts mean, and which laws agree only within the margin."""
    rows = {key: law.comparison for key, law in laws.items()}
    close = {
        name: None
        for (_, name), row in rows.items()
        if row.verdict == "agrees" and row.p_value is not None and row.p_value < EQUALITY_LEVEL
    }
    line = (
        f"agrees, differs: the upper, the lower 95% bound of TV (one-sided each) is below, above the margin {margin:g}"
    )
    line += "; undecided: neither, or no verdict is given; p tests exact equality"
    if close:
        line += f", which {', '.join(close)} fail{'s' if len(close) == 1 else ''} inside the margin"
    whys = dict.fromkeys(row.why_no_p for row in rows.values() if row.why_no_p)
    return line + (f"; no p: {'; '.join(whys)}" if whys else "")


def _law_budget(result: Result) -> str:
    """How to raise the draws of a law: of (S) by an estimated Σ they are those of the noise, of others `law_draws`."""
    details = result.details.process if isinstance(result.details, OwnDrawsDetails) else result.details
    estimated = isinstance(details, SgdDetails) and details.measured.errors is not None
    several = result.protocol.coordinates > 1  # where an estimated Σ gives no (S)
    return "state the covariance, or raise draws of own_noise" if estimated and not several else "raise law_draws"


def _undecided_lines(laws: LawRows, margin: float, several: bool, budgets: tuple[str, str]) -> list[Line]:
    """What each undecided law lacks; laws that are one law share a line."""
    lines: dict[str, list[str]] = {}
    for (scalar, name), law in laws.items():
        row = law.comparison
        if row.verdict != "undecided":
            continue
        advice = _remedy(law.error_share, *budgets)
        if row.why_no_p and row.tv_lower95 > margin:
            # More steps give longer chains and no more of them.
            advice = f"the distance is above the margin, but without a p-value that decides nothing: {row.why_no_p}"
        line = (
            f"{f' of {scalar}' if several else ''}: this budget cannot decide, the distance lies between "
            f"{row.tv_lower95:.4f} and {row.tv_upper95:.4f} and the margin is {margin:g}; {advice}"
        )
        lines.setdefault(line, []).append(name)
    return [Line(f"{', '.join(names)}{line}", "yellow") for line, names in lines.items()]


def _remedy(law_share: float, law: str, more: str) -> str:
    """Which of the two budgets to raise, that with the larger part of the variance, as the words for either say it."""
    if law_share > 0.5:
        return f"{law_share:.0%} of its variance is the law's draws': {law}"
    own = f"{1.0 - law_share:.0%} of its variance is the run's: " if law_share > 0 else ""
    return f"{own}{more}"
