"""The devices of this process, and its cores.

On a processor one device is enough: blocks of chains run side by side in threads of the host, and XLA computes each of
them in its own. JAX starts when something is first computed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from langevin_ib.errors import UsageError, one_line
from langevin_ib.forks import check_process


def start_for_command() -> None:
    """Start JAX, matplotlib without a screen, and NumPy's linear algebra on one thread: for a command line.

    Raises:
        UsageError: JAX or matplotlib cannot start with what the environment's variables ask for.
    """
    if not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & set(os.environ):
        # Cores are the chains'. The matrices have tens of rows, and on cores that are taken OpenBLAS's threads wait for
        # each other a hundred times as long as one needs. It reads this when NumPy, or SciPy, is imported.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        import jax  # noqa: F401, PLC0415
    except ValueError as error:  # a variable of JAX's own, which it names
        raise UsageError(f"JAX cannot be imported: {one_line(error)}") from None
    start()
    if "matplotlib" not in sys.modules and not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = "agg"  # for when it is imported, once there is something to draw
        return
    try:
        import matplotlib  # noqa: PLC0415
    except ValueError as error:
        got, allowed = os.environ.get("MPLBACKEND"), str(error).partition("; ")[2]
        raise UsageError(f"MPLBACKEND must be a backend of matplotlib, such as agg, got {got} ({allowed})") from None
    if "matplotlib.pyplot" not in sys.modules:  # a notebook's backend stays; a command line only writes files
        matplotlib.use("agg")


def start() -> None:
    """Start JAX, if it has not started.

    Raises:
        ProcessError: JAX had started before this process was forked.
        UsageError: JAX cannot start with what the environment's variables ask for.
    """
    import jax  # noqa: PLC0415

    check_process()
    try:
        jax.devices()  # here, for what fails inside an import leaves pages of a traceback
    except (AssertionError, RuntimeError) as error:
        asked = getattr(jax.config, "jax_platforms", None)
        if not asked:
            raise
        got = f"{asked} ({one_line(error) if str(error) else 'it has no such device'})"
        raise UsageError(f"JAX_PLATFORMS must be what JAX can start here, such as cpu, got {got}") from None


def in_use() -> list[Any]:
    """The devices that runs may take: the caller's `jax.default_device` if there is one, else all."""
    import jax  # noqa: PLC0415

    default = getattr(jax.config, "jax_default_device", None)
    if default is None:
        return jax.devices()
    return [jax.devices(default)[0] if isinstance(default, str) else default]


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
