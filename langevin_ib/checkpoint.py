"""Atomic save and exact resume of one ensemble: kernel states, accumulators, trace and the step they stand at.

No key is saved: the noise of step n comes from fold_in(key, n), so a resumed run continues with the numbers that an
uninterrupted one would have had.
"""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

EVERY_SECONDS = 30.0


class Standing(NamedTuple):
    """Where a run stands: steps of burn-in done, records made, and everything that has been accumulated."""

    burned: int
    recorded: int
    tree: Any


@dataclass
class Checkpoint:
    """The checkpoint file of one stage of one run.

    Attributes:
        path: the file; its folder is made when first needed.
        fingerprint: what must be the same for a saved state to fit: configuration, stage, versions.
        every_s: seconds between saves; a stage shorter than that leaves no file.
    """

    path: Path
    fingerprint: str
    every_s: float = EVERY_SECONDS
    _last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, standing: Standing) -> None:
        """Write to a temporary name and rename, so that a kill leaves the last complete state."""
        leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(standing.tree))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".tmp")
        with fresh.open("wb") as stream:
            at = np.array([standing.burned, standing.recorded])
            np.savez(stream, allow_pickle=False, fingerprint=self.fingerprint, at=at, **leaves)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self.path)
        self._last = time.monotonic()

    def load(self, like: Any) -> Standing | None:
        """The saved state in the structure and on the devices of `like`; None if there is none that fits.

        `like` maps the number of records made to the tree that a run holds there.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                if str(saved["fingerprint"]) != self.fingerprint:
                    return None
                burned, recorded = (int(x) for x in saved["at"])
                template, treedef = jax.tree.flatten(like(recorded))
                leaves = [saved[f"leaf{i}"] for i in range(len(template))]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # not a file of ours, or a damaged one: begin anew
            return None
        if any(leaf.shape != wanted.shape for leaf, wanted in zip(leaves, template, strict=True)):
            return None
        placed = [
            jax.device_put(leaf, wanted.sharding) if isinstance(wanted, jax.Array) else leaf
            for leaf, wanted in zip(leaves, template, strict=True)
        ]
        return Standing(burned, recorded, jax.tree.unflatten(treedef, placed))
