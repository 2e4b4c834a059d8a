"""Level and power of the joint tests: dependence, shift and scale, for independent and for autocorrelated chains.

    python -m sims.bench.joint [--replicates N]      (ten minutes on an idle core)

Three standard normal variables, 256 chains × 8 draws on either side, as a run has them; autocorrelated ones have the
same AR(1) coefficient in all variables, on both sides. A test of level 0.05 has a share of 0.05 ± √(0.05 · 0.95 / N)
below 0.05. The test of dependence is also made of 64 draws of each chain, for it takes all that are kept; the energy
test, which is slow, in every eighth replicate and for independent chains only.
"""

from __future__ import annotations

import numpy as np

from langevin_ib.statistics.energy import dependence_test, energy_test
from sims import described

CHAINS, DRAWS, ALL = 256, 8, 64
ALTERNATIVES = {
    "null": {},
    "correlation 0.1": {"correlation": 0.1},
    "correlation 0.2": {"correlation": 0.2},
    "correlation 0.3": {"correlation": 0.3},
    "shift 0.1": {"shift": 0.1},
    "scale 1.1": {"scale": 1.1},
}


def chains(rng, draws, ar=0.0, correlation=0.0, shift=0.0, scale=1.0):
    """Stationary chains of three normal variables, of which the first two are correlated; shift and scale of the first.

    Returns:
        (chain, draw, 3).
    """
    root = np.eye(3)
    root[1, :2] = correlation, np.sqrt(1 - correlation**2)
    x = rng.standard_normal((CHAINS, 3))
    samples = np.empty((CHAINS, draws, 3))
    for k in range(draws):
        x = ar * x + np.sqrt(1 - ar**2) * rng.standard_normal((CHAINS, 3))
        samples[:, k] = x @ root.T
    samples[..., 0] = scale * samples[..., 0] + shift
    return samples


def energy(first, second, rng):
    """p of the energy test."""
    return energy_test(list(first), list(second), rng, 199).p_value


def dependence(first, second):
    """p of the test of dependence."""
    ones = np.ones(first.shape[:2])
    return dependence_test(first, ones, second, ones).p_value


def main() -> None:
    """Print, for each alternative, the share of p-values below 0.05."""
    parser = described(__doc__)
    parser.add_argument("--replicates", type=int, default=400)
    replicates = parser.parse_args().replicates
    print(
        f"share of p < 0.05 in {replicates} replicates: energy distance | dependence | dependence, {ALL} draws a chain"
    )
    rng = np.random.default_rng(2026)
    for ar in (0.0, 0.5):
        for name, change in ALTERNATIVES.items():
            p, slow = [], []
            for k in range(replicates):
                first, second = chains(rng, DRAWS, ar, **change), chains(rng, DRAWS, ar)
                longer, plain = chains(rng, ALL, ar, **change), chains(rng, ALL, ar)
                p.append((dependence(first, second), dependence(longer, plain)))
                if ar == 0 and k % 8 == 0:
                    slow.append(energy(first, second, rng))
            rejected = [np.mean(np.array(slow) < 0.05) if slow else np.nan, *np.mean(np.array(p) < 0.05, axis=0)]
            shares = "  ".join(f"{share:.3f}" for share in rejected)
            print(f"AR(1) {ar:.1f}, {name:<16} {shares}", flush=True)


if __name__ == "__main__":
    main()
