"""How often the main job's statements hold over seeds: the intervals of c, the p-values, the verdicts.

    python -m sims.bench.coverage [--seeds N] [--steps N]

Each seed is a run of the main job without companion and reference. The interval of c is a statement about the exact
marginal's c in the window; at κ = 100 that is 0.995, so it contains 1 a little less often than 95%.
"""

from __future__ import annotations

import numpy as np

import langevin_ib
from langevin_ib import RunConfig
from sims import described

WRONG = ("hard", "pushforward", "printed", "naive")


def main() -> None:
    """Print a row per seed and the shares."""
    parser = described(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=RunConfig().steps)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        result = langevin_ib.run(RunConfig(seed=seed, steps=arguments.steps, reference="none", step_check=False))
        invariant = result.summary["invariants"]["z"]
        c, laws = invariant["correction"], invariant["laws"]
        rows.append(
            (
                c["ci95"][0] <= 1 <= c["ci95"][1],
                c["ci95"][0] <= laws["exact"]["c"] <= c["ci95"][1],
                laws["exact"]["p_value"] < 0.05,
                laws["exact"]["verdict"] == laws["slice"]["verdict"] == "agrees",
                all(laws[name]["verdict"] == "differs" and laws[name]["p_value"] < 1e-6 for name in WRONG),
                (c["c"] - laws["exact"]["c"]) / c["se"],
            )
        )
        print(f"seed {seed}: c = {c['c']:.4f} ± {c['se']:.4f}, exact p = {laws['exact']['p_value']:.3f}", flush=True)
    table = np.array(rows, float)
    names = ("contains 1", "contains the exact law's c", "exact p < 0.05", "exact and slice agree", "others rejected")
    for name, column in zip(names, table.T[:5], strict=True):
        print(f"{name}: {int(column.sum())} of {len(rows)}")
    pulls = table[:, 5]
    print(f"(c − exact c)/se: mean {pulls.mean():+.2f} ± {len(rows) ** -0.5:.2f}, sd {pulls.std(ddof=1):.2f}")


if __name__ == "__main__":
    main()
