"""The correction coefficient c of every model under every protocol: the latter decides which law is obeyed.

    python -m sims.protocols [--models NAME …] [--protocols NAME …] [--out FILE.json]

The theory's c is +1 under stiff confinement (κ → ∞) and on an unconfined slab, 0 under the hard constraint, +1 again
with Fixman's term, tends to 0 under weight decay for λ|s|² ≫ T (so the run at β = 40 is nearer), and is −1 for the
compact group of `rotation` without confinement, the only protocol that it is run under. For `relu` c = +1 on a slab is
a limit that these runs do not reach: docs/limits.md. All at the defaults of `langevin_ib.sim` (β = 10), but for what
the last column names. Beside each measured c stands that of the exact marginal at the run's finite κ or λ, where there
is one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, TypeAlias

import langevin_ib
from langevin_ib import LangevinIBError, Result, RunConfig
from langevin_ib.plain import JsonObject, fields_of
from langevin_ib.runs.verdicts import coefficient_dict
from langevin_ib.statistics.records import Absent
from sims import described

MODELS: dict[str, dict[str, object]] = {
    "uv": {"model": "uv"},
    "hadamard": {"model": "hadamard"},
    "relu": {"model": "relu"},
    "attention": {"model": "attention"},
    "matrix": {"model": "matrix"},
    "matrix-gl": {"model": "matrix", "options": {"group": "gl", "rank": 3}},
    "rotation": {"model": "rotation"},
}
PROTOCOLS: dict[str, dict[str, object]] = {
    "stiff": {"confine": "stiff"},
    "hard": {"confine": "hard"},
    "hard-fixman": {"confine": "hard-fixman"},
    "weight-decay": {"confine": "weight-decay"},
    "cold-decay": {"confine": "weight-decay", "beta": 40.0},
    "slab": {"confine": "none"},
}
Changes: TypeAlias = dict[str, int | float]
CHANGES: dict[tuple[str, str], Changes] = {
    # With Fixman's term at β = 10 chains of these fall into z = 0 or σ = 0, where the law c = 1 is not integrable.
    ("uv", "hard-fixman"): {"beta": 40.0},
    **{(model, "hard-fixman"): {"beta": 80.0} for model in ("hadamard", "matrix-gl")},
    # At κ = 20 the singular values near zero feel the finite κ: T/κσ² is not small there.
    ("matrix-gl", "stiff"): {"kappa": 100.0, "steps": 200_000},
    # Few draws of an unconfined chain lie on the slab.
    ("uv", "slab"): {"steps": 400_000},
    **{(model, "slab"): {"chains": 4096} for model in ("hadamard", "relu", "attention", "matrix", "matrix-gl")},
}
THEORY = {"stiff": "+1", "hard": "0", "hard-fixman": "+1", "weight-decay": "→ 0", "cold-decay": "→ 0", "slab": "+1"}
HEAD = (
    "model        protocol      theory  c ± se              c of exact  exact      slice      hard       R-hat  seconds"
    "  other than the defaults"
)


class Row(NamedTuple):
    """A model under a protocol: what was changed for it, and what came of it or why nothing did."""

    model: str
    protocol: str
    theory: str
    changes: Changes
    outcome: Result | str


def row(model: str, protocol: str) -> Row:
    """One run, without companion and full-space reference."""
    changes = CHANGES.get((model, protocol), {})
    settings = MODELS[model] | PROTOCOLS[protocol] | changes | {"reference": "none", "step_check": False}
    try:
        result = langevin_ib.run(RunConfig(**settings))
    except LangevinIBError as error:
        return Row(model, protocol, THEORY[protocol], changes, str(error))
    if model == "rotation" and protocol == "slab":  # its group is compact
        return Row(model, "none", "−1", changes, result)
    return Row(model, protocol, THEORY[protocol], changes, result)


def content(entry: Row) -> JsonObject:
    """A row in the file: c, its error, the exact law's c and the verdicts."""
    about = fields_of(entry, "model", "protocol", "theory", "changes")
    if isinstance(entry.outcome, str):
        return about | {"why": entry.outcome}
    result, summary = entry.outcome, entry.outcome.summary
    return about | {
        "config": summary["config"],
        "correction": coefficient_dict(result.coefficient),
        "exact_c": exact_c(result),
        "verdicts": summary["verdicts"],
        "joint": summary["joint"],
        "in_window": {name: invariant.in_window for name, invariant in result.invariants.items()},
        **fields_of(result.mixing, "r_hat", "rejected"),
        "doubts": summary["doubts"],
        "seconds": result.run.total_wall_s,
    }


def exact_c(result: Result) -> float | None:
    """The c of the exact law, of the first invariant; None without one."""
    exact = next(iter(result.invariants.values())).laws.get("exact")
    return None if exact is None else exact.c


def line(entry: Row) -> str:
    """A row as text."""
    start = f"{entry.model:<12} {entry.protocol:<13} {entry.theory:<7} "
    if isinstance(entry.outcome, str):
        return start + entry.outcome
    result = entry.outcome
    c = result.coefficient
    value = f"none: {c.why}" if isinstance(c, Absent) else f"{c.c:+.3f} ± {c.se:.3f}"
    of_exact = exact_c(result)
    exact = "–" if of_exact is None else f"{of_exact:+.3f}"
    verdicts = "  ".join(f"{result.verdicts.get(law, '–'):<9}" for law in ("exact", "slice", "hard"))
    changes = ", ".join(f"{name} {value:g}" for name, value in entry.changes.items())
    doubts = "".join(f"\n{'':13}in doubt: {doubt}" for doubt in result.doubts)
    r_hat, seconds = result.mixing.r_hat, result.run.total_wall_s
    return f"{start}{value:<19} {exact:>10}  {verdicts}  {r_hat:.3f}  {seconds:7.0f}  {changes}{doubts}"


def main() -> None:
    """Print a row as soon as it is there; write them all to a file."""
    parser = described(__doc__)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--out", type=Path, default=Path("runs/protocols.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    print(HEAD)
    for model in arguments.models:
        for protocol in arguments.protocols:
            if model == "rotation" and protocol != "slab":
                continue
            rows.append(row(model, protocol))
            print(line(rows[-1]), flush=True)
            shown = [content(entry) for entry in rows]
            arguments.out.write_text(json.dumps(shown, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
