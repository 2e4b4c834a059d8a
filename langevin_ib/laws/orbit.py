"""The orbit integral of a group of independent rescalings: exact marginals at finite κ or λ in many dimensions.

For an abelian group that acts linearly, dθ = |det exp(t)| |det M| det G_χ^(−1/2) dσ_S dt at θ = exp(t)·s(z), so

    p(z) dz ∝ e^{−ℓ/T} |det M| det G_χ^(−1/2) dσ_S ∫ exp(−(C(exp(t)·s) − C(s))/T) |det exp(t)| dt,

ℓ standing for ℓ + C(s). Where the confinement C is a sum over the generators, the integral is a product of
one-dimensional ones. For a vector pair (a ∈ R^p, b ∈ R^q) under weight decay they are Bessel functions,
K_{(p−q)/2}(λs/T) e^{λs/T}, and for p = q under stiff confinement e^x K₀(x), x = κs²/4T: the oracles of the tests.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from langevin_ib.confinement import Confinement
from langevin_ib.errors import LawError
from langevin_ib.geometry import fundamental_fields
from langevin_ib.models.base import Chart, Params

NODES = 128
NEGLIGIBLE = 40.0  # the integral ends on either side where the integrand has fallen by e^−40
LADDER = np.geomspace(1e-3, 100.0, 29)
NEWTON_STEPS = 15  # the top only centres the nodes; it need not be exact
SPLITS = 1e-6  # relative departure from a sum over generators that still counts as one


def log_orbit_integral(chart: Chart, confinement: Confinement, temperature: float, params: Params) -> Float[Array, ""]:
    """log ∫ exp(−(C(exp(t)·s) − C(s))/T) |det exp(t)| dt at a point s of the slice, generator by generator.

    Args:
        chart: the model's quotient; its action has to be linear.
        confinement: C, a sum over the generators (check with `check_splits`).
        temperature: T.
        params: s(z).
    """
    model = chart.model
    m = model.group_dim
    growth = traces(chart, params)

    def exponent(a, t):
        moved = model.act(t * jnp.eye(m)[a], params)
        return (confinement.energy(model, moved) - confinement.energy(model, params)) / temperature - growth[a] * t

    def one(a):
        # The top of the integrand by Newton from t = 0: convex for a moment map or a norm, so a few damped steps do.
        slope, curve = jax.grad(lambda t: exponent(a, t)), jax.grad(jax.grad(lambda t: exponent(a, t)))

        def step(_, t):
            return t - jnp.clip(slope(t) / jnp.maximum(curve(t), 1e-9), -1.0, 1.0)

        top = jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros_like(growth[a]))
        least = exponent(a, top)

        def end(side):
            # The first of a ladder of distances that is far enough: half as far again as needed, at worst.
            rises = jax.vmap(lambda far: exponent(a, top + side * far) - least)(jnp.asarray(LADDER))
            return top + side * jnp.asarray(LADDER)[jnp.argmax(rises > NEGLIGIBLE)]

        low, high = end(-1.0), end(1.0)
        values = -jax.vmap(lambda t: exponent(a, t))(low + (high - low) * jnp.asarray(np.linspace(0.0, 1.0, NODES + 1)))
        # The trapezoidal rule converges exponentially: the integrand is analytic and vanishes at both ends.
        return logsumexp(values) + jnp.log((high - low) / NODES)

    return jnp.sum(jax.vmap(one)(jnp.arange(m)))


def traces(chart: Chart, params: Params) -> Float[Array, " m"]:
    """tr of each generator: d/dt log |det exp(t e_a)|, the rate at which the action changes Lebesgue measure."""
    flat, unravel = ravel_pytree(params)
    jacobian = jax.jacfwd(lambda x: fundamental_fields(chart.model, unravel(x)))(flat)
    return jnp.trace(jacobian, axis1=1, axis2=2)


def check_splits(chart: Chart, confinement: Confinement, params: Params) -> None:
    """Refuse what the product formula does not hold for.

    Raises:
        LawError: the action is not linear or not abelian, or C along the orbit is no sum over the generators.
    """
    model = chart.model
    m = model.group_dim
    flat, unravel = ravel_pytree(params)
    doubled = ravel_pytree(model.act(jnp.full(m, 0.3), unravel(2.0 * flat)))[0]
    once = ravel_pytree(model.act(jnp.full(m, 0.3), params))[0]
    if float(jnp.max(jnp.abs(doubled - 2.0 * once))) > SPLITS * float(jnp.max(jnp.abs(once))):
        raise LawError("law exact: no orbit quadrature for an action that is not linear")
    t = 0.4 * jnp.cos(jnp.arange(m) + 1.0)
    base = confinement.energy(model, params)
    together = confinement.energy(model, model.act(t, params)) - base
    parts = [confinement.energy(model, model.act(t * jnp.eye(m)[a], params)) - base for a in range(m)]
    stepwise = params
    for a in reversed(range(m)):
        stepwise = model.act(t * jnp.eye(m)[a], stepwise)
    gap = jnp.max(jnp.abs(ravel_pytree(stepwise)[0] - ravel_pytree(model.act(t, params))[0]))
    if float(gap) > SPLITS * float(jnp.max(jnp.abs(flat))):
        raise LawError("law exact: no orbit quadrature for a group that is not abelian")
    if abs(float(together - sum(parts))) > SPLITS * (1e-12 + abs(float(together)) + float(sum(abs(p) for p in parts))):
        raise LawError(
            "law exact: the confinement along the orbit is no sum over the generators, so no product quadrature"
        )
