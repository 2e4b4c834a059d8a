"""The answer of an attribution in sentences, as a table, as a page, and as a folder: all from its summary."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from langevin_ib.output.folders import discard, png, summary_json, write, write_folder
from langevin_ib.output.plot_attribution import attribution_figure
from langevin_ib.studies.mechanisms import Attribution
from langevin_ib.studies.settling import DECAY, DESCENT, ISOTROPIZED, LABEL, LANGEVIN, SGD

COLUMNS = ("mechanism", "|a|/|b| off by", "min–max", "|χ/χ(0)|", "loss", "removed", "growth", "charge")
KEPT = 0.1  # a median |χ/χ(0)| whose 95% interval is this near to one counts as kept
WANDERS = 0.3  # band of seeds around one within which it is kept by each of them, not on the median only
SAME = 0.1  # part of the imbalance, or of SGD's share, by which a 95% interval may reach away from no difference
UNSURE = 0.3  # standard error of a share above which it is not shown
SHOWN = (-1.0, 2.0)  # shares outside are of a removal that is all but none
SUBJECT = {
    DESCENT: "gradient descent alone",
    SGD: "SGD",
    LABEL: "SGD with label noise",
    ISOTROPIZED: "isotropized noise as strong as SGD's at every step",
    DECAY: "gradient descent with weight decay",
    LANGEVIN: "isotropic Langevin dynamics at the T of SGD's noise",
}
BATCHES = {
    "minibatch": "minibatches of {}",
    "fresh": "fresh batches of {}",
    "bernoulli": "each example kept with probability 1/2",
}
CAUSE = {SGD: "its noise", LABEL: "its noise", ISOTROPIZED: "its noise", DECAY: "weight decay", LANGEVIN: "its noise"}


def title(summary: dict[str, Any]) -> str:
    """Model, learning rate, steps and seeds in one line."""
    config, run = summary["config"], summary["run"]
    where = f"{config['setup']}, " if "setup" in config else ""
    momentum = f", momentum {config['momentum']:g}" if config["momentum"] else ""
    return (
        f"{where}{config['model']}: η = {config['lr']:g}{momentum}, {run['steps']} steps (time {run['time']:.4g}), "
        f"{BATCHES[config['noise']].format(config['batch_size'])}, {run['seeds']} seeds"
    )


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row of text for the start and for each mechanism, in the order of `COLUMNS`."""
    start = summary["start"]
    table: list[tuple[str, ...]] = [
        (
            "start",
            _format_band(start["ratio_factor"]),
            _format_range(start),
            "1",
            _format_number(start["loss"]["median"]),
            "",
            "",
            "",
        )
    ]
    for name, entry in summary["mechanisms"].items():
        if entry["diverged"]:
            table.append((name, entry["diverged"], "", "", "", "", "", ""))
            continue
        removed, shares = entry["reduction"], entry["shares"]
        parts = tuple("–" if shares is None else _format_share(shares[key]) for key in ("growth", "charge"))
        table.append(
            (
                name,
                _format_band(entry["ratio_factor"]),
                _format_range(entry),
                _format_band(entry["charge_left"]),
                _format_number(entry["loss"]["median"]),
                f"{_format_percent(removed['value'])[:-1]} ± {_format_percent(removed['se'])}",
                *parts,
            )
        )
    return table


def sentences(summary: dict[str, Any]) -> list[str]:
    """The conclusions: one sentence for each mechanism, then gradient descent against SGD.

    Each comparison appears once; its direction is stated only where the 95% interval excludes no change.
    """
    compared = dict(summary["across"]["added"])
    share = summary["across"]["descent_share"]
    if share is not None:
        compared.pop(SGD, None)  # it is the last sentence
    by_mechanism = [
        _describe_mechanism(name, entry, compared.get(name)) for name, entry in summary["mechanisms"].items()
    ]
    if share is None:
        return [
            *by_mechanism,
            f"what SGD removes is not positive with 95% confidence, so no share of {SUBJECT[DESCENT]} is given",
        ]
    conserved = not summary["mechanisms"][SGD]["diverged"] and _keeps_charge(summary["mechanisms"][SGD]["charge_left"])
    no_cause = conserved and share["low95"] <= 1.0 <= share["high95"] and _is_near(share, 1.0)
    return [
        *by_mechanism,
        f"of what SGD removes, {SUBJECT[DESCENT]} gives {_format_interval(share, '.2f')}, paired over "
        f"{summary['run']['seeds']} seeds" + (f", so it is not {CAUSE[SGD]} that balances" if no_cause else ""),
    ]


def _describe_mechanism(name: str, entry: dict[str, Any], added: dict[str, Any] | None) -> str:
    if entry["diverged"]:
        return f"{SUBJECT[name]} {entry['diverged']}"
    parts = [_describe_removal(name, entry), _describe_charge(entry["charge_left"])]
    if added is not None:
        parts.append(_compare_with_descent(name, entry["charge_left"], added))
    return "; ".join(parts)


def _describe_removal(name: str, entry: dict[str, Any]) -> str:
    """The reduction of the imbalance, and the share of it by growth; the rest is by change of charge."""
    removed, subject = entry["reduction"], SUBJECT[name]
    if removed["high95"] < 0:
        grown = {"value": -removed["value"], "low95": -removed["high95"], "high95": -removed["low95"]}
        return f"{subject} makes the imbalance larger, by {_format_interval(grown)}"
    if not removed["low95"] > 0 or entry["shares"] is None:
        return f"of the imbalance {subject} removes {_format_interval(removed, '+.1f')}, in which there is no direction"
    text = f"{subject} removes {_format_interval(removed)} of the imbalance, "
    if "–" in (_format_share(entry["shares"]["growth"]), _format_share(entry["shares"]["charge"])):
        return text + "too little to tell growth of the norms from change of charge"
    growth = _format_interval(entry["shares"]["growth"])
    return text + f"{growth} of that by growth of the norms at constant charge, the rest by change of charge"


def _describe_charge(left: dict[str, Any]) -> str:
    """The change of the charge, by its median over seeds."""
    low, high = left["median95"]
    evidence = f"(median |χ/χ(0)| = {left['median']:.3f}, 95% interval {_format_number(low)} to {_format_number(high)})"
    if _keeps_median_charge(left):
        return f"the charge stays {evidence}"
    if high < 1.0 or low > 1.0:
        return f"the charge {'falls' if high < 1.0 else 'grows'} {evidence}"
    return f"whether the charge falls or grows is not told {evidence}"


def _compare_with_descent(name: str, left: dict[str, Any], added: dict[str, float]) -> str:
    """A mechanism against gradient descent; one that conserves the charge and adds nothing balances nothing."""
    if added["low95"] > 0 or added["high95"] < 0:
        direction = "lower" if added["low95"] > 0 else "higher"
        low, high = sorted(abs(added[key]) for key in ("low95", "high95"))
        size = {"value": abs(added["value"]), "low95": low, "high95": high}
        change = _format_interval(size, ".2f")
        return f"against {SUBJECT[DESCENT]} the imbalance ends {direction}, by {change} of the start's"
    change = _format_interval(added, "+.2f")
    text = f"{change} more of it is removed than by {SUBJECT[DESCENT]}, in which there is no direction"
    no_cause = name in CAUSE and _keeps_charge(left) and _is_near(added, 0.0)
    return text + (f", so it is not {CAUSE[name]} that balances" if no_cause else "")


def _keeps_median_charge(left: dict[str, Any]) -> bool:
    """Whether the median charge is conserved, with 95% confidence."""
    low, high = left["median95"]
    return low > 1.0 - KEPT and high < 1.0 + KEPT


def _keeps_charge(left: dict[str, Any]) -> bool:
    """Whether the charge is conserved in 90% of the seeds too."""
    return _keeps_median_charge(left) and left["low90"] > 1.0 - WANDERS and left["high90"] < 1.0 + WANDERS


def _is_near(estimate: dict[str, float], value: float) -> bool:
    """Whether an estimate is equivalent to a value: its 95% interval lies within a tenth of it."""
    return value - SAME < estimate["low95"] and estimate["high95"] < value + SAME


def _format_interval(estimate: dict[str, float], form: str = ".1f") -> str:
    value, low, high = (_format_percent(estimate[key], form) for key in ("value", "low95", "high95"))
    return f"{value} (95% interval {low} to {high})"


def details(summary: dict[str, Any]) -> list[str]:
    """The noise of SGD, settings that rules have set, and the notes."""
    config, noise = summary["config"], summary["noise"]
    T, typical, average = noise["temperature"], noise["typical"], noise["mean"]
    seeds = noise["metered_seeds"]
    averaged = f"mean of {seeds} seeds" if seeds > 1 else "one seed: Σ costs too much"

    def metered(name: str, form: str) -> str:
        first = format(typical[name], form)
        return first if seeds == 1 else f"{first} ({format(average[name], form)})"

    return [
        f"T of Langevin = η tr Σ/2q = {T['value']:.3g} ± {T['se']:.2g} over seeds, averaged over recorded times of SGD",
        f"noise of SGD at its end, seed 0 ({averaged}): largest eigenvalue of Σ over the mean one "
        f"{metered('anisotropy', '.3g')}, misfit of one T {metered('misfit', '.3f')}, share along the orbits "
        f"{metered('orbit_share', '.1g')}; of isotropic noise {noise['isotropic_orbit_share']:.3f} (m/q)",
        f"label noise s = {config['label_noise']:g} on top of the data's {config['data_noise']:g}; weight decay "
        f"λ = {config['weight_decay']:g}",
        *summary["notes"],
    ]


def print_attribution(summary: dict[str, Any], console: Console) -> None:
    """Table, sentences, details."""
    table = Table(title=title(summary), title_justify="left", title_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "mechanism" else "right")
    for row in rows(summary):
        table.add_row(*row)
    console.print(table)
    console.print(Text(LEGEND, style="dim"), soft_wrap=True)
    for line in sentences(summary):
        console.print(Text(line, style="bold"), soft_wrap=True)
    for line in details(summary):
        console.print(Text(line), soft_wrap=True)


LEGEND = (
    "medians over seeds [90% of seeds]; off by: exp(median |ρ|) over generators, ρ = log |a|/|b|; removed: "
    "1 − D(end)/D(start), D = Σ |ρ| over generators and seeds, ± standard error over seeds; growth, charge: shares of "
    "D(start) − D(end), – where their standard error is above 30 percentage points or they lie outside −100% to 200%"
)


def attribution_page(summary: dict[str, Any], picture: Path) -> str:
    """One self-contained page: picture, table, sentences and the configuration."""
    image = base64.b64encode(picture.read_bytes()).decode()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(summary))
    items = "".join(f"<li>{html.escape(line)}</li>" for line in sentences(summary))
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in (LEGEND, *details(summary)))
    name = html.escape(title(summary))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<style>
body {{ font-family: system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.45; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid #ccc; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
img {{ max-width: 100%; }}
pre {{ background: #f5f5f5; padding: .7rem; overflow-x: auto; }}
</style></head><body>
<h1>{name}</h1>
<img alt="Ratio, charge and loss along training, by mechanism" src="data:image/png;base64,{image}">
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>
<h2>Which mechanism balances the factors?</h2><ul>{items}</ul>
{lines}
<h2>Configuration</h2><pre>{html.escape(json.dumps(summary["config"], indent=1))}</pre>
</body></html>
"""


def save_attribution(result: Attribution, out: str | Path) -> Path:
    """Write `config.toml`, `summary.json`, `attribution.png` and `report.html` into a folder of `out`; returns it.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched, and so are the checkpoints.
    """
    config, summary = result.config, result.summary

    def fill(fresh: Path) -> None:
        write(fresh / "config.toml", config.to_toml())
        content = summary | {"sentences": sentences(summary)}
        write(fresh / "summary.json", summary_json(content))
        write(fresh / "attribution.png", png(attribution_figure(summary)))
        write(fresh / "report.html", attribution_page(summary, fresh / "attribution.png"))

    folder = write_folder(Path(out) / f"attribution-{config.name}-{config.digest()}", fill)
    discard(result.checkpoints)
    return folder


def _format_band(band: dict[str, float]) -> str:
    return f"{_format_number(band['median'])} [{_format_number(band['low90'])}, {_format_number(band['high90'])}]"


def _format_share(share: dict[str, float]) -> str:
    """A share of the reduction, or a dash where its standard error is too large."""
    is_precise = share["se"] <= UNSURE and SHOWN[0] <= share["value"] <= SHOWN[1]
    return _format_percent(share["value"]) if is_precise else "–"


def _format_percent(value: float, form: str = ".1f") -> str:
    rounded = float(format(100.0 * value, form))
    return f"{rounded + 0.0:{form}}%"  # + 0.0: there is no −0.0%


def _format_range(entry: dict[str, Any]) -> str:
    return f"{_format_number(entry['ratio_smallest']['median'])}–{_format_number(entry['ratio_largest']['median'])}"


def _format_number(value: float) -> str:
    return f"{value:z.3g}"
