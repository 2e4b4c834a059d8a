"""Atomic save and exact resume of one ensemble: kernel states, accumulators, trace and the step they stand at.

No key is saved: the noise of step n comes from fold_in(key, n), so a resumed run continues with the numbers that an
uninterrupted one would have had. What the steps compute is part of the fingerprint (`fingerprint.content_of`), so that
a state is not continued by an edited model.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from langevin_ib import signals
from langevin_ib.stages import Resumed

EVERY_SECONDS = 15.0
log = logging.getLogger(__name__)
TRIES = 5  # to save, while another process removes the folder


class Saved(NamedTuple):
    """A saved state: how far it is, and its arrays."""

    at: dict[str, Any]
    leaves: list[np.ndarray]


@dataclass
class Checkpoint:
    """The checkpoint file of one stage of one run.

    Attributes:
        path: the file; its folder is created when first needed.
        fingerprint: what must be the same for a saved state to fit: configuration, stage, versions; the runner adds
            what its steps compute.
        every_s: seconds of work between saves; a stage shorter than that leaves no file unless it is interrupted.
    """

    path: Path
    fingerprint: str
    every_s: float = EVERY_SECONDS
    _last: float = field(default_factory=time.monotonic)

    def of(self, content: str) -> Checkpoint:
        """The same for one content: a state of another does not fit."""
        return replace(self, fingerprint=f"{self.fingerprint} {content}")

    def say_resumed(self, stage: str, step: int, steps: int) -> None:
        """Log that a stage goes on from the saved state, and keep that for `resumes`."""
        log.info('resumed "%s" at step %d of %d from %s', stage, step, steps, self.path)
        signals.note(self.path, stage, step, steps)
        _write(self._mark, json.dumps(Resumed(stage, step, steps)._asdict()).encode())

    @property
    def _mark(self) -> Path:
        return self.path.with_suffix(f".{os.getpid()}.resumed")  # a run of the same at the same time has its own

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self.every_s

    def save(self, at: Mapping[str, Any], leaves: Sequence[np.ndarray]) -> None:
        """Write to a temporary name and rename, so that a kill or a full disk leaves the last complete state.

        Raises:
            OSError: it cannot be written.
        """
        named = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        content = io.BytesIO()  # NumPy's writer mutters on standard error when a disk is full
        np.savez(content, allow_pickle=False, fingerprint=self.fingerprint, at=json.dumps(at), **named)
        _write(self.path, content.getbuffer())
        self._last = time.monotonic()

    def load(self) -> Saved | None:
        """The saved state; None if there is none that fits."""
        self._mark.unlink(missing_ok=True)  # of an earlier process
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                if str(saved["fingerprint"]) != self.fingerprint:
                    return None
                at = json.loads(str(saved["at"]))
                leaves = [saved[f"leaf{i}"] for i in range(len(saved.files) - 2)]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # not a file of ours, or a damaged one: begin anew
            return None
        return Saved(at, leaves)

    def refuse(self, why: str) -> None:
        """Say that the saved state does not fit."""
        log.warning("%s is not continued: %s", self.path, why)


def resumes(folder: Path | None) -> tuple[Resumed, ...]:
    """The stages of a run that went on from a saved state."""
    marks = [] if folder is None else sorted(folder.glob(f"*.{os.getpid()}.resumed"))
    return tuple(Resumed(**json.loads(mark.read_text(encoding="utf-8"))) for mark in marks)


def _write(path: Path, content: bytes | memoryview) -> None:
    """A file, under a name of its own until it is complete; its folder is created where it is missing."""
    for left in reversed(range(TRIES)):
        fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(path)
        except FileNotFoundError:  # a run of the same, saved by now, has removed the folder in between
            if not left:
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        else:
            return
