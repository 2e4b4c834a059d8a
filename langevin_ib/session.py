"""What one run is given besides its configuration: who is told of progress, chunks, checkpoints, streams of keys.

And the state of the process that it needs, entered and left: float64, devices, compiled programs, its turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, Int, Key

from langevin_ib import __version__, background, devices, forks
from langevin_ib.compilation_cache import persistent_cache
from langevin_ib.config.run import RunConfig
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.runner import Stage
from langevin_ib.errors import UsageError
from langevin_ib.jax_settings import default_settings
from langevin_ib.stages import Stages

# One stream of random numbers for each use; the numbers are part of the interface "same seed, same run".
STREAM = {"check": 0, "starts": 1, "chains": 2, "companion": 3, "reference": 4, "law": 5, "nuts": 6, "joint": 7}


@runtime_checkable
class HasDigest(Protocol):
    """A configuration that names a checkpoint."""

    def digest(self) -> str:
        """A short hash of everything that decides its numbers."""
        ...


def silent(stage: str) -> None:
    """Tells nobody."""
    del stage


def versions() -> str:
    """Of what makes the numbers, for the fingerprint of a checkpoint."""
    return f"{__version__} {jax.__version__}"


@dataclass(frozen=True)
class Session:
    """Where a run reports to and keeps its state; none of it changes a number.

    Attributes:
        report: called with the name of each stage, returns a progress callback for it or None.
        chunk_records: records per device call.
        checkpoints: the folder of the run's checkpoint files; None keeps none.
        compilation_cache: whether compiled programs are kept from process to process.
        note: what kept the run from all cores, as a sentence; None if nothing. Known once it is open.

    >>> with Session().open():
    ...     jax.numpy.zeros(1).dtype.name
    'float64'
    """

    report: Stages = silent
    chunk_records: int | None = None
    checkpoints: Path | None = None
    compilation_cache: bool = True
    note: str | None = None

    @contextmanager
    def open(self) -> Iterator[Session]:
        """Start JAX on all cores if it has not started; while this is open, float64 and JAX's own rules hold.

        Accumulators and laws are in float64; the chains' own precision is the configuration's. What the caller has set
        of JAX and NumPy is found again afterwards, but for the number of devices of a JAX that was started here.

        One session at a time is open in a process, and a thread that comes second waits: a program that is spread over
        several devices waits in each for the others, and two that come to the devices in different orders wait for each
        other for good.

        Raises:
            ProcessError: JAX had started before this process was forked.
            UsageError: JAX cannot start with what the environment's variables ask for.
        """
        forks.check_process()  # before the lock, whose holder may be a thread of the parent's
        with _Turn.lock, default_settings(), persistent_cache(enabled=self.compilation_cache):
            note = devices.start()
            with background.threads():
                yield replace(self, note=note)

    def stage(self, config: HasDigest, name: str) -> Stage:
        """What every long stage is given: its name, its progress bar, its chunk and its checkpoint file."""
        checkpoint = None
        if self.checkpoints is not None:
            file = name.replace(" ", "-").replace("/", "-")
            checkpoint = Checkpoint(self.checkpoints / f"{file}.npz", f"{config.digest()} {name} {versions()}")
        return Stage(name, self.report(name), self.chunk_records, checkpoint)


def check_open() -> None:
    """That a session is open, for what would come to other numbers without its float64.

    Raises:
        UsageError: none is.
    """
    if not jax.config.read("jax_enable_x64"):
        raise UsageError("a study trains within an open session: with langevin_ib.session.Session().open(): …")


class _Turn:
    """Whose it is; a thread that is at it may open a session within its own."""

    lock = threading.RLock()

    @classmethod
    def renew(cls) -> None:
        """In a forked child, where a lock that another thread held would never be free."""
        cls.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Turn.renew)


def key_of(config: RunConfig, use: str) -> Key[Array, ""]:
    """The key of one use of randomness."""
    return _key(config.seed, STREAM[use])


@jax.jit
def _key(seed: Int[Array, ""], stream: Int[Array, ""]) -> Key[Array, ""]:
    return jax.random.fold_in(jax.random.key(seed), stream)
