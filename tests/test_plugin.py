"""A package that is not of langevin_ib brings one of each thing, one file each, and runs them by name.

`tests/plugin` is what pip would install: a package beside its metadata, whose entry points name a model, a confinement,
a noise, a kernel, a law and a process. It is on the path of these commands and of nothing else.
"""

import json
import os
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from matplotlib.colors import to_hex

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.output.histogram import figure
from langevin_ib.output.law_table import law_rows
from langevin_ib.runs.schema import summary_schema

PLUGIN = Path(__file__).parent / "plugin"
NAMES = {
    "model": "boost",
    "confine": "quartic",
    "noise": "signs",
    "integrator": "heun",
    "laws": "half",
    "sampler": "metropolis",
}
GIBBS = ["--model", "boost", "--confine", "quartic", "--quartic", "20", "--laws", "exact", "slice", "half"]
RUNS = {
    "model, confinement, kernel, law": [*GIBBS, "--integrator", "heun", "--chains", "512", "--steps", "40000"],
    "process": [*GIBBS, "--sampler", "metropolis", "--proposal", "0.7", "--chains", "512", "--steps", "40000"],
    "noise": ["--model", "boost", "--sampler", "sgd", "--noise", "signs", "--move", "1.5", "--chains", "1024"],
}


def command(*arguments: str) -> subprocess.CompletedProcess:
    """The command line in a process of its own, where the package is installed."""
    return subprocess.run(
        [sys.executable, "-m", "langevin_ib.sim", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(PLUGIN), "PYTHONIOENCODING": "utf-8", "COLUMNS": "118"},
        timeout=500,
        check=False,
    )


def test_help_lists_each_with_the_first_line_of_its_file():
    text = command("--help-all").stdout
    for setting, name in NAMES.items():
        after = text.split(f"\n  --{setting}\n", 1)[1]
        line = next(line for line in after.splitlines() if line.split()[:1] == [name])
        (file,) = (PLUGIN / "orbit_extras").glob(f"{name}.py")
        assert line.split(maxsplit=1)[1] in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("setting", "option", "text"),
    [
        ("confine", "--quartic", "q of q|χ|⁴/4 [1000]"),
        ("sampler", "--proposal", "standard deviation of a proposal, in units of √T [0.5]"),
    ],
)
def test_help_shows_the_settings_of_what_is_chosen(setting, option, text):
    shown = command(f"--{setting}", NAMES[setting], "--help-all").stdout
    assert option in shown
    assert text in " ".join(shown.split())
    assert option not in command("--help-all").stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--confine", "quartic", "--quartic", "-1"], "--quartic must be a positive number, got -1"),
        (["--quartic", "2"], "unrecognized arguments: --quartic 2"),
        (["--sampler", "metropolis", "--proposal", "x"], "--proposal must be a positive number, got x"),
        (["--sampler", "sgd", "--confine", "quartic"], "--confine must be none or weight-decay with sampler sgd"),
        (["--laws", "half", "quarter"], "--laws must be laws among"),
        (["--model", "boost", "--set", "samples=x"], "--set must be such that samples is a whole number, got 'x'"),
    ],
)
def test_faults_of_its_settings_are_one_line(arguments, line):
    done = command(*arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_of_each_stands_in_table_and_picture(monkeypatch):
    """A small run in this process, by `module:attribute`: its law has a row, a line, and a colour of its own."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    of = {name: f"orbit_extras.{name}:{name.upper()}" for name in NAMES.values()}
    config = RunConfig(
        model="orbit_extras.boost:boost",
        confine=of["quartic"],
        quartic=20.0,
        integrator=of["heun"],
        laws=("exact", "slice", of["half"]),
        reference="none",
        step_check=False,
        chains=64,
        steps=4000,
    )
    result = langevin_ib.run(config)
    assert set(result.invariants["s"].laws) == {"exact", "slice", "half"}
    assert result.invariants["s"].laws["half"].c == pytest.approx(0.5, abs=1e-3)
    assert [row[0] for row in law_rows(result)[0]] == ["exact", "slice", "half"]
    lines = {
        str(line.get_label()).partition(" [")[0]: (to_hex(line.get_color()), line.get_linestyle())
        for line in figure(result).axes[0].get_lines()
    }
    assert {"exact", "slice", "half"} <= set(lines)
    assert len({lines[law] for law in ("exact", "slice", "half")}) == len({lines[law][0] for law in lines}) == 3
    assert RunConfig.from_dict(tomllib.loads(config.to_toml())) == config
    assert len(pickle.dumps(result)) > 1000


@pytest.mark.full
@pytest.mark.parametrize("what", RUNS)
def test_it_runs_by_name_and_obeys_its_law(what, tmp_path):
    """At a fixed key; a claim of agreement errs with probability 5%. A law far away is refused by the same code."""
    done = command(*RUNS[what], "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("boost-"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    jsonschema.validate(summary, summary_schema())
    laws = summary["invariants"]["s"]["laws"]
    if what == "noise":
        assert laws["sgd"]["verdict"] == "agrees"
        assert laws["pushforward"]["verdict"] == "differs"
        assert "labels moved by a coin" in done.stdout
    else:
        assert (laws["exact"]["verdict"], laws["slice"]["verdict"]) == ("agrees", "differs")
        assert laws["half"]["c"] == pytest.approx(0.5, abs=1e-3)
        assert "q|χ|⁴/4, q = 20" in done.stdout
        assert "│ half " in done.stdout
    page = (folder / "report.html").read_text(encoding="utf-8")
    for law in laws:
        assert law in page
    assert (folder / "histogram.png").stat().st_size > 10_000
    again = command("--config", str(folder / "config.toml"), "--out", str(tmp_path / "again"), "--json", "--steps", "x")
    assert "--steps must be a whole number" in again.stderr  # the file of its settings is read, its names are found
