"""All examples at every step, their labels perturbed.

ĝ = ∇ ½ w mean |f(θ, x_i) − y_i − s ε_i|², whose noise is Gaussian with Σ = w² s² E J_iᵀJ_i/n: what `Noise` adds for its
labels, and nothing else.
"""

from __future__ import annotations

from typing import Any

from langevin_ib.config.noises import LabelSettings
from langevin_ib.dynamics.covariance import no_covariance
from langevin_ib.dynamics.cumulants import gaussian_cumulants
from langevin_ib.dynamics.kicks import label_kicks
from langevin_ib.dynamics.noise import NoiseKind
from langevin_ib.dynamics.noise_records import Batch, Source
from langevin_ib.models.training import Examples, Task


def batch(source: Source, drawn: Any, task: Task, memory: Any) -> Batch:
    """The data set."""
    del source, drawn
    return Batch(Examples(task["x"], task["y"]), task["weight"], memory)


NOISE = NoiseKind(
    settings=LabelSettings,
    words="label noise",
    covariance=no_covariance,
    batch=batch,
    cumulants=gaussian_cumulants,
    kicks=label_kicks,
    outcomes=True,
)
