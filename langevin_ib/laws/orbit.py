"""The orbit integral of independent rescalings or translations: exact marginals at finite κ or λ in many dimensions.

For an abelian group that acts by affine maps, dθ = |det exp(t)| |det M| det G_χ^(−1/2) dσ_S dt at θ = exp(t)·s(z), with
|det exp(t)| that of the linear part, so

    p(z) dz ∝ e^{−ℓ/T} |det M| det G_χ^(−1/2) dσ_S ∫ exp(−(C(exp(t)·s) − C(s))/T) |det exp(t)| dt,

ℓ standing for ℓ + C(s). Where the confinement C is a sum over the generators, the integral is a product of
one-dimensional ones. A compact group of isometries that is divided out too, commutes with exp(t) and leaves C alone is
already in dσ_S, by the volume of its orbits.

For a vector pair (a ∈ R^p, b ∈ R^q) under weight decay the integrals are Bessel functions, K_{(p−q)/2}(λs/T) e^{λs/T},
for p = q under stiff confinement e^x K₀(x), x = κs²/4T; for a translation they are Gaussian: the oracles of the tests.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from langevin_ib.background import FAST
from langevin_ib.dynamics.confinement import Confinement
from langevin_ib.errors import LawError
from langevin_ib.geometry.gram import fundamental_fields
from langevin_ib.models.base import Chart, Params

NODES = 128
NEGLIGIBLE = 40.0  # the integral ends on either side where the integrand has fallen by e^−40
LADDER = np.geomspace(1e-3, 100.0, 29)
# Gaussian widths of t for which it is that ladder: a rescaling's are, a translation's are of any size.
WIDTHS = (1e-4, 10.0)
LARGEST = 1e3  # unit of the ladder: further out a rescaling has overflowed
NEWTON_STEPS = 15  # the top only centres the nodes; it need not be exact
SPLITS = 1e-6  # relative departure from a sum over generators that still counts as one


def log_orbit_integral(chart: Chart, confinement: Confinement, temperature: float, params: Params) -> Float[Array, ""]:
    """log ∫ exp(−(C(exp(t)·s) − C(s))/T) |det exp(t)| dt at a point s of the slice, generator by generator.

    Args:
        chart: the model's quotient; its action has to be affine.
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

    def log_integral(a):
        # The top of the integrand by Newton from t = 0: convex for a moment map or a norm, so a few damped steps do.
        slope, curve = jax.grad(lambda t: exponent(a, t)), jax.grad(jax.grad(lambda t: exponent(a, t)))

        def step(_, t):
            return t - jnp.clip(slope(t) / jnp.maximum(curve(t), 1e-9), -1.0, 1.0)

        top = jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros_like(growth[a]))
        least = exponent(a, top)
        width = 1.0 / jnp.sqrt(jnp.maximum(curve(top), LARGEST**-4))
        usual = (width > WIDTHS[0]) & (width < WIDTHS[1])
        ladder = jnp.where(usual, 1.0, jnp.minimum(width, LARGEST)) * jnp.asarray(LADDER)

        def end(side):
            # The first of a ladder of distances that is far enough: half as far again as needed, at worst.
            enough = jax.vmap(lambda far: exponent(a, top + side * far) - least)(ladder) > NEGLIGIBLE
            return jnp.where(jnp.any(enough), top + side * ladder[jnp.argmax(enough)], jnp.nan)

        low, high = end(-1.0), end(1.0)
        values = -jax.vmap(lambda t: exponent(a, t))(low + (high - low) * jnp.asarray(np.linspace(0.0, 1.0, NODES + 1)))
        # The trapezoidal rule converges exponentially: the integrand is analytic and vanishes at both ends.
        return logsumexp(values) + jnp.log((high - low) / NODES)

    return jnp.sum(jax.vmap(log_integral)(jnp.arange(m)))


def traces(chart: Chart, params: Params) -> Float[Array, " m"]:
    """tr of each generator's linear part: d/dt log |det exp(t e_a)|, the rate at which Lebesgue measure changes."""
    flat, unravel = ravel_pytree(params)
    jacobian = jax.jacfwd(lambda x: fundamental_fields(chart.model, unravel(x)))(flat)
    return jnp.trace(jacobian, axis1=1, axis2=2)


def constant_along_orbits(chart: Chart, confinement: Confinement, params: Params) -> bool:
    """Whether C does not change along an orbit, as norms do not under isometries: then the volume is exact."""
    model = chart.model
    ways = jnp.concatenate([jnp.eye(model.group_dim), jnp.cos(jnp.arange(model.group_dim) + 1.0)[None]])
    there = jax.vmap(lambda t: confinement.energy(model, model.act(t, params)))(0.7 * ways)
    here = confinement.energy(model, params)
    return bool(jnp.max(jnp.abs(there - here)) <= SPLITS * (1e-12 + jnp.abs(here)))


def check_splits(chart: Chart, confinement: Confinement, params: Params) -> None:
    """Refuse what the product formula does not hold for.

    Raises:
        LawError: the action is not affine or not abelian, C along the orbit is no sum over the generators, or a compact
            group that is divided out too does not commute with the action or changes C.
    """
    model = chart.model
    m = model.group_dim
    t = jnp.asarray(0.4 * np.cos(np.arange(m) + 1.0))

    # One program: each operation that is done on its own is one to compile, and there may be many generators.
    def numbers(params):
        flat, unravel = ravel_pytree(params)

        def moved(x):
            return ravel_pytree(model.act(jnp.full(m, 0.3), unravel(x)))[0]

        def energy(move):
            return confinement.energy(model, model.act(move, params))

        def step(i, point):
            return ravel_pytree(model.act(t * jnp.eye(m)[m - 1 - i], unravel(point)))[0]

        linear = jax.jacfwd(moved)
        here, there = linear(flat), linear(flat * (1.0 + 0.1 * jnp.cos(jnp.arange(flat.size))) + 0.01)
        parts = jax.lax.map(lambda row: energy(t * row), jnp.eye(m)) - confinement.energy(model, params)
        joint = energy(t) - confinement.energy(model, params)
        apart = jnp.max(jnp.abs(jax.lax.fori_loop(0, m, step, flat) - ravel_pytree(model.act(t, params))[0]))
        sizes = jnp.max(jnp.abs(here - there)), jnp.max(jnp.abs(here)), apart, jnp.max(jnp.abs(flat))
        return *sizes, joint, jnp.sum(parts), jnp.sum(jnp.abs(parts))

    bent, straight, apart, size, joint, together, parts = map(float, jax.jit(numbers, compiler_options=FAST)(params))
    if not bent <= SPLITS * straight:
        raise LawError("law exact: no orbit quadrature for an action that is neither linear nor affine")
    if not apart <= SPLITS * (1.0 + size):
        raise LawError("law exact: no orbit quadrature for a group that is not abelian")
    if abs(joint - together) > SPLITS * (1e-12 + abs(joint) + parts):
        raise LawError(
            "law exact: the confinement along the orbit is no sum over the generators, so no product quadrature"
        )
    if model.compact_act is not None:
        _check_compact(chart, confinement, t, params)


def _check_compact(chart: Chart, confinement: Confinement, t: Float[Array, " m"], params: Params) -> None:
    """The compact group has to commute with exp(t), and to leave C alone also off the slice."""
    model = chart.model
    assert model.compact_act is not None  # for the type checker
    turn = 0.7 * jnp.cos(jnp.arange(model.compact_dim) + 0.5)
    moved = model.act(t, params)
    compact_last, compact_first = model.compact_act(turn, moved), model.act(t, model.compact_act(turn, params))
    first, second = ravel_pytree(compact_last)[0], ravel_pytree(compact_first)[0]
    if not float(jnp.max(jnp.abs(first - second))) <= SPLITS * (1.0 + float(jnp.max(jnp.abs(first)))):
        raise LawError("law exact: no orbit quadrature for a compact group that does not commute with the action")
    before, after = float(confinement.energy(model, moved)), float(confinement.energy(model, compact_last))
    if not abs(after - before) <= SPLITS * (1e-12 + abs(before)):
        raise LawError("law exact: no orbit quadrature for a confinement that changes along compact orbits")
