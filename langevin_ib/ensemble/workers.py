"""Who computes a call of a block: threads of this process, or an executor of other processes and machines.

Both do the same: they are given the arrays of a block, and give back those of a while later. What travels to another
process is JAX's portable form of the program, compiled there once, so that nothing of the model need be found there.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax import export

from langevin_ib.ensemble.program import Advance, BlockProgram, compiler_options, settings
from langevin_ib.jax_settings import default_settings

MOST_KNOWN = 8  # programs that a process keeps
Arrays = list[Any]


class Done(NamedTuple):
    """What a call of a block has left.

    Attributes:
        carry: its arrays.
        trace: rows of the records of the call; empty where they were not asked for.
        seconds: that it took.
    """

    carry: Arrays
    trace: Arrays
    seconds: float


@runtime_checkable
class Workers(Protocol):
    """Who computes; entered before the first call and left after the last."""

    count: int  # that work at a time
    least_s: float  # seconds that a call should take, or to start it costs more
    may_hang: bool  # whether a call may never come back

    def submit(self, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Future[Done]:
        """One call of a block. The carry is given away."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(self, *error: object) -> None: ...


class Threads:
    """Threads of this process, a device for each, or one that all of them share."""

    least_s = 0.02
    may_hang = False

    def __init__(self, program: BlockProgram, devices: Sequence[Any], count: int):
        self.count = count
        self._programs = {device: _compiled(program, device) for device in devices[:count]}
        self._free: SimpleQueue[Any] = SimpleQueue()
        for i in range(count):
            self._free.put(devices[i % len(devices)])

    def __enter__(self) -> Threads:
        self._pool = ThreadPoolExecutor(self.count)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def submit(self, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Future[Done]:
        """In the next thread that is free."""
        return self._pool.submit(self._work, carry, tasks, numbers, traced)

    def _work(self, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Done:
        device = self._free.get()
        try:
            with default_settings():  # which belong to a thread
                return _call(self._programs[device], carry, tasks, numbers, traced)
        finally:
            self._free.put(device)


@dataclass(frozen=True)
class Shipped:
    """A program on its way to another process.

    Attributes:
        code: JAX's portable form of it.
        options: of the compiler.
    """

    code: bytes = field(repr=False)
    options: dict[str, bool | str]

    @cached_property
    def name(self) -> str:
        """By which a process knows it again."""
        return hashlib.sha256(self.code + repr(self.options).encode()).hexdigest()

    def compiled(self) -> Any:
        """For this process, once."""
        with _SHIPPED.lock:
            if self.name not in _SHIPPED.known:
                while len(_SHIPPED.known) >= MOST_KNOWN:
                    _SHIPPED.known.pop(next(iter(_SHIPPED.known)))
                program = export.deserialize(bytearray(self.code))
                _SHIPPED.known[self.name] = jax.jit(program.call, donate_argnums=0, compiler_options=self.options)
            return _SHIPPED.known[self.name]


class _SHIPPED:
    """Programs that this process has been sent."""

    lock = threading.Lock()
    known: dict[str, Any] = {}  # noqa: RUF012  # of the process


class Remote:
    """An executor of other processes, as Dask's: everything that a call needs is sent with it.

    A process that dies costs the calls that it was at, which its executor is to give to another.
    """

    least_s = 2.0
    may_hang = True

    def __init__(self, program: BlockProgram, executor: Executor, count: int):
        self.count, self._executor = count, executor
        self._shipped = Shipped(_exported(program), compiler_options(program.ahead))

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *error: object) -> None:
        """The executor stays; who has made it ends it."""

    def submit(self, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Future[Done]:
        """To the next process that is free."""
        arrays = [np.asarray(leaf) for leaf in carry]
        return self._executor.submit(_work_elsewhere, self._shipped, arrays, tasks, numbers, traced)


def _work_elsewhere(shipped: Shipped, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Done:
    with default_settings():
        done = _call(shipped.compiled(), carry, tasks, numbers, traced)
    return done._replace(carry=[np.asarray(leaf) for leaf in done.carry])


def _call(program: Any, carry: Arrays, tasks: Arrays, numbers: Advance, traced: bool) -> Done:
    began = time.perf_counter()
    after, trace = jax.block_until_ready(program(carry, tasks, [np.int64(number) for number in numbers]))
    return Done(after, [np.array(rows) for rows in trace] if traced else [], time.perf_counter() - began)


def _compiled(program: BlockProgram, device: Any) -> Any:
    with jax.default_device(device):
        return program.lowered().compile()


def _exported(program: BlockProgram) -> bytes:
    with settings():
        return bytes(export.export(program.jitted(), platforms=["cpu"])(*program.arguments()).serialize())
