"""What one run is given besides its configuration: who is told of progress, chunks, checkpoints, streams of keys.

And the state of the process that it needs, entered and left: float64, compiled programs, its turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import jax
from jaxtyping import Array, Int, Key

from langevin_ib import __version__, background, devices, forks
from langevin_ib.compilation_cache import persistent_cache
from langevin_ib.config.run import RunConfig
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.cluster import executor_of
from langevin_ib.ensemble.program import ENGINE
from langevin_ib.ensemble.records import Placement, Stage
from langevin_ib.errors import UsageError
from langevin_ib.jax_settings import default_settings
from langevin_ib.stages import STATES, Stages, slug

# One stream of random numbers for each use; the numbers are part of the interface "same seed, same run".
STREAM = {
    "check": 0,
    "starts": 1,
    "chains": 2,
    "companion": 3,
    "reference": 4,
    "law": 5,
    "nuts": 6,
    "joint": 7,
    "pilot": 8,
}


def silent(stage: str) -> None:
    """Tells nobody."""
    del stage


def identity_of(configuration: str, stage: str) -> dict[str, str]:
    """What must agree for a checkpoint to be continued: versions of what makes the numbers, settings, stage."""
    own = {"langevin_ib": __version__, "engine": ENGINE, "jax": jax.__version__}
    return own | {"configuration": configuration, "stage": stage}


@dataclass(frozen=True)
class Session:
    """Where a run reports to and keeps its state; none of it changes a number.

    Attributes:
        report: called with the name of each stage, returns a progress callback for it or None.
        chunk_records: records per device call.
        checkpoints: the folder of the run's checkpoint files; None keeps none.
        extends: the folder of these, of a finished run that this one takes up.
        scheduler: of other processes or machines, see `ensemble.cluster`; None: threads of this process.
        executor: that it stands for, known once the session is open.
        fresh: whether to begin anew, whatever they hold.
        compilation_cache: whether compiled programs are kept from process to process.

    >>> with Session().open():
    ...     jax.numpy.zeros(1).dtype.name
    'float64'
    """

    report: Stages = silent
    chunk_records: int | None = None
    checkpoints: Path | None = None
    extends: Path | None = None
    scheduler: str | None = None
    executor: Executor | None = None
    fresh: bool = False
    compilation_cache: bool = True

    @contextmanager
    def open(self) -> Iterator[Session]:
        """Start JAX if it has not started; while this is open, float64 and JAX's own rules hold.

        Accumulators and laws are in float64; the chains' own precision is the configuration's. What the caller has set
        of JAX and NumPy is found again afterwards.

        One session at a time is open in a process, and a thread that comes second waits: each takes all cores.

        Raises:
            ProcessError: JAX had started before this process was forked.
            UsageError: JAX cannot start with what the environment's variables ask for.
        """
        forks.check_process()  # before the lock, whose holder may be a thread of the parent's
        with _Turn.lock, default_settings(), persistent_cache(enabled=self.compilation_cache):
            devices.start()
            with background.threads():
                if self.scheduler is None:
                    yield self
                    return
                with executor_of(self.scheduler) as executor:
                    yield replace(self, executor=executor)

    def stage(self, config: RunConfig, name: str) -> Stage:
        """What every long stage is given: its name, its progress bar, its chunk and its checkpoint file."""
        kept = self.checkpoint(config.digest(without=("steps",)) if name in STATES else config.digest(), name)
        if kept is not None and name in STATES:
            earlier = None if self.extends is None else self.extends / kept.path.name
            kept = replace(kept, kept=True, earlier=earlier)
        placement = Placement(executor=self.executor)
        return Stage(name, None, self.chunk_records, kept, placement, self.report)

    def within(self, part: str) -> Session:
        """The same for a part of a study, whose checkpoints lie in a folder of their own."""
        return self if self.checkpoints is None else replace(self, checkpoints=self.checkpoints / slug(part))

    def checkpoint(self, configuration: str, stage: str) -> Checkpoint | None:
        """Where a long stage saves its state, if anywhere.

        Args:
            configuration: a digest of what decides its numbers, besides what its steps compute.
            stage: its name.
        """
        if self.checkpoints is None:
            return None
        identity = identity_of(configuration, stage)
        return Checkpoint(self.checkpoints / f"{slug(stage)}.npz", identity, fresh=self.fresh)


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
