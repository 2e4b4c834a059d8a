"""Values that change along a run, by name and numbers: `linear 1 100 20000`; what they are at a step, in plain Python.

    linear START END STEPS              v = START + (END − START) n/STEPS
    cosine START END STEPS              v = END + (START − END) (1 + cos(πn/STEPS))/2
    inverse START END STEPS             v = START/(1 + n/τ), with the τ that reaches END after STEPS: 1/v is linear
    inverse START TAU                   the same without an end
    steps V1 N1 V2 N2 … VK              V1 before step N1, then V2 before step N2, …, then VK
    restarts START END PERIOD CYCLES    `cosine` again and again, every PERIOD steps; END after the last

After its last step each is END for good. What a step of a chain computes is made of optax's in `dynamics/schedules.py`.

Source: of `restarts`, Loshchilov & Hutter, SGDR, arXiv:1608.03983.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langevin_ib.config.kinds import Kind, finite, number
from langevin_ib.errors import ConfigError
from langevin_ib.plain import JsonObject

FORMS = {
    "linear": "linear START END STEPS",
    "cosine": "cosine START END STEPS",
    "inverse": "inverse START END STEPS, or inverse START TAU",
    "steps": "steps V1 N1 V2 N2 … VK, N1 < N2 < …",
    "restarts": "restarts START END PERIOD CYCLES",
}
KNOWN = f"one of {', '.join(FORMS)} with its numbers, as {FORMS['linear']}"
LONGEST = 2**30  # steps; a companion at h/2 takes twice as many
ENDLESS = 2  # numbers of `inverse` without an end


@dataclass(frozen=True)
class ValueSchedule:
    """A value at each step n = 0, 1, …; made by `read_schedule`.

    Attributes:
        name: of its form.
        numbers: as in `FORMS`.

    >>> schedule = read_schedule("linear 1 100 20000")
    >>> schedule.at(0), schedule.at(10_000), schedule.at(30_000), schedule.length
    (1.0, 50.5, 100.0, 20000)
    """

    name: str
    numbers: tuple[float, ...]

    def __str__(self) -> str:
        return " ".join([self.name, *(_spelled(value) for value in self.numbers)])

    @property
    def values(self) -> tuple[float, ...]:
        """The values among its numbers: its start first, its end, if it has one, last."""
        if self.name == "steps":
            return self.numbers[::2]
        return self.numbers[:1] if self.length is None else self.numbers[:2]

    @property
    def counts(self) -> tuple[float, ...]:
        """Its numbers of steps."""
        return self.numbers[1::2] if self.name == "steps" else self.numbers[len(self.values) :]

    @property
    def length(self) -> int | None:
        """Steps after which it is constant; None if it never is."""
        if self.name == "inverse" and len(self.numbers) == ENDLESS:
            return None
        counts = self.numbers[1::2] if self.name == "steps" else self.numbers[2:]
        return int(counts[0] * counts[1]) if self.name == "restarts" else int(counts[-1])

    @property
    def tau(self) -> float:
        """τ of `inverse`."""
        if self.length is None:
            return self.numbers[1]
        start, end, steps = self.numbers
        return math.inf if start == end else steps * end / (start - end)

    def at(self, n: float) -> float:
        """Its value at step n."""
        if self.length is not None and n >= self.length:
            return self.values[-1]
        start, end = self.values[0], self.values[-1]
        if self.name == "linear":
            return start + (end - start) * n / self.counts[0]
        if self.name == "inverse":
            return start / (1.0 + n / self.tau)
        if self.name == "steps":
            return self.values[sum(n >= boundary for boundary in self.counts)]
        phase = (n % self.counts[0]) / self.counts[0]  # one period of `cosine` is all of it
        return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * phase))

    def ends_within(self, steps: int) -> bool:
        """Whether it is constant from step `steps` on."""
        return self.length is not None and self.length <= steps

    def range(self, first: int, last: int) -> tuple[float, float]:
        """Its least and its largest value at the steps from `first` to `last`."""
        places = {float(first), float(last)}
        if self.name == "steps":
            places |= {n for n in self.counts if first <= n <= last}
        if self.name == "restarts":
            period = int(self.counts[0])
            for n in (first, last):  # it jumps from END to START at the end of a period
                places |= {float(m) for m in (n - n % period + period, n - n % period + period - 1)}
            places = {n for n in places if first <= n <= last}
        values = [self.at(n) for n in places]
        return min(values), max(values)

    def words(self) -> str:
        """What it is, as an end of a sentence: `linear from 1 to 100 in 20000 steps`."""
        start, end = f"{self.values[0]:g}", f"{self.values[-1]:g}"
        if self.name == "steps":
            pairs = zip(self.values, self.counts, strict=False)
            return ", ".join(f"{value:g} before step {int(n)}" for value, n in pairs) + f", then {end}"
        if self.length is None:
            return f"{start}/(1 + n/{self.tau:g}), without an end"
        if self.name == "restarts":
            period, cycles = map(int, self.counts)
            return f"cosine from {start} to {end} in {period} steps, {cycles} times"
        return f"{self.name} from {start} to {end} in {self.length} steps"


def read_schedule(text: str) -> ValueSchedule:
    """A schedule from its words.

    Raises:
        ValueError: what was wanted, where it is none.

    >>> str(read_schedule("inverse 0.05  0.01 2e4"))
    'inverse 0.05 0.01 20000'
    >>> read_schedule("cosine 1 2 3.5")
    Traceback (most recent call last):
        ...
    ValueError: cosine START END STEPS, of whole numbers of steps from 1
    """
    name, *words = text.split() or [""]
    if name not in FORMS:
        raise ValueError(KNOWN)
    numbers = [finite(number(word)) for word in words]
    schedule = ValueSchedule(name, tuple(x for x in numbers if x is not None))
    if len(schedule.numbers) != len(words) or not _fits(name, len(words)):
        raise ValueError(FORMS[name])
    if any(value <= 0 for value in schedule.values):
        raise ValueError(f"{FORMS[name]}, of positive values")
    counts = schedule.counts
    if schedule.length is None:
        if schedule.tau <= 0:
            raise ValueError(f"{FORMS[name]}, of a positive TAU")
        return schedule
    if any(n < 1 or n != int(n) for n in counts):
        raise ValueError(f"{FORMS[name]}, of whole numbers of steps from 1")
    if name == "steps" and list(counts) != sorted(set(counts)):
        raise ValueError(f"{FORMS[name]}, at steps that increase")
    if schedule.length > LONGEST:
        raise ValueError(f"{FORMS[name]}, of {LONGEST} steps at most")
    return schedule


class ScheduleKind(Kind):
    """The words of a schedule, in one string."""

    metavar = "V"

    def check(self, name: str, value: Any, auto: str) -> str:
        if not isinstance(value, str):
            raise ConfigError(name, KNOWN, value)
        try:
            return str(read_schedule(value))
        except ValueError as error:
            raise ConfigError(name, str(error), repr(value)) from None

    def schema(self) -> JsonObject:
        return {"type": "string", "pattern": f"^({'|'.join(FORMS)})( [0-9.eE+-]+)+$"}

    def read(self, text: Any) -> Any:
        return text


SCHEDULE = ScheduleKind()


def _fits(name: str, count: int) -> bool:
    """Whether a form has so many numbers."""
    wanted: dict[str, Sequence[int]] = {"inverse": (ENDLESS, 3), "restarts": (4,)}
    return count >= 3 and count % 2 == 1 if name == "steps" else count in wanted.get(name, (3,))


def _spelled(value: float) -> str:
    """A number as Python reads it back, whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
