"""The table of a run: its laws, how far the draws are from each, and the verdict."""

from __future__ import annotations

from langevin_ib.output.blocks import Column, Table
from langevin_ib.output.wording import wording_of
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import LawResult
from langevin_ib.statistics.compare import p_text

MARKS = "abcdefghijklmnopqrstuvwxyz"  # of groups of laws that lie within the margin of each other


def law_table(result: Result) -> Table:
    """A row for each law; a section for each invariant, which is named where there are several."""
    own = wording_of(result.details).columns
    columns = own if len(result.invariants) == 1 else (Column("invariant", left=True), *own)
    return Table(columns, tuple(map(tuple, law_rows(result))))


def law_rows(result: Result) -> list[list[tuple[str, ...]]]:
    """For each invariant one row of text for each law, in the order of the table's columns."""
    several = len(result.invariants) > 1
    columns = wording_of(result.details).columns
    marks: dict[str, str] = {}
    together: dict[str, str] = {}
    for mark, group in zip(MARKS, result.groups, strict=False):
        for law in group.laws:
            marks[law], together[law] = f" ({mark})", group.verdict
    blocks = []
    for name, invariant in result.invariants.items():
        rows = []
        for law_name, law in invariant.laws.items():
            # One for a group; but of several invariants each row says which of them decides.
            own = str(law.comparison.verdict)
            verdict = (own if several else together.get(law_name, own)) + marks.get(law_name, "")
            cells = {"law": law_name, "verdict": verdict, **_numbers(law)}
            row = tuple(cells[column.title] for column in columns)
            rows.append((name if not rows else "", *row) if several else row)
        blocks.append(rows)
    return blocks


def _numbers(law: LawResult) -> dict[str, str]:
    """{column: cell}."""
    seen = law.comparison
    c = "–" if law.c is None else f"{law.c:z.3f}"
    return {
        "measure": law.about.measure,
        "T": "–" if law.temperature is None else f"{law.temperature:.3g}",
        "c": c,
        "c of law": c,
        "TV": f"{seen.tv:.4f}",
        "floor": f"{seen.tv_floor:.4f}",
        "95% bounds": f"{seen.tv_lower95:.4f}–{seen.tv_upper95:.4f}",
        "p": p_text(seen.p_value),
    }
