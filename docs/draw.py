"""Figures of the book's pages, from the package's own laws: `python docs/draw.py [FOLDER]` (`docs/figures`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib.config.processes import LAWS
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.geometry import fundamental_fields
from langevin_ib.laws import Law, Reduction, build_laws, formula
from langevin_ib.laws.law import law_kinds
from langevin_ib.laws.sgd import label_noise_gamma
from langevin_ib.models import uv
from langevin_ib.output.plots import BLUE, GREEN, OPEN, ORANGE, PURPLE, closed, line_style

T = 0.1
EPSILON = 0.2  # of the slab
WINDOW = 0.2265, 2.265  # of the main command
Z = np.linspace(*WINDOW, 400)
STYLE: Any = {**OPEN, "font.size": 9, "legend.fontsize": 8, "axes.titlesize": 9}


def density(law: Law, z: np.ndarray = Z) -> np.ndarray:
    """In dz, with integral one over the points."""
    log = np.asarray(law.log_density(z))
    values = np.exp(log - log.max())
    return values / np.trapezoid(values, z)


def row(count: int, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """Panels beside each other."""
    picture, axes = plt.subplots(1, count, figsize=(8.0, height), layout="constrained", squeeze=False)
    return picture, list(axes[0])


def orbits() -> Figure:
    """Orbits of uv and the slice; and the slab |χ| < ε, which is the thinner the larger det G."""
    picture, (plane, slab) = row(2, 3.9)
    side = np.linspace(0.02, 2.2, 300)
    for z in (0.1, 0.3, 0.6, 1.0, 1.5, 2.1):
        plane.plot(side, z / side, color="0.7", linewidth=1.0)
    plane.plot([], [], color="0.7", label="orbits, uv = z")
    plane.plot(side, side, color=BLUE, linewidth=2.0, label="slice S, χ = 0: u = v")
    point = np.array([0.3, 1.0])  # of the orbit z = 0.3
    field = np.asarray(fundamental_fields(uv(), jnp.asarray(point)))[0]
    slope = np.asarray(jax.grad(uv().loss)(jnp.asarray(point)))
    for arrow, size, colour, text in (
        (field, 0.45, ORANGE, "ξ, along the orbit"),
        (-slope, 0.45, GREEN, "−∇L, across it"),
    ):
        tip = point + size * arrow / np.linalg.norm(arrow)
        plane.annotate(
            "", tuple(tip), tuple(point), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.8}
        )
        plane.plot([], [], color=colour, label=text)
    plane.set_title("a  every point of an orbit has one loss", loc="left")
    u, v = np.meshgrid(np.linspace(0, 2.2, 500), np.linspace(0, 2.2, 500))
    slab.contourf(u, v, np.abs(0.5 * (u**2 - v**2)), levels=[0, EPSILON], colors=[BLUE], alpha=0.25)
    slab.plot(side, side, color=BLUE, linewidth=2.0, label="slice S")
    slab.plot([], [], color=BLUE, alpha=0.25, linewidth=8, label=f"slab |χ| < ε = {EPSILON:g}")
    for r in (0.7, 1.8):
        step = EPSILON / np.sqrt(2 * r**2) / np.sqrt(2)  # ε/√det G on each side, along (1, −1)/√2
        slab.plot([r - step, r + step], [r + step, r - step], color="black", linewidth=1.4)
    slab.plot([], [], color="black", label="its thickness, 2ε/√det G")
    slab.set_title("b  a slab of fixed |χ| is thin where det G is large", loc="left")
    for axes in (plane, slab):
        axes.set(xlim=(0, 2.2), ylim=(0, 2.2), aspect="equal", xlabel="u", ylabel="v")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)
    return picture


def laws() -> Figure:
    """The laws of uv that are named in tables; and the exact ones between their limits."""
    picture, (named, limits) = row(2, 3.4)
    reduction = Reduction(uv(), stiff(100.0), T)
    known = {kind.name: (kind, law) for kind, law in build_laws(reduction, law_kinds(LAWS))[0]}
    shown = {"slice": "slice, c = 1", "hard": "hard, c = 0; printed", "pushforward": "pushforward, c = −1; naive"}
    for name, label in shown.items():
        kind, law = known[name]
        colour, dash = line_style(kind.place or 0)
        named.plot(Z, density(law), color=colour, linestyle=dash, label=label)
        limits.plot(Z, density(law), color=colour, linestyle=dash)
    named.set_title("a  one loss, three laws", loc="left")
    (exact,) = law_kinds(("exact",))
    for confinement, label, grey in (
        (stiff(4.0), "exact, κ = 4", "0.55"),
        (stiff(100.0), "exact, κ = 100", "0.0"),
        (weight_decay(0.3), "exact, weight decay λ = 0.3", PURPLE),
    ):
        law = exact.law(Reduction(uv(), confinement, T))
        limits.plot(Z, density(law), color=grey, linewidth=1.1, label=label)
    limits.set_title("b  what protocols obey at finite κ or λ", loc="left")
    for axes in (named, limits):
        axes.legend(frameon=False)
        axes.set(xlabel="z", xlim=WINDOW, ylim=(0, 1.25 * axes.get_ylim()[1]))
    named.set_ylabel("density in dz, given the window")
    return picture


def measures() -> Figure:
    """The slice law against two measures; and what comes of reading one's formula against the other."""
    picture, (one, two) = row(2)
    reduction = Reduction(uv(), stiff(100.0), T)
    slice_law, printed = (reduction.law(formula(reduction, name)) for name in ("slice", "printed"))
    arc = np.sqrt(2.0 * Z)  # length along the slice from 0 to √z (1, 1)
    in_z = density(slice_law)
    one.plot(Z, in_z, color=BLUE, label="against dz")
    one.plot(Z, in_z * arc, color=BLUE, linestyle="--", label="against dσ_S = dz/√(2z)")
    one.set_title("a  one law, slice, written against two measures", loc="left")
    two.plot(Z, in_z, color=BLUE, label="det G^(−1/2) against dσ_S: slice")
    two.plot(Z, density(printed), color=ORANGE, linestyle="-.", label="det G^(−1/2) against dz: printed")
    two.set_title("b  one formula, read against two measures", loc="left")
    for axes in (one, two):
        axes.legend(frameon=False, loc="upper right")
        axes.set(xlabel="z", xlim=WINDOW, ylim=(0, 1.35 * axes.get_ylim()[1]))
    one.set_ylabel("density")
    return picture


def collapse() -> Figure:
    """Law (S) of uv under label noise: Gamma laws, from a narrow peak to none."""
    picture, (axes,) = row(1, 2.8)
    z = np.linspace(1e-3, 3.0, 800)
    for strength, colour, dash in ((0.04, BLUE, "-"), (0.3, GREEN, "--"), (1.0, ORANGE, "-."), (1.6, "black", ":")):
        law = label_noise_gamma(1.0, 0.01, np.sqrt(strength / 0.01))
        axes.plot(z, law.pdf(z), color=colour, linestyle=dash, label=f"ηs² = {strength:g}")
    axes.set(xlabel="z", ylabel="density in dz", xlim=(0, 3.0), ylim=(0, 2.2))
    axes.legend(frameon=False, title="strength of the noise")
    return picture


FIGURES = {"orbits": orbits, "laws": laws, "measures": measures, "collapse": collapse}


def main(folder: Path = Path(__file__).parent / "figures") -> None:
    """Draw them all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for name, draw in FIGURES.items():
            closed(draw()).savefig(folder / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
