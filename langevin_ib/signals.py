"""SIGINT and SIGTERM: a long stage saves its state first; and the checkpoint that an interrupted run resumes from."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

NOTHING = "no checkpoint yet, nothing to go on from"
REFUSED = ".refused-"  # in the name of a checkpoint that is kept, but not continued
STOPS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130  # exit code
ONE = 0.25  # seconds within which a signal is the same one again, passed on by a shell or a launcher too


class Kept(NamedTuple):
    """A checkpoint on disk: its file, its stage, the step it was saved at, and the steps of the stage."""

    path: Path
    stage: str
    step: int
    steps: int


class _State:
    """Signals and checkpoints of this process."""

    asked = False  # to stop
    holders = 0
    kept: Kept | None = None
    expected: Path | None = None
    name: str | None = None
    complete: Path | None = None
    partial: Path | None = None


_now, _lock = _State(), threading.Lock()


@contextmanager
def caught() -> Iterator[None]:
    """While this is open, SIGINT and SIGTERM raise `KeyboardInterrupt`, inside `held` at the next `check`.

    A second signal ends the process at once, also while it is inside of a library. A signal that is ignored, as SIGINT
    is behind `nohup`, stays so.
    """
    _now.kept, _now.expected, _now.name, _now.complete, _now.partial = None, None, None, None, None
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    _now.asked, raised = False, False

    def stop(number: int, frame: Any) -> None:
        nonlocal raised
        del number, frame
        first, raised, _now.asked = not raised, True, True
        if first and not _now.holders:
            raise KeyboardInterrupt

    previous = {
        number: signal.signal(number, stop)
        for number in STOPS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        with _watched(previous):
            yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _now.asked = False


@contextmanager
def _watched(numbers: Any) -> Iterator[None]:
    """A thread sees the signals too, at once: Python's own handlers wait while the main thread is inside of XLA."""
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    former = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        since: float | None = None
        while number := ours.recv(1):  # empty once the other end is closed
            if number[0] not in numbers:
                continue
            _now.asked = True
            if since is not None and time.monotonic() - since > ONE:
                _end()
            since = time.monotonic() if since is None else since

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        theirs.close()
        watcher.join()
        ours.close()


def _end() -> None:
    """The end of the process: files are replaced in one step, and are whole at any moment."""
    with suppress(OSError):
        os.write(2, f"interrupted twice, ended at once; {left()}\n".encode())
    os._exit(INTERRUPTED)


@contextmanager
def held() -> Iterator[None]:
    """Signals are deferred to the next `check`, or the end: for work that would lose state or swallow the exception."""
    with _lock:
        _now.holders += 1
    try:
        yield
    finally:
        with _lock:
            _now.holders -= 1
    check()


def asked() -> bool:
    """Whether a signal has come."""
    return _now.asked


def check() -> None:
    """Raise `KeyboardInterrupt` if a signal has come; raised inside a library's callback it would be swallowed."""
    if _now.asked:
        raise KeyboardInterrupt


def note(path: Path, stage: str, step: int, steps: int) -> None:
    """Record the checkpoint last saved, or resumed from."""
    _now.kept = Kept(path, stage, step, steps)


def expect(folder: Path | None) -> None:
    """Record the folder where an earlier process may have left checkpoints of this run."""
    _now.expected = folder


def name(run: str) -> None:
    """Record what the folder of the result will be called, once every rule has been applied."""
    _now.name = run


def named() -> str | None:
    """What the folder of the result will be called; None if that is not known yet."""
    return _now.name


def complete(folder: Path) -> None:
    """Record the folder of the saved run, which needs no checkpoint any more."""
    _now.complete = folder


def partial(file: Path) -> None:
    """Record the summary of an interrupted run."""
    _now.partial = file


def completed() -> bool:
    """Whether the run is saved."""
    return _now.complete is not None


def kept() -> Kept | None:
    """The checkpoint last saved or resumed from, if it is still there."""
    return _now.kept if _now.kept is not None and _now.kept.path.exists() else None


def left() -> str:
    """The checkpoint that the same command would resume from, or the folder of the saved run, in words."""
    saved, folder = kept(), _now.expected
    if _now.complete is not None:
        return f"the run is saved in {_now.complete}"
    if saved is not None:
        at = f'at step {saved.step} of {saved.steps} of "{saved.stage}"'
        summary = "" if _now.partial is None else f"; {_now.partial} says how far it came"
        return f"the same command goes on from its checkpoint {at}{summary}"
    if folder is not None and any(REFUSED not in path.name for path in folder.glob("**/*.npz")):
        return f"the same command goes on from what an earlier run of this very model left in {folder}, if it did"
    return NOTHING
