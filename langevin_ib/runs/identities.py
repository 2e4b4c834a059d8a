"""Exact identities of a run's own step: what each draw gives for them, with the numbers that the run claims.

Double entry: a run's chains are moved by what `sampling.py` and the processes build; what they are held against is
stated here anew, from the settings, by functions that share no constant with those: T = σ²/β, h, the confinement's
strengths, a kernel's mean after a step, η, μ and Σ of SGD. A fault in one of the two columns shows in the balance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from langevin_ib.background import FAST, Later
from langevin_ib.dynamics.confinement import claimed_potential
from langevin_ib.dynamics.descent_mean import (
    QUADRATURE,
    DescentClaim,
    error_of_population,
    isotropic_temperature,
)
from langevin_ib.dynamics.kernel import (
    Innovation,
    KernelKind,
    MeanAfter,
    Potential,
    Smoothed,
    Target,
    kernel_kind,
)
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.accumulators import GapDraw
from langevin_ib.ensemble.records import Schedule
from langevin_ib.laws.family import Reduction
from langevin_ib.models.base import Model, Params
from langevin_ib.runs.plan import Plan
from langevin_ib.statistics.identities import About
from langevin_ib.statistics.records import Absent

VIRIAL, WARD, SPREAD, VELOCITY, ENERGY = "virial", "Ward", "spread", "velocity", "energy"
LARGE = 500  # parameters up to which matrices q × q are formed
LAPLACIAN_SIZE = 64  # parameters up to which ΔV is worth its second derivatives
CONSTANT = 1e-8  # relative change of D²χ between two points that counts as rounding
CHANGING = "values change while draws are taken, and the identities are those of steps of one kind"
Observe = Callable[[Any], GapDraw]


class Words(NamedTuple):
    """What the identities of |θ|²/2, of χ and of χ²/2 test."""

    heat: str
    balance: str
    spread: str = ""


THERMAL = Words(
    "T, the noise's strength, the drift's scale", "the confinement, the noise along the orbits", "κ or λ against T"
)
STATIONARY = Words(
    "T, the drift's scale, or chains have not reached their law",
    "the confinement, or chains have not reached their law",
    "κ or λ against T, or chains have not reached their law",
)
DESCENT = Words(
    "η, the covariance of the noise", "that the noise lies across the orbits, and balances on them: E χ(ĝ) = 0"
)


class Moved(NamedTuple):
    """What a kernel states of its steps: the mean after the next, and what the last one's increment has added."""

    mean_after: MeanAfter
    innovation: Innovation | None = None


@dataclass(frozen=True)
class Claims:
    """What is computed of each draw for the identities.

    Attributes:
        tested: their names.
        observe: state ↦ what a draw gives for them; None where there is nothing to test.
        thin: steps between draws; 0 where the gap's mean is zero in a stationary law, and nothing telescopes.
        size: of the positions of its draws; 0 where |θ|²/2 is taken about 0.
        every: records from one draw that is asked for them to the next.
        absent: what is not tested, and why.
    """

    tested: tuple[About, ...]
    observe: Observe | None
    thin: int
    size: int = 0
    absent: tuple[Absent, ...] = ()
    every: int = 1

    def first(self) -> Claims:
        """Of |θ|²/2 alone."""
        observe = self.observe
        if observe is None:
            return self

        def one(state: Any) -> GapDraw:
            draw = observe(state)
            return draw._replace(gap=draw.gap[:1], value=draw.value[:1])

        return replace(self, tested=self.tested[:1], observe=one)


@dataclass(frozen=True, eq=False)
class Functions:
    """The φ of a model: |θ|²/2, each component of χ if it is quadratic and, with `fourth`, half its square.

    Attributes:
        model: gives χ.
        like: its parameters.
        tested: what each of them tests.
        curvature: D²χ; None where χ is not quadratic or there is none.
        fourth: whether with the squares.
        bent: whether D²φ are asked for, q × q.
    """

    model: Model
    like: Params
    tested: tuple[About, ...]
    curvature: Float[np.ndarray, "m q q"] | None
    fourth: bool = False
    bent: bool = False

    @property
    def size(self) -> int:
        """q."""
        return ravel_pytree(self.like)[0].size

    @property
    def hessians(self) -> Float[np.ndarray, "k q q"]:
        """D²φ of |θ|²/2 and of χ."""
        identity = np.eye(self.size)[None]
        return identity if self.curvature is None else np.concatenate([identity, self.curvature])

    def values(self, params: Params) -> Float[Array, " k"]:
        """φ(θ)."""
        parts = [half_square(params)[None]]
        if self.curvature is not None:
            charge = self.model.moment_map(params)
            parts += [charge, 0.5 * charge**2] if self.fourth else [charge]
        return jnp.concatenate(parts)

    def about(self, here: Params) -> Smoothed:
        """x ↦ |x − θ|²/2 and the changes φ(x) − φ(θ) of the others, then x − θ: nothing that cancels in float32.

        With χ(m + √v ξ) = χ + √v Dχ ξ + ½ v ξᵀAξ, E χ² = (χ + ½ v tr A)² + v|Dχ|² + ½ v² tr A².
        """
        start, unravel = ravel_pytree(here)

        def charge(x: Array) -> Array:
            return self.model.moment_map(unravel(x))

        def change(x: Params, v: Any) -> Float[Array, " k"]:
            move = ravel_pytree(x)[0] - start
            parts = [(0.5 * jnp.sum(move**2) + 0.5 * v * start.size)[None]]
            if self.curvature is None:
                return jnp.concatenate([*parts, move])
            trace = np.trace(self.curvature, axis1=1, axis2=2).astype(start.dtype)
            moved = jax.jvp(charge, (start + 0.5 * move,), (move,))[1] + 0.5 * v * trace
            parts.append(moved)
            if self.fourth:
                square = np.sum(self.curvature**2, axis=(1, 2)).astype(start.dtype)
                slopes = jnp.sum(jax.jacrev(charge)(start + move) ** 2, axis=1)
                parts.append(charge(start) * moved + 0.5 * (moved**2 + v * slopes + 0.5 * v**2 * square))
            return jnp.concatenate([*parts, move])

        return Smoothed(lambda x: change(x, 0.0), change, self.hessians if self.bent else None)

    def draw(self, params: Params, change: Float[Array, " k_q"]) -> GapDraw:
        """From the mean of what `about` gives."""
        k = len(self.tested)
        return GapDraw(ravel_pytree(params)[0], change[k:], change[:k], self.values(params))

    def alone(self, params: Params, gap: Float[Array, " k"]) -> GapDraw:
        """From gaps whose |θ|²/2 is about 0."""
        none = jnp.zeros(0, gap.dtype)
        return GapDraw(none, none, gap, self.values(params))


def _read_once(observe: Observe) -> Observe:
    """Else XLA makes a state that is read off random words anew in every fusion that reads it."""
    return lambda state: observe(jax.lax.optimization_barrier(state))


def nothing(why: str) -> Claims:
    """No identity."""
    return Claims((), None, 0, absent=(Absent("identities", why),))


def settled(claims: Claims) -> Claims:
    """The same of draws that follow no chain: gaps alone, whose mean is zero in a stationary law."""
    if claims.observe is None or not claims.thin:
        return claims
    others = claims.observe

    def observe(state: Any) -> GapDraw:
        draw, none = others(state), jnp.zeros(0)
        gap = draw.gap
        if claims.size:  # about θ itself: what |θ|²/2 about zero has besides
            gap = gap.at[0].add(jnp.sum(draw.position * draw.drift))
        return GapDraw(none, none, gap, draw.value)

    return replace(claims, observe=observe, thin=0, size=0)


def of_inner(claims: Claims) -> Claims:
    """The same of a kernel within another one that counts its steps."""
    observe = claims.observe
    return claims if observe is None else replace(claims, observe=lambda state: observe(state.inner))


def langevin_claims(plan: Plan, kernel: KernelKind, step_size: float, schedule: Schedule | None) -> Claims:
    """Of Langevin dynamics: of a kernel that states its mean after a step at any h; of an adjusted one ⟨𝓛φ⟩ = 0.

    Args:
        plan: its configuration gives T and V.
        kernel: of the ensemble.
        step_size: h, not looked at of an adjusted kernel.
        schedule: of the ensemble; None of an adjusted kernel.
    """
    config, reduction = plan.config, plan.reduction
    if config.stretch is not None and not kernel.adjusted:
        return nothing(CHANGING)
    temperature = _claimed_temperature(plan)
    potential = claimed_potential(config, reduction.model, reduction.confinement)
    like = _like(reduction)
    target, settings = Target(potential, temperature, like, reduction.model.moment_map), config.settings_of("kernel")
    thin = 0 if schedule is None else schedule.thin
    if kernel.held:
        return _held_claims(plan, kernel, target, step_size, thin)
    fourth = reduction.proper and (kernel.adjusted or kernel.mean_after is not None)
    words = STATIONARY if kernel.adjusted else THERMAL
    functions, absent = _functions(reduction, like, words, fourth=fourth)
    if kernel.adjusted:
        if not reduction.proper:
            return nothing(f"{config.integrator} tells its mean in a stationary law only, which there is none of here")
        observe = _generator_gap(functions, potential, temperature)
        return Claims(functions.tested, _read_once(observe), 0, absent=absent)
    mean_after = kernel.claimed(settings, target, step_size)
    if mean_after is None:
        return nothing(f"unchecked: integrator {config.integrator} does not state the mean after a step (mean_after)")
    innovation = None if kernel.innovation is None else kernel.innovation(settings, target, step_size)
    claims = _claims(functions, Moved(mean_after, innovation), thin, absent)
    return _about_zero(claims) if reduction.measured else claims


def _held_claims(plan: Plan, kernel: KernelKind, target: Target, step_size: float, thin: int) -> Claims:
    """Of chains on the slice: of |θ|²/2, whose gradient lies along the slice of a homogeneous quadratic χ."""
    flat, unravel = ravel_pytree(target.like)

    def charge(x: Array) -> Array:
        return target.moment_map(unravel(x))

    def euler(x: Array) -> tuple[Array, Array]:
        return jax.jvp(charge, (x,), (x,))[1] - 2.0 * charge(x), charge(2.0 * x) - 4.0 * charge(x)

    gaps = map(np.asarray, jax.jit(euler)(flat))
    if kernel.virial is None:
        return nothing("unchecked: the integrator does not state a mean on the slice (virial)")
    if any(np.abs(gap).max() > CONSTANT * float(flat @ flat) for gap in gaps):
        return nothing("on the slice of a χ that is not a quadratic form the mean of a step has no formula")
    gap = kernel.virial(plan.config.settings_of("kernel"), target, step_size)
    functions = Functions(plan.reduction.model, target.like, (About(VIRIAL, THERMAL.heat),), None)
    observe = _read_once(lambda state: functions.alone(state.position, gap(state)[None]))
    return Claims(functions.tested, observe, thin, absent=(Absent(WARD, "χ = 0 is held"),))


def descent_claims(plan: Plan, noise: Noise, point: Params) -> Claims:
    """Of SGD, with η, μ and λ of the settings and Σ of the noise.

    Args:
        plan: its configuration gives η, μ and λ.
        noise: as the settings name it.
        point: the minimum of the loss, where a noise of constant strength has it from.
    """
    config, reduction = plan.config, plan.reduction
    if config.stretch is not None:
        return nothing(CHANGING)
    model, lr, momentum = reduction.model, float(config.lr), float(config.momentum or 0.0)
    potential = claimed_potential(config, model, reduction.confinement)
    if noise.record.noiseless or model.training is None:
        return nothing("without noise a step has no mean to be held against")
    if noise.dependence is not None:
        return nothing(f"{noise.dependence}, and the mean after a step depends on what came before")
    hook = noise.record.hook
    if hook is not None and hook.covariance is None:
        return nothing(f"the mean after a step takes the covariance Σ, which {noise.words} does not state")
    like = _like(reduction)
    if ravel_pytree(like)[0].size > LARGE:
        return nothing(f"the covariance of the noise, q × q, is not formed above {LARGE} parameters")
    point = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), point)
    if noise.record.constant:
        temperature = isotropic_temperature(model.training, noise, point, lr)
        words = Words("η and the noise's strength", "decay, the noise along the orbits")
        functions, absent = _functions(reduction, like, words)
        kernel, target = kernel_kind("euler-maruyama"), Target(potential, temperature, like, model.moment_map)
        mean_after = kernel.claimed(kernel.settings(), target, lr)
        assert mean_after is not None
        return _claims(functions, Moved(mean_after), plan.schedule.thin, absent)
    error = error_of_population(model.training, noise, like)
    if error > QUADRATURE:
        why = f"the covariance of fresh examples of {model.name} is known by quadrature to {error:.0e} of ∇L only"
        return nothing(why)
    claim = DescentClaim(potential, model.training, noise, lr, momentum)
    functions, absent = _functions(reduction, like, DESCENT)
    functions = replace(functions, bent=True)
    claims = _claims(functions, Moved(claim.mean_after), plan.schedule.thin, absent)
    return _with_velocity(claims, claim) if momentum else claims


def _with_velocity(claims: Claims, claim: DescentClaim) -> Claims:
    """With |m|²/2 besides."""
    assert claims.observe is not None
    others = claims.observe

    def observe(state: Any) -> GapDraw:
        draw = others(state)
        return draw._replace(
            gap=jnp.append(draw.gap, claim.velocity_gap(state)),
            value=jnp.append(draw.value, claim.velocity_square(state)),
        )

    about = About(VELOCITY, "μ and the covariance of the noise")
    return replace(claims, tested=(*claims.tested, about), observe=observe)


def _claims(functions: Functions, moved: Moved, thin: int, absent: tuple[Absent, ...]) -> Claims:
    def observe(state: Any) -> GapDraw:
        phi = functions.about(state.position)
        change = moved.mean_after(phi, state, None)
        return functions.draw(
            state.position, change if moved.innovation is None else change - moved.innovation(phi, state)
        )

    return Claims(functions.tested, _read_once(observe), thin, functions.size, absent)


def _about_zero(claims: Claims) -> Claims:
    """The same of |θ|²/2 about 0, which is stationary from the first draw of a stretch on.

    About a draw of the past it relaxes first, and what the trapezoidal rule makes of that grows with the number of
    parameters, while the scatter of chains grows with its root alone.
    """
    observe = claims.observe
    assert observe is not None

    def about_zero(state: Any) -> GapDraw:
        draw = observe(state)
        none = jnp.zeros(0, draw.gap.dtype)
        return GapDraw(none, none, draw.gap.at[0].add(jnp.sum(draw.position * draw.drift)), draw.value)

    return replace(claims, observe=about_zero, size=0)


def laplacian(potential: Potential, params: Params) -> Float[Array, ""]:
    """ΔV."""
    flat, unravel = ravel_pytree(params)
    return jnp.trace(jax.hessian(lambda x: potential(unravel(x)))(flat))


def gibbs_claims(plan: Plan) -> Claims:
    """Of draws of exp(−V/T) dθ that follow no chain: ⟨𝓛φ⟩ = 0 of the φ of an adjusted kernel, and of V itself.

    ⟨|∇V|²⟩ = T⟨ΔV⟩ is the configurational temperature, whose noise is a fraction of the virial's where θ is far from 0.

    Source: Rugh, Physical Review Letters 78, 772 (1997).
    """
    claims = langevin_claims(plan, kernel_kind("mala"), 0.0, None)
    others, reduction = claims.observe, plan.reduction
    if others is None or ravel_pytree(_like(reduction))[0].size > LAPLACIAN_SIZE:
        return claims
    potential = claimed_potential(plan.config, reduction.model, reduction.confinement)
    temperature = _claimed_temperature(plan)

    def observe(state: Any) -> GapDraw:
        draw, here = others(state), state.position
        square = jnp.sum(ravel_pytree(jax.grad(potential)(here))[0] ** 2)
        gap = temperature * laplacian(potential, here) - square
        return draw._replace(gap=jnp.append(draw.gap, gap), value=jnp.append(draw.value, potential(here)))

    return replace(claims, tested=(*claims.tested, About(ENERGY, STATIONARY.heat)), observe=observe)


def _generator_gap(functions: Functions, potential: Potential, temperature: float) -> Observe:
    """𝓛φ = TΔφ − ∇φ·∇V, whose mean in exp(−V/T) dθ is zero."""

    def observe(state: Any) -> GapDraw:
        here, k = state.position, len(functions.tested)
        slope, phi = jax.grad(potential)(here), functions.about(here)
        half_laplacian = jax.jvp(lambda v: phi.over_normals(here, v)[:k], (0.0,), (1.0,))[1]
        from_zero = jax.jvp(functions.values, (here,), (slope,))[1]
        return functions.alone(here, 2.0 * temperature * half_laplacian - from_zero)

    return observe


def _claimed_temperature(plan: Plan) -> float:
    """T = σ²/β of the settings, not what the target was given; of a process without them its own."""
    config = plan.config
    if config.beta is None or config.sigma is None:
        return config.temperature
    return float(config.sigma) * float(config.sigma) / float(config.beta)


def prepare(reduction: Reduction) -> None:
    """Begin with what the identities of every ensemble ask of a model."""
    if reduction.model.group_dim:
        _curvature_of(reduction).begin()


def _like(reduction: Reduction) -> Params:
    """A point of the model, in float64."""

    def point() -> Params:
        init = jax.jit(reduction.model.init, compiler_options=FAST)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), init(jax.random.key(0)))

    # Never queued: whoever asks may be a thread of the queue itself.
    return reduction.program("like", lambda: Later(point, now=False)).result()


def _curvature_of(reduction: Reduction) -> Later[np.ndarray | None]:
    """D²χ, found once for all ensembles; None where it is not the same everywhere, or too large to be formed."""

    def second() -> np.ndarray | None:
        flat, unravel = ravel_pytree(_like(reduction))
        return None if flat.size > LARGE else _curvature(reduction.model, flat, unravel)

    return reduction.program("curvature of χ", lambda: Later(second, now=False))


def _functions(
    reduction: Reduction, like: Params, words: Words, *, fourth: bool = False
) -> tuple[Functions, tuple[Absent, ...]]:
    """The φ of a model that identities are tested of, and what is not."""
    model = reduction.model
    tested: tuple[About, ...] = (About(VIRIAL, words.heat),)
    if model.group_dim and ravel_pytree(like)[0].size > LARGE:
        why = f"the second derivatives of χ, q × q, are not formed above {LARGE} parameters"
        return Functions(model, like, tested, None), (Absent(WARD, why),)
    curvature = _curvature_of(reduction).result() if model.group_dim else None
    if curvature is None:
        absent = (Absent(WARD, "χ is not quadratic in the parameters"),) if model.group_dim else ()
        return Functions(model, like, tested, None), absent
    tested += tuple(About(name, words.balance, 1) for name in _numbered(WARD, len(curvature)))
    if fourth:
        tested += tuple(About(name, words.spread, 2) for name in _numbered(SPREAD, len(curvature)))
    return Functions(model, like, tested, curvature, fourth), ()


def half_square(params: Params) -> Float[Array, ""]:
    """|θ|²/2."""
    return 0.5 * jnp.sum(ravel_pytree(params)[0] ** 2)


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {a + 1}" for a in range(count)]


def _curvature(
    model: Model, flat: Float[Array, " q"], unravel: Callable[[Array], Params]
) -> Float[np.ndarray, "m q q"] | None:
    """D²χ, the same at every point; None where it is not."""

    def along(x: Array, v: Array) -> Array:
        """D²χ(x) v, (m, q)."""
        return jax.jvp(jax.jacrev(lambda y: model.moment_map(unravel(y))), (x,), (v,))[1]

    def parts(x: Array, y: Array, v: Array) -> tuple[Array, Array]:
        second = jax.lax.map(lambda i: along(x, jnp.zeros_like(x).at[i].set(1.0)), jnp.arange(x.size))  # (q, m, q)
        return jnp.moveaxis(second, 1, 0), jnp.stack([along(x, v), along(y, v)])

    shift, v = np.random.default_rng(0).normal(size=(2, flat.size))
    second, ends = map(np.asarray, jax.jit(parts)(flat, flat + jnp.asarray(shift), jnp.asarray(v)))
    if not np.isfinite(ends).all() or np.abs(ends[0] - ends[1]).max() > CONSTANT * np.abs(ends).max():
        return None
    return second
