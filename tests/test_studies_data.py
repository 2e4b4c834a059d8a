"""Users' data: what is right comes back as float64, everything else is refused in one line with exit code 2."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from langevin_ib.cli.command import BAD_INPUT, guarded
from langevin_ib.errors import ConfigError
from langevin_ib.studies.data import load

GOOD = {
    4: {
        "T_observed": np.array([[1.0, np.nan, 2.0], [np.nan, 3.0, np.inf]]),
        "mask": np.array([[1, 0, 1], [0, 1, 0]]),
        "T_true": np.ones((2, 3)),
    },
    5: {"t_train": np.linspace(0.0, 1.0, 5), "y_train": np.arange(5), "w_true": np.ones(7)},
    6: {"A": np.ones((3, 4), np.float32), "y": np.zeros(3), "x_true": np.zeros(4)},
}


def save(folder, arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def refusal(path, figure, capsys):
    """What a command line says of it."""
    with pytest.raises(ConfigError) as caught:
        load(path, figure)
    assert caught.value.option == "data"
    assert "\n" not in str(caught.value)

    def work():
        load(path, figure)
        return 0

    assert guarded("figure", work) == BAD_INPUT
    line = capsys.readouterr().err
    assert line.startswith("figure: error: --data must be ")
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize("figure", GOOD)
@pytest.mark.parametrize("optional", [True, False])
def test_good_files_come_back_in_float64(tmp_path, figure, optional):
    given = {k: v for k, v in GOOD[figure].items() if optional or not k.endswith("_true")}
    found = load(save(tmp_path, given), figure)
    assert found.keys() == given.keys()
    assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in found.values())
    for key in given.keys() - {"T_observed"}:
        np.testing.assert_array_equal(found[key], given[key])


def test_what_is_not_observed_is_zero_and_a_mask_may_be_bool(tmp_path):
    given = GOOD[4] | {"mask": GOOD[4]["mask"].astype(bool)}
    found = load(str(save(tmp_path, given)), 4)
    np.testing.assert_array_equal(found["T_observed"], [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    np.testing.assert_array_equal(found["mask"], GOOD[4]["mask"])


@pytest.mark.parametrize(
    ("figure", "change", "wanted", "got"),
    [
        (5, {"t_train": None}, "t_train of shape (n,)", "no such key among y_train, w_true"),
        (4, {"mask": None}, "mask of shape (m, n)", "no such key"),
        (6, {"A": None, "y": None, "x_true": None}, "A of shape (m, N)", "no such key among none"),
        (5, {"x_true": np.ones(7)}, "keys among t_train, y_train, w_true", "got key 'x_true'"),
        (5, {"t_train": np.ones((5, 1))}, "t_train of shape (n,)", "got shape (5, 1)"),
        (5, {"w_true": np.float64(3.0)}, "w_true of shape (D,)", "got shape ()"),
        (6, {"A": np.ones(3)}, "A of shape (m, N)", "got shape (3,)"),
        (5, {"y_train": np.ones(4)}, "y_train of shape (n,), n = 5", "got shape (4,)"),
        (6, {"y": np.ones(4)}, "y of shape (m,), m = 3", "got shape (4,)"),
        (6, {"x_true": np.ones(3)}, "x_true of shape (N,), N = 4", "got shape (3,)"),
        (4, {"mask": np.ones((3, 2))}, "mask of shape (m, n), m = 2", "got shape (3, 2)"),
        (4, {"T_true": np.ones((2, 4))}, "T_true of shape (m, n), n = 3", "got shape (2, 4)"),
        (5, {"w_true": np.ones(0)}, "w_true of shape (D,)", "got D = 0"),
        (5, {"t_train": np.ones(0), "y_train": np.ones(0)}, "t_train of shape (n,)", "got n = 0"),
        (5, {"t_train": np.ones(1), "y_train": np.ones(1)}, "at least 2", "got n = 1"),
        (6, {"A": np.ones((3, 1)), "x_true": np.ones(1)}, "at least 2", "got N = 1"),
        (4, {"T_observed": np.ones((1, 3))}, "at least 2", "got m = 1"),
        (4, {"T_observed": np.ones((3, 1))}, "at least 2", "got n = 1"),
        (5, {"y_train": np.array([1.0, np.nan, 0.0, 0.0, np.inf])}, "y_train of shape (n,), finite", "got 2 that"),
        (6, {"A": np.full((3, 4), -np.inf)}, "A of shape (m, N), finite", "got 12 that"),
        (4, {"T_observed": np.full((2, 3), np.nan)}, "T_observed of shape (m, n), finite", "got 3 that"),
        (4, {"T_true": np.full((2, 3), np.nan)}, "T_true of shape (m, n), finite", "got 6 that"),
        (4, {"mask": np.full((2, 3), np.nan)}, "mask of shape (m, n), zeros and ones", "got nan"),
        (4, {"mask": np.full((2, 3), 0.5)}, "mask of shape (m, n), zeros and ones", "got 0.5"),
        (4, {"mask": np.full((2, 3), -1)}, "mask of shape (m, n), zeros and ones", "got -1"),
        (4, {"mask": np.zeros((2, 3))}, "zeros and ones", "got zeros alone"),
        (4, {"mask": np.ones((2, 3)), "T_observed": np.ones((2, 3))}, "zeros and ones", "got ones alone"),
        (5, {"t_train": np.full(5, -1e308)}, "t_train of shape (n,), numbers up to 1e+09", "got 1e+308"),
        (5, {"t_train": np.ones(5, complex)}, "t_train of shape (n,), real numbers", "got dtype complex128"),
        (5, {"y_train": np.array(list("abcde"))}, "y_train of shape (n,), real numbers", "got dtype <U1"),
        (5, {"y_train": np.zeros(5, "datetime64[s]")}, "y_train of shape (n,), real numbers", "got dtype datetime64"),
        (5, {"y_train": np.array([None] * 5)}, "an .npz file that can be read", "pickled objects"),
    ],
)
def test_wrong_arrays(tmp_path, capsys, figure, change, wanted, got):
    arrays = {key: value for key, value in (GOOD[figure] | change).items() if value is not None}
    line = refusal(save(tmp_path, arrays), figure, capsys)
    assert wanted in line
    assert got in line


def archive(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def whole():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **GOOD[5])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "EOFError"),
        (b"t,y\n1,2\n", "pickled objects"),
        (pickle.dumps({"t_train": [1.0]}), "pickled objects"),
        (whole()[:200], "File is not a zip file"),
        (whole().replace(whole()[60:70], bytes(10), 1), ""),
        (archive({"t_train.npy": b"\x93NUMPY"}), ""),
        (archive({"t_train.txt": b"1 2 3"}), "key 't_train.txt'"),
        (archive({}), "no such key among none"),
    ],
    ids=["empty", "text", "pickle", "truncated", "damaged", "header alone", "text inside", "no members"],
)
def test_files_that_are_not_arrays(tmp_path, capsys, content, got):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert got in refusal(path, 5, capsys)


def test_files_that_are_not_there(tmp_path, capsys):
    assert "No such file or directory" in refusal(tmp_path / "none.npz", 5, capsys)
    assert "Is a directory" in refusal(tmp_path, 5, capsys)
    single = tmp_path / "single.npy"
    np.save(single, np.ones(3))
    assert "a single array" in refusal(single, 5, capsys)


def test_other_figures_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="figure must be one of 4, 5, 6, got 3"):
        load(tmp_path / "data.npz", 3)
