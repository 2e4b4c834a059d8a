"""How often the rule for heavy tails is right.

    python -m sims.bench.tails [--samples N]

For each distribution, whose moments are known, the share of samples of 262144 draws, as a run takes them of a noise
that is a function, of which the rule says that they have no variance or no third moment; and of which the mean, where
there is one, is said not to be zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from langevin_ib.runs.hook_noise import BATCHES, PER_BATCH, SIGMAS
from langevin_ib.statistics.tails import tail_of
from sims import described

REPEATS = 200
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def _student(freedom: float) -> Draw:
    return lambda random, shape: random.standard_t(freedom, shape)


def _pareto(power: float) -> Draw:
    return lambda random, shape: random.pareto(power, shape) - 1.0 / (power - 1.0)


def _lognormal(sigma: float) -> Draw:
    return lambda random, shape: random.lognormal(0.0, sigma, shape) - math.exp(0.5 * sigma**2)


def _contaminated(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return random.normal(size=shape) * np.where(random.random(shape) < 0.01, 100.0, 1.0)


# Of each: draws, whether it has a variance and a third moment.
CASES: dict[str, tuple[Draw, bool, bool]] = {
    "normal": (lambda random, shape: random.normal(size=shape), True, True),
    "Laplace": (lambda random, shape: random.laplace(size=shape), True, True),
    "exponential": (lambda random, shape: random.exponential(size=shape) - 1.0, True, True),
    "normal, 1% a hundred times as wide": (_contaminated, True, True),
    "lognormal, σ = 1": (_lognormal(1.0), True, True),
    "lognormal, σ = 2": (_lognormal(2.0), True, True),
    "t of 5": (_student(5.0), True, True),
    "t of 3": (_student(3.0), True, False),
    "t of 2": (_student(2.0), False, False),
    "t of 1.5": (_student(1.5), False, False),
    "Pareto, 2.5": (_pareto(2.5), True, False),
    "Pareto, 1.5": (_pareto(1.5), False, False),
    "Cauchy": (_student(1.0), False, False),
}


def rates(draw: Draw, seed: int, repeats: int) -> tuple[float, float, float]:
    """Shares of samples said to have no variance, no third moment, and a mean that is not zero."""
    random, counts = np.random.default_rng(seed), np.zeros(3)
    for _ in range(repeats):
        sample = draw(random, (BATCHES, PER_BATCH))
        tail = tail_of(np.abs(sample))
        off = abs(sample.mean()) > SIGMAS * sample.std() / sample.size**0.5
        counts += [tail.highest < 2, tail.highest < 3, tail.mean and off]
    variance, third, mean = counts / repeats
    return float(variance), float(third), float(mean)


def main() -> None:
    """Print a line for each distribution."""
    parser = described(__doc__)
    parser.add_argument("--samples", type=int, default=REPEATS)
    repeats = parser.parse_args().samples
    print(f"{repeats} samples each: no variance, no third moment, mean refused")
    for seed, (name, (draw, variance, third)) in enumerate(CASES.items()):
        shares = rates(draw, seed, repeats)
        has = f"variance {'yes' if variance else 'no'}, third moment {'yes' if third else 'no'}"
        print(f"{name:36} {shares[0]:6.3f} {shares[1]:14.3f} {shares[2]:14.3f}   ({has})", flush=True)


if __name__ == "__main__":
    main()
