"""What becomes of χ in a run of SGD, and whether it lets a verdict stand.

Gradients across the orbits change χ by η²χ(ĝ) a step; without noise |χ| falls. A noise with a part along the orbits
moves it at first order in η, and where nothing confines χ it diffuses without end: no law is stationary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float, PyTree

from langevin_ib import geometry
from langevin_ib.dynamics.meter import NoiseReport
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws import Reduction
from langevin_ib.models import Params
from langevin_ib.runs.descent_details import ChargeSummary
from langevin_ib.statistics.compare import p_is
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.sample import Moments

ACROSS = 1e-9  # share of tr Σ along the orbits below which it is that of rounding errors
OFF_SLICE = 0.05  # rms χ in units of the pairs' size above which χ counts as off the slice, or as grown
GROWTH_LEVEL = 1e-6  # false-positive rate of each test of a χ that grows


def lies_across(noise: Noise, meter: NoiseReport) -> bool:
    """Whether it lies across the orbits, as it says and as its Σ at the minimum has it.

    A share is a mean of squares: if it is more than rounding leaves, some draws have a part along the orbits, however
    large the error of the estimate.
    """
    return noise.across and not meter.orbit_share >= ACROSS


def diffusion_doubts(noise: Noise, meter: NoiseReport, *, proper: bool) -> list[Doubt]:
    """Of a noise with a part along the orbits where nothing confines χ; known before any draw of the chains."""
    if noise.record.noiseless or proper or lies_across(noise, meter):
        return []
    return [Doubt("charge", f"{noise.words} on an unconfined model: χ diffuses without end, nothing is stationary")]


def pairs_size(reduction: Reduction, point: Params) -> float:
    """Half of |a|² + |b|², the mean over the generators, at a balanced point: the unit that χ is told in."""
    return 0.5 * float(jnp.mean(jnp.diagonal(geometry.orbit_gram(reduction.model, point))))


def charge_summary(
    reduction: Reduction, size: float, starts: Float[np.ndarray, "chain m"], charge: Moments, ends: PyTree | None
) -> ChargeSummary:
    """Root mean square of χ at the starts and over the draws, in units of the pairs' size at the minimum.

    And the median over chains of |χ(end) − χ(start)|/|χ(start)|, where their ends are given.
    """
    change = None
    if ends is not None:
        last = jax.tree.map(jnp.asarray, ends)
        displacement = np.abs(np.asarray(jax.vmap(reduction.model.moment_map)(last)) - starts)
        change = float(np.median(displacement / np.maximum(np.abs(starts), 1e-300)))
    return ChargeSummary(
        start=float(np.sqrt(np.mean(starts**2))) / size,
        draws=float(np.sqrt(np.mean(charge.mean_square))) / size,
        change=change,
    )


def growth_doubts(
    starts: Float[np.ndarray, "chain m"] | None, stretches: list[Moments], size: float, *, shrinks: bool
) -> list[Doubt]:
    """Whether χ has grown, or grows, by chains; whatever is known of the noise.

    Two tests, each wrong with probability 1e-6 at most; the first, of fewer than 21 chains, 2^{−n}, for it can show no
    less. Where χ should shrink: that half of the chains at most have an
    rms χ over their draws more than OFF_SLICE above |χ| at their start, by the binomial law. And where χ is off the
    slice: that its rms is no more than OFF_SLICE, a share, larger in later draws than in earlier ones, by Student's t.

    Args:
        starts: χ at the starts of the chains; None where it is not known.
        stretches: moments of χ in each stretch of time.
        size: the pairs'.
        shrinks: whether χ goes to no balance other than 0.
    """
    n = np.array([part.n for part in stretches], float)
    squares = np.stack([part.mean_square.mean(axis=-1) for part in stretches]) / size**2
    whole = (n * squares).sum(axis=0) / n.sum(axis=0)
    if not np.all(np.isfinite(whole)) or whole.mean() ** 0.5 <= OFF_SLICE:
        return []
    if starts is not None and shrinks:
        first = (starts**2).mean(axis=-1) / size**2
        grown = int(np.sum(np.sqrt(whole) > np.sqrt(first) + OFF_SLICE))
        p_value = float(scipy.stats.binom.sf(grown - 1, whole.size, 0.5))
        if p_value < max(GROWTH_LEVEL, 2.0 * 0.5**whole.size):  # the least that so few chains can show
            text = (
                f"χ has grown in {grown} of {whole.size} chains, from rms {first.mean() ** 0.5:.2g} of the pairs' size "
                f"at the start to {_rms(whole)} over the draws ({p_is(p_value)}), and nothing confines it: it "
                "diffuses, and nothing is stationary, or goes to a balance of its own, while the laws are those of none"
            )
            return [Doubt("charge", text, p_value, GROWTH_LEVEL)]
    return _still_growing(n, squares)


def _still_growing(n: Float[np.ndarray, "stretch chain"], squares: Float[np.ndarray, "stretch chain"]) -> list[Doubt]:
    ends = n.sum(axis=1).cumsum()
    if len(ends) < 2 or n.shape[1] < 2:
        return []
    cut = 1 + int(np.argmin(np.abs(ends[:-1] / ends[-1] - 0.5)))
    both = (n[:cut].sum(axis=0) > 0) & (n[cut:].sum(axis=0) > 0)
    if both.sum() < 2:
        return []
    n, squares = n[:, both], squares[:, both]
    early, late = (np.average(squares[part], axis=0, weights=n[part]) for part in (slice(cut), slice(cut, None)))
    more = late - (1.0 + OFF_SLICE) ** 2 * early  # rounding too makes a χ that stays grow a little, in all chains alike
    error = float(more.std(ddof=1)) / more.size**0.5
    p_value = float(scipy.stats.t.sf(more.mean() / error, more.size - 1)) if error > 0 else float(more.mean() <= 0)
    if not p_value < GROWTH_LEVEL:
        return []
    text = (
        f"χ still grows: rms {_rms(early)} of the pairs' size in earlier draws, {_rms(late)} in later ones "
        f"({p_is(p_value)}), and nothing confines it: nothing is stationary"
    )
    return [Doubt("charge", text, p_value, GROWTH_LEVEL)]


def _rms(squares: Float[np.ndarray, " chain"]) -> str:
    """√ of the mean over chains, with the standard error that their scatter gives."""
    value, spread = float(squares.mean()) ** 0.5, float(squares.std(ddof=1)) if squares.size > 1 else 0.0
    return f"{value:.2g} ± {0.5 * spread / squares.size**0.5 / value:.1g}"
