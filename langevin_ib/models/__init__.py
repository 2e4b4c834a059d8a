"""Models with a continuous symmetry: one file each in `families`."""

from __future__ import annotations

from langevin_ib.models.base import Branch, Chart, Invariants, Model, Params, Scalars
from langevin_ib.models.families.attention import attention
from langevin_ib.models.families.hadamard import hadamard
from langevin_ib.models.families.matrix import matrix
from langevin_ib.models.families.relu import relu
from langevin_ib.models.families.rotation import rotation
from langevin_ib.models.families.uv import uv
from langevin_ib.models.losses import Loss
from langevin_ib.models.measured import measure_only
from langevin_ib.models.registry import build_model, options_of
from langevin_ib.models.training import Examples, Fresh, Task, Training, data_training, stack_tasks
from langevin_ib.models.transforms import with_metric, with_moment_map

__all__ = [
    "Branch",
    "Chart",
    "Examples",
    "Fresh",
    "Invariants",
    "Loss",
    "Model",
    "Params",
    "Scalars",
    "Task",
    "Training",
    "attention",
    "build_model",
    "data_training",
    "hadamard",
    "matrix",
    "measure_only",
    "options_of",
    "relu",
    "rotation",
    "stack_tasks",
    "uv",
    "with_metric",
    "with_moment_map",
]
