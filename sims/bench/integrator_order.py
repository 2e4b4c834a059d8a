"""Order of the integrators: bias of a stationary mean against the step size, with error bars.

    python -m sims.bench.integrator_order [--chains N] [--time T]

On the quadratic κx²/2 the oracle is exact: Var x = T/(κ(1 − hκ/2)) for Euler–Maruyama, T/κ at every h for
Leimkuhler–Matthews.
On uv under weight decay the oracle is a mean under exp(−V/T), by a trapezoidal sum over the (u, v) plane.
The slope of log |bias| against log h is fitted with weights; its standard error is that of the fit.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.models import uv
from sims import described

TEMPERATURE = 0.1  # of the quadratic
BUILD = {"euler-maruyama": euler_maruyama, "leimkuhler-matthews": leimkuhler_matthews}


def ensemble_mean(
    potential: Callable, observe: Callable, init: Callable, build: Callable, h: float, temperature: float, **size
):
    """Stationary mean of `observe` at step h and its standard error, chains as the unit."""
    starts = starting_points(init, jax.random.key(1), size["chains"], jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    thin = max(1, round(0.1 / h))
    records = int(size["time"] / (thin * h))
    result = run_ensemble(
        build(potential, like, temperature=temperature, step_size=h),
        starts,
        Observer(
            lambda state: observe(state.position), moments(jax.eval_shape(observe, like).shape), lambda x: {"x": x}
        ),
        key=jax.random.fold_in(jax.random.key(2), round(1e6 * h)),
        schedule=Schedule(round(30 / h), thin, records, (records,)),
        limit=Limit(h, lambda p: potential(p) > 1e6),
        stage=Stage("bench"),
    )
    means = np.asarray(result.segments[0].mean)
    return means.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(len(means))


def fitted_order(h: np.ndarray, bias: np.ndarray, se: np.ndarray) -> tuple[float, float]:
    """Slope of log |bias| against log h by weighted least squares, and its standard error."""
    x, y, weight = np.log(h), np.log(np.abs(bias)), (bias / se) ** 2
    centre = np.average(x, weights=weight)
    spread = float(weight @ (x - centre) ** 2)
    return float(weight @ ((x - centre) * y) / spread), spread**-0.5


def gibbs_mean(potential: Callable, observe: Callable, reach: float = 12.0, points: int = 4001) -> np.ndarray:
    """Mean under exp(−V) du dv by the trapezoidal rule, exact to round-off for this smooth, decaying integrand."""
    axis = jnp.linspace(-reach, reach, points)

    def row(u):
        pairs = jnp.stack([jnp.full_like(axis, u), axis], axis=1)
        energy = jax.lax.map(potential, pairs, batch_size=points)
        weight = jnp.exp(-energy)
        return jnp.sum(weight), weight @ jax.lax.map(observe, pairs, batch_size=points)

    mass, first = jax.jit(lambda xs: jax.lax.map(row, xs))(axis)
    return np.asarray(first.sum(axis=0) / mass.sum())


def main() -> None:
    """Print both tables."""
    parser = described(__doc__)
    parser.add_argument("--chains", type=int, default=4096)
    parser.add_argument("--time", type=float, default=600.0, help="time of each run after the burn-in")
    size = vars(parser.parse_args())
    with jax.enable_x64(True):
        quadratic(size)
        product(size)


def quadratic(size: dict) -> None:
    """κ = 1, T = 0.1: Var x against T/κ."""
    print("quadratic x²/2, T = 0.1: bias of E x² (oracle in brackets)")
    for name, build in BUILD.items():
        h = np.array([0.0125, 0.025, 0.05, 0.1] if name == "euler-maruyama" else [0.1, 0.2, 0.4, 0.8])
        estimates = [
            ensemble_mean(
                lambda x: 0.5 * jnp.sum(x**2), lambda x: x[0] ** 2, _draw_normal, build, step, TEMPERATURE, **size
            )
            for step in h
        ]
        bias, se = np.array(estimates).T[0] - TEMPERATURE, np.array(estimates).T[1]
        oracle = TEMPERATURE * (1 / (1 - h / 2) - 1) if name == "euler-maruyama" else np.zeros_like(h)
        for row in zip(h, bias, se, oracle, strict=True):
            print("  {}: h = {:.4f}  bias {:+.6f} ± {:.6f}  [{:+.6f}]".format(name, *row))
        if name == "euler-maruyama":
            print("  {}: order {:.3f} ± {:.3f}".format(name, *fitted_order(h, bias, se)))
        else:
            print(f"  {name}: no bias to fit, largest |bias|/se = {np.max(np.abs(bias) / se):.2f}")


def product(size: dict) -> None:
    """uv under weight decay, λ = 1, T = 1: far from harmonic, so that the better integrator has a bias at all."""
    model = uv()
    potential = weight_decay(1.0).potential(model)
    names = ("z²", "χ²", "|θ|²")

    def observe(params):
        z, charge = model.invariants(params)["z"], model.moment_map(params)
        return jnp.stack([z**2, jnp.sum(charge**2), jnp.sum(params**2)])

    truth = gibbs_mean(potential, observe)
    print("uv, λ = 1, T = 1: bias of E z², E χ², E |θ|²; oracle", np.round(truth, 6))
    steps = {"euler-maruyama": [0.0025, 0.005, 0.01, 0.02], "leimkuhler-matthews": [0.05, 0.07, 0.1]}
    # The bias of second order is a hundredth of the other, so its runs are as much longer as a few minutes allow.
    larger = {"euler-maruyama": 2, "leimkuhler-matthews": 40}
    for name, build in BUILD.items():
        h = np.array(steps[name])
        run = {"chains": 4 * size["chains"], "time": size["time"] * larger[name] / 4}
        estimates = np.array([ensemble_mean(potential, observe, model.init, build, step, 1.0, **run) for step in h])
        bias, se = estimates[:, 0] - truth, estimates[:, 1]
        for i, observable in enumerate(names):
            for row in zip(h, bias[:, i], se[:, i], strict=True):
                print("  {}, {}: h = {:.4f}  bias {:+.6f} ± {:.6f}".format(name, observable, *row))
            order = fitted_order(h, bias[:, i], se[:, i])
            print("  {}, {}: order {:.3f} ± {:.3f}".format(name, observable, *order), flush=True)


def _draw_normal(key):
    return jnp.sqrt(TEMPERATURE) * jax.random.normal(key, (1,))


if __name__ == "__main__":
    main()
