"""The record of a predicted density, and its bin masses by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Float

from langevin_ib.background import FAST, compiled
from langevin_ib.errors import LawError

LogDensity: TypeAlias = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]

NODES = 12  # Gauss–Legendre nodes per panel
BLOCK = 512  # points evaluated per compiled call, so that every table shares one compilation
GRADING = 4  # z = end + w x⁴ near a window end where a density may be infinite: z^(−1/2) and log z become smooth
STEEP = 8.0  # a bin whose ends are this far apart as a ratio is integrated in log |z|: (0⁺, z) of a law |z|^(−α)
TOLERANCE = 1e-10  # change of any bin mass under halving the panels
MAX_DOUBLINGS = 9
NOT_INTEGRABLE = 1.0 - 1e-3


@dataclass(frozen=True)
class Law:
    """A predicted density of the invariant z, up to normalisation.

    Attributes:
        name: its key in `summary.json`.
        measure: the reference measure that the formula is written against; never left out of a table or legend.
        formula: the density against that measure.
        log_density: z ↦ log of the density in dz (the Jacobian dσ_S/dz included), for a host array of points.
    """

    name: str
    measure: str
    formula: str
    log_density: LogDensity

    @property
    def label(self) -> str:
        """Name and measure, for legends and errors."""
        return f"{self.name} [{self.measure}]"


class Nodes(NamedTuple):
    """Quadrature points and log weights, one row per bin."""

    z: Float[np.ndarray, "bins n"]
    log_weight: Float[np.ndarray, "bins n"]


def bin_nodes(edges: Float[np.ndarray, " edges"], singular_ends: tuple[bool, bool], panels: int) -> Nodes:
    """Gauss–Legendre nodes in each bin, graded towards a window end at which a density may be infinite.

    Where a window ends short of a singularity at 0, so that a bin spans a factor of 8 or more, they lie in log |z|.
    """
    x, w = np.polynomial.legendre.leggauss(NODES)
    corners = np.arange(panels) / panels
    unit = (corners[:, None] + (x + 1) / (2 * panels)).ravel()
    weight = np.tile(w / (2 * panels), panels)
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    z = low + width * unit
    log_weight = np.log(width * weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(edges[1:] / edges[:-1])
    for i in np.flatnonzero(np.isfinite(ratio) & (np.abs(ratio) > np.log(STEEP))):
        z[i] = edges[i] * np.exp(ratio[i] * unit)
        log_weight[i] = np.log(np.abs(ratio[i] * z[i]) * weight)
    graded = width[0] * unit**GRADING, np.log(width[0] * weight * GRADING) + (GRADING - 1) * np.log(unit)
    if singular_ends[0]:
        z[0], log_weight[0] = edges[0] + graded[0], graded[1]
    if singular_ends[1]:
        z[-1], log_weight[-1] = edges[-1] - graded[0], graded[1]
    return Nodes(z, log_weight)


def bin_masses(
    law: Law,
    edges: Float[np.ndarray, " edges"],
    singular_ends: tuple[bool, bool] = (False, False),
    remedy: str = "use a narrower window or more bins, or end the model's branches where a law is singular",
) -> Float[np.ndarray, " bins"]:
    """Probability of each bin given that z lies in the window [e_0, e_B]: integrals of the density, normalised to one.

    Panels are halved until no mass changes by more than 1e-10.

    Args:
        law: the density.
        edges: increasing bin edges.
        singular_ends: whether the window's lower, upper end is the end of the branch, where a density may be infinite.
        remedy: what to do where masses do not settle, for the error.

    Raises:
        LawError: the density is not integrable at an end (says where and how it diverges), or the masses do not settle.

    >>> flat = Law("flat", "dz", "1", lambda z: 0.0 * z)
    >>> bin_masses(flat, np.array([0.0, 1.0, 4.0])).round(12).tolist()
    [0.25, 0.75]
    """
    for end, singular, inward in ((edges[0], singular_ends[0], 1.0), (edges[-1], singular_ends[1], -1.0)):
        if singular:
            _check_integrable(law, edges, float(end), inward)
    previous = None
    for doubling in range(MAX_DOUBLINGS):
        nodes = bin_nodes(edges, singular_ends, 2**doubling)
        masses = _normalised(law, nodes, edges)
        if previous is not None and np.max(np.abs(masses - previous)) < TOLERANCE:
            return masses
        previous = masses
    raise LawError(
        f"law {law.label}: bin masses on [{edges[0]:g}, {edges[-1]:g}] do not settle to {TOLERANCE:g}; {remedy}"
    )


def on_host(
    function: Callable,
    *,
    block: int = BLOCK,
    once: bool = False,
    like: tuple[int, ...] | None = None,
    together: bool = False,
) -> Callable[[np.ndarray], Any]:
    """A one-point JAX function as a host function of an array of points (first axis), in float64, in blocks.

    Args:
        function: of one point.
        block: points of a block; a last one that is not full is filled up.
        once: whether it is called too few times for its compilation to be worth optimising.
        like: the shape of a point, if it shall be compiled now, in the background (`background.compiled`).
        together: whether a block is evaluated at once, so that what is drawn for all points alike is drawn once.
    """
    every = jax.vmap(function) if together else lambda points: jax.lax.map(function, points)
    program = jax.jit(every, compiler_options=FAST if once else None)
    if like is not None:
        program = compiled(program, jax.ShapeDtypeStruct((block, *like), np.float64))

    def evaluate(z):
        z = np.asarray(z, np.float64)
        spare = [(0, -len(z) % block)] + [(0, 0)] * (z.ndim - 1)
        padded = np.pad(z, spare, mode="edge").reshape(-1, block, *z.shape[1:])
        with jax.enable_x64(True):
            blocks = [jax.tree.map(np.asarray, program(points)) for points in padded]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(z)], *blocks)

    return evaluate


def _normalised(law: Law, nodes: Nodes, edges: np.ndarray) -> np.ndarray:
    log_terms = law.log_density(nodes.z.ravel()).reshape(nodes.z.shape) + nodes.log_weight
    if np.isnan(log_terms).any() or not np.isfinite(np.max(log_terms)):
        raise LawError(f"law {law.label}: its density is not finite inside the window [{edges[0]:g}, {edges[-1]:g}]")
    masses = np.exp(log_terms - np.max(log_terms)).sum(axis=1)
    return masses / masses.sum()


def _check_integrable(law: Law, edges: np.ndarray, end: float, inward: float) -> None:
    """Near the end the density behaves like distance^(−α); integrable only for α < 1."""
    distance = (edges[-1] - edges[0]) * np.array([1e-9, 1e-7])
    near, far = law.log_density(end + inward * distance)
    exponent = (near - far) / np.log(distance[1] / distance[0])
    if not exponent < NOT_INTEGRABLE:
        raise LawError(
            f"law {law.label} is not normalisable on the window [{edges[0]:g}, {edges[-1]:g}]: "
            f"its density in dz diverges like |z − {end:g}|^(−{exponent:.2f}) at z = {end:g}"
        )
