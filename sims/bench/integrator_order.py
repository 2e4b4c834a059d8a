"""Order of the integrators: bias of a stationary mean against the step size, with error bars.

    python -m sims.bench.integrator_order [--increments KIND …] [--chains N] [--time T] [--quadratic]

On the quadratic κx²/2 the oracle is exact: Var x = T/(κ(1 − hκ/2)) for Euler–Maruyama, T/κ at every h for
Leimkuhler–Matthews, on either increments. A draw is a sum of independent increments, so that its sixth cumulant is
theirs times a sum of sixth powers: that of normals is 0, that of four points −4.73, the first in which they differ. It
is of order (hκ)², and what four points do to a tail.
On uv under weight decay the oracle is a mean under exp(−V/T), by a trapezoidal sum over the (u, v) plane.
The slope of log |bias| against log h is fitted with weights; its standard error is that of the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from langevin_ib.config.kernels import INCREMENTS
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.increments import FOUR_POINT, INNER, NORMAL, OUTER
from langevin_ib.dynamics.kernel import Kernel
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble.accumulators import moments
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.models import Params, uv
from sims import described

TEMPERATURE = 0.1  # of the quadratic
BUILD = {"euler-maruyama": euler_maruyama, "leimkuhler-matthews": leimkuhler_matthews}
# Of increments; the lower ones are a normal's.
SIXTH_CUMULANT = {NORMAL: 0.0, FOUR_POINT: 0.75 * INNER**6 + 0.25 * OUTER**6 - 15.0}


class Size(NamedTuple):
    """Of an ensemble: chains, and the time of each after the burn-in."""

    chains: int
    time: float


class Scheme(NamedTuple):
    """An integrator by name, and what drives it."""

    name: str
    increments: str

    def kernel(self, potential: Callable, like: Params, temperature: float, h: float) -> Kernel:
        """Of a potential at a step."""
        return BUILD[self.name](potential, like, temperature=temperature, step_size=h).on(self.increments)

    def __str__(self) -> str:
        return f"{self.name} on {self.increments}"


def ensemble_mean(
    potential: Callable, observe: Callable, init: Callable, scheme: Scheme, h: float, temperature: float, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Stationary mean of `observe` at step h and its standard error, chains as the unit."""
    starts = starting_points(init, jax.random.key(1), size.chains, jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    thin = max(1, round(0.1 / h))
    records = int(size.time / (thin * h))
    result = run_ensemble(
        scheme.kernel(potential, like, temperature, h),
        starts,
        Observer(
            lambda state: observe(state.position), moments(jax.eval_shape(observe, like).shape), lambda x: {"x": x}
        ),
        # Another for each kind of increments: that normals are off by chance is then no excuse for four points.
        key=jax.random.fold_in(jax.random.key(2 + INCREMENTS.index(scheme.increments)), round(1e6 * h)),
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


def sixth_moment(scheme: Scheme, h: float) -> float:
    """E x⁶/T³ of the stationary chain on x²/2: 15 v³ + κ₆ Σ c_k⁶, with x = Σ c_k ξ_{n−k} and v = Σ c_k² (E ξ⁴ = 3).

    >>> sixth_moment(Scheme("leimkuhler-matthews", NORMAL), 0.5)
    15.0
    >>> round(sixth_moment(Scheme("euler-maruyama", FOUR_POINT), 1.0), 2)  # x = √2 ξ, 8 E ξ⁶
    82.13
    """
    if scheme.name == "euler-maruyama":
        variance, powers = 1 / (1 - h / 2), (2 * h) ** 3 / (1 - (1 - h) ** 6)
    else:
        variance, powers = 1.0, (h / 2) ** 3 * (1 + (2 - h) ** 6 / (1 - (1 - h) ** 6))
    return 15.0 * variance**3 + SIXTH_CUMULANT[scheme.increments] * powers


def main() -> None:
    """Print both tables, for each kind of increments."""
    parser = described(__doc__)
    parser.add_argument("--increments", nargs="+", choices=INCREMENTS, default=list(INCREMENTS), metavar="KIND")
    parser.add_argument("--chains", type=int, default=4096)
    parser.add_argument("--time", type=float, default=600.0, help="time of each run after the burn-in")
    parser.add_argument("--quadratic", action="store_true", help="the exactly solvable case alone, in a minute")
    given = parser.parse_args()
    size = Size(given.chains, given.time)
    with jax.enable_x64(True):
        for increments in given.increments:
            quadratic(increments, size)
        for increments in [] if given.quadratic else given.increments:
            product(increments, size)


def quadratic(increments: str, size: Size) -> None:
    """κ = 1, T = 0.1: E x² and E x⁶ against their oracles."""
    print("quadratic x²/2, T = 0.1: biases of E x²/T and E x⁶/T³ (oracles in brackets)")
    for name in BUILD:
        scheme = Scheme(name, increments)
        h = np.array([0.0125, 0.025, 0.05, 0.1] if name == "euler-maruyama" else [0.1, 0.2, 0.4, 0.8])
        estimates = [
            ensemble_mean(lambda x: 0.5 * jnp.sum(x**2), _even_moments, _draw_normal, scheme, step, TEMPERATURE, size)
            for step in h
        ]
        truth = np.array([1.0, 15.0])
        bias, se = np.array([mean for mean, _ in estimates]) - truth, np.array([error for _, error in estimates])
        second = 1 / (1 - h / 2) - 1 if name == "euler-maruyama" else np.zeros_like(h)
        oracle = np.stack([second, [sixth_moment(scheme, float(step)) - 15.0 for step in h]], axis=1)
        for row in zip(h, bias, se, oracle, strict=True):
            step, pairs = row[0], zip(*row[1:], strict=True)
            print(f"  {scheme}: h = {step:.4f}  " + "  ".join(f"{b:+.5f} ± {s:.5f} [{o:+.5f}]" for b, s, o in pairs))
        for i, moment in enumerate(("E x²", "E x⁶")):
            off = np.max(np.abs(bias - oracle)[:, i] / se[:, i])
            print(f"  {scheme}, {moment}: off the oracle by {off:.2f} se at most")
            if np.all(oracle[:, i] != 0.0):
                order = fitted_order(h, bias[:, i], se[:, i])
                print("  {}, {}: order {:.3f} ± {:.3f}".format(scheme, moment, *order), flush=True)


def product(increments: str, size: Size) -> None:
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
    for name in BUILD:
        h, scheme = np.array(steps[name]), Scheme(name, increments)
        run = Size(4 * size.chains, size.time * larger[name] / 4)
        estimates = np.array([ensemble_mean(potential, observe, model.init, scheme, step, 1.0, run) for step in h])
        bias, se = estimates[:, 0] - truth, estimates[:, 1]
        for i, observable in enumerate(names):
            for row in zip(h, bias[:, i], se[:, i], strict=True):
                print("  {}, {}: h = {:.4f}  bias {:+.6f} ± {:.6f}".format(scheme, observable, *row))
            order = fitted_order(h, bias[:, i], se[:, i])
            print("  {}, {}: order {:.3f} ± {:.3f}".format(scheme, observable, *order), flush=True)


def _even_moments(x):
    """x²/T and x⁶/T³."""
    square = x[0] ** 2 / TEMPERATURE
    return jnp.stack([square, square**3])


def _draw_normal(key):
    return jnp.sqrt(TEMPERATURE) * jax.random.normal(key, (1,))


if __name__ == "__main__":
    main()
