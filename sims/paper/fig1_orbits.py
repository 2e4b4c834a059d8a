"""Figure 1: orbits uv = θ, the slice u = v that meets each of them once, and what brings training to the slice.

    python -m sims.fig1_orbits [--seeds 32]

The paper's figure is a drawing of geometry: here each orbit is followed by the group's action, and its crossings of
the slice counted. Beside it the loss ½(uv − 1)² is trained from the same random starts, by gradient descent, by SGD
with label noise s = 1 and with the same noise in a random direction, η = 1e-2, 4 × 10⁴ steps.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from langevin_ib import geometry
from langevin_ib.cli.figures import main as command
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.runner import Stages
from langevin_ib.models import Model, build_model, stack_tasks
from langevin_ib.output import plots
from langevin_ib.output.outcome import Outcome, Table, banded, captioned, ensemble_of
from langevin_ib.studies.measures import balance, median_bands, off_by
from langevin_ib.studies.orbits import follow_orbits
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recovery import timed
from langevin_ib.studies.request import Request
from langevin_ib.studies.training import Arm, Trained, train

LR, STEPS, LABEL_NOISE, START = 1e-2, 40_000, 1.0, 0.5
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)  # θ of the drawn orbits
LARGEST = 3.5  # end of the drawn axes
NEAR = 0.1  # share of χ below which 95% of the seeds have to end for a run to count as reaching the slice
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
SHOWN = 4  # seeds whose paths are drawn
DESCENT, SGD, ISOTROPIC = "gradient descent", "SGD, label noise", "isotropic, as SGD's"
KEPT, BALANCE, PRODUCT = "|χ/χ(0)|", "|u|/|v| off by", "uv"


def problem_of(seeds: int, seed: int) -> Problem:
    """uv with target 1, from starts e^{0.5 ξ}, ξ ~ N(0, 1) cut at 2: in the positive plane, as in the figure."""

    def restart(scale: float) -> Model:
        model = build_model("uv", {})
        return dataclasses.replace(model, init=lambda key: jnp.exp(scale * model.init(key)))

    model = restart(START)
    assert model.training is not None
    return Problem(model, stack_tasks([dict(model.training.task)] * seeds), seeds, seed, restart, START)


def experiment(request: Request, report: Stages) -> Outcome:
    """The geometry of the figure, and the three ways to train."""
    problem = problem_of(request.seeds, request.seed)
    lr, steps = request.lr or LR, request.steps or STEPS
    wall: dict[str, float] = {}
    with timed(wall, "orbits"):
        starts = problem.starts()
        orbits = follow_orbits(problem.model, starts)
        canonical = geometry.slice_report(problem.model, starts)
    noises = {DESCENT: Noise("none")}
    if request.attribution:
        noises |= {
            SGD: Noise("label", None, LABEL_NOISE),
            ISOTROPIC: Noise("label", None, LABEL_NOISE, isotropized=True),
        }
    runs: dict[str, Trained] = {}
    with timed(wall, "training"):
        for name, noise in noises.items():
            runs[name] = train(problem, Arm(noise, lr, steps), stage=name, progress=report(name))
    charges = {name: _relative_charge(problem, run) for name, run in runs.items()}
    measured = {
        name: {
            KEPT: charges[name][:, -1],
            BALANCE: off_by(balance(problem, _final_params(run))["ratio"])[:, -1],
            PRODUCT: np.prod(np.asarray(run.ends, np.float64), axis=-1),
        }
        for name, run in runs.items()
    }
    numbers: dict[str, Any] = {
        "orbits": {
            "followed": problem.seeds,
            "meeting the slice once": int((orbits.crossings == 1.0).sum()),
            "change of uv": float(orbits.invariance.max()),
            "gap to s(uv)": float(orbits.section_gap.max()),
            "det G against the square of the speed": float(orbits.square_speed_gap.max()),
            "canonical gap": float(canonical.canonical_gap),
        },
        "rows": {name: median_bands(row) for name, row in measured.items()},
        "caption": {},
        "predicted": {SGD: {KEPT: float(np.exp(-((lr * LABEL_NOISE) ** 2) * steps))}} if SGD in runs else {},
        "wall_s": wall,
        "by_seed": {name: {label: values.tolist() for label, values in row.items()} for name, row in measured.items()},
    }
    return Outcome(
        name="fig1_orbits",
        title=f"Figure 1, orbits and slice of uv: {ensemble_of(problem.seeds)}, η = {lr:g}, {steps} steps",
        config=request.to_dict() | {"lr": lr, "steps": steps},
        numbers=numbers,
        tables=[
            _build_orbit_table(numbers["orbits"]),
            captioned("Which training moves along the orbits?", "run", numbers, "medians over seeds [90% of seeds]"),
        ],
        sentences=interpret(numbers, steps),
        pictures={"figure": picture(runs, charges)},
        notes=[
            "the paper's figure states no number; exp(−η²s²n) is what χ' = χ(1 − η²g²) makes of χ in n steps with g² = "
            "s² on average, the residual's own share of g left out"
        ],
    )


def _final_params(run: Trained) -> Any:
    return jax.tree.map(lambda leaf: leaf[:, -1:], run.params)


def _relative_charge(problem: Problem, run: Trained) -> Float[np.ndarray, "seed time"]:
    """|χ(t)/χ(0)| of each seed."""
    charge = balance(problem, run.params)["charge"][..., 0]
    return np.abs(charge / charge[:, :1])


def _build_orbit_table(orbits: dict[str, Any]) -> Table:
    body = [
        ("orbits that meet u = v once", f"{orbits['meeting the slice once']} of {orbits['followed']}"),
        ("largest relative change of uv along one", f"{orbits['change of uv']:.1e}"),
        ("largest distance of the crossing from s(uv)", f"{orbits['gap to s(uv)']:.1e}"),
        ("det G against |dθ/dt|² there, relative", f"{orbits['det G against the square of the speed']:.1e}"),
        ("|M − H|/|H|, eq. (42): 0 for a canonical χ", f"{orbits['canonical gap']:.1e}"),
    ]
    return Table("Does the slice pick one point of each orbit?", ("measured", "value"), body)


def interpret(numbers: dict[str, Any], steps: int) -> list[str]:
    """Whether each orbit meets the slice once, and which runs reach it."""
    orbits, rows = numbers["orbits"], numbers["rows"]
    all_once = orbits["meeting the slice once"] == orbits["followed"]
    lines = [
        f"the slice u = v meets {'each' if all_once else 'not each'} of the orbits once: "
        f"{orbits['meeting the slice once']} of the {orbits['followed']} that were followed"
    ]
    for name, row in rows.items():
        verb = "brings training" if row[KEPT]["high90"] < NEAR else "does not bring training"
        outcome = f"{verb} to the slice in {steps} steps"
        predicted = numbers["predicted"].get(name)
        prediction = f", exp(−η²s²n) = {predicted[KEPT]:.3g}" if predicted else ""
        lines.append(f"{name} {outcome}: it keeps {banded(row[KEPT])} of χ{prediction}")
    return lines


def picture(runs: dict[str, Trained], charges: dict[str, Float[np.ndarray, "seed time"]]) -> Figure:
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
    axes["c"].plot([0, LARGEST], [0, LARGEST], color="0.6", linewidth=0.8, linestyle="--")
    shown = [name for name in (ISOTROPIC, SGD, DESCENT) if name in runs]
    for name in shown:
        style = list(runs).index(name)
        paths = np.asarray(runs[name].params)[:SHOWN]
        for i, path in enumerate(paths):
            label = name if i == 0 else None
            axes["c"].plot(*path.T, color=plots.COLOURS[style], linewidth=1.0, alpha=0.8, label=label)
            axes["c"].plot(*path[-1], "o", color=plots.COLOURS[style], markersize=3)
    plots.legend(axes["c"], loc="upper right", frameon=True, edgecolor="none", framealpha=0.9)
    for i, (name, run) in enumerate(runs.items()):
        plots.plot_band(axes["d"], run.steps / 1000.0, charges[name], name, i)
    plots.log_scale(axes["d"])
    axes["d"].set_ylabel("|χ(t)/χ(0)|")
    plots.legend(axes["d"])
    plots.finish([axes["d"]], "thousand steps")
    return figure


def _draw_orbits(axes: Axes, *, labelled: bool) -> None:
    u = np.geomspace(0.05, LARGEST, 200)
    for level in LEVELS:
        axes.plot(u, level / u, color="0.6" if level != 1.0 else plots.BLACK, linewidth=0.8)
        if labelled:
            axes.text(level**0.5, level**0.5, f"{level:g}", fontsize=6, bbox=PAPER, ha="center", va="center", zorder=3)
    axes.set(xlim=(0, LARGEST), ylim=(0, LARGEST), aspect="equal", xlabel="u", ylabel="v")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    text = "Figure 1 of the paper, and training along its orbits, over an ensemble of seeds."
    return command("sims.fig1_orbits", text, experiment, argv, parts=("attribution",))


if __name__ == "__main__":
    sys.exit(main())
