"""What is measured on a chain: its invariants, its charge, and which draws count."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from langevin_ib.background import FAST
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.records import EnsembleResult, Observer, Rare, Schedule
from langevin_ib.laws.family import DrawTerms, Reduction
from langevin_ib.runs.identities import Claims, half_square
from langevin_ib.statistics.identities import Gaps, GapSums
from langevin_ib.statistics.sample import Counted, Moments, Sample, Stretch, Sums, WindowCounts

SUMS = ("statistic", "energy", "loss")  # over the draws that count
IDENTITIES = "identities"


@dataclass(frozen=True)
class _Windows:
    """The windows of some scalars.

    Attributes:
        names: of the scalars that are put into a histogram.
        cut: ends of the windows of those that are cut.
    """

    names: tuple[str, ...]
    cut: dict[str, tuple[np.float64, np.float64]]

    def inside(self, scalars: Mapping[str, Array]) -> Bool[Array, ""]:
        """Whether a draw lies in all windows of scalars that are cut."""
        within = jnp.asarray(True)
        for name, (low, high) in self.cut.items():
            within = within & (scalars[name] >= low) & (scalars[name] < high)
        return within

    def counted(self, scalars: Mapping[str, Array], terms: DrawTerms, loss: Array, here: Bool[Array, ""]):
        """A draw for the accumulators of `law`: `loss` is ℓ/T, `here` whether it counts at all."""
        inside = {name: (scalars[name] >= low) & (scalars[name] < high) for name, (low, high) in self.cut.items()}
        draws = {}
        for name in self.names:
            counts = here
            for other, within in inside.items():
                counts = counts if other == name else counts & within
            draws[name] = accumulators.WindowDraw(scalars[name], counts)
        everywhere = here & self.inside(scalars)
        values = {"statistic": -0.5 * terms.log_det, "energy": terms.energy, "loss": loss}
        return {"windows": draws, **{name: (values[name], everywhere) for name in SUMS}}


class Seen(NamedTuple):
    """What is seen of a draw: its scalars, χ, whether it is in the home component, the terms of the laws, ℓ/T."""

    scalars: Mapping[str, Array]
    charge: Float[Array, " m"]
    home: Bool[Array, ""]
    terms: DrawTerms
    loss: Float[Array, ""]


def parameters_seen(reduction: Reduction) -> Callable[[Any], Seen]:
    """Parameters ↦ all of it."""
    model, chart = reduction.model, reduction.chart

    def see(params: Any) -> Seen:
        home = jnp.asarray(True) if reduction.measured else chart.at_home(params)
        terms = reduction.draw_terms_of(params)
        # Of θ itself: a section is that of the home branch, outside which it need not be a number.
        loss = terms.loss if reduction.measured else model.loss(params) / reduction.temperature
        return Seen(chart.scalars_of(params), model.moment_map(params), home, terms, loss)

    return see


def build_observer(
    reduction: Reduction,
    edges: Mapping[str, Float[np.ndarray, " edges"]],
    slab: float | None,
    claims: Claims | None = None,
    see: Callable[[Any], Seen] | None = None,
) -> Observer:
    """Histograms of the scalars, sums of the family's statistic t and of energies, moments of scalars, χ and ℓ/T.

    A draw counts if it lies in the home component, in the windows of the scalars that are cut (for such a scalar's own
    histogram: of the others), and, with `slab` ε, at |χ| < ε; then `marginal` has the same of all draws, at any χ.

    Args:
        reduction: model, confinement, temperature.
        edges: bin edges of each scalar that is put into a histogram; those that are cut must be among them.
        slab: ε, or None.
        claims: of the identities that all draws are held against, on the slab or not; None for none.
        see: what is seen at a chain's position; by default at parameters.
    """
    model, see = reduction.model, see or parameters_seen(reduction)
    cut = {name: (np.float64(e[0]), np.float64(e[-1])) for name, e in edges.items() if name in reduction.cut}
    windows = _Windows(tuple(edges), cut)
    parts = _parts(edges, model.group_dim, slab is not None)
    if reduction.measured:
        parts["norm"] = accumulators.moments()
    rare = None
    if claims is not None and claims.observe is not None:
        sums = accumulators.telescoped_gaps(claims.size, len(claims.tested), claims.thin * claims.every)
        parts[IDENTITIES] = sums
        rare = Rare(IDENTITIES, claims.observe, sums.update, claims.every)

    def observe(state):
        scalars, charge, home, terms, loss = see(state.position)
        here = home if slab is None else home & (jnp.linalg.norm(charge) < slab)
        draw = {
            "law": windows.counted(scalars, terms, loss, here),
            "value": jnp.stack([scalars[name] for name in edges]),
            "charge": charge,
            "counts": here & windows.inside(scalars),
            "energy": terms.loss,
            "potential": terms.energy,
            "loss": loss,
            "lowest": loss,
        }
        if reduction.measured:
            draw["norm"] = half_square(state.position)
        return draw if slab is None else draw | {"marginal": windows.counted(scalars, terms, loss, home)}

    return Observer(
        observe,
        accumulators.product(parts, rare=[IDENTITIES]),
        lambda draw: {name: draw[name] for name in ("value", "charge", "energy", "potential", "counts")},
        rare=rare,
    )


def _parts(
    edges: Mapping[str, Float[np.ndarray, " edges"]], charges: int, with_marginal: bool
) -> dict[str, accumulators.Accumulator]:
    """What is kept of the draws."""
    windows = accumulators.product({name: accumulators.window_histogram(e) for name, e in edges.items()})
    law = accumulators.product({"windows": windows, **{name: accumulators.masked_sum() for name in SUMS}})
    parts = {
        "law": law,
        "value": accumulators.moments((len(edges),)),
        "charge": accumulators.moments((charges,)),
        "loss": accumulators.moments(),
        "lowest": accumulators.least(),
    }
    return parts | {"marginal": law} if with_marginal else parts


def sample_of(
    result: EnsembleResult,
    observer: Observer,
    scalars: tuple[str, ...],
    claims: Claims | None = None,
    schedule: Schedule | None = None,
) -> Sample:
    """What an ensemble leaves to be judged, on the host: its sums in each segment, and those of all of them merged.

    Segments that its schedule only shows are kept apart, and the trace begins behind them.
    """
    merge, finalize = observer.accumulator.merge, observer.accumulator.finalize
    shown, first_row = 0, 0
    if schedule is not None and schedule.shown:
        shown, first_row = schedule.segments.index(schedule.shown) + 1, schedule.shown // observer.stride(schedule)
    trace = {name: rows[:, first_row:] for name, rows in result.trace.items()}

    def finish(segments):
        every = functools.reduce(merge, segments[shown:]), *segments
        return jax.vmap(finalize)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *every))  # traced once for all

    with jax.enable_x64(True):
        finished = jax.jit(jax.vmap(finish, out_axes=1), compiler_options=FAST)(tuple(result.segments))
    finished = jax.tree.map(np.asarray, finished)
    stretches = [jax.tree.map(lambda leaf, i=i: leaf[i], finished) for i in range(1 + len(result.segments))]
    whole, *parts = map(_stretch, stretches)
    gaps = None
    if claims is not None:
        sums = stretches[0].get(IDENTITIES)
        epsilon = float(np.finfo(jax.tree.leaves(result.position)[0].dtype).eps)
        gaps = Gaps(claims.tested, None if sums is None else GapSums(*sums), claims.absent, epsilon)
    return Sample(
        scalars, tuple(parts[shown:]), whole, trace, result.info, result.position, result.still, result.engine, gaps,
        earlier=tuple(parts[:shown]),
    )  # fmt: skip


def _stretch(sums: Mapping[str, Any]) -> Stretch:
    return Stretch(
        counted=_counted(sums["law"]),
        marginal=_counted(sums["marginal"]) if "marginal" in sums else None,
        value=Moments(*sums["value"]),
        charge=Moments(*sums["charge"]),
        loss=Moments(*sums["loss"]),
        lowest=sums["lowest"],
        norm=Moments(*sums["norm"]) if "norm" in sums else None,
    )


def _counted(sums: Mapping[str, Any]) -> Counted:
    windows = {name: WindowCounts(*counts) for name, counts in sums["windows"].items()}
    return Counted(windows, Sums(*sums["statistic"]), Sums(*sums["energy"]), Sums(*sums["loss"]))
