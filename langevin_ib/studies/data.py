"""Users' own data for figures 4, 5 and 6: an .npz file, checked as it is read."""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np
from jaxtyping import Float

from langevin_ib.errors import ConfigError, one_line

# Key ↦ shape, the lengths by name; a key that can be checked against another comes after it.
KEYS = {
    4: {"T_observed": ("m", "n"), "mask": ("m", "n"), "T_true": ("m", "n")},
    5: {"t_train": ("n",), "y_train": ("n",), "w_true": ("D",)},
    6: {"A": ("m", "N"), "y": ("m",), "x_true": ("N",)},
}
OPTIONAL = ("T_true", "w_true", "x_true")
LARGEST = 1e9  # training is in float32, which overflows at the square of 10¹⁹
AT_LEAST = 2  # of every length but D: one row, point or entry leaves nothing to fit or to hold out


def load(path: str | os.PathLike[str], figure: int) -> dict[str, Float[np.ndarray, "..."]]:
    """The arrays of a user's .npz file, as float64.

    | figure | keys |
    |---|---|
    | 4 | `T_observed` (m, n), `mask` (m, n) of 0 and 1; optional `T_true` (m, n) |
    | 5 | `t_train` (n,), `y_train` (n,); optional `w_true` (D,) |
    | 6 | `A` (m, N), `y` (m,); optional `x_true` (N,) |

    Entries of `T_observed` where the mask is 0 may be anything, NaN too: they are returned as 0.

    Args:
        path: the file.
        figure: 4, 5 or 6.

    Raises:
        ConfigError: of the option `data`, the file is missing or none of NumPy's, lacks a key or has an unknown one, or
            an array is of another shape, empty, not of finite real numbers up to 10⁹; lengths but D are at least 2; a
            mask has a 0 and a 1.
    """
    if figure not in KEYS:
        raise ConfigError("figure", f"one of {', '.join(map(str, KEYS))}", figure)
    shapes = KEYS[figure]
    raw = _read_arrays(path)
    for key in raw:
        if key not in shapes:
            raise ConfigError("data", f"an .npz file with keys among {', '.join(shapes)}", f"key {key!r}")
    arrays: dict[str, np.ndarray] = {}
    lengths: dict[str, int] = {}
    for key, names in shapes.items():
        if key not in raw:
            if key in OPTIONAL:
                continue
            raise _shape_error(key, names, f"no such key among {', '.join(raw) or 'none'}")
        _check_shape(key, names, raw[key], lengths)
        arrays[key] = _as_float64(key, names, raw[key])
    if "mask" in arrays:
        _blank_unobserved(arrays)
    for key, array in arrays.items():
        non_finite = int(np.sum(~np.isfinite(array)))
        if non_finite:
            raise _shape_error(key, shapes[key], f"{non_finite} that are NaN or infinite", of="finite numbers")
        if np.abs(array).max() > LARGEST:
            raise _shape_error(key, shapes[key], f"{np.abs(array).max():g}", of=f"numbers up to {LARGEST:g}")
    return arrays


def _read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    expected = "an .npz file that can be read"
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with open(path, "rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ConfigError("data", expected, f"a single array in {os.fspath(path)}")
            return {key: np.asarray(file[key]) for key in file.files}
    except OSError as error:
        raise ConfigError("data", expected, f"{os.fspath(path)}: {error.strerror or one_line(error)}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ConfigError):
            raise
        # NumPy's message about pickled data depends on its content, and advises to load it nevertheless.
        fault = "pickled objects" if "pickle" in str(error) else one_line(error)
        raise ConfigError("data", expected, f"{os.fspath(path)}: {fault}") from None


def _check_shape(key: str, names: tuple[str, ...], array: np.ndarray, lengths: dict[str, int]) -> None:
    if array.ndim != len(names):
        raise _shape_error(key, names, f"shape {array.shape}")
    for name, length in zip(names, array.shape, strict=True):
        if length < (1 if name == "D" else AT_LEAST):
            raise _shape_error(key, names, f"{name} = {length}", of="at least 2 numbers along each axis")
        if lengths.setdefault(name, length) != length:
            raise _shape_error(
                key, names, f"shape {array.shape}", of=f"{name} = {lengths[name]} as in the other arrays"
            )


def _as_float64(key: str, names: tuple[str, ...], array: np.ndarray) -> Float[np.ndarray, "..."]:
    if array.dtype.kind not in "biuf":
        raise _shape_error(key, names, f"dtype {array.dtype}", of="real numbers")
    return array.astype(np.float64)


def _blank_unobserved(arrays: dict[str, np.ndarray]) -> None:
    mask = arrays["mask"]
    invalid = mask[(mask != 0) & (mask != 1)]
    if invalid.size:
        raise _shape_error("mask", ("m", "n"), f"{invalid[0]:g}", of="zeros and ones")
    if mask.all() or not mask.any():
        raise _shape_error("mask", ("m", "n"), f"{'ones' if mask.all() else 'zeros'} alone", of="zeros and ones")
    arrays["T_observed"] = np.where(mask == 1, arrays["T_observed"], 0.0)


def _shape_error(key: str, names: tuple[str, ...], got: str, of: str = "") -> ConfigError:
    shape = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
    return ConfigError("data", f"an .npz file with {key} of shape {shape}{of and ', ' + of}", got)
