"""What is kept of an ensemble of seeds along its training: parameters, and charges, ratios and losses of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

if TYPE_CHECKING:
    Recorded: TypeAlias = Any  # type checkers know no PyTree
else:
    Recorded: TypeAlias = PyTree[Float[np.ndarray, "..."] | Float[Array, "..."]]  # parameters, on the host or not

# What `Paths.ends` says of each seed.
OFF_BY, SMALLEST, LARGEST, KEPT, OFF_AT_START = (
    "ratio off by", "smallest ratio", "largest ratio", "|χ/χ(0)|", "off by at the start",
)  # fmt: skip


class Trained(NamedTuple):
    """Recorded steps and parameters, and the seconds that it took, compilation included.

    Attributes:
        steps: at which parameters were kept, 0 among them.
        flat: these, as vectors.
        like: one point, for shapes.
        wall_s: seconds.
    """

    steps: Float[np.ndarray, " time"]
    flat: Float[np.ndarray, "seed time q"]
    like: Recorded
    wall_s: float

    @property
    def params(self) -> Recorded:
        """Leaves (seed, time, ...)."""
        leaves, structure = jax.tree.flatten(self.like)
        cuts = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        parts = np.split(self.flat, cuts, axis=-1)
        shaped = [part.reshape(*part.shape[:-1], *np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    @property
    def ends(self) -> Recorded:
        """Parameters after the last step, leading axis the seed."""
        return jax.tree.map(lambda leaf: leaf[:, -1], self.params)

    @property
    def first_and_last(self) -> Trained:
        """The start and the end alone."""
        return self._replace(steps=self.steps[[0, -1]], flat=self.flat[:, [0, -1]])


class Paths(NamedTuple):
    """One arm's runs, in float64.

    Attributes:
        charge: χ of every generator.
        size: s = |a||b| of its pair.
        log_ratio: ρ = log |a|/|b| = arsinh(χ/s).
        loss: each seed's own; NaN where it was not asked for.
    """

    charge: Float[np.ndarray, "seed time m"]
    size: Float[np.ndarray, "seed time m"]
    log_ratio: Float[np.ndarray, "seed time m"]
    loss: Float[np.ndarray, "seed time"]

    @property
    def ratio(self) -> Float[np.ndarray, "seed time m"]:
        """|a|/|b|."""
        return np.exp(self.log_ratio)

    @property
    def off_by(self) -> Float[np.ndarray, "seed time"]:
        """The factor by which a typical pair is off balance, exp(median |ρ|) over the generators."""
        return np.exp(np.median(np.abs(self.log_ratio), axis=-1))

    @property
    def charge_left(self) -> Float[np.ndarray, "seed time"]:
        """The median of |χ(t)/χ(0)| over the generators."""
        return np.median(np.abs(self.charge / self.charge[:, :1]), axis=-1)

    @property
    def ends(self) -> dict[str, Float[np.ndarray, " seed"]]:
        """Ratios and charge of each seed at the last point, and how far off the ratios were at the first."""
        return {
            OFF_BY: self.off_by[:, -1],
            SMALLEST: self.ratio[:, -1].min(axis=1),
            LARGEST: self.ratio[:, -1].max(axis=1),
            KEPT: self.charge_left[:, -1],
            OFF_AT_START: self.off_by[:, 0],
        }
