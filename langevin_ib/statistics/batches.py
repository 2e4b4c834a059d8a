"""Few long chains: how many stretches of them may be taken as independent, for error bars.

A chain of n draws is cut into B stretches of equal length L, batches. With L far above the autocorrelation time τ the
means of neighbouring batches are correlated by about τ/2L, so that the scatter of all batches gives a standard error
that is short by about τ/4L: 1.3% at L = 20 τ.

Source: Flegal & Jones, Annals of Statistics 38, 1034–1070 (2010); τ by ArviZ's effective sample size.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ENOUGH_CHAINS = 64  # from which on every chain is a unit, whatever its autocorrelation
BATCHES = 256  # that all chains together are cut into, if they are long enough
BATCH_TIMES = 20.0  # autocorrelation times in a batch, at least


class Slowest(NamedTuple):
    """What forgets its past last: its name, and its autocorrelation time in draws, at least one."""

    name: str
    time: float


class Batching(NamedTuple):
    """How chains are cut.

    Attributes:
        per_chain: batches of each chain; 1 where the chains are the units.
        length: draws of each.
    """

    per_chain: int
    length: int


def slowest_of(traces: Mapping[str, Float[np.ndarray, "chain draw"]]) -> Slowest:
    """The longest autocorrelation time of some functions, and of their distances from the median, in any chain.

    The distance too, for chains that overshoot (those of NUTS) forget a mean faster than a spread.

    Args:
        traces: of each function, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # see `convergence`
        import arviz  # noqa: PLC0415
        import xarray as xr  # noqa: PLC0415

    longest = Slowest("", 1.0)
    for name, trace in traces.items():
        values = np.asarray(trace, np.float64)
        away = np.abs(values - np.median(values))
        for chain in (*values, *away):
            if not np.ptp(chain) > 0:
                continue
            ess = float(arviz.ess(xr.Dataset({"x": (("chain", "draw"), chain[None])}), method="bulk")["x"])
            time = chain.size / ess if ess > 0 else math.inf
            if time > longest.time or not longest.name:
                longest = Slowest(name, max(time, longest.time))
    return longest


def batching(chains: int, draws: int, time: float) -> Batching:
    """How chains of so many draws each are cut, whose slowest function has this autocorrelation time.

    >>> batching(4, 50_000, 5.0), batching(4, 50_000, 100.0), batching(64, 100, 50.0)
    (Batching(per_chain=64, length=781), Batching(per_chain=25, length=2000), Batching(per_chain=1, length=100))
    """
    per_chain = 1
    if chains < ENOUGH_CHAINS:
        fitting = int(draws / (BATCH_TIMES * time)) if math.isfinite(time) else 0
        per_chain = max(1, min(-(-BATCHES // chains), fitting))
    return Batching(per_chain, draws // per_chain)
