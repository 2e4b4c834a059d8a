"""Time of a chain's step of every kernel, and of SGD with every noise, as ratios within one run.

    python -m sims.bench.steps [name ...]

The unit is a step of one chain of uv by Leimkuhler and Matthews' integrator, measured in the same process. Times are
those of the processor, the shortest of many chunks of one run, so that what else the machine does is left out as far as
it can be; a chunk is long enough for the call of a program and the clock's grain to vanish in it. SGD is measured where
all chains share the model's own task and where each has one of its own: the ratio of the two is what tasks cost. Chains
lie on one device.

With names, only the variants in whose names one of them occurs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.hard_fixman import hard_fixman
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.dynamics.kernels.projected import constrained_langevin
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble import accumulators
from langevin_ib.ensemble.records import Limit, Observer, Placement, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.models import Model, build_model, stack_tasks, uv
from langevin_ib.models.training import cast
from langevin_ib.plain import Json

T, H, KAPPA, LR = 0.1, 1e-3, 100.0, 1e-4
LANGEVIN_CHAINS, SGD_CHAINS = 1024, 16
CHUNKS = 20
CHUNK_S = 0.05
ATTENTION = {"inputs": 8, "width": 4, "length": 8}
UNIT = "uv, Leimkuhler–Matthews"
NOISES = {
    "none": Noise("none"),
    "label": Noise("label", None, 0.1),
    "minibatch": Noise("minibatch", 4),
    "minibatch and label": Noise("minibatch", 4, 0.1),
    "epochs": Noise("minibatch", 4, replace=False),
    "isotropized": Noise("minibatch", 4, isotropized=True),
    "bernoulli": Noise("bernoulli"),
    "fresh": Noise("fresh", 8, 0.1),
}


class Variant(NamedTuple):
    """What is timed: some chains of a kernel."""

    model: Model
    kernel: Kernel
    starts: Any
    tasks: Any
    ahead: bool = False


def seconds(variant: Variant) -> float:
    """Processor time of one step of one chain: the shortest chunk, compilation left out."""
    probe = 200
    steps = max(probe, int(probe * CHUNK_S / shortest_chunk(variant, probe, 4)))
    chains = jax.tree.leaves(variant.starts)[0].shape[0]
    return shortest_chunk(variant, steps, CHUNKS) / (steps * chains)


def shortest_chunk(variant: Variant, steps: int, chunks: int) -> float:
    """Processor time of the shortest of some chunks of so many steps each, the first one left out."""
    model, marks = variant.model, list[float]()
    run_ensemble(
        variant.kernel,
        variant.starts,
        Observer(lambda state: model.loss(state.position), accumulators.count(), lambda loss: {}),
        key=jax.random.key(1),
        schedule=Schedule(0, steps, chunks + 1, (chunks + 1,)),
        limit=Limit(H, lambda p: model.loss(p) > 1e9),
        stage=Stage(
            "bench",
            progress=lambda done, total: marks.append(time.process_time()),
            chunk_records=1,
            placement=Placement(jax.devices()[:1], ahead=variant.ahead),
        ),
        tasks=variant.tasks,
    )
    return float(np.diff(marks).min())


def langevin_variants() -> Iterator[tuple[str, Callable[[], Variant]]]:
    """The kernels of one potential, on uv."""
    model, like = uv(), jnp.ones(2, jnp.float32)
    potential, fixman = stiff(KAPPA).potential(model), hard_fixman(T)
    size = {"temperature": T, "step_size": H}

    def corrected(p):
        return model.loss(p) + fixman.energy(model, p)

    kernels = {
        UNIT: leimkuhler_matthews(potential, like, **size),
        "uv, Euler–Maruyama": euler_maruyama(potential, like, **size),
        "uv, projected": constrained_langevin(model.loss, model.moment_map, like, **size),
        "uv, projected, Fixman": constrained_langevin(corrected, model.moment_map, like, **size),
        "uv, MALA": mala(potential, temperature=T, step_size=0.01),
    }
    starts = jnp.abs(starting_points(model.init, jax.random.key(0), LANGEVIN_CHAINS, jnp.float32))
    for name, kernel in kernels.items():
        yield name, lambda kernel=kernel: Variant(model, kernel, starts, None)


def sgd_variants() -> Iterator[tuple[str, Callable[[], Variant]]]:
    """SGD with every noise; the model's own task, then one for each chain."""
    for name, noise in NOISES.items():
        for own in (False, True):
            options = {"population": True} if name == "fresh" else {"samples": 32}
            label = f"relu, {name}" + (", a task for each chain" if own else "")
            yield label, lambda noise=noise, own=own, options=options: sgd_variant("relu", options, noise, own)
    for own in (False, True):
        label = "relu, minibatch, momentum" + (", a task for each chain" if own else "")
        yield label, lambda own=own: sgd_variant("relu", {"samples": 32}, NOISES["minibatch"], own, momentum=0.9)
        label = "attention, fresh, drawn ahead" + (", a task for each chain" if own else "")
        yield label, lambda own=own: sgd_variant("attention", ATTENTION, NOISES["fresh"], own, ahead=True)


def sgd_variant(
    name: str, options: Mapping[str, Json], noise: Noise, own: bool, *, momentum: float = 0.0, ahead: bool = False
) -> Variant:
    """Chains of a built-in model, each on its own task or all on the model's."""
    model = build_model(name, options)
    training = model.training
    assert training is not None
    starts = starting_points(model.init, jax.random.key(0), SGD_CHAINS, jnp.float32)
    # What tasks cost does not depend on their values: where a model draws none, all chains have a copy of its own.
    draw = training.draw_task or (lambda random: training.task)
    tasks = [draw(np.random.default_rng([0, i])) for i in range(SGD_CHAINS)]
    stacked = cast(stack_tasks(tasks), starts) if own else None
    like, task_like = jax.tree.map(lambda leaf: leaf[0], (starts, stacked))
    kernel = sgd(model, like, noise=noise, lr=LR, momentum=momentum, task_like=task_like)
    return Variant(model, kernel, starts, stacked, ahead)


def main() -> None:
    """Print each variant's time and its ratio to the unit."""
    wanted = sys.argv[1:]
    unit = None
    with jax.enable_x64(True):
        for name, build in [*langevin_variants(), *sgd_variants()]:
            if name != UNIT and wanted and not any(part in name for part in wanted):
                continue
            measured = seconds(build())
            unit = unit or measured
            print(f"{1e9 * measured:10.2f} ns a step of one chain  × {measured / unit:8.2f}  {name}", flush=True)


if __name__ == "__main__":
    main()
