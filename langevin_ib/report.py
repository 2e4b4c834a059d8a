"""The table on the terminal and the page in the run folder, both from a summary alone."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from langevin_ib.report_sgd import descent_lines, descent_title, nearest_lines
from langevin_ib.statistics.compare import p_is, p_text

COLOURS = {"agrees": "green", "differs": "red", "undecided": "yellow"}
EQUALITY_LEVEL = 1e-3
SAME = 1e-9  # distance of laws that are one
CANONICAL = 1e-6  # relative departure from eqs. (40) and (42) that counts as none

Laws = dict[tuple[str, str], dict[str, Any]]  # by (invariant, law)
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


def print_report(summary: dict[str, Any], console: Console) -> None:
    """The verdict table, then c, the diagnostics and whatever stands against a verdict."""
    tables = [
        _table(summary, tuple(c for c in columns(summary) if c not in spared), bare=bare)
        for bare, sets in ((False, SPARE), (True, SPARE_BARE))
        for spared in sets
    ]
    page = console.options.update(width=UNBOUNDED)
    fitting = [t for t in tables if console.measure(t, options=page).maximum <= console.width]
    console.print(Text(table_title(summary), style="bold"), soft_wrap=True)
    if any(one["laws"] for one in summary["invariants"].values()):
        console.print((fitting or tables[-1:])[0])
    for style, line in findings(summary):
        console.print(Text(line, style=style), soft_wrap=True)


def _table(summary: dict[str, Any], shown: tuple[str, ...], *, bare: bool = False) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False) if bare else Table()
    for column in shown:
        table.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    for rows in law_rows(summary):
        for row in rows:
            cells = dict(zip(columns(summary), row, strict=True))
            verdict = Text(cells["verdict"], style=COLOURS[cells["verdict"].split()[0]])
            table.add_row(*(verdict if column == "verdict" else cells[column] for column in shown))
        table.add_section()
    return table


def columns(summary: dict[str, Any]) -> tuple[str, ...]:
    """Headings; the invariant's only where there are several."""
    own = SGD_COLUMNS if "descent" in summary else COLUMNS
    return own if len(summary["invariants"]) == 1 else ("invariant", *own)


def table_title(summary: dict[str, Any]) -> str:
    """Model, temperature, protocol and window in one line."""
    config, condition = summary["config"], summary["protocol"]["conditioned_on"]
    where = ""
    if len(summary["invariants"]) == 1:
        ((name, invariant),) = summary["invariants"].items()
        where = "{} in [{:g}, {:g}], ".format(name, *invariant["window"])
    if "descent" in summary:
        return f"{config['model']}: {where}{descent_title(summary)}"
    return (
        f"{config['model']}: {where}T = {summary['temperature']:.4g}, confinement "
        f"{summary['protocol']['confinement']}" + (f", draws with {condition}" if condition else "")
    )


def law_rows(summary: dict[str, Any]) -> list[list[tuple[str, ...]]]:
    """For each invariant one row of text for each law, in the order of `columns`."""
    several = len(summary["invariants"]) > 1
    marks: dict[str, str] = {}
    together: dict[str, str] = {}
    for mark, group in zip(MARKS, summary["groups"], strict=False):
        for law in group["laws"]:
            marks[law], together[law] = f" ({mark})", group["verdict"]
    blocks = []
    for name, invariant in summary["invariants"].items():
        rows = []
        for law_name, law in invariant["laws"].items():
            c = "–" if law["c"] is None else f"{law['c']:z.3f}"
            distance = (
                f"{law['tv']:.4f}",
                f"{law['tv_floor']:.4f}",
                f"{law['tv_lower95']:.4f}–{law['tv_upper95']:.4f}",
                p_text(law["p_value"]),
            )
            # One for a group; but of several invariants each row says which of them decides.
            own = str(law["verdict"])
            verdict = (own if several else together.get(law_name, own)) + marks.get(law_name, "")
            if "descent" in summary:
                temperature = "–" if law["temperature"] is None else f"{law['temperature']:.3g}"
                row = (law_name, law["measure"], temperature, c, *distance, verdict)
            else:
                row = (law_name, law["measure"], *distance, c, verdict)
            rows.append((name if not rows else "", *row) if several else row)
        blocks.append(rows)
    return blocks


def findings(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(style, line) for everything that the table does not hold."""
    checks, run, margin = summary["diagnostics"], summary["run"], summary["config"]["margin"]
    invariants = summary["invariants"]
    first = next(iter(invariants.values()))
    c = first["correction"]
    doubt = ", in doubt: see below" if summary["doubts"] else ""
    if "descent" in summary:
        lines = nearest_lines(summary)
    elif c["c"] is None:
        lines = [("yellow", f"c not estimated: {c['why']}")]
    else:
        lines = [
            (
                "bold",
                f"c = {c['c']:z.3f} ± {c['se']:.3f} (95% interval {c['ci95'][0]:z.3f} to {c['ci95'][1]:z.3f}){doubt}",
            )
        ]
    acceptance = "" if checks["acceptance"] is None else f", acceptance {checks['acceptance']:.3f}"
    if checks["rejected"] is not None:
        acceptance += f", projections rejected {checks['rejected']:.2g}"
    # Chains that end in a point have no mixing to speak of.
    resting = "descent" in summary and summary["descent"]["fits"] is None
    mixing = "" if resting else f"R-hat {checks['r_hat']:.3f}, ESS {checks['ess']:.3g}{acceptance}, "
    step = "η" if "descent" in summary else "h"
    windows = ", ".join(
        (f"{name} " if len(invariants) > 1 else "") + f"{one['in_window']:.1%} of {one['counted']} draws"
        + (" in the window" if len(invariants) == 1 else " in [{:g}, {:g}]".format(*one["window"]))
        + _own_share(one["in_window_exact"])
        for name, one in invariants.items()
    )  # fmt: skip
    lines.append(
        (
            "",
            f"{run['chains']} chains × {run['steps']} steps of {step} = {run['step_size']:.4g} "
            f"(time {run['time']:.4g}), {windows}; "
            f"{mixing}diverged {checks['diverged']}",
        )
    )
    laws = {(name, law): entry for name, one in invariants.items() for law, entry in one["laws"].items()}
    if laws:
        lines.append(("", _verdict_line(laws, margin)))
    lines += _group_lines(summary)
    if "descent" in summary:
        lines += descent_lines(summary)
    lines += _joint_lines(summary) + _law_reference_lines(summary["law_reference"])
    if "descent" not in summary and summary["config"]["integrator"] != "mala":
        lines += _step_line(checks["step_check"])
    lines += _reference_line(summary["reference"]) + _drift_lines(summary["drift"])
    lines += _slice_lines(summary["protocol"]["slice"]) + _elsewhere_lines(summary)
    lines += [("yellow", line) for line in (*first["unavailable"], *summary["protocol"]["notes"])]
    lines += [("yellow", f"no verdict: {doubt}") for doubt in summary["doubts"]]
    if not summary["doubts"]:
        decided = {name for group in summary["groups"] if group["verdict"] != "undecided" for name in group["laws"]}
        left = {key: law for key, law in laws.items() if key[1] not in decided}
        lines += _undecided_lines(left, margin, len(invariants) > 1)
    return lines


def _own_share(found: dict[str, Any] | None) -> str:
    """Beside the share of the draws in the window that of the exact law, where it is known."""
    if found is None or found["share"] is None:
        return ""
    return f" (the exact law: {found['share']:.1%})"


def _group_lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Laws that lie within the margin of each other, which a verdict by that margin does not tell apart."""
    lines, laws = [], summary["verdicts"]
    for mark, group in zip(MARKS, summary["groups"], strict=False):
        same = group["tv"] < SAME
        every = len(group["laws"]) == len(laws)
        what = "one law here" if same else f"within TV {group['tv']:.2g} of each other, below the margin"
        text = f"({mark}) {', '.join(group['laws'])} are {what}: one verdict for them together, {group['verdict']}"
        if every and len(laws) > 1:
            text += "; these are all the laws, so that the run tells nothing between them"
            text += "" if same else " (a smaller margin, a higher temperature or a wider window would)"
        lines.append(("yellow" if every else "", text))
    return lines


def _joint_lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    joint = summary["joint"]
    if joint is None:
        return []
    verdicts = ", ".join(f"{law} {verdict}" for law, verdict in summary["verdicts"].items())
    lines = [("bold", f"over all invariants together: {verdicts}")]
    if "why" in joint:
        return [*lines, ("", f"no joint test: {joint['why']}")]
    return [
        *lines,
        (
            "",
            f"joint test of all invariants and ℓ/T against the law {joint['law']}"
            + (": " if joint["law"] == "exact" else " (a limit, not the exact one): ")
            + f"energy distance {joint['energy_distance']:.2g}, {p_is(joint['p_value'])} "
            f"({joint['chains']} chains of each permuted)" + _dependence(joint.get("dependence")),
        ),
    ]


def _dependence(found: dict[str, Any] | None) -> str:
    """The pair that depends on each other least as it does in the law; of summaries that have one."""
    if found is None:
        return ""
    first, second = found["pair"]
    return (
        f"; correlation of normal scores of {first} and {second} {found['first']:z.3f}, "
        f"in the law {found['second']:z.3f}"
        f" ({p_is(found['p_value'])}, the least of all pairs times their number)"
    )


def _law_reference_lines(reference: dict[str, Any] | None) -> list[tuple[str, str]]:
    if reference is None:
        return []
    samplers = "; ".join(
        f"{name}: R-hat {one['r_hat']:.3f}, ESS {one['ess']:.3g}, acceptance {one['acceptance']:.3f}"
        for name, one in reference["samplers"].items()
    )
    furthest = max(one["tv"] for one in reference["between"].values())
    least = min((one["p_value"] for one in reference["between"].values() if one["p_value"] is not None), default=None)
    shares = ", ".join(f"{law} {share:.0%}" for law, share in reference["weights"].items())
    return [
        (
            "",
            f"predictions from draws of the law {reference['law']}, {samplers}; largest TV between the two "
            f"{furthest:.4f} (least {p_is(least)}); weights rest on {shares} of them",
        )
    ]


def _elsewhere_lines(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Minima of the reduced loss that the window leaves out."""
    found = summary["protocol"]["elsewhere"]
    if not found:
        return []
    name = next(iter(summary["invariants"]))
    places = ", ".join(f"{name} = {one['at']:.4g} ({abs(one['height']):.2f} T above the lowest)" for one in found)
    return [("yellow", f"the reduced loss has minima outside the window too, at {places}")]


def _slice_lines(found: dict[str, float]) -> list[tuple[str, str]]:
    """Only where χ is not the canonical moment map."""
    if found["canonical_gap"] < CANONICAL:
        return []
    holds = "holds" if found["equation_40"] < CANONICAL else f"fails, by {found['equation_40']:.2g} of |G_χ|"
    return [
        (
            "yellow",
            f"the slice is not canonical, eq. (42) is off by {found['canonical_gap']:.2g} of |H|: "
            f"log det G_χ − log det H varies by {found['log_det_spread']:.2g} over it, and the theorem's law with it; "
            f"eq. (40) {holds}",
        )
    ]


def html_page(summary: dict[str, Any], picture: Path) -> str:
    """One self-contained page: picture, table, findings and the configuration."""
    image = base64.b64encode(picture.read_bytes()).decode()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns(summary))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
        + f'<td class="{row[-1].split()[0]}">{row[-1]}</td></tr>'
        for rows in law_rows(summary)
        for row in rows
    )  # fmt: skip
    formulas = "".join(
        f"<li><b>{law}</b>: {html.escape(entry['formula'])} with respect to {html.escape(entry['measure'])}</li>"
        for law, entry in next(iter(summary["invariants"].values()))["laws"].items()
    )
    names = html.escape(", ".join(summary["invariants"]))
    lines = "".join(f"<p>{html.escape(line)}</p>" for _, line in findings(summary))
    config = html.escape(json.dumps(summary["config"], indent=1))
    title = html.escape(table_title(summary))
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


def _worst(found: dict[str, Any]) -> str:
    """Of several invariants, the one that a number is of."""
    return f" of {found['worst']}" if "worst" in found else ""


def _step_line(check: dict[str, Any] | None) -> list[tuple[str, str]]:
    if check is None:
        return [("yellow", "the step is not checked at h/2 (step_check no): its bias is unknown")]
    if "why" in check:
        return [("yellow", f"no step check: {check['why']}")]
    c = ""
    if check["c_difference"] is not None:
        c = f", c changes by {check['c_difference']:+z.3f} ± {check['c_difference_se']:.3f}"
    return [
        (
            "",
            f"step check: at h/2 = {check['companion_step_size']:.4g} the histogram{_worst(check)} changes by TV "
            f"{check['tv']:.4f} "
            f"(floor {check['tv_floor']:.4f}, {p_is(check['p_value'])}){c}; bias {CHECKED[check['verdict']]}",
        )
    ]


def _reference_line(reference: dict[str, Any] | None) -> list[tuple[str, str]]:
    if reference is None:
        return []
    exact = reference["against_exact"]
    against = "" if exact is None else f", against exact{_worst(exact)} TV {exact['tv']:.4f} ({p_is(exact['p_value'])})"
    return [
        (
            "",
            f"reference {reference['sampler']}: against the draws{_worst(reference)} TV {reference['tv']:.4f} "
            f"({p_is(reference['p_value'])}){against}; acceptance {reference['acceptance']:.3f}, "
            f"R-hat {reference['r_hat']:.3f}, ESS {reference['ess']:.3g}",
        )
    ]


def _drift_lines(drift: dict[str, Any] | None) -> list[tuple[str, str]]:
    if drift is None:
        return []
    lines = [
        ("yellow", "unconfined: exp(−L/T) dθ is not normalisable; the plain marginal is not stationary, it drifts:"),
    ]
    for row in drift["stretches"]:
        c = row["correction"]
        value = "–" if c["c"] is None else f"{c['c']:+z.3f} ± {c['se']:.3f}"
        lines.append(
            (
                "",
                f"  t = {row['time'][0]:7.1f} to {row['time'][1]:7.1f}: c of the plain marginal {value}, "
                f"rms |χ| {row['charge_rms']:.3g}, on the slab {row['on_slab']:.2%}",
            )
        )
    return lines


def _verdict_line(laws: Laws, margin: float) -> str:
    """What the verdicts mean, and which laws agree only within the margin."""
    close = {
        name: None
        for (_, name), law in laws.items()
        if law["verdict"] == "agrees" and law["p_value"] is not None and law["p_value"] < EQUALITY_LEVEL
    }
    line = (
        f"agrees, differs: the upper, the lower 95% bound of TV (one-sided each) is below, above the margin {margin:g}"
    )
    line += "; undecided: neither, or no verdict is given; p tests exact equality"
    if close:
        line += f", which {', '.join(close)} fail{'s' if len(close) == 1 else ''} inside the margin"
    whys = dict.fromkeys(law["why_no_p"] for law in laws.values() if law["why_no_p"])
    return line + (f"; no p: {'; '.join(whys)}" if whys else "")


def _undecided_lines(laws: Laws, margin: float, several: bool) -> list[tuple[str, str]]:
    """What each undecided law lacks; laws that are one law share a line."""
    lines: dict[str, list[str]] = {}
    for (scalar, name), law in laws.items():
        if law["verdict"] != "undecided":
            continue
        advice = _remedy(law)
        if law["why_no_p"] and law["tv_lower95"] > margin:
            # More steps give longer chains and no more of them.
            advice = f"the distance is above the margin, but without a p-value that decides nothing: {law['why_no_p']}"
        line = (
            f"{f' of {scalar}' if several else ''}: this budget cannot decide, the distance lies between "
            f"{law['tv_lower95']:.4f} and {law['tv_upper95']:.4f} and the margin is {margin:g}; {advice}"
        )
        lines.setdefault(line, []).append(name)
    return [("yellow", f"{', '.join(names)}{line}") for line, names in lines.items()]


def _remedy(law: dict[str, Any]) -> str:
    """Which of the two budgets to raise: that with the larger part of the variance."""
    share = law.get("law_error_share", 0.0)
    if share > 0.5:
        return f"{share:.0%} of its variance is the law's draws': raise law_draws"
    own = f"{1.0 - share:.0%} of its variance is the run's: " if share > 0 else ""
    return f"{own}run more steps or more chains"
