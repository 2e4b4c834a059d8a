"""Which mechanism balances the factors: its effect split into growth and charge, and against gradient descent.

For a vector pair ρ = log |a|/|b| = arsinh(χ/s), s = |a||b|. With D(t) the mean of |ρ| over the generators and
D₀(t) the mean of |arsinh(χ(0)/s(t))|, the imbalance at the initial charge, exactly

    D(0) − D(t) = [D(0) − D₀(t)] + [D₀(t) − D(t)],

the first by growth of the norms alone, the second by change of charge. Seeds are the unit of every error bar. A
mechanism's reduction of the imbalance is R = 1 − D(T)/D(0) with D summed over the seeds: the mean of the seeds' own R
would hang on those that start in balance. All mechanisms share D(0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from langevin_ib.stages import Resumed
from langevin_ib.statistics.records import Meter
from langevin_ib.statistics.seeds import Band, Curve, Estimate, band, curve, mean, median_interval, ratio_of_sums
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.recorded import Paths

DESCENT, SGD, LABEL, ISOTROPIZED, DECAY, LANGEVIN = MECHANISMS = (
    "gradient descent",
    "SGD",
    "label noise",
    "isotropized noise",
    "weight decay",
    "Langevin",
)


@dataclass(frozen=True)
class State:
    """Ratios, imbalance and loss of the seeds at one recorded time.

    Attributes:
        ratio_factor: the factor by which a typical pair is off, exp(median |ρ|) over the generators.
        ratio_smallest: |a|/|b| of the generator where it is smallest.
        ratio_largest: where it is largest.
        imbalance: D.
        loss: each seed's own.
    """

    ratio_factor: Band
    ratio_smallest: Band
    ratio_largest: Band
    imbalance: Estimate
    loss: Band


class ChargeLeft(NamedTuple):
    """The median of |χ(T)/χ(0)| over the generators: its band, mean, and the 95% interval of its median over seeds."""

    median: float
    low90: float
    high90: float
    mean: Estimate
    median95: tuple[float, float]


class BySeed(NamedTuple):
    """Band and mean of what each seed has by itself."""

    median: float
    low90: float
    high90: float
    mean: Estimate


class Reduction(NamedTuple):
    """R = 1 − D(T)/D(0), D summed over the seeds, and that of each seed."""

    value: float
    se: float
    low95: float
    high95: float
    by_seed: BySeed

    @property
    def estimate(self) -> Estimate:
        """R alone."""
        return Estimate(self.value, self.se, self.low95, self.high95)


class Shares(NamedTuple):
    """The parts of D(0) − D(T) that are growth of the norms, and change of charge."""

    growth: Estimate
    charge: Estimate


class Curves(NamedTuple):
    """Bands over seeds at the recorded times."""

    ratio_factor: Curve
    charge_left: Curve
    loss: Curve


@dataclass(frozen=True)
class Mechanism(State):
    """What a mechanism came to: the state at the end, and the reduction of the imbalance with its two parts.

    Attributes:
        charge_left: |χ(T)/χ(0)|.
        reduction: R.
        removed: D(0) − D(T).
        growth: D(0) − D₀(T).
        charge_change: D₀(T) − D(T).
        shares: of what is removed; None unless R is positive with 95% confidence.
        curves: in time.
        diverged: None, as in the summary of one that did.
    """

    charge_left: ChargeLeft
    reduction: Reduction
    removed: Estimate
    growth: Estimate
    charge_change: Estimate
    shares: Shares | None
    curves: Curves
    diverged: None = None


@dataclass(frozen=True)
class Diverged:
    """A mechanism that ran away: how, as the end of a sentence."""

    diverged: str


@dataclass(frozen=True)
class Across:
    """Mechanisms against gradient descent, paired over seeds.

    Attributes:
        descent_share: R of gradient descent over R of SGD; None unless the latter is positive with 95% confidence.
        added: R_k − R of gradient descent, of every other mechanism k.
    """

    descent_share: Estimate | None
    added: Mapping[str, Estimate]


@dataclass(frozen=True)
class ModelFacts:
    """The symmetry group of what is trained, its generators, and the number of parameters q."""

    group: str
    generators: int
    parameters: int


@dataclass(frozen=True)
class RunFacts:
    """What the runs of all mechanisms have in common.

    Attributes:
        seeds: their number.
        steps: of each run.
        time: t = nη/(1 − μ).
        record_steps: at which parameters were kept.
        batches: what a step of SGD sees, in words.
        resumed: the stages that went on from a checkpoint.
    """

    seeds: int
    steps: int
    time: float
    record_steps: tuple[int, ...]
    batches: str
    resumed: tuple[Resumed, ...]


@dataclass(frozen=True)
class NoiseFacts:
    """SGD's noise.

    Attributes:
        temperature: T = η tr Σ/2q, averaged over recorded times, that of Langevin.
        metered_seeds: over how many seeds `mean` is.
        typical: of the first seed, at the end.
        mean: over the seeds, at the end.
        isotropic_orbit_share: m/q, the share along the orbits that isotropic noise would have.
    """

    temperature: Estimate
    metered_seeds: int
    typical: Meter
    mean: Meter
    isotropic_orbit_share: float


@dataclass(frozen=True)
class Balance:
    """Which mechanism balances the factors of a model; `plain` of it stands under `balance` in `summary.json`.

    Attributes:
        config: settled, every rule applied.
        model: what is trained.
        run: what all mechanisms have in common.
        start: the state that all begin with.
        mechanisms: by name, in their order.
        across: against gradient descent.
        noise: of SGD.
    """

    config: AttributionConfig
    model: ModelFacts
    run: RunFacts
    start: State
    mechanisms: Mapping[str, Mechanism | Diverged]
    across: Across
    noise: NoiseFacts


def mean_imbalance(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """D(t), the mean of |ρ| over the generators."""
    return np.abs(paths.log_ratio).mean(axis=-1)


def imbalance_by_growth(paths: Paths) -> Float[np.ndarray, "seed time"]:
    """D₀(t), the mean of |arsinh(χ(0)/s(t))|: the imbalance if each pair had kept its charge."""
    return np.abs(np.arcsinh(paths.charge[:, :1] / paths.size)).mean(axis=-1)


def removed(paths: Paths) -> Float[np.ndarray, " seed"]:
    """D(0) − D(T)."""
    D = mean_imbalance(paths)
    return D[:, 0] - D[:, -1]


def state(paths: Paths, time: int) -> State:
    """The state of the seeds at one recorded time."""
    ratios = paths.ratio[:, time]
    return State(
        ratio_factor=band(paths.off_by[:, time]),
        ratio_smallest=band(ratios.min(axis=-1)),
        ratio_largest=band(ratios.max(axis=-1)),
        imbalance=mean(mean_imbalance(paths)[:, time]),
        loss=band(paths.loss[:, time]),
    )


def describe(paths: Paths) -> Mechanism:
    """Final state, reduction of the imbalance and its two parts, curves in time.

    The parts are shares of D(0) − D(T) only where the reduction is positive with 95% confidence.
    """
    D, grown, left = mean_imbalance(paths), imbalance_by_growth(paths), paths.charge_left
    total = removed(paths)
    by_growth, by_charge = D[:, 0] - grown[:, -1], grown[:, -1] - D[:, -1]
    reduction, shares = ratio_of_sums(total, D[:, 0]), None
    if reduction.low95 > 0:
        shares = Shares(growth=ratio_of_sums(by_growth, total), charge=ratio_of_sums(by_charge, total))
    own = total / D[:, 0]
    return Mechanism(
        **vars(state(paths, -1)),
        charge_left=ChargeLeft(*band(left[:, -1]), mean(left[:, -1]), median_interval(left[:, -1])),
        reduction=Reduction(*reduction, BySeed(*band(own), mean(own))),
        removed=mean(total),
        growth=mean(by_growth),
        charge_change=mean(by_charge),
        shares=shares,
        curves=Curves(ratio_factor=curve(paths.off_by), charge_left=curve(left), loss=curve(paths.loss)),
    )


def across(paths: Mapping[str, Paths]) -> Across:
    """Mechanisms against gradient descent, paired over seeds: of each that did not diverge, its paths."""
    start = mean_imbalance(paths[DESCENT])[:, 0]
    total = {name: removed(path) for name, path in paths.items()}
    share = ratio_of_sums(total[DESCENT], total[SGD]) if ratio_of_sums(total[SGD], start).low95 > 0 else None
    added = {name: ratio_of_sums(removal - total[DESCENT], start) for name, removal in total.items() if name != DESCENT}
    return Across(share, added)
