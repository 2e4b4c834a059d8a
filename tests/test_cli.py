"""The command line: one line and exit code 2 for bad input, 3 for a failed run, nothing written by either."""

import json

import pytest

from langevin_ib import sim

BAD = {
    "negative beta": (["--beta", "-1"], "--beta must be a positive number, got -1"),
    "beta not a number": (["--beta", "hot"], "--beta must be a positive number, got hot"),
    "beta infinite": (["--beta", "inf"], "--beta must be a positive number, got inf"),
    "zero sigma": (["--sigma", "0"], "--sigma must be a positive number, got 0"),
    "temperature out of range": (["--beta", "1e12"], "--beta must be such that T"),
    "NaN target": (["--target", "nan"], "--target must be a finite number, got nan"),
    "sigma too large": (["--sigma", "1e200"], "--sigma must be such that T"),
    "beta of 400 digits": (["--beta", "1" + 400 * "0"], "--beta must be a positive number"),
    "target too large": (["--target", "1e200"], "--target must be between"),
    "step lost in float32": (["--beta", "1e8", "--step-size", "1e-8"], "--precision must be 64 here"),
    "depth one": (["--depth", "1"], "--depth must be a whole number from 2"),
    "half a factor": (["--depth", "2.5"], "--depth must be a whole number from 2"),
    "unknown model": (["--model", "transformer"], "--model must be one of attention, "),
    "unknown confinement": (["--confine", "box"], "--confine must be one of stiff"),
    "kappa with weight decay": (["--confine", "weight-decay", "--kappa", "4"], "--kappa must be left out unless"),
    "weight decay with stiff": (["--weight-decay", "0.3"], "--weight-decay must be left out unless"),
    "slab with stiff": (["--slab", "0.1"], "--slab must be left out unless confine is none"),
    "negative kappa": (["--kappa", "-4"], "--kappa must be a positive number, got -4"),
    "zero slab": (["--confine", "none", "--slab", "0"], "--slab must be a positive number, got 0"),
    "unknown integrator": (["--integrator", "rk4"], "--integrator must be one of leimkuhler-matthews"),
    "zero step": (["--step-size", "0"], "--step-size must be a positive number (or auto), got 0"),
    "zero chains": (["--chains", "0"], "--chains must be a whole number from 16"),
    "too few chains": (["--chains", "8"], "--chains must be a whole number from 16"),
    "zero steps": (["--steps", "0"], "--steps must be a whole number from 10"),
    "burn-in above steps": (["--steps", "100", "--burn-in", "100"], "--burn-in must be below steps (100), got 100"),
    "nothing left to record": (["--steps", "100", "--thin", "50"], "--steps must be at least --burn-in"),
    "window upside down": (["--window", "2", "1"], "--window must be two finite numbers LO < HI (or auto), got 2 1"),
    "window of one number": (["--window", "1"], "--window must be two finite numbers"),
    "window over the singular point": (["--window", "-1", "1"], "--window must be inside one branch of z"),
    "window outside the support": (["--window", "50", "60"], "--window must be within the support"),
    "window at the divergence of the only law": (
        ["--window", "0", "2", "--laws", "slice"],
        "none of the requested laws exists here: law slice [dσ_S] is not normalisable on the window [0, 2]",
    ),
    "one bin": (["--bins", "1"], "--bins must be a whole number from 2"),
    "unknown law": (["--laws", "slice", "folk"], "--laws must be laws among exact"),
    "a law that does not exist here": (["--laws", "exact", "--depth", "6"], "none of the requested laws exists here"),
    "unknown reference": (["--reference", "hmc"], "--reference must be one of mala, none, got hmc"),
    "half precision": (["--precision", "16"], "--precision must be one of 32, 64, got 16"),
    "negative seed": (["--seed", "-1"], "--seed must be a whole number from 0"),
    "margin of one": (["--margin", "1"], "--margin must be below 1"),
    "step check with mala": (["--integrator", "mala", "--step-check", "yes"], "--step-check must be no with"),
    "zero chunk": (["--chunk", "0"], "--chunk must be a whole number from 1"),
    "kappa with the hard constraint": (["--confine", "hard", "--kappa", "4"], "--kappa must be left out unless"),
    "another kernel with the hard constraint": (
        ["--confine", "hard", "--integrator", "mala"],
        "--integrator must be projected when confine is hard, got mala",
    ),
    "projection without the constraint": (["--integrator", "projected"], "--integrator must be another than projected"),
    "option that a model lacks": (["--model", "relu", "--set", "depth=3"], "--set must be made of options of relu"),
    "option of the wrong kind": (["--model", "relu", "--set", "width=two"], "--set must be such that width is a"),
    "option without a value": (["--model", "relu", "--set", "width"], "--set must be NAME=VALUE pairs, got width"),
    "option out of range": (["--model", "relu", "--set", "width=0"], "--set must be such that width is"),
    "an option of uv that has a flag": (["--set", "depth=3"], "--set must be without depth, which has an option"),
    "target for another model": (["--model", "relu", "--target", "1"], "--target must be left out unless model is uv"),
    "metric of the wrong length": (["--metric", "1", "2", "3"], "--metric must be 2 positive numbers, one for each"),
    "negative metric": (["--metric", "1", "-2"], "--metric must be positive numbers"),
    "unknown invariant": (["--invariant", "w"], "--invariant must be among z, got w"),
    "one window for many": (["--model", "hadamard", "--window", "0.2", "2"], "--window must be auto, or given with"),
    "no such module": (["--model", "nowhere:model"], "--model must be in a module that can be imported"),
    "layers of a tall matrix": (
        ["--model", "matrix", "--set", "group=gl", "depth=3"],
        "--set must be such that depth is 2 unless group is gl",
    ),
    "a law of an over-parameterised matrix": (
        ["--model", "matrix", "--set", "group=gl", "rank=4", "--laws", "slice"],
        "--laws must be none or left out: matrix has no law: UᵀU = VᵀV has rank 3 at most, below r = 4",
    ),
    "temperature of SGD": (["--sampler", "sgd", "--beta", "3"], "--beta must be left out with sampler sgd, got 3"),
    "learning rate of Langevin": (["--lr", "0.1"], "--lr must be left out with sampler langevin, got 0.1"),
    "SGD held stiffly": (["--sampler", "sgd", "--confine", "stiff"], "--confine must be none or weight-decay with"),
    "unknown noise": (["--sampler", "sgd", "--noise", "pink"], "--noise must be one of label, minibatch, fresh"),
    "negative learning rate": (["--sampler", "sgd", "--lr", "-1"], "--lr must be a positive number (or auto), got -1"),
    "learning rate that never arrives": (["--sampler", "sgd", "--lr", "1e-9"], "--lr must be large enough for a run"),
    "momentum of one": (["--sampler", "sgd", "--momentum", "1"], "--momentum must be a number from 0 to below 1"),
    "batch of all labels": (
        ["--sampler", "sgd", "--batch-size", "4"],
        "--batch-size must be left out with noise label",
    ),
    "isotropic noise as strong as no minibatch": (
        ["--sampler", "sgd", "--noise", "isotropic", "--batch-size", "4"],
        "--set samples=16 gives more, where a model has that option), got isotropic with batch_size 4",
    ),
    "isotropic noise of a population's labels": (
        ["--sampler", "sgd", "--model", "relu", "--set", "population=yes", "--noise", "isotropic"],
        "--noise must be fresh or none for relu here: it has no data set, got isotropic",
    ),
    "momentum of Langevin's step": (
        ["--sampler", "sgd", "--noise", "isotropic", "--momentum", "0.5"],
        "--momentum must be left out with noise isotropic",
    ),
    "no label noise": (
        ["--sampler", "sgd", "--label-noise", "0"],
        "--label-noise must be a positive number with noise",
    ),
    "noise without noise": (
        ["--sampler", "sgd", "--noise", "none", "--label-noise", "1"],
        "--label-noise must be left out with noise none",
    ),
    "epochs of fresh data": (
        ["--sampler", "sgd", "--noise", "fresh", "--replacement", "no"],
        "--replacement must be yes with noise fresh",
    ),
    "minibatch of one example": (
        ["--sampler", "sgd", "--noise", "minibatch"],
        "--noise must be another for uv here, whose only example",
    ),
    "minibatch of a population": (
        ["--sampler", "sgd", "--model", "relu", "--set", "population=yes", "--noise", "minibatch"],
        "--noise must be fresh or none for relu here",
    ),
    "unknown option": (["--kapa", "4"], "unrecognized arguments: --kapa 4; the nearest is --kappa"),
    "T is no setting": (["--temperature", "0.1"], "arguments: --temperature 0.1; T is sigma²/beta: give --beta 1/T"),
    "values with blanks": (
        ["--beta", "5", "10"],
        "unrecognized arguments: 10; several values are a sweep: python -m langevin_ib.sweep FILE",
    ),
    "a file for a model": (["--model", "mine.py"], "got 'mine.py'; of that file it is mine:FUNCTION"),
    "several values": (
        ["--beta", "10,20"],
        "got 10,20 (several values are a sweep: python -m langevin_ib.sweep FILE)",
    ),
    "option without value": (["--beta"], "--beta: expected one argument"),
    "no such file": (["--config", "missing.toml"], "--config must be a readable TOML file, got missing.toml"),
}


def last_error(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    # What the laws cannot tell apart is said before the first draw.
    lines = [line for line in captured.err.splitlines() if "one verdict for them together" not in line]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("python -m langevin_ib.sim: error: ")
    return lines[0]


@pytest.mark.full(
    only=[
        "nothing left to record",
        "window over the singular point",
        "window outside the support",
        "window at the divergence of the only law",
        "a law that does not exist here",
        "learning rate that never arrives",
        "isotropic noise as strong as no minibatch",
        "isotropic noise of a population's labels",
        "minibatch of one example",
        "minibatch of a population",
    ]
)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_nothing_is_written(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options, message = BAD[case]
    assert sim.main([*options, "--out", "runs/deep"]) == 2
    assert message in last_error(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beta = ", "--config must be valid TOML"),
        ("beta = 'x'", "--beta must be a positive number, got x"),
        ("bta = 3", "--config must be made of known settings"),
        ("[model]\nname = 'uv'", "--model must be a name"),
        ("step_check = [1]", "--step-check must be yes, no or auto"),
        ("precision = 32.0", "--precision must be one of 32, 64"),
        ("beta = [2, 5]", "run.toml; several values are a sweep: python -m langevin_ib.sweep "),
        ('confine = ["stiff", "none"]', "run.toml; several values are a sweep: python -m langevin_ib.sweep "),
        ("[options]\nsamples = [1, 2]", "run.toml; several values are a sweep: python -m langevin_ib.sweep "),
        ("chains = true", "--chains must be a whole number"),
    ],
)
def test_a_bad_file_is_one_clear_line(text, message, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(text)
    assert sim.main(["--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "runs")]) == 2
    assert message in last_error(capsys)
    assert not (tmp_path / "runs").exists()


def test_a_list_that_is_one_value_is_no_sweep(capsys, tmp_path):
    assert sim.main(["--laws", "exact", "nope", "--out", str(tmp_path)]) == 2
    assert "sweep" not in last_error(capsys)


def test_a_file_that_is_not_text_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    assert sim.main(["--config", str(tmp_path / "run.toml")]) == 2
    assert "not UTF-8" in last_error(capsys)


def test_an_unwritable_folder_is_refused_before_the_run(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert sim.main(["--out", str(tmp_path / "file" / "runs")]) == 2
    assert "--out must be a folder that can be written" in last_error(capsys)
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.full
def test_a_diverging_step_exits_3_names_step_and_chains_and_keeps_what_was_saved(tmp_path, capsys):
    (tmp_path / "uv-old").mkdir()
    code = sim.main(["--step-size", "0.5", "--chains", "64", "--steps", "2000", "--out", str(tmp_path)])
    line = last_error(capsys)
    assert code == 3
    assert "of 64 chains diverged, the first by step" in line
    assert "with steps of size 0.5; use a smaller --step-size" in line
    assert [path.name for path in tmp_path.iterdir()] == ["uv-old"]


@pytest.mark.full
def test_options_override_the_file_and_the_run_is_saved(tmp_path, capsys):
    (tmp_path / "run.toml").write_text("beta = 20\nchains = 64\nsteps = 3000\nreference = 'none'\nstep_check = false\n")
    out = tmp_path / "runs"
    assert sim.main(["--config", str(tmp_path / "run.toml"), "--beta", "5", "--json", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["config"]["beta"], summary["config"]["chains"]) == (5.0, 64)
    (folder,) = out.iterdir()
    saved = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert saved == summary

    assert sim.main(["--config", str(folder / "config.toml"), "--quiet", "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    again = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [path.name for path in out.iterdir()] == [folder.name]  # the saved configuration reruns the same run
    assert again["invariants"] == saved["invariants"]


@pytest.mark.full
def test_a_saved_configuration_can_change_protocol_and_says_what_it_keeps(tmp_path, capsys):
    saved = "confine = 'stiff'\nkappa = 100.0\nwindow = [0.3, 2.0]\nchains = 64\nsteps = 2000\nreference = 'none'\n"
    (tmp_path / "run.toml").write_text(saved)
    options = ["--config", str(tmp_path / "run.toml"), "--confine", "weight-decay", "--out", str(tmp_path / "runs")]
    assert sim.main([*options, "--step-check", "no"]) == 0
    captured = capsys.readouterr()
    assert "λ = 0.3" in captured.out
    assert "kept from" in captured.err
    assert "window" in captured.err


@pytest.mark.full
def test_the_automatic_step_suits_the_starts_too(tmp_path):
    """A cold run around z = 0 has a narrow, flat window and starts far above it."""
    options = [
        "--beta",
        "1000",
        "--target",
        "0",
        "--chains",
        "256",
        "--steps",
        "4000",
        "--reference",
        "none",
        "--quiet",
    ]
    assert sim.main([*options, "--step-check", "no", "--out", str(tmp_path)]) == 0


@pytest.mark.full
def test_the_table_names_every_law_its_measure_and_a_verdict(tmp_path, capsys):
    assert sim.main(["--chains", "64", "--steps", "3000", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for word in ("exact", "slice", "printed", "dσ_S", "dz", "floor", "verdict", "c = ", "blackjax.mala", "h/2"):
        assert word in text


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [
        ["--depth", "16", "--chains", "64", "--steps", "2000", "--reference", "none"],
        ["--bins", "2", "--chains", "16", "--steps", "300", "--reference", "none", "--step-check", "no"],
        ["--confine", "none", "--depth", "3", "--chains", "17", "--steps", "2000", "--burn-in", "0"],
        ["--confine", "none", "--integrator", "mala", "--chains", "64", "--steps", "2000", "--target", "-1"],
    ],
)
def test_a_tiny_run_ends_in_a_table_or_a_line_never_in_a_traceback(options, tmp_path, capsys):
    code = sim.main([*options, "--out", str(tmp_path)])
    captured = capsys.readouterr()
    assert code in (0, 2)
    assert ("verdict" in captured.out) if code == 0 else len(captured.err.splitlines()) == 1


def test_the_whole_help_is_one_page(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as caught:
        sim.main(["--help-all"])
    assert caught.value.code == 0
    options, _, choices = capsys.readouterr().out.partition("what can be chosen")
    assert len(options.splitlines()) <= 100
    assert "weight-decay" in choices


@pytest.mark.full
def test_sgd_writes_the_same_folder_and_its_configuration_runs_it_again(tmp_path, capsys):
    quick = ["--sampler", "sgd", "--lr", "0.01", "--label-noise", "2", "--chains", "64", "--steps", "26000"]
    assert sim.main([*quick, "--out", str(tmp_path / "a")]) == 0
    text = capsys.readouterr().out
    assert "nearer: SGD's own law map" in text
    (folder,) = (tmp_path / "a").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "config.toml",
        "summary.json",
        "draws.nc",
        "histogram.png",
        "report.html",
        "state",
    }
    assert sim.main(["--config", str(folder / "config.toml"), "--out", str(tmp_path / "b"), "--quiet"]) == 0
    (again,) = (tmp_path / "b").iterdir()
    assert again.name == folder.name
    first, second = (json.loads((where / "summary.json").read_text(encoding="utf-8")) for where in (folder, again))
    assert first["invariants"] == second["invariants"]
    assert "(S)" in (folder / "report.html").read_text(encoding="utf-8")
    assert sim.main(["--config", str(folder / "config.toml"), "--sampler", "langevin", "--beta", "-1"]) == 2
    assert "--beta must be a positive number" in capsys.readouterr().err


@pytest.mark.full
def test_gradient_descent_without_noise_has_no_law_and_says_so(tmp_path, capsys):
    quick = ["--sampler", "sgd", "--noise", "none", "--lr", "0.01", "--chains", "32", "--steps", "2000"]
    assert sim.main([*quick, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "no noise at the minimum, and no law there" in text
    assert "R-hat" not in text
    assert "|χ(end) − χ(start)|/|χ(start)| 0.00" in text


@pytest.mark.full
def test_sgd_that_diverges_says_that_there_is_no_law(tmp_path, capsys):
    options = [
        "--sampler",
        "sgd",
        "--lr",
        "0.6",
        "--label-noise",
        "2",
        "--chains",
        "64",
        "--out",
        str(tmp_path / "runs"),
    ]
    assert sim.main(options) == 3
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "chains diverged" in error
    assert "cannot be normalised at z = 0" in error
    assert "law map: a share" in error
    assert not (tmp_path / "runs").exists()
