"""Chain-steps per second of the runner, as ratios within one run.

    python -m sims.bench.throughput

Each variant runs the same uv chains under stiff confinement; the first is the one that `langevin_ib.sim` uses.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.dynamics.kernels.mala import mala
from langevin_ib.ensemble.records import EnsembleResult, Limit, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.laws import Reduction
from langevin_ib.models import uv
from langevin_ib.runs.observe import build_observer

H, T, KAPPA = 1e-3, 0.1, 100.0


def key_per_chain(kernel: Kernel) -> Kernel:
    """The same kernel with one key for each chain, split at every step."""

    def step(key, state, task):
        return kernel.step(jax.tree.map(lambda leaf: leaf[0], kernel.draw(key, 1)), state, task)

    return Kernel(draw=jax.random.split, init=kernel.init, step=step)


def rate(kernel: Kernel, chains: int, thin: int, records: int) -> float:
    """Million chain-steps per second between the first and the last chunk, compilation left out."""
    model = uv()
    reduction = Reduction(model, stiff(KAPPA), T)
    potential = reduction.confinement.potential(model)
    starts = starting_points(model.init, jax.random.key(0), chains, jnp.float32)
    marks: list[tuple[int, float]] = []
    result: EnsembleResult = run_ensemble(
        kernel,
        0.5 * starts,
        build_observer(reduction, {"z": np.linspace(0.2265, 2.265, 41)}, None),
        key=jax.random.key(1),
        schedule=Schedule(0, thin, records, (records,)),
        limit=Limit(H, lambda p: potential(p) > 1e9),
        stage=Stage(
            "bench",
            progress=lambda done, total: marks.append((done, time.perf_counter())),
            chunk_records=max(1, records // 8),
        ),
    )
    del result
    (first, began), (last, ended) = marks[0], marks[-1]
    return (last - first) * chains / (ended - began) / 1e6


def main() -> None:
    """Print each variant's rate and its ratio to the first."""
    with jax.enable_x64(True):
        potential = stiff(KAPPA).potential(uv())
        kernel = leimkuhler_matthews(potential, jnp.zeros(2, jnp.float32), temperature=T, step_size=H)
        proposal = mala(potential, temperature=T, step_size=0.01)
        variants = {
            "Leimkuhler–Matthews, 4096 chains, a record every 80 steps": (kernel, 4096, 80, 400),
            "the same, 16384 chains": (kernel, 16384, 80, 100),
            "the same, 1024 chains": (kernel, 1024, 80, 1600),
            "the same, a record every 4 steps": (kernel, 4096, 4, 8000),
            "the same, one key per chain": (key_per_chain(kernel), 4096, 80, 200),
            "blackjax MALA, a record every 4 steps": (proposal, 4096, 4, 1600),
        }
        base = None
        for name, variant in variants.items():
            found = rate(*variant)
            base = base or found
            print(f"{found:7.1f} M chain-steps/s  × {found / base:.2f}  {name}")


if __name__ == "__main__":
    main()
