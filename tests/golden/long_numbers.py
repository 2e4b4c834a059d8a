"""Numbers of whole studies at tiny sizes: an attribution, a figure of each kind of the paper's, inverse design."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import adapter
import numpy as np

from langevin_ib import design
from langevin_ib.design import operators


def attribution() -> dict[str, Any]:
    """Every mechanism on uv with a data set, eight seeds; `summary.json` but for times of the clock."""
    return adapter.attributed(model="uv", options={"samples": 4}, steps=60, seeds=8)


def figure(name: str, *options: str) -> dict[str, Any]:
    """A figure's `summary.json` but for times of the clock, and the sum of each array that it leaves."""
    with tempfile.TemporaryDirectory() as out:
        code = importlib.import_module(f"sims.{name}").main([*options, "--quiet", "--out", out])
        if code:
            raise RuntimeError(f"sims.{name} ended with code {code}")
        (folder,) = Path(out).iterdir()
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        sums = {}
        if (folder / "recovered.npz").exists():
            with np.load(folder / "recovered.npz", allow_pickle=False) as file:
                sums = {key: float(np.sum(file[key], dtype=np.float64)) for key in file.files}
    del summary["wall_s"]
    return {"summary": summary, "sums": sums}


def verification() -> dict[str, Any]:
    """Both sides of eq. (16) for a sparse gradient, and of eq. (18) for a spectral design, on 16 random features."""
    models = {
        "sparse": design.sparse(operators.gradient(5)),
        "spectral": design.spectral(operators.identity(4), (2, 2)),
    }
    sides = {name: design.verify(model, features=16) for name, model in models.items()}
    return {
        name: {"derived": side.derived.tolist(), "requested": side.requested.tolist()} for name, side in sides.items()
    }


SHORT = ("--seeds", "2", "--figure-only", "--steps")
NUMBERS: dict[str, Callable[[], dict[str, Any]]] = {
    "attribution": attribution,
    "orbits": partial(figure, "fig1_orbits", "--seeds", "4", "--lr", "0.02", "--steps", "100"),
    "balancing": partial(figure, "fig2_relu", *SHORT, "40"),
    "completion": partial(figure, "fig4_completion", *SHORT, "40"),
    "sparse recovery": partial(figure, "fig5_sparse_spectral", *SHORT, "40"),
    "design": partial(figure, "design_haar", *SHORT, "40"),
    "verification": verification,
}
