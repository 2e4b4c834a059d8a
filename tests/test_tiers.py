"""The two tiers of tests: what is quick runs always, what is marked `full` with `--full` or when asked for by name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

def test_quick():
    pass

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.full)])
def test_partly(n):
    pass

@pytest.mark.full(but=["b"])
@pytest.mark.parametrize("letter", ["a", "b"])
def test_mostly(letter):
    pass

@pytest.mark.full(only=["b"])
@pytest.mark.parametrize("letter", ["a", "b"])
def test_rarely(letter):
    pass

@pytest.mark.full
def test_long():
    pass

@pytest.mark.full
def test_long_too():
    pass
"""
QUICK = {"test_quick", "test_partly[1]", "test_mostly[b]", "test_rarely[a]"}
LONG = {"test_partly[2]", "test_mostly[a]", "test_rarely[b]", "test_long", "test_long_too"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small project with the options of this one's root."""
    out = tmp_path_factory.mktemp("tiers")
    shutil.copy(ROOT / "conftest.py", out)
    (out / "pytest.ini").write_text("[pytest]\nmarkers = full: long\naddopts = --strict-markers\n", encoding="utf-8")
    (out / "test_small.py").write_text(TESTS, encoding="utf-8")
    return out


def run(folder, *arguments):
    """The tests that ran, and what was printed."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "xdist.plugin", *arguments]
    # Only what is named: each plugin that is installed would take its time to start.
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"test_small\.py::(\S+)", done.stdout)), done.stdout


@pytest.mark.parametrize("processes", [["-n", "0"], ["-n", "2"]], ids=["one process", "two processes"])
def test_without_the_option_long_tests_are_left_out_and_counted(folder, processes):
    names, text = run(folder, *processes)
    assert names == QUICK
    assert "5 long tests were left out: --full runs them, and the notebooks" in text
    assert "skipped" not in text


@pytest.mark.parametrize("processes", [["-n", "0"], ["-n", "2"]], ids=["one process", "two processes"])
def test_with_it_all_run(folder, processes):
    names, text = run(folder, "--full", *processes)
    assert names == QUICK | LONG
    assert "left out" not in text


def test_a_long_test_that_is_named_runs_and_no_other(folder):
    """test_long is the beginning of the other's name, which is not asked for; a name covers its parameters."""
    assert run(folder, "test_small.py::test_long")[0] == {"test_long"}
    assert run(folder, f"{folder}/test_small.py::test_partly")[0] == {"test_partly[1]", "test_partly[2]"}
    assert run(folder, "test_small.py::test_partly[2]")[0] == {"test_partly[2]"}
    names, text = run(folder, "test_small.py", "test_small.py::test_long")
    assert names == QUICK | {"test_long"}
    assert "4 long tests were left out" in text
