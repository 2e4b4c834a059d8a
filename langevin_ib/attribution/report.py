"""The answer of an attribution in sentences, as a table, as a page, and as a folder: all from its summary."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from langevin_ib.attribution.mechanisms import Attribution
from langevin_ib.attribution.plot import figure
from langevin_ib.attribution.runs import DECAY, DESCENT, ISOTROPIC, LABEL, LANGEVIN, SGD
from langevin_ib.store import summary_json, write_folder

COLUMNS = ("mechanism", "|a|/|b| off by", "min–max", "|χ/χ(0)|", "loss", "removed", "growth", "charge")
KEPT = 0.1  # a median |χ/χ(0)| this near to one counts as kept
WANDERS = 0.3  # band of seeds around one within which it is kept by each of them, not on the median only
UNSURE = 0.3  # standard error of a share above which it is not shown
SHOWN = (-1.0, 2.0)  # shares outside are of a removal that is all but none
SUBJECT = {
    DESCENT: "gradient descent alone",
    SGD: "SGD",
    LABEL: "SGD with label noise",
    ISOTROPIC: "isotropic noise as strong as SGD's at every step",
    DECAY: "gradient descent with weight decay",
    LANGEVIN: "isotropic Langevin dynamics at the T of SGD's noise",
}
BATCHES = {
    "minibatch": "minibatches of {}",
    "fresh": "fresh batches of {}",
    "bernoulli": "each example kept with probability 1/2",
}
CAUSE = {SGD: "its noise", LABEL: "its noise", ISOTROPIC: "its noise", DECAY: "weight decay", LANGEVIN: "its noise"}


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
    found: list[tuple[str, ...]] = [
        ("start", _banded(start["ratio_factor"]), _range(start), "1", _number(start["loss"]["median"]), "", "", "")
    ]
    for name, entry in summary["mechanisms"].items():
        if entry["diverged"]:
            found.append((name, entry["diverged"], "", "", "", "", "", ""))
            continue
        removed, shares = entry["reduction"], entry["shares"]
        parts = tuple("–" if shares is None else _share(shares[key]) for key in ("growth", "charge"))
        found.append(
            (
                name,
                _banded(entry["ratio_factor"]),
                _range(entry),
                _banded(entry["charge_left"]),
                _number(entry["loss"]["median"]),
                f"{_percent(removed['value'])[:-1]} ± {_percent(removed['se'])}",
                *parts,
            )
        )
    return found


def sentences(summary: dict[str, Any]) -> list[str]:
    """What the numbers say: one sentence for each mechanism, then the comparison across them."""
    found = [_sentence(name, entry, summary["across"]["added"]) for name, entry in summary["mechanisms"].items()]
    share = summary["across"]["descent_share"]
    if share is None:
        return [
            *found,
            "what SGD removes is not positive with 95% confidence, so no share of gradient descent is given",
        ]
    return [
        *found,
        f"of what SGD removes, gradient descent alone gives {_percent(share['value'], '.2f')} ± "
        f"{_percent(share['se'], '.2f')} (95% interval {_percent(share['low95'], '.2f')} to "
        f"{_percent(share['high95'], '.2f')}), paired over {summary['run']['seeds']} seeds",
    ]


def _sentence(name: str, entry: dict[str, Any], added: dict[str, Any]) -> str:
    if entry["diverged"]:
        return f"{SUBJECT[name]} {entry['diverged']}"
    removed, who = entry["reduction"], SUBJECT[name]
    if entry["shares"] is None and removed["high95"] < 0:
        text = f"{who} makes the imbalance larger, by {_percent(-removed['value'])}"
    elif entry["shares"] is None:
        error = f"{_percent(removed['value'], '+.1f')} ± {_percent(removed['se'])} removed"
        text = f"{who} does not change the imbalance beyond its error ({error})"
    else:
        growth, charge = (_share(entry["shares"][key]) for key in ("growth", "charge"))
        text = f"{who} removes {_percent(removed['value'])} of the imbalance, "
        if "–" in (growth, charge):
            text += "too little to tell growth of the norms from change of charge"
        else:
            text += f"{growth} of that by growth of the norms at constant charge and {charge} by change of charge"
    text += "; " + _charge(name, entry["charge_left"], added.get(name))
    if name in added:
        more = added[name]
        value, low, high = (_percent(more[key], "+.2f") for key in ("value", "low95", "high95"))
        text += f"; to what gradient descent removes it adds {value} (95% interval {low} to {high})"
    return text


def _charge(name: str, left: dict[str, float], added: dict[str, float] | None) -> str:
    """What became of the charge; a cause that keeps it in every seed and adds nothing has balanced nothing."""
    low, median, high = (left[key] for key in ("low90", "median", "high90"))
    said = f"(|χ/χ(0)| = {median:.3f}, 90% of seeds {_number(low)} to {_number(high)})"
    if abs(median - 1.0) > KEPT:
        return f"the charge {'falls' if median < 1.0 else 'grows'} {said}"
    if low < 1.0 - WANDERS or high > 1.0 + WANDERS:
        return f"the charge stays on the median {said}"
    idle = name in CAUSE and added is not None and added["low95"] <= 0.0 <= added["high95"]
    return f"the charge stays {said}" + (f", so it is not {CAUSE[name]} that balances" if idle else "")


def details(summary: dict[str, Any]) -> list[str]:
    """The noise of SGD, and what a reader has to know."""
    config, noise = summary["config"], summary["noise"]
    T, typical, average = noise["temperature"], noise["typical"], noise["mean"]
    seeds = noise["metered_seeds"]
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed: Σ costs too much"

    def metered(name: str, form: str) -> str:
        first = format(typical[name], form)
        return first if seeds == 1 else f"{first} ({format(average[name], form)})"

    return [
        f"T of Langevin = η tr Σ/2q = {T['value']:.3g} ± {T['se']:.2g} over seeds, averaged over recorded times of SGD",
        f"noise of SGD at its end, seed 0 ({over}): largest eigenvalue of Σ over the mean one "
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


def html_page(summary: dict[str, Any], picture: Path) -> str:
    """One self-contained page: picture, table, sentences and the configuration."""
    image = base64.b64encode(picture.read_bytes()).decode()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(summary))
    said = "".join(f"<li>{html.escape(line)}</li>" for line in sentences(summary))
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
<h2>Which mechanism balances the factors?</h2><ul>{said}</ul>
{lines}
<h2>Configuration</h2><pre>{html.escape(json.dumps(summary["config"], indent=1))}</pre>
</body></html>
"""


def save(result: Attribution, out: str | Path) -> Path:
    """Write `config.toml`, `summary.json`, `attribution.png` and `report.html` into a folder of `out`; returns it.

    Raises:
        OSError: the folder cannot be written; what stood there before is untouched.
    """
    config, summary = result

    def fill(fresh: Path) -> None:
        (fresh / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        content = summary | {"sentences": sentences(summary)}
        (fresh / "summary.json").write_text(summary_json(content), encoding="utf-8")
        picture = figure(summary)
        picture.savefig(fresh / "attribution.png", dpi=200)
        plt.close(picture)
        (fresh / "report.html").write_text(html_page(summary, fresh / "attribution.png"), encoding="utf-8")

    return write_folder(Path(out) / f"attribution-{config.name}-{config.digest()}", fill)


def _banded(found: dict[str, float]) -> str:
    return f"{_number(found['median'])} [{_number(found['low90'])}, {_number(found['high90'])}]"


def _share(share: dict[str, float]) -> str:
    """A share of what was removed, or a dash where it says nothing."""
    known = share["se"] <= UNSURE and SHOWN[0] <= share["value"] <= SHOWN[1]
    return _percent(share["value"]) if known else "–"


def _percent(value: float, form: str = ".1f") -> str:
    rounded = float(format(100.0 * value, form))
    return f"{rounded + 0.0:{form}}%"  # + 0.0: there is no −0.0%


def _range(entry: dict[str, Any]) -> str:
    return f"{_number(entry['ratio_smallest']['median'])}–{_number(entry['ratio_largest']['median'])}"


def _number(value: float) -> str:
    return f"{value:.3g}"
