"""What a study leaves behind, what a figure's command does with one, and what it may be asked for."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from langevin_ib.cli import figures
from langevin_ib.errors import ConfigError
from langevin_ib.output.blocks import Line, Lines, Picture, Report, simple_table
from langevin_ib.output.store import save_study, study_folder
from langevin_ib.session import check_open
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult


def result(**changes):
    parts = {
        "name": "fig", "config": {"seeds": 2}, "seeds": 2, "rows": {"x": {"error": np.array([np.nan, 1.0])}},
        "saved": {"w_hat": np.arange(3.0), "truth": np.ones((2, 2))}, "notes": ("noted",),
    }  # fmt: skip
    return StudyResult(**{**parts, **changes})


def plotted():
    picture, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    return picture


def report(of, sentence="said", draw=plotted):
    return Report(
        "a < b",
        (
            Picture("figure", "a line", draw),
            simple_table("T", ("run", "error"), [("own & other", "1")], "in units of one"),
            Lines((Line(sentence, "bold"),)),
            Lines(tuple(map(Line, of.notes))),
        ),
        config=json.dumps(of.config),
    )


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_study_is_a_folder_of_strict_json_pictures_a_page_and_arrays(tmp_path):
    plt.close("all")
    drawn = []

    def draw():
        drawn.append(1)
        return plotted()

    open_before = plt.get_fignums()
    folder = save_study(result(), report(result(), draw=draw), tmp_path / "new" / "place")
    assert plt.get_fignums() == open_before
    assert len(drawn) == 1
    assert folder == study_folder(result(), tmp_path / "new" / "place")
    assert folder.name != study_folder(result(config={"seeds": 3}), tmp_path).name
    assert {path.name for path in folder.iterdir()} == {"summary.json", "figure.png", "report.html", "recovered.npz"}
    summary = strict((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["by_seed"] == {"x": {"error": [None, 1.0]}}
    assert (summary["schema_version"], summary["study"], summary["config"]) == (3, "fig", {"seeds": 2})
    assert (summary["title"], summary["sentences"], summary["notes"]) == ("a < b", ["said"], ["noted"])
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("a &lt; b", "own &amp; other", "said", "noted", "data:image/png;base64,"))
    assert 'src="figure.png' not in page
    with np.load(folder / "recovered.npz", allow_pickle=False) as found:
        assert set(found.files) == {"w_hat", "truth"}
        np.testing.assert_array_equal(found["w_hat"], np.arange(3.0))


def test_what_a_study_lacks_is_no_file_and_its_states_go_once_it_is_saved(tmp_path):
    states = tmp_path / "states"
    states.mkdir()
    bare = result(saved={}, config={"lr": 0.5}, checkpoints=states)
    folder = save_study(bare, report(bare), tmp_path, settings=True)
    assert not (folder / "recovered.npz").exists()
    assert (folder / "config.toml").read_text(encoding="utf-8") == "lr = 0.5\n"
    assert not states.exists()


def test_a_failed_save_leaves_what_stood_there(tmp_path):
    folder = save_study(result(), report(result()), tmp_path)
    before = (folder / "summary.json").read_bytes()

    def full():
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_study(result(), report(result(), "other", full), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "summary.json").read_bytes() == before
    assert save_study(result(), report(result(), "other"), tmp_path) == folder
    assert strict((folder / "summary.json").read_text(encoding="utf-8"))["sentences"] == ["other"]
    plt.close("all")


def command(*argv, study=lambda request, session: result(config=request.to_dict()), **options):
    return figures.main("sims.tiny", "A study.", study, report, argv, **{"parts": (), **options})


def test_a_figures_command_says_what_came_of_it_and_saves_it(tmp_path, capsys):
    assert command("--seeds", "3", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    (folder,) = tmp_path.iterdir()
    for text in ("a < b", "own & other", "in units of one", "said", "noted", f"saved in {folder}"):
        assert text in captured.out
    assert command("--seeds", "3", "--out", str(tmp_path), "--json") == 0
    assert strict(capsys.readouterr().out) == strict((folder / "summary.json").read_text(encoding="utf-8"))
    assert command("--seeds", "3", "--out", str(tmp_path), "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_a_figures_command_has_an_open_session_and_what_is_printed_meanwhile_goes_to_standard_error(tmp_path, capsys):
    def study(request, session):
        check_open()
        assert session.report("stage") is not None
        print("from a user's file")
        return result()

    assert command("--out", str(tmp_path), study=study) == 0
    captured = capsys.readouterr()
    assert "from a user's file" not in captured.out
    assert "from a user's file" in captured.err


def test_a_figures_faults_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    assert command("--out", str(tmp_path / "file" / "runs")) == 2
    assert "--out must be a folder that can be written" in capsys.readouterr().err
    assert command("--seeds", "0", "--out", str(tmp_path / "runs")) == 2
    assert "--seeds must be a whole number from 1 to 4096, got 0" in capsys.readouterr().err

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("langevin_ib.output.store.page", full)
    assert command("--out", str(tmp_path / "runs")) == 3
    assert capsys.readouterr().err == (
        "python -m sims.tiny: error: cannot write the run folder: No space left on device; "
        "no checkpoint yet, nothing to go on from\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_request_is_checked_and_names_the_content_but_no_folder_of_the_user(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"one")
    first = Request(data=str(path)).to_dict()["data"]
    path.write_bytes(b"two")
    second = Request(data=str(path)).to_dict()["data"]
    assert first != second
    assert first.split()[0] == second.split()[0] == "mine.npz"
    assert str(tmp_path) not in first
    assert Request(lr=1e-2, extra={"variant": "text"}).to_dict() == {
        "seeds": 32, "seed": 0, "attribution": True, "baselines": True, "variants": True, "lr": 1e-2,
        "variant": "text",
    }  # fmt: skip
    for lr in (0.0, -1.0, "x", True, float("nan")):
        with pytest.raises(ConfigError, match="lr must be"):
            Request(lr=lr)
    for wrong in ({"seeds": 0}, {"seeds": 2.0}, {"seeds": True}, {"seed": -1}, {"steps": 19}, {"steps": "x"}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must be a whole number from"):
            Request(**wrong)
