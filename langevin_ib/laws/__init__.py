"""Predicted laws of an invariant, each with its reference measure."""

from __future__ import annotations

from langevin_ib.laws.base import Law, bin_masses
from langevin_ib.laws.family import Formula, Reduction, family, family_formula
from langevin_ib.laws.law import LawKind, build_laws, formula, law_kind

__all__ = [
    "Formula", "Law", "LawKind", "Reduction", "bin_masses", "build_laws", "family", "family_formula", "formula",
    "law_kind",
]  # fmt: skip
