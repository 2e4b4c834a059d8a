"""Compiling and importing beside the main thread of an open session, before what comes of it is needed.

XLA lets go of Python's lock while it compiles and while it computes, so that a program is compiled on a second core, or
a library imported, at no cost to whoever goes on meanwhile.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import jax

from langevin_ib.jax_settings import default_settings

R = TypeVar("R")
WORKERS = 2
# Options of a program that runs once: it is not worth the time that optimising it takes.
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class _Pool:
    """The threads of the session that is open; one at a time is."""

    executor: ThreadPoolExecutor | None = None
    importer: ThreadPoolExecutor | None = None  # of its own, for a program is waited for and a library is not


@contextmanager
def threads() -> Iterator[None]:
    """The threads, which end with this; within another one, those of the outer.

    What they have begun is finished first, what waits is dropped.
    """
    if _Pool.executor is not None:
        yield
        return
    executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="langevin_ib")
    importer = ThreadPoolExecutor(1, thread_name_prefix="langevin_ib import")
    # Filters are the process's: what an import adds, or sets back while another thread has set others, ends here.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "\\nArviZ is undergoing", FutureWarning)
        _Pool.executor, _Pool.importer = executor, importer
        try:
            yield
        finally:
            _Pool.executor = _Pool.importer = None
            for pool in (executor, importer):
                pool.shutdown(cancel_futures=True)


class Later(Generic[R]):
    """What a function returns, which may be computing it already.

    Without an open session it is called when its result is first asked for, and so too where the session that should
    have called it is over.

    Args:
        function: what is computed.
        now: whether to begin at once; if not, with `begin`.
    """

    def __init__(self, function: Callable[[], R], *, now: bool = True):
        self._function = function
        self._future: Future[R] | None = None
        self._lock = threading.Lock()
        if now:
            self.begin()

    def begin(self) -> None:
        """Compute it in the background, if nobody has begun."""
        executor = _Pool.executor
        with self._lock:
            if executor is not None and self._future is None:
                # A device of the caller's, as all of JAX's settings, belongs to the thread that has set it.
                self._future = executor.submit(
                    _in_settings, self._function, getattr(jax.config, "jax_default_device", None)
                )

    def __call__(self) -> R:
        """`result`."""
        return self.result()

    def result(self) -> R:
        """Waited for if need be; raises what the function has raised."""
        with self._lock:
            future, mine = self._future, self._future is None or self._future.cancelled()
            if mine:
                self._future = future = Future()
        assert future is not None
        if mine:
            try:
                future.set_result(self._function())
            except BaseException as error:  # a thread may wait for it, after an interrupt too
                future.set_exception(error)
                raise
        return future.result()


@contextmanager
def beside(check: Callable[[], object]) -> Iterator[Later[object]]:
    """A check that is computed beside the block, which may wait for it, and does at its end.

    Where both fail it is the check that is heard: what goes wrong in the block may come of what it finds.

    >>> def check():
    ...     raise ValueError("not a number")
    >>> with beside(check):
    ...     1 / 0
    Traceback (most recent call last):
    ...
    ValueError: not a number
    """
    later = Later(check)
    try:
        yield later
    except (Exception, SystemExit):
        later.result()
        raise
    later.result()


def _in_settings(function: Callable[[], R], device: Any) -> R:
    with default_settings(), jax.default_device(device):
        return function()


def compiled(function: Callable[..., R], *arguments: Any, **named: Any) -> Callable[..., R]:
    """A function that JAX compiles for the shapes of given arguments, beginning now; a call waits until it is.

    Args:
        function: a one of JAX's `jit`, or any that can be.
        arguments, named: arrays, or `jax.ShapeDtypeStruct` in their place; static arguments as they will be.

    Returns:
        the same function for arguments of these shapes. It raises at its call what tracing or compiling has raised.

    >>> double = compiled(lambda x: 2 * x, jax.ShapeDtypeStruct((), "float32"))
    >>> float(double(jax.numpy.float32(3.0)))
    6.0
    """
    lowering = function if isinstance(function, jax.stages.Wrapped) else jax.jit(function)
    program = Later(lambda: lowering.lower(*arguments, **named).compile())

    def call(*args: Any, **kwargs: Any) -> R:
        return program.result()(*args, **kwargs)

    return call


def imported(*modules: str) -> None:
    """Import modules one by one, beside the main thread; what fails is imported again, and fails, where it is needed.

    They are to compute nothing with JAX. Two threads that import modules of the package at once wait for each other at
    worst, for no two of these import each other; of libraries that do, Python gives one of the threads a module that is
    half made. So `settle` before the main thread needs one.
    """
    if _Pool.importer is not None:
        for module in modules:
            _Pool.importer.submit(_in_settings, partial(importlib.import_module, module), None)


def settle() -> None:
    """Wait until all that `imported` was given has been imported."""
    if _Pool.importer is not None:
        _Pool.importer.submit(int).result()  # one thread takes them in their order
