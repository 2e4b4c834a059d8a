"""Every operator with every construction, and those that are refused: the cases of the table and of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from langevin_ib.design import operators
from langevin_ib.design.base import ANALYSIS, SYNTHESIS, Design
from langevin_ib.design.operators import Operator
from langevin_ib.design.sparse import sparse
from langevin_ib.design.spectral import spectral

KERNEL = (0.3, 1.0, 0.2)


class Case(NamedTuple):
    """One design: its operator's and its construction's names, and the call that builds it."""

    operator: str
    construction: str
    build: Callable[[], Design]


def injective(n: int) -> list[Operator]:
    """One injective operator of each kind on R^n, n a power of two from 4."""
    random = np.random.default_rng(0)
    return [
        operators.identity(n),
        operators.gradient(n),
        operators.laplacian(n),
        operators.cosine(n),
        operators.fourier(n),
        operators.haar(n),
        operators.convolution(np.array(KERNEL), n),
        operators.projection(random.normal(size=(n, n))),
        operators.from_matrix(np.eye(n) + 0.3 * random.normal(size=(n, n))),
        operators.from_function(lambda w: np.cumsum(w[::-1]), n),
    ]


def over_identity(operator: Operator) -> Operator:
    """The tall operator w ↦ (A w, w)."""
    n = operator.matrix.shape[1]
    return operators.from_matrix(np.concatenate([operator.matrix, np.eye(n)]), f"{operator.name} over I")


def cases(n: int) -> Iterator[Case]:
    """All constructions of all operators on R^n, n a power of two from 4."""
    labels = [i // 2 for i in range(n - 1)] + ["alone"]
    shape = (2, n // 2)
    for a in injective(n):
        tall = over_identity(a)
        yield Case(a.name, "depth 2", lambda a=a: sparse(a))
        yield Case(a.name, "depth 3", lambda a=a: sparse(a, depth=3))
        yield Case(a.name, "depth 4", lambda a=a: sparse(a, depth=4))
        yield Case(a.name, "blocks", lambda a=a: sparse(a, groups=labels))
        yield Case(tall.name, "depth 2, synthesis", lambda a=tall: sparse(a, form=SYNTHESIS))
        yield Case(tall.name, "depth 2, analysis", lambda a=tall: sparse(a, form=ANALYSIS))
        yield Case(a.name, f"spectral {shape[0]}x{shape[1]}", lambda a=a: spectral(a, shape))
        yield Case(a.name, f"spectral {shape[0]}x{shape[1]}, rank 1", lambda a=a: spectral(a, shape, rank=1))


def refused(n: int) -> list[Case]:
    """Calls that raise a ValueError."""
    hilbert = 1.0 / (np.arange(8)[:, None] + np.arange(8) + 1.0)  # condition number 1.5e10
    wide = operators.from_matrix(np.ones((n - 1, n)))
    return [
        Case("gradient, plain", "depth 2", lambda: sparse(operators.gradient(n, keep_first=False))),
        Case("laplacian, neumann", "depth 2", lambda: sparse(operators.laplacian(n, "neumann"))),
        Case("laplacian, periodic", "depth 3", lambda: sparse(operators.laplacian(n, "periodic"), depth=3)),
        Case("projection, partial", "depth 2", lambda: sparse(operators.projection(np.eye(n)[:, :2]))),
        Case("matrix, wide", "spectral", lambda: spectral(wide, (2, 2))),
        Case("matrix, Hilbert's", "depth 2", lambda: sparse(operators.from_matrix(hilbert, "Hilbert's matrix"))),
        Case("function, w²", "depth 2", lambda: sparse(operators.from_function(lambda w: w**2, n))),
        Case("function, |w|", "depth 2", lambda: sparse(operators.from_function(np.abs, n))),
        Case("matrix, NaN", "depth 2", lambda: sparse(operators.from_matrix(np.full((n, n), np.nan)))),
        Case("haar", "depth 2", lambda: sparse(operators.haar(n + 2))),
        Case("gradient", "blocks, depth 3", lambda: sparse(operators.gradient(n), groups=[0] * n, depth=3)),
        Case("gradient", "spectral 3x3", lambda: spectral(operators.gradient(n), (3, 3))),
    ]
