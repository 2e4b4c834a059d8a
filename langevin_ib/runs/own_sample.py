"""Draws of one's own put through what observes a run's chains: what is seen of each, units of error bars, sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from langevin_ib.config.core import MIN_CHAINS
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.confinement import claimed_potential
from langevin_ib.dynamics.descent import SGDState
from langevin_ib.dynamics.kernels.euler_maruyama import EulerMaruyamaState
from langevin_ib.ensemble.records import EnsembleResult, Observer
from langevin_ib.errors import DrawsError
from langevin_ib.laws.family import DrawTerms, Reduction
from langevin_ib.runs.arrays import Given
from langevin_ib.runs.identities import (
    ENERGY,
    VIRIAL,
    Claims,
    descent_claims,
    gibbs_claims,
    laplacian,
    nothing,
    settled,
)
from langevin_ib.runs.observe import IDENTITIES, Seen, parameters_seen, sample_of
from langevin_ib.runs.own_details import Thermometer
from langevin_ib.runs.plan import gradient_noise_of
from langevin_ib.runs.process import Prepared
from langevin_ib.stages import Engine, Stillness
from langevin_ib.statistics.batches import BATCH_TIMES, Batching, Slowest, batching, slowest_of
from langevin_ib.statistics.sample import Sample

ROWS = 256  # draws of every unit that are looked at in one call
BLOCK = 65_536  # draws that are looked at in one call before they are cut
ENDS = 16  # starts at which a model is looked at where there are no parameters
SOME = 20_000  # draws over which ⟨ΔV⟩ is taken
NO_PARAMETERS = "the draws have no parameters"


class State(NamedTuple):
    """Of a chain of which nothing but a draw is known."""

    position: Any


class Units(NamedTuple):
    """Draws by the units of the error bars."""

    values: Float[np.ndarray, "unit draw k"]
    batching: Batching
    slowest: Slowest | None
    dropped: int


def seen_of(reduction: Reduction, own: Given) -> Callable[[Any], Seen]:
    """What is seen of a row of the draws."""
    chart, unknown = reduction.chart, jnp.full(reduction.model.group_dim, jnp.nan)
    home = jnp.asarray(True)
    if own.kind == "parameters":
        unravel, whole = _unravel(reduction), parameters_seen(reduction)
        return lambda x: whole(unravel(x))
    if own.kind == "invariants":

        def see(x):
            terms = reduction.draw_terms_at(x)
            return Seen(chart.scalars(x), unknown, home, terms, terms.loss)

        return see
    nan = jnp.asarray(jnp.nan)
    return lambda x: Seen(dict(zip(own.names, x, strict=True)), unknown, home, DrawTerms(nan, nan, nan), nan)


def claims_of(prepared: Prepared, config: RunConfig, own: Given) -> Claims:
    """The identities that hold in a stationary law, at rows of the draws."""
    plan = prepared.plan
    if own.kind != "parameters":
        return nothing(NO_PARAMETERS)
    if not config.process.gibbs:
        if config.momentum:
            return nothing("with momentum a step depends on the velocity, which the draws do not have")
        noise = gradient_noise_of(plan.config)
        # Of χ none: it decays without end under a noise across the orbits.
        claims = settled(descent_claims(plan, noise, _lowest(prepared))).first()
    elif config.confinement.held or not plan.reduction.proper:
        return nothing("there are none of chains on the slice, or without a stationary law, that need no step")
    else:
        claims = gibbs_claims(plan)
    if claims.observe is None:
        return claims
    observe, unravel = claims.observe, _unravel(plan.reduction)

    def state_of(position: Any) -> Any:
        if config.process.gibbs:
            return State(position)
        if gradient_noise_of(plan.config).record.constant:  # whose step is Euler and Maruyama's
            return EulerMaruyamaState(position)
        return SGDState(position, optimiser=None, memory=None)

    return replace(claims, observe=lambda state: observe(state_of(unravel(state.position))))


def _lowest(prepared: Prepared) -> Any:
    """Where a noise of constant strength has it from: the minimum; any point where none is looked for."""
    reduction = prepared.plan.reduction
    if reduction.measured:  # which takes no such noise
        return reduction.model.init(jax.random.key(0))
    return reduction.chart.section(jnp.asarray(prepared.own.middle))


def units_of(prepared: Prepared, own: Given, observer: Observer, source: str) -> Units:
    """Cut few chains into batches.

    Raises:
        DrawsError: they are too few and too short for any error bar.
    """
    chains, draws = own.values.shape[:2]
    slowest = None
    batches = batching(chains, draws, np.inf)
    if prepared.plan.reduction.proper or not prepared.plan.config.process.gibbs:
        gibbs = prepared.plan.config.process.gibbs
        slowest = slowest_of(_traces(own, observer, prepared.plan.scalars, with_charge=gibbs))
        batches = batching(chains, draws, slowest.time)
    if chains * batches.per_chain < MIN_CHAINS:
        why = (
            "unconfined chains are not cut into batches"
            if slowest is None
            else f"{slowest.name} forgets its past in {slowest.time:.3g} draws, and a batch has {BATCH_TIMES:g} times "
            f"as many: the draws make {chains * max(1, int(draws / (BATCH_TIMES * slowest.time)))}"
        )
        raise DrawsError(
            f"{source}: error bars take {MIN_CHAINS} chains, or batches of fewer, got {chains} chains of {draws} draws "
            f"({why}): draw longer, or more chains"
        )
    rest = draws - batches.per_chain * batches.length
    values = own.values[:, rest:].reshape(chains * batches.per_chain, batches.length, -1)
    return Units(values, batches, slowest if batches.per_chain > 1 else None, rest)


def _traces(own: Given, observer: Observer, scalars: tuple[str, ...], *, with_charge: bool) -> dict[str, np.ndarray]:
    """Functions of the draws whose means are judged, of every draw, where they are known: (chain, draw) each."""

    @jax.jit
    @jax.vmap
    def look(x):
        state = State(x)
        draw = observer.traced(observer.observe(state))
        gaps = jnp.zeros(0) if observer.rare is None else observer.rare.observe(state).gap
        return draw["value"], draw["charge"], draw["potential"][None], gaps

    blocks = [jax.tree.map(np.asarray, look(jnp.asarray(block))) for block in _blocks(own.values)]
    value, charge, potential, gaps = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    charge = charge if with_charge else charge[:, :0]
    names = [
        *scalars,
        *(f"χ_{i + 1}" if charge.shape[1] > 1 else "χ" for i in range(charge.shape[1])),
        "the loss",
        *(f"an identity's term ({i + 1})" for i in range(gaps.shape[1])),
    ]
    columns = np.concatenate([value, charge, potential, gaps], axis=1).reshape(*own.values.shape[:2], -1)
    return {name: columns[..., i] for i, name in enumerate(names) if np.isfinite(columns[..., i]).all()}


def _blocks(values: Float[np.ndarray, "chain draw k"]) -> Iterator[np.ndarray]:
    """All draws in pieces."""
    flat = values.reshape(-1, values.shape[2])
    for first in range(0, len(flat), BLOCK):
        yield flat[first : first + BLOCK]


def sample_of_draws(prepared: Prepared, own: Given, units: Units, observer: Observer, claims: Claims) -> Sample:
    """The draws put through what observes a run's chains."""
    plan, values = prepared.plan, units.values
    accumulator, count = observer.accumulator, len(values)
    stride = observer.stride(plan.schedule)

    def one(acc, x):
        state = State(x)
        draw = observer.observe(state)
        rare = {} if observer.rare is None else {IDENTITIES: observer.rare.observe(state)}
        return accumulator.update(acc, draw | rare), observer.traced(draw)

    def advance(acc, block, rows):
        def step(r, carried):
            acc, trace = carried
            acc, kept = jax.vmap(one)(acc, block[r])
            return acc, jax.tree.map(lambda all_rows, row: all_rows.at[r].set(row), trace, kept)

        like = jax.eval_shape(lambda: jax.vmap(one)(acc, block[0])[1])
        trace = jax.tree.map(lambda leaf: jnp.zeros((ROWS, *leaf.shape), leaf.dtype), like)
        return jax.lax.fori_loop(0, rows, step, (acc, trace))

    fresh = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), accumulator.init())
    advance = jax.jit(advance)
    segments, rows_kept = [], []
    for first, last in zip((0, *plan.schedule.segments[:-1]), plan.schedule.segments, strict=True):
        acc = fresh
        for begin in range(first, last, ROWS):
            rows = min(ROWS, last - begin)
            block = np.zeros((ROWS, count, values.shape[2]))
            block[:rows] = np.moveaxis(values[:, begin : begin + rows], 1, 0)
            acc, trace = advance(acc, jnp.asarray(block), rows)
            here = [r for r in range(rows) if (begin + r) % stride == 0]
            rows_kept.append(jax.tree.map(lambda leaf, here=here: np.asarray(leaf)[here], trace))
        segments.append(acc)
    trace = jax.tree.map(lambda *parts: np.moveaxis(np.concatenate(parts), 0, 1), *rows_kept)
    if own.kind == "scalars":
        trace = {name: trace[name] for name in ("value", "counts")}
    zeros = np.zeros(count)
    engine = Engine(1, units.batching.per_chain)
    result = EnsembleResult(segments, trace, {}, _ends(plan.reduction, own, values), Stillness(zeros, zeros), engine)
    return replace(sample_of(result, observer, plan.scalars, claims), per_chain=units.batching.per_chain)


def _ends(reduction: Reduction, own: Given, values: Float[np.ndarray, "unit draw k"]) -> Any:
    """Points at which the model's contract and its slice are looked at: last draws, or starts where there are none."""
    if own.kind != "parameters":
        return jax.vmap(reduction.model.init)(jax.random.split(jax.random.key(0), ENDS))
    return jax.vmap(_unravel(reduction))(jnp.asarray(values[:, -1]))


def thermometer_of(prepared: Prepared, own: Given, sample: Sample) -> Thermometer | None:
    """The best that the identities have: ⟨|∇V|²⟩/⟨ΔV⟩, with ⟨ΔV⟩ over some draws, else ⟨θ·∇V⟩/q."""
    plan, gaps = prepared.plan, sample.gaps
    tested = () if gaps is None else tuple(one.name for one in gaps.tested)
    if not plan.config.process.gibbs or VIRIAL not in tested:
        return None
    if ENERGY not in tested:
        return Thermometer(VIRIAL, "⟨θ·∇V⟩/q", float(own.values.shape[2]))
    reduction = plan.reduction
    potential = claimed_potential(plan.config, reduction.model, reduction.confinement)
    unravel = _unravel(reduction)
    flat = own.values.reshape(-1, own.values.shape[2])
    some = jnp.asarray(flat[:: max(1, len(flat) // SOME)])
    mean = float(jax.jit(lambda rows: jnp.mean(jax.vmap(lambda x: laplacian(potential, unravel(x)))(rows)))(some))
    return Thermometer(ENERGY, "⟨|∇V|²⟩/⟨ΔV⟩", mean) if mean > 0 else None


def _unravel(reduction: Reduction) -> Callable[[Any], Any]:
    """A row ↦ parameters."""
    like = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float64), reduction.chart.params_shape)
    return ravel_pytree(like)[1]
