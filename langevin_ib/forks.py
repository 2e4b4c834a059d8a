"""Whether this process was forked from one in which JAX had started; imported with the package, and without JAX."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

from langevin_ib.errors import ProcessError

THREADS = Path("/proc/self/task")  # of Linux: one entry for each thread of this process
FORKED = (
    "this process was forked after JAX had started in its parent, and would hang; fork before anything is computed "
    'there, or start it afresh, with multiprocessing.get_context("spawn")'
)


def started() -> bool:
    """Whether JAX has started in this process, or in the one that it was forked from; without starting it."""
    # Not public, and asked all the same, for it only reads: this is called before every fork, while other threads run.
    ask = getattr(sys.modules.get("jax._src.xla_bridge"), "backends_are_initialized", None)
    return _refuses_devices() if ask is None else ask()


def _refuses_devices() -> bool:
    """The same by what is public, for a JAX without the other: once it has started, it refuses another number."""
    config = getattr(sys.modules.get("jax"), "config", None)
    number = getattr(config, "jax_num_cpu_devices", None)
    if config is None or number is None:  # not imported, or still being so
        return False
    with _Fork.asking:
        try:
            config.update("jax_num_cpu_devices", number + 1)
            config.update("jax_num_cpu_devices", number)
        except RuntimeError:
            return True
    return False


class _Fork:
    """What a fork leaves: XLA's threads stay in the parent, so that a JAX which has started hangs in the child."""

    started_before = False
    broken = False
    asking = threading.Lock()


def check_process() -> None:
    """Refuse a process that was forked after JAX had started.

    Raises:
        ProcessError: it was.
    """
    if _Fork.broken:
        raise ProcessError(FORKED)


def _before_fork() -> None:
    _Fork.started_before = started()


def _in_child() -> None:
    _Fork.broken = _Fork.started_before
    _Fork.asking = threading.Lock()  # another thread of the parent's may have held it


def _is_broken() -> bool:
    """Whether JAX has started, but none of its threads is here: so in a process forked before this module was there."""
    with contextlib.suppress(OSError):
        return len(list(THREADS.iterdir())) == threading.active_count() and started()
    return False


if hasattr(os, "register_at_fork"):  # not on every system, nor is there a fork then
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
    _Fork.broken = _is_broken()
