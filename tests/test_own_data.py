"""Data of one's own in runs: files good and bad, what they decide, and a changed file told from the old one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import langevin_ib
from langevin_ib import ConfigError, RunConfig
from langevin_ib.config.choices import reconciled
from langevin_ib.config.models import digest_of_file
from langevin_ib.models import build_model
from langevin_ib.studies.config import AttributionConfig

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(6, 3))
SIGNS = np.array([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
SEQUENCES = RANDOM.normal(size=(4, 3, 2))
HIDDEN = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]])
GOOD = {
    "uv": ({"x": X[:, 0], "y": X[:, 1]}, {}),
    "uv logistic": ({"x": X[:, 0], "y": SIGNS}, {"loss": "logistic"}),
    "relu": ({"x": X, "y": X[:, 1]}, {}),
    "relu logistic": ({"x": X, "y": SIGNS}, {"loss": "logistic"}),
    "hadamard huber": ({"A": X, "y": X[:, 1]}, {"loss": "huber", "huber_threshold": 0.5}),
    "attention": ({"x": SEQUENCES, "y": SEQUENCES}, {}),
    "attention cross-entropy": (
        {"x": SEQUENCES, "y": RANDOM.integers(0, 5, size=(4, 3)), "V": RANDOM.normal(size=(1, 2, 5))},
        {"loss": "cross-entropy"},
    ),
    "matrix": ({"T_observed": np.where(HIDDEN, RANDOM.normal(size=(4, 3)), np.nan), "mask": HIDDEN}, {}),
    "matrix logistic": ({"T_observed": np.sign(RANDOM.normal(size=(4, 3))), "mask": HIDDEN}, {"loss": "logistic"}),
}


def save(folder, arrays, name="data.npz"):
    np.savez(folder / name, **arrays)
    return str(folder / name)


def built(folder, name, options=None):
    arrays, more = GOOD[name]
    return build_model(name.split()[0], {"data": save(folder, arrays), **more, **(options or {})})


@pytest.mark.full(but=["uv logistic"])
@pytest.mark.parametrize("name", [name for name, (_, options) in GOOD.items() if options])
def test_models_of_good_files_keep_their_contract(name, tmp_path):
    langevin_ib.check_model(built(tmp_path, name), jax.random.key(0))


def test_a_loss_is_that_of_the_file(tmp_path):
    """w mean log(1 + e^{−y x z}) in NumPy."""
    model = built(tmp_path, "uv logistic")
    wanted = np.logaddexp(0.0, -SIGNS * X[:, 0] * 0.6).mean()
    assert float(model.loss(jnp.array([1.2, 0.5]))) == pytest.approx(wanted, rel=1e-6)
    assert model.training is not None
    assert model.training.size == 6
    assert model.training.fresh is None


BAD = {
    "no file": ("uv", None, {}, "data must be an .npz file that can be read, got"),
    "no key": ("uv", {"x": X[:, 0]}, {}, "data must be an .npz file with y of shape (n,), got no such key among x"),
    "another key": (
        "relu",
        {"x": X, "y": SIGNS, "z": X},
        {},
        "data must be an .npz file with keys among x, y, got key",
    ),
    "a vector": ("relu", {"x": X[:, 0], "y": SIGNS}, {}, "data must be an .npz file with x of shape (n, d), got shape"),
    "lengths": (
        "hadamard",
        {"A": X, "y": SIGNS[:4]},
        {},
        "data must be an .npz file with y of shape (n,), n = 6 as in",
    ),
    "no number": ("uv", {"x": X[:, 0] * np.nan, "y": SIGNS}, {}, "data must be an .npz file with x of shape (n,), fin"),
    "labels": ("uv", {"x": X[:, 0], "y": X[:, 1]}, {"loss": "logistic"}, "data must be an .npz file with labels that"),
    "classes": (
        "attention",
        {"x": SEQUENCES, "y": np.full((4, 3), 2)},
        {"loss": "cross-entropy"},
        "data must be an .npz file with labels that are whole numbers from 0 to 1 with loss cross-entropy (2 classes, "
        "the channels of V; an array V of shape (1, 2, 3), heads × inputs × classes, makes them 3), got 2",
    ),
    "channels": ("attention", {"x": SEQUENCES, "y": np.ones((4, 3, 3))}, {}, "data must be an .npz file with y of sha"),
    "values": (
        "attention",
        {"x": SEQUENCES, "y": SEQUENCES, "V": np.ones((1, 3, 2))},
        {},
        "data must be an .npz file with V of shape (h, d, c), d = 2 as in the other arrays, got shape (1, 3, 2)",
    ),
    "heads": (
        "attention",
        {"x": SEQUENCES, "y": SEQUENCES, "V": np.ones((2, 2, 2))},
        {},
        "data must be an .npz file with V of shape (1, 2, c), heads × inputs × channels, got shape (2, 2, 2)",
    ),
    "what it decides": ("relu", {"x": X, "y": SIGNS}, {"inputs": 3}, "set must be made without inputs where data are"),
    "the other loss": (
        "uv",
        {"x": X[:, 0], "y": SIGNS},
        {"loss": "cross-entropy"},
        "loss must be one of squared, logi",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(case, tmp_path):
    model, arrays, options, message = BAD[case]
    path = str(tmp_path / "none.npz") if arrays is None else save(tmp_path, arrays)
    with pytest.raises(ConfigError) as caught:
        build_model(model, {"data": path, **options})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_go_together(tmp_path):
    path = save(tmp_path, GOOD["uv"][0])
    for settings, message in (
        ({"data": path, "target": 2.0}, "target must be left out with data, which decide it, got 2"),
        ({"huber_threshold": 2.0}, "huber_threshold must be left out unless loss is huber, got 2"),
        ({"data_sha256": "ab"}, "data_sha256 must be left out without data, got ab"),
        (
            {"model": "rotation", "loss": "huber"},
            "loss must be left out unless model is uv, attention, hadamard, matrix",
        ),
        ({"data": str(tmp_path / "none.npz")}, "data must be a file that can be read, got"),
        ({"options": {"loss": "huber"}}, "options must be without loss, which has an option of its own, --loss, got"),
    ):
        with pytest.raises(ConfigError) as caught:
            RunConfig(**settings)
        assert str(caught.value).startswith(message)


def test_a_changed_file_is_another_run_and_no_file_of_the_old_one(tmp_path):
    path = save(tmp_path, GOOD["uv"][0])
    old = RunConfig(data=path)
    assert old.data_sha256 == digest_of_file(path)
    assert RunConfig.from_dict(old.to_dict()).digest() == old.digest()
    old.build_model()
    save(tmp_path, GOOD["uv logistic"][0])
    assert RunConfig(data=path).digest() != old.digest()
    kept = RunConfig.from_dict(old.to_dict())  # of `config.toml`, and of a run to be resumed or extended
    assert kept.digest() == old.digest()
    with pytest.raises(ConfigError) as caught:
        kept.build_model()
    assert str(caught.value).startswith("data must be the file that these settings were made with, whose content has")
    assert "which has changed" in str(caught.value)


def test_another_file_typed_over_a_configuration_is_taken_as_it_is(tmp_path):
    path = save(tmp_path, GOOD["uv"][0])
    other = save(tmp_path, GOOD["uv logistic"][0], "other.npz")
    kept = reconciled(RunConfig(data=path).to_dict(), {"data": other})
    assert RunConfig.from_dict(kept | {"data": other}).data_sha256 == digest_of_file(other)


def test_an_attribution_knows_a_changed_file(tmp_path):
    path = save(tmp_path, GOOD["relu"][0])
    old = AttributionConfig(model="relu", options={"data": path})
    save(tmp_path, GOOD["relu logistic"][0])
    assert AttributionConfig(model="relu", options={"data": path}).digest() != old.digest()
    assert AttributionConfig(**old.to_dict()).digest() == old.digest()


@pytest.mark.full
def test_a_run_on_a_file_obeys_its_law(tmp_path):
    """Langevin dynamics of logistic regression through uv on a file, under weight decay; slice is the control."""
    result = langevin_ib.run(
        RunConfig(
            **{"loss": "logistic", "data": save(tmp_path, GOOD["uv logistic"][0]), "confine": "weight-decay"},
            weight_decay=0.1,
            beta=10.0,
            chains=256,
            steps=4000,
            margin=0.03,
        )
    )
    assert result.verdicts["exact"] == "agrees"
    assert result.verdicts["slice"] == "differs"
