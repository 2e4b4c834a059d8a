"""Predicted laws of an invariant, each with its reference measure."""

from __future__ import annotations

from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law, bin_masses
from langevin_ib.laws.confined import exact
from langevin_ib.laws.family import Reduction, family, naive, printed


def build_laws(reduction: Reduction, names: tuple[str, ...], slab: float | None) -> tuple[list[Law], list[str]]:
    """The requested laws that exist for this protocol, and one line for each that does not."""
    laws: list[Law] = []
    missing: list[str] = []
    for name in names:
        try:
            laws.append(_build(reduction, name, slab))
        except LawError as error:
            missing.append(str(error))
    return laws, missing


def _build(reduction: Reduction, name: str, slab: float | None) -> Law:
    if name == "exact":
        if not reduction.confinement.proper and slab is None:
            raise LawError("law exact: an unconfined measure is not normalisable and has no marginal without a slab")
        return exact(reduction, slab)
    if name in ("printed", "naive"):
        return {"printed": printed, "naive": naive}[name](reduction)
    return family(reduction, {"slice": 1.0, "hard": 0.0, "pushforward": -1.0}[name], name)


__all__ = ["Law", "Reduction", "bin_masses", "build_laws", "exact", "family", "naive", "printed"]
