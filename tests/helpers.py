"""What several test files use."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import RunConfig
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.checkpoint import Checkpoint
from langevin_ib.ensemble.records import Limit, Observer, Placement, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.laws.candidates import LawAbout
from langevin_ib.models import Model, build_model, measure_only
from langevin_ib.models.training import Examples, Fresh, Training, no_penalty
from langevin_ib.runs.plan import Plan, build_reduction
from langevin_ib.runs.protocol import ProtocolInfo, RunInfo, SliceDepartures
from langevin_ib.runs.result import Result
from langevin_ib.runs.verdicts import (
    Difference,
    InvariantResult,
    LawResult,
    Mixing,
    ScalarMoments,
    StepCheck,
    WindowShare,
)
from langevin_ib.stages import Resumed
from langevin_ib.statistics.coefficient import Coefficient
from langevin_ib.statistics.compare import Comparison
from langevin_ib.statistics.identities import Identity
from langevin_ib.statistics.learning import LearningCoefficient, Lowest, Measured
from langevin_ib.statistics.records import Absent


def starts(model, count=4, seed=5):
    """Some of a model's starts, in float64."""
    return [
        jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(key))
        for key in jax.random.split(jax.random.key(seed), count)
    ]


def stage_of(name, *, devices=None, threads=None, executor=None, ahead=False, width=None, **options):
    """A stage whose chains run there."""
    return Stage(name, placement=Placement(devices, threads, executor, ahead, width), **options)


def advance(model, kernel, begin, steps, key=0, dtype=jnp.float64, tasks=None, devices=None):
    """The ends of some chains."""
    return run_ensemble(
        kernel,
        jax.tree.map(lambda leaf: leaf.astype(dtype), begin),
        Observer(lambda state: model.loss(state.position), count(), lambda loss: {"loss": loss}),
        key=jax.random.key(key),
        schedule=Schedule(0, steps, 1, (1,)),
        limit=Limit(0.0, lambda p: model.loss(p) > 1e9),
        stage=stage_of("test", devices=devices),
        tasks=tasks,
    )


def skewed():
    """uv on ½(z − 1)² in expectation, each label 1 + 2 (Exp(1) − 1), fresh at every step."""

    def predict(p, x):
        return x * p[0] * p[1]

    def examples(task, normals):
        exponential = -jax.scipy.special.log_ndtr(-normals)
        return Examples(jnp.ones_like(normals), task["y"][0] + 2.0 * (exponential - 1.0))

    training = Training(
        predict=predict,
        task={"y": np.ones(1)},
        risk=lambda task, p: 0.5 * (p[0] * p[1] - 1.0) ** 2,
        penalty=no_penalty,
        fresh=Fresh((), examples),
    )
    return dataclasses.replace(build_model("uv"), training=training)


def two_parameters():
    """A model without a symmetry, seen in both of its parameters."""
    return Model(
        name="two", group="none", group_dim=0,
        loss=lambda p: 0.5 * (p[0] - 1.0) ** 2 + 0.5 * p[1] ** 2 + 0.25 * (p[0] * p[1]) ** 2,
        act=lambda t, p: p, moment_map=lambda p: jnp.zeros(0, p.dtype),
        invariants=lambda p: {"x": p[0], "y": p[1]}, section=lambda z: jnp.stack([z["x"], z["y"]]),
        init=lambda key: jax.random.normal(key, (2,)),
    )  # fmt: skip


def bare_network():
    """A loss, a start and scalars: a network whose rescalings nobody has told."""
    x = jnp.linspace(-1.0, 1.0, 8)

    def predict(p, x):
        return jnp.tanh(x[:, None] * p["w"]) @ p["a"]

    return measure_only(
        "bare network",
        loss=lambda p: 0.5 * jnp.mean((predict(p, x) - x) ** 2) + 0.005 * (jnp.sum(p["w"] ** 2) + jnp.sum(p["a"] ** 2)),
        init=lambda key: dict(zip("wa", jax.random.normal(key, (2, 4)), strict=True)),
        scalars=lambda p: {"norm": jnp.sqrt(jnp.sum(p["a"] ** 2) + 1e-12), "f": predict(p, x[-1:])[0]},
    )


def finished(folder, config, blocks):
    """A folder as a run leaves it, with the positions of each block's chains among what else a state holds."""
    (folder / "state").mkdir(parents=True)
    (folder / "config.toml").write_text(config.to_toml())
    leaves = []
    for positions in blocks:
        words, sums = np.zeros((len(positions), 1), np.uint32), np.zeros(len(positions))
        leaves += [words, positions, positions * 0.0, np.int32([7] * len(positions)), sums]
    at = {"burned": [0] * len(blocks), "recorded": [0] * len(blocks)}
    assert Checkpoint(folder / "state" / "sampling.npz", {}).save(at, leaves)


def small_result(**changes):
    """A result of uv that nothing was sampled for: four bins, two laws, a check of the step; with changed fields."""
    settled = {
        "step_size": 0.002,
        "step_check": True,
        "increments": "four-point",
        "reference": "none",
        "window": (0.3, 2.0),
    }
    config = RunConfig(chains=64, steps=400, burn_in=100, thin=4, bins=4, **settled)
    edges, near = np.linspace(0.3, 2.0, 5), Comparison(0.0123, 0.004, 0.0061, 0.0184, 0.21, "undecided")
    far, mass = Comparison(0.31, 0.004, 0.29, 0.33, 1e-12, "differs"), np.array([0.1, 0.5, 0.3, 0.1])
    laws = {
        "exact": LawResult(LawAbout("exact", "dz", "p ∝ exp(−ℓ/T)", "own", 0), mass, 0 * mass, None, 0.97, near, 0.0),
        "naive": LawResult(LawAbout("naive", "dz", "p ∝ 1", "control", 5), mass[::-1], 0 * mass, None, None, far, 0.0),
    }
    result = Result(
        plan=Plan(config, build_reduction(config), Schedule(100, 4, 75, (75,)), {"z": edges}, (False, False)),
        run=RunInfo(64, 400, 4800, 0.002, 0.8, 2, 1.5, 17067, 2.5, (Resumed("sampling", 40, 400),)),
        protocol=ProtocolInfo(
            "(R_>0)^1", 1, "100|χ|²/2", True, None, (), {"z": (0.3, 2.0)}, SliceDepartures(0.0, 0.0, 0.0), ("a note",)
        ),
        mixing=Mixing(1.01, 640.0, 600.0, (64, 75), 0, None, None, 0.4),
        step_check=StepCheck(0.002, 0.001, {"z": near}, 4 / 3, Difference(0.02, 0.1, 63.0)),
        invariants={
            "z": InvariantResult(
                edges=edges,
                mass=mass,
                mass_se=0.01 * mass,
                in_window=0.98,
                counted=4800,
                exact_share=WindowShare(0.98, 0.979, None, 0.5),
                moments=ScalarMoments(1.0, 0.01, 0.1, 0.002),
                laws=laws,
            )
        },
        coefficient=Coefficient(1.02, 0.05, (0.92, 1.12), 64),
        missing=("law slice: is not asked for",),
        doubts=(),
        verdicts={"exact": "undecided", "naive": "differs"},
        groups=(),
        joint=None,
        drift=None,
        law_reference=None,
        reference=None,
        nearest=None,
        details=None,
        trace={"value": np.zeros((64, 75, 1))},
        identities=(Identity("virial", "T and the noise's strength", 1e-6, 2e-6, 0.5, 0.62), Absent("Ward", "no χ")),
    )
    learning = LearningCoefficient(
        Measured(0.51, 0.02), Measured(0.49, 0.02), 0.5, Lowest(1e-12, 1e-13, 8), 2e-9, 0.0, Measured(0.01, 0.03), 0.1
    )
    return dataclasses.replace(result, **({"learning": learning} | changes))
