"""What the judge of draws of one's own has to say besides: where they came from, what the units are, what misses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from langevin_ib.plain import JsonObject, fields_of, plain
from langevin_ib.statistics.identities import Identity
from langevin_ib.statistics.records import Absent, Doubt

if TYPE_CHECKING:
    from langevin_ib.runs.result import Details, Result


class Thermometer(NamedTuple):
    """An identity that measures T: its name, in words, and the mean of Δφ, by which T − T′ is multiplied in its gap."""

    identity: str
    words: str
    scale: float


class Temperature(NamedTuple):
    """T of the draws, with its standard error."""

    value: float
    se: float


@dataclass(frozen=True)
class OwnDrawsDetails:
    """Of draws that were given.

    Attributes:
        source: the file, or `draws`.
        kind: parameters, invariants or scalars.
        names: of the arrays that were taken.
        chains, draws: how many there are, and draws of each that are judged.
        ignored: names that are none of the model's.
        burn_in: draws of each chain that were to be left out.
        dropped: draws of each chain that were left out at its beginning: burn-in, and what did not fill a batch.
        batches: of each chain, the units of all error bars; 1: the chains are.
        autocorrelation: of what forgets its past last, in draws; None where chains are so many that it does not matter.
        slowest: its name.
        thermometer: what T is measured by; None where it is not.
        claimed: settings that say what the draws are said to be, and were not given, in words.
        unmeasured: what is not measured for want of parameters, one line each.
        process: what the process says besides; None of Langevin dynamics.
        doubts: its own.
        independent: as SGD's.
        stationary: identities are those of a stationary law.
    """

    source: str
    kind: str
    names: tuple[str, ...]
    ignored: tuple[str, ...]
    chains: int
    draws: int
    burn_in: int
    dropped: int
    batches: int
    autocorrelation: float | None
    slowest: str
    thermometer: Thermometer | None
    claimed: tuple[str, ...]
    unmeasured: tuple[str, ...]
    process: Details | None = None
    doubts: tuple[Doubt, ...] = ()
    independent: dict[str, float] = field(default_factory=dict)
    stationary: bool = True

    def temperature(self, result: Result) -> Temperature | None:
        """T of the draws, if V is right: at T′ the gap of φ has the mean (T − T′)⟨Δφ⟩."""
        by = self.thermometer
        found = None if by is None else next((one for one in result.identities if _is(one, by.identity)), None)
        if by is None or not isinstance(found, Identity):
            return None
        return Temperature(result.plan.config.temperature - found.mean / by.scale, found.se / by.scale)

    def to_dict(self, result: Result) -> JsonObject:
        """As in `summary.json`: the key `draws`, and those of the process."""
        own = {
            **fields_of(
                self,
                "source",
                "kind",
                "names",
                "ignored",
                "chains",
                "draws",
                "burn_in",
                "dropped",
                "batches",
                "autocorrelation",
                "slowest",
            ),
            "temperature": plain(self.temperature(result)),
            "unmeasured": list(self.unmeasured),
            "against": [doubt.text for doubt in result.against],
        }
        return {"draws": own, **({} if self.process is None else self.process.to_dict(result))}


def _is(one: Identity | Absent, name: str) -> bool:
    return isinstance(one, Identity) and one.name == name
