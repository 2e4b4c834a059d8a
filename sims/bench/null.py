"""The judge under the null: p-values for draws taken exactly from a law, independent and autocorrelated, and its power.

    python -m sims.bench.null [--replicates N]

Draws are z = F⁻¹(Φ(g)) with F the distribution function of the slice law of the main job (κ → ∞, T = 0.1) in its
window and g an AR(1) chain, so every chain is stationary with exactly that marginal. A test of level 0.05 has a share
of 0.05 ± √(0.05 · 0.95 / N) below 0.05.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from langevin_ib.config.run import RunConfig
from langevin_ib.laws import bin_masses, family, formula
from langevin_ib.runs.plan import resolve
from langevin_ib.statistics import compare
from sims import described

CHAINS, DRAWS = 512, 100


def counts(rng: np.random.Generator, mass: np.ndarray, correlation: float) -> np.ndarray:
    """Bin counts of stationary AR(1) chains with exactly these bin masses."""
    g = rng.standard_normal(CHAINS)
    thresholds = stats.norm.ppf(np.cumsum(mass)[:-1])
    histogram = np.zeros((CHAINS, mass.size), int)
    for _ in range(DRAWS):
        g = correlation * g + np.sqrt(1 - correlation**2) * rng.standard_normal(CHAINS)
        histogram[np.arange(CHAINS), np.searchsorted(thresholds, g)] += 1
    return histogram


def stuck(rng: np.random.Generator, mass: np.ndarray, hold: np.ndarray) -> np.ndarray:
    """Bin counts of stationary chains that stay in bin b for a geometric time of mean hold_b: rare bins in long bursts.

    Leaving with probability 1/hold_b for a bin drawn from mass/hold keeps exactly `mass` invariant.
    """
    arrival = mass / hold
    arrival /= arrival.sum()
    state = rng.choice(mass.size, size=CHAINS, p=mass)
    histogram = np.zeros((CHAINS, mass.size), int)
    for _ in range(DRAWS):
        leaves = rng.random(CHAINS) < 1 / hold[state]
        state = np.where(leaves, rng.choice(mass.size, size=CHAINS, p=arrival), state)
        histogram[np.arange(CHAINS), state] += 1
    return histogram


def report(name: str, samples: list[np.ndarray], mass: np.ndarray, wrong: np.ndarray) -> None:
    """One line: level under the true law, power against `printed`."""
    p = np.array([compare.p_value_of_law(n, mass) for n in samples], float)
    power = np.array([compare.p_value_of_law(n, wrong) for n in samples], float)
    share = np.mean(p < 0.05)
    print(
        f"{name}: {len(samples)} replicates of {CHAINS} chains × {DRAWS} draws, share of p < 0.05: {share:.3f} ± "
        f"{np.sqrt(share * (1 - share) / len(samples)):.3f}, p < 0.01: {np.mean(p < 0.01):.3f}; "
        f"`printed` at p < 1e-6 in {np.mean(power < 1e-6):.1%}",
        flush=True,
    )


def main() -> None:
    """Print the share of p-values below 0.05 under the null, and the largest p-value of a wrong law."""
    parser = described(__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    replicates = parser.parse_args().replicates
    plan = resolve(RunConfig())
    (edges,) = plan.edges.values()
    mass = bin_masses(family(plan.reduction, 1.0, "slice"), edges)
    wrong = bin_masses(plan.reduction.law(formula(plan.reduction, "printed")), edges)
    rng = np.random.default_rng(2026)
    for correlation in (0.0, 0.5, 0.9, 0.98):
        samples = [counts(rng, mass, correlation) for _ in range(replicates)]
        report(f"AR(1) correlation {correlation:.2f}", samples, mass, wrong)
    # As MALA at its tuned step: chains that enter the steep upper tail stay there a hundred times longer.
    hold = np.where(np.cumsum(mass) > 0.97, 60.0, 1.0)
    report("stuck in the tail", [stuck(rng, mass, hold) for _ in range(replicates)], mass, wrong)


if __name__ == "__main__":
    main()
