"""Exact identities of a run's own step: what each draw gives for them, with the numbers that the run claims.

Double entry: a run's chains are moved by what `sampling.py` and the processes build; what they are held against is
stated here anew, from the settings, by functions that share no constant with those: T = σ²/β, h, the confinement's
strengths, a kernel's mean after a step, η, μ and Σ of SGD. A fault in one of the two columns shows in the balance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.dynamics.confinement import claimed_potential
from langevin_ib.dynamics.descent_mean import (
    QUADRATURE,
    DescentClaim,
    error_of_population,
    isotropic_temperature,
)
from langevin_ib.dynamics.kernel import KernelKind, MeanAfter, Potential, Quadratic, Target, kernel_kind
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.records import Schedule
from langevin_ib.models.base import Model, Params
from langevin_ib.runs.plan import Plan
from langevin_ib.statistics.identities import Tested
from langevin_ib.statistics.records import Absent

VIRIAL, WARD, VELOCITY = "virial", "Ward", "velocity"
CONSTANT = 1e-8  # relative change of D²χ between two points that counts as rounding
HEAT = "T, the noise's strength, the drift's scale"
Gap = Callable[[Any], Float[Array, " k"]]


@dataclass(frozen=True)
class Claims:
    """What is computed of each draw for the identities, in float64.

    Attributes:
        tested: their names.
        gap: state ↦ E[φ(θ′) | state] − φ(θ), of each; None where there is nothing to test.
        values: state ↦ φ.
        thin: steps between draws; 0 where the gap's mean is zero in a stationary law, and nothing telescopes.
        absent: what is not tested, and why.
    """

    tested: tuple[Tested, ...]
    gap: Gap | None
    values: Gap | None
    thin: int
    absent: tuple[Absent, ...] = ()

    def observe(self, state: Any) -> Float[Array, "two k"]:
        """Gap and φ."""
        assert self.gap is not None and self.values is not None  # asked for by whoever observes
        precise = jax.tree.map(_precise, state)
        return jnp.stack([self.gap(precise), self.values(precise)])


def _precise(leaf: Any) -> Any:
    """In float64: the gap is a small difference of two φ."""
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def nothing(why: str) -> Claims:
    """No identity."""
    return Claims((), None, None, 0, (Absent("identities", why),))


def langevin_claims(plan: Plan, kernel: KernelKind, step_size: float, schedule: Schedule | None) -> Claims:
    """Of Langevin dynamics: of a kernel that states its mean after a step at any h; of an adjusted one ⟨𝓛φ⟩ = 0.

    Args:
        plan: its configuration gives T and V.
        kernel: of the ensemble.
        step_size: h, not looked at of an adjusted kernel.
        schedule: of the ensemble; None of an adjusted kernel.
    """
    config, reduction = plan.config, plan.reduction
    temperature = _claimed_temperature(plan)
    potential = claimed_potential(config, reduction.model, reduction.confinement)
    if kernel.held:
        why = f"integrator {config.integrator}: the mean of a step that is projected onto a slice has no formula"
        return nothing(why)
    like = _like(reduction.model)
    phi, tested, absent = _functions(reduction.model, like, HEAT, "the confinement and the noise along the orbits")
    if kernel.adjusted:
        if not reduction.proper:
            return nothing(f"{config.integrator} tells its mean in a stationary law only, which there is none of here")
        return Claims(tested, _generator_gap(phi, potential, temperature), lambda s: phi(s.position), 0, absent)
    target = Target(potential, temperature, like, reduction.model.moment_map)
    mean_after = kernel.claimed(config.settings_of("kernel"), target, step_size)
    if mean_after is None:
        return nothing(f"unchecked: integrator {config.integrator} does not state the mean after a step (mean_after)")
    return _claims(tested, phi, mean_after, 1 if schedule is None else schedule.thin, absent)


def descent_claims(plan: Plan, noise: Noise, point: Params) -> Claims:
    """Of SGD, with η, μ and λ of the settings and Σ of the noise.

    Args:
        plan: its configuration gives η, μ and λ.
        noise: as the settings name it.
        point: the minimum of the loss, where a noise of constant strength has it from.
    """
    config, reduction = plan.config, plan.reduction
    model, lr, momentum = reduction.model, float(config.lr), float(config.momentum or 0.0)
    potential = claimed_potential(config, model, reduction.confinement)
    if noise.record.noiseless or model.training is None:
        return nothing("without noise a step has no mean to be held against")
    if noise.dependence is not None:
        return nothing(f"{noise.dependence}, and the mean after a step depends on what came before")
    like = _like(model)
    point = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), point)
    if noise.record.constant:
        temperature = isotropic_temperature(model.training, noise, point, lr)
        phi, tested, absent = _functions(model, like, "η and the noise's strength", "decay, the noise along the orbits")
        kernel, target = kernel_kind("euler-maruyama"), Target(potential, temperature, like, model.moment_map)
        mean_after = kernel.claimed(kernel.settings(), target, lr)
        assert mean_after is not None
        return _claims(tested, phi, mean_after, plan.schedule.thin, absent)
    error = error_of_population(model.training, noise, like)
    if error > QUADRATURE:
        why = f"the covariance of fresh examples of {model.name} is known by quadrature to {error:.0e} of ∇L only"
        return nothing(why)
    claim = DescentClaim(potential, model.training, noise, lr, momentum)
    what = "η, the covariance of the noise", "that the noise lies across the orbits, and balances on them (E χ(ĝ) = 0)"
    phi, tested, absent = _functions(model, like, *what, with_hessians=True)
    thin = plan.schedule.thin
    if not momentum:
        return _claims(tested, phi, claim.mean_after, thin, absent)

    def gap(state: Any) -> Float[Array, " k"]:
        moved = claim.mean_after(phi, state, None) - phi(state.position)
        return jnp.append(moved, claim.velocity_gap(state))

    def values(state: Any) -> Float[Array, " k"]:
        return jnp.append(phi(state.position), claim.velocity_square(state))

    return Claims((*tested, Tested(VELOCITY, "μ and the covariance of the noise")), gap, values, thin, absent)


def _claims(
    tested: tuple[Tested, ...], phi: Quadratic, mean_after: MeanAfter, thin: int, absent: tuple[Absent, ...]
) -> Claims:
    def gap(state: Any) -> Float[Array, " k"]:
        return mean_after(phi, state, None) - phi(state.position)  # type: ignore[arg-type]

    return Claims(tested, gap, lambda state: phi(state.position), thin, absent)


def _generator_gap(phi: Quadratic, potential: Potential, temperature: float) -> Gap:
    """𝓛φ = TΔφ − ∇φ·∇V, whose mean in exp(−V/T) dθ is zero."""

    def gap(state: Any) -> Float[Array, " k"]:
        slope = jax.grad(potential)(state.position)
        return temperature * phi.laplacian - jax.jvp(phi.values, (state.position,), (slope,))[1]

    return gap


def _claimed_temperature(plan: Plan) -> float:
    """T = σ²/β of the settings, not what the target was given; of a process without them its own."""
    config = plan.config
    if config.beta is None or config.sigma is None:
        return config.temperature
    return float(config.sigma) * float(config.sigma) / float(config.beta)


def _like(model: Model) -> Params:
    """A point of the model, in float64."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model.init(jax.random.key(0)))


def _functions(
    model: Model, like: Params, heat: str, balance: str, with_hessians: bool = False
) -> tuple[Quadratic, tuple[Tested, ...], tuple[Absent, ...]]:
    """|θ|²/2 and every component of χ, where χ is quadratic."""
    flat, unravel = ravel_pytree(like)
    tested, absent = (Tested(VIRIAL, heat),), ()
    laplacian, hessians = np.array([float(flat.size)]), np.eye(flat.size)[None] if with_hessians else None
    charges = model.group_dim
    curvature = _curvature(model, flat, unravel, with_hessians) if charges else None
    if charges and curvature is None:
        absent, charges = (Absent(WARD, "χ is not quadratic in the parameters"),), 0
    if curvature is not None:
        laplacian = np.append(laplacian, curvature[0])
        names = [WARD] if charges == 1 else [f"{WARD} {a + 1}" for a in range(charges)]
        tested = (*tested, *(Tested(name, balance) for name in names))
        if hessians is not None:
            hessians = np.concatenate([hessians, curvature[1]])

    def values(params: Params) -> Float[Array, " k"]:
        square = 0.5 * jnp.sum(ravel_pytree(params)[0] ** 2)
        return jnp.append(square, model.moment_map(params)) if charges else square[None]

    return Quadratic(values, laplacian, hessians), tested, absent


def _curvature(
    model: Model, flat: Float[Array, " q"], unravel: Callable[[Array], Params], whole: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """tr D²χ_a and, if asked for, D²χ_a, the same at every point; None where they are not."""

    def charge(x: Array) -> Array:
        return model.moment_map(unravel(x))

    def along(x: Array, v: Array) -> Array:
        """D²χ(x) v, (m, q)."""
        return jax.jvp(jax.jacrev(charge), (x,), (v,))[1]

    def parts(x: Array, y: Array, v: Array) -> tuple[Array, Array, Array]:
        second = jax.lax.map(lambda i: along(x, jnp.zeros_like(x).at[i].set(1.0)), jnp.arange(x.size))  # (q, m, q)
        traces = jnp.einsum("imi->m", second)
        kept = jnp.moveaxis(second, 1, 0) if whole else jnp.zeros((traces.size, 0, 0))
        return traces, kept, jnp.stack([along(x, v), along(y, v)])

    shift, v = np.random.default_rng(0).normal(size=(2, flat.size))
    traces, hessians, ends = map(np.asarray, jax.jit(parts)(flat, flat + jnp.asarray(shift), jnp.asarray(v)))
    if not np.isfinite(ends).all() or np.abs(ends[0] - ends[1]).max() > CONSTANT * np.abs(ends).max():
        return None
    return traces, hessians
