"""Exact draws of exp(−V/T) dθ on the whole parameter space of a model of one coordinate, by quadrature.

In the coordinates θ = exp(t)·s(z) the measure is exp(−V/T) |det ∂θ/∂(t, z)| dt dz: z is drawn from its marginal, the
law `exact`, and t, given z, from its density along the orbit. What of Θ lies on orbits through other components of the
slice is reached by those changes of signs that leave z and V as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib import geometry
from langevin_ib.config.run import RunConfig
from langevin_ib.distributions import LawDistribution, law
from langevin_ib.errors import ConfigError
from langevin_ib.laws.family import Reduction
from langevin_ib.runs.plan import build_reduction
from langevin_ib.session import Session

CELLS = 128  # of the range of t, each integrated by Simpson's rule
NEGLIGIBLE = 40.0  # the range ends where the log density has fallen by so much
LADDER = np.geomspace(1e-7, 40.0, 81)  # distances from the slice at which that is looked for
HALVINGS = 50  # of a cell, and of the range in which a point's own place on its orbit is looked for
BATCH = 256  # draws that are made at once
PROBES, SAME = 32, 1e-6  # points at which symmetries and the reach of the orbits are looked at, and their accuracy


@dataclass(frozen=True)
class ExactDraws:
    """Independent draws of exp(−V/T) dθ; made by `exact_draws`.

    θ is one flat vector of q numbers.

    Attributes:
        reduction: model, confinement and T.
        law: of z, on all of its branches.
        signs: the changes of signs that leave z and V as they are, (n, q).
    """

    reduction: Reduction
    law: LawDistribution
    signs: Float[np.ndarray, "n q"]

    @property
    def temperature(self) -> float:
        """T."""
        return self.reduction.temperature

    @cached_property
    def loss(self) -> Callable[[Float[Array, " q"]], Float[Array, ""]]:
        """V = L + C of one θ."""
        potential = self.reduction.confinement.potential(self.reduction.model)
        unravel = _unravel(self.reduction)
        return lambda x: potential(unravel(x))

    def log_prob(self, value: Float[Array, " q"]) -> Float[Array, ""]:
        """−V/T of one θ: log p up to a constant."""
        return -self.loss(value) / self.temperature

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws, (*shape, q): exact to 1e-6 of probability."""
        of_z, of_t, of_signs = jax.random.split(key, 3)
        n, q = int(np.prod(sample_shape)), self.signs.shape[1]
        z = self.law.sample(of_z, (n,))
        places = jax.random.uniform(of_t, (n,), z.dtype)
        signs = jnp.asarray(self.signs, z.dtype)[jax.random.randint(of_signs, (n,), 0, len(self.signs))]
        moved = signs * self._moved(z, places)
        return moved.reshape(*sample_shape, q)

    @cached_property
    def _moved(self) -> Callable[[Array, Array], Array]:
        """(z, u) ↦ exp(t)·s(z), t the quantile u of its law given z; arrays of both."""
        reduction = self.reduction

        def one(pair: tuple[Array, Array]) -> Array:
            z, place = pair
            t = _quantile(lambda t: log_density_along(reduction, t, z), place)
            return ravel_pytree(reduction.model.act(t[None], reduction.point(z)))[0]

        return jax.jit(lambda z, u: jax.lax.map(one, (z, u), batch_size=BATCH))


def exact_draws(config: RunConfig | None = None, /, **settings: Any) -> ExactDraws:
    """Draws of the measure that a run of these settings samples, on the whole parameter space.

    With them `check_invariance` tests a step on the potential V = L + C of a model without burn-in. The model has one
    coordinate z and a group of one dimension that acts on the plane, as `uv` and `hadamard` with dim=1; the confinement
    lets chains spread, as `stiff` and `weight-decay`. Along its orbits the density has to have one top, near the slice.

    Args:
        config: settings of a run of Langevin dynamics; by default those of `RunConfig()`.
        settings: in place of those of `config`.

    Raises:
        ConfigError: the model or the confinement is another, or there is a part of Θ that these orbits do not reach.
        LawError: the law of z has no quadrature.

    >>> draws = exact_draws(beta=10.0, confine="stiff", kappa=10.0)
    >>> draws.sample(jax.random.key(0), (3,)).shape
    (3, 2)
    """
    config = RunConfig(**settings) if config is None else config.replace(**settings)
    with Session().open():
        reduction = build_reduction(config)
        like = reduction.model.init(jax.random.key(0))
        q = ravel_pytree(like)[0].size
        if (reduction.chart.dim, reduction.model.group_dim, q) != (1, 1, 2):
            wanted = "of one coordinate and a group of one dimension, on the plane"
            got = f"{config.model_name}, of {reduction.chart.dim} and {reduction.model.group_dim}, q = {q}"
            raise ConfigError("model", wanted, got)
        if reduction.confinement.orbit != "spread":
            raise ConfigError("confine", "one that lets chains spread, such as stiff or weight-decay", config.confine)
        signs = _signs(reduction)
        _check_reach(reduction, signs)
        return ExactDraws(reduction, law("exact", config, window="all"), signs)


def log_density_along(reduction: Reduction, t: Float[Array, ""], z: Float[Array, ""]) -> Float[Array, ""]:
    """log of exp(−C(exp(t)·s(z))/T) |det ∂θ/∂(t, z)|, in dt, up to what depends on z alone."""
    model = reduction.model
    energy = reduction.confinement.energy(model, model.act(t[None], reduction.point(z))) / reduction.temperature
    value = geometry.log_orbit_jacobian(reduction.chart, t[None], z[None]) - energy
    return jnp.where(jnp.isnan(value), -jnp.inf, value)  # where both overflow


def _quantile(log_density: Callable[[Array], Array], place: Array) -> Array:
    """The t below which a share of the mass lies; NaN where the density does not fall."""
    ladder = jnp.asarray(LADDER, place.dtype)
    rungs = jnp.stack([jax.vmap(log_density)(-ladder), jax.vmap(log_density)(ladder)])
    top = jnp.maximum(jnp.max(rungs), log_density(jnp.zeros_like(place)))
    seen = rungs > top - NEGLIGIBLE
    beyond = jnp.max(jnp.where(seen, jnp.arange(ladder.size) + 1, 0), axis=1)
    ends = jnp.where(beyond < ladder.size, ladder[jnp.minimum(beyond, ladder.size - 1)], jnp.nan)
    low, high = -ends[0], ends[1]
    t = low + (high - low) * jnp.linspace(0.0, 1.0, 2 * CELLS + 1, dtype=place.dtype)
    density = jnp.exp(jax.vmap(log_density)(t) - top)
    first, middle, last = density[:-1:2], density[1::2], density[2::2]
    mass = jnp.concatenate([jnp.zeros_like(t[:1]), jnp.cumsum((first + 4.0 * middle + last) / 6.0)])
    wanted = place * mass[-1]
    cell = jnp.clip(jnp.searchsorted(mass, wanted, side="right") - 1, 0, CELLS - 1)
    a, b, c = first[cell], middle[cell], last[cell]

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        # The integral of the parabola through three values, on [0, x] of a cell of width 1.
        x = 0.5 * (bracket[0] + bracket[1])
        below = x * (a + x * ((4.0 * b - 3.0 * a - c) / 2.0 + x * (2.0 * a - 4.0 * b + 2.0 * c) / 3.0))
        less = below < wanted - mass[cell]
        return jnp.where(less, x, bracket[0]), jnp.where(less, bracket[1], x)

    share = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(place), jnp.ones_like(place)))[0]
    return t[2 * cell] + share * (high - low) / CELLS


def _unravel(reduction: Reduction) -> Callable[[Array], Any]:
    return ravel_pytree(reduction.model.init(jax.random.key(0)))[1]


def _probes(reduction: Reduction) -> Float[Array, "n q"]:
    q = ravel_pytree(reduction.model.init(jax.random.key(0)))[0].size
    return jax.random.normal(jax.random.key(1), (PROBES, q))


def _signs(reduction: Reduction) -> Float[np.ndarray, "n q"]:
    """The changes of signs under which z and V are the same: they are isometries, and so keep the measure."""
    unravel, points = _unravel(reduction), _probes(reduction)
    potential = reduction.confinement.potential(reduction.model)

    def both(x: Array) -> Array:
        return jnp.append(reduction.chart.of(unravel(x)), potential(unravel(x)))

    every = np.array(list(itertools.product((1.0, -1.0), repeat=points.shape[1])))
    values = np.asarray(jax.vmap(jax.vmap(both))(jnp.asarray(every)[:, None] * points))
    kept = np.abs(values - values[0]).max(axis=(1, 2)) <= SAME * np.abs(values[0]).max()
    return every[kept]


def _check_reach(reduction: Reduction, signs: Float[np.ndarray, "n q"]) -> None:
    """Every point of the plane has to be one of exp(t)·s(z), up to signs: these points, brought to the slice, are."""
    model, unravel = reduction.model, _unravel(reduction)

    def distance(x: Array) -> Array:
        def charge(t: Array) -> Array:
            return model.moment_map(model.act(t[None], unravel(x)))[0]

        def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            # χ grows along an orbit.
            middle = 0.5 * (bracket[0] + bracket[1])
            under = charge(middle) < 0
            return jnp.where(under, middle, bracket[0]), jnp.where(under, bracket[1], middle)

        t = jax.lax.fori_loop(0, HALVINGS, halve, (-LADDER[-1] + 0.0 * x[0], LADDER[-1] + 0.0 * x[0]))[0]
        found = ravel_pytree(model.act(t[None], unravel(x)))[0]
        wanted = ravel_pytree(reduction.chart.section(reduction.chart.of(unravel(x))))[0]
        apart = jnp.linalg.norm(jnp.asarray(signs) * wanted - found, axis=1)
        return jnp.min(apart) / jnp.linalg.norm(found)

    far = np.asarray(jax.jit(jax.vmap(distance))(_probes(reduction)))
    missed = int(np.sum(~(far <= SAME)))
    if missed:
        wanted = "one whose orbits through its section, up to signs of parameters, fill the plane"
        raise ConfigError("model", wanted, f"{model.name}, where {missed} of {PROBES} points lie on no such orbit")
