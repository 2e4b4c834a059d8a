"""Mean and variance of a law that is a table: Gauss–Legendre on its panels, the tails beyond them in closed form."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import chebyshev

from langevin_ib.laws.table import DEGREE, Piece, Table

NODES, WEIGHTS = np.polynomial.legendre.leggauss(2 * DEGREE)


def moments(table: Table) -> tuple[float, float]:
    """E z and E (z − E z)².

    On a panel log p dx is a polynomial in x, and z(x) is known. Beyond the last panel p dx falls like e^(−s|x|), and
    towards an infinite end |z| grows like e^|x|: there E |z|^k is finite for s > k, and otherwise ±∞.
    """
    mean = _moment(table, 0.0, 1)
    variance = _moment(table, mean, 2) if math.isfinite(mean) else math.inf if math.isinf(mean) else math.nan
    return mean, variance


def _moment(table: Table, about: float, power: int) -> float:
    """E (z − about)^power."""
    parts = [
        part
        for piece in table.pieces
        for part in (_inner(table, piece, about, power), *(_tail(piece, end, about, power) for end in (0, 1)))
    ]
    infinite = {part for part in parts if math.isinf(part)}
    return math.nan if len(infinite) > 1 else next(iter(infinite), math.fsum(parts))


def _inner(table: Table, piece: Piece, about: float, power: int) -> float:
    """Over the panels of a piece."""
    of = slice(piece.first, piece.first + piece.panels)
    half = 0.5 * table.widths[of]
    x = table.starts[of][:, None] + half[:, None] * (1.0 + NODES)
    logs = chebyshev.chebval(NODES, table.log_density[of].T)  # (panel, node)
    offset = np.asarray(piece.stretch.value(x)) - about
    with np.errstate(divide="ignore", under="ignore"):  # a point at `about`; far out, where nothing is left
        size = np.exp(logs + power * np.log(np.abs(offset)))  # z^k alone may overflow
    return float(np.sum(half[:, None] * WEIGHTS * np.sign(offset) ** power * size))


def _tail(piece: Piece, end: int, about: float, power: int) -> float:
    """Beyond the first or the last panel."""
    mass, edge = piece.tails[end], (piece.stretch.low, piece.stretch.high)[end]
    if mass == 0.0:
        return 0.0
    if math.isfinite(edge):
        return mass * (edge - about) ** power
    slope, sign = abs(piece.slopes[end]), (-1.0) ** (power * (end == 0))
    if slope <= power:
        return sign * math.inf
    at = float(piece.stretch.value((piece.x0, piece.x1)[end])) - about
    return sign * math.exp(math.log(mass) + power * math.log(abs(at))) * slope / (slope - power)
