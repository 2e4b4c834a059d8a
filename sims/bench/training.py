"""What makes the seeds of figure 3 fast, as ratios of times within one run.

    python -m sims.bench.training

One block of 16 seeds: `attend` against the plain formula in small matrix products, noise drawn ahead and without XLA's
YNNPACK fusions against the runner's default. Then 32 seeds: one block of them in one thread against blocks of 16, as
`langevin_ib.ensemble.trajectories` has it.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.records import Limit, Observer, Placement, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.models.training import Examples, cast
from langevin_ib.session import Session
from langevin_ib.studies.presets import PRESETS, Preset
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recipes import student
from langevin_ib.studies.training import Arm, train

SEEDS, STEPS, REPEATS = 16, 1000, 3


def noise_of(preset: Preset) -> Noise:
    """The batches of a figure."""
    return Noise(preset.noise, preset.batch_size, preset.data_noise)


def products(x: Any, values: Any, Q: Any, K: Any) -> Any:
    """Σ_heads softmax(XQ (XK)ᵀ/√r) X V, one product after the other."""
    queries, keys = (jnp.einsum("nld,hdr->hnlr", x, weights) for weights in (Q, K))
    scores = jnp.einsum("hnlr,hnkr->hnlk", queries, keys) / Q.shape[2] ** 0.5
    return jnp.einsum("hnlk,nkd,hde->nle", jax.nn.softmax(scores, axis=-1), x, values)


def plain(problem: Problem) -> Problem:
    """The same problem by `products`."""
    training = problem.training
    fresh = training.population._replace(
        examples=lambda task, x: Examples(x, products(x, *(task[name] for name in ("V", "Q", "K"))))
    )
    by_products = dataclasses.replace(
        training, predict=lambda p, x: products(x, *(p[name] for name in ("V", "Q", "K"))), fresh=fresh
    )
    return dataclasses.replace(problem, model=dataclasses.replace(problem.model, training=by_products))


def seconds(problem: Problem, noise: Noise, *, ahead: bool, width: int = SEEDS) -> float:
    """Of the steps of a block of so many seeds, the shortest of three runs, compilation left out."""
    with jax.enable_x64(True):
        starts = problem.starts()
        tasks = cast(problem.own_tasks, starts)
        like, task_like = jax.tree.map(lambda leaf: leaf[0], (starts, tasks))
        kernel: Kernel = sgd(problem.model, like, noise=noise, lr=1e-5, task_like=task_like)
        marks: list[float] = []
        run_ensemble(
            kernel,
            starts,
            Observer(
                lambda state: problem.model.loss(state.position), accumulators.count(), lambda loss: {"loss": loss}
            ),
            key=jax.random.key(1),
            schedule=Schedule(0, STEPS, REPEATS + 1, (REPEATS + 1,)),
            limit=Limit(1e-3, lambda p: jnp.any(problem.model.moment_map(p) > 1e9)),
            stage=Stage(
                "bench",
                progress=lambda done, total: marks.append(time.perf_counter()),
                chunk_records=1,
                placement=Placement(ahead=ahead, width=width),
            ),
            tasks=tasks,
        )
    return float(np.diff(marks).min())


def blocks(problem: Problem, arm: Arm) -> float:
    """Seconds of a step in blocks, by two runs of different lengths."""
    longer = dataclasses.replace(arm, steps=3 * arm.steps)
    with Session().open():
        first, second = (train(problem, part, stage="bench", rows=1).wall_s for part in (arm, longer))
    return (second - first) / (2 * arm.steps)


def main() -> None:
    """Print the ratios."""
    preset = PRESETS["figure-3"]
    problem, noise = student(preset, SEEDS, 0, samples=1), noise_of(preset)
    own = seconds(problem, noise, ahead=True)
    print(f"figure 3, {SEEDS} seeds in one block: {1e6 * own / STEPS:.0f} µs a step; as multiples of it")
    print(f"  noise drawn in its step, XLA's default fusions: {seconds(problem, noise, ahead=False) / own:.2f}")
    print(f"  small matrix products: {seconds(plain(problem), noise, ahead=True) / own:.2f}")
    print(f"  small matrix products, default: {seconds(plain(problem), noise, ahead=False) / own:.2f}")
    for name, options, ahead, steps in (("figure-2", {}, False, 50_000), ("figure-3", {"samples": 1}, True, 2000)):
        preset = PRESETS[name]
        many, noise = student(preset, 2 * SEEDS, 0, **options), noise_of(preset)
        in_blocks = blocks(many, Arm(noise, preset.lr, steps))
        whole = seconds(many, noise, ahead=ahead, width=2 * SEEDS) / STEPS
        print(
            f"{preset.model}, {2 * SEEDS} seeds: in blocks {1e6 * in_blocks:.0f} µs a step; "
            f"in one block and thread: {whole / in_blocks:.2f} of that"
        )


if __name__ == "__main__":
    main()
