"""The table on the terminal and the page in the run folder, both from a `Result` alone."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from langevin_ib.config.kernels import KernelSettings
from langevin_ib.output.report_sgd import descent_lines, descent_title, nearest_lines
from langevin_ib.runs.result import (
    DriftStretch,
    Joint,
    LawReference,
    LawResult,
    Reference,
    Result,
    SgdDetails,
    SliceDepartures,
    StepCheck,
    WindowShare,
    worst,
    worst_of,
)
from langevin_ib.statistics.compare import SAME_LAW, Comparison, p_is, p_text
from langevin_ib.statistics.records import Absent

COLOURS = {"agrees": "green", "differs": "red", "undecided": "yellow"}
EQUALITY_LEVEL = 1e-3
CANONICAL = 1e-6  # relative departure from eqs. (40) and (42) that counts as none

LawRows = Mapping[tuple[str, str], LawResult]  # by (invariant, law)
Lines = list[tuple[str, str]]  # (style, text)
CHECKED = {
    "agrees": "below the margin with 95% confidence",
    "differs": "above the margin with 95% confidence",
    "undecided": "not bounded by the margin at this sample size",
}
COLUMNS = ("law", "measure", "TV", "floor", "95% bounds", "p", "c of law", "verdict")
SGD_COLUMNS = ("law", "measure", "T", "c", "TV", "floor", "95% bounds", "p", "verdict")
UNBOUNDED = 1000  # a table measures what it is cut to, so it is measured on a page that cuts nothing
# What is left out, one set after the other, where a terminal is too narrow: not a measure, nor a distance's error bar.
SPARE = ((), ("floor", "c of law"), ("floor", "c of law", "p"), ("floor", "c of law", "p", "c"))
# Where even the lines between the columns do not fit: these too, for a distance or a verdict that is cut says nothing.
SPARE_BARE = (SPARE[-1], (*SPARE[-1], "T"), (*SPARE[-1], "T", "95% bounds"), (*SPARE[-1], "T", "95% bounds", "measure"))
LEFT = ("invariant", "law", "measure", "verdict")
MARKS = "abcdefghijklmnopqrstuvwxyz"  # of groups of laws that lie within the margin of each other


def print_report(result: Result, console: Console) -> None:
    """The verdict table, then c, the diagnostics and whatever stands against a verdict."""
    tables = [
        _table(result, tuple(c for c in table_columns(result) if c not in spared), bare=bare)
        for bare, sets in ((False, SPARE), (True, SPARE_BARE))
        for spared in sets
    ]
    page = console.options.update(width=UNBOUNDED)
    fitting = [t for t in tables if console.measure(t, options=page).maximum <= console.width]
    console.print(Text(table_title(result), style="bold"), soft_wrap=True)
    if any(invariant.laws for invariant in result.invariants.values()):
        console.print((fitting or tables[-1:])[0])
    for style, line in findings(result):
        console.print(Text(line, style=style), soft_wrap=True)


def _table(result: Result, shown: tuple[str, ...], *, bare: bool = False) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False) if bare else Table()
    for column in shown:
        table.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    for rows in law_rows(result):
        for row in rows:
            cells = dict(zip(table_columns(result), row, strict=True))
            verdict = Text(cells["verdict"], style=COLOURS[cells["verdict"].split()[0]])
            table.add_row(*(verdict if column == "verdict" else cells[column] for column in shown))
        table.add_section()
    return table


def table_columns(result: Result) -> tuple[str, ...]:
    """Headings; the invariant's only where there are several."""
    own = SGD_COLUMNS if isinstance(result.details, SgdDetails) else COLUMNS
    return own if len(result.invariants) == 1 else ("invariant", *own)


def table_title(result: Result) -> str:
    """Model, temperature, protocol and window in one line."""
    config, protocol, where = result.plan.config, result.protocol, ""
    if len(result.invariants) == 1:
        ((name, invariant),) = result.invariants.items()
        where = "{} in [{:g}, {:g}], ".format(name, *invariant.window)
    if isinstance(result.details, SgdDetails):
        return f"{config.model_name}: {where}{descent_title(result)}"
    condition = protocol.conditioned_on
    heat = f"T = {config.temperature:.4g}" if config.process.gibbs else config.sampler
    return f"{config.model_name}: {where}{heat}, confinement {protocol.confinement}" + (
        f", draws with {condition}" if condition else ""
    )


def law_rows(result: Result) -> list[list[tuple[str, ...]]]:
    """For each invariant one row of text for each law, in the order of `table_columns`."""
    several, descent = len(result.invariants) > 1, isinstance(result.details, SgdDetails)
    marks: dict[str, str] = {}
    together: dict[str, str] = {}
    for mark, group in zip(MARKS, result.groups, strict=False):
        for law in group.laws:
            marks[law], together[law] = f" ({mark})", group.verdict
    blocks = []
    for name, invariant in result.invariants.items():
        rows = []
        for law_name, law in invariant.laws.items():
            c = "–" if law.c is None else f"{law.c:z.3f}"
            seen = law.comparison
            distance = (
                f"{seen.tv:.4f}",
                f"{seen.tv_floor:.4f}",
                f"{seen.tv_lower95:.4f}–{seen.tv_upper95:.4f}",
                p_text(seen.p_value),
            )
            # One for a group; but of several invariants each row says which of them decides.
            own = str(seen.verdict)
            verdict = (own if several else together.get(law_name, own)) + marks.get(law_name, "")
            if descent:
                temperature = "–" if law.temperature is None else f"{law.temperature:.3g}"
                row = (law_name, law.about.measure, temperature, c, *distance, verdict)
            else:
                row = (law_name, law.about.measure, *distance, c, verdict)
            rows.append((name if not rows else "", *row) if several else row)
        blocks.append(rows)
    return blocks


def findings(result: Result) -> Lines:
    """(style, line) for everything that the table does not hold."""
    config, invariants = result.plan.config, result.invariants
    details = result.details if isinstance(result.details, SgdDetails) else None
    lines = _head_lines(result) if details is None else nearest_lines(result, details)
    lines.append(("", _run_line(result)))
    laws = {(name, law): row for name, invariant in invariants.items() for law, row in invariant.laws.items()}
    if laws:
        lines.append(("", _verdict_line(laws, config.margin)))
    lines += _group_lines(result)
    if details is not None:
        lines += descent_lines(result, details)
    lines += _joint_lines(result) + _law_reference_lines(result.law_reference)
    kernel = config.records.get("kernel")  # which a process of someone's own need not have
    biased = isinstance(kernel, KernelSettings) and not kernel.adjusted
    if details is None and (biased or result.step_check is not None):
        lines += _step_line(result.step_check)
    lines += _reference_line(result.reference) + _drift_lines(result.drift)
    lines += _slice_lines(result.protocol.slice) + _elsewhere_lines(result)
    noted = (*result.missing, *result.protocol.notes, *([] if result.run.note is None else [result.run.note]))
    lines += [("yellow", line) for line in noted]
    lines += [("yellow", f"no verdict: {doubt}") for doubt in result.doubts]
    if not result.doubts:
        decided = {name for group in result.groups if group.verdict != "undecided" for name in group.laws}
        left = {key: law for key, law in laws.items() if key[1] not in decided}
        lines += _undecided_lines(left, config.margin, len(invariants) > 1)
    return lines


def _head_lines(result: Result) -> Lines:
    """c with its interval."""
    c = result.coefficient
    if isinstance(c, Absent):
        return [("yellow", f"c not estimated: {c.why}")]
    doubt = ", in doubt: see below" if result.doubts else ""
    return [("bold", f"c = {c} (95% interval {c.ci95[0]:z.3f} to {c.ci95[1]:z.3f}){doubt}")]


def _run_line(result: Result) -> str:
    """Budget, share in the windows, convergence."""
    run, mixing, invariants = result.run, result.mixing, result.invariants
    acceptance = "" if mixing.acceptance is None else f", acceptance {mixing.acceptance:.3f}"
    if mixing.rejected is not None:
        acceptance += f", projections rejected {mixing.rejected:.2g}"
    details = result.details if isinstance(result.details, SgdDetails) else None
    # Chains that end in a point have no mixing to speak of.
    resting = details is not None and not details.noisy
    converged = "" if resting else f"R-hat {mixing.r_hat:.3f}, ESS {mixing.ess:.3g}{acceptance}, "
    step = "h" if details is None else "η"
    windows = ", ".join(
        (f"{name} " if len(invariants) > 1 else "")
        + f"{invariant.in_window:.1%} of {invariant.counted} draws"
        + (" in the window" if len(invariants) == 1 else " in [{:g}, {:g}]".format(*invariant.window))
        + _own_share(invariant.exact_share)
        for name, invariant in invariants.items()
    )
    return (
        f"{run.chains} chains × {run.steps} steps of {step} = {run.step_size:.4g} "
        f"(time {run.time:.4g}), {windows}; "
        f"{converged}diverged {mixing.diverged}"
    )


def _own_share(window: WindowShare | None) -> str:
    """Beside the share of the draws in the window that of the exact law, where it is known."""
    if window is None or window.share is None:
        return ""
    return f" (the exact law: {window.share:.1%})"


def _group_lines(result: Result) -> Lines:
    """Laws that lie within the margin of each other, which a verdict by that margin does not tell apart."""
    lines, laws = [], result.verdicts
    for mark, group in zip(MARKS, result.groups, strict=False):
        same = group.tv < SAME_LAW
        every = len(group.laws) == len(laws)
        what = "one law here" if same else f"within TV {group.tv:.2g} of each other, below the margin"
        text = f"({mark}) {', '.join(group.laws)} are {what}: one verdict for them together, {group.verdict}"
        if every and len(laws) > 1:
            text += "; these are all the laws, so that the run tells nothing between them"
            text += "" if same else " (a smaller margin, a higher temperature or a wider window would)"
        lines.append(("yellow" if every else "", text))
    return lines


def _joint_lines(result: Result) -> Lines:
    joint = result.joint
    if joint is None:
        return []
    verdicts = ", ".join(f"{law} {verdict}" for law, verdict in result.verdicts.items())
    lines = [("bold", f"over all invariants together: {verdicts}")]
    if isinstance(joint, Absent):
        return [*lines, ("", f"no joint test: {joint.why}")]
    laws = next(iter(result.invariants.values())).laws
    own = joint.law in laws and laws[joint.law].about.role == "own"
    return [
        *lines,
        (
            "",
            f"joint test of all invariants and ℓ/T against the law {joint.law}"
            + (": " if own else " (a limit, not the exact one): ")
            + f"energy distance {joint.test.energy_distance:.2g}, {p_is(joint.test.p_value)} "
            f"({joint.test.chains} chains of each permuted){_dependence(joint)}",
        ),
    ]


def _dependence(joint: Joint) -> str:
    """The pair that depends on each other least as it does in the law."""
    (first, second), dependence = joint.pair, joint.dependence
    return (
        f"; correlation of normal scores of {first} and {second} {dependence.first:z.3f}, "
        f"in the law {dependence.second:z.3f}"
        f" ({p_is(dependence.p_value)}, the least of all pairs times their number)"
    )


def _law_reference_lines(reference: LawReference | None) -> Lines:
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
    return [
        (
            "",
            f"predictions from draws of the law {reference.law}, {samplers}; largest TV between the two "
            f"{furthest:.4f} (least {p_is(least)}); weights rest on {shares} of them",
        )
    ]


def _elsewhere_lines(result: Result) -> Lines:
    """Minima of the reduced loss that the window leaves out."""
    minima = result.protocol.elsewhere
    if not minima:
        return []
    name = next(iter(result.invariants))
    places = ", ".join(f"{name} = {place.at:.4g} ({abs(place.height):.2f} T above the lowest)" for place in minima)
    return [("yellow", f"the reduced loss has minima outside the window too, at {places}")]


def _slice_lines(slice_: SliceDepartures) -> Lines:
    """Only where χ is not the canonical moment map."""
    if slice_.canonical_gap < CANONICAL:
        return []
    holds = "holds" if slice_.equation_40 < CANONICAL else f"fails, by {slice_.equation_40:.2g} of |G_χ|"
    return [
        (
            "yellow",
            f"the slice is not canonical, eq. (42) is off by {slice_.canonical_gap:.2g} of |H|: "
            f"log det G_χ − log det H varies by {slice_.log_det_spread:.2g} over it, and the theorem's law with it; "
            f"eq. (40) {holds}",
        )
    ]


def html_page(result: Result, picture: Path) -> str:
    """One self-contained page: picture, table, findings and the configuration."""
    image = base64.b64encode(picture.read_bytes()).decode()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table_columns(result))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
        + f'<td class="{row[-1].split()[0]}">{row[-1]}</td></tr>'
        for rows in law_rows(result)
        for row in rows
    )  # fmt: skip
    formulas = "".join(
        "<li><b>{}</b>: {} with respect to {}</li>".format(*map(html.escape, (name, law.formula, law.about.measure)))
        for name, law in next(iter(result.invariants.values())).laws.items()
    )
    names = html.escape(", ".join(result.invariants))
    lines = "".join(f"<p>{html.escape(line)}</p>" for _, line in findings(result))
    config = html.escape(json.dumps(result.plan.config.to_dict(), indent=1))
    title = html.escape(table_title(result))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.45; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: left; }}
img {{ max-width: 100%; }} .agrees {{ color: #00664a; }} .differs {{ color: #a33b00; }} .undecided {{ color: #6b5900; }}
pre {{ background: #f5f5f5; padding: .7rem; overflow-x: auto; }}
</style></head><body>
<h1>{title}</h1>
<img alt="Histogram of {names} with each law, residuals below" src="data:image/png;base64,{image}">
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>
{lines}
<h2>Densities</h2><ul>{formulas}</ul>
<h2>Configuration</h2><pre>{config}</pre>
</body></html>
"""


def _of_worst(comparisons: Mapping[str, Comparison]) -> str:
    """Of several invariants, the one that a number is of."""
    return f" of {worst(comparisons)}" if len(comparisons) > 1 else ""


def _step_line(check: StepCheck | Absent | None) -> Lines:
    if check is None:
        return [("yellow", "the step is not checked at h/2 (step_check no): its bias is unknown")]
    if isinstance(check, Absent):
        return [("yellow", f"no step check: {check.why}")]
    c, step = "", worst_of(check.comparisons)
    if check.c_difference is not None:
        c = f", c changes by {check.c_difference.value:+z.3f} ± {check.c_difference.se:.3f}"
    return [
        (
            "",
            f"step check: at h/2 = {check.companion_step_size:.4g} the histogram{_of_worst(check.comparisons)} changes "
            f"by TV {step.tv:.4f} (floor {step.tv_floor:.4f}, {p_is(step.p_value)}){c}; bias {CHECKED[step.verdict]}",
        )
    ]


def _reference_line(reference: Reference | None) -> Lines:
    if reference is None:
        return []
    draws, mixing, against = worst_of(reference.comparisons), reference.mixing, ""
    if reference.against_exact is not None:
        exact = worst_of(reference.against_exact)
        against = f", against exact{_of_worst(reference.against_exact)} TV {exact.tv:.4f} ({p_is(exact.p_value)})"
    return [
        (
            "",
            f"reference {reference.sampler}: against the draws{_of_worst(reference.comparisons)} TV {draws.tv:.4f} "
            f"({p_is(draws.p_value)}){against}; acceptance {mixing.acceptance:.3f}, "
            f"R-hat {mixing.r_hat:.3f}, ESS {mixing.ess:.3g}",
        )
    ]


def _drift_lines(stretches: tuple[DriftStretch, ...] | None) -> Lines:
    if stretches is None:
        return []
    lines = [
        ("yellow", "unconfined: exp(−L/T) dθ is not normalisable; the plain marginal is not stationary, it drifts:"),
    ]
    for row in stretches:
        c = row.coefficient
        value = "–" if isinstance(c, Absent) else f"{c.c:+z.3f} ± {c.se:.3f}"
        lines.append(
            (
                "",
                f"  t = {row.time[0]:7.1f} to {row.time[1]:7.1f}: c of the plain marginal {value}, "
                f"rms |χ| {row.charge_rms:.3g}, on the slab {row.on_slab:.2%}",
            )
        )
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


def _undecided_lines(laws: LawRows, margin: float, several: bool) -> Lines:
    """What each undecided law lacks; laws that are one law share a line."""
    lines: dict[str, list[str]] = {}
    for (scalar, name), law in laws.items():
        row = law.comparison
        if row.verdict != "undecided":
            continue
        advice = _remedy(law.error_share)
        if row.why_no_p and row.tv_lower95 > margin:
            # More steps give longer chains and no more of them.
            advice = f"the distance is above the margin, but without a p-value that decides nothing: {row.why_no_p}"
        line = (
            f"{f' of {scalar}' if several else ''}: this budget cannot decide, the distance lies between "
            f"{row.tv_lower95:.4f} and {row.tv_upper95:.4f} and the margin is {margin:g}; {advice}"
        )
        lines.setdefault(line, []).append(name)
    return [("yellow", f"{', '.join(names)}{line}") for line, names in lines.items()]


def _remedy(law_share: float) -> str:
    """Which of the two budgets to raise: that with the larger part of the variance."""
    if law_share > 0.5:
        return f"{law_share:.0%} of its variance is the law's draws': raise law_draws"
    own = f"{1.0 - law_share:.0%} of its variance is the run's: " if law_share > 0 else ""
    return f"{own}run more steps or more chains"
