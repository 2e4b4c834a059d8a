"""What a cell's file says, by rule: the law that holds, the headline, and where the paper says otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langevin_ib.errors import UsageError
from langevin_ib.statistics.coefficient import can_be
from sims.atlas import cells
from sims.numbers import stored
from sims.numbers.stored import Number, Stored

# A cell is named after the first of these that agrees: limits of theory whose c is that of the draws, SGD's own law
# (`map`, at its learning rate; else its limit (S)),
# then what the protocol's finite κ, λ or slab makes of them. `printed` and `naive` are the paper's formula and a
# control, no law of a protocol.
LAWS = "slice", "hard", "pushforward", "map", "sgd", "exact"
OWN = {"exact", "map"}  # of a process as it is, of which the other laws are limits; (S) is that of `map`
LIMITS = {"slice": 1.0, "hard": 0.0, "pushforward": -1.0}  # their c
EQUATIONS = {"printed": "6", "slice": "8"}  # of the paper
AGREES, DIFFERS = "agrees", "differs"
NORMAL95 = 1.96
# The package's own sentences, by what is in them, in the few words that a cell has room for.
SHORT = (
    ("least at z = 0", "the loss is least at z = 0"),
    ("no noise", "no noise at the minimum"),
    ("noise vanishes", "no noise at the minimum"),
    ("diverge", "chains diverged"),
    ("not mixed", "chains have not mixed"),
)


@dataclass(frozen=True)
class Cell:
    """A cell as picture and page show it.

    Attributes:
        name: of its file.
        file: its content; None where it has not been run.
        law: that holds, or that alone is not excluded; None if there is none.
        decided: whether it agrees, by the run's own verdict.
        doubted: whether verdicts were withheld.
        against: equations of the paper that the draws do not obey here.
    """

    name: str
    file: Stored | None
    law: str | None
    decided: bool
    doubted: bool
    against: tuple[str, ...]

    @property
    def more(self) -> Mapping[str, Any]:
        """What the file has beside numbers."""
        return {} if self.file is None else self.file.more

    @property
    def values(self) -> Mapping[str, Number]:
        """Its numbers, by name."""
        return {} if self.file is None else self.file.values

    @property
    def is_sgd(self) -> bool:
        """Whether it is a cell of SGD, in which no c is measured."""
        return cells.COLUMNS[cells.parts(self.name)[1]].sgd

    @property
    def drifts(self) -> bool:
        """Whether it is one of plain marginals, which have no law."""
        return "drift" in self.more

    @property
    def c(self) -> str:
        """`c = 0.998 ± 0.005`; empty where none was measured."""
        number = self.values.get("c")
        return "" if number is None or number.value is None else f"c = {with_error(number)}"

    @property
    def headline(self) -> str:
        """c; under SGD, and where there is no c, the law that holds; else that there is none."""
        if self.file is None:
            return "not run"
        if self.c:
            return self.c
        if self.law:
            return f"law {title(self.law)}"
        if self.doubted:
            return "in doubt"
        return "refused" if not self.more.get("verdicts") and not self.drifts else "no law"

    @property
    def verdict(self) -> str:
        """The law that holds with its distance, what is not excluded, or that nothing holds."""
        if self.drifts:
            return "drifts, no law" if self.c else self.reason
        if self.doubted:
            return "in doubt, no verdict" if self.c else "no verdict"
        if self.law == "map" and self.decided and "tv_sgd" in self.values:
            return f"TV {distance(self.values['tv_map'])}; (S) {distance(self.values['tv_sgd'])}"
        if self.law and self.decided:
            return f"{title(self.law)}: TV {distance(self.values[f'tv_{self.law}'])}"
        if self.law:
            number = self.values[f"tv_{self.law}"]
            return f"{title(self.law)}? TV {distance(number)}, undecided"
        if verdicts := self.more.get("verdicts"):
            return "every law differs" if set(verdicts.values()) == {DIFFERS} else "undecided"
        return self.reason

    @property
    def reason(self) -> str:
        """Why there is no number, in a few words; empty where there is one."""
        why = (self.more.get("doubts") or [self.more.get("why", "")])[0]
        for part, words in SHORT:
            if part in why:
                return words
        return re.split(r"[;:,(]", why)[0].strip()


def read_cells(folder: Path) -> dict[str, Cell]:
    """All cells of the grid, those without a file too.

    Raises:
        UsageError: a file is damaged.
    """
    found = {}
    for name in cells.NAMES:
        exists = (folder / f"{name}.json").is_file()
        found[name] = read_cell(name, stored.read(name, folder) if exists else None)
    return found


def read_cell(name: str, file: Stored | None) -> Cell:
    """One cell from its file.

    Raises:
        UsageError: it is the file of another cell.
    """
    more: Any = {} if file is None else file.more
    if file is not None and more.get("cell") != name:
        raise UsageError(f"{name}.json is the file of {more.get('cell')}")
    verdicts: Mapping[str, str] = more.get("verdicts", {})
    open_laws = [law for law in LAWS if law in verdicts and verdicts[law] != DIFFERS]
    agreeing = [law for law in open_laws if verdicts[law] == AGREES]
    # Undecided laws are one answer only if they are the protocol's own law and at most one limit.
    single = len([law for law in open_laws if law not in OWN]) <= 1
    candidates = agreeing or (open_laws if single else [])
    law = next((law for law in candidates if _has_c(file, law)), candidates[0] if candidates else None)
    doubted = bool(more.get("doubts"))
    return Cell(name, file, None if doubted else law, bool(agreeing), doubted, _against(file, verdicts))


def _has_c(file: Stored | None, law: str) -> bool:
    """Whether a limit's c can be the measured one, by the rule of runs and of their comparison."""
    c = None if file is None else file.values.get("c")
    if c is None or c.value is None or c.error is None:
        return True
    return can_be(LIMITS.get(law), c.value - NORMAL95 * c.error, c.value + NORMAL95 * c.error)


def _against(file: Stored | None, verdicts: Mapping[str, str]) -> tuple[str, ...]:
    """The paper's equations that differ from the draws: (6) as printed, (8), its theorem.

    Under SGD (8) is the theorem at the temperature that fits best. Of an unconfined marginal, which has no verdicts,
    the theorem differs where the 95% interval of c leaves out 1.
    """
    found = [equation for law, equation in EQUATIONS.items() if verdicts.get(law) == DIFFERS]
    c = None if file is None else file.values.get("c")
    if file is not None and "drift" in file.more and c and c.value is not None and c.error is not None:
        return ("8",) if abs(c.value - 1.0) > NORMAL95 * c.error else ()
    return tuple(found)


def title(law: str) -> str:
    """A law's name as cells have it."""
    return "(S)" if law == "sgd" else law


def with_error(number: Number) -> str:
    """A value with its error, so many decimals that the error is not rounded away.

    >>> with_error(Number(0.99841, 0.0047)), with_error(Number(-0.012, 0.13)), with_error(Number(-1.0, 0.0001))
    ('0.998 ± 0.005', '−0.01 ± 0.13', '−1.0000 ± 0.0001')
    """
    value, error = number.value or 0.0, number.error or 0.0
    places = 2 if error >= 0.0995 else 3 if error >= 0.0005 else 4
    return f"{value:z.{places}f} ± {error:.{places}f}".replace("-", "−")


def distance(number: Number) -> str:
    """A total-variation distance, to four decimals.

    >>> distance(Number(0.000789))
    '0.0008'
    """
    return f"{number.value:.4f}"
