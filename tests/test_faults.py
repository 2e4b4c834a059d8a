"""The planted faults are those of today's code, and a run catches them: `python -m tests.faults` prints all of them."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.catalogue import FAULTS, RUNS
from faults.plant import Fault, lines_of

ROOT = Path(__file__).resolve().parent.parent
LEAST = 34


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_stands_once_in_its_function_and_compiles(fault):
    source = fault.path.read_text(encoding="utf-8")
    planted = fault.planted(source)
    assert planted != source
    compile(planted, str(fault.path), "exec", dont_inherit=True)
    first, last = lines_of(source, fault.function)
    kept = source.splitlines()
    changed = planted.splitlines()
    assert changed[:first] == kept[:first]
    assert changed[len(changed) - (len(kept) - last) :] == kept[last:]


def test_the_list_is_long_and_without_repetition():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= LEAST
    assert len({(fault.module, fault.function, fault.new) for fault in FAULTS}) == len(FAULTS)
    assert {run for fault in FAULTS for run in fault.runs} == set(RUNS)


def test_a_text_that_does_not_stand_once_is_refused():
    stale = Fault("stale", "langevin_ib.statistics.weights", "ratio", "no such text", "", ("uv",))
    source = stale.path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="stands 0 times in ratio"):
        stale.planted(source)
    with pytest.raises(ValueError, match="there are 0 of nothing"):
        lines_of(source, "nothing")


def said(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_lists_faults_and_refuses_a_name_that_is_none():
    code, out, _ = said("--list")
    assert code == 0
    assert len(out.splitlines()) == len(FAULTS)
    code, _, error = said("no-such-fault")
    assert code == 2
    assert "FAULT must be one of those that --list prints, got no-such-fault" in error


@pytest.mark.full
def test_the_control_is_healthy_and_a_fault_is_caught(tmp_path):
    """The main command, once without a fault, and with keys that blocks share."""
    code, out, error = said("keys-reused-between-blocks", "noise-doubled", "--json", str(tmp_path / "table.json"))
    assert code == 0, out + error
    assert "control  uv         healthy" in out
    rows = {row["fault"]: row for row in json.loads((tmp_path / "table.json").read_text())}
    assert "independence" in rows["keys-reused-between-blocks"]["by"]
    assert "identity" in rows["noise-doubled"]["by"]


def test_alarms_name_their_runs_and_their_shares():
    path = ROOT / "tests" / "alarms.py"
    spec = importlib.util.spec_from_file_location("alarms", path)
    alarms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alarms)
    cases = [alarms.case_of(index) for index in range(500)]
    assert len({settings["seed"] for _, settings in cases}) == 500
    assert {name for name, _ in cases} == {*alarms.CASES, *alarms.RARE}
    row = {"index": 0, "case": "uv", "seed": 1, "doubts": [], "verdicts": ["agrees"], "p": [0.5, 0.01]}
    assert "tests at 5% that reject: 50.0% ± 35.4% (1 of 2)" in alarms.report([row])
    assert "failed: 1 of 2" in alarms.report([row, {"index": 1, "case": "uv", "seed": 2, "failed": "LawError: none"}])
