"""The result of a study: arms over paired seeds, as data; `sims` and commands attach sentences and pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from langevin_ib.plain import Json, JsonObject, plain
from langevin_ib.statistics.seeds import Band, Ratio, Spread, spread
from langevin_ib.studies.balance import Balance
from langevin_ib.studies.recorded import Paths, Trained

SCHEMA_VERSION = 3


def folder_name(name: str, subject: str, config: Mapping[str, Json]) -> str:
    """`<name>-<hash>`, or `<name>-<subject>-<hash>`; the hash is that of the configuration."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return "-".join([name, *([subject] if subject else []), digest])


Values = Shaped[np.ndarray, " seed"]  # numbers or booleans, one of each seed


class Effect(NamedTuple):
    """An arm's error against that of a reference, paired over seeds.

    Attributes:
        name: of the arm.
        kind: what it differs by: `reference`, `noise`, `start`, `other`.
        error: of its seeds; None where it diverged.
        effect: ratio to the reference's, all rows together at 95%; None of a reference, or where it has no error bar.
        diverged: what happened, in words; None if nothing did.
        settled: steps without noise that follow a noisy run before its error is taken.
        last_iterate: error before these; None without them.
    """

    name: str
    kind: str
    error: Band | None
    effect: Ratio | None = None
    diverged: str | None = None
    settled: int = 0
    last_iterate: Band | None = None


@runtime_checkable
class Details(Protocol):
    """What one study alone measures; a record of its own."""

    def to_dict(self) -> JsonObject:
        """Its keys in `summary.json`."""
        ...


@dataclass(frozen=True)
class StudyResult:
    """What a study came to.

    Attributes:
        name: of the study, and of its folder.
        config: everything that decides the numbers.
        seeds: number of seeds.
        rows: {arm or other model: {quantity: its value for each seed}}, at the end.
        subject: what it is of, in the folder's name, where `name` alone does not tell; else empty.
        stated: {row: {quantity: the number that the paper's caption states}}.
        effects: arms against a reference.
        balance: which mechanism balances the factors; None where that is not asked.
        details: what this study alone measures.
        own: the run that the figure shows, with its parameters along the way; None without.
        paths: {row: its charges and ratios along the way}.
        arrays: {row: what it recovers, leading axis the seed}.
        saved: arrays of `recovered.npz`.
        notes: qualifications of the numbers.
        wall_s: seconds of each part.
        checkpoints: the folder with the states of its stages, which is removed once it is saved; None without.
    """

    name: str
    config: Mapping[str, Json]
    seeds: int
    rows: Mapping[str, Mapping[str, Values]]
    subject: str = ""
    stated: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    balance: Balance | None = None
    details: Details | None = None
    own: Trained | None = None
    paths: Mapping[str, Paths] = field(default_factory=dict)
    arrays: Mapping[str, Float[np.ndarray, "seed ..."]] = field(default_factory=dict)
    saved: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    wall_s: Mapping[str, float] = field(default_factory=dict)
    checkpoints: Path | None = None

    @property
    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Median and 90% band of each row's quantities, or the number of seeds where one holds."""
        return {name: {label: spread(values) for label, values in row.items()} for name, row in self.rows.items()}

    def to_dict(self) -> JsonObject:
        """The content of `summary.json` but for title and sentences; its schema is `studies/summary.schema.json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.name,
            "config": plain(self.config),
            "rows": plain(self.spreads),
            "stated": plain(self.stated),
            "effects": plain(self.effects),
            "balance": plain(self.balance),
            **({} if self.details is None else self.details.to_dict()),
            "by_seed": plain(self.rows),
            "notes": plain(self.notes),
            "wall_s": plain(self.wall_s),
        }
