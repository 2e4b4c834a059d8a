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

from langevin_ib.attribution.mechanisms import Attribution
from langevin_ib.attribution.plot import figure
from langevin_ib.attribution.runs import DECAY, DESCENT, ISOTROPIC, LABEL, LANGEVIN, SGD
from langevin_ib.folders import discard, png, summary_json, write, write_folder

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
    """What the numbers say: one sentence for each mechanism, then gradient descent against SGD.

    A comparison is made once, and says no more than its 95% interval: a direction only where that excludes no change.
    """
    compared = dict(summary["across"]["added"])
    share = summary["across"]["descent_share"]
    if share is not None:
        compared.pop(SGD, None)  # it is the last sentence
    found = [_sentence(name, entry, compared.get(name)) for name, entry in summary["mechanisms"].items()]
    if share is None:
        return [
            *found,
            f"what SGD removes is not positive with 95% confidence, so no share of {SUBJECT[DESCENT]} is given",
        ]
    kept = not summary["mechanisms"][SGD]["diverged"] and _kept(summary["mechanisms"][SGD]["charge_left"])
    idle = kept and share["low95"] <= 1.0 <= share["high95"] and _near(share, 1.0)
    return [
        *found,
        f"of what SGD removes, {SUBJECT[DESCENT]} gives {_interval(share, '.2f')}, paired over "
        f"{summary['run']['seeds']} seeds" + (f", so it is not {CAUSE[SGD]} that balances" if idle else ""),
    ]


def _sentence(name: str, entry: dict[str, Any], added: dict[str, Any] | None) -> str:
    if entry["diverged"]:
        return f"{SUBJECT[name]} {entry['diverged']}"
    parts = [_removed(name, entry), _charge(entry["charge_left"])]
    if added is not None:
        parts.append(_added(name, entry["charge_left"], added))
    return "; ".join(parts)


def _removed(name: str, entry: dict[str, Any]) -> str:
    """What became of the imbalance, and of that by growth; the rest is by change of charge."""
    removed, who = entry["reduction"], SUBJECT[name]
    if removed["high95"] < 0:
        grown = {"value": -removed["value"], "low95": -removed["high95"], "high95": -removed["low95"]}
        return f"{who} makes the imbalance larger, by {_interval(grown)}"
    if not removed["low95"] > 0 or entry["shares"] is None:
        return f"of the imbalance {who} removes {_interval(removed, '+.1f')}, in which there is no direction"
    text = f"{who} removes {_interval(removed)} of the imbalance, "
    if "–" in (_share(entry["shares"]["growth"]), _share(entry["shares"]["charge"])):
        return text + "too little to tell growth of the norms from change of charge"
    growth = _interval(entry["shares"]["growth"])
    return text + f"{growth} of that by growth of the norms at constant charge, the rest by change of charge"


def _charge(left: dict[str, Any]) -> str:
    """What became of the charge, on the median over seeds."""
    low, high = left["median95"]
    said = f"(median |χ/χ(0)| = {left['median']:.3f}, 95% interval {_number(low)} to {_number(high)})"
    if _stays(left):
        return f"the charge stays {said}"
    if high < 1.0 or low > 1.0:
        return f"the charge {'falls' if high < 1.0 else 'grows'} {said}"
    return f"whether the charge falls or grows is not told {said}"


def _added(name: str, left: dict[str, Any], added: dict[str, float]) -> str:
    """A mechanism against gradient descent; a cause that keeps the charge and adds nothing has balanced nothing."""
    if added["low95"] > 0 or added["high95"] < 0:
        way = "lower" if added["low95"] > 0 else "higher"
        low, high = sorted(abs(added[key]) for key in ("low95", "high95"))
        size = {"value": abs(added["value"]), "low95": low, "high95": high}
        return f"against {SUBJECT[DESCENT]} the imbalance ends {way}, by {_interval(size, '.2f')} of the start's"
    text = (
        f"{_interval(added, '+.2f')} more of it is removed than by {SUBJECT[DESCENT]}, in which there is no direction"
    )
    idle = name in CAUSE and _kept(left) and _near(added, 0.0)
    return text + (f", so it is not {CAUSE[name]} that balances" if idle else "")


def _stays(left: dict[str, Any]) -> bool:
    """Whether the charge is kept on the median, with 95% confidence."""
    low, high = left["median95"]
    return low > 1.0 - KEPT and high < 1.0 + KEPT


def _kept(left: dict[str, Any]) -> bool:
    """Whether it is kept in 90% of the seeds too."""
    return _stays(left) and left["low90"] > 1.0 - WANDERS and left["high90"] < 1.0 + WANDERS


def _near(found: dict[str, float], value: float) -> bool:
    """Whether an estimate is as good as a value: its 95% interval is within a tenth."""
    return value - SAME < found["low95"] and found["high95"] < value + SAME


def _interval(found: dict[str, float], form: str = ".1f") -> str:
    value, low, high = (_percent(found[key], form) for key in ("value", "low95", "high95"))
    return f"{value} (95% interval {low} to {high})"


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
        OSError: the folder cannot be written; what stood there before is untouched, and so are the checkpoints.
    """
    config, summary = result.config, result.summary

    def fill(fresh: Path) -> None:
        write(fresh / "config.toml", config.to_toml())
        content = summary | {"sentences": sentences(summary)}
        write(fresh / "summary.json", summary_json(content))
        write(fresh / "attribution.png", png(figure(summary)))
        write(fresh / "report.html", html_page(summary, fresh / "attribution.png"))

    folder = write_folder(Path(out) / f"attribution-{config.name}-{config.digest()}", fill)
    discard(result.checkpoints)
    return folder


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
    return f"{value:z.3g}"
