"""No false alarm: many healthy small runs, each with a seed of its own, and how often any of them complains.

    python -m tests.alarms FILE [--runs N] [--part I/N] [--show] [--store]

Runs go round over kernels, confinements, noises and models; each writes a line of JSON to FILE, which is resumed where
it stands. Of two processes, one takes `--part 0/2` and the other `--part 1/2`, each with a file of its own; `--show`
runs nothing, and prints the shares over any number of files. `--store` writes docs/results/alarms.json
from them, and the table into docs/trust.md.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.plant import ROOT
from tests.faults.table import write

if TYPE_CHECKING:
    from sims.numbers.stored import Stored

FIRST_SEED = 1000
REJECTS = 0.05  # the level of a test, of which so many reject where all is well

_UV = {"beta": 10.0, "chains": 512, "steps": 60_000, "reference": "none"}
_SGD = {"sampler": "sgd", "lr": 0.005, "chains": 256}
_MANY = {"chains": 256, "steps": 30_000, "law_draws": 100_000, "reference": "none"}

# Runs that are long enough to have mixed, and short enough that the bias of their step lies below what they can see.
CASES: dict[str, dict[str, Any]] = {
    "uv, stiff": _UV,
    "uv, stiff, MALA beside it": {**_UV, "reference": "mala"},
    "uv, stiff, normal increments": {**_UV, "increments": "normal"},
    "uv, stiff, kappa 20": {**_UV, "kappa": 20.0},
    "uv of depth 3, stiff": {**_UV, "depth": 3, "kappa": 20.0},
    "uv, Euler-Maruyama": {**_UV, "integrator": "euler-maruyama", "kappa": 10.0, "steps": 100_000},
    "uv, MALA": {**_UV, "integrator": "mala", "steps": 10_000},
    "uv, weight decay": {**_UV, "confine": "weight-decay"},
    "uv, weight decay, data set": {**_UV, "confine": "weight-decay", "options": {"samples": 16}},
    "uv, hard": {**_UV, "confine": "hard", "steps": 10_000},
    "uv, hard-fixman": {**_UV, "beta": 40.0, "confine": "hard-fixman", "steps": 10_000},
    "uv, slab": {**_UV, "confine": "none", "steps": 40_000},
    "uv, metric": {**_UV, "metric": (1.0, 2.0)},
    "uv, float64": {**_UV, "precision": 64, "steps": 40_000, "kappa": 20.0},
    "rotation, none": {**_UV, "model": "rotation", "confine": "none", "steps": 20_000},
    "rotation, weight decay": {**_UV, "model": "rotation", "confine": "weight-decay", "steps": 20_000},
    "hadamard, stiff": {**_MANY, "model": "hadamard", "options": {"dim": 2}, "kappa": 10.0},
    "hadamard, weight decay": {**_MANY, "model": "hadamard", "options": {"dim": 2}, "confine": "weight-decay"},
    "uv, SGD by label noise": {**_SGD, "label_noise": 1.0},
    "uv, SGD by label noise, momentum": {**_SGD, "label_noise": 1.0, "momentum": 0.5, "lr": 0.002},
    "uv, SGD by label noise, weight decay": {
        **_SGD, "label_noise": 1.0, "confine": "weight-decay", "weight_decay": 0.2,
    },
    "uv, SGD by minibatches": {**_SGD, "noise": "minibatch", "batch_size": 4, "options": {"samples": 16}},
    "uv, SGD by epochs": {
        **_SGD, "noise": "minibatch", "batch_size": 4, "replacement": False, "options": {"samples": 16},
    },
    "uv, SGD by coins": {**_SGD, "noise": "bernoulli", "options": {"samples": 16}},
    "uv, SGD by fresh examples": {**_SGD, "noise": "fresh", "batch_size": 4, "label_noise": 1.0},
    "uv, SGD, isotropic": {**_SGD, "noise": "isotropic", "label_noise": 1.0, "confine": "weight-decay"},
    "uv, gradient descent": {**_SGD, "noise": "none", "steps": 2000},
}  # fmt: skip

# Dear ones, once in so many rounds: their laws are sampled.
RARE: dict[str, dict[str, Any]] = {
    "relu, stiff": {**_MANY, "model": "relu", "chains": 512, "steps": 60_000},
    "matrix of GL(2), hard": {
        **_MANY, "model": "matrix", "confine": "hard", "options": {"rows": 2, "cols": 2, "rank": 2, "group": "gl"},
    },
    "attention, stiff": {**_MANY, "model": "attention"},
}  # fmt: skip
EVERY = 5

# What a healthy run of a noise always says: that no law is known of it.
EXPECTED = {"uv, SGD by epochs": ("epochs",)}


def case_of(index: int) -> tuple[str, dict[str, Any]]:
    """The settings of a run by its number, with its seed.

    >>> case_of(0)[1]["seed"], case_of(len(CASES))[0] == case_of(0)[0]
    (1000, True)
    """
    turn, place = divmod(index, len(CASES))
    name = list(CASES)[place]
    settings = CASES[name]
    if turn % EVERY == EVERY - 1 and place < len(RARE):
        name = list(RARE)[place]
        settings = RARE[name]
    return name, {**settings, "seed": FIRST_SEED + index}


def told_by(index: int) -> dict[str, Any]:
    """What a run says."""
    import jax  # noqa: PLC0415 - `--show` needs none

    from langevin_ib import RunConfig, run  # noqa: PLC0415
    from langevin_ib.errors import LangevinIBError  # noqa: PLC0415

    jax.clear_caches()  # of programs that no other run takes: those of hundreds of runs fill the memory
    name, settings = case_of(index)
    began, told = time.process_time(), {"index": index, "case": name, "seed": settings["seed"]}
    try:
        result = run(RunConfig(**settings))
    except LangevinIBError as error:
        return told | {"failed": f"{type(error).__name__}: {error}"}
    own = [
        law for shown in result.invariants.values() for law in shown.laws.values() if law.about.role == "own"
    ]  # fmt: skip
    return told | {
        "doubts": [[doubt.about, str(doubt)] for doubt in result.doubts if doubt.about not in EXPECTED.get(name, ())],
        "verdicts": [law.comparison.verdict for law in own],
        "p": [law.comparison.p_value for law in own if law.comparison.p_value is not None],
        "drift_p": result.mixing.drift_p_value,
        "cpu_s": round(time.process_time() - began, 1),
    }


def share(hits: int, of: int) -> str:
    """A share and its binomial error.

    >>> share(5, 100)
    '5.0% ± 2.2% (5 of 100)'
    """
    if not of:
        return "none"
    part = hits / of
    return f"{part:.1%} ± {math.sqrt(part * (1 - part) / of):.1%} ({hits} of {of})"


# Of the table of docs/trust.md: what stands in the name of a case, the first that does.
KINDS = {"sgd": ("SGD", "gradient descent"), "other": ("hard,", "hard-", "decay", "slab", "none"), "stiff": ("",)}
CALLED = {
    "all": "all",
    "stiff": "stiff confinement: kernels, increments, κ, depth, precision, metric, models",
    "other": "weight decay, hard constraints, a slab, a compact group",
    "sgd": "SGD by its noises, momentum, decay; gradient descent",
}


def kind_of(case: str) -> str:
    """The kind of a case.

    >>> [kind_of(case) for case in ("uv, MALA", "uv, hard", "uv, SGD by coins")]
    ['stiff', 'other', 'sgd']
    """
    return next(kind for kind, words in KINDS.items() if any(word in f"{case}," for word in words))


def numbers(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Hits and how many there are: of runs with a doubt, whose own law differs, that failed; of tests that reject."""
    done = [row for row in rows if "failed" not in row]
    p_values = [p for row in done for p in row["p"]]
    return {
        "doubt": (sum(bool(row["doubts"]) for row in done), len(done)),
        "differs": (sum("differs" in row["verdicts"] for row in done), len(done)),
        "rejects": (sum(p < REJECTS for p in p_values), len(p_values)),
        "failed": (len(rows) - len(done), len(rows)),
    }


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The shares over runs, and each run that complained."""
    done = [row for row in rows if "failed" not in row]
    by_case = collections.defaultdict(list)
    for row in done:
        by_case[row["case"]] += row["p"]
    lines = [
        f"run {row['index']}, {row['case']}, seed {row['seed']}: FAILED {row['failed']}"
        for row in rows
        if "failed" in row
    ]
    lines += [f"run {r['index']}, {r['case']}, seed {r['seed']}: {text}" for r in done for _, text in r["doubts"]]
    lines += [
        f"{case}: {share(sum(p < REJECTS for p in ps), len(ps))} of its tests reject, least p {min(ps):.2g}"
        for case, ps in by_case.items()
        if ps
    ]
    shares = numbers(rows)
    failed, runs = shares["failed"]
    return "\n".join(
        [
            *lines,
            f"with a doubt: {share(*shares['doubt'])}",
            f"own law differs: {share(*shares['differs'])}",
            f"tests at 5% that reject: {share(*shares['rejects'])}",
            f"failed: {failed} of {runs}",
        ]
    )


def stored_of(rows: Sequence[dict[str, Any]], command: str) -> Stored:
    """The result file: shares with their binomial errors, of all runs and by kind of case."""
    from sims.numbers.stored import Number, Stored  # noqa: PLC0415 - JAX, which `--show` does not need

    values: dict[str, Number] = {}
    for kind in CALLED:
        members = [row for row in rows if kind in ("all", kind_of(row["case"]))]
        values[f"{kind}_runs"] = Number(len(members))
        for name, (hits, of) in numbers(members).items():
            values[f"{kind}_{name}"] = Number(hits)
            values[f"{kind}_{name}_of"] = Number(of)
            part = hits / max(of, 1)
            error = math.sqrt(part * (1.0 - part) / of) if of else None
            values[f"{kind}_{name}_share"] = Number(part if of else None, error)
    words = [f"run {row['index']}, {row['case']}: {text}" for row in rows for _, text in row.get("doubts", [])]
    return Stored(command, FIRST_SEED, values, more={"words": words})


def lines_of(kept: Stored) -> list[str]:
    """The table of the page, and each doubt that a healthy run has had."""
    head = "| healthy runs | number | failed | with a doubt | own law differs | tests at 5% that reject |"
    lines = [head, "|---|---|---|---|---|---|"]
    for kind, called in CALLED.items():
        if not kept.values[f"{kind}_runs"].value:
            continue
        entries = [called, *(_marked(kept, f"{kind}_{name}") for name in ("runs", "failed"))]
        entries += [_share_of(kept, f"{kind}_{name}") for name in ("doubt", "differs", "rejects")]
        lines.append(f"| {' | '.join(entries)} |")
    words: Any = kept.more["words"]
    return lines + (["", *(f"- {text} <!-- words: alarms -->" for text in words)] if words else [])


def _marked(kept: Stored, name: str) -> str:
    return f"{kept.values[name].value} <!-- number: alarms.{name} -->"


def _share_of(kept: Stored, name: str) -> str:
    """`1.2 ± 0.5%` of how many; of none of them the count alone, whose binomial error says nothing."""
    part = kept.values[f"{name}_share"]
    if part.value is None:
        return "–"
    of = f"{kept.values[f'{name}_of'].value} <!-- number: alarms.{name}_of -->"
    if not kept.values[name].value:
        return f"{_marked(kept, name)} of {of}"
    error = "" if part.error is None else f" ± {100.0 * part.error:.1f}"
    return f"{100.0 * part.value:.1f}{error}% <!-- number: alarms.{name}_share --> of {of}"


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; one that was cut off is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.alarms", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="to which runs are added")
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="of all parts together [500]")
    parser.add_argument("--part", default="0/1", metavar="I/N", help="every N-th run, from number I on [0/1]")
    parser.add_argument("--show", action="store_true", help="run nothing, print the shares over the files")
    parser.add_argument("--store", action="store_true", help="write docs/results/alarms.json and its table")
    given = parser.parse_args(arguments)
    first, _, parts = given.part.partition("/")
    if not (first.isdigit() and parts.isdigit() and int(first) < int(parts)):
        parser.error(f"--part must be I/N with I below N, got {given.part}")
    if not given.show:
        if len(given.files) != 1:
            parser.error(f"FILE must be a single one that runs are added to, got {len(given.files)}")
        (path,) = given.files
        have = {row["index"] for row in rows_of(path)}
        for index in range(int(first), given.runs, int(parts)):
            if index not in have:
                line = json.dumps(told_by(index))
                with path.open("a") as file:
                    file.write(line + "\n")
                print(line, flush=True)
    rows = [row for path in given.files for row in rows_of(path)]
    print(report(rows))
    if given.store:
        if not rows:
            parser.error(f"FILE must be files with runs, got none in {', '.join(map(str, given.files))}")
        kept = stored_of(sorted(rows, key=lambda row: row["index"]), f"python -m tests.alarms FILE --runs {len(rows)}")
        write(kept, ROOT / "docs" / "results" / "alarms.json", "alarms", lines_of(kept))


if __name__ == "__main__":
    main(sys.argv[1:])
