"""A run that was interrupted goes on to the numbers that it would have had, unless what it computes has been edited."""

import dataclasses
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib import RunConfig, run
from langevin_ib.ensemble import checkpoint
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
    assert 600 <= told["step"] < 1200
    assert f'resumed "sampling" at step {told["step"]} of 1200 from ' in caplog.text
    np.testing.assert_array_equal(resumed.trace["value"], plain.trace["value"])
    assert resumed.summary["invariants"]["z"]["empirical"] == plain.summary["invariants"]["z"]["empirical"]
    folders.discard(resumed.checkpoints)
    assert not list(places[0].iterdir())

    monkeypatch.setitem(standing, "target", 1.02)
    caplog.clear()
    # A configuration builds its model once: that of another process builds it again.
    anew = run(RunConfig(**SETTINGS), chunk_records=20, checkpoints=places[1])
    assert anew.summary["run"]["resumed"] == []
    assert caplog.text == ""
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
