"""The pilot of a run that measures only: windows without a law, before any draw that is reported.

An eighth of the run's chains, 256 at most and 32 at least (all, of a run of fewer), with starts and keys of their own,
take the run's step for its burn-in and half as long again; of that half each scalar's window is the range from the 0.5%
to the 99.5% quantile, a twentieth wider at either end. Nothing of it depends on the run's own draws, nor on the number
of its steps once the burn-in is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import Limit, Observer, Schedule
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.errors import ConfigError, ModelError
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Params
from langevin_ib.runs.sampling import RUNAWAY_STARTS, RUNAWAY_TEMPERATURES
from langevin_ib.runs.wells import Window
from langevin_ib.runs.windows import QUANTILES, interval, rounded_window
from langevin_ib.session import Session, key_of

SHARE, LEAST, MOST = 8, 32, 256  # chains
LEAST_STEPS = 500  # of its burn-in, where the run has less
RECORDS = 64
WIDER = 0.05  # of the range of the quantiles, at either end
ROUNDINGS = 50  # that a bin is wide at least


class Pilot(NamedTuple):
    """What it drew.

    Attributes:
        scalars: (chain, draw, scalar), in the chart's order.
        ends: where its chains ended, a pytree with a leading axis.
        steps: of each chain.
    """

    scalars: Float[np.ndarray, "chain draw scalar"]
    ends: Any
    steps: int

    @property
    def chains(self) -> int:
        """How many."""
        return len(self.scalars)

    @property
    def largest(self) -> float:
        """The size of the largest parameter of an end."""
        return max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(self.ends))

    def points(self, count: int) -> list[Params]:
        """Some of the ends, evenly spaced."""
        places = np.linspace(0, self.chains - 1, min(count, self.chains)).round().astype(int)
        return [jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), self.ends) for i in places]


def run_pilot(
    config: RunConfig,
    reduction: Reduction,
    build: Callable[[Params], Kernel],
    step: float,
    session: Session,
    *,
    burn_in: int,
    remedy: str,
) -> Pilot:
    """Its chains.

    Args:
        config: of the run.
        reduction: of the run.
        build: parameters of a chain's shapes ↦ the kernel, of this step.
        step: h or η, for the error and the name of the stage.
        session: reports progress.
        burn_in: of the run.
        remedy: what the error advises where a chain diverges.

    Raises:
        DivergenceError: a chain diverged.
    """
    chart = reduction.chart
    dtype = jnp.float64 if config.precision == 64 else jnp.float32
    size = min(config.chains, max(LEAST, min(MOST, config.chains // SHARE)))
    key_start, key_run = jax.random.split(key_of(config, "pilot"))
    init = partial(chart.start_within, {}) if reduction.confinement.orbit == "held" else reduction.model.init
    starts = starting_points(init, key_start, size, dtype)
    burn_in = max(burn_in, LEAST_STEPS)
    thin = max(1, burn_in // (2 * RECORDS))

    def observe(state):
        return {"value": jnp.stack(list(chart.scalars_of(state.position).values()))}

    result = run_ensemble(
        build(jax.tree.map(lambda leaf: leaf[0], starts)),
        starts,
        Observer(observe, count(), lambda seen: seen, trace_chains=size, trace_rows=RECORDS),
        key=key_run,
        schedule=Schedule(burn_in, thin, RECORDS, (RECORDS,)),
        limit=Limit(step, runaway(reduction, starts), remedy),
        stage=session.stage(config, f"pilot at {step:g}"),
    )
    return Pilot(np.asarray(result.trace["value"], np.float64), result.position, burn_in + RECORDS * thin)


def runaway(reduction: Reduction, starts: Params) -> Callable[[Params], Array]:
    """Whether a chain has left for good: of the run's own rule."""
    potential = reduction.confinement.potential(reduction.model)
    highest = float(jax.jit(lambda xs: jnp.max(jax.lax.map(potential, xs, batch_size=64)))(starts))
    allowed = RUNAWAY_TEMPERATURES * reduction.temperature + RUNAWAY_STARTS * highest
    return lambda params: potential(params) > allowed


def windows_of(config: RunConfig, reduction: Reduction, pilot: Pilot) -> dict[str, Window]:
    """The window of each scalar that is asked for: as given, or by the pilot's quantiles.

    Raises:
        ConfigError: a given window leaves a bin too narrow for the precision of the chains.
        ModelError: a scalar is constant, its slope 0 too.
    """
    wanted = config.invariant or reduction.chart.scalar_names
    windows = {}
    for i, name in enumerate(reduction.chart.scalar_names):
        if name not in wanted:
            continue
        drawn = pilot.scalars[..., i]
        if config.window == AUTO and np.ptp(drawn) == 0.0 and _is_flat(reduction, name, pilot):
            raise ModelError(
                f"model {reduction.model.name}: scalar {name} is constant, {drawn.flat[0]:g} at every draw of the "
                "pilot; leave it out, or name the others by --invariant"
            )
        windows[name] = interval(config) if config.window != AUTO else _around(drawn)
    check_bins(config, windows)
    return windows


def _is_flat(reduction: Reduction, name: str, pilot: Pilot) -> bool:
    """Whether a scalar has no slope where chains are; one that moves has, though all chains came to one point."""
    slope = jax.grad(lambda params: reduction.chart.scalars_of(params)[name])
    return not any(np.any(leaf) for point in pilot.points(4) for leaf in jax.tree.leaves(slope(point)))


def _around(values: Float[np.ndarray, "chain draw"]) -> Window:
    low, high = map(float, np.quantile(values, QUANTILES))
    width = high - low
    if not width > 1e-12 * max(abs(low), abs(high)):  # a scalar that does not move
        return low - max(abs(low), 1.0) * 1e-3, high + max(abs(high), 1.0) * 1e-3
    return rounded_window(low - WIDER * width, high + WIDER * width)


def check_bins(config: RunConfig, windows: Mapping[str, Window]) -> None:
    """Refuse bins that are few roundings of their scalar wide.

    Raises:
        ConfigError: there is one.
    """
    kind = np.float64 if config.precision == 64 else np.float32
    for name, (low, high) in windows.items():
        width, spacing = (high - low) / config.bins, float(np.spacing(kind(max(abs(low), abs(high)))))
        if width < ROUNDINGS * spacing:
            what = f"a bin of {name} is {width:.2g} wide, {width / spacing:.2g} roundings of {spacing:.2g}"
            if config.precision == 32:
                raise ConfigError("precision", f"64 here: {what} in float32", 32)
            raise ConfigError("window", f"wider, or in fewer bins: {what}", f"{low:.17g} {high:.17g}")
