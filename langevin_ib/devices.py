"""The devices of this process: every core one of its own, if JAX has not started.

JAX starts when something is first computed, and with that its devices are what they are for the rest of the process.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from langevin_ib.errors import UsageError, one_line
from langevin_ib.forks import check_process, started

MAX_DEVICES = 64


def use_all_cores() -> None:
    """Start JAX with every core a device of its own, and matplotlib without a screen: for a command line.

    Raises:
        UsageError: JAX or matplotlib cannot start with what the environment's variables ask for.
    """
    try:
        import jax  # noqa: F401, PLC0415
    except ValueError as error:  # a variable of JAX's own, which it names
        raise UsageError(f"JAX cannot be imported: {one_line(error)}") from None
    start()
    try:
        import matplotlib  # noqa: PLC0415
    except ValueError as error:
        got, allowed = os.environ.get("MPLBACKEND"), str(error).partition("; ")[2]
        raise UsageError(f"MPLBACKEND must be a backend of matplotlib, such as agg, got {got} ({allowed})") from None
    if "matplotlib.pyplot" not in sys.modules:  # a notebook's backend stays; a command line only writes files
        matplotlib.use("agg")


def start() -> str | None:
    """Start JAX, every core a device unless their number has been set: by itself XLA splits only large loops.

    A number set by the caller stays, and so do the devices of a JAX that has started. One that is set here stays too,
    as `jax.config.jax_num_cpu_devices`: JAX takes it back only with all of its arrays.

    Returns:
        Which cores stay idle, as a sentence; None if none does, or if the caller has asked for that.

    Raises:
        ProcessError: JAX had started before this process was forked.
        UsageError: JAX cannot start with what the environment's variables ask for.
    """
    import jax  # noqa: PLC0415

    check_process()
    if devices_asked() is None and not started():
        jax.config.update("jax_num_cpu_devices", min(len(usable_cores()), MAX_DEVICES))
    try:
        jax.devices()  # here, for what fails inside an import leaves pages of a traceback
    except (AssertionError, RuntimeError) as error:
        asked = getattr(jax.config, "jax_platforms", None)
        if not asked:
            raise
        got = f"{asked} ({one_line(error) if str(error) else 'it has no such device'})"
        raise UsageError(f"JAX_PLATFORMS must be what JAX can start here, such as cpu, got {got}") from None
    return _idle()


def _idle() -> str | None:
    import jax  # noqa: PLC0415

    cores = len(usable_cores())
    # Asked for by its number of devices, or by a default device, one core is what somebody wants.
    asked = devices_asked() is not None or getattr(jax.config, "jax_default_device", None) is not None
    if asked or jax.default_backend() != "cpu" or jax.device_count() > 1 or cores == 1:
        return None
    return (
        f"1 of {cores} cores was used, for JAX had started with one device before the run; for all of them, and the "
        "same numbers up to rounding, run before anything is computed with JAX, or call "
        "langevin_ib.devices.use_all_cores() first"
    )


def in_use() -> list[Any]:
    """The devices that runs are spread over: the caller's `jax.default_device` if there is one, else all."""
    import jax  # noqa: PLC0415

    default = getattr(jax.config, "jax_default_device", None)
    if default is None:
        return jax.devices()
    return [jax.devices(default)[0] if isinstance(default, str) else default]


def devices_asked() -> int | None:
    """The number of devices that JAX was told to make of the CPU; None if it was left alone."""
    import jax  # noqa: PLC0415

    number = getattr(jax.config, "jax_num_cpu_devices", -1)
    return number if number > 0 else None


def usable_cores() -> list[int]:
    """Cores that this process may use: fewer than the machine has in a container or under taskset."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def load_blackjax() -> Any:
    """blackjax, imported when it is first needed: its import computes a number, which starts JAX.

    As itself also while a function is traced or in float64, where the number would be a tracer, or another.
    """
    import jax  # noqa: PLC0415

    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        import blackjax  # noqa: PLC0415
    return blackjax
