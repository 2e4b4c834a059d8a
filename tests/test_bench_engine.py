"""The engine's benchmarks: what they compare samples one law, what does not is found out, and the command runs."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from langevin_ib.errors import UsageError
from sims.bench import engine
from sims.bench.peers import c, catalogue, timing
from sims.bench.peers.base import Absent, Bins, Moments, Sums, job
from sims.bench.sections.table import Table, spread

COMPILER = any(shutil.which(name) for name in c.COMPILERS)
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C compiler is here")
LOOPS = {"four-point": c.Loop(True), "series": c.Loop(False), "libm": c.Loop(False, libm=True)}


@needs_compiler
@pytest.mark.parametrize("name", LOOPS)
def test_the_c_loop_compiles_and_moves_its_chains(name):
    chains = LOOPS[name](job("uv"), 300, 0, Bins(-50.0, 1.0, 100))  # more than a block, and no multiple of one
    before = chains.positions()
    assert chains.run(3, 7) > 0  # no multiple of a word's five steps
    after = chains.positions()
    assert after.shape == (300, 2)
    assert np.isfinite(after).all()
    assert (after != before).all()
    assert chains.recorded().sum() == 3 * 300


@needs_compiler
@pytest.mark.full
@pytest.mark.parametrize("name", LOOPS)
def test_the_c_loop_samples_the_law_and_another_temperature_is_found_out(name):
    """p > 1e-4 fails for one key in 10⁴; at T = 0.13 the same check rejects."""
    peer = catalogue.peers()[catalogue.C_FOUR]
    assert timing.check_uv(peer, LOOPS[name], job("uv")) > timing.LEVEL
    control = dataclasses.replace(job("uv"), temperature=0.13)
    hot = lambda given, *rest: LOOPS[name](control, *rest)  # noqa: E731
    assert timing.check_uv(peer, hot, job("uv")) < timing.LEVEL


@pytest.mark.full
def test_every_peer_takes_steps_of_the_same_law():
    """Against a plain loop, on a small model; twice the step or another temperature is rejected."""
    here = job("hadamard", {"dim": 2})
    known = catalogue.peers()
    plain = known[catalogue.JAX_LOOP]
    reference = timing.potentials(plain.forms[catalogue.ONE_THREAD], here)
    for name, peer in known.items():
        if peer.uv_only or peer.slow:
            continue
        try:
            build = next(iter(peer.forms.values()))
            assert timing.check_model(peer, build, here, reference) > timing.LEVEL, name
        except Absent:
            assert name.startswith("diffrax")
    hot = dataclasses.replace(here, temperature=0.13)
    control = timing.potentials(plain.forms[catalogue.ONE_THREAD], hot)
    assert timing.check_model(plain, plain.forms[catalogue.ONE_THREAD], here, control) < timing.LEVEL


def test_an_ensemble_without_a_compiler_is_a_line_and_no_error(monkeypatch):
    monkeypatch.setattr(c, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(Absent, match="no C compiler"):
        c.compiler()


def test_bins_that_expect_little_are_joined():
    counts, expected = timing._merged(np.arange(6), np.array([1.0, 4.0, 20.0, 9.0, 2.0, 3.0]))
    assert expected.tolist() == [25.0, 14.0]
    assert counts.tolist() == [3, 12]


def test_moments_of_the_package_and_of_a_plain_loop_have_one_form():
    here = job("uv")
    recorder = Moments(lambda params: {"z": params[0] * params[1]}, ("z",))
    for peer in (catalogue.OURS_NORMAL, catalogue.JAX_LOOP):
        chains = next(iter(catalogue.peers()[peer].forms.values()))(here, 8, 0, recorder)
        chains.run(6, 1)
        sums = chains.recorded()
        assert isinstance(sums, Sums)
        assert np.asarray(sums.n).tolist() == [6] * 8
        assert np.asarray(sums.first["z"]).shape == (8,)


def test_tables_are_aligned_and_plain_in_json():
    table = Table("title", ("name", "x"), [("a", 1.0), ("longer", float("inf"))], ["a note"])
    assert table.text().splitlines() == ["title", "  name      x", "  a         1", "  longer  inf", "  a note"]
    assert table.to_dict()["rows"] == [{"name": "a", "x": 1.0}, {"name": "longer", "x": None}]
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["abacus"], "a section must be one of rates"),
        (["--chains", "4,x"], "--chains must be whole numbers"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--repeats", "0"], "--repeats must be from 1"),
        (["--json", "/no/such/folder/file"], "--json must be a file"),
    ],
)
def test_options_out_of_range_are_one_line(arguments, said):
    with pytest.raises(UsageError, match=said):
        engine.command(arguments)


@pytest.mark.full
def test_the_command_prints_its_table_and_leaves_it_as_json(tmp_path, capsys):
    target = tmp_path / "rates.json"
    arguments = ["rates", "--chains", "64", "--seconds", "0.01", "--repeats", "2", "--peer", "C", "--json", str(target)]
    with pytest.raises(SystemExit) as ended:
        engine.main(arguments)
    assert ended.value.code == 0
    assert "uv, 64 chains" in capsys.readouterr().out
    left = json.loads(target.read_text(encoding="utf-8"))
    assert left["about"]["cores"] >= 1
    rows = {row["peer"]: row for row in left["sections"]["rates"][0]["rows"]}
    assert rows[catalogue.OURS]["ours is faster by"] == 1.0
    assert all(row["M chain-steps/s"] > 0 for row in rows.values())
