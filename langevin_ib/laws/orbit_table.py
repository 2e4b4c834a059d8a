"""The orbit integral of many generators at the price of one gradient: from a table of Bessel functions.

Along a rescaling's orbit the usual confinements rise like a hyperbolic cosine, C(exp(t e_a)·s) − C(s) =
T x_a (cosh kt − 1), with k = 4 for stiff and k = 2 for weight decay, and with g_a the trace of the generator

    ∫ exp(−x_a (cosh kt − 1) + g_a t) dt = (2/k) e^{x_a} K_ν(x_a),  ν = |g_a|/k.

All x_a follow from one gradient, for C is a sum over the generators: ∂_a C = T x_a k sinh kt at exp(t, ..., t)·s. The
quadrature of `orbit.py` evaluates C some 200 times for each generator, which for 64 of them is most of what draws of a
law cost. Whether C is of this form is looked at, and the quadrature stays where it is not.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float
from numpy.polynomial import chebyshev

from langevin_ib.background import FAST
from langevin_ib.laws.family import Reduction
from langevin_ib.laws.orbit import log_orbit_integral, traces
from langevin_ib.models.base import Params

MANY = 16  # generators, from which on the table is worth its check
RATES = (2.0, 4.0)
LOOKED = (0.15, -0.2, 0.3)  # t at which the form of C is looked at; the first gives x_a
AGREES = 1e-8  # relative, of x_a between these, and of the logarithm against the quadrature
LOW, HIGH, DEGREE = -60, 40, 12  # of log x; a polynomial on each unit of it
LARGE = 1e8  # x from which on two terms are all digits


def shared_orbit_integral(reduction: Reduction, point: Params) -> Callable[[Params], Float[Array, ""]] | None:
    """θ = s(z) ↦ log of the orbit integral by the table; None where it does not apply, or is not worth it.

    Args:
        reduction: model, confinement and temperature; `check_splits` has passed.
        point: of the slice, at which the form of C is looked at and the table held against the quadrature.
    """
    chart, confinement, temperature = reduction.chart, reduction.confinement, reduction.temperature
    model = reduction.model
    if model.group_dim < MANY:
        return None

    def slopes(params: Params, t: float) -> Float[Array, " m"]:
        at = jnp.full(model.group_dim, t)
        return jax.grad(lambda move: confinement.energy(model, model.act(move, params)))(at) / temperature

    def looked(params: Params) -> tuple[Array, Array, Array]:
        quadrature = log_orbit_integral(chart, confinement, temperature, params)
        return jnp.stack([slopes(params, t) for t in LOOKED]), traces(chart, params), quadrature

    seen, growth, quadrature = map(np.asarray, jax.jit(looked, compiler_options=FAST)(point))
    times = np.array(LOOKED)[:, None]
    for rate in RATES:
        strength = seen / (rate * np.sinh(rate * times))
        if (strength > 0).all() and np.ptp(strength, axis=0).max() <= AGREES * strength.min():
            break
    else:
        return None
    log_bessel = _log_bessel(np.abs(growth) / rate)

    def integral(params: Params) -> Float[Array, ""]:
        x = slopes(params, LOOKED[0]) / (rate * np.sinh(rate * LOOKED[0]))
        return jnp.sum(log_bessel(x)) + model.group_dim * np.log(2.0 / rate)

    agrees = abs(float(integral(point)) - float(quadrature)) <= AGREES * (1.0 + abs(float(quadrature)))
    return integral if agrees else None


def _log_bessel(orders: Float[np.ndarray, " m"]) -> Callable[[Float[Array, " m"]], Float[Array, " m"]]:
    """x ↦ log(e^x K_ν(x)) of each order, from polynomials in log x: to 1e-10 for x of e^−60 to e^40."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    panels = np.arange(LOW, HIGH)
    logs = panels[:, None] + 0.5 * (nodes + 1.0)
    known, place = np.unique(orders.round(12), return_inverse=True)
    fits = np.stack([chebyshev.chebfit(nodes, _log_kve(order, logs).T, DEGREE).T for order in known])

    def log_bessel(x: Float[Array, " m"]) -> Float[Array, " m"]:
        y = jnp.clip(jnp.log(x), LOW, HIGH)
        panel = jnp.clip(jnp.floor(y) - LOW, 0, len(panels) - 1).astype(int)
        rows = jnp.asarray(fits)[jnp.asarray(place), panel]
        u = 2.0 * (y - panel - LOW) - 1.0
        later = after = jnp.zeros_like(u)
        for k in range(DEGREE, 0, -1):  # Clenshaw
            later, after = rows[:, k] + 2.0 * u * later - after, later
        return rows[:, 0] + u * later - after

    return log_bessel


def _log_kve(order: float, log_x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """log(e^x K_ν(x)) of log x; by its first terms where x is large, and where K_ν is beyond the largest number."""
    x = np.exp(log_x)
    with np.errstate(all="ignore"):
        value = np.log(scipy.special.kve(order, x))
        large = 0.5 * (np.log(0.5 * np.pi) - log_x) + np.log1p((4.0 * order**2 - 1.0) / (8.0 * x))
        small = scipy.special.gammaln(order) + order * (np.log(2.0) - log_x) - np.log(2.0)
    return np.where(x > LARGE, large, np.where(np.isfinite(value), value, small))
