"""Which laws of its own a run of SGD has: `map`, exact at its learning rate, and (S), its limit for η → 0."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from langevin_ib.config.run import RunConfig
from langevin_ib.errors import LawError
from langevin_ib.laws import Law, bin_masses
from langevin_ib.laws import map as exact
from langevin_ib.laws import sgd as limit
from langevin_ib.laws.candidates import KnownLaw, LawAbout, Masses
from langevin_ib.laws.map import AboutMap, MapLaw, RunawayError
from langevin_ib.laws.sgd import CollapseError, Coordinate, Descent, OwnError, TailError, check_closed
from langevin_ib.laws.step_map import StepMap, check_map
from langevin_ib.runs.wells import Window
from langevin_ib.statistics.compare import Histogram

log = logging.getLogger(__name__)

WITH_MOMENTUM = "law map: with momentum a step depends on the velocity too, not on its place and the noise alone"
SAID_LEAK = 1e-9  # share of the chains that runs away in a step from which it is said before the run
PARTS = 1e4  # draws that a part of an estimated law counts as in a test: the scatter of parts is what it uses
SAID_BELOW = 0.01  # mass below |z| = 1e-6 from which it is said before the run


@runtime_checkable
class Windowed(Protocol):
    """A law that knows where it lies."""

    def window(self, share: float) -> tuple[float, float]:
        """The range that leaves out `share` of it at either end."""
        ...


class OwnLaws(NamedTuple):
    """The laws of each coordinate, before windows are known.

    Attributes:
        coordinates: with a law (S); None if not all have one.
        maps: their laws `map`; None if not all have one.
        missing: a line for each law that there is none of.
        runaway: whether chains run away, so that there is no stationary law, whatever (S) is.
    """

    coordinates: dict[str, Coordinate] | None
    maps: dict[str, MapLaw] | None
    missing: list[str]
    runaway: bool = False

    @property
    def windowed(self) -> Mapping[str, Windowed] | None:
        """What windows go by: (S) where there is one, else `map`."""
        return self.coordinates or self.maps


class WithinWindows(NamedTuple):
    """The laws of each scalar in its window: (S), bin masses of `map`, what is said of it, and what is missing.

    Of (S) by an estimated Σ also its masses with the error of the estimate, `between`.
    """

    laws: dict[str, Law]
    maps: dict[str, Float[np.ndarray, " bins"]]
    about: dict[str, AboutMap]
    missing: list[str]
    between: dict[str, Histogram]
    runaway: bool = False


def build_laws(descent: Descent, middle: np.ndarray, plain: bool, cumulants: bool) -> OwnLaws:
    """(S) and `map` of each coordinate, or why there are none.

    Args:
        descent: the process.
        middle: the minimum of the loss.
        plain: whether steps have no momentum.
        cumulants: whether those of the noise are known.

    Raises:
        CollapseError: every chain ends at 0, by `map`; or by (S), where there is no `map`.
    """
    try:
        check_closed(descent)
    except LawError as error:
        return OwnLaws(None, None, [str(error)])
    coordinates, missing, tail = _coordinates(descent, middle)
    maps: dict[str, MapLaw] | None = None
    if not plain:
        missing.append(WITH_MOMENTUM)
    elif coordinates is not None or tail is not None:
        try:
            maps = _maps(descent, middle, coordinates or {})
        except CollapseError:
            raise
        except LawError as error:
            missing.append(str(error))
            if isinstance(error, RunawayError):  # chains are gone before they obey (S), or collapse as it has it
                return OwnLaws(coordinates, None, missing, runaway=True)
            if cumulants and coordinates is not None:
                coordinates, more = _expanded(coordinates)
                missing += more
    if maps is None and isinstance(tail, CollapseError):
        raise tail
    return OwnLaws(coordinates, maps, missing)


def _coordinates(
    descent: Descent, middle: np.ndarray
) -> tuple[dict[str, Coordinate] | None, list[str], TailError | None]:
    """The coordinates with a law (S), or why there are none; and the tail, if that alone is why."""
    chart, model = descent.chart, descent.model
    try:
        found = {name: Coordinate(descent, i, middle, model.home_of(name)) for i, name in enumerate(chart.scalar_names)}
    except LawError as error:
        return None, [str(error)], error if isinstance(error, TailError) else None
    return found, [], None


def _maps(descent: Descent, middle: np.ndarray, coordinates: Mapping[str, Coordinate]) -> dict[str, MapLaw]:
    chart, model = descent.chart, descent.model
    check_map(descent, chart.dim)
    return {
        name: MapLaw(StepMap(descent, i, middle, model.home_of(name)), coordinates.get(name))
        for i, name in enumerate(chart.scalar_names)
    }


def _expanded(coordinates: dict[str, Coordinate]) -> tuple[dict[str, Coordinate] | None, list[str]]:
    """(S) where steps of this size do not collapse by the expansion of a step, for want of the exact map."""
    try:
        for coordinate in coordinates.values():
            coordinate.check_steps()
    except LawError as error:
        return None, [str(error)]
    return coordinates, []


def independent_variances(descent: Descent, middle: np.ndarray) -> dict[str, float]:
    """Variance of each coordinate under law (S) of the same batches drawn with replacement, where there is one."""
    if descent.noise.replace:
        return {}
    independent = replace(descent, noise=replace(descent.noise, replace=True))
    try:
        check_closed(independent)
    except LawError:
        return {}
    coordinates, _, _ = _coordinates(independent, middle)
    return {name: coordinate.variance() for name, coordinate in (coordinates or {}).items()}


def laws_within(own: OwnLaws, windows: Mapping[str, Window], edges: Mapping[str, np.ndarray]) -> WithinWindows:
    """Each law in the windows of the scalars, none of any unless all have one; and a line for each that has none."""
    laws, missing = {}, []
    for name, coordinate in (own.coordinates or {}).items():
        try:
            laws[name] = coordinate.law(*windows[name])
        except LawError as error:
            missing.append(str(error))
    limits = {
        name: bin_masses(law, edges[name], remedy="use a smaller lr, less noise, or a narrower window")
        for name, law in laws.items()
    }
    maps, about = {}, {}
    for name, law in (own.maps or {}).items():
        try:
            maps[name], accuracy = law.masses(edges[name])
        except LawError as error:
            missing.append(str(error))
            continue
        near = law.step.multiplies
        about[name] = AboutMap(
            accuracy=accuracy,
            from_s=0.5 * float(np.abs(maps[name] - limits[name]).sum()) if name in limits else None,
            growth=None if near is None else near.growth,
            below_window=law.below(float(min(edges[name][[0, -1]], key=abs))),
            below_tiny=0.0 if near is None else law.below(law.step.sign * exact.TINY),
            leak=law.fine.leak if law.fine.leak > SAID_LEAK else 0.0,
        )
    if len(maps) < len(edges):
        maps, about = {}, {}
    between = {}
    for name in laws:
        rest = (own.coordinates or {})[name].masses_without(edges[name])
        if rest is not None:
            between[name] = _histogram_of(limits[name], rest)
    laws = laws if len(laws) == len(edges) else {}
    return WithinWindows(laws, maps, about, missing, between, own.runaway)


def _histogram_of(mass: Float[np.ndarray, " bins"], rest: Float[np.ndarray, "batch bins"]) -> Histogram:
    """Masses with the covariance of their error, by the jackknife, as those of a law that was sampled."""
    count = len(rest)
    change = rest - rest.mean(axis=0)
    # What each batch by itself would give, to first order: for the p-value, which wants independent parts.
    parts = np.maximum(mass - (count - 1) * change, 0.0)
    return Histogram(PARTS * parts, mass, (count - 1) / count * change.T @ change)


def shift_between(
    own: OwnLaws, descent: Descent, middle: np.ndarray, edges: Mapping[str, np.ndarray]
) -> Callable[[RunConfig, RunConfig], float | None]:
    """Total variation between the laws (S) at the learning rates of two configurations, of the scalar that moves most.

    None where there is no (S), or the decay is another.
    """

    def masses(config: RunConfig) -> dict[str, np.ndarray] | None:
        lr = float(config.lr or 0) / (1.0 - float(config.momentum or 0))
        coordinates, _, _ = _coordinates(replace(descent, lr=lr), middle)
        if coordinates is None:
            return None
        laws = {name: coordinate.law(*edges[name][[0, -1]]) for name, coordinate in coordinates.items()}
        return {name: bin_masses(law, edges[name]) for name, law in laws.items()}

    def shift(first: RunConfig, last: RunConfig) -> float | None:
        if own.coordinates is None or first.weight_decay != last.weight_decay:
            return None
        before, after = masses(first), masses(last)
        if before is None or after is None:
            return None
        return max(0.5 * float(np.abs(before[name] - after[name]).sum()) for name in edges)

    return shift


def candidates(
    within: WithinWindows, edges: Mapping[str, np.ndarray], errors: Mapping[str, OwnError], margin: float
) -> tuple[KnownLaw, ...]:
    """`map`, the run's own law where it exists, and (S), its limit.

    Without `map` (S) is the run's own, unless its own error at this η is estimated to be above the margin.
    """
    known = []
    if within.maps:
        masses = {name: Masses(mass) for name, mass in within.maps.items()}
        known.append(KnownLaw(LawAbout(exact.NAME, exact.MEASURE, exact.FORMULA, "own"), masses))
    if within.laws:
        masses = {
            name: Masses(bin_masses(law, edges[name]), within.between.get(name)) for name, law in within.laws.items()
        }
        far = any(error.tv > margin for error in errors.values())
        role = "limit" if within.maps or within.runaway or far else "own"
        known.append(KnownLaw(LawAbout(limit.NAME, limit.MEASURE, limit.FORMULA, role), masses))
    return tuple(known)


def say_collapse(about: Mapping[str, AboutMap]) -> None:
    """Log, before the first draw, how much of a law lies at 0, where it is not little, and how many chains run away."""
    for name, one in about.items():
        if one.leak > SAID_LEAK:
            log.warning(
                "a share %.1g of the chains runs away in a step: map of %s is the law of the others", one.leak, name
            )
        if one.below_tiny > SAID_BELOW:
            log.warning("%s", near_collapse(name, one))


def near_collapse(name: str, one: AboutMap) -> str:
    """How near to collapse a law is, in one line."""
    return (
        f"near collapse: {one.below_tiny:.2g} of the law map lies below |{name}| = 1e-6 and {one.below_window:.2g} "
        f"nearer to 0 than the window; near {name} = 0 E log |{name}'/{name}| of a step is {one.growth or 0.0:.2g}"
    )
