"""The record of a law that goes by a name, and the laws of a reduction by their names.

There is one file for each law in `named/`; its record, a `LawKind`, says what a law is here, which table and figure it
belongs in, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from langevin_ib.config.processes import LAWS
from langevin_ib.config.records import record
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.laws.base import Law
from langevin_ib.laws.candidates import LawAbout, Role
from langevin_ib.laws.family import Formula, Reduction


@dataclass(frozen=True)
class LawKind:
    """What goes by a name of `--laws`.

    Attributes:
        name: its key in `summary.json`, in tables and legends.
        role: own (what the protocol obeys, at its finite constants), limit, or control.
        formula: reduction ↦ the law, in any number of coordinates; raises a LawError where there is none.
        scalar: reduction ↦ its density on a quotient of one coordinate, where that is not `formula` at a point.
        place: among the laws; from it follow colour and dash. None: after those that have one.
        c: of a member of the family exp(−ℓ/T) det G^(−c/2) dσ_S, whatever the model; a run holds its density against
            it. None of others, of `pushforward` too, which is a member where χ is canonical.
    """

    name: str
    role: Role
    formula: Callable[[Reduction], Formula]
    scalar: Callable[[Reduction], Law] | None = None
    place: int | None = None
    c: float | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError(f"a law must have a name for tables and legends, got {self.name!r}")
        if self.role not in get_args(Role):
            raise ValueError(f"the role of law {self.name} must be one of {', '.join(get_args(Role))}, got {self.role}")

    def on(self, reduction: Reduction) -> Formula:
        """Its formula for a reduction, by the record's name.

        Raises:
            LawError: there is none here.
        """
        return self.formula(reduction)._replace(name=self.name)

    def law(self, reduction: Reduction) -> Law:
        """Its density on a quotient of one coordinate, by the record's name.

        Raises:
            LawError: there is none here.
        """
        if self.scalar is None:
            return reduction.law(self.on(reduction))
        return replace(self.scalar(reduction), name=self.name)

    def about(self, law: Law | Formula) -> LawAbout:
        """What tables say of it, as resolved for one run."""
        text = law.formula if isinstance(law, Law) else law.text
        return LawAbout(self.name, law.measure, text, self.role, self.place, self.c)


def law_kind(name: str) -> LawKind:
    """The record of a name.

    Raises:
        ConfigError: there is none.

    >>> law_kind("naive").role
    'control'
    """
    return record("law", name, LawKind)


def law_kinds(names: Sequence[str]) -> list[LawKind]:
    """The records of names.

    Raises:
        ConfigError: there is none of a name, or two have one name in tables.
    """
    kinds = [law_kind(name) for name in names]
    called = [kind.name for kind in kinds]
    for name in called:
        if called.count(name) > 1:
            raise ConfigError("laws", "of different names in tables", f"{called.count(name)} called {name}")
    return kinds


def weighed_kinds() -> list[LawKind]:
    """The laws of the default table that have a formula in closed form: windows hold them, whatever laws are shown.

    A file more in `named/` is not one of them, for it would move the windows of runs whose settings stay.
    """
    return [kind for kind in map(law_kind, LAWS) if kind.role != "own"]


def formula(reduction: Reduction, name: str) -> Formula:
    """The formula of a law by its name.

    Raises:
        LawError: there is none here.
    """
    return law_kind(name).on(reduction)


def build_laws(reduction: Reduction, kinds: Sequence[LawKind]) -> tuple[list[tuple[LawKind, Law]], list[str]]:
    """The laws of a scalar invariant that exist for this protocol, and one line for each that does not."""
    laws: list[tuple[LawKind, Law]] = []
    missing: list[str] = []
    for kind in kinds:
        try:
            laws.append((kind, kind.law(reduction)))
        except LawError as error:
            missing.append(str(error))
    return laws, missing
