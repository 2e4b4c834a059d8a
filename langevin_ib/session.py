"""What one run is given besides its configuration: who is told of progress, chunks, checkpoints, streams of keys."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key

from langevin_ib.config.run import RunConfig
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.runner import Stages

# One stream of random numbers for each use; the numbers are part of the interface "same seed, same run".
STREAM = {"check": 0, "starts": 1, "chains": 2, "companion": 3, "reference": 4, "law": 5, "nuts": 6, "joint": 7}


def silent(stage: str) -> None:
    """Tells nobody."""
    del stage


@dataclass(frozen=True)
class Session:
    """Where a run reports to and keeps its state; none of it changes a number.

    Attributes:
        report: called with the name of each stage, returns a progress callback for it or None.
        chunk_records: records per device call.
        checkpoints: the folder of the run's checkpoint files; None keeps none.
    """

    report: Stages = silent
    chunk_records: int | None = None
    checkpoints: Path | None = None

    def stage(self, config: RunConfig, name: str) -> dict[str, Any]:
        """What every long stage is given: its name, its progress bar, its chunk and its checkpoint file."""
        checkpoint = None
        if self.checkpoints is not None:
            file = name.replace(" ", "-").replace("/", "-")
            versions = f"{version('langevin-ib')} {version('jax')}"
            checkpoint = Checkpoint(self.checkpoints / f"{file}.npz", f"{config.digest()} {name} {versions}")
        return {
            "stage": name,
            "progress": self.report(name),
            "chunk_records": self.chunk_records,
            "checkpoint": checkpoint,
        }


def key_of(config: RunConfig, use: str) -> Key[Array, ""]:
    """The key of one use of randomness."""
    return jax.random.fold_in(jax.random.key(config.seed), STREAM[use])


def run_name(config: RunConfig) -> str:
    """A model's name as a part of a file name."""
    return config.model_name.replace(":", "-")
