"""SIGINT and SIGTERM: a long stage saves its state first; and the checkpoint that an interrupted run resumes from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

NOTHING = "no checkpoint yet, nothing to go on from"


class Saved(NamedTuple):
    """A checkpoint on disk: its file, its stage, the step it was saved at, and the steps of the stage."""

    path: Path
    stage: str
    step: int
    steps: int


class _State:
    """Signals and checkpoints of this process."""

    asked = False  # to stop
    holders = 0
    saved: Saved | None = None
    expected: Path | None = None
    complete: Path | None = None


_now, _lock = _State(), threading.Lock()


@contextmanager
def caught() -> Iterator[None]:
    """While this is open, SIGINT and SIGTERM raise `KeyboardInterrupt`, inside `held` at the next `check`.

    A second signal raises it at once. A signal that is ignored, as SIGINT is behind `nohup`, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: Any) -> None:
        del number, frame
        second, _now.asked = _now.asked, True
        if second or not _now.holders:
            raise KeyboardInterrupt

    previous = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    _now.asked, _now.saved, _now.expected, _now.complete = False, None, None, None
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _now.asked = False


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
    _now.saved = Saved(path, stage, step, steps)


def expect(folder: Path | None) -> None:
    """Record the folder where an earlier process may have left checkpoints of this run."""
    _now.expected = folder


def complete(folder: Path) -> None:
    """Record the folder of the saved run, which needs no checkpoint any more."""
    _now.complete = folder


def left() -> str:
    """The checkpoint that the same command would resume from, or the folder of the saved run, in words."""
    saved, folder = _now.saved, _now.expected
    if _now.complete is not None:
        return f"the run is saved in {_now.complete}"
    if saved is not None and saved.path.exists():
        at = f'at step {saved.step} of {saved.steps} of "{saved.stage}"'
        return f"the same command goes on from its checkpoint {at}"
    if folder is not None and any(folder.glob("*.npz")):
        return f"the same command goes on from what an earlier run of this very model left in {folder}, if it did"
    return NOTHING
