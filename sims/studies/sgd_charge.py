"""The charge χ under gradient descent, SGD and isotropic noise: exact products, decay rates, and the noise meter.

    python -m sims.sgd_charge

1. uv under label noise, one chain at a time: χ(n) against χ(0) Π(1 − η²g²), over 10⁴ steps in float64.
2. The rate at which χ decays against ηS, over a decade of η; beside it the full rate η(S + E ℓ'²).
3. Gradient descent without noise: |χ(t) − χ(0)|/|χ(0)| at fixed time, as a power of η, down to round-off; and the
   gradient flow itself, by an eighth-order integrator.
4. Vector pairs: mean change of χ of a ReLU neuron, a query/key channel and a column pair under minibatches against the
   prediction of the gradient covariance, (η/2) tr(D²χ (Σ + ∇L∇Lᵀ)).
5. Share of the gradient noise along the orbits, for every model of the registry: minibatch and label noise against
   isotropic noise of the same strength.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from scipy import integrate, stats

from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.meter import measure
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.accumulators import count
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble
from langevin_ib.geometry.charges import charge_rate
from langevin_ib.models import Model, build_model
from langevin_ib.session import Session
from sims import described

CHAINS, STEPS = 256, 10_000
STRENGTH = 2.0
RATES = (0.001, 0.00215, 0.00464, 0.01, 0.02)  # a decade, and one beyond
DECAYS = 1.0  # e-foldings over which a rate is measured
DESCENT_RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 1e-4)
DESCENT_TIME = 3.0
TINY = 1e-9  # η at which a step changes χ by less than round-off
MODELS: dict[str, dict[str, Any]] = {
    "uv": {},
    "uv, depth 3": {"depth": 3},
    "hadamard": {},
    "relu": {},
    "attention": {},
    "matrix": {},
    "matrix, GL(3)": {"group": "gl", "rank": 3},
    "rotation": {},
}
PAIRS = {"relu": 1e-3, "attention": 2e-5, "matrix": 1e-3}  # learning rates of part 4
PAIR_CHAINS = 2**20


class Contraction(NamedTuple):
    """log (1 − η²g²) of a step, and g², with g = dL/dz of the batch."""

    log_factor: Float[Array, ""]
    square: Float[Array, ""]


def steps(model: Model, kernel: Kernel, starts: Any, count_: int, key: int) -> Any:
    """The final state of a run and the means of the quantities watched along it."""
    return run_ensemble(
        kernel,
        starts,
        Observer(lambda state: model.loss(state.position), count(), lambda loss: {"loss": loss}),
        key=jax.random.key(key),
        schedule=Schedule(0, count_, 1, (1,)),
        limit=Limit(0.0, lambda p: model.loss(p) > 1e9),
        stage=Stage("descent"),
    )


def charges(model: Model, params: Any) -> np.ndarray:
    """χ of every chain."""
    return np.asarray(jax.jit(jax.vmap(model.moment_map))(params))


def watched(lr: float):
    """Watch a uv chain: the gradient is g·(v, u)."""

    def watch(params, gradient):
        # By the larger factor, for the other may be near zero.
        swapped = params[::-1]
        g = jnp.sum(gradient * swapped) / jnp.sum(swapped**2)
        return Contraction(jnp.log1p(-((lr * g) ** 2)), g**2)

    return watch


def products() -> None:
    """Part 1."""
    model, lr = build_model("uv"), 0.01
    # Off the slice: there χ is a difference of nearly equal squares, and its own rounding counts.
    starts = jax.random.uniform(jax.random.key(1), (CHAINS, 2), jnp.float64, 0.2, 0.7) + jnp.array([1.0, 0.0])
    kernel = sgd(model, starts[0], noise=Noise("label", None, STRENGTH), lr=lr, watch=watched(lr))
    result = steps(model, kernel, starts, STEPS, 2)
    before, after = charges(model, starts)[:, 0], charges(model, result.position)[:, 0]
    product = before * np.exp(STEPS * result.info["log_factor"])
    gap = np.abs(after - product) / np.abs(before)
    relative = np.abs(after / product - 1.0)
    print(
        f"uv, label noise s = 2, η = {lr:g}, {STEPS} steps, {CHAINS} chains: |χ(n) − χ(0)Π(1 − η²g²)| is at most "
        f"{gap.max():.1e} of |χ(0)|; relative to χ(n), which is down to {np.median(after / before):.1e} of χ(0): "
        f"median {np.median(relative):.1e}, at most {relative.max():.1e}"
    )


def decay() -> None:
    """Part 2."""
    model = build_model("uv")
    S = STRENGTH**2
    for lr in RATES:
        # From the minimum, off the slice: z has no way to go before it is stationary.
        starts = jnp.tile(jnp.array([2.0, 0.5]), (4 * CHAINS, 1))
        kernel = sgd(model, starts[0], noise=Noise("label", None, STRENGTH), lr=lr, watch=watched(lr))
        number = round(DECAYS / (lr**2 * S))
        result = steps(model, kernel, starts, number, 3)
        ratio = charges(model, result.position)[:, 0] / charges(model, starts)[:, 0]
        rates = -np.log(ratio) / (number * lr)
        rate, error = rates.mean(), stats.sem(rates)
        full = lr * result.info["square"].mean()
        print(
            f"uv, label noise s = 2, η = {lr:g}: χ decays at {rate:.5f} ± {error:.5f} per unit of t; ηS = {lr * S:.5f} "
            f"({rate / (lr * S) - 1.0:+.2%}); η E g² along the run = {full:.5f} ({rate / full - 1.0:+.2%})"
        )


def descent() -> None:
    """Part 3."""
    model = build_model("uv")
    start = jnp.array([2.0, 0.3])
    before = float(model.moment_map(start)[0])
    changes = []
    for lr in DESCENT_RATES:
        kernel = sgd(model, start, noise=Noise("none"), lr=lr)
        result = steps(model, kernel, start[None], round(DESCENT_TIME / lr), 4)
        changes.append(abs(float(model.moment_map(jnp.asarray(result.position[0]))[0]) - before) / before)
    slope = np.polyfit(np.log(DESCENT_RATES[1:]), np.log(changes[1:]), 1)[0]
    shown = ", ".join(f"{change:.2e} at η = {lr:g}" for change, lr in zip(changes, DESCENT_RATES, strict=True))
    print(f"uv, gradient descent to t = {DESCENT_TIME:g}: |χ(t) − χ(0)|/|χ(0)| = {shown}: order {slope:.3f}")
    kernel = sgd(model, start, noise=Noise("none"), lr=TINY)
    result = steps(model, kernel, start[None], STEPS, 5)
    change = abs(float(model.moment_map(jnp.asarray(result.position[0]))[0]) - before) / before
    print(
        f"  η = {TINY:g}, {STEPS} steps: {change:.1e}, where η²Σg² would be {TINY**2 * STEPS * 0.16:.0e} and as many "
        f"roundings of {np.finfo(float).eps:.1e} add up to {np.finfo(float).eps * STEPS**0.5:.0e}"
    )
    slope_of = jax.jit(jax.grad(model.loss))
    flow = integrate.solve_ivp(
        lambda t, x: -np.asarray(slope_of(jnp.asarray(x))), (0.0, DESCENT_TIME), np.asarray(start),
        method="DOP853", rtol=1e-13, atol=1e-15,
    )  # fmt: skip
    change = abs(float(model.moment_map(jnp.asarray(flow.y[:, -1]))[0]) - before) / before
    print(f"  gradient flow to the same time (DOP853, rtol 1e-13): {change:.1e}")


def pairs() -> None:
    """Part 4."""
    for name, lr in PAIRS.items():
        model, noise = build_model(name), Noise("minibatch", 2)
        start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(7)))
        starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (PAIR_CHAINS, *leaf.shape)), start)
        assert model.training is not None
        result = steps(model, sgd(model, start, noise=noise, lr=lr), starts, 1, 6)
        rates = (charges(model, result.position) - charges(model, starts)) / lr
        predicted = np.asarray(charge_rate(model, gradient_noise(model.training, noise, start), start, lr))
        for j, (rate, error) in enumerate(zip(rates.mean(axis=0), stats.sem(rates), strict=True)):
            print(
                f"{name}, minibatches of 2, η = {lr:g}, pair {j + 1}: χ changes at {rate:+.4g} ± {error:.1g} per unit "
                f"of t; from Σ {predicted[j]:+.4g} ({(rate - predicted[j]) / error:+.1f} standard errors)"
            )


def meter() -> None:
    """Part 5."""
    for name, options in MODELS.items():
        model = build_model(name.split(",")[0], options)
        point = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(8)))
        q = ravel_pytree(point)[0].size
        assert model.training is not None
        words = []
        for noise in (
            Noise("minibatch", 2, 0.1),
            Noise("label", None, 1.0),
            Noise("label", None, 1.0, isotropized=True),
        ):
            noise_report = measure(model, gradient_noise(model.training, noise, point).covariance, point, 1.0)
            kind = "isotropized" if noise.isotropized else noise.kind
            words.append(f"{kind} {abs(float(noise_report.orbit_share)):.1e}")
        dim = model.group_dim + model.compact_dim
        print(f"{name}: share of tr Σ along the orbits: {', '.join(words)} (m/q = {dim / q:.3f})")


def main() -> None:
    """Print all five parts."""
    described(__doc__).parse_args()
    with Session().open():
        products()
        decay()
        descent()
        pairs()
        meter()


if __name__ == "__main__":
    main()
