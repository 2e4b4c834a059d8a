"""A constant diagonal metric g: the preconditioned chain obeys the law that the theorem predicts with that metric.

    python -m sims.metric [--metric G1 G2 G3] [--beta B]

One neuron, v ∈ R and W ∈ R², loss ½|vW − w*|², under dθ = −g⁻¹∇L dt + √(2T) g^{−1/2} dW. Two statements are tested.

Held on the slice by projection (in the metric), the chain has the law c = 0 against the metric's surface measure,
exp(−ℓ/T) dσ_g, and not the Euclidean one: by G_g = Dχ g⁻¹ Dχᵀ they differ by √(det G_g / det G), a function of the
direction of W. Under stiff confinement, and with Fixman's term in the metric, the law is det G_g^(−1/2) dσ_g, and here
the metric cancels: both are the measure exp(−ℓ/T) δ(χ) dθ, so the paper's law is the same in every constant metric.
That is shown as the spread of the two log densities over the draws, a check of the geometry; of the chain, that either
protocol obeys `slice` and rejects the metric's law c = 0 (for w_2; the two differ little in w_1).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib import LangevinIBError, RunConfig
from langevin_ib.laws import Reduction, formula
from langevin_ib.laws.base import on_host
from langevin_ib.models import Model
from langevin_ib.runs.run import prepare_and_draw
from langevin_ib.session import Session
from langevin_ib.statistics import compare
from langevin_ib.statistics.records import Doubt
from langevin_ib.statistics.weights import weights_of
from sims import described

TARGET = (1.2, 1.2)
ROWS = (("hard", ("hard", "hard, Euclid")), ("stiff", ("slice", "hard")), ("hard-fixman", ("slice", "hard")))


def neuron() -> Model:
    """w = v W ∈ R², the flat directions of one ReLU neuron without the ReLU."""

    def section(invariants):
        root = jnp.sqrt(jnp.linalg.norm(invariants["w"]))
        return {"v": invariants["sign"] * root, "W": invariants["sign"] * invariants["w"] / root}

    def init(key):
        x = jax.random.uniform(key, (3,), minval=0.8, maxval=1.4)
        return {"v": x[0], "W": x[1:]}

    return Model(
        name="neuron",
        group="R_{>0}",
        group_dim=1,
        loss=lambda p: 0.5 * jnp.sum((p["v"] * p["W"] - jnp.asarray(TARGET, p["W"].dtype)) ** 2),
        act=lambda t, p: {"v": p["v"] * jnp.exp(-t[0]), "W": p["W"] * jnp.exp(t[0])},
        moment_map=lambda p: 0.5 * (jnp.sum(p["W"] ** 2) - p["v"] ** 2)[None],
        invariants=lambda p: {"w": p["v"] * p["W"], "sign": jnp.sign(p["v"])},
        section=section,
        init=init,
        discrete=("sign",),
    )


def main() -> None:
    """Print, for each protocol, the laws that it should and should not obey."""
    parser = described(__doc__)
    parser.add_argument("--metric", nargs=3, type=float, default=(25.0, 1.0, 25.0), help="of W_1, W_2 and v [25 1 25]")
    parser.add_argument("--beta", type=float, default=10.0)
    arguments = parser.parse_args()
    print("protocol     coordinate  law            TV      floor   95% bounds     p         verdict")
    with Session().open():
        for confine, laws in ROWS:
            settings = {"confine": confine, "beta": arguments.beta, "metric": tuple(arguments.metric)}
            try:
                result = study(RunConfig(model="sims.metric:neuron", step_check=False, **settings), laws)
            except LangevinIBError as error:
                raise SystemExit(f"{confine}: {error}") from None
            for (law, scalar), comparison in result.comparisons.items():
                print(
                    f"{confine:<12} {scalar:<11} {law:<14} {comparison.tv:.4f}  {comparison.tv_floor:.4f}  "
                    f"{comparison.tv_lower95:.4f}–{comparison.tv_upper95:.4f}  {comparison.p_value:9.2g}  "
                    f"{comparison.verdict}"
                )
            print(f"{'':12} log `slice` in the metric and without differ by a constant to {result.spread:.1e}")
            for doubt in result.doubts:
                print(f"{'':12} in doubt: {doubt}")


class Study(NamedTuple):
    """One protocol.

    Attributes:
        comparisons: {(law, coordinate): comparison of the draws with it}.
        spread: by how much log `slice` in the metric and without differ from a constant.
        doubts: reasons not to trust the chains, or the law's draws.
    """

    comparisons: dict[tuple[str, str], compare.Comparison]
    spread: float
    doubts: list[Doubt]


def study(config: RunConfig, laws: tuple[str, ...]) -> Study:
    """Draw under one protocol, and weigh the law's draws by each law of the metric and of Euclid (", Euclid")."""
    prepared, draws, doubts = prepare_and_draw(config)
    assert prepared.sampled is not None  # of two coordinates
    plan, law_draws, sample = prepared.plan, prepared.sampled.draws, draws.main
    level = 1.0 - (1.0 - compare.LEVEL) / len(plan.edges)
    reduction = plan.reduction
    euclidean = Reduction(neuron(), reduction.confinement, reduction.temperature)
    # The scalars of this model are all its coordinates.
    x = np.stack([law_draws.scalars[name] for name in reduction.chart.scalar_names], axis=-1)
    flat = on_host(euclidean.terms_at)(x.reshape(-1, x.shape[-1]))
    euclid = type(flat)(*(np.reshape(term, x.shape[:2]) for term in flat))
    comparisons = {}
    for law in laws:
        terms = euclid if law.endswith(", Euclid") else law_draws.terms
        log_weight = formula(reduction, law.split(",")[0]).log_density(terms) - law_draws.formula.log_density(
            law_draws.terms
        )
        weight = weights_of(log_weight)
        for scalar, edges in plan.edges.items():
            predicted = law_draws.histogram(scalar, edges, weight)
            comparisons[law, scalar] = compare.against_sample(sample.histogram(scalar), predicted, config.margin, level)
    slice_law = formula(reduction, "slice").log_density
    return Study(comparisons, float(np.ptp(slice_law(law_draws.terms) - slice_law(euclid))), doubts)


if __name__ == "__main__":
    main()
