"""What a run that measures only has to say besides: records from the process to the page."""

from __future__ import annotations

from dataclasses import dataclass

from langevin_ib.plain import JsonObject, fields_of, plain
from langevin_ib.runs.result import Result
from langevin_ib.statistics.learning import Measured
from langevin_ib.statistics.records import Doubt


@dataclass(frozen=True)
class MeasuredPlan:
    """What a run that measures only keeps for its report.

    Attributes:
        why: why there is no law, where nobody asked for none; empty where one did.
        pilot: chains and steps of the pilot.
        by_rule: the scalars whose windows it set.
        symbol: of the step.
        subject: what was run, in words; empty for that of a thermal process.
    """

    why: str
    pilot: tuple[int, int]
    by_rule: tuple[str, ...]
    symbol: str = "h"
    subject: str = ""


@dataclass(frozen=True)
class MeasuredDetails:
    """What the draws show, besides histograms and moments of the scalars.

    Attributes:
        plan: as `MeasuredPlan`.
        loss: E ℓ.
        energy: E ℓ/T; None without a temperature.
        norm: E |θ|²/2.
        charge: E χ of each charge.
        doubts: about the windows.
    """

    plan: MeasuredPlan
    loss: Measured
    energy: Measured | None
    norm: Measured
    charge: tuple[Measured, ...]
    doubts: tuple[Doubt, ...] = ()

    def to_dict(self, result: Result) -> JsonObject:
        """As in `summary.json`: the key `measured`."""
        del result
        chains, steps = self.plan.pilot
        return {
            "measured": {
                "why": self.plan.why or None,
                "pilot": {"chains": chains, "steps": steps, "windows": list(self.plan.by_rule)},
                **{name: plain(value) for name, value in fields_of(self, "loss", "energy", "norm").items()},
                "charge": [plain(one) for one in self.charge],
            }
        }
