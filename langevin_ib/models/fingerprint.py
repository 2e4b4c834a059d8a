"""Digests of what functions compute, the same in every process: of a model, of a step, of what is observed."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend import core

ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")  # of functions in a printed program: another one in every process


def content_of(function: Callable[..., Any], *like: Any) -> str:
    """A digest of what a function computes: of its program, and of every number that this has in it.

    The same in every process; another one where a constant or an operation is another. What a callback to the host does
    cannot be seen, so that with one the digest is never the same again.

    Args:
        function: traceable by JAX.
        like: its arguments, or their shapes.

    >>> import jax.numpy as jnp
    >>> first, again, other = (content_of(lambda x, y=y: jnp.sin(y * x), 1.0) for y in (2.0, 2.0, 2.0 + 1e-15))
    >>> first == again, first == other
    (True, False)
    """
    program = jax.make_jaxpr(function)(*like)
    digest = hashlib.sha256(ADDRESS.sub("", str(program)).encode())
    for number in _numbers(program):
        value = np.asarray(
            jax.random.key_data(number) if jax.numpy.issubdtype(number.dtype, jax.dtypes.prng_key) else number
        )
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    return digest.hexdigest()


def _numbers(program: Any) -> Iterator[Any]:
    """Constants and literals of a program and of those in it; a token of its own for a callback."""
    if isinstance(program, core.ClosedJaxpr | core.Jaxpr):  # two classes, or one and the same, after the version of JAX
        yield from map(_array, getattr(program, "consts", ()))
        for equation in program.eqns:
            if "callback" in equation.primitive.name and "debug" not in equation.primitive.name:
                yield np.frombuffer(uuid.uuid4().bytes, np.uint8)
            yield from (_array(atom.val) for atom in equation.invars if isinstance(atom, core.Literal))
            yield from _numbers(tuple(equation.params.values()))
    elif isinstance(program, tuple | list):
        for part in program:
            yield from _numbers(part)
    elif isinstance(program, np.ndarray | jax.Array):
        yield program


def _array(value: Any) -> Any:
    return value if isinstance(value, jax.Array) else np.asarray(value)
