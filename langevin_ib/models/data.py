"""Data of one's own: an .npz file, checked as it is read, and the digest that tells one file from another."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from langevin_ib.config.models import digest_of_file
from langevin_ib.errors import ConfigError, one_line

AT_LEAST = 2
LARGEST = 1e9  # training is in float32, which overflows at the square of 10¹⁹
Shape = tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a file has to hold: key ↦ shape, the lengths by name; a key checked against another comes after it.

    Attributes:
        keys: of all arrays.
        optional: of those that may be missing.
        least: of the lengths, 2 unless given: one row or point may leave nothing to fit or to hold out.
    """

    keys: Mapping[str, Shape]
    optional: Collection[str] = ()
    least: Mapping[str, int] | None = None


def load_arrays(path: str | os.PathLike[str], wanted: Wanted) -> dict[str, Float[np.ndarray, "..."]]:
    """The arrays of a user's .npz file, as float64.

    Entries of `T_observed` where the `mask` is 0 may be anything, NaN too: they are returned as 0.

    Args:
        path: the file.
        wanted: its keys and shapes.

    Raises:
        ConfigError: of the option `data`, the file is missing or none of NumPy's, lacks a key or has an unknown one, or
            an array is of another shape, empty, not of finite real numbers up to 10⁹; a mask has a 0 and a 1.
    """
    shapes = wanted.keys
    raw = _read_arrays(path)
    for key in raw:
        if key not in shapes:
            raise ConfigError("data", f"an .npz file with keys among {', '.join(shapes)}", f"key {key!r}")
    arrays: dict[str, np.ndarray] = {}
    lengths: dict[str, int] = {}
    for key, names in shapes.items():
        if key not in raw:
            if key in wanted.optional:
                continue
            raise _shape_error(key, names, f"no such key among {', '.join(raw) or 'none'}")
        _check_shape(key, names, raw[key], lengths, wanted.least or {})
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


def load_data(path: str, digest: str, wanted: Wanted) -> dict[str, Float[np.ndarray, "..."]]:
    """The data of a model, of the content that its settings name.

    Args:
        path: the file.
        digest: `digest_of_file` of it; empty for any content.
        wanted: its keys and shapes.

    Raises:
        ConfigError: as `load_arrays`; or the file is another than that of the digest.
    """
    if digest and (got := digest_of_file(path)) != digest:
        raise ConfigError(
            "data",
            f"the file that these settings were made with, whose content has the digest {digest}",
            f"{path}, which has changed: its digest is {got} (without data_sha256 the settings are those of a new run)",
        )
    return load_arrays(path, wanted)


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


def _check_shape(key: str, names: Shape, array: np.ndarray, lengths: dict[str, int], least: Mapping[str, int]) -> None:
    if array.ndim != len(names):
        raise _shape_error(key, names, f"shape {array.shape}")
    for name, length in zip(names, array.shape, strict=True):
        if length < (low := least.get(name, AT_LEAST)):
            where = "each axis" if low == AT_LEAST else f"the axis {name}"
            raise _shape_error(key, names, f"{name} = {length}", of=f"at least {low} numbers along {where}")
        if lengths.setdefault(name, length) != length:
            raise _shape_error(
                key, names, f"shape {array.shape}", of=f"{name} = {lengths[name]} as in the other arrays"
            )


def _as_float64(key: str, names: Shape, array: np.ndarray) -> Float[np.ndarray, "..."]:
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


def _shape_error(key: str, names: Shape, got: str, of: str = "") -> ConfigError:
    shape = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
    return ConfigError("data", f"an .npz file with {key} of shape {shape}{of and ', ' + of}", got)
