"""Figures and a design of one's own from their command lines, at tiny sizes: codes, files, users' data, bad input."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.figures import (
    all as every,
)
from langevin_ib.figures import (
    fig1_orbits,
    fig2_relu,
    fig3_attention,
    fig4_completion,
    fig5_sparse_spectral,
    fig6_piecewise_constant,
)
from langevin_ib.studies import baselines, parts
from langevin_ib.studies.balance import MECHANISMS
from langevin_ib.studies.baselines import LassoFit, MatrixFit
from langevin_ib.studies.config import AttributionConfig
from sims import design_haar

FIGURES = {
    "fig1_orbits": fig1_orbits,
    "fig2_relu": fig2_relu,
    "fig3_attention": fig3_attention,
    "fig4_completion": fig4_completion,
    "fig5_sparse_spectral": fig5_sparse_spectral,
    "fig6_piecewise_constant": fig6_piecewise_constant,
    "design_haar": design_haar,
}
RECOVERY = ("fig4_completion", "fig5_sparse_spectral", "fig6_piecewise_constant")
KEYS = {
    "schema_version", "study", "title", "config", "rows", "stated", "effects", "balance", "by_seed", "sentences",
    "notes", "wall_s",
}  # fmt: skip
BALANCE = {"loss", "ratio off by", "smallest ratio", "largest ratio", "|χ/χ(0)|", "off by at the start"}


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def run(name, out, *options, steps=40):
    """The summary, the arrays and the names of the files of a run that must succeed."""
    open_before = plt.get_fignums()
    assert FIGURES[name].main(["--steps", str(steps), "--quiet", "--out", str(out), *options]) == 0
    (folder,) = out.iterdir()
    summary = strict((folder / "summary.json").read_text(encoding="utf-8"))
    arrays = {}
    if (folder / "recovered.npz").exists():
        with np.load(folder / "recovered.npz", allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    assert summary["study"] == name
    assert folder.name.startswith(f"{name}-")
    assert "<h1>" in (folder / "report.html").read_text(encoding="utf-8")
    assert plt.get_fignums() == open_before
    return summary, arrays, {path.name for path in folder.iterdir()}


@pytest.mark.full
def test_figure_1_follows_orbits_and_says_what_reaches_the_slice(tmp_path):
    """χ' = χ(1 − η²g²) leaves e^{−η²s²n} = 0.018 of χ under label noise; without noise it stays, which is the control.

    The tolerance is 4.4 standard errors of log χ, √(2/n) of its mean: one in 10⁵ keys fails.
    """
    summary, arrays, files = run("fig1_orbits", tmp_path, "--seeds", "4", "--lr", "0.02", steps=10_000)
    assert set(summary) == KEYS | {"orbits", "predicted"}
    assert files == {"summary.json", "figure.png", "report.html"}
    assert arrays == {}
    found = summary["orbits"]
    assert (found["meeting the slice once"], found["followed"]) == (4, 4)
    assert max(found[key] for key in ("change of uv", "gap to s(uv)", "canonical gap")) < 1e-9
    assert found["det G against the square of the speed"] < 1e-6
    rows = summary["rows"]
    predicted = summary["predicted"]["SGD, label noise"]["|χ/χ(0)|"]
    assert predicted == pytest.approx(np.exp(-4.0))
    # The residual adds up to a few per cent to g².
    assert -4.5 < np.log(rows["SGD, label noise"]["|χ/χ(0)|"]["median"]) < -4.0 * (1.0 - 4.4 * (2.0 / 10_000) ** 0.5)
    assert rows["gradient descent"]["|χ/χ(0)|"]["low90"] > 0.98
    assert [line.split(":")[0].split(" training")[0] for line in summary["sentences"][1:]] == [
        "gradient descent does not bring", "SGD, label noise brings", "isotropic, as SGD's does not bring",
    ]  # fmt: skip


@pytest.mark.full
def test_the_haar_design_beats_its_plain_model(tmp_path):
    summary, arrays, _ = run("design_haar", tmp_path, "--seeds", "8", "--no-attribution", steps=40_000)
    assert set(summary["rows"]) == {"Hᵀ(w₁ ⊙ w₂)", "x itself", "zero", "lasso in wavelets", "lasso in x"}
    errors = {name: np.array(row["error of x"]) for name, row in summary["by_seed"].items()}
    assert (errors["Hᵀ(w₁ ⊙ w₂)"] < errors["x itself"]).all()
    np.testing.assert_allclose(arrays["error_of_x"], errors["Hᵀ(w₁ ⊙ w₂)"])
    np.testing.assert_allclose(errors["zero"], np.mean(arrays["truth"] ** 2, axis=1))
    assert summary["sentences"][0].startswith("Hᵀ(w₁ ⊙ w₂) against x itself: better: error × ")


@pytest.mark.full
def test_all_runs_every_figure_and_returns_the_first_code_that_is_not_0(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(every, "FIGURES", (5,))
    options = ["--seeds", "1", "--steps", "20", "--figure-only", "--out", str(tmp_path)]
    assert every.main(options) == 0
    shown = capfd.readouterr().out
    assert re.findall(r"^(\w+): [0-9.]+ s$", shown, re.MULTILINE)[-1] == "all"
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"fig5_sparse_spectral"}
    (tmp_path / "file").write_text("")
    assert every.main([*options[:-1], str(tmp_path / "file" / "runs")]) == 2
    assert every.main(["--seeds", "none"]) == 2


@pytest.mark.full
def test_figure_2_with_its_attribution(tmp_path, monkeypatch, capsys):
    """Its set-up replaced by one that compiles in less time, with examples kept at random."""
    asked = []

    def small(setup, **changes):
        asked.append((setup, changes.pop("lr")))
        return AttributionConfig(
            model="uv", options={"samples": 4}, noise="bernoulli", lr=0.02, label_noise=1.0, **changes
        )

    monkeypatch.setattr(fig2_relu, "SCALES", ())
    monkeypatch.setattr(parts, "from_setup", small)
    summary, arrays, files = run("fig2_relu", tmp_path, "--seeds", "8")
    assert capsys.readouterr().out == ""
    assert set(summary) == KEYS
    assert files == {"summary.json", "figure.png", "attribution.png", "report.html"}
    assert arrays == {}
    assert set(summary["rows"]) == {"paper's SGD", "start 0.05, 40 steps"}
    for row in summary["rows"].values():
        assert set(row) == BALANCE
        assert row["loss"]["median"] > 0.1**2
        assert row["ratio off by"]["median"] > 1.0
    # The run of the first horizon is the figure's own, which is no longer here.
    assert summary["rows"]["start 0.05, 40 steps"] == summary["rows"]["paper's SGD"]
    assert asked == [("figure-2", fig2_relu.PRESET.lr)]
    balance = summary["balance"]
    assert {key: balance["config"][key] for key in ("precision", "noise", "seeds", "steps")} == {
        "precision": 32, "noise": "bernoulli", "seeds": 8, "steps": 40,
    }  # fmt: skip
    assert tuple(balance["mechanisms"]) == MECHANISMS
    assert all(entry["ratio_factor"]["median"] >= 1.0 for entry in balance["mechanisms"].values())
    assert not any("minibatches are" in note for note in summary["notes"])
    assert len(summary["by_seed"]["paper's SGD"]["loss"]) == 8
    assert summary["config"] == {
        "seeds": 8, "seed": 0, "steps": 40, "attribution": True, "baselines": False, "variants": True, "lr": 5e-5,
    }  # fmt: skip


@pytest.mark.full
def test_figure_3_alone_prints_its_summary(tmp_path, capsys):
    options = ["--seeds", "2", "--steps", "40", "--no-attribution", "--json", "--out", str(tmp_path)]
    assert fig3_attention.main(options) == 0
    printed = strict(capsys.readouterr().out)
    (folder,) = tmp_path.iterdir()
    assert printed == strict((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(printed) == KEYS
    assert printed["balance"] is None
    assert set(printed["rows"]) == {"paper's SGD"}
    assert set(printed["rows"]["paper's SGD"]) == BALANCE
    assert printed["stated"] == {}  # of 40 steps
    assert any("not the paper's, whose caption" in note for note in printed["notes"])
    assert {path.name for path in folder.iterdir()} == {"summary.json", "figure.png", "report.html"}


@pytest.mark.full
def test_figure_4_with_baseline_variant_and_curve(tmp_path, monkeypatch):
    monkeypatch.setattr(fig4_completion, "SHARES", (0.3, 0.8))
    summary, arrays, files = run("fig4_completion", tmp_path, "--seeds", "2", "--no-attribution")
    assert set(summary) == KEYS | {"curve"}
    assert files == {"summary.json", "figure.png", "shares.png", "report.html", "recovered.npz"}
    assert set(summary["rows"]) == {
        "U Vᵀ", "zero", "nuclear norm", "U Vᵀ, loss as in the text", "U Vᵀ, start of U × 1.1, as in the code",
    }  # fmt: skip
    assert summary["stated"] == {}
    assert set(arrays) == {
        "T_hat", "truth", "error_unobserved", "error_observed", "σ̂₁", "σ̂₂", "σ̂₃", "σ̂₄",
    }  # fmt: skip
    assert arrays["T_hat"].shape == arrays["truth"].shape == (2, 20, 20)
    np.testing.assert_allclose(arrays["σ̂₁"], np.linalg.norm(arrays["T_hat"], 2, axis=(1, 2)))
    curve = summary["curve"]
    assert curve["shares"] == [0.3, 0.8]
    names = ("SGD", "without noise", "SGD, η × 10", "without noise, η × 10", "nuclear norm")
    assert [len(curve[name]["recovered"]) for name in names] == [2] * 5
    assert curve["SGD, η × 10"]["observed_error"][1]["median"] < curve["SGD"]["observed_error"][1]["median"]
    assert curve["nuclear norm"]["recovered"][1] == 2  # 80% of a matrix of rank 2
    assert curve["SGD"]["recovered"] == [0, 0]  # after 40 steps
    assert any("most seeds are recovered: SGD at none of these shares" in line for line in summary["sentences"])


@pytest.mark.full
def test_figure_5_with_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(fig5_sparse_spectral, "SCALES", (1e-2, 0.3))
    monkeypatch.setattr(fig5_sparse_spectral, "NOISES", (1.0,))
    summary, arrays, files = run("fig5_sparse_spectral", tmp_path, "--seeds", "2")
    assert set(summary) == KEYS
    assert files == {"summary.json", "figure.png", "attribution.png", "report.html", "recovered.npz"}
    assert set(summary["rows"]) == {"w₁ ⊙ w₂", "w itself", "w₁ ⊙ w₂, start 0.0001 (text)", "lasso"}
    assert set(arrays) == {
        "w_hat", "truth", "test_error", "true_ones_isolated", "largest_false_amplitude", "training_error",
    }  # fmt: skip
    assert arrays["w_hat"].shape == (2, 64)
    assert arrays["true_ones_isolated"].dtype == bool
    assert [row["name"] for row in summary["effects"]] == [
        "w₁ ⊙ w₂", "40 steps more", "start 0.3", "label noise 1", "isotropic, as label 1",
    ]  # fmt: skip
    assert summary["rows"]["lasso"]["true ones isolated"] == {"count": 2, "of": 2}
    assert set(summary["wall_s"]) == {"training", "plain", "variants", "baselines", "attribution"}
    assert "cannot show that noise selects the solution" in summary["sentences"][-1]


@pytest.mark.full
def test_figure_6_without_attribution(tmp_path):
    summary, arrays, files = run("fig6_piecewise_constant", tmp_path, "--seeds", "2", "--no-attribution")
    assert set(summary) == KEYS
    assert files == {"summary.json", "figure.png", "report.html", "recovered.npz"}
    assert set(summary["rows"]) == {"cumsum(w₁ ⊙ w₂)", "x = w", "total variation (fused lasso)", "lasso in x"}
    assert set(arrays) == {"x_hat", "truth", "error_of_x", "total_variation", "training_error"}
    assert arrays["x_hat"].shape == (2, 200)
    np.testing.assert_allclose(arrays["error_of_x"], np.mean((arrays["x_hat"] - arrays["truth"]) ** 2, axis=1))
    assert summary["effects"] == []
    assert summary["rows"]["total variation (fused lasso)"]["error of x"]["median"] < 0.05
    said = summary["sentences"]
    assert [line.split(":")[0] for line in said] == [
        f"cumsum(w₁ ⊙ w₂) against {other}" for other in ("x = w", "total variation (fused lasso)", "lasso in x")
    ]


def own_data(name):
    """A user's arrays, the truth among them, and its key."""
    random = np.random.default_rng(0)
    if name == "fig4_completion":
        T = np.outer(random.normal(size=4), random.normal(size=3))
        mask = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
        return {"T_observed": np.where(mask, T, np.nan), "mask": mask, "T_true": T}, "T_true", "T_hat"
    if name == "fig5_sparse_spectral":
        w, t = np.array([0.0, 1.0, 0.0, -1.5]), random.uniform(size=6)
        y = np.cos(2 * np.pi * np.outer(t, np.arange(4))) @ w
        return {"t_train": t, "y_train": y, "w_true": w}, "w_true", "w_hat"
    x, A = np.repeat([1.0, -1.0], 4), random.normal(size=(6, 8))
    return {"A": A, "y": A @ x, "x_true": x}, "x_true", "x_hat"


@pytest.mark.full
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", RECOVERY)
def test_users_data_with_and_without_the_truth(name, known, tmp_path, monkeypatch):
    arrays, key, found = own_data(name)
    truth = arrays[key]
    if not known:
        del arrays[key]
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    # The baselines are solved where the truth is not known, as far as this goes without their cost.
    monkeypatch.setattr(baselines, "lasso", lambda X, y, *, seed: LassoFit(np.zeros(X.shape[1]), 0.0))
    monkeypatch.setattr(baselines, "fused_lasso", lambda X, y, *, seed: LassoFit(np.zeros(X.shape[1]), 0.0))
    monkeypatch.setattr(
        baselines, "nuclear_norm", lambda target, mask, *, seed, exact: MatrixFit(np.zeros_like(target), 0.0)
    )
    options = ["--figure-only"] if known else ["--no-variants"]
    summary, saved, _ = run(name, tmp_path / "runs", "--seeds", "2", "--data", str(path), *options, steps=20)
    assert re.fullmatch(r"mine\.npz [0-9a-f]{8}", summary["config"]["data"])
    assert summary["stated"] == {}
    assert str(tmp_path) not in json.dumps(summary)
    assert saved[found].shape[0] == 2
    if key != "w_true" or known:
        assert saved[found].shape[1:] == truth.shape
    else:
        assert saved[found].shape[1:] == (64,)
    assert ("truth" in saved) == known
    error = FIGURES[name].ERROR
    assert (error in summary["rows"][next(iter(summary["rows"]))]) == known
    assert any("the truth is not known" in note for note in summary["notes"]) == (not known)
    if known:
        np.testing.assert_array_equal(saved["truth"][0], truth)


BAD = {
    "no seeds": (["--seeds", "0"], "--seeds must be a whole number from 1 to 4096, got 0"),
    "half a seed": (["--seeds", "2.5"], "--seeds must be a whole number"),
    "steps that are no number": (["--steps", "x"], "--steps must be a whole number from 20"),
    "too few steps": (["--steps", "19"], "--steps must be a whole number from 20"),
    "negative seed": (["--seed", "-1"], "--seed must be a whole number from 0"),
    "unknown option": (["--sed", "1"], "unrecognized arguments: --sed 1"),
}
BAD_RECOVERY = {
    "unknown variant": (["--variant", "nonsense"], "--variant must be one of code, text, got nonsense"),
    "missing file": (
        ["--data", "missing.npz"],
        "--data must be an .npz file that can be read, got missing.npz: No such",
    ),
}


def assert_refused(name, options, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert FIGURES[name].main([*options, "--out", "runs/deep"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    program = f"langevin-ib figures {name[3]}" if name.startswith("fig") else f"python -m sims.{name}"
    assert captured.err.startswith(f"{program}: error: {message}")
    assert len(captured.err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", FIGURES)
def test_bad_input_is_one_line_and_nothing_is_written(name, case, monkeypatch, tmp_path, capsys):
    assert_refused(name, *BAD[case], monkeypatch, tmp_path, capsys)


@pytest.mark.parametrize("case", BAD_RECOVERY)
@pytest.mark.parametrize("name", RECOVERY)
def test_bad_input_of_a_recovery(name, case, monkeypatch, tmp_path, capsys):
    assert_refused(name, *BAD_RECOVERY[case], monkeypatch, tmp_path, capsys)


@pytest.mark.parametrize("name", RECOVERY)
def test_data_of_another_figure_are_refused(name, monkeypatch, tmp_path, capsys):
    other = RECOVERY[RECOVERY.index(name) - 1]
    np.savez(tmp_path / "other.npz", **own_data(other)[0])
    message = "--data must be an .npz file with keys among"
    assert_refused(name, ["--data", "other.npz"], message, monkeypatch, tmp_path, capsys)


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert fig5_sparse_spectral.main(["--out", str(tmp_path / "file" / "runs")]) == 2
    assert "--out must be a folder that can be written" in capsys.readouterr().err


@pytest.mark.full
def test_the_option_that_is_named_is_one_that_there_is(tmp_path, capsys):
    assert design_haar.main(["--seeds", "2", "--steps", "20", "--lr", "100", "--out", str(tmp_path / "runs")]) == 2
    assert "error: --lr must be below" in capsys.readouterr().err


@pytest.mark.full
def test_a_reading_that_diverges_does_not_cost_the_figure(tmp_path):
    """At η = 10 the figure's own run stays, that of ten times the rate does not."""
    options = ["--seeds", "1", "--lr", "10", "--no-attribution", "--no-baselines"]
    summary, _, _ = run("fig4_completion", tmp_path, *options, steps=3000)
    assert "U Vᵀ, loss as in the text" not in summary["rows"]
    assert any("U Vᵀ, loss as in the text: 1 of 1 chains diverged" in note for note in summary["notes"])


@pytest.mark.full
def test_the_caption_stands_beside_every_reading_of_a_run_of_the_papers_length(tmp_path, monkeypatch):
    """Here the paper's length is set to 40 steps."""
    monkeypatch.setattr(fig6_piecewise_constant, "STEPS", {"code": 40, "text": 20})
    assert fig6_piecewise_constant.main(["--seeds", "2", "--no-attribution", "--quiet", "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    summary = strict((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["stated"]) == {"cumsum(w₁ ⊙ w₂)", "cumsum(w₁ ⊙ w₂), 20 steps", "x = w"}
    said = [line for line in summary["sentences"] if "the caption states" in line]
    assert len(said) == 6
    assert not any("not the paper's" in note for note in summary["notes"])


def test_a_figure_that_is_interrupted_before_its_first_checkpoint_promises_none(tmp_path, monkeypatch, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "train", interrupted)
    assert fig5_sparse_spectral.main(["--seeds", "2", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.endswith("interrupted; no checkpoint yet, nothing to go on from\n")


@pytest.mark.full
def test_an_interrupted_figure_goes_on_to_the_same_numbers(tmp_path, monkeypatch, caplog):
    """Interrupted before its third training; the two that it has done are not done again."""
    caplog.set_level("INFO", logger="langevin_ib")
    options = ["--seeds", "18", "--steps", "400", "--out"]
    train, calls = parts.train, []

    def interrupted(*given, **options):
        calls.append(options["stage"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*given, **options)

    plain, out = tmp_path / "plain", tmp_path / "runs"
    assert FIGURES["fig1_orbits"].main([*options, str(plain)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", lambda self, **_: True)
        patch.setattr(parts, "train", interrupted)
        assert FIGURES["fig1_orbits"].main([*options, str(out)]) == 130
    (partial,) = out.rglob("summary.json")
    assert strict(partial.read_text(encoding="utf-8"))["stage"] == calls[2]
    caplog.clear()
    assert FIGURES["fig1_orbits"].main([*options, str(out)]) == 0
    resumed = [message.split(" from ")[0] for message in caplog.messages if message.startswith("resumed")]
    assert sorted(resumed) == sorted(f'resumed "{name}" at step 400 of 400' for name in calls[:2])
    first, second = (strict(next(at.glob("fig1*/summary.json")).read_text(encoding="utf-8")) for at in (plain, out))
    assert {**first, "wall_s": None} == {**second, "wall_s": None}
    assert [path.name for path in out.iterdir()] == [next(plain.iterdir()).name]


def test_all_figures_interrupted_say_that_those_that_are_saved_stay(tmp_path, monkeypatch, capsys):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(every, "run_figures", interrupted)
    assert every.main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.endswith("interrupted; figures that are saved stay\n")


def test_a_learning_rate_too_large_for_the_plain_model_is_refused_before_any_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parts, "train", None)  # not to be called
    options = ["--seeds", "2", "--steps", "20", "--figure-only", "--plain-lr", "100", "--out", str(tmp_path / "runs")]
    assert FIGURES["fig6_piecewise_constant"].main(options) == 2
    said = capsys.readouterr().err
    assert "--plain-lr must be below" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.full
def test_the_learning_rate_of_a_figure_can_be_set(tmp_path):
    summary, _, _ = run("fig5_sparse_spectral", tmp_path, "--seeds", "2", "--figure-only", "--lr", "0.002")
    assert summary["config"]["lr"] == 0.002
