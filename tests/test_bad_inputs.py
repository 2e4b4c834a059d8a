"""A hundred bad inputs: one line that names what was given, exit 2 or 3, nothing written, no traceback.

Settings are generated from the records that describe them, so that a new field is tried without being thought of here.
"""

import importlib
import json
import math
import warnings

import bad_models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langevin_ib import attribute, run, sim
from langevin_ib.cli.command import flag
from langevin_ib.config import extensions, kinds
from langevin_ib.config.processes import SgdSettings
from langevin_ib.config.run import RunConfig, flat_settings
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.request import Request

TRIES = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
QUICK = ["--chains", "16", "--steps", "300", "--bins", "2", "--reference", "none", "--step-check", "no"]
CHEAP = ["--window", "0.3", "2", "--laws", "exact", "--step-size", "1e-3"]


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys):
    """A command's exit code and its standard error, once it is known that a refusal is one line and writes nothing."""
    monkeypatch.chdir(tmp_path)

    def ask(main, argv):
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        code = main(argv)
        out, err = capsys.readouterr()
        if code != 0:
            assert code in (2, 3)
            assert out == ""
            assert err.count("\n") == 1, err
            assert ": error: " in err
            assert sorted(tmp_path.rglob("*")) == before
        return code, err

    return ask


# Settings, from the records.

WORDS = st.text("abcdefgh", min_size=3, max_size=8)


def not_a_number(allowed):
    numbers = st.one_of(st.integers(-(10**40), 10**40).map(float), st.floats())
    return st.one_of(WORDS, numbers.filter(lambda x: not (math.isfinite(x) and allowed(x))).map(repr))


def not_a_count(low, high):
    return st.one_of(
        WORDS,
        st.integers(max_value=low - 1).map(str),
        st.integers(min_value=high + 1).map(str),
        st.floats().map(repr),
        st.sampled_from(["9" * 5000, "-" + "9" * 400, "1e400", "0x10", " ", "½"]),
    )


def refused_texts(setting):
    """Text that an option must not take, by what its declaration says."""
    kind = setting.kind
    if isinstance(kind, kinds.Real):
        return not_a_number(kind.allows)
    if isinstance(kind, kinds.Whole):
        return not_a_count(kind.low, kind.high)
    if isinstance(kind, kinds.OneOf | kinds.YesNo):
        return WORDS.filter(lambda text: text not in kind.choices)
    if isinstance(kind, kinds.Extension):
        nowhere = [WORDS.map(lambda text: text + ":"), WORDS.map(lambda text: f"{text}:{text}")]
        return st.one_of(WORDS.filter(lambda text: text not in kind.names), *nowhere, st.just(""))
    if isinstance(kind, kinds.Diagonal):
        return not_a_number(lambda x: x > 0)
    if isinstance(kind, kinds.Interval):
        return st.one_of(WORDS.filter(lambda w: w != "auto"), st.floats().map(repr))
    return WORDS  # of options, names, and a model that is a name alone


@pytest.mark.parametrize("name", [name for name, one in flat_settings().items() if one.option])
@TRIES
@given(data=st.data())
def test_a_setting_of_a_run_that_is_out_of_its_range_is_one_line(answer, name, data):
    text = data.draw(refused_texts(flat_settings()[name]))
    sampler = ["--sampler", "sgd"] if name in SgdSettings.declared() else []
    code, line = answer(sim.main, [*sampler, f"{flag(name)}={text}"])
    assert code == 2
    assert f"{flag(name)} must be" in line


ATTRIBUTED = {name: one for name, one in AttributionConfig.declared().items() if name not in ("one_task", "precision")}


@pytest.mark.parametrize("name", ATTRIBUTED)
@TRIES
@given(data=st.data())
def test_a_setting_of_an_attribution_that_is_out_of_its_range_is_one_line(answer, name, data):
    texts = (
        WORDS.filter(lambda text: text not in extensions.names("model"))
        if name == "model"
        else refused_texts(ATTRIBUTED[name])
    )
    code, line = answer(attribute.main, [f"{flag(name)}={data.draw(texts)}"])
    assert code == 2
    assert f"{flag(name)} must be" in line


@pytest.mark.parametrize("changes", [{"precision": 64.0}, {"one_task": 1}, {"model": 3}, {"options": [1]}])
def test_what_an_attribution_has_no_text_for_is_refused_too(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=f"^{name} must be"):
        AttributionConfig(**changes)


# Files of settings.

SETTINGS = {
    "no TOML": (b"beta = ", "--config must be valid TOML"),
    "no text": (b"\xff\xfe\x00", "--config must be a TOML file in UTF-8"),
    "a number of 5000 digits": (b"seed = " + b"9" * 5000, "a number of too many digits"),
    "a number of 4000 digits": (b"seed = " + b"9" * 4000, "got 99999999… (4000 digits) (from bad.toml)"),
    "an option of 400 digits": (
        b"[options]\nsamples = " + b"9" * 400,
        "samples = 99999999… (400 digits) (from bad.toml)",
    ),
    "brackets without end": (b"metric = " + b"[" * 5000, "nested too deeply"),
    "an unknown setting": (b"bta = 3", "--config must be made of known settings"),
    "a table": (b"[model]\nname = 'uv'", "--model must be a name, a Model, or a function that builds one, got a dict"),
    "a date": (b"beta = 1979-05-27", "--beta must be a positive number, got 1979-05-27 (from bad.toml)"),
    "a mark before the text": (
        b"\xef\xbb\xbfbeta = -3.0",
        "--beta must be a positive number, got -3.0 (from bad.toml)",
    ),
    "an object's name": (b"model = 'uv@c0da5acf'", "got uv@c0da5acf, which stands for an object"),
    "burn-in above the steps typed": (
        b"burn_in = 20000",
        "--burn-in must be below steps (500), got 20000 (from bad.toml)",
    ),
    "not a list": (b"laws = 3", "--laws must be a list of laws, got 3 (from bad.toml)"),
    "a list of lists": (b"window = [[1], [2]]", "--window must be two finite numbers"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_bad_file_of_settings_is_one_line(answer, tmp_path, case):
    content, message = SETTINGS[case]
    (tmp_path / "bad.toml").write_bytes(content)
    code, line = answer(sim.main, ["--config", "bad.toml", "--steps", "500"])
    assert code == 2
    assert message in line


@pytest.mark.parametrize(("path", "got"), [("", "'' (Is a directory)"), (".", ". (Is a directory)"), ("a\0b", "null")])
def test_a_path_that_is_no_file_is_one_line(answer, path, got):
    code, line = answer(sim.main, ["--config", path])
    assert code == 2
    assert "--config must be" in line
    assert got in line


@pytest.mark.full(
    only=[
        "argv3---steps must be at least --burn-in + 10 thin",
        "argv4-says nothing of its examples (its field training), got label (a default)\\n",
    ]
)
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--beta", "1e12"], "--beta must be such that T = sigma²/beta lies in [1e-8, 1e8], got 1e+12 with sigma 1\n"),
        (["--sigma", "1e9"], "--sigma must be such that T = sigma²/beta lies in [1e-8, 1e8], got 1e+09 with beta 10\n"),
        (["--sampler", "sgd", "--replacement", "no"], "--replacement must be yes with noise label, got no\n"),
        (["--step-size", "1e-3", "--thin", "1000", "--steps", "9000"], "--steps must be at least --burn-in + 10 thin"),
        (["--sampler", "sgd", "--model", "bad_models:good"],
         "says nothing of its examples (its field training), got label (a default)\n"),
    ],
)  # fmt: skip
def test_an_error_names_what_was_typed_or_says_who_set_it(answer, argv, message):
    code, line = answer(sim.main, argv)
    assert code == 2
    assert message in line


# Models.


@pytest.mark.full(
    only=[
        "a loss that is NaN in the window",
        "a loss that is NaN at the starts",
        "an invariant that is NaN",
        "a loss without a minimum",
        "a fault in float32 alone",
    ]
)
@pytest.mark.parametrize("number", range(len(bad_models.FAULTS)), ids=list(bad_models.FAULTS))
def test_a_bad_model_is_one_line_that_names_its_field(answer, number):
    bad_models.SEEN.clear()
    message = list(bad_models.FAULTS.values())[number][1]
    code, line = answer(sim.main, ["--model", "bad_models:faulty", "--set", f"number={number}", *QUICK, "--quiet"])
    assert code == 2
    assert message in line


@pytest.mark.full
def test_a_good_model_passes_what_the_bad_ones_fail(answer):
    """The control: the same command, the same checker."""
    assert answer(sim.main, ["--model", "bad_models:good", *QUICK, *CHEAP, "--quiet"]) == (0, "")


@pytest.mark.full
def test_a_model_that_prints_is_built_once_and_leaves_standard_output_to_the_result(tmp_path, capsys):
    assert sim.main(["--model", "bad_models:loud", *QUICK, *CHEAP, "--json", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["config"]["model"] == "bad_models:loud"
    assert err.count("built") == 1
    assert "traced" in err


# Data of the figures.

FIGURES = {4: "sims.fig4_completion", 5: "sims.fig5_sparse_spectral", 6: "sims.fig6_piecewise_constant"}
SQUARE = {"T_observed": np.eye(3), "mask": np.eye(3)}
POINTS = {"t_train": np.linspace(0, 1, 4), "y_train": np.ones(4)}
SYSTEM = {"A": np.ones((3, 4)), "y": np.ones(3)}
DATA = [
    (4, {}, "T_observed"),
    (4, SQUARE | {"mask": 2 * np.eye(3)}, "zeros and ones"),
    (4, SQUARE | {"mask": np.ones((3, 3))}, "ones alone"),
    (4, SQUARE | {"mask": np.eye(4)}, "mask"),
    (4, SQUARE | {"T_observed": np.full((3, 3), np.nan)}, "T_observed"),
    (4, SQUARE | {"other": np.ones(2)}, "other"),
    (5, {"t_train": POINTS["t_train"]}, "y_train"),
    (5, POINTS | {"y_train": np.ones(5)}, "y_train"),
    (5, POINTS | {"y_train": np.array(["a"] * 4)}, "real numbers"),
    (5, POINTS | {"t_train": np.full(4, 1e300)}, "numbers up to 1e+09"),
    (5, POINTS | {"w_true": np.zeros(0)}, "w_true"),
    (6, SYSTEM | {"A": np.ones(3)}, "A of shape (m, N)"),
    (6, SYSTEM | {"y": np.ones(3) * 1j}, "real numbers"),
    (6, SYSTEM | {"y": np.full(3, np.inf)}, "NaN or infinite"),
    (6, SYSTEM | {"x_true": np.ones(9)}, "x_true"),
    (6, SYSTEM | {"A": np.array([[None] * 4] * 3)}, "pickled objects"),
]


@pytest.mark.parametrize(("figure", "arrays", "message"), DATA)
def test_bad_data_of_a_figure_are_one_line(answer, tmp_path, figure, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    code, line = answer(importlib.import_module(FIGURES[figure]).main, ["--data", "mine.npz", "--seeds", "2"])
    assert code == 2
    assert "--data must be" in line
    assert message in line


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", None])
def test_a_file_that_holds_no_data_is_one_line(answer, tmp_path, figure, content):
    if content is not None:
        (tmp_path / "mine.npz").write_bytes(content)
    code, line = answer(importlib.import_module(FIGURES[figure]).main, ["--data", "mine.npz"])
    assert code == 2
    assert "--data must be an .npz file that can be read, got mine.npz" in line


@pytest.mark.parametrize("name", ["seeds", "seed", "steps", "lr"])
@TRIES
@given(data=st.data())
def test_a_setting_of_a_figure_that_is_out_of_its_range_is_one_line(answer, name, data):
    text = data.draw(refused_texts(Request.declared()[name]))
    code, line = answer(importlib.import_module(FIGURES[5]).main, [f"--{name}={text}"])
    assert code == 2
    assert f"--{name} must be" in line


# Settings in Python.


def test_numbers_of_numpy_and_jax_are_taken_as_pythons():
    taken = RunConfig(
        seed=np.int64(3),
        beta=np.float32(10),
        precision=np.int64(64),
        chains=jnp.asarray(64),
        window=np.array([0.3, 2.0]),
        step_check=np.bool_(False),
        options={"samples": np.int32(4)},
    )
    plain = RunConfig(
        seed=3, beta=10, precision=64, chains=64, window=(0.3, 2.0), step_check=False, options={"samples": 4}
    )
    assert taken == plain
    assert taken.to_toml() == plain.to_toml()
    assert (
        AttributionConfig(seeds=np.int64(8), lr=np.float32(0.5)).to_toml()
        == AttributionConfig(seeds=8, lr=0.5).to_toml()
    )
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2147483647, got -3$"):
        RunConfig(seed=np.int64(-3))


@pytest.mark.full
def test_an_error_of_a_run_in_python_says_who_set_the_value():
    with pytest.raises(ValueError, match=r"^noise must be another for uv here.* got minibatch$"):
        run(RunConfig(sampler="sgd", noise="minibatch"))
    with pytest.raises(ValueError, match=r"^noise must be none for uv.* got label \(a default\)$"):
        run(RunConfig(sampler="sgd", model=bad_models.good()))


def test_a_default_does_not_stand_in_the_way_of_a_change():
    assert RunConfig().replace(confine="weight-decay") == RunConfig(confine="weight-decay")
    assert RunConfig().replace(model="hadamard") == RunConfig(model="hadamard")
    with pytest.raises(ValueError, match="kappa must be left out unless confine is stiff, got 4"):
        RunConfig(kappa=4.0).replace(confine="weight-decay")


def test_a_configuration_takes_a_model_or_a_function_that_builds_one():
    model, other = bad_models.good(), bad_models.but(loss=lambda p: 2.0 * bad_models.RIGHT.loss(p), slice_terms=None)
    config = RunConfig(model=model)
    assert config.build_model() is model
    assert config.replace(beta=3.0).build_model() is model
    assert config.model_name == RunConfig(model=bad_models.good()).model_name
    assert config.model_name.startswith("uv@")
    assert config.digest() == RunConfig(model=bad_models.good()).digest() != RunConfig(model=other).digest()
    with pytest.raises(ValueError, match="which stands for an object and cannot be built from its name"):
        RunConfig.from_dict(config.to_dict()).build_model()
    built = RunConfig(model=bad_models.good)
    assert built.build_model() is built.replace(seed=1).build_model()
    assert RunConfig.from_dict(built.to_dict()).model == built.model_name == "bad_models:good"
    with pytest.raises(ValueError, match="left out for a Model that is built already, got number"):
        RunConfig(model=model, options={"number": 1}).build_model()


@pytest.mark.parametrize("model", ["bad_models:precise", bad_models.precise])
def test_arrays_that_a_model_captures_keep_their_digits_without_a_warning_of_jax(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = RunConfig(model=model).build_model()
    with jax.enable_x64(True):
        assert float(built.loss(jnp.ones(2))) == pytest.approx(0.5e-24, rel=1e-3)
