"""No false alarm: many healthy small runs, each with a seed of its own, and how often any of them complains.

    python -m tests.alarms FILE [--runs N] [--part I/N]

Runs go round over kernels, confinements, noises and models; each writes a line of JSON to FILE, which is resumed where
it stands. Of two processes, one takes `--part 0/2` and the other `--part 1/2`, each with a file of its own; `--show`
prints the shares over any number of files.
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
from typing import Any

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
    from langevin_ib import RunConfig, run  # noqa: PLC0415 - `--show` needs no JAX
    from langevin_ib.errors import LangevinIBError  # noqa: PLC0415

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


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The shares over runs, and each run that complained."""
    done = [row for row in rows if "failed" not in row]
    p_values = [p for row in done for p in row["p"]]
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
    wrong = sum("differs" in row["verdicts"] for row in done)
    return "\n".join(
        [
            *lines,
            f"with a doubt: {share(sum(bool(row['doubts']) for row in done), len(done))}",
            f"own law differs: {share(wrong, len(done))}",
            f"tests at 5% that reject: {share(sum(p < REJECTS for p in p_values), len(p_values))}",
            f"failed: {len(rows) - len(done)} of {len(rows)}",
        ]
    )


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
    print(report([row for path in given.files for row in rows_of(path)]))


if __name__ == "__main__":
    main(sys.argv[1:])
