"""The correction coefficient c of every model under every protocol: the latter decides which law is obeyed.

    python -m sims.protocols [--models NAME …] [--protocols NAME …] [--out FILE.json]

The theory's c is +1 under stiff confinement (κ → ∞) and on an unconfined slab, 0 under the hard constraint, +1 again
with Fixman's term, tends to 0 under weight decay for λ|s|² ≫ T (so the run at β = 40 is nearer), and is −1 for the
compact group of `rotation` without confinement, the only protocol that it is run under. For `relu` c = +1 on a slab is
a limit that these runs do not reach: README, Limits. All at the defaults of `langevin_ib.sim` (β = 10), but for what
the last column names. Beside each measured c stands that of the exact marginal at the run's finite κ or λ, where there
is one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import langevin_ib
from langevin_ib import LangevinIBError, RunConfig

MODELS: dict[str, dict[str, Any]] = {
    "uv": {"model": "uv"},
    "hadamard": {"model": "hadamard"},
    "relu": {"model": "relu"},
    "attention": {"model": "attention"},
    "matrix": {"model": "matrix"},
    "matrix-gl": {"model": "matrix", "options": {"group": "gl", "rank": 3}},
    "rotation": {"model": "rotation"},
}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "stiff": {"confine": "stiff"},
    "hard": {"confine": "hard"},
    "hard-fixman": {"confine": "hard-fixman"},
    "weight-decay": {"confine": "weight-decay"},
    "cold-decay": {"confine": "weight-decay", "beta": 40.0},
    "slab": {"confine": "none"},
}
CHANGES: dict[tuple[str, str], dict[str, Any]] = {
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


def row(model: str, protocol: str) -> dict[str, Any]:
    """One run, without companion and full-space reference: c, its error, the exact law's c and the verdicts."""
    changes = CHANGES.get((model, protocol), {})
    settings = MODELS[model] | PROTOCOLS[protocol] | changes | {"reference": "none", "step_check": False}
    try:
        summary = langevin_ib.run(RunConfig(**settings)).summary
    except LangevinIBError as error:
        return {"model": model, "protocol": protocol, "theory": THEORY[protocol], "changes": changes, "why": str(error)}
    first = next(iter(summary["invariants"].values()))
    exact = first["laws"].get("exact", {"c": None})
    compact = model == "rotation" and protocol == "slab"
    return {
        "model": model,
        "protocol": "none" if compact else protocol,
        "theory": "−1" if compact else THEORY[protocol],
        "changes": changes,
        "config": summary["config"],
        "correction": first["correction"],
        "exact_c": exact["c"],
        "verdicts": summary["verdicts"],
        "joint": summary["joint"],
        "in_window": {name: invariant["in_window"] for name, invariant in summary["invariants"].items()},
        "r_hat": summary["diagnostics"]["r_hat"],
        "rejected": summary["diagnostics"]["rejected"],
        "doubts": summary["doubts"],
        "seconds": summary["run"]["total_wall_s"],
    }


def line(entry: dict[str, Any]) -> str:
    """A row as text."""
    start = f"{entry['model']:<12} {entry['protocol']:<13} {entry['theory']:<7} "
    if "why" in entry:
        return start + entry["why"]
    c = entry["correction"]
    value = f"{c['c']:+.3f} ± {c['se']:.3f}" if c["c"] is not None else f"none: {c['why']}"
    exact = "–" if entry["exact_c"] is None else f"{entry['exact_c']:+.3f}"
    verdicts = "  ".join(f"{entry['verdicts'].get(law, '–'):<9}" for law in ("exact", "slice", "hard"))
    changes = ", ".join(f"{name} {value:g}" for name, value in entry["changes"].items())
    doubts = "".join(f"\n{'':13}in doubt: {doubt}" for doubt in entry["doubts"])
    return (
        f"{start}{value:<19} {exact:>10}  {verdicts}  {entry['r_hat']:.3f}  {entry['seconds']:7.0f}  {changes}{doubts}"
    )


def main() -> None:
    """Print a row as soon as it is there; write them all to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
            arguments.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
