"""One run at a time in a place: a lock that the system drops with the process that holds it, whatever ends that."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from langevin_ib.errors import UsageError
from langevin_ib.files import TRIES, write_whole

POLL_SECONDS = 0.2
LOCKLESS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # of a disk that knows no locks
log = logging.getLogger(__name__)


@contextmanager
def alone(place: Path, *, wait: bool) -> Iterator[None]:
    """No other process, and no other thread, is in here with the same place; it is the name of a lock beside it.

    The lock is the system's (`flock`, on NFS by way of the server), so that it ends with the process that holds it, and
    is taken over from one that was killed. Beside it stands who holds it, for the line that others print.

    Args:
        place: what is to be had alone; its parent folder is created.
        wait: for as long as another is at it, of which a line tells; else that is an error.

    Raises:
        UsageError: another is at it.
        OSError: the lock's file cannot be made.
    """
    made = [folder for folder in place.parents if not folder.exists()]
    lock, owner = place.with_name(f"{place.name}.lock"), place.with_name(f"{place.name}.owner")
    held = FileLock(lock, poll_interval=POLL_SECONDS)
    try:
        _acquire(held, place, blocking=False)
    except Timeout:
        if not wait:
            raise UsageError(f"{_holder(owner)} is at the same run; without --no-wait this one waits") from None
        log.warning("waiting for %s, which is at the same run", _holder(owner))
        _acquire(held, place, blocking=True)
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        log.warning("%s cannot be locked: %s; start no other run of the same", place, error.strerror)
    with contextlib.suppress(OSError):  # for others to read; nothing hangs on it
        write_whole(owner, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
    try:
        yield
    finally:
        # While it is still held: one that waits finds its file gone, and takes a new one.
        for path in (owner, lock) if held.is_locked else ():
            with contextlib.suppress(OSError):
                path.unlink()
        held.release()
        for folder in made:
            with contextlib.suppress(OSError):  # where something has been written
                folder.rmdir()


def _acquire(held: FileLock, place: Path, *, blocking: bool) -> None:
    for left in reversed(range(TRIES)):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(blocking=blocking)
        except FileNotFoundError:  # the one that was at it has removed the folder, empty by then
            if not left:
                raise
        else:
            return


def _holder(owner: Path) -> str:
    try:
        named = json.loads(owner.read_bytes())
        return f"process {named['process']} on {named['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
