"""A run that was interrupted goes on to the numbers that it would have had, unless what it computes has been edited."""

import dataclasses
import errno
import io
import logging
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib import RunConfig, run
from langevin_ib.ensemble import checkpoint
from langevin_ib.ensemble.checkpoint import Checkpoint, refusals, resumes
from langevin_ib.models import Model, uv
from langevin_ib.models.fingerprint import content_of
from langevin_ib.output import folders

SETTINGS = {
    "model": f"{__name__}:edited", "chains": 64, "steps": 1200, "burn_in": 200, "thin": 5, "step_size": 0.002,
    "window": (0.3, 2.0), "bins": 10, "laws": ("slice",), "reference": "none", "step_check": False,
}  # fmt: skip
standing = {"target": 1.0}  # what the user's file says at the moment


def edited() -> Model:
    """A model whose file is edited between two processes."""
    return uv(standing["target"])


class StoppedError(Exception):
    """Stands for a kill between two chunks."""


@pytest.mark.full
def test_an_edited_model_begins_anew_and_an_unedited_one_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self, **_: True)
    caplog.set_level(logging.INFO, logger="langevin_ib")
    config = RunConfig(**SETTINGS)

    def stop(stage):
        def look(done, total):
            if stage == "sampling" and 2 * done > total:
                raise StoppedError

        return look

    plain = run(config, chunk_records=20)
    assert plain.summary["run"]["resumed"] == []
    places = tmp_path / "one", tmp_path / "other"
    with pytest.raises(StoppedError):
        run(config, chunk_records=20, checkpoints=places[0], report=stop)
    shutil.copytree(*places)

    resumed = run(config, chunk_records=20, checkpoints=places[0])
    (told,) = resumed.summary["run"]["resumed"]
    assert (told["stage"], told["steps"]) == ("sampling", 1200)
    assert 400 <= told["step"] < 1200
    assert f'resumed "sampling" at step {told["step"]} of 1200 from ' in caplog.text
    np.testing.assert_array_equal(resumed.trace["value"], plain.trace["value"])
    assert resumed.summary["invariants"]["z"]["empirical"] == plain.summary["invariants"]["z"]["empirical"]
    folders.discard(resumed.checkpoints)
    assert not list(places[0].iterdir())

    monkeypatch.setitem(standing, "target", 1.02)
    # A configuration builds its model once: that of another process builds it again.
    anew = run(RunConfig(**SETTINGS), chunk_records=20, checkpoints=places[1])
    assert anew.summary["run"]["resumed"] == []
    (line,) = anew.summary["run"]["refused"]
    (kept,) = places[1].rglob("*.refused-1.npz")
    assert line == (
        f"checkpoint {kept.parent / 'sampling.npz'} is not continued: what it computes is no longer the same (an "
        "edited model, or other data); it is kept as sampling.refused-1.npz"
    )
    folders.discard(anew.checkpoints)
    assert [path for path in places[1].rglob("*") if path.is_file()] == [kept]
    # From the first draw on, not only from where the other stopped.
    assert np.abs(anew.trace["value"] - plain.trace["value"])[:, :20].max() > 1e-3


def model_content(**changes) -> str:
    model = dataclasses.replace(uv(), **changes)
    return content_of(lambda p: (jax.grad(model.loss)(p), model.moment_map(p), model.invariants(p)), jnp.ones(2))


def test_a_content_is_that_of_operations_and_of_numbers_and_not_of_names():
    plain = uv()
    table = np.arange(3.0)
    assert model_content() == model_content(loss=plain.loss, name="other")
    others = [
        model_content(loss=lambda params: uv(1.02).loss(params)),
        model_content(moment_map=lambda params: plain.moment_map(params) * 2.0),
        model_content(invariants=lambda params: {"z": jnp.sin(plain.invariants(params)["z"])}),
        model_content(loss=lambda params: plain.loss(params) + jnp.asarray(table)[1] * 0.0),
        model_content(loss=lambda params: plain.loss(params) + jnp.asarray(table + 1e-7)[1] * 0.0),
        model_content(loss=jax.jit(lambda params: plain.loss(params) + jnp.asarray(table + 2e-7)[1] * 0.0)),
    ]
    assert len({model_content(), *others}) == 1 + len(others)


def test_the_content_of_a_call_to_the_host_is_never_the_same():
    def called(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    assert content_of(called, jnp.ones(2)) != content_of(called, jnp.ones(2))


IDENTITY = {"langevin_ib": "0.4", "jax": "0.10.2", "configuration": "abc", "stage": "sampling"}
AT = {"burned": [3], "recorded": [4, 5]}
LEAVES = [np.arange(5.0), np.array(7, np.int64), np.zeros((0, 2)), np.array([True, False]), np.array([1j])]


@pytest.fixture
def saved(tmp_path):
    """A checkpoint that has been saved."""
    own = Checkpoint(tmp_path / "sampling.npz", IDENTITY).of("content")
    assert own.save(AT, LEAVES)
    return own


def test_what_is_saved_is_loaded(saved):
    found = saved.load()
    assert found.at == AT
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found.leaves, LEAVES, strict=True))
    assert [path.name for path in saved.path.parent.iterdir()] == ["sampling.npz"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"langevin_ib": "0.3"}, "it was made by langevin_ib 0.3, this is 0.4"),
        ({"jax": "0.9"}, "it was made by jax 0.9, this is 0.10.2"),
        ({"langevin_ib": "0.3", checkpoint.COMPUTES: "x"}, "it was made by langevin_ib 0.3, this is 0.4"),
        ({"configuration": "abd"}, "its configuration is abd, not abc"),
        ({"jax": "1", "stage": "law"}, "it was made by jax 1, this is 0.10.2; its stage is law, not sampling"),
        ({checkpoint.COMPUTES: "x"}, "what it computes is no longer the same (an edited model, or other data)"),
    ],
)  # fmt: skip
def test_a_state_of_another_is_refused_in_one_line_and_kept(changed, why, tmp_path, caplog):
    own = Checkpoint(tmp_path / "sampling.npz", IDENTITY).of("content")
    for n in (1, 2):
        caplog.clear()
        other = dataclasses.replace(own, identity=own.identity | changed)
        assert other.save(AT, LEAVES)
        before = own.path.read_bytes()
        assert own.load() is None
        line = f"checkpoint {own.path} is not continued: {why}; it is kept as sampling.refused-{n}.npz"
        assert caplog.messages == [line]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert refusals(tmp_path) == (line,)
        assert resumes(tmp_path) == ()
        assert (tmp_path / f"sampling.refused-{n}.npz").read_bytes() == before
        assert not own.path.exists()
    assert own.save(AT, LEAVES)  # the run that starts over saves as any does
    assert own.load().at == AT
    assert refusals(tmp_path) == ()


def refused(own, content):
    """What is said of a file of this content; it is kept as it is."""
    own.path.write_bytes(content)
    assert own.load() is None
    (line,) = refusals(own.path.parent)
    why, kept = line.removeprefix(f"checkpoint {own.path} is not continued: ").split("; it is kept as ")
    assert (own.path.parent / kept).read_bytes() == content
    return why


def test_a_truncated_a_foreign_and_an_older_file_are_refused(saved):
    whole = saved.path.read_bytes()
    for length in [0, 1, 3, 30, 100, *range(200, len(whole), 97), len(whole) - 1]:
        assert refused(saved, whole[:length]).startswith("it is damaged (")
    for content in (b"PK damaged", b"text", os.urandom(1000)):
        assert refused(saved, content).startswith("it is damaged (")
    buffer = io.BytesIO()
    np.savez(buffer, fingerprint="of an earlier format", leaf0=np.zeros(3))
    assert refused(saved, buffer.getvalue()) == "it is no checkpoint of this format"


def test_a_file_of_a_later_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    saved.save(AT, LEAVES)
    content = saved.path.read_bytes()
    monkeypatch.undo()
    assert refused(saved, content) == f"its format is {checkpoint.FORMAT + 1}, this is {checkpoint.FORMAT}"


def test_no_flipped_bit_changes_what_is_loaded(saved):
    """Every bit in turn would be slow: every eleventh, so that all parts of the file have some."""
    whole = saved.path.read_bytes()
    found = 0
    for bit in range(0, 8 * len(whole), 11):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        saved.path.write_bytes(broken)
        state = saved.load()
        if state is None:
            found += 1
        else:  # what nobody reads: times, versions and the like of the archive
            assert state.at == AT
            assert all(np.array_equal(a, b) for a, b in zip(state.leaves, LEAVES, strict=True))
        for kept in saved.path.parent.glob("*.refused-*"):
            kept.unlink()
    assert found > 0.6 * 8 * len(whole) / 11


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_read_or_moved_aside_is_not_lost(number, saved, monkeypatch, caplog):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    before = saved.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        patch.setattr(Path, "rename", fail)
        assert saved.load() is None
    why = os.strerror(number)
    assert caplog.messages == [
        f"checkpoint {saved.path} is not continued: it cannot be read: {why}; it cannot be moved aside ({why}), "
        "so that this stage saves nothing"
    ]
    assert not saved.save({"burned": [4]}, LEAVES)
    assert saved.path.read_bytes() == before


def test_a_fresh_start_says_what_it_leaves_and_replaces_it_later(saved, caplog):
    caplog.set_level(logging.INFO, logger="langevin_ib")
    fresh = dataclasses.replace(saved, fresh=True)
    assert fresh.load() is None
    assert caplog.messages == [
        f"started over: checkpoint {saved.path} of an earlier run is left behind, to be replaced"
    ]
    assert saved.load().at == AT
    assert fresh.save({"burned": [4]}, LEAVES)
    assert saved.load().at == {"burned": [4]}


def test_it_is_time_to_save_every_15_s_of_a_clock_that_only_goes_forward(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoint.time, "time", lambda: -now[0])  # set back all the time
    own = Checkpoint(tmp_path / "stage.npz", {}, _last=now[0])
    for seconds, due, worth in [(0.9, False, False), (1.0, False, True), (14.9, False, True), (15.0, True, True)]:
        now[0] = 100.0 + seconds
        assert (own.due(), own.due(ended=True)) == (due, worth)
    own.save(AT, LEAVES)
    assert not own.due(ended=True)
