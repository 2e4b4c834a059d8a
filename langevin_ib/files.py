"""A file that is either what it was or whole: written under a name of its own, flushed to the disk, renamed."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

TRIES = 5  # while another process removes the folder
UNFINISHED = ".tmp"  # ends the name of a file that is being written, or that a kill has left


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace a file in one step; its folder is created where it is missing.

    A kill or a full disk leaves what was there, and at most a file whose name ends in `UNFINISHED`.

    Raises:
        OSError: it cannot be written; what stood there is untouched.
    """
    for left in reversed(range(TRIES)):
        fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{UNFINISHED}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(fresh, path)
        except FileNotFoundError:  # the folder has been removed in between
            if not left:
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        else:
            sync(path.parent)
            return


def sync(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a rename outlives a loss of power; where that is possible."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some network disks flush none
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
