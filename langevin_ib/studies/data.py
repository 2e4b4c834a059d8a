"""Users' own data for figures 4, 5 and 6."""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Float

from langevin_ib.errors import ConfigError
from langevin_ib.models.data import Wanted, load_arrays

OPTIONAL = ("T_true", "w_true", "x_true")
KEYS = {
    4: Wanted({"T_observed": ("m", "n"), "mask": ("m", "n"), "T_true": ("m", "n")}, OPTIONAL),
    5: Wanted({"t_train": ("n",), "y_train": ("n",), "w_true": ("D",)}, OPTIONAL, {"D": 1}),
    6: Wanted({"A": ("m", "N"), "y": ("m",), "x_true": ("N",)}, OPTIONAL),
}


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
        ConfigError: there is no such figure; or of the option `data`, as `models.data.load_arrays`. Lengths but D are
            at least 2.
    """
    if figure not in KEYS:
        raise ConfigError("figure", f"one of {', '.join(map(str, KEYS))}", figure)
    return load_arrays(path, KEYS[figure])
