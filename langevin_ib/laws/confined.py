"""The exact marginal of z at the finite κ, λ or slab width of a run, by quadrature over the orbit.

In the coordinates θ = exp(t)·s(z) the full-space measure is exp(−(ℓ(z) + C)/T) |det ∂θ/∂(t, z)| dt dz, so

    p(z) dz ∝ e^{−ℓ(z)/T} ∫ exp(−C(exp(t)·s(z))/T) |det ∂θ/∂(t, z)| dt  dz.

For uv (D = 2) this is e^{−ℓ/T} e^a K₀(a), a = κz²/4T, under stiff confinement; e^{−ℓ/T} K₀(λ|z|/T) under weight decay;
e^{−ℓ/T} asinh(ε/|z|) on a slab |χ| < ε: the oracles of the tests.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from langevin_ib import geometry
from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law, on_host
from langevin_ib.laws.family import FLAT_MEASURE, Reduction

# The trapezoidal rule converges exponentially here: the integrand is analytic and decays doubly exponentially in t.
GRID = {1: 800, 2: 80, 3: 26}
ACCURACY = 1e-8
SLAB_NODES = 64
BISECTIONS = 60
FLAT = 1e-9  # curvature of C/T along the orbit that counts as none
RISE, FARTHEST = 40.0, 40.0  # where C/T has risen by so much the integrand is negligible; how far t goes to find it


def confined_law(reduction: Reduction) -> Law:
    """The marginal where a confinement C keeps chains from going along their orbits for ever.

    Raises:
        LawError: no quadrature for a group of this dimension; the density raises one where it does not reach 1e-8.
    """
    if reduction.model.group_dim not in GRID:
        raise LawError(f"law exact: no orbit quadrature for a group of dimension {reduction.model.group_dim}")
    formula = f"exp(−ℓ/T) ∫ exp(−C/T) dθ along the orbit, C = {reduction.confinement.formula}"
    return Law("exact", FLAT_MEASURE, formula, reduction.program("confined", lambda: _confined_log_density(reduction)))


def slab_law(reduction: Reduction, slab: float) -> Law:
    """The law of z given |χ| < ε, which assumes that the density of χ is flat across the slab.

    Args:
        reduction: model and temperature.
        slab: ε.

    Raises:
        LawError: no quadrature for a group of dimension above 1.
    """
    if reduction.model.group_dim != 1:
        raise LawError(f"law exact: no quadrature on a slab for a group of dimension {reduction.model.group_dim}")
    formula = f"exp(−ℓ/T) ∫ 1(|χ| < {slab:g}) dθ along the orbit"
    return Law("exact", FLAT_MEASURE, formula, _slab_log_density(reduction, slab))


def _log_measure(reduction: Reduction, t, z):
    """log of |det ∂θ/∂(t, z)|, through the Gram determinant, which needs no LAPACK call per point."""
    return geometry.log_orbit_jacobian(reduction.chart, t, jnp.reshape(z, (1,)))


def _confined_log_density(reduction: Reduction):
    model, confinement, temperature = reduction.model, reduction.confinement, reduction.temperature
    m = model.group_dim
    axis = np.linspace(-1.0, 1.0, GRID[m] + 1)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[axis] * m, indexing="ij")], axis=-1)
    index = np.stack([g.ravel() for g in np.meshgrid(*[np.arange(axis.size)] * m, indexing="ij")], axis=-1)
    coarse = (index % 2 == 0).all(axis=1)
    rim = ((index == 0) | (index == axis.size - 1)).any(axis=1)

    def log_marginal(z):
        base = reduction.point(z)

        def energy(t):
            return confinement.energy(model, model.act(t, base)) / temperature

        # Nine Gaussian widths where the confinement is stiff; under a rescaling it grows like e^{2|t|} further out, so
        # where the width is large the reach is logarithmic in it, unless, as for a translation, C is not there yet.
        spectrum, axes = jnp.linalg.eigh(jax.hessian(energy)(jnp.zeros(m)))
        widths = 9.0 / jnp.sqrt(spectrum)
        shorter = 2.0 * jnp.arcsinh(widths)
        ends = jnp.concatenate([axes * shorter, -axes * shorter], axis=1).T
        risen = jax.vmap(energy)(ends).reshape(2, m).min(axis=0) - energy(jnp.zeros(m))
        reach = jnp.where(risen > -np.log(ACCURACY), jnp.minimum(widths, shorter), widths)
        # Of a confinement without curvature at the slice no width is known: as far as it takes to rise.
        reach = jax.lax.cond(jnp.all(spectrum > FLAT), lambda: reach, lambda: _rise_lengths(energy, axes))

        def integrand(x):
            t = axes @ (reach * x)
            return _log_measure(reduction, t, z) - energy(t)

        values = jax.lax.map(integrand, jnp.asarray(grid), batch_size=grid.shape[0])
        fine = logsumexp(values) + jnp.sum(jnp.log(reach)) - m * np.log(GRID[m])
        half = logsumexp(values, where=jnp.asarray(coarse)) + jnp.sum(jnp.log(reach)) - m * np.log(GRID[m] // 2)
        spill = jnp.max(jnp.where(jnp.asarray(rim), values, -jnp.inf)) - jnp.max(values)
        return -model.loss(base) / temperature + fine, jnp.abs(fine - half), spill

    evaluate = on_host(log_marginal, like=())

    def log_density(z):
        value, error, spill = evaluate(z)
        worst = int(np.argmax(error))
        # The half grid's error is about the square root of the full grid's, by exponential convergence.
        if not (error[worst] ** 2 < ACCURACY and np.exp(np.max(spill)) < ACCURACY):
            raise LawError(
                f"law exact [{FLAT_MEASURE}]: the orbit quadrature does not converge at z = {np.asarray(z)[worst]:g} "
                f"(change {error[worst]:.1g} under halving)"
            )
        return value

    return log_density


def _rise_lengths(energy: Callable, axes: Float[Array, "m m"]) -> Float[Array, " m"]:
    """The |t| along either direction of each axis at which an energy that rises has risen by `RISE`."""
    bottom = energy(0.0 * axes[0])

    def length(direction):
        def halve(_, bracket):
            low, high = bracket
            middle = 0.5 * (low + high)
            inside = energy(middle * direction) - bottom < RISE
            return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

        return jax.lax.fori_loop(0, BISECTIONS, halve, (0.0 * bottom, 0.0 * bottom + FARTHEST))[1]

    m = len(axes)
    return jax.lax.map(length, jnp.concatenate([axes.T, -axes.T])).reshape(2, m).max(axis=0)


def _slab_log_density(reduction: Reduction, slab: float):
    model = reduction.model
    x, w = np.polynomial.legendre.leggauss(SLAB_NODES)

    def log_slab_marginal(z):
        base = reduction.point(z)

        def charge(t):
            return model.moment_map(model.act(t[None], base))[0]

        # χ grows along the orbit (its derivative there is M), so each end of the slab is a simple root.
        def end(sign):
            def halve(_, bracket):
                low, high = bracket
                middle = 0.5 * (low + high)
                inside = jnp.abs(charge(sign * middle)) < slab
                return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

            return sign * jax.lax.fori_loop(0, BISECTIONS, halve, (0.0 * z, 0.0 * z + 40.0))[0]

        low, high = end(-1.0), end(1.0)
        t = 0.5 * (high + low) + 0.5 * (high - low) * jnp.asarray(x)
        values = jax.lax.map(lambda s: _log_measure(reduction, s[None], z), t, batch_size=SLAB_NODES)
        mass = logsumexp(values, b=jnp.asarray(w)) + jnp.log(0.5 * (high - low))
        return -model.loss(base) / reduction.temperature + mass

    return on_host(log_slab_marginal)
