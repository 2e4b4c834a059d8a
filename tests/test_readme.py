"""The book's own model, taken from its page letter for letter: it runs, and broken copies are refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from pages import block

from langevin_ib import sim

START, MODEL, DESIGN = "docs/start.md", "docs/own/model.md", "docs/design.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    code = block(START, "own model")
    monkeypatch.chdir(tmp_path)

    def write(name, *changes):
        text = code
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return f"{name}:model"

    return write


QUICK = ["--chains", "64", "--steps", "4000", "--reference", "none", "--step-check", "no"]


def test_the_model_of_the_book_runs_as_it_stands(example, tmp_path, capsys):
    name = example("cubic_of_the_book")
    assert sim.main(["--model", name, "--set", "target=1.5", *QUICK]) == 0
    text = capsys.readouterr().out
    assert "slice" in text
    assert "c = " in text
    assert [path.name.split("-model")[0] for path in (tmp_path / "runs").iterdir()] == ["cubic_of_the_book"]


@pytest.mark.full
def test_with_its_examples_it_runs_under_sgd_and_has_law_s(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("trained_of_the_book.py").write_text(
        block(START, "own model") + block(MODEL, "own training"), encoding="utf-8"
    )
    name = "trained_of_the_book:trained"
    assert sim.main(["--model", name, "--sampler", "sgd", "--chains", "64", "--steps", "150000"]) == 0
    assert "nearer: SGD's own law map" in capsys.readouterr().out


BROKEN = {
    "loss": (("p[0] * p[1] ** 2 - target", "p[0] * p[1] - target"), "the loss changes along the orbit by"),
    "section": (("jnp.array([1.0, 2.0**0.5])", "jnp.array([1.0, 1.0])"), "the section misses the slice"),
    "start": (("0.5 + jax.random.uniform(key, (2,))", "0.0 * jax.random.uniform(key, (2,))"), "the action is not free"),
}


@pytest.mark.full(only=["section"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_copy_is_refused_with_what_failed_by_how_much_and_where(case, example, tmp_path, capsys):
    change, message = BROKEN[case]
    name = example(f"broken_{case}", change)
    assert sim.main(["--model", name, *QUICK]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert "at θ = [" in lines[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.full
def test_the_design_of_the_book_recovers_its_signal():
    """To a ten thousandth of it; after a hundredth of the steps, the control, it does not."""
    found: dict = {}
    exec(block(DESIGN, "own design"), found)
    scale = np.mean(found["truth"] ** 2)
    assert np.mean((found["x"] - found["truth"]) ** 2) < 1e-4 * scale
    exec(block(DESIGN, "own design").replace("50_000", "500"), found)
    assert np.mean((found["x"] - found["truth"]) ** 2) > 0.1 * scale
