"""The devices of this process: every core one of its own, if that is asked before JAX starts."""

from __future__ import annotations

import contextlib
import os
import sys

from langevin_ib.errors import UsageError, one_line

MAX_DEVICES = 64


def use_all_cores() -> None:
    """Every core a device of its own, unless their number has been set: XLA by itself splits only large loops.

    Raises:
        UsageError: JAX or matplotlib cannot start with what the environment's variables ask for.
    """
    try:
        import jax  # noqa: PLC0415
    except ValueError as error:  # a variable of JAX's own, which it names
        raise UsageError(f"JAX cannot be imported: {one_line(error)}") from None
    if devices_asked() is None:
        # RuntimeError: a caller in the same process has started the backend already; the numbers are the same.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(len(usable_cores()), MAX_DEVICES))
    _start_backends()


def _start_backends() -> None:
    """Start JAX, and matplotlib without a screen: here, for what fails inside an import leaves pages of a traceback."""
    import jax  # noqa: PLC0415

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        asked = getattr(jax.config, "jax_platforms", None)
        if not asked:
            raise
        got = f"{asked} ({one_line(error) if str(error) else 'it has no such device'})"
        raise UsageError(f"JAX_PLATFORMS must be what JAX can start here, such as cpu, got {got}") from None
    try:
        import matplotlib  # noqa: PLC0415
    except ValueError as error:
        got, allowed = os.environ.get("MPLBACKEND"), str(error).partition("; ")[2]
        raise UsageError(f"MPLBACKEND must be a backend of matplotlib, such as agg, got {got} ({allowed})") from None
    if "matplotlib.pyplot" not in sys.modules:  # a notebook's backend stays; a command line only writes files
        matplotlib.use("agg")


def devices_asked() -> int | None:
    """The number of devices that JAX was told to make of the CPU; None if it was left alone."""
    import jax  # noqa: PLC0415

    number = getattr(jax.config, "jax_num_cpu_devices", -1)
    return number if number > 0 else None


def usable_cores() -> list[int]:
    """Cores that this process may use: fewer than the machine has in a container or under taskset."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
