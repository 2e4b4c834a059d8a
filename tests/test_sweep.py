"""Sweeps and schedulers: what a list means, what is refused before any work, what is skipped, the table, the figure."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from test_session import TINY

from langevin_ib import RunConfig, run, sim, sweep
from langevin_ib.cli import scheduler
from langevin_ib.cli import sweep as command
from langevin_ib.config.grid import grid
from langevin_ib.errors import UsageError
from langevin_ib.output.coefficients import BETWEEN, Outcome
from langevin_ib.output.folders import write_partial
from langevin_ib.output.plots import closed
from langevin_ib.output.sweep import figure, finished, rows_of, to_csv

GIVEN = {name: list(value) if isinstance(value, tuple) else value for name, value in TINY.items()}

AXES = {
    "a list of numbers": ({"beta": [2, 5]}, {"beta": [2, 5]}),
    "auto among numbers": ({"thin": ["auto", 3]}, {"thin": ["auto", 3]}),
    "models": ({"model": ["uv", "hadamard"]}, {"model": ["uv", "hadamard"]}),
    "laws are a list by themselves": ({"beta": [2, 5], "laws": ["exact", "hard"]}, {"beta": [2, 5]}),
    "lists of laws": ({"laws": [["exact"], ["exact", "hard"]]}, {"laws": [["exact"], ["exact", "hard"]]}),
    "a window": ({"beta": [2, 5], "window": [0.5, 2]}, {"beta": [2, 5]}),
    "windows": ({"window": [[0.5, 2], "auto"]}, {"window": [[0.5, 2], "auto"]}),
    "metrics": ({"metric": [[1.0, 2.0], [1.0, 1.0]]}, {"metric": [[1.0, 2.0], [1.0, 1.0]]}),
    "options of a model": (
        {"model": "relu", "options": {"width": [2, 4], "samples": 8}},
        {"options.width": [2, 4]},
    ),
}


@pytest.mark.parametrize(("values", "axes"), AXES.values(), ids=AXES)
def test_a_list_is_swept_by_the_kind_of_its_setting(values, axes):
    assert grid(values).axes == axes


def test_members_are_all_combinations_the_first_setting_slowest():
    members = grid({"beta": [2, 5], "kappa": [10, 20]}).members
    assert [(each.config.beta, each.config.kappa) for each in members] == [(2, 10), (2, 20), (5, 10), (5, 20)]
    (member, _) = grid({"model": "relu", "options": {"width": [2, 4], "samples": 8}}).members
    assert member.config.options == {"samples": 8, "width": 2}


def test_a_grid_is_named_by_what_it_runs():
    assert grid({"beta": [2, 5]}).name == grid({"model": "uv", "beta": [2.0, 5.0]}).name
    assert grid({"beta": [2, 5]}).name != grid({"beta": [2, 6]}).name


BAD = {
    "nothing swept": ("beta = 2", "a sweep needs a setting with a list of values"),
    "a bad value": ("beta = [2, -5]", "--beta must be a positive number, got -5 (member 2 of 2: beta = -5)"),
    "an empty list": ("beta = []", "--beta must be a value, or a list of at least one, got an empty list"),
    "a list within": ("beta = [2, [3, 4]]", "--beta must be a positive number, got [3, 4] (member 2 of 2: beta = 3 4)"),
    "a window of words": ('window = [["a", "b"], [1, 2]]', "--window must be two finite numbers"),
    "the same twice": ("beta = [2, 2.0]", "members 1 and 2 are the same run: beta = 2.0"),
    "an unknown setting": ("betas = [2, 5]", "must be made of known settings"),
    "an unknown choice": ('confine = ["stiff", "box"]', "--confine must be one of stiff"),
    "what another lacks": (
        'kappa = 5.0\nconfine = ["stiff", "none"]',
        "--kappa must be left out unless confine is stiff, got 5 (member 2 of 2: confine = none)",
    ),
    "too many": (f"beta = {list(range(1, 202))}\nseed = {list(range(100))}", "a sweep has 10000 members at most"),
    "no TOML": ("beta = [", "must be valid TOML"),
}


@pytest.mark.parametrize(("text", "line"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_one_line_before_any_work(text, line, tmp_path, capsys):
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    assert sweep.main([str(file), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert (said.out, said.err.count("\n"), (tmp_path / "out").exists()) == ("", 1, False)


@pytest.mark.parametrize(
    "where", ["", "loca", "local:0", "local:x", "local:-1", "host", "host:port", "tcp://:1", "a b:1"]
)
def test_a_scheduler_is_a_word_or_an_address(where, tmp_path, capsys):
    for main, arguments in ((sim.main, []), (sweep.main, ["none.toml"])):
        assert main([*arguments, "--scheduler", where, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert "error: --scheduler must be local, local:N or the address of a Dask scheduler, HOST:PORT, got" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "where", ["local", "local:3", "10.0.0.1:8786", "tls://node-7.cluster:8786", "tcp://[::1]:8786"]
)
def test_what_can_be_one_is_taken(where):
    assert scheduler.parse_scheduler(where) == where


def test_without_dask_that_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr(scheduler, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install distributed flatbuffers, which the extra dask has too"):
        scheduler.parse_scheduler("local")


def write(path, **settings):
    path.write_text(tomli_w.dumps(GIVEN | settings))
    return str(path)


def table(out):
    (file,) = Path(out).glob("sweep-*/sweep.csv")
    with file.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two members, the second of which fails, and what it has left."""
    place = tmp_path_factory.mktemp("swept")
    file = write(place / "sweep.toml", beta=[5], window=[[0.3, 2.0], [50.0, 60.0]])
    return file, place / "out", sweep.main([file, "--out", str(place / "out"), "--quiet"])


def test_a_member_that_fails_does_not_stop_the_rest(swept):
    _, out, code = swept
    rows = table(out)
    assert code == 3
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert [row["window"] for row in rows] == ["0.3 2.0", "50.0 60.0"]
    assert all("--window must be within the support" in row["reason"] for row in rows[1::2])
    assert all(row["c"] == row["folder"] == "" for row in rows[1::2])


def test_a_row_has_what_the_summary_of_the_run_has(swept):
    _, out, _ = swept
    for row in table(out)[::2]:
        summary = json.loads((out / row["folder"] / "summary.json").read_bytes())
        z = summary["invariants"]["z"]
        assert (row["scalar"], float(row["beta"])) == ("z", summary["config"]["beta"])
        found = [float(row[name]) for name in ("c", "c_se", "c_low", "c_high")]
        assert found == [z["correction"]["c"], z["correction"]["se"], *z["correction"]["ci95"]]
        assert float(row["slice_tv"]) == z["laws"]["slice"]["tv"]
        assert row["slice_verdict"] == z["laws"]["slice"]["verdict"]
        assert row["doubts"].split(BETWEEN) == summary["doubts"]


def test_what_is_finished_is_skipped_and_what_failed_is_tried_again(swept, monkeypatch, capsys):
    file, out, _ = swept
    before = table(out)
    tried = []

    def work(task):
        tried.append(task.number)
        return Outcome("failed", reason="again")

    monkeypatch.setattr(command, "work", work)
    assert sweep.main([file, "--out", str(out)]) == 3
    assert tried == [2]
    after = table(out)
    assert after[::2] == before[::2]
    assert [row["reason"] for row in after[1::2]] == ["again"]
    said = capsys.readouterr()
    assert "1 of 2 members are done" in said.out
    assert "side by side" not in said.out  # there is nothing yet that the run that is done could stand beside
    assert "error: member 2 of 2 (window = 50.0 60.0, beta = 5) failed: again" in said.err


def test_a_run_that_python_has_saved_is_a_finished_one_if_it_is_whole(tmp_path):
    """Its folder goes by what rules make of the settings, and has neither a note nor a state."""
    config = RunConfig(**GIVEN)
    folder = run(config).save(tmp_path)
    task = command.Task(1, config.given, str(tmp_path), fresh=False, quiet=True, compilation_cache=True)
    assert finished(tmp_path, config) is None
    found = command._saved_elsewhere(config, task)
    assert found is not None
    assert (found.status, found.folder) == ("done", folder.name)
    assert finished(tmp_path, config) == found  # by the note that is kept now
    assert command._saved_elsewhere(config.replace(beta=3.0), task) is None
    (folder / "summary.json").write_text("{")
    assert command._saved_elsewhere(config, task) is None


def test_a_stopped_sweep_leaves_the_table_of_what_is_finished(swept, monkeypatch, capsys):
    file, out, _ = swept

    def stop(task):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "work", stop)
    assert sweep.main([file, "--out", str(out)]) == 130
    assert [row["status"] for row in table(out)] == ["done", "unfinished"]
    assert "interrupted; the same command goes on with what is left" in capsys.readouterr().err


def test_neither_a_partial_run_nor_a_lost_one_is_a_finished_one(tmp_path):
    config = grid({"beta": [5, 10]}).members[0].config
    folder = tmp_path / config.run_name
    assert finished(tmp_path, config) is None
    write_partial(folder, tmp_path / "states", {"partial": True, "invariants": {}, "diagnostics": {}})
    assert finished(tmp_path, config) is None
    (folder / "summary.json").write_text("{")
    assert finished(tmp_path, config) is None


def outcome(c, laws=(("exact", 0.99), ("slice", 1.0))):
    row = {
        "scalar": "z",
        "c": c,
        "c_se": 0.1,
        "c_low": c - 0.2,
        "c_high": c + 0.2,
        "r_hat": 1.0,
        "ess": 1e4,
        "doubts": "",
    }
    return Outcome("done", f"uv-{c}", rows=(row | {f"{law}_c": value for law, value in laws},))


def test_a_sweep_says_how_its_runs_are_set_beside_each_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "work", lambda task: outcome(float(task.number)))
    file = write(tmp_path / "sweep.toml", beta=[5, 6])
    assert sweep.main([file, "--out", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").glob("sweep-*")
    assert f"side by side: python -m langevin_ib.compare {folder}\n" in capsys.readouterr().out


def test_the_figure_has_a_series_for_each_other_setting_and_lines_where_laws_have_one_c():
    made = grid({"confine": ["stiff", "weight-decay"], "beta": [1, 5, 50]})
    laws = [(("exact", 0.99), ("slice", 1.0), ("pushforward", -1.0), ("fitted", 0.1 * number)) for number in range(6)]
    outcomes = {number: outcome(0.1 * number, laws[number - 1]) for number in range(1, 6)}  # one is unfinished
    (axes,) = closed(figure(made, outcomes)).axes
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_ylabel()) == ("beta", "log", "c of the draws")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["confine = stiff", "confine = weight-decay"]
    assert [text.get_text() for text in axes.texts] == ["exact, slice", "pushforward"]
    assert [list(bars.lines[0].get_xdata()) for bars in axes.containers] == [[1, 5, 50], [1, 5]]


def test_words_stand_beside_each_other():
    made = grid({"confine": ["stiff", "weight-decay"]})
    (axes,) = closed(figure(made, {1: outcome(1.0), 2: outcome(0.0)})).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["stiff", "weight-decay"]
    (axes,) = closed(figure(made, {})).axes
    assert axes.get_title() == "c has been measured of no member"


def test_a_table_keeps_a_setting_that_is_called_as_a_column():
    made = grid({"invariant": [["z"]], "beta": [2, 5]})
    rows = rows_of(made, {1: outcome(1.0)})
    assert [row["status"] for row in rows] == ["done", "unfinished"]
    assert to_csv(rows).splitlines()[2].startswith("2,z,5,")


def numbers(folder):
    """Of a run's summary, what does not depend on the machine."""
    summary = json.loads((folder / "summary.json").read_bytes())
    return {name: summary[name] for name in ("config", "diagnostics", "doubts", "invariants", "verdicts")}


def start(module, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.full
def test_a_run_on_other_processes_is_the_same_to_the_last_bit_and_says_nothing_more(tmp_path):
    pytest.importorskip("distributed")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items() if not isinstance(value, list)]
    options = [option.replace("=False", "=no") for option in options]
    here, there = start("langevin_ib.sim", *options, "--chains=600", "--quiet", "--out", tmp_path / "here"), None
    assert here.communicate()[1] == ""
    there = start(
        "langevin_ib.sim", *options, "--chains=600", "--quiet", "--out", tmp_path / "there", "--scheduler", "local:2"
    )
    assert there.communicate()[1] == ""
    (one,), (other,) = (tmp_path / "here").glob("uv-*"), (tmp_path / "there").glob("uv-*")
    assert numbers(one) == numbers(other)


def owner_of_states(states, there):
    """The process of a member whose state has been saved, once there is one."""
    while there.poll() is None:
        for state in states.glob("*/*.npz"):
            owner = states / f"{state.parent.name}.owner"
            if owner.exists():
                return json.loads(owner.read_bytes())["process"]
        time.sleep(0.05)
    raise AssertionError(f"it ended before: {there.communicate()}")


@pytest.mark.full
def test_a_sweep_whose_worker_is_killed_goes_on_from_its_state_and_is_the_same_to_the_last_bit(tmp_path):
    pytest.importorskip("distributed")
    long = {"chains": 512, "steps": 2_000_000, "burn_in": 1000, "thin": 100, "beta": [5, 10], "step_check": True}
    file = write(tmp_path / "sweep.toml", **long)
    here = start("langevin_ib.sweep", file, "--out", tmp_path / "here", "--quiet")
    assert (here.communicate(), here.returncode) == (("", ""), 0)
    there = start("langevin_ib.sweep", file, "--out", tmp_path / "there", "--scheduler", "local:2")
    os.kill(owner_of_states(tmp_path / "there" / ".checkpoints", there), signal.SIGKILL)
    assert (there.communicate()[1], there.returncode) == ("", 0)
    ours, theirs = table(tmp_path / "here"), table(tmp_path / "there")
    assert ours == theirs
    resumed = 0
    for row in ours:
        assert numbers(tmp_path / "here" / row["folder"]) == numbers(tmp_path / "there" / row["folder"])
        resumed += bool(
            json.loads((tmp_path / "there" / row["folder"] / "summary.json").read_bytes())["run"]["resumed"]
        )
    assert resumed == 1
