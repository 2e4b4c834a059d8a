"""Checkpoints: atomic save and exact resume of one stage, and a line on every file that is not continued.

With the chains' states the streams of their random numbers are saved, or the key of a block's, so that a resumed run
continues with the numbers that an uninterrupted one would have had. What the steps compute is part of the identity
(`fingerprint.content_of`), so that a state is not continued by an edited model.

The file is an .npz: `header`, JSON of who wrote it and where the stage stood, `checksum`, SHA-256 of header and arrays,
and the arrays. Whatever a broken disk, a broken copy or another program has made of it is found when it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from langevin_ib import signals
from langevin_ib.files import write_whole
from langevin_ib.stages import Resumed

EVERY_SECONDS = 15.0
ENDED_SECONDS = 1.0  # of work since the last save, above which the end of a stage is worth one
FORMAT = 3
COMPUTES = "what it computes"  # the part of an identity that the runner adds

Place: TypeAlias = Mapping[str, list[int]]  # of each block, and of the run

log = logging.getLogger(__name__)


class Saved(NamedTuple):
    """What a checkpoint holds: where the stage stood, in the runner's own terms, its arrays, and which file it is."""

    at: Place
    leaves: list[np.ndarray]
    path: Path


@dataclass
class Checkpoint:
    """The checkpoint file of one stage of one run.

    Attributes:
        path: the file; its folder is created when first needed.
        identity: what must agree for a saved state to be continued, by its name: configuration, stage, versions. The
            runner adds what its steps compute.
        every_s: seconds of work between saves, by a clock that only goes forward.
        fresh: whether to begin anew, whatever is saved.
        kept: whether the state at the end is wanted too, for a longer run to go on from.
        earlier: where a finished run keeps its state; where nothing is saved, the stage goes on from there.
    """

    path: Path
    identity: Mapping[str, str]
    every_s: float = EVERY_SECONDS
    fresh: bool = False
    kept: bool = False
    earlier: Path | None = None
    _last: float = field(default_factory=time.monotonic)
    _closed: bool = False  # nothing is saved, so as not to lose what lies there

    def of(self, content: str) -> Checkpoint:
        """The same for one content: a state of another is not continued."""
        return replace(self, identity={**self.identity, COMPUTES: content})

    def say_resumed(self, saved: Saved, stage: str, step: int, steps: int) -> None:
        """Log that a stage goes on from the saved state, and keep that for `resumes`."""
        log.info('resumed "%s" at step %d of %d from %s', stage, step, steps, saved.path)
        if saved.path == self.path:
            signals.note(self.path, stage, step, steps)
        _told(self.path).append(Resumed(stage, step, steps))

    def due(self, *, ended: bool = False) -> bool:
        """Whether it is time to save; at the end of a stage also what took a second, for a later one may be killed."""
        if ended and self.kept:
            return True
        return time.monotonic() - self._last >= (min(self.every_s, ENDED_SECONDS) if ended else self.every_s)

    def save(self, at: Place, leaves: Sequence[np.ndarray], *, ended: bool = False) -> bool:
        """Replace the file in one step, and say whether that was possible; one that stays is packed tight.

        A run does not die for a state that it cannot write: on a full disk the last one stays, a line says so once, and
        it is tried again at the next time.
        """
        self._last = time.monotonic()
        if self._closed:
            return False
        try:
            write_whole(self.path, _packed(self.identity, at, leaves, tight=ended and self.kept))
        except (OSError, MemoryError) as error:
            if self.path not in _unwritable:
                _unwritable.add(self.path)
                log.warning(
                    "checkpoint %s cannot be written: %s; the run goes on without it", self.path, _reason(error)
                )
            return False
        _unwritable.discard(self.path)
        return True

    def load(self) -> Saved | None:
        """What is saved; None if there is nothing, or nothing that may be continued, of which a line tells."""
        _history.pop(self.path, None)
        if self.fresh and self.path.exists():
            log.info("started over: checkpoint %s of an earlier run is left behind, to be replaced", self.path)
        saved = None if self.fresh else self._read(self.path)
        return self._read(self.earlier) if saved is None and self.earlier is not None else saved

    def _read(self, path: Path) -> Saved | None:
        try:
            header, leaves = _unpacked(path.read_bytes())
        except FileNotFoundError:
            return self.refuse("it is not there", path) if path == self.earlier else None
        except OSError as error:
            return self.refuse(f"it cannot be read: {_reason(error)}", path)
        except _ForeignError as error:
            return self.refuse(str(error), path)
        differs = _differences(header["identity"], self.identity)
        return self.refuse(differs, path) if differs else Saved(header["at"], leaves, path)

    def refuse(self, why: str, path: Path) -> None:
        """Do not continue the saved state: say why in one line, kept for `refusals`.

        Its file is moved aside; that of a finished run stays where it is.
        """
        outcome = "these steps are taken anew" if path == self.earlier else self._put_aside()
        line = f"checkpoint {path} is not continued: {why}; {outcome}"
        log.warning(line)
        _told(self.path).append(line)

    def _put_aside(self) -> str:
        try:
            kept = _aside(self.path)
            self.path.rename(kept)
        except OSError as error:
            self._closed = True
            return f"it cannot be moved aside ({_reason(error)}), so that this stage saves nothing"
        return f"it is kept as {kept.name}"


def read_saved(path: Path) -> Saved | str:
    """What a file holds, whoever wrote it and for what; or why it cannot be read."""
    try:
        header, leaves = _unpacked(path.read_bytes())
    except OSError as error:
        return f"it cannot be read: {_reason(error)}"
    except _ForeignError as error:
        return str(error)
    return Saved(header["at"], leaves, path)


class _ForeignError(Exception):
    """A file that is not one of ours, or no longer; says what it is, with 'it' for the file."""


_unwritable: set[Path] = set()  # of which that has been said
_history: dict[Path, list[Resumed | str]] = {}  # of this process: what became of each file when it was last loaded


def resumes(folder: Path | None) -> tuple[Resumed, ...]:
    """The stages of a run that went on from a saved state, its checkpoints being in this folder."""
    return tuple(told for told in _told_in(folder) if isinstance(told, Resumed))


def refusals(folder: Path | None) -> tuple[str, ...]:
    """A line for each checkpoint in this folder that was not continued."""
    return tuple(told for told in _told_in(folder) if isinstance(told, str))


def _told(path: Path) -> list[Resumed | str]:
    return _history.setdefault(path, [])


def _told_in(folder: Path | None) -> list[Resumed | str]:
    if folder is None:
        return []
    return [told for path in sorted(_history) if path.is_relative_to(folder) for told in _history[path]]


def _differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs between two identities, as a clause about the first; empty if nothing does."""
    clauses = []
    for name in {**ours, **theirs}:
        one, other = theirs.get(name, "unknown"), ours.get(name, "unknown")
        if one == other or name == COMPUTES:
            continue
        if name in ("langevin_ib", "engine", "jax"):
            clauses.append(f"it was made by {name} {one}, this is {other}")
        else:
            clauses.append(f"its {name} is {one}, not {other}")
    if not clauses and theirs.get(COMPUTES) != ours.get(COMPUTES):  # by itself: another version computes otherwise
        clauses.append("what it computes is no longer the same (an edited model, or other data)")
    return "; ".join(clauses)


def _packed(identity: Mapping[str, str], at: Place, leaves: Sequence[np.ndarray], *, tight: bool) -> memoryview:
    header = json.dumps({"format": FORMAT, "identity": dict(identity), "at": dict(at), "leaves": len(leaves)}).encode()
    arrays: dict[str, Any] = {f"leaf{i}": leaf for i, leaf in enumerate(leaves)}
    arrays |= {name: np.frombuffer(text, np.uint8) for name, text in _sealed(header, leaves).items()}
    content = io.BytesIO()
    # As `numpy.savez` writes it, which knows no fast level: counts pack to a fifth in a tenth of a second for 20 MB.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED if tight else zipfile.ZIP_STORED, compresslevel=1) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
    return content.getbuffer()


def _unpacked(content: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Header and arrays of a file.

    Raises:
        _ForeignError: it is damaged, or was not written by `_packed`.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            if "checksum" not in saved.files:
                raise _ForeignError("it is no checkpoint of this format")
            text, checksum = saved["header"].tobytes(), saved["checksum"].tobytes()
            header = json.loads(text)
            leaves = [saved[f"leaf{i}"] for i in range(header["leaves"])]
    except _ForeignError:
        raise
    except Exception as error:  # a flipped bit meets every way in which zip files, .npy files and JSON can be broken
        detail = " ".join(str(error).split())
        raise _ForeignError(f"it is damaged ({detail[:80] or type(error).__name__})") from None
    if _sealed(text, leaves)["checksum"] != checksum:
        raise _ForeignError("it is damaged (its checksum is another)")
    if header["format"] != FORMAT:
        raise _ForeignError(f"its format is {header['format']}, this is {FORMAT}")
    return header, leaves


def _sealed(header: bytes, leaves: Sequence[np.ndarray]) -> dict[str, bytes]:
    """A header and the checksum of it and of the arrays: types, shapes and bytes."""
    checksum = hashlib.sha256(header)
    for leaf in leaves:
        checksum.update(f"{leaf.dtype.str} {leaf.shape}".encode())
        checksum.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return {"header": header, "checksum": checksum.digest()}


def _aside(path: Path) -> Path:
    """The first name that is free for a file that is not continued."""
    names = (path.with_name(f"{path.stem}{signals.REFUSED}{n}{path.suffix}") for n in count(1))
    return next(name for name in names if not name.exists())


def _reason(error: OSError | MemoryError) -> str:
    return (error.strerror if isinstance(error, OSError) else "out of memory") or str(error)
