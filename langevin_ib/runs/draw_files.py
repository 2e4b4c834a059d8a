"""Files of draws: NumPy's .npz, NetCDF as ArviZ writes it (and `draws.nc` of a run), and CSV."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from langevin_ib.errors import DrawsError, one_line

GROUP = "posterior"
CHAIN, DRAW = "chain", "draw"
KINDS = (".npz", ".nc", ".csv")


def read_draws(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array of shape (chain, draw, …)} of a file.

    Args:
        path: a .npz whose arrays have these axes, a .nc whose group `posterior` (or root) has the dimensions chain and
            draw, or a .csv with a column `chain`, a column `draw` if rows are not in order, and one for each number:
            `z`, or `theta[0]`, `theta[1]`.

    Raises:
        DrawsError: there is no such file, or it is none of these.
    """
    place = Path(path)
    kind = place.suffix.lower()
    if kind not in KINDS:
        raise DrawsError(f"{path}: a file of draws must end in {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    read = {".npz": _npz, ".nc": _netcdf, ".csv": _csv}[kind]
    try:
        content = place.read_bytes()
        return read(content, str(path))
    except DrawsError:
        raise
    except OSError as error:
        raise DrawsError(f"{path}: it cannot be read ({error.strerror or error})") from None


def of_dataset(dataset: Any, source: str) -> dict[str, np.ndarray]:
    """The variables of an xarray dataset, chain and draw first; `posterior` of a tree, or of ArviZ's InferenceData.

    Raises:
        DrawsError: it has no variable with both dimensions.
    """
    held = getattr(dataset, GROUP, None) if not hasattr(dataset, "to_dataset") or hasattr(dataset, "children") else None
    dataset = dataset if held is None else held
    variables = {
        str(name): np.asarray(one.transpose(CHAIN, DRAW, ...).values)
        for name, one in dataset.data_vars.items()
        if {CHAIN, DRAW} <= set(one.dims)
    }
    if not variables:
        raise DrawsError(f"{source}: no variable has the dimensions {CHAIN} and {DRAW}")
    return variables


def assembled(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of which each entry came by itself, `theta[0]`, `theta[1]`, put together; the others as they are.

    >>> parts = {"theta[0]": np.zeros((4, 10)), "theta[1]": np.ones((4, 10)), "z": np.zeros((4, 10))}
    >>> {name: array.shape for name, array in assembled(parts).items()}
    {'z': (4, 10), 'theta': (4, 10, 2)}
    """
    entries: dict[str, dict[tuple[int, ...], np.ndarray]] = {}
    whole: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        base, bracket, index = name.partition("[")
        numbers = index[:-1].split(",")
        if bracket and index.endswith("]") and all(number.strip().isdigit() for number in numbers):
            entries.setdefault(base, {})[tuple(map(int, numbers))] = array
        else:
            whole[name] = array
    for base, parts in entries.items():
        shape = tuple(1 + max(index) for index in zip(*parts, strict=True))
        each = {np.shape(part) for part in parts.values()}
        if len(parts) != np.prod(shape) or len(each) > 1:
            raise DrawsError(f"{base}: it must come with all of its {int(np.prod(shape))} entries, got {len(parts)}")
        stacked = np.stack([parts[index] for index in sorted(parts)], axis=-1)
        whole[base] = stacked.reshape(*stacked.shape[:-1], *shape)
    return whole


def _npz(content: bytes, source: str) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(io.BytesIO(content)):  # of which NumPy would ask whether it is to be trusted
        raise DrawsError(f"{source}: it is no .npz file")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DrawsError(f"{source}: it is no .npz file of numbers ({one_line(error)})") from None


def _netcdf(content: bytes, source: str) -> dict[str, np.ndarray]:
    import xarray as xr  # noqa: PLC0415 - takes a while to import

    for group in (GROUP, None):
        try:
            with xr.open_dataset(io.BytesIO(content), engine="h5netcdf", group=group) as dataset:
                return of_dataset(dataset.load(), source)
        except (OSError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, DrawsError):
                raise
            if group is None:
                raise DrawsError(f"{source}: it is no NetCDF file with draws ({one_line(error)})") from None
    raise AssertionError


def _csv(content: bytes, source: str) -> dict[str, np.ndarray]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
        names = [name.strip() for name in next(csv.reader(lines[:1]), [])]
        table = np.loadtxt(lines[1:], delimiter=",", ndmin=2) if len(lines) > 1 else np.zeros((0, 0))
    except ValueError as error:
        raise DrawsError(f"{source}: it is no CSV file of numbers ({one_line(error)})") from None
    if CHAIN not in names:
        raise DrawsError(f"{source}: a CSV file of draws must have a column {CHAIN}, got {', '.join(names) or 'none'}")
    if table.shape[1] != len(names) or len(set(names)) < len(names):
        raise DrawsError(f"{source}: its {table.shape[1]} columns must have a name each, got {', '.join(names)}")
    columns = dict(zip(names, table.T, strict=True))
    chain = columns.pop(CHAIN)
    draw = columns.pop(DRAW, np.arange(len(chain)))
    chains, counts = np.unique(chain, return_counts=True)
    if len(set(counts.tolist())) > 1:
        raise DrawsError(
            f"{source}: all chains must have as many draws as each other, got {counts.min()} to {counts.max()}"
        )
    order = np.lexsort((draw, chain))
    return {name: column[order].reshape(len(chains), -1) for name, column in columns.items()}
