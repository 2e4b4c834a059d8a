"""Settings of JAX and NumPy on which numbers depend, or that would refuse what is computed, as they come by default.

They belong to a thread: whoever starts one enters them there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np


@contextmanager
def default_settings() -> Iterator[None]:
    """Float64 and the rules that JAX and NumPy come with, in this thread, whatever the caller has set.

    >>> with default_settings():
    ...     jax.numpy.zeros(1).dtype.name
    'float64'
    """
    with (
        jax.enable_x64(True),
        jax.threefry_partitionable(True),
        jax.default_prng_impl("threefry2x32"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.transfer_guard("allow"),
        np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
    ):
        yield
