"""Folders of results: written under a temporary name and renamed, so a killed run leaves the old state or the new."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import lock_descriptor

from langevin_ib import signals
from langevin_ib.errors import ConfigError
from langevin_ib.files import UNFINISHED, sync, write_whole
from langevin_ib.plain import Json, JsonObject

if TYPE_CHECKING:  # which a run needs once it is over
    from matplotlib.figure import Figure

CHECKPOINTS = ".checkpoints"  # in the output folder, until the run they belong to is saved
SUMMARY = "summary.json"
CONFIG = "config.toml"
HEX = "[0-9a-f]" * 12  # ends the name of a folder that is being written
IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}  # what a rename meets where there is something
RACES = 100  # renames that other processes may spoil, one after the other, before it counts as an error


def tidy(out: str | Path) -> None:
    """Remove the folder of checkpoints if no unfinished run has any."""
    with contextlib.suppress(OSError):
        (Path(out) / CHECKPOINTS).rmdir()


def discard(checkpoints: Path | None) -> None:
    """Remove the states that a run left in this folder: its result is saved. What was not continued stays."""
    if checkpoints is None:
        return
    refused = {path for path in checkpoints.rglob(f"*{signals.REFUSED}*") if path.is_file()}
    if not refused:
        shutil.rmtree(checkpoints, ignore_errors=True)
        return
    for path in sorted(checkpoints.rglob("*"), reverse=True):  # the content of a folder before the folder
        with contextlib.suppress(OSError):
            if path.is_dir():
                path.rmdir()
            elif path not in refused:
                path.unlink()


def mend(out: Path, checkpoints: Path) -> None:
    """Undo what kills have left half done in a folder of results, and in the checkpoints of a run that one has alone.

    A folder that had stepped aside for a new one, which then never came, goes back to its place; what nobody is writing
    any more is removed.

    Raises:
        OSError: it cannot be undone.
    """
    for left in out.glob(f".*-{HEX}"):
        name = left.name[1 : -len("-old-") - 12] if left.match(f".*-old-{HEX}") else None
        if name is not None and not os.path.lexists(out / name):
            with contextlib.suppress(FileNotFoundError):  # another process has done it
                left.rename(out / name)
        elif name is not None or _is_left(left):
            _remove(left)
    for unfinished in checkpoints.rglob(f"*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)


def is_complete(folder: Path) -> bool:
    """Whether there is something in the place of a result that is not a partial summary alone."""
    return os.path.lexists(folder) and not _is_partial(folder)


def write_partial(folder: Path, checkpoints: Path, summary: JsonObject) -> Path:
    """Write the summary of a run that was interrupted; returns its file.

    It goes where the result will be, and where a complete one is, to the states of the run that did not get so far.

    Raises:
        OSError: it cannot be written.
    """
    path = (checkpoints if is_complete(folder) else folder) / SUMMARY
    write_whole(path, summary_json(summary).encode())
    return path


def clear_partial(folder: Path) -> None:
    """Remove a partial summary whose run has been saved elsewhere, a rule having been decided otherwise since."""
    if _is_partial(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _is_partial(folder: Path) -> bool:
    try:
        (file,) = (path for path in folder.iterdir() if not path.name.endswith(UNFINISHED))
        return file.name == SUMMARY and json.loads(file.read_bytes())["partial"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_writable(out: str | Path) -> None:
    """Fail before any work if `out` cannot take a folder; leaves nothing behind.

    Raises:
        ConfigError: `out`, or the nearest folder above it that exists, is not a folder one can write into.
    """
    nearest = Path(out).absolute()
    try:
        while not os.path.lexists(nearest) and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.exists():  # a link whose target is missing: no folder can be made in its place
            raise FileNotFoundError(0, f"{nearest} is a symbolic link to nothing")
        trial = _fresh(nearest, "trial")
        trial.mkdir()
        with contextlib.suppress(FileNotFoundError):  # `mend` of another process takes it for one that was left
            trial.rmdir()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError("out", "a folder that can be written", f"{out} ({why})") from None


def png(picture: Figure) -> bytes:
    """A picture, which is closed, as the content of a file."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - see above

    buffer = io.BytesIO()
    picture.savefig(buffer, dpi=200, format="png")
    plt.close(picture)
    return buffer.getvalue()


def write(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file whose content is complete: libraries that write by themselves crash or mutter on a full disk.

    Raises:
        OSError: the disk is full, for instance; here rather than when the file is closed.
    """
    with path.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())


def write_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Make a folder under a temporary name, have it filled, and rename it; returns it.

    Of several processes that write one folder at a time, the last one's stays, whole. The folder has the permissions
    that any new one has there: umask, setgid and default ACL of the folder above hold.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(folder.parent, folder.name) as fresh:
        try:
            fill(fresh)
            sync(fresh)
            _replace(fresh, folder)
            sync(folder.parent)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    signals.complete(folder)
    return folder


def print_json(summary: JsonObject) -> None:
    """The summary on standard output; characters that this cannot spell as JSON's own escapes."""
    text = summary_json(summary)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=1) + "\n"
    sys.stdout.write(text)


def summary_json(summary: JsonObject) -> str:
    """The summary as strict JSON text; a number that is not finite becomes null."""
    return json.dumps(_strict(summary), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _fresh(parent: Path, name: str) -> Path:
    """A hidden name that no other process has."""
    return parent / f".{name}-{uuid.uuid4().hex[:12]}"  # as `mend` looks for it


@contextlib.contextmanager
def _claimed(parent: Path, name: str) -> Iterator[Path]:
    """A new folder under a name of its own, locked for as long as this process is at it, so that `mend` leaves it."""
    while True:
        fresh = _fresh(parent, name)
        fresh.mkdir()
        place = _locked(fresh)
        if fresh.exists():  # else another process has taken it for one that was left, before the lock
            break
        if place is not None:
            os.close(place)
    try:
        yield fresh
    finally:
        if place is not None:
            os.close(place)


def _is_left(folder: Path) -> bool:
    """Whether no process is writing this folder any more; False where that cannot be known."""
    place = _locked(folder)
    if place is not None:
        os.close(place)
    return place is not None


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder; None if another has it, or where folders have none."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except OSError:  # on Windows of any: what a kill has left stays there
        return None
    with contextlib.suppress(OSError):
        if lock_descriptor(place, blocking=False):
            return place
    os.close(place)
    return None


def _replace(fresh: Path, folder: Path) -> None:
    """A rename cannot replace a folder that has content, so the old one steps aside first.

    Another process may do the same between any two of these steps: then it is tried again.
    """
    aside: list[Path] = []
    try:
        for left in reversed(range(RACES)):
            try:
                fresh.rename(folder)
                return
            except OSError as error:
                if not left or not fresh.exists() or not (error.errno in IN_THE_WAY or os.path.lexists(folder)):
                    raise
            old = _fresh(folder.parent, f"{folder.name}-old")
            with contextlib.suppress(FileNotFoundError):  # it is gone already
                folder.rename(old)
                aside.append(old)
    except BaseException:
        if aside and not os.path.lexists(folder):
            aside.pop().rename(folder)
        raise
    finally:
        for old in aside:
            _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _strict(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
