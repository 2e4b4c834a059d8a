"""Convergence of the chains, through ArviZ."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

# Of many short chains: the noise of its mean alone lifts R-hat to √(1 + 1/ESS of half a chain), 1.05 for ESS = 10. That
# the ensemble stands still is tested with far more power by the drift between the parts of the run.
R_HAT_LIMIT = 1.1
DRIFT_LEVEL = 1e-4  # false-positive rate of the stationarity test


class Convergence(NamedTuple):
    """Rank-normalised split R-hat and bulk effective sample size of a trace."""

    r_hat: float
    ess: float


def convergence(trace: Float[np.ndarray, "chain draw"]) -> Convergence:
    """R-hat and bulk ESS of one scalar over traced chains.

    Source: Vehtari et al., Bayesian Analysis 16(2), 667–718 (2021), as implemented by ArviZ.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.23 announces its own refactoring on import
        import arviz  # noqa: PLC0415  # takes seconds to import, and only a finished run needs it
        import xarray as xr  # noqa: PLC0415

    # A Dataset with these dims is the one form that ArviZ 0.23 and 1.x both take.
    data = xr.Dataset({"x": (("chain", "draw"), np.asarray(trace, np.float64))})
    r_hat, ess = arviz.rhat(data), arviz.ess(data, method="bulk")
    return Convergence(_scalar(r_hat), _scalar(ess))


def ensemble_ess(chain_means: Float[np.ndarray, " chain"], variance: float) -> float:
    """Effective sample size of all draws from the scatter of chain means: C × Var(z) / Var(z̄_i).

    Uses every draw of every chain, where ArviZ sees the thinned trace.
    """
    scatter = float(np.var(chain_means, ddof=1))
    return float(chain_means.size * variance / scatter) if scatter > 0 else float("nan")


def _scalar(dataset: Any) -> float:
    return float(dataset["x"])
