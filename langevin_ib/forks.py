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
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "config"):  # the latter while it is being imported
        return False
    number = getattr(jax.config, "jax_num_cpu_devices", -1)
    try:  # JAX has no other public way to ask: another number of devices is refused once it has started
        jax.config.update("jax_num_cpu_devices", number + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


class _Fork:
    """What a fork leaves: XLA's threads stay in the parent, so that a JAX which has started hangs in the child."""

    started_before = False
    broken = False


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


def _is_broken() -> bool:
    """Whether JAX has started, but none of its threads is here: so in a process forked before this module was there."""
    with contextlib.suppress(OSError):
        return len(list(THREADS.iterdir())) == threading.active_count() and started()
    return False


if hasattr(os, "register_at_fork"):  # not on every system, nor is there a fork then
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
    _Fork.broken = _is_broken()
