"""What an ensemble is told, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from langevin_ib.ensemble.accumulators import Accumulator
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.models.base import Params
from langevin_ib.stages import Engine, Progress, Stages, Stillness

TRACE_ROWS = 512  # draws kept of each traced chain, however long the run
TRACE_CHAINS = 256
FIRST_OCTAVE = 3


@dataclass(frozen=True)
class Schedule:
    """When draws are recorded: after `burn_in` steps, one every `thin` steps, `records` times.

    `segments` are increasing record counts, the last equal to `records`: the stretches whose statistics are kept apart.
    Those that end at or before `shown` are shown and not judged.
    """

    burn_in: int
    thin: int
    records: int
    segments: tuple[int, ...]
    shown: int = 0

    def __post_init__(self) -> None:
        if self.records < 1 or self.segments[-1] != self.records or list(self.segments) != sorted(set(self.segments)):
            raise ValueError(f"segments {self.segments} must increase up to records = {self.records} ≥ 1")
        if self.shown not in (0, *self.segments[:-1]):
            raise ValueError(f"shown must be the end of a segment before the last, got {self.shown}")

    @property
    def steps(self) -> int:
        """Steps that each chain takes."""
        return self.burn_in + self.records * self.thin

    @property
    def judged(self) -> tuple[int, ...]:
        """Lengths, in records, of the segments that are judged."""
        ends = [end for end in (0, *self.segments) if end >= self.shown]
        return tuple(end - start for start, end in pairwise(ends))


def octaves(records: int) -> tuple[int, ...]:
    """Segments that end at powers of two, from 8 records on: the same for a run of any length.

    >>> octaves(100)
    (8, 16, 32, 64, 100)
    """
    ends = [2**k for k in range(FIRST_OCTAVE, records.bit_length())]
    return (*(end for end in ends if end < records), records)


class Rare(NamedTuple):
    """What only every so many records are asked for, the last of so many: it costs more than it would be worth at each.

    Attributes:
        name: of its sums, a part of the observer's accumulator, which is a product.
        observe: state ↦ what a draw gives for them.
        update: (sums, what a draw gives) ↦ sums.
        every: records from one to the next, a power of two, so that stretches begin alike in runs of any length.
    """

    name: str
    observe: Callable[[Any], Any]
    update: Callable[[Any, Any], Any]
    every: int


@dataclass(frozen=True)
class Observer:
    """What is measured on one chain: its state ↦ a draw, the draws' accumulator, and the part of a draw that is traced.

    The state is the kernel's: parameters as `state.position`, beside it what the kernel remembers, as an optimiser's
    momentum. Of `trace_chains` chains at most, `trace_rows` draws at most are kept. What is `rare` is not in a draw.
    """

    observe: Callable[[Any], Any]
    accumulator: Accumulator
    traced: Callable[[Any], dict[str, Float[Array, "..."]]]
    trace_chains: int = TRACE_CHAINS
    trace_rows: int = TRACE_ROWS
    rare: Rare | None = None

    def stride(self, schedule: Schedule) -> int:
        """Records from one row of the trace to the next: a power of two, so that a longer run has rows of a shorter."""
        return 1 << (-(-schedule.records // self.trace_rows) - 1).bit_length()


def nowhere(params: Params) -> Bool[Array, ""]:
    """No bound: a rejected proposal, for one, cannot carry a chain away."""
    del params
    return jnp.asarray(False)


@dataclass(frozen=True)
class Limit:
    """When a chain has run away, and what the error then says.

    Attributes:
        step_size: named in the error.
        escaped: θ ↦ True where a chain has run away; non-finite parameters count as escaped in any case. Of parameters
            and not of the state: the bound is one on them, whatever kernel moves them.
        remedy: what the error advises.
    """

    step_size: float
    escaped: Callable[[Params], Bool[Array, ""]] = nowhere
    remedy: str = "use a smaller step_size"


@dataclass(frozen=True)
class Placement:
    """Where blocks run and how their steps are compiled; none of it changes a number, but for how it is rounded.

    Of a kernel with draws of its own for a whole block (MALA, SGD) the width is part of what decides the numbers.

    Attributes:
        devices: to run blocks on; by default the first of JAX's, or all of them where they are no processor's cores.
        threads: at once; by default one for each core, or for each device.
        executor: of other processes or machines, that blocks are given to in place of threads.
        ahead: whether a step's noise is drawn during the one before, so that it stands in memory: faster where the
            gradient reads it several times, slower for small models, whose draws are best fused into their use.
        width: chains of a block; by default by a rule, see `drivers`.
    """

    devices: Sequence[Any] | None = None
    threads: int | None = None
    executor: Executor | None = None
    ahead: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Stage:
    """A long stage of a run, to whoever waits for it; none of it changes a number.

    Attributes:
        name: in errors.
        progress: called with (steps done, steps in all) after each chunk.
        report: called with the name when its chains begin to run, gives `progress` where that is None.
        chunk_records: records per call of a block: how often the host looks; by default as many as take a moment.
        checkpoint: where to save the state now and then, and to resume from.
        placement: where its chains run.
    """

    name: str
    progress: Progress | None = None
    chunk_records: int | None = None
    checkpoint: Checkpoint | None = None
    placement: Placement = Placement()
    report: Stages | None = None


class EnsembleResult(NamedTuple):
    """Everything a run leaves.

    Attributes:
        segments: statistics of each, chain axis first.
        trace: thinned draws of the first chains.
        info: means over the steps.
        position: where chains ended.
        still: of each chain, for how long it stood where it had stood before.
        engine: how it was run.
    """

    segments: list[Any]
    trace: dict[str, Float[np.ndarray, "chain draw ..."]]
    info: dict[str, Float[np.ndarray, " chain"]]
    position: Params
    still: Stillness
    engine: Engine
