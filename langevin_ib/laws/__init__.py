"""Predicted laws of an invariant, each with its reference measure."""

from __future__ import annotations

from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law, bin_masses
from langevin_ib.laws.confined import exact
from langevin_ib.laws.family import Formula, Reduction, family, family_formula, formula


def build_laws(reduction: Reduction, names: tuple[str, ...], slab: float | None) -> tuple[list[Law], list[str]]:
    """The requested laws of a scalar invariant that exist for this protocol, and one line for each that does not."""
    laws: list[Law] = []
    missing: list[str] = []
    for name in names:
        try:
            laws.append(exact(reduction, slab) if name == "exact" else reduction.law(formula(reduction, name)))
        except LawError as error:
            missing.append(str(error))
    return laws, missing


__all__ = ["Formula", "Law", "Reduction", "bin_masses", "build_laws", "exact", "family", "family_formula", "formula"]
