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

COLOURS = {"agrees": "green", "differs": "red", "undecided": "yellow"}
EQUALITY_LEVEL = 1e-3
CHECKED = {
    "agrees": "below the margin with 95% confidence",
    "differs": "above the margin with 95% confidence",
    "undecided": "not bounded by the margin at this sample size",
}
COLUMNS = ("law", "measure", "TV", "floor", "95% range", "p", "c of law", "verdict")


def print_report(summary: dict[str, Any], console: Console) -> None:
    """The verdict table, then c, the diagnostics and whatever stands against a verdict."""
    (name, invariant), *_ = summary["invariants"].items()
    title, rows = table_title(summary), law_rows(invariant)
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("law", "measure", "verdict") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row[:-1], Text(row[-1], style=COLOURS[row[-1]]))
    console.print(table)
    for style, line in findings(summary, name):
        console.print(Text(line, style=style), soft_wrap=True)


def table_title(summary: dict[str, Any]) -> str:
    """Model, temperature, protocol and window in one line."""
    (name, invariant), *_ = summary["invariants"].items()
    low, high = invariant["window"]
    condition = summary["protocol"]["conditioned_on"]
    return (
        f"{summary['config']['model']}: {name} in [{low:g}, {high:g}], T = {summary['temperature']:.4g}, confinement "
        f"{summary['protocol']['confinement']}" + (f", draws with {condition}" if condition else "")
    )


def law_rows(invariant: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row of text for each law, in the order of COLUMNS."""
    rows = []
    for name, law in invariant["laws"].items():
        c = law["c"]
        rows.append(
            (
                name,
                law["measure"],
                f"{law['tv']:.4f}",
                f"{law['tv_floor']:.4f}",
                f"{law['tv_lower95']:.4f}–{law['tv_upper95']:.4f}",
                _p(law["p_value"]),
                "–" if c is None else f"{c + 0.0:.3f}",
                law["verdict"],
            )
        )
    return rows


def findings(summary: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """(style, line) for everything that the table does not hold."""
    invariant, checks, run = summary["invariants"][name], summary["diagnostics"], summary["run"]
    c = invariant["correction"]
    doubt = ", in doubt: see below" if summary["doubts"] else ""
    if c["c"] is None:
        lines = [("yellow", f"c not estimated: {c['why']}")]
    else:
        lines = [
            ("bold", f"c = {c['c']:.3f} ± {c['se']:.3f} (95% interval {c['ci95'][0]:.3f} to {c['ci95'][1]:.3f}){doubt}")
        ]
    acceptance = "" if checks["acceptance"] is None else f", acceptance {checks['acceptance']:.3f}"
    lines.append(
        (
            "",
            f"{run['chains']} chains × {run['steps']} steps of h = {run['step_size']:.4g} (time {run['time']:.4g}), "
            f"{invariant['in_window']:.1%} of {invariant['counted']} draws in the window; R-hat {checks['r_hat']:.3f}, "
            f"ESS {checks['ess']:.3g}{acceptance}, diverged {checks['diverged']}",
        )
    )
    lines.append(("", _verdict_line(invariant["laws"], summary["config"]["margin"])))
    lines += _step_line(checks["step_check"]) + _reference_line(summary["reference"]) + _drift_lines(summary["drift"])
    lines += [("yellow", line) for line in invariant["unavailable"]]
    lines += [("yellow", f"no verdict: {doubt}") for doubt in summary["doubts"]]
    if not summary["doubts"]:
        lines += _undecided_lines(invariant["laws"], summary["config"]["margin"])
    return lines


def html_page(summary: dict[str, Any], picture: Path) -> str:
    """One self-contained page: picture, table, findings and the configuration."""
    (name, invariant), *_ = summary["invariants"].items()
    image = base64.b64encode(picture.read_bytes()).decode()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
        + f'<td class="{row[-1]}">{row[-1]}</td></tr>'
        for row in law_rows(invariant)
    )  # fmt: skip
    formulas = "".join(
        f"<li><b>{law}</b>: {html.escape(entry['formula'])} with respect to {html.escape(entry['measure'])}</li>"
        for law, entry in invariant["laws"].items()
    )
    lines = "".join(f"<p>{html.escape(line)}</p>" for _, line in findings(summary, name))
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
<img alt="Histogram of {html.escape(name)} with each law, residuals below" src="data:image/png;base64,{image}">
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>
{lines}
<h2>Densities</h2><ul>{formulas}</ul>
<h2>Configuration</h2><pre>{config}</pre>
</body></html>
"""


def _p(value: float | None) -> str:
    """A p-value; a dash where the chains are too few for one."""
    if value is None:
        return "–"
    return "<1e-15" if value < 1e-15 else f"{value:.2g}"


def _step_line(check: dict[str, Any] | None) -> list[tuple[str, str]]:
    if check is None:
        return []
    if "why" in check:
        return [("yellow", f"no step check: {check['why']}")]
    c = ""
    if check["c_difference"] is not None:
        c = f", c changes by {check['c_difference']:+.3f} ± {check['c_difference_se']:.3f}"
    return [
        (
            "",
            f"step check: at h/2 = {check['companion_step_size']:.4g} the histogram changes by TV {check['tv']:.4f} "
            f"(floor {check['tv_floor']:.4f}, p = {_p(check['p_value'])}){c}; bias {CHECKED[check['verdict']]}",
        )
    ]


def _reference_line(reference: dict[str, Any] | None) -> list[tuple[str, str]]:
    if reference is None:
        return []
    exact = reference["against_exact"]
    against = "" if exact is None else f", against exact TV {exact['tv']:.4f} (p = {_p(exact['p_value'])})"
    return [
        (
            "",
            f"reference {reference['sampler']}: against the draws TV {reference['tv']:.4f} "
            f"(p = {_p(reference['p_value'])}){against}; acceptance {reference['acceptance']:.3f}, "
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
        value = "–" if c["c"] is None else f"{c['c']:+.3f} ± {c['se']:.3f}"
        lines.append(
            (
                "",
                f"  t = {row['time'][0]:7.1f} to {row['time'][1]:7.1f}: c of the plain marginal {value}, "
                f"rms |χ| {row['charge_rms']:.3g}, on the slab {row['on_slab']:.2%}",
            )
        )
    return lines


def _verdict_line(laws: dict[str, Any], margin: float) -> str:
    """What the verdicts mean, and which laws agree only within the margin."""
    close = [
        name for name, law in laws.items() if law["verdict"] == "agrees" and (law["p_value"] or 1) < EQUALITY_LEVEL
    ]
    line = f"agrees, differs: TV below, above the margin {margin:g} with 95% confidence each; "
    line += "undecided: neither, or no verdict is given; p tests exact equality"
    return line + (
        f", which {', '.join(close)} fail{'s' if len(close) == 1 else ''} inside the margin" if close else ""
    )


def _undecided_lines(laws: dict[str, Any], margin: float) -> list[tuple[str, str]]:
    return [
        (
            "yellow",
            f"{name}: this budget cannot decide, the distance lies between {law['tv_lower95']:.4f} and "
            f"{law['tv_upper95']:.4f} and the margin is {margin:g}; run more steps",
        )
        for name, law in laws.items()
        if law["verdict"] == "undecided"
    ]
