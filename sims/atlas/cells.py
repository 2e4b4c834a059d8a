"""The cells: models down, protocols and noises across; a command each, and what is kept of the run.

The settings are the package's defaults, but for what `Row.shorter` and `CHANGES` say and why, by the time that runs
take. Those in `SHORT` were raised after first runs: draws of the laws, chains, and attention's steps (the page
says from what).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from langevin_ib.cli.command import BAD_INPUT, FAILED_RUN
from langevin_ib.errors import FailedRunError, UsageError
from langevin_ib.plain import Json
from sims.numbers import stored
from sims.numbers.stored import Number, Outcome, Stored

DIGITS = 4  # of a histogram
SEED = 0


class Row(NamedTuple):
    """A model: its title, its options, and what makes its runs last a minute, which is nothing for uv."""

    title: str
    options: str
    shorter: str = ""
    shorter_sgd: str = ""


class Column(NamedTuple):
    """A protocol or a noise: its title in two lines, its options, and c of the theory in words."""

    title: tuple[str, str]
    options: str
    theory: str
    sgd: bool = False


# Without companion at h/2 and MALA on the full space, which take as long as the run.
BRIEF = "--reference none --step-check no"
# An eighth of the default's draws of the law is too few: their halves differ, which is a doubt.
SHORT = f"--chains 512 --steps 20000 --law-draws 256000 {BRIEF}"
ROWS = {
    "uv": Row("uv", "--model uv"),
    "hadamard": Row("Hadamard", "--model hadamard", f"--chains 512 --steps 40000 --law-draws 192000 {BRIEF}"),
    "relu": Row("ReLU", "--model relu", SHORT, "--chains 256"),
    "attention": Row("attention", "--model attention", SHORT, "--chains 256 --steps 60000"),
    "matrix": Row("matrix", "--model matrix", SHORT, "--chains 256"),
}
COLUMNS = {
    "stiff": Column(("stiff", "κ|χ|²/2"), "--confine stiff", "c → 1 as κ → ∞"),
    "hard": Column(("hard", "χ = 0"), "--confine hard", "c = 0"),
    "fixman": Column(("hard", "+ Fixman"), "--confine hard-fixman", "c = 1"),
    "decay": Column(("weight decay", "λ|θ|²/2"), "--confine weight-decay", "c → 0 once λ|s|² ≫ T"),
    "slab": Column(("slab", "|χ| < ε"), "--confine none", "c → 1 as ε → 0"),
    "unconfined": Column(("unconfined", "plain marginal"), "--confine none", "drifts towards c = −1"),
    "label": Column(("SGD", "label noise"), "--sampler sgd --noise label", "map and (S), where they exist", sgd=True),
    "minibatch": Column(
        ("SGD", "minibatches"), "--sampler sgd --noise minibatch", "map and (S), where they exist", sgd=True
    ),
}
# Known before the runs, with the reason that the page gives.
CHANGES = {
    ("uv", "hard"): ("--steps 50000", "to last about a minute"),
    ("uv", "fixman"): (
        "--beta 40 --steps 50000",
        "at β = 10 chains fall into z = 0, where the law c = 1 is not integrable; the steps to last about a minute",
    ),
    ("hadamard", "fixman"): ("--beta 80", "at β = 10 chains fall into z = 0, where the law c = 1 is not integrable"),
    ("uv", "minibatch"): (
        "--set samples=16 scatter=2 seed=2 --lr 0.001",
        "a data set of 16 examples, for with the one of the default a batch is all of the data",
    ),
}
# Where it is not that of the column.
THEORY = {("relu", "unconfined"): "no limit known: the group changes volume"}
NAMES = [f"{row}-{column}" for row in ROWS for column in COLUMNS]


def command(name: str) -> str:
    """Of a cell, as it is typed.

    Raises:
        UsageError: there is no such cell.

    >>> command("uv-stiff")
    'python -m langevin_ib.sim --model uv --confine stiff'
    """
    row, column = parts(name)
    about = ROWS[row]
    change, _ = CHANGES.get((row, column), ("", ""))
    shorter = about.shorter_sgd if COLUMNS[column].sgd else about.shorter
    words = ("python -m langevin_ib.sim", about.options, COLUMNS[column].options, change, shorter)
    return " ".join(word for word in words if word)


def parts(name: str) -> tuple[str, str]:
    """Row and column of a cell.

    Raises:
        UsageError: there is no such cell.
    """
    row, _, column = name.partition("-")
    if row not in ROWS or column not in COLUMNS:
        raise UsageError(f"no cell {name!r}: rows {', '.join(ROWS)}, columns {', '.join(COLUMNS)}")
    return row, column


def theory(name: str) -> str:
    """What c of a cell is by theory, in words."""
    row, column = parts(name)
    return THEORY.get((row, column), COLUMNS[column].theory)


def note(name: str) -> str:
    """What is not the package's default in a cell, and why; empty where nothing is."""
    row, column = parts(name)
    change, why = CHANGES.get((row, column), ("", ""))
    shorter = ROWS[row].shorter_sgd if COLUMNS[column].sgd else ROWS[row].shorter
    said = [f"{change}: {why}"] if change else []
    return "; ".join([*said, *([f"{shorter}: to last about a minute"] if shorter else [])])


def kept(name: str, outcome: Outcome) -> Stored:
    """What the file of a cell has of its run: c, verdicts, distances, doubts, one histogram with every law.

    Of a run that was refused or failed it has the line that said why.

    Raises:
        FailedRunError: the run was stopped, or left nothing to read.
    """
    if outcome.summary is None and outcome.code not in (BAD_INPUT, FAILED_RUN):
        raise FailedRunError(f"{name}: {command(name)} ended with {outcome.code}: {outcome.error}")
    settings = {"seed": SEED, "command": command(name)}
    if outcome.summary is None:
        return Stored(**settings, values={}, more={"cell": name, "why": outcome.error, "note": note(name)})
    summary = outcome.summary
    drift = parts(name)[1] == "unconfined"
    return Stored(
        **settings,
        values=_drifting(summary) if drift else _values(summary),
        more={
            "cell": name,
            "why": _why(summary, drift),
            "note": note(name),
            "seconds": round(summary["run"]["total_wall_s"]),
            "chains": summary["run"]["chains"],
            "steps": summary["run"]["steps"],
            "beta": summary["config"].get("beta"),
            "verdicts": {} if drift else summary["verdicts"],
            "doubts": [] if drift else summary["doubts"],
            **({"drift": _stretches(summary)} if drift else {"histogram": _histogram(summary)}),
        },
    )


def _first(summary: Mapping[str, Any]) -> str:
    """The invariant whose histogram is shown."""
    return next(iter(summary["invariants"]))


def _c(summary: Mapping[str, Any], at: str) -> dict[str, Number]:
    """c with its error and interval, where there is one."""
    if stored.pointed(summary, at).get("c") is None:
        return {}
    return {"c": stored.measured(summary, Number(None, at=f"{at}/c", error_at=f"{at}/se"))}


def _values(summary: Mapping[str, Any]) -> dict[str, Number]:
    """c, and the distance of each law by the invariant that is furthest from it."""
    values = _c(summary, f"/invariants/{_first(summary)}/correction") if "descent" not in summary else {}
    for law in summary["verdicts"]:
        names = [name for name, invariant in summary["invariants"].items() if law in invariant["laws"]]
        if names:
            worst = max(names, key=lambda name: summary["invariants"][name]["laws"][law]["tv"])
            at = f"/invariants/{worst}/laws/{law}/tv"
            bounds = f"{at}_lower95", f"{at}_upper95"
            values[f"tv_{law}"] = stored.measured(summary, Number(None, at=at, bounds_at=bounds))
    return values


def _drifting(summary: Mapping[str, Any]) -> dict[str, Number]:
    """c of the plain marginal in the last stretch of time, in which it still moves."""
    if summary["drift"] is None:
        return {}
    last = len(summary["drift"]["stretches"]) - 1
    return _c(summary, f"/drift/stretches/{last}/correction")


def _why(summary: Mapping[str, Any], drift: bool) -> str:
    """Why there is no c, if there is none; of SGD, which has none, why a law of its own is missing."""
    if drift:
        stretches = summary["drift"] and summary["drift"]["stretches"]
        return stretches[-1]["correction"].get("why", "") if stretches else "no stretch of time was recorded"
    first = summary["invariants"][_first(summary)]
    absent = "; ".join(first["unavailable"])
    return absent if "descent" in summary else first["correction"].get("why") or absent


def _stretches(summary: Mapping[str, Any]) -> list[Json]:
    """From, to, c and its error, of each stretch that has a c."""
    found = summary["drift"]["stretches"] if summary["drift"] else []
    return [
        stored.rounded([*stretch["time"], stretch["correction"]["c"], stretch["correction"]["se"]], DIGITS)
        for stretch in found
        if stretch["correction"]["c"] is not None
    ]


def _histogram(summary: Mapping[str, Any]) -> Json:
    """Of the first invariant: edges, the draws' mass and error in each bin, the mass of every law."""
    name = _first(summary)
    invariant = summary["invariants"][name]
    return {
        "invariant": name,
        "edges": stored.rounded(invariant["bins"], DIGITS + 1),
        "draws": stored.rounded(invariant["empirical"], DIGITS),
        "draws_se": stored.rounded(invariant["empirical_se"], 2),
        **{law: stored.rounded(found["mass"], DIGITS) for law, found in invariant["laws"].items()},
    }
