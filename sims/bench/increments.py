"""Four-point increments against normals: chain-steps per second as ratios of one run, and the bias of each.

    python -m sims.bench.increments [--chains N] [--seconds S]

First each model's own chains under stiff confinement by Leimkuhler and Matthews, on normals from one batch a step and
on four-point increments from a stream of each chain's: the rate, and the ratio of both. Then uv at κ = 100, at h and
2h: the distance of either's histogram from the exact law, of Bessel's K₀, with its floor and p-value; and the share of
the draws in the last bins at each end beside the law's.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.increments import FOUR_POINT, NORMAL
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.accumulators import WindowDraw, count, window_histogram
from langevin_ib.ensemble.records import EnsembleResult, Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.laws import bin_masses
from langevin_ib.laws.pair import stiff_law
from langevin_ib.models import Model, build_model
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from sims import described

MODELS = {"uv": 1, "hadamard": 4, "relu": 16, "attention": 64, "matrix": 16}  # by how many times fewer steps are timed
TEMPERATURE, KAPPA, STEP = 0.1, 100.0, 1.165e-3
EDGES = np.linspace(0.2265, 2.265, 41)
TAIL = 3  # bins at each end
MARGIN = 0.01
THIN, CHUNKS = 50, 8


def draw(
    model: Model, observer: Observer, increments: str, chains: int, step_size: float, schedule: Schedule, marks: list
) -> EnsembleResult:
    """An ensemble of a model under stiff confinement; `marks` are (steps done, clock) after each chunk."""
    potential = stiff(KAPPA).potential(model)
    starts = starting_points(model.init, jax.random.key(0), chains, jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    return run_ensemble(
        leimkuhler_matthews(potential, like, temperature=TEMPERATURE, step_size=step_size).on(increments),
        starts,
        observer,
        key=jax.random.key(1),
        schedule=schedule,
        limit=Limit(step_size, lambda params: potential(params) > 1e9),
        stage=Stage(
            "bench",
            progress=lambda done, total: marks.append((done, time.perf_counter())),
            chunk_records=max(1, schedule.records // CHUNKS),
        ),
    )


def rate(model: Model, increments: str, chains: int, seconds: float, slower: int) -> float:
    """Million chain-steps per second between the first and the last chunk, compilation left out."""
    records = max(CHUNKS, round(seconds * 4e7 / (chains * THIN * slower)))
    nothing = Observer(lambda state: jnp.zeros(()), count(), lambda x: {"none": x})
    marks: list[tuple[int, float]] = []
    draw(model, nothing, increments, chains, 0.1 * STEP, Schedule(0, THIN, records, (records,)), marks)
    (first, began), (last, ended) = marks[0], marks[-1]
    return (last - first) * chains / (ended - began) / 1e6


def bias(increments: str, step_size: float, chains: int) -> str:
    """uv against the exact law of κ: distance, floor, p-value, and the ends of the histogram."""
    model = build_model("uv")
    law = bin_masses(stiff_law(1, 1, lambda s: 0.5 * (s - 1.0) ** 2, TEMPERATURE, KAPPA), EDGES)
    observer = Observer(
        lambda state: WindowDraw(jnp.prod(state.position), jnp.asarray(True)),
        window_histogram(EDGES),
        lambda d: {"z": d.value},
    )
    thin = round(0.06 / step_size)
    result = draw(
        model, observer, increments, chains, step_size, Schedule(round(25 / step_size), thin, 400, (400,)), []
    )
    histogram = compare.histogram_of(np.asarray(result.segments[0].counts))
    seen = compare.against_law(histogram, law, MARGIN)
    ends = []
    for place in (slice(None, TAIL), slice(-TAIL, None)):
        shares = histogram.counts[:, place].sum(axis=1) / histogram.counts.sum(axis=1).mean()
        error = shares.std(ddof=1) / len(shares) ** 0.5
        ends.append(f"{shares.mean():.5f} ± {error:.5f} ({law[place].sum():.5f})")
    return f"TV {seen.tv:.5f}, floor {seen.tv_floor:.5f}, p = {seen.p_value:.2g}; ends (law): {', '.join(ends)}"


def main() -> None:
    """Print rates and ratios, then the bias of either."""
    parser = described(__doc__)
    parser.add_argument("--chains", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a rate, about [3]")
    given = parser.parse_args()
    with Session().open():
        print(f"JAX {jax.__version__}, {jax.device_count()} devices, {given.chains} chains")
        for name, slower in MODELS.items():
            model = build_model(name)
            normal, four = (rate(model, kind, given.chains, given.seconds, slower) for kind in (NORMAL, FOUR_POINT))
            print(f"{name:<10} normals {normal:8.2f} M chain-steps/s, four points {four:8.2f}, × {four / normal:.2f}")
        for step_size in (STEP, 2.0 * STEP):
            for kind in (NORMAL, FOUR_POINT):
                print(f"uv, h = {step_size:g}, {kind:<10} {bias(kind, step_size, 4 * given.chains)}", flush=True)


if __name__ == "__main__":
    main()
