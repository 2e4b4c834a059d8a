"""Which group one divides by changes the prediction: U Vᵀ under all of GL(r), and under its diagonal part alone.

    python -m sims.which_group [--rank N] [--kappa K …]

The chain is held near the slice UᵀU = VᵀV of GL(r), non-compact part. Its singular values should obey, as κ → ∞,

    exp(−ℓ/T) Π_{i<j} |σ_i − σ_j| Π_i σ_i⁻¹ Π dσ_i     (all of GL(r))

times the rest of P = U Vᵀ. The diagonal group, with factors on singular modes as in eqs. (54)–(60), divides each mode
by itself, exp(−ℓ/T) Π_i σ_i⁻¹ Π dσ_i: the same without the repulsion. It is not what a chain near the diagonal group's
own slice would show (`--model matrix`); the question is which of the two predictions this chain obeys. Both are weighed
from draws of the law `slice`. That this law, made from the loss, the action and χ by automatic differentiation, is the
first of the two is shown at some of the draws. The weights of the second, 1/Π|σ_i − σ_j|, have a heavy tail.
"""

from __future__ import annotations

from itertools import combinations

import jax.numpy as jnp
import numpy as np

from langevin_ib import RunConfig, geometry
from langevin_ib.laws.base import on_host
from langevin_ib.laws.family import family_formula
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from langevin_ib.statistics.weights import effective_share, weights_of
from sims import described


def main() -> None:
    """Print the verdict on either law for each singular value."""
    parser = described(__doc__)
    parser.add_argument("--rank", type=int, default=3, help="n = p = r")
    parser.add_argument("--kappa", type=float, nargs="+", default=(20.0, 100.0))
    arguments = parser.parse_args()
    if arguments.rank < 2:
        raise SystemExit("rank 1 has one coordinate and no repulsion: give --rank 2 or more")
    print("kappa  invariant  group       TV    floor    95% bounds         p         verdict")
    for kappa in arguments.kappa:
        study(arguments.rank, kappa)


def study(r: int, kappa: float) -> None:
    """One κ: the measured c, and either law against each singular value."""
    with Session().open():
        options = {"group": "gl", "rank": r, "rows": r, "cols": r}
        steps = max(50_000, round(2000 * kappa))  # the stiffer, the smaller the step
        config = RunConfig(model="matrix", options=options, kappa=kappa, steps=steps, step_check=False)
        prepared, draws, doubts = prepare_and_draw(config)
        assert prepared.sampled is not None  # of more coordinates than one
        plan, law, sample = prepared.plan, prepared.sampled.draws, draws.main
        chart = plan.reduction.chart

        sigma = [law.scalars[f"sigma_{i + 1}"] for i in range(r)]
        gaps = np.sum([np.log(np.abs(a - b)) for a, b in combinations(sigma, 2)], axis=0)

        def gap_to_closed(x):
            # In dP = Π|σ_i² − σ_j²| dσ dO dO' the first law is exp(−ℓ/T) / (Π σ_i Π_{i<j} (σ_i + σ_j)).
            s = list(chart.scalars(x).values())
            terms = geometry.derived_slice_terms(chart, x)
            closed = -sum(jnp.log(y) for y in (*s, *(a + b for a, b in combinations(s, 2))))
            return -0.5 * terms.log_det + terms.log_volume - closed

        spread = np.ptp(on_host(gap_to_closed)(law.position))
        print(
            f"κ = {kappa:g}: log density of `slice` by automatic differentiation minus the closed form, at "
            f"{len(law.position)} draws: spread {spread:.2g}"
        )
        print(f"κ = {kappa:g}: c = {prepared.coefficient(sample.statistic)}")

        base = law.log_weight(family_formula(1.0, "slice"))
        weights = {"GL(r)": weights_of(base), "diagonal": weights_of(base - gaps)}
        print(f"the weights of the diagonal law rest on {effective_share(weights['diagonal']):.0%} of the draws")
        for name, edges in plan.edges.items():
            for group, weight in weights.items():
                comparison = compare.against_sample(
                    sample.histogram(name), law.histogram(name, edges, weight), plan.config.margin, 1 - 0.05 / r
                )
                print(
                    f"{kappa:<5g}  {name:<9}  {group:<9} {comparison.tv:.4f}  {comparison.tv_floor:.4f}  "
                    f"{comparison.tv_lower95:.4f}–{comparison.tv_upper95:.4f}  {comparison.p_value:9.2g}  "
                    f"{comparison.verdict}"
                )
        print(f"κ = {kappa:g}: doubts:", "; ".join(map(str, doubts)) or "none")


if __name__ == "__main__":
    main()
