"""Blocks on other processes and machines, by Dask: an executor of a cluster of this machine's, or of one that runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from langevin_ib.devices import usable_cores
from langevin_ib.errors import UsageError, one_line

LOCAL, WANTED = "local", "scheduler must be local, local:N or the address of a Dask scheduler"
# A terminal sends SIGINT to every process of a command: its own one ends the workers.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
WAIT_S = 20  # for an address to answer


@contextmanager
def executor_of(scheduler: str) -> Iterator[Executor]:
    """The executor of a cluster: `local`, a process for each core, `local:N`, or the address of a Dask scheduler.

    A worker that dies costs the calls that it was at: the scheduler gives them to another, with the same arrays, so
    that the numbers are the same.

    Raises:
        UsageError: Dask is not there, or nobody answers at the address.
    """
    try:
        import flatbuffers  # noqa: F401, PLC0415  # in which programs travel
        from distributed import Client, LocalCluster  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"scheduler {scheduler} needs pip install distributed flatbuffers ({one_line(error)})"
        ) from None
    name, _, number = scheduler.partition(":")
    if name != LOCAL:
        try:
            client = Client(scheduler, timeout=WAIT_S)
        except (OSError, ValueError) as error:
            raise UsageError(f"{WANTED}, got {scheduler} ({one_line(error)})") from None
        with client:
            yield client.get_executor(pure=False)
        return
    if number and not (number.isdigit() and int(number)):
        raise UsageError(f"{WANTED}, got {scheduler}")
    processes = int(number) if number else len(usable_cores())
    with (
        LocalCluster(
            processes,
            threads_per_worker=1,
            dashboard_address=":0",  # whose usual port may be taken
            silence_logs=logging.CRITICAL,
            preload=[DEAF],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor(pure=False)
