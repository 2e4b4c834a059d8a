"""Figure 1: orbits uv = θ, the slice u = v that meets each of them once, and what brings training to the slice.

    langevin-ib figures 1 [--seeds 32]

The paper's figure is a drawing of geometry: here each orbit is followed by the group's action, and its crossings of
the slice counted. Beside it the loss ½(uv − 1)² is trained from the same random starts, by gradient descent, by SGD
with label noise s = 1 and with the same noise in a random direction, η = 1e-2, 4 × 10⁴ steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib import geometry
from langevin_ib.dynamics.noise import Noise
from langevin_ib.figures.catalogue import main_of
from langevin_ib.models import Model, build_model
from langevin_ib.output import plots
from langevin_ib.output.blocks import Picture, Report, Table, simple_table
from langevin_ib.output.studies import banded, rows_table, steps_of, study_report
from langevin_ib.plain import JsonObject
from langevin_ib.session import Session
from langevin_ib.statistics.seeds import band
from langevin_ib.studies.following import follow
from langevin_ib.studies.orbits import Orbits, follow_orbits
from langevin_ib.studies.parts import Parts, config_of
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Paths, Trained
from langevin_ib.studies.request import Request
from langevin_ib.studies.result import StudyResult
from langevin_ib.studies.training import Arm

LR, STEPS, LABEL_NOISE, START = 1e-2, 40_000, 1.0, 0.5
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)  # θ of the drawn orbits
LARGEST = 3.5  # end of the drawn axes
NEAR = 0.1  # share of χ below which 95% of the seeds have to end for a run to count as reaching the slice
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
SHOWN = 4  # seeds whose paths are drawn
DESCENT, SGD, ISOTROPIC = "gradient descent", "SGD, label noise", "isotropic, as SGD's"
NOTE = (
    "the paper's figure states no number; exp(−η²s²n) is what χ' = χ(1 − η²g²) makes of χ in n steps with g² = s² on "
    "average, the residual's own share of g left out"
)
KEPT, BALANCE, PRODUCT = "|χ/χ(0)|", "|u|/|v| off by", "uv"


@dataclass(frozen=True)
class Geometry:
    """What figure 1 alone measures.

    Attributes:
        orbits: of the starts.
        canonical_gap: |M − H|/|H|, the larger of the starts'.
        predicted: {run: the part of χ that label noise leaves}.
        runs: parameters along the way.
    """

    orbits: Orbits
    canonical_gap: float
    predicted: Mapping[str, float]
    runs: Mapping[str, Trained]

    @property
    def followed(self) -> int:
        """The number of orbits."""
        return len(self.orbits.crossings)

    @property
    def meeting_once(self) -> int:
        """The number of those that meet the slice once."""
        return int((self.orbits.crossings == 1.0).sum())

    def to_dict(self) -> JsonObject:
        """`orbits` and `predicted` of a summary."""
        return {
            "orbits": {
                "followed": self.followed,
                "meeting the slice once": self.meeting_once,
                "change of uv": float(self.orbits.invariance.max()),
                "gap to s(uv)": float(self.orbits.section_gap.max()),
                "det G against the square of the speed": float(self.orbits.square_speed_gap.max()),
                "canonical gap": self.canonical_gap,
            },
            "predicted": {name: {KEPT: share} for name, share in self.predicted.items()},
        }


def problem_of(seeds: int, seed: int) -> Problem:
    """uv with target 1, from starts e^{0.5 ξ}, ξ ~ N(0, 1) cut at 2: in the positive plane, as in the figure."""

    def restart(scale: float) -> Model:
        model = build_model("uv", {})
        return dataclasses.replace(model, init=lambda key: jnp.exp(scale * model.init(key)))

    return Problem(restart(START), seeds, seed, restart=restart, start_scale=START)


def study(request: Request, session: Session) -> StudyResult:
    """The geometry of the figure, and the three ways to train."""
    problem, parts = problem_of(request.seeds, request.seed), Parts(session, [NOTE])
    quiet = Arm(Noise("none"), request.lr or LR, request.steps or STEPS)
    with parts.timed("orbits"):
        starts = problem.starts()
        orbits = follow_orbits(problem.model, starts)
        canonical_gap = float(geometry.slice_report(problem.model, starts).canonical_gap)
    arms = {DESCENT: quiet}
    predicted: dict[str, float] = {}
    if request.attribution:
        noise = Noise("label", None, LABEL_NOISE)
        arms[SGD] = dataclasses.replace(quiet, noise=noise)
        arms[ISOTROPIC] = dataclasses.replace(quiet, noise=dataclasses.replace(noise, isotropized=True))
        predicted[SGD] = float(np.exp(-((quiet.lr * LABEL_NOISE) ** 2) * quiet.steps))
    with parts.timed("training"):
        runs = {name: parts.train(problem, arm, name) for name, arm in arms.items()}
    paths = {name: follow(problem, run, loss=False) for name, run in runs.items()}
    return StudyResult(
        name="fig1_orbits",
        config=config_of(request, quiet),
        seeds=problem.seeds,
        rows={name: measure(run, paths[name]) for name, run in runs.items()},
        details=Geometry(orbits, canonical_gap, predicted, runs),
        paths=paths,
        notes=tuple(parts.notes),
        wall_s=parts.wall_s,
    )


def measure(run: Trained, paths: Paths) -> dict[str, Float[np.ndarray, " seed"]]:
    """Charge, ratio and product of each seed at the end of a run."""
    return {
        KEPT: paths.charge_left[:, -1],
        BALANCE: paths.off_by[:, -1],
        PRODUCT: np.prod(np.asarray(run.ends, np.float64), axis=-1),
    }


def report(result: StudyResult) -> Report:
    """The figure as it is shown."""
    seen = result.details
    assert isinstance(seen, Geometry)
    alt = "Orbits uv = θ and the slice u = v; paths of some seeds; the charge of all"
    shown = [
        Picture("figure", alt, partial(picture, seen.runs, result.paths)),
        orbit_table(seen),
        rows_table(result, "Which training moves along the orbits?", "run", "medians over seeds [90% of seeds]"),
    ]
    return study_report(result, "Figure 1, orbits and slice of uv", shown, interpret(result, seen))


def orbit_table(seen: Geometry) -> Table:
    """The geometry in numbers."""
    orbits = seen.orbits
    body = [
        ("orbits that meet u = v once", f"{seen.meeting_once} of {seen.followed}"),
        ("largest relative change of uv along one", f"{orbits.invariance.max():.1e}"),
        ("largest distance of the crossing from s(uv)", f"{orbits.section_gap.max():.1e}"),
        ("det G against |dθ/dt|² there, relative", f"{orbits.square_speed_gap.max():.1e}"),
        ("|M − H|/|H|, eq. (42): 0 for a canonical χ", f"{seen.canonical_gap:.1e}"),
    ]
    return simple_table("Does the slice pick one point of each orbit?", ("measured", "value"), body)


def interpret(result: StudyResult, seen: Geometry) -> list[str]:
    """Whether each orbit meets the slice once, and which runs reach it."""
    lines = [
        f"the slice u = v meets {'each' if seen.meeting_once == seen.followed else 'not each'} of the orbits once: "
        f"{seen.meeting_once} of the {seen.followed} that were followed"
    ]
    for name, row in result.rows.items():
        kept = band(row[KEPT])
        verb = "brings training" if kept.high90 < NEAR else "does not bring training"
        outcome = f"{verb} to the slice in {steps_of(result)} steps"
        predicted = seen.predicted.get(name)
        prediction = "" if predicted is None else f", exp(−η²s²n) = {predicted:.3g}"
        lines.append(f"{name} {outcome}: it keeps {banded(kept)} of χ{prediction}")
    return lines


def picture(runs: Mapping[str, Trained], paths: Mapping[str, Paths]) -> Figure:
    """The paper's two panels; paths of some seeds; the charge of all."""
    with plt.rc_context(plots.STYLE):
        figure, axes = plt.subplot_mosaic(
            "ab;cc;dd", figsize=(plots.WIDTH, 6.6), layout="constrained", height_ratios=(1.0, 1.5, 1.2)
        )
    for letter, panel in axes.items():
        panel.set_title(letter, loc="left", fontweight="bold", fontsize=9)
    for letter in "abc":
        _draw_orbits(axes[letter], labelled=letter == "a")
    axes["b"].plot([0, LARGEST], [0, LARGEST], color=plots.ORANGE, linewidth=1.5)
    roots = np.sqrt(LEVELS)
    axes["b"].plot(roots, roots, "o", color=plots.BLACK, markersize=3)
    axes["b"].text(2.35, 2.75, "u = v", color=plots.ORANGE, fontsize=7, ha="right")
    _draw_runs(axes["c"], runs)
    for i, (name, run) in enumerate(runs.items()):
        plots.plot_band(axes["d"], run.steps / 1000.0, paths[name].charge_left, name, i)
    plots.log_scale(axes["d"])
    axes["d"].set_ylabel("|χ(t)/χ(0)|")
    plots.legend(axes["d"])
    plots.finish([axes["d"]], "thousand steps")
    return figure


def _draw_runs(axes: Axes, runs: Mapping[str, Trained]) -> None:
    """The slice, and the paths of some seeds; the widest below."""
    axes.plot([0, LARGEST], [0, LARGEST], color="0.6", linewidth=0.8, linestyle="--")
    for name in (name for name in (ISOTROPIC, SGD, DESCENT) if name in runs):
        colour = plots.COLOURS[list(runs).index(name)]
        for i, path in enumerate(np.asarray(runs[name].params)[:SHOWN]):
            axes.plot(*path.T, color=colour, linewidth=1.0, alpha=0.8, label=name if i == 0 else None)
            axes.plot(*path[-1], "o", color=colour, markersize=3)
    plots.legend(axes, loc="upper right", frameon=True, edgecolor="none", framealpha=0.9)


def _draw_orbits(axes: Axes, *, labelled: bool) -> None:
    u = np.geomspace(0.05, LARGEST, 200)
    for level in LEVELS:
        axes.plot(u, level / u, color="0.6" if level != 1.0 else plots.BLACK, linewidth=0.8)
        if labelled:
            axes.text(level**0.5, level**0.5, f"{level:g}", fontsize=6, bbox=PAPER, ha="center", va="center", zorder=3)
    axes.set(xlim=(0, LARGEST), ylim=(0, LARGEST), aspect="equal", xlabel="u", ylabel="v")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return main_of(1, argv)
