"""What a run of SGD has to say besides: the noise at the minimum, the charge, the error of (S)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from langevin_ib.config.run import RunConfig
from langevin_ib.plain import JsonObject, fields_of, plain
from langevin_ib.runs.result import Result
from langevin_ib.statistics.records import Doubt, Meter, NoiseMeasured

if TYPE_CHECKING:
    from langevin_ib.laws.map import AboutMap
    from langevin_ib.laws.sgd import OwnError


class ChargeSummary(NamedTuple):
    """χ of a run of SGD.

    Attributes:
        start, draws: root mean square at the starts and over the draws, in units of half of |a|² + |b|² of the
            balanced pair at the minimum of the loss; above 1 where the pairs have grown far out of balance.
        change: median over chains of |χ(end) − χ(start)|/|χ(start)|; None where chains start on the slice.
    """

    start: float
    draws: float
    change: float | None


@dataclass(frozen=True)
class SgdDetails:
    """What a run of SGD says besides.

    Attributes:
        noise: its kind.
        words: what it is called in a sentence.
        across: whether the noise lies across the orbits.
        start: `own`, or `slice` where χ would take too long to decay; `earlier`, the ends of another run;
            `given`: that of draws of one's own is unknown.
        decay: predicted rate of χ per unit of t = nη, of its slowest component.
        balance: the χ that the noise leads to; None if to none.
        meter: the noise at the minimum.
        noisy: whether there is any there; else the meter's ratios are those of rounding errors.
        law_error: of each scalar, how far the law is from (S) by itself.
        charge: what became of χ.
        doubts: reasons why no verdict is given.
        independent: by epochs, the variance of each scalar under law (S) of batches drawn with replacement.
        map: what is known of the law `map` of each scalar; none of any where it does not exist.
        measured: what is known of the noise at the minimum besides the meter.
    """

    noise: str
    words: str
    across: bool
    start: str
    decay: float
    balance: tuple[float, ...] | None
    meter: Meter
    noisy: bool
    law_error: dict[str, OwnError]
    charge: ChargeSummary
    doubts: tuple[Doubt, ...] = ()
    independent: dict[str, float] = dataclasses.field(default_factory=dict)
    map: dict[str, AboutMap] = dataclasses.field(default_factory=dict)
    measured: NoiseMeasured = dataclasses.field(default_factory=lambda: NoiseMeasured(None, None, {}, None))

    @property
    def metered(self) -> bool:
        """Whether the meter is of a covariance that exists."""
        return self.noisy and (self.measured.tail is None or self.measured.tail.variance)

    def to_dict(self, result: Result) -> JsonObject:
        """As in `summary.json`: the key `descent`."""
        shown = self.meter._fields if self.metered else () if self.noisy else ("trace", "temperature")
        errors, tail = self.measured.errors, self.measured.tail
        finite = tail is not None and np.isfinite(tail.exponent)
        return {
            "descent": {
                **fields_of(self, "noise", "start", "decay", "balance"),
                "meter": {name: getattr(self.meter, name) if name in shown else None for name in self.meter._fields},
                "meter_errors": None if errors is None else dict(zip(self.meter._fields, errors, strict=True)),
                "skewness": plain(self.measured.skewness) or None,
                "tail": None if tail is None else tail._asdict() | {"exponent": tail.exponent if finite else None},
                "fits": result.fits if self.noisy else None,
                "nearest": plain(result.nearest),
                "law_error": plain(self.law_error) or None,
                "map": plain(self.map) or None,
                "charge": plain(self.charge),
            }
        }


def noise_in_words(config: RunConfig, noise: str) -> str:
    """The noise, its strength and the momentum of a run of SGD, separated by commas."""
    words = [noise]
    if config.batch_size:
        words.append(f"B = {config.batch_size}" + ("" if config.replacement else ", by epochs"))
    if config.label_noise:
        words.append(f"s = {config.label_noise:g}")
    if config.noise_scale:
        words.append(f"noise times m = {config.noise_scale:g}")
    if config.flip_rate:
        words.append(f"labels flipped at rate {config.flip_rate:g}")
    if config.momentum:
        words.append(f"momentum {config.momentum:g}")
    return ", ".join(words)
