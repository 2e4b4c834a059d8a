"""What the command found, as a result file of the book and as the table of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .catalogue import FAULTS, RUNS
from .plant import ROOT, Fault

if TYPE_CHECKING:
    from sims.numbers.stored import Stored

PAGE = ROOT / "docs" / "trust.md"
FILE = ROOT / "docs" / "results" / "faults.json"
MISSED, CRASHED = "MISSED", "crashed"
ALONE = {  # kinds of doubt that were the only ones to see a fault, and what that is called on the page
    "identity": ("identity",),
    "independence": ("independence", "starts"),
    "books": ("counts", "trace", "clock", "errors", "settings"),
    "law": ("law", "verdict", "c", "share", "mala", "joint"),
    "failure": ("failed",),  # a run that ends with a line on why, mostly for its chains have diverged
}


class Row(NamedTuple):
    """A fault, and what runs said of it.

    Attributes:
        fault: its name.
        run: the first run that caught it; of a fault that is missed all that were made.
        line: the first that speaks against that run; or that the fault was missed.
        by: each kind of what spoke against it.
        missed_by: the runs that were made and said nothing.
    """

    fault: str
    run: str
    line: str
    by: tuple[str, ...] = ()
    missed_by: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether no run said anything; one that ends its process has not said why."""
        return self.line.startswith((MISSED, CRASHED))


def outcome_of(fault: Fault, told: Sequence[Mapping[str, Any]]) -> Row:
    """Of a fault, from what its runs said."""
    missed: tuple[str, ...] = ()
    for said in told:
        if said["caught"] is not None:
            return Row(fault.name, said["run"], said["caught"], tuple(said["by"]), missed)
        if CRASHED in said:
            return Row(fault.name, said["run"], f"{CRASHED}: {said[CRASHED]}", missed_by=missed)
        missed += (said["run"],)
    line = f"{MISSED}: {fault.unseen}" if fault.unseen else MISSED
    return Row(fault.name, ", ".join(missed), line, missed_by=missed)


def alone(row: Row) -> str:
    """Which kind of check was the only one to see it; empty where several kinds did.

    >>> alone(Row("noise", "uv", "doubt", ("identity",))), alone(Row("noise", "uv", "doubt", ("identity", "verdict")))
    ('identity', '')
    """
    return next((kind for kind, names in ALONE.items() if row.by and set(row.by) <= set(names)), "")


def stored_of(rows: Sequence[Row], command: str) -> Stored:
    """The result file: counts, and what was said of each fault."""
    from sims.numbers.stored import Number, Stored  # noqa: PLC0415 - it imports modules that faults are planted in

    known = {fault.name: fault for fault in FAULTS}
    values = {
        "planted": Number(len(rows)),
        "caught": Number(sum(not row.missed for row in rows)),
        "missed": Number(sum(row.missed for row in rows)),
        "missed_by_a_run": Number(sum(bool(row.missed_by) and not row.missed for row in rows)),
        "with_identity": Number(sum("identity" in row.by for row in rows)),
        **{f"{kind}_alone": Number(sum(alone(row) == kind for row in rows)) for kind in ALONE},
    }
    order = {name: place for place, name in enumerate(known)}
    faults = {
        row.fault: {
            "fault": row.fault,  # once more: `python -m sims.numbers` looks for words in what stands behind keys
            "function": f"{known[row.fault].module}.{known[row.fault].function}",
            "old": known[row.fault].old,
            "new": known[row.fault].new,
            "run": row.run,
            "by": list(row.by),
            "missed_by": list(row.missed_by),
            "line": row.line,
        }
        for row in sorted(rows, key=lambda row: order[row.fault])
    }
    return Stored(command, 0, values, more={"faults": faults})


def lines_of(kept: Stored) -> list[str]:
    """The table of the page, each line with the mark that holds it to the result file; then the runs."""
    rows: Any = kept.more["faults"]
    table = [
        _counted(kept),
        "",
        "| fault | in | caught in | missed by | first line against it | seen by nothing but |",
        "|---|---|---|---|---|---|",
    ]
    for name, about in rows.items():
        kind = alone(Row(name, about["run"], about["line"], tuple(about["by"])))
        where = ".<wbr>".join(about["function"].split(".")[-2:]).replace("_", "_<wbr>")  # so that it fits a phone
        shown = about["line"].replace("|", "\\|")  # as `python -m sims.numbers` looks for it
        missed = ", ".join(about["missed_by"])
        caught = about["run"] if about["run"] != missed else ""
        cells = [name, where, caught or "–", missed or "–", f"{shown} <!-- words: faults -->", kind or "–"]
        table.append(f"| {' | '.join(cells)} |")
    used = {run for about in rows.values() for run in (*about["run"].split(", "), *about["missed_by"])}
    runs = ["| run | settings |", "|---|---|"]
    runs += [f"| {run} | `{_typed(settings)}` |" for run, settings in RUNS.items() if run in used]
    return [*table, "", *runs]


def _counted(kept: Stored) -> str:
    """The counts, in a sentence."""

    def number(name: str) -> str:
        return f"{kept.values[name].value}<!-- number: faults.{name} -->"

    return (
        f"{number('caught')} of {number('planted')} faults were caught; {number('missed')} are not seen, and the table "
        f"says why. Of those caught, {number('missed_by_a_run')} were missed by another run before. Seen "
        f"{number('identity_alone')} by identities alone, {number('independence_alone')} by the independence of chains "
        f"alone, {number('books_alone')} by what is counted twice alone, {number('law_alone')} by a law alone; in "
        f"{number('failure_alone')} the run failed, and said why. "
        f"An identity was off in {number('with_identity')}."
    )


def _typed(settings: Mapping[str, Any]) -> str:
    return f"RunConfig({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def put(page: str, name: str, lines: Sequence[str]) -> str:
    """A page with other lines between the marks of a name.

    Raises:
        ValueError: it has no such marks.

    >>> put("a\\n<!-- begin: x -->\\nold\\n<!-- end: x -->\\n", "x", ["new"])
    'a\\n<!-- begin: x -->\\nnew\\n<!-- end: x -->\\n'
    """
    begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no lines {begin.strip()} and {end} on the page")
    return f"{before}{begin}" + "\n".join(lines) + f"\n{end}{after}"


def write(kept: Stored, file: Path, name: str, lines: Sequence[str]) -> None:
    """Result file and page."""
    kept.write(file)
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), name, lines), encoding="utf-8")


def store(rows: Sequence[Row], command: str) -> None:
    """The result file, and the table from it."""
    kept = stored_of(rows, command)
    write(kept, FILE, "faults", lines_of(kept))


def draw() -> None:
    """The table anew, from the result file alone."""
    from sims.numbers.stored import read  # noqa: PLC0415 - as above

    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "faults", lines_of(read(FILE.stem))), encoding="utf-8")
