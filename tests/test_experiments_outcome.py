"""What an experiment leaves behind, and what it may be asked for."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from langevin_ib.output.outcome import Outcome, Table, save_outcome

from langevin_ib.errors import ConfigError
from langevin_ib.studies.request import Request


def made(**changes):
    picture, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    parts = {
        "name": "fig", "title": "a < b", "config": {"seeds": 2}, "numbers": {"rows": {"x": np.float64(np.nan)}},
        "tables": [Table("T", ("run", "error"), [("own & other", "1")])], "sentences": ["said"],
        "pictures": {"figure": picture}, "recovered": {"w_hat": np.arange(3.0), "truth": np.ones((2, 2))},
        "notes": ["noted"],
    }  # fmt: skip
    return Outcome(**{**parts, **changes})


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_an_outcome_is_a_folder_of_strict_json_pictures_a_page_and_arrays(tmp_path):
    plt.close("all")
    outcome = made()
    folder = save_outcome(outcome, tmp_path / "new" / "place")
    assert plt.get_fignums() == []
    assert folder.name == outcome.folder == made().folder != made(config={"seeds": 3}).folder
    assert {path.name for path in folder.iterdir()} == {"summary.json", "figure.png", "report.html", "recovered.npz"}
    summary = strict((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["rows"] == {"x": None}
    assert (summary["schema_version"], summary["experiment"], summary["config"]) == (1, "fig", {"seeds": 2})
    assert (summary["sentences"], summary["notes"]) == (["said"], ["noted"])
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("a &lt; b", "own &amp; other", "said", "noted", "data:image/png;base64,"))
    assert 'src="figure.png' not in page
    with np.load(folder / "recovered.npz", allow_pickle=False) as found:
        assert set(found.files) == {"w_hat", "truth"}
        np.testing.assert_array_equal(found["w_hat"], np.arange(3.0))
    bare = save_outcome(made(recovered={}, config={}), tmp_path)
    assert not (bare / "recovered.npz").exists()
    plt.close("all")


def test_a_failed_save_leaves_what_stood_there(tmp_path):
    folder = save_outcome(made(), tmp_path)
    before = (folder / "summary.json").read_bytes()

    class Full:
        def savefig(self, *_, **__):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_outcome(made(pictures={"figure": Full()}, sentences=["other"]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "summary.json").read_bytes() == before
    assert save_outcome(made(sentences=["other"]), tmp_path) == folder
    assert strict((folder / "summary.json").read_text(encoding="utf-8"))["sentences"] == ["other"]
    plt.close("all")


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
