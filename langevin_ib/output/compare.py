"""Several runs beside each other: they are read from their folders, and what differs in their settings is found."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from langevin_ib.config.choices import flat_settings
from langevin_ib.config.grid import is_number, label
from langevin_ib.config.processes import LAWS
from langevin_ib.errors import UsageError
from langevin_ib.output.coefficients import BETWEEN, Outcome, rows_of_summary
from langevin_ib.output.folders import SUMMARY
from langevin_ib.plain import JsonObject
from langevin_ib.runs.result import SCHEMA_VERSION
from langevin_ib.runs.verdicts import GRAVITY
from langevin_ib.statistics.coefficient import can_be

FORM = 2  # of compare.json
OPTIONS = "options"
TABLE = "sweep.csv"  # in the folder of a sweep, whose `folder` column names its runs beside it
BUDGET = ("dynamics", "comparison")  # groups of settings that do not say what is sampled
FEWEST = 2
DAMAGED = "has a summary.json that is damaged"


class Distance(NamedTuple):
    """TV of a law from the draws, with its 95% bounds: of the invariant that is furthest off."""

    tv: float
    low: float
    high: float


@dataclass(frozen=True)
class Saved:
    """A run as its folder has it.

    Attributes:
        folder: where it lies.
        summary: content of its `summary.json`.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its folder, however that was given."""
        return self.folder.resolve().name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All of them, flat; those of the model as `options.NAME`."""
        config = dict(self.summary["config"])
        own = config.pop(OPTIONS, None) or {}
        values = config | {f"{OPTIONS}.{name}": value for name, value in own.items()}
        # β is a float in a file, and 2 in what is said of it.
        return {name: int(value) if _is_whole(value) else value for name, value in values.items()}

    @cached_property
    def outcome(self) -> Outcome:
        """As a row of a sweep's table, one for each coordinate."""
        return Outcome("done", self.name, rows=rows_of_summary(self.summary))

    @property
    def doubts(self) -> list[str]:
        """Reasons why it gives no verdict."""
        return list(self.summary["doubts"])

    @property
    def agreeing(self) -> list[str]:
        """Laws within the margin of its draws."""
        return [law for law, verdict in self.summary["verdicts"].items() if verdict == "agrees"]

    @property
    def of_another_c(self) -> list[str]:
        """Those of them whose c the 95% interval of the draws' leaves out; `exact` has no c of its own."""
        row: dict[str, Any] = dict(self.outcome.rows[0])
        limits = [law for law in self.agreeing if law in LAWS and law != "exact"]
        return [law for law in limits if not can_be(row[f"{law}_c"], row["c_low"], row["c_high"])]

    @property
    def holding(self) -> list[str]:
        """Laws that its draws obey: the rest."""
        other = self.of_another_c
        return [law for law in self.agreeing if law not in other]

    @property
    def undecided(self) -> list[str]:
        """Laws on which it cannot decide."""
        return [law for law, verdict in self.summary["verdicts"].items() if verdict == "undecided"]

    @cached_property
    def distances(self) -> dict[str, Distance]:
        """Of every law, by its worst invariant."""
        found: dict[str, list[dict[str, Any]]] = {}
        for invariant in self.summary["invariants"].values():
            for name, law in invariant["laws"].items():
                found.setdefault(name, []).append(law)
        worst = {
            name: max(laws, key=lambda law: (GRAVITY.index(law["verdict"]), law["tv_lower95"], law["tv_upper95"]))
            for name, laws in found.items()
        }
        return {name: Distance(law["tv"], law["tv_lower95"], law["tv_upper95"]) for name, law in worst.items()}

    @property
    def protocol(self) -> str:
        """What moved its chains and what held them, in one line."""
        config, protocol = self.settings, self.summary["protocol"]
        noise = f" by {config['noise']} noise" if "noise" in config else ""
        slab = f", {protocol['conditioned_on']}" if protocol["conditioned_on"] else ""
        return f"{config['sampler']}{noise}, {protocol['confinement']}{slab}"


@dataclass(frozen=True)
class Comparison:
    """Some runs, and what they differ in.

    Attributes:
        runs: in the order of the axis.
        knobs: the settings that tell them apart, the axis first; empty if none does.
        followers: other settings in which they differ, which rules have set or which change what is drawn alone.
    """

    runs: tuple[Saved, ...]
    knobs: tuple[str, ...]
    followers: tuple[str, ...]

    @property
    def axis(self) -> str:
        """What c is drawn against."""
        return self.knobs[0] if self.knobs else "run"

    def value(self, run: Saved) -> Any:
        """Where a run stands on the axis."""
        return run.settings[self.knobs[0]] if self.knobs else run.name

    def values(self) -> list[Any]:
        """Of all runs, each once."""
        return list(dict.fromkeys(map(_hashable, map(self.value, self.runs))))

    def title(self, run: Saved) -> str:
        """The run in words: the settings that tell it apart."""
        return label(self.own(run)) or run.name

    def own(self, run: Saved) -> dict[str, Any]:
        """The settings that tell it apart."""
        return {name: run.settings[name] for name in self.knobs if name in run.settings}

    def others(self, run: Saved) -> str:
        """What tells it apart from runs at the same place on the axis; empty where no two stand at one."""
        if len(self.values()) == len(self.runs):
            return ""
        return label({name: value for name, value in self.own(run).items() if name != self.axis})

    def to_dict(self) -> JsonObject:
        """The content of `compare.json`."""
        return {
            "schema_version": FORM,
            "axis": self.axis,
            "differ": [*self.knobs, *self.followers],
            "runs": [_run_dict(self, run) for run in self.runs],
        }

    @property
    def digest(self) -> str:
        """Of the runs and their settings, whatever their order."""
        content = json.dumps(sorted([run.name, run.summary["config"]] for run in self.runs), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def _run_dict(comparison: Comparison, run: Saved) -> JsonObject:
    first = run.outcome.rows[0]
    return {
        "folder": run.name,
        "model": run.settings["model"],
        "protocol": run.protocol,
        "settings": {name: run.settings.get(name) for name in (*comparison.knobs, *comparison.followers)},
        "agree": run.agreeing,
        "of_another_c": run.of_another_c,
        "verdicts": dict(run.summary["verdicts"]),
        "c": first["c"],
        "c_se": first["c_se"],
        "ci95": [first["c_low"], first["c_high"]],
        "c_missing": first["reason"] or None,
        "tv": {law: list(distance) for law, distance in run.distances.items()},
        "doubts": str(first["doubts"]).split(BETWEEN) if first["doubts"] else [],
    }


def read_runs(folders: Sequence[str | Path]) -> tuple[Saved, ...]:
    """The runs of these folders; of a sweep's folder the runs that are done, which lie beside it.

    Raises:
        UsageError: there are too few, one is given twice, or one is not the folder of a whole run of this version.
    """
    given = list(map(Path, folders))
    places = [folder.resolve() for folder in given]
    twice = next((folder for folder, place in zip(given, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"every RUN must be a folder of its own, {twice} is given twice")
    # A run of two sweeps, or of a sweep and by itself, is one run.
    members = {folder.resolve(): folder for each in given for folder in members_of(each)}
    runs = tuple(map(read_run, members.values()))
    if len(runs) < FEWEST:
        raise UsageError(f"RUN must be the folders of {FEWEST} runs or more, got {len(runs)}")
    return runs


def members_of(folder: Path) -> list[Path]:
    """The folders of the runs of a sweep that are done; of any other folder it alone.

    Raises:
        UsageError: the sweep's table is damaged.
    """
    if (folder / SUMMARY).exists() or not (folder / TABLE).exists():
        return [folder]
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
        names = dict.fromkeys(row["folder"] for row in rows if row["status"] == "done")
    except (OSError, ValueError, KeyError, csv.Error):
        raise UsageError(
            f"RUN must be the folder of a run or a sweep, got {folder}, whose {TABLE} is damaged"
        ) from None
    return [folder.resolve().parent / name for name in names]


def read_run(folder: str | Path) -> Saved:
    """The run of this folder.

    Raises:
        UsageError: it is not the folder of a whole run of this version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"RUN must be the folder of a run, got {folder}, which is {_instead(folder)}")
    try:
        summary = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError) as error:
        why = f"has no {SUMMARY}{_within(folder)}" if isinstance(error, FileNotFoundError) else DAMAGED
        raise UsageError(f"RUN must be the folder of a run, got {folder}, which {why}") from None
    if not isinstance(summary, dict):
        raise UsageError(f"RUN must be the folder of a run, got {folder}, which {DAMAGED}")
    if summary.get("partial"):
        raise UsageError(f"RUN must be the folder of a whole run, got {folder}, which was interrupted")
    if "study" in summary:
        raise UsageError(f"RUN must be the folder of a run, got {folder}, which is that of a study, {summary['study']}")
    if summary.get("schema_version") != SCHEMA_VERSION:
        got = summary.get("schema_version", "none")
        raise UsageError(f"RUN must have a summary.json of version {SCHEMA_VERSION}, got {folder}, of version {got}")
    run = Saved(folder, summary)
    try:
        _ = run.settings, run.outcome.rows[0], run.distances, run.protocol, run.doubts, run.holding
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise UsageError(f"RUN must be the folder of a run, got {folder}, which {DAMAGED}") from None
    return run


def _within(folder: Path) -> str:
    """Of a folder of run folders: what may be given in its place."""
    names = [sorted({file.parent.name for file in folder.glob(f"*/{each}")}) for each in (SUMMARY, TABLE)]
    models = dict.fromkeys(name.rpartition("-")[0] for each in names for name in each if "-" in name)
    patterns = [str(folder / f"{name}-*") for name in models]
    return f" itself: give {' or '.join(patterns)}" if patterns else ""


def _instead(folder: Path) -> str:
    return "a file" if folder.exists() else "not there"


def compared(runs: Sequence[Saved]) -> Comparison:
    """What these runs differ in, the setting that is best for an axis first, and they in its order.

    Settings of what is sampled come before those of how it is drawn and compared. A setting that one run alone has
    follows from another, and tells none apart.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    different = [name for name in names if len({_value(run, name) for run in runs}) > 1]
    telling = [name for name in different if _tells(name, runs)]
    ranks = {name: _rank(name) for name in telling}
    best = min(ranks.values(), default=0)
    knobs = [name for name in telling if ranks[name] == best]
    shared = [name for name in knobs if all(name in run.settings for run in runs)]
    if shared:
        axis = max(shared, key=lambda name: _suits(name, runs))
        knobs = [axis, *(name for name in knobs if name != axis)]
    else:
        knobs = []
    followers = tuple(name for name in different if name not in knobs)
    return Comparison(_sorted(runs, knobs), tuple(knobs), followers)


def _tells(name: str, runs: Sequence[Saved]) -> bool:
    """Whether runs that have a setting differ in it."""
    return len({_value(run, name) for run in runs if name in run.settings}) > 1


def _rank(name: str) -> int:
    declared = flat_settings().get(name.partition(".")[0])
    return 1 + BUDGET.index(declared.group) if declared is not None and declared.group in BUDGET else 0


def _suits(name: str, runs: Sequence[Saved]) -> tuple[bool, int]:
    """Numbers before words, then more values before fewer; the first of the settings' order wins."""
    values = [run.settings[name] for run in runs]
    return all(map(is_number, values)), len({_value(run, name) for run in runs})


def _sorted(runs: Sequence[Saved], knobs: Sequence[str]) -> tuple[Saved, ...]:
    """By the axis if its values are numbers; else as they were given."""
    if not knobs or not all(is_number(run.settings[knobs[0]]) for run in runs):
        return tuple(runs)
    return tuple(sorted(runs, key=lambda run: run.settings[knobs[0]]))


def _value(run: Saved, name: str) -> str:
    return json.dumps(run.settings.get(name))


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
