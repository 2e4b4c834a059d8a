"""The page of a run's self-checks: its tables are those of the result files, and its example of a line is one."""

import dataclasses
import json
import re

import alarms
import pytest
from faults import table
from faults.catalogue import FAULTS
from faults.plant import ROOT

from langevin_ib.statistics.identities import ERRORS, LEVEL
from sims.numbers import stored

PAGE = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "lines_of"), [("faults", table.lines_of), ("alarms", alarms.lines_of)])
def test_the_page_has_the_table_of_the_result_file(name, lines_of):
    kept = stored.read(name)
    assert table.put(PAGE, name, lines_of(kept)) == PAGE
    other = dataclasses.replace(kept, values=kept.values | {f"{v}": stored.Number(-1) for v in kept.values})
    assert table.put(PAGE, name, lines_of(other)) != PAGE


def test_the_file_of_faults_is_of_faults_that_are_planted():
    known = {fault.name: fault for fault in FAULTS}
    faults = stored.read("faults").more["faults"]
    assert set(faults) == set(known)
    for name, about in faults.items():
        assert about["new"] == known[name].new
        assert {*about["run"].split(", "), *about["missed_by"]} <= set(known[name].runs)
        assert about["line"].startswith(table.MISSED) == (not about["by"])
        if not about["by"]:  # then all of its runs were made, and it is said why none can see it
            assert set(about["missed_by"]) == set(known[name].runs)
            assert about["line"] == f"{table.MISSED}: {known[name].unseen}"


def test_counts_of_a_table_are_by_kind():
    rows = [
        table.Row("noise-halved", "uv", "doubt [identity]: …", ("identity", "verdict")),
        table.Row("temperature-1%", "decay", "doubt [identity]: …", ("identity",), ("uv-mala",)),
        table.Row("keys-reused-between-blocks", "uv", "doubt [independence]: …", ("independence",)),
        table.Row("bins-shifted", "uv", "doubt [trace]: …", ("trace",)),
        table.Row("kappa-10%", "uv", table.MISSED, missed_by=("uv",)),
        table.Row("target-10%", "uv", f"{table.MISSED}: the law is made of the same loss", missed_by=("uv",)),
    ]
    kept = table.stored_of(rows, "")
    values = {name: number.value for name, number in kept.values.items()}
    assert (values["planted"], values["caught"], values["missed"], values["with_identity"]) == (6, 4, 2, 2)
    assert values["missed_by_a_run"] == 1
    cells = {line.split(" | ")[0]: line.split(" | ")[2:4] for line in table.lines_of(kept) if line.startswith("| ")}
    assert cells["| temperature-1%"] == ["decay", "uv-mala"]
    assert cells["| target-10%"] == ["–", "uv"]
    assert [values[f"{kind}_alone"] for kind in table.ALONE] == [1, 1, 1, 0, 0]


def test_the_runs_before_the_one_that_catches_a_fault_have_missed_it():
    fault = next(fault for fault in FAULTS if fault.name == "temperature-1%")
    nothing, seen = (
        {"run": run, "caught": line, "by": ["share"]} for run, line in zip(fault.runs, (None, "doubt …"), strict=True)
    )
    assert table.outcome_of(fault, [nothing, seen])[1:] == ("main", "doubt …", ("share",), ("uv-mala",))
    crashed = table.outcome_of(fault, [nothing, {"run": "main", "caught": None, table.CRASHED: "killed"}])
    assert (crashed.missed, crashed.missed_by) == (True, ("uv-mala",))
    neither = table.outcome_of(fault, [nothing, seen | {"caught": None}])
    assert (neither.missed, neither.missed_by) == (True, fault.runs)


def test_shares_of_alarms_have_binomial_errors():
    row = {"case": "uv, stiff", "doubts": [["c", "c is off"]], "verdicts": ["agrees"], "p": [0.5, 0.01, 0.2, 0.9]}
    kept = alarms.stored_of([row | {"index": 0}, {"case": "uv, hard", "index": 1, "failed": "LawError: none"}], "")
    part = kept.values["all_rejects_share"]
    assert (part.value, part.error) == (0.25, pytest.approx(0.2165, abs=1e-4))
    assert (kept.values["all_failed"].value, kept.values["all_runs"].value) == (1, 2)
    text = "\n".join(alarms.lines_of(kept))
    assert "25.0 ± 21.7% <!-- number: alarms.all_rejects_share --> of 4" in text
    assert "- run 0, uv, stiff: c is off <!-- words: alarms -->" in text
    json.dumps(kept.more)


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="no lines <!-- begin: faults -->"):
        table.put("nothing\n", "faults", [])


def test_the_level_that_the_page_names_is_that_of_the_code():
    assert ERRORS == 5.0
    assert f"{LEVEL:.1e}" == "5.7e-07"
    assert "5.7e-7, divided by the number of identities tested" in PAGE
    assert re.search(r"virial \+0\.4 se, Ward −1\.1 se", PAGE)
