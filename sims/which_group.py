"""Which group one divides by changes the prediction: U Vᵀ under all of GL(r), and under its diagonal part alone.

    python -m sims.which_group [--rank N]

The chain is held near the slice UᵀU = VᵀV of GL(r), non-compact part, at κ = 100. Its singular values should obey

    exp(−ℓ/T) Π_{i<j} |σ_i − σ_j| Π_i σ_i⁻¹ Π dσ_i     (all of GL(r))

times the rest of P = U Vᵀ. The diagonal group, with factors on singular modes as in eqs. (54)–(60), divides each mode
by itself, exp(−ℓ/T) Π_i σ_i⁻¹ Π dσ_i: the same without the repulsion. Both are weighed from draws of the law `slice`,
which has no closed form in the code, only the geometry; that it is the first of the two is shown at every draw.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import jax
import numpy as np

from langevin_ib import RunConfig, compare
from langevin_ib.laws.family import family_formula
from langevin_ib.observe import build_observer
from langevin_ib.preparation import prepare
from langevin_ib.sampling import Sampler
from langevin_ib.sim import use_all_cores


def silent(stage: str) -> None:
    """No progress bar."""
    del stage


def main() -> None:
    """Print the verdict on either law for each singular value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=3, help="n = p = r")
    r = parser.parse_args().rank
    use_all_cores()
    with jax.enable_x64(True):
        options = {"group": "gl", "rank": r, "rows": r, "cols": r}
        prepared = prepare(
            RunConfig(model="matrix", options=options, kappa=100.0, steps=200_000, step_check=False), silent
        )
        if prepared.law_draws is None:
            raise SystemExit("rank 1 has one coordinate and no repulsion: give --rank 2 or more")
        plan, law = prepared.plan, prepared.law_draws
        sampler = Sampler(plan, build_observer(plan.reduction, plan.edges, None), silent)
        sample, _ = sampler.draws()

        sigma = [law.scalars[f"sigma_{i + 1}"] for i in range(r)]
        gaps = np.sum([np.log(np.abs(a - b)) for a, b in combinations(sigma, 2)], axis=0)
        # In dP = Π|σ_i² − σ_j²| dσ dO dO' the first law is exp(−ℓ/T) / (Π σ_i Π_{i<j} (σ_i + σ_j)).
        closed = -np.sum([np.log(x) for x in (*sigma, *(a + b for a, b in combinations(sigma, 2)))], axis=0)
        numerical = law.formula.log_density(law.terms) + law.terms.energy
        spread = np.ptp(numerical - closed)
        print(f"log density of `slice` minus the closed form, over {closed.size} draws: spread {spread:.2g}")

        base = law.log_weight(family_formula(1.0, "slice"))
        weights = {"GL(r)": compare.weights_of(base), "diagonal": compare.weights_of(base - gaps)}
        print(
            f"the weights of the diagonal law rest on {compare.effective_share(weights['diagonal']):.0%} of the draws"
        )
        print("invariant  group       TV    floor    95% range          p         verdict")
        for name, edges in plan.edges.items():
            for group, weight in weights.items():
                found = compare.against_sample(
                    sample.ensemble(name), law.histogram(name, edges, weight), plan.config.margin, 1 - 0.05 / r
                )
                print(
                    f"{name:<9}  {group:<9} {found.tv:.4f}  {found.tv_floor:.4f}  "
                    f"{found.tv_lower95:.4f}–{found.tv_upper95:.4f}  {found.p_value:9.2g}  {found.verdict}"
                )
        print("doubts:", "; ".join(prepared.doubts) or "none")


if __name__ == "__main__":
    main()
