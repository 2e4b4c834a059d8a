"""Unconfined isotropic Langevin moves the charge of a ReLU neuron: mean drift against the Itô term T(p − q).

    python -m sims.charge_drift [--inputs D]

For a pair (a ∈ R^p, b ∈ R^q) and χ = ½(|a|² − |b|²) the loss does not move χ, its gradient being orthogonal to the
orbit, but the noise does: E dχ = T(p − q) dt. With a = W_j (p = d) and b = v_j (q = 1) it pushes |W_j|² above v_j².
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.models import relu
from langevin_ib.session import Session
from sims import described

TEMPERATURE, STEP, TIME, CHAINS = 0.1, 1e-3, 2.0, 16384


def drift(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of (χ_j(t) − χ_j(0))/t over the ensemble for each neuron, and its standard error, chains as the unit."""
    # The loss is not in the drift, but a steep one adds the step's error, ½h(|∇_W L|² − |∇_v L|²) per unit of time.
    model = relu(inputs=inputs, gain=1.0)
    starts = starting_points(model.init, jax.random.key(1), CHAINS, jnp.float64)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    steps = round(TIME / STEP)
    result = run_ensemble(
        euler_maruyama(model.loss, like, temperature=TEMPERATURE, step_size=STEP),
        starts,
        Observer(lambda state: model.moment_map(state.position), moments((model.group_dim,)), lambda x: {"charge": x}),
        key=jax.random.key(2),
        schedule=Schedule(0, steps, 1, (1,)),
        limit=Limit(STEP, lambda p: model.loss(p) > 1e9),
        stage=Stage("drift"),
    )
    before = np.asarray(jax.vmap(model.moment_map)(starts))
    after = np.asarray(jax.vmap(model.moment_map)(result.position))
    rate = (after - before) / TIME
    return rate.mean(axis=0), rate.std(axis=0, ddof=1) / np.sqrt(CHAINS)


def main() -> None:
    """Print each neuron's drift beside the theory's."""
    parser = described(__doc__)
    parser.add_argument("--inputs", type=int, nargs="+", default=[3, 6], help="input dimensions d")
    inputs = parser.parse_args().inputs
    with Session().open():
        for d in inputs:
            mean, error = drift(d)
            for j, (m, e) in enumerate(zip(mean, error, strict=True)):
                theory = TEMPERATURE * (d - 1)
                print(
                    f"d = {d}, neuron {j + 1}: drift of ½(|W|² − v²) = {m:.4f} ± {e:.4f} per unit of time; "
                    f"T(d − 1) = {theory:.4f}, {(m - theory) / e:+.1f} standard errors away; 0 is {m / e:.0f} away"
                )


if __name__ == "__main__":
    main()
