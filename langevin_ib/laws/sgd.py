"""Law (S): where SGD's own noise leads the invariants, from the Itô process of a coordinate on the slice.

On χ = 0, with Σ the covariance of the gradient, a coordinate x(θ) of the quotient obeys, per unit of t = nη,

    dx = a dt + b dW,   a = −∇x·∇L + (η/2) tr(Σ D²x),   b² = η ∇xᵀ Σ ∇x,

whose stationary density is b⁻² exp(∫ 2a/b² dx). For uv, a = −2zℓ' + ηSz and b² = 4ηz²S, so that

    p(z) dz ∝ z^{−3/2} S(z)^{−1} exp(−∫ ℓ'(z)/(η z S(z)) dz) dz,

and for label noise on ½(z − y)², where S = s², a Gamma law of shape y/(ηs²) − ½ and scale ηs². It is the leading order
in η. Where there are several coordinates there is such a law if they decouple.

Source: arXiv:2308.06671 for uv; the process itself: Li, Tai & E, JMLR 20 (40), 1–47 (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpy.polynomial import Chebyshev

from langevin_ib.dynamics.confinement import Confinement
from langevin_ib.dynamics.covariance import covariance_batches, gradient_noise
from langevin_ib.dynamics.cumulants import cumulants
from langevin_ib.dynamics.noise import Noise
from langevin_ib.errors import LawError
from langevin_ib.laws.base import Law, bin_nodes, on_host
from langevin_ib.models.base import LINE, Branch, Chart, Model, Params

NAME, MEASURE = "sgd", "dz"
FORMULA = "b⁻² exp(∫ 2a/b² dz), drift a and diffusion b² of SGD on χ = 0"
FAR = 1e6  # how far from the middle, or from one, the ends of a branch are evaluated, as a factor
FAINT = 1e-100  # noise over drift, both of x, below which no chain is carried on against the drift
ASIDE = 0.5  # in x, about an end of a half-line: where powers of |z| are read off
SCAN = 4001
SCAN_ESTIMATED, BLOCK_ESTIMATED = 401, 64  # the same where each point takes many draws, and points evaluated at once
SERIES = 64  # degree of the series of laws of parts of the draws
BULK = 40.0  # log mass below its top within which the bulk of a law lies
NOISELESS = 1e-9  # noise this much below its largest value on the window counts as none
NEARLY_NOISELESS = 1e-4  # the same where drift over noise cannot be integrated
DEGREES = (32, 64, 128, 256, 512)
ACCURACY = 1e-9
ROUGH_DEGREE, ROUGH = 128, 1e-3  # of the series of what has small kinks, and how well its log density is known
SEPARATE = 1e-7
PROBES = 6
ERROR_DEGREE = 48  # of the series for the error of (S); it need not be exact
ERROR_PANELS = 2
SAME = 1e-3  # relative difference of two ways to the terms of (S) above which one is wrong
SKEWED = 1e-3  # skewness of the noise at the minimum below which its third cumulant counts as none


class ReducedProcess(NamedTuple):
    """Drift a (k,) and diffusion b² (k, k) of the coordinates at s(x), and how fast χ leaves zero there."""

    drift: Any
    diffusion: Any
    charge_drift: Any
    charge_diffusion: Any


@dataclass(frozen=True)
class Descent:
    """SGD of a model as a process on its quotient.

    Attributes:
        model: with `training`.
        confinement: `unconfined` or `weight_decay`, whose energy counts to the loss.
        noise: of the gradient.
        lr: η; with momentum μ, η/(1 − μ), which is what the leading order depends on.
    """

    model: Model
    confinement: Confinement
    noise: Noise
    lr: float

    @cached_property
    def chart(self) -> Chart:
        """The coordinates of the quotient."""
        return Chart(self.model)

    def process_at(self, params: Params) -> ReducedProcess:
        """The process of the chart's coordinates at a point θ."""
        return self.process_under(params, gradient_noise(self.noise.check(self.model), self.noise, params).covariance)

    def process_under(self, params: Params, covariance: Float[Array, "q q"]) -> ReducedProcess:
        """The same under a covariance Σ of the gradient."""
        model = self.model
        flat, unravel = ravel_pytree(params)
        slope = ravel_pytree(jax.grad(self.confinement.potential(model))(params))[0]

        def ito(function):
            jacobian = jax.jacrev(lambda x: function(unravel(x)))(flat)
            hessian = jax.jacfwd(jax.jacrev(lambda x: function(unravel(x))))(flat)
            second = jnp.einsum("kij,ij->k", hessian, covariance)
            return -jacobian @ slope + 0.5 * self.lr * second, self.lr * jacobian @ covariance @ jacobian.T

        drift, diffusion = ito(self.chart.of)
        return ReducedProcess(drift, diffusion, *ito(model.moment_map))

    def process(self, x: Float[Array, " k"]) -> ReducedProcess:
        """The process at the balanced point of x."""
        return self.process_at(self.chart.section(x))

    @property
    def estimated(self) -> bool:
        """Whether Σ is estimated from draws."""
        hook = self.noise.record.hook
        return hook is not None and hook.covariance is None

    def processes_without(self, x: Float[Array, " k"]) -> ReducedProcess:
        """Of an estimated Σ the process by all batches of draws but one, for each, leading axis the batch."""
        point = self.chart.section(x)
        batches = covariance_batches(self.noise.check(self.model), self.noise, point)
        rest = (batches.sum(axis=0) - batches) / (len(batches) - 1)
        return jax.vmap(lambda covariance: self.process_under(point, covariance))(rest)


def check_closed(descent: Descent) -> None:
    """Whether coordinates that start on the slice stay there, and decouple from each other.

    Raises:
        LawError: noise moves χ away from zero, or a coordinate's drift or noise depends on the others.
    """
    chart = descent.chart
    if descent.noise.record.noiseless:
        raise LawError("law sgd: there is no noise, and gradient descent ends in a minimum of the loss")
    if descent.noise.dependence is not None:
        raise LawError(f"law sgd: {descent.noise.dependence}, and (S) is the law of independent steps")
    if not descent.noise.across:
        raise LawError(f"law sgd: {descent.noise.words} does not leave χ at zero, it lets χ diffuse without end")

    def rates(y):
        process = descent.process(y)
        return process.drift, jnp.diagonal(process.diffusion)

    def probe(key):
        x = chart.of(descent.model.init(key))
        process = descent.process(x)
        slopes = jax.jacfwd(rates)(x)
        return process, slopes, x

    with jax.enable_x64(True):
        process, slopes, x = jax.jit(lambda keys: jax.lax.map(probe, keys))(jax.random.split(jax.random.key(0), PROBES))
    process, slopes, x = jax.tree.map(np.asarray, (process, slopes, x))
    rate = np.abs(process.drift).max() + np.abs(process.diffusion).max()
    charge_rate = max(np.abs(process.charge_drift).max(), np.abs(process.charge_diffusion).max())
    if not charge_rate <= SEPARATE * max(rate, 1e-300):
        raise LawError(
            f"law sgd: on χ = 0 the noise moves χ at a rate up to {charge_rate:.2g} (the coordinates: {rate:.2g}), "
            "so the chain does not stay on the slice and no law in the invariants alone follows: the draws are held "
            "against the fitted laws only"
        )
    if descent.model.scalars is not None and chart.dim > 1:
        raise LawError("law sgd: its scalars are not its coordinates, and (S) is a law of the latter")
    k = chart.dim
    others = ~np.eye(k, dtype=bool)
    size = 1.0 + np.abs(x).max()
    mixing = max(
        np.abs(process.diffusion[:, others]).max(initial=0.0),
        size * max(np.abs(part[:, others]).max(initial=0.0) for part in slopes),
    )
    if not mixing <= SEPARATE * rate and descent.estimated:
        raise LawError(
            f"law sgd: by the estimated Σ the rates of the {k} coordinates mix by {mixing / rate:.2g}, and whether "
            f"they decouple takes Σ itself (covariance of {descent.noise.words})"
        )
    if not mixing <= SEPARATE * rate:
        raise LawError(
            f"law sgd: the {k} coordinates do not go their own ways (their rates mix by {mixing / rate:.2g}); "
            "(S) is the law of a single one"
        )


def weaker(descent: Descent) -> str:
    """What to do where the noise is too strong for a law, in the options of a run."""
    if descent.noise.scale != 1.0:
        return "use a smaller --lr or --noise-scale"
    if descent.noise.label_noise:
        return "use a smaller --lr or --label-noise"
    if descent.noise.flip_rate:
        return "use a smaller --lr or --flip-rate"
    return "use a smaller --lr" + (" or a larger --batch-size" if descent.noise.batch_size else "")


class TailError(LawError):
    """Law (S) cannot be normalised at an end of the branch."""


class CollapseError(TailError):
    """There is no law because chains run to the end of the branch."""


class OwnError(NamedTuple):
    """How far the stationary law is from (S), to leading order in η; see `Coordinate.error`."""

    order: float
    tv: float
    skewness: float


@dataclass(frozen=True)
class _Expansion:
    """What the law of finite steps adds to (S), p₀, on a window; see `Coordinate.error`.

    Attributes:
        low, high: the window, in x.
        x: Chebyshev's points of it.
        drift, noise: ηa and ηb² there.
        moments: m₁ to m₄ of a step's change.
        symmetric: those of a noise without third cumulant.
        steepness: |∇x|².
    """

    low: float
    high: float
    x: Float[np.ndarray, " n"]
    drift: Float[np.ndarray, " n"]
    noise: Float[np.ndarray, " n"]
    moments: Float[np.ndarray, "n 4"]
    symmetric: Float[np.ndarray, "n 4"]
    steepness: Float[np.ndarray, " n"]

    def series(self, values: Float[np.ndarray, " n"]) -> Chebyshev:
        """The polynomial through values at the points."""
        return Chebyshev.fit(self.x, values, ERROR_DEGREE - 1, domain=[self.low, self.high])

    @cached_property
    def log_slopes(self) -> list[Float[np.ndarray, " n"]]:
        """∂ log p₀, and its first two derivatives."""
        log_slope = self.series(2.0 * self.drift / self.noise) - self.series(np.log(self.noise)).deriv()
        return [part(self.x) for part in (log_slope, log_slope.deriv(), log_slope.deriv(2))]

    def flux(self, first, second, third, fourth) -> Float[np.ndarray, " n"]:
        """That of p₀ under moments of a step's change, divided by p₀."""
        m2, m3, m4 = self.series(second), self.series(third), self.series(fourth)
        x, (l1, l2, l3) = self.x, self.log_slopes
        return (
            first
            - (m2.deriv()(x) + m2(x) * l1) / 2.0
            + (m3.deriv(2)(x) + 2.0 * m3.deriv()(x) * l1 + m3(x) * (l2 + l1**2)) / 6.0
            - (m4.deriv(3)(x) + 3.0 * m4.deriv(2)(x) * l1 + 3.0 * m4.deriv()(x) * (l2 + l1**2)) / 24.0
            - m4(x) * (l3 + 3.0 * l1 * l2 + l1**3) / 24.0
        )

    def along(self, values):
        """∂ along the slice of a function, and of a function times p₀ divided by it."""
        slope = self.series(values).deriv()(self.x)
        return np.sqrt(self.steepness) * slope, np.sqrt(self.steepness) * (slope + values * self.log_slopes[0])

    def excess_slope(self, momentum: float) -> Float[np.ndarray, " n"]:
        """½ ηb² ∂φ."""
        leading = np.stack([self.drift, self.noise, 0.0 * self.x, 0.0 * self.x])
        share = (1.0 - momentum) / (1.0 + momentum)
        rest = share * self.flux(*(self.symmetric.T - leading)) + self.flux(*(self.moments - self.symmetric).T)
        if momentum:
            across = self.noise / self.steepness  # ηb² of the place along the slice
            inertia = momentum / (1.0 - momentum)
            inner = across * self.along(across)[0] * np.sqrt(self.steepness)
            rest -= inertia / 8.0 * self.along(self.along(inner)[1])[1]
        return rest


class Coordinate:
    """One coordinate z of a `Descent`, in x = log |z| on a half-line from 0 and in x = z on the whole line.

    Args:
        descent: checked by `check_closed`.
        index: the coordinate's place in the chart.
        middle: a point of the quotient inside the branches, the minimum of the loss.
        branch: the interval that the coordinate lives on.

    Raises:
        LawError: the branch is another kind of interval, or the law does not exist on it: the noise vanishes, or the
            mass runs to an end.
    """

    def __init__(self, descent: Descent, index: int, middle: Float[np.ndarray, " k"], branch: Branch):
        if branch != LINE and 0.0 not in branch:
            raise LawError(f"law sgd: the branch {branch} neither is the whole line nor begins at 0")
        self.name = descent.chart.scalar_names[index]
        self.line = branch == LINE
        self.sign = -1.0 if branch[1] <= 0 else 1.0
        self.middle = float(middle[index])
        base_point = np.asarray(middle, np.float64)

        def at(z):
            process = descent.process(jnp.asarray(base_point).at[index].set(z))
            return process.drift[index], process.diffusion[index, index]

        def increment(z):
            """Moments of a step's change of log |z| or z, without a third cumulant, |∇|², cumulants; ηa and ηb²."""
            y = jnp.asarray(base_point).at[index].set(z)
            point = descent.chart.section(y)
            flat, unravel = ravel_pytree(point)
            normal = jax.grad(lambda p: descent.chart.of(unravel(p))[index])(flat)
            length = jnp.linalg.norm(normal)
            normal = normal / length
            slope = ravel_pytree(jax.grad(descent.confinement.potential(descent.model))(point))[0]
            noise = cumulants(descent.noise.check(descent.model), descent.noise, point, normal)

            def moved(kick):
                value = descent.chart.of(unravel(flat - descent.lr * (slope + kick * normal)))[index]
                return jnp.log(jnp.abs(value)) if self.multiplies else value

            # x' − x as a polynomial in the kick; its powers are needed to the fourth order of the noise.
            functions = [moved]
            for _ in range(4):
                functions.append(jax.jacfwd(functions[-1]))
            series = [function(jnp.zeros_like(z)) / math.factorial(k) for k, function in enumerate(functions)]
            start = jnp.log(jnp.abs(z)) if self.multiplies else z
            change = jnp.stack(series).at[0].add(-start)
            fourth = noise.fourth + 3.0 * noise.second**2

            def moments(third):
                of_kick = jnp.stack([jnp.ones_like(third), jnp.zeros_like(third), noise.second, third, fourth])
                power, raw_moments = change, []
                for _ in range(4):
                    raw_moments.append(power @ of_kick)
                    power = jnp.convolve(power, change)[:5]
                return jnp.stack(raw_moments)

            steepness = (length / jnp.abs(z) if self.multiplies else length) ** 2
            leading = jnp.stack([change[0] + change[2] * noise.second, change[1] ** 2 * noise.second])
            return moments(noise.third), moments(jnp.zeros_like(fourth)), steepness, noise.second, noise.third, leading

        def without(z):
            process = descent.processes_without(jnp.asarray(base_point).at[index].set(z))
            return process.drift[:, index], process.diffusion[:, index, index]

        self._scan = SCAN_ESTIMATED if descent.estimated else SCAN
        several = {"block": BLOCK_ESTIMATED, "together": True} if descent.estimated else {}
        self._without = on_host(without, once=True, **several) if descent.estimated else None
        self._lr, self._remedy = descent.lr, weaker(descent)
        self._drift_and_diffusion, self._increment = on_host(at, **several), on_host(increment, **several)
        self._check_exists()
        # Whether near 0 a step multiplies z, as for a product, or crosses 0, as for a radius.
        near = self._value(np.array([self._ends[0]]))
        self.multiplies = not self.line and float(self._lr * self._drift_and_diffusion(near)[1][0] / near[0] ** 2) < 1.0

    def law(self, low: float, high: float) -> Law:
        """Law (S) on the window [low, high].

        Raises:
            LawError: the noise vanishes there.
        """
        ends = sorted(float(x) for x in self._place(np.array([low, high])))
        log_density = self._log_density(ends[0], ends[1])
        return Law(NAME, MEASURE, FORMULA, lambda z: log_density(np.asarray(z, np.float64)))

    def masses_without(self, edges: Float[np.ndarray, " edges"]) -> Float[np.ndarray, "batch bins"] | None:
        """Bin masses of law (S) by all batches of draws but one, for each; None where Σ is not estimated."""
        if self._without is None:
            return None
        low, high = sorted(float(x) for x in self._place(np.asarray(edges, np.float64)[[0, -1]]))
        x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * (np.arange(SERIES) + 0.5) / SERIES)
        drifts, diffusions = (part.T for part in self._without(self._value(x)))
        nodes = bin_nodes(np.asarray(edges, np.float64), (False, False), ERROR_PANELS)
        place, masses = self._place(nodes.z), []
        for drift, diffusion in zip(drifts, diffusions, strict=True):
            pull = 2.0 * drift / diffusion * (1.0 if self.line else self._value(x))
            rate, noise = (Chebyshev.fit(x, part, SERIES - 1, domain=[low, high]) for part in (pull, np.log(diffusion)))
            log_mass = rate.integ()(place) - noise(place) + nodes.log_weight
            mass = np.exp(log_mass - log_mass.max()).sum(axis=1)
            masses.append(mass / mass.sum())
        return np.stack(masses)

    def window(self, share: float) -> tuple[float, float]:
        """The range that leaves out `share` of law (S) at either end."""
        x, mass = self._bulk
        total = np.cumsum(mass)
        low, high = (float(self._value(np.interp(part, total, x))) for part in (share, 1.0 - share))
        return min(low, high), max(low, high)

    def bulk_ends(self) -> tuple[float, float]:
        """Between which z law (S) has all but e^-40 of its greatest density in x."""
        x, _ = self._bulk
        low, high = (float(z) for z in self._value(x[[0, -1]]))
        return low, high

    def variance(self) -> float:
        """Variance of z under law (S), over all of the branch."""
        x, mass = self._bulk
        z = self._value(x)
        return float(mass @ (z - mass @ z) ** 2)

    def check_steps(self) -> None:
        """Whether plain steps of this size come away from 0: near there z is multiplied by independent factors.

        They do if E log |z'/z| > 0 (to the fourth order of the noise), which asks for more than (S), where η is small.

        Raises:
            CollapseError: they do not.
        """
        if not self.multiplies:
            return
        growth = float(self._increment(self._value(np.array([self._ends[0]])))[0][0, 0])
        if growth <= 0:
            raise CollapseError(
                f"law sgd: (S) can be normalised, but steps of this size collapse: near {self.name} = 0 "
                f"E log |{self.name}'/{self.name}| of a step is {growth:.2g}, and chains end at {self.name} = 0: "
                f"{self._remedy}"
            )

    def error(self, edges: Float[np.ndarray, " edges"], momentum: float = 0.0) -> OwnError:
        """How far the law of steps of finite η is from (S) on a window, to leading order.

        With m_k(x) the moments of a step's change of x (log |z| or z), the stationary density p has no flux,
        m₁p − ½ ∂(m₂p) + ⅙ ∂²(m₃p) − (1/24) ∂³(m₄p) = 0 (Kramers and Moyal), and (S), p₀, solves this for m₁ = ηa,
        m₂ = ηb², m₃ = m₄ = 0. To first order in the rest, δ₁, δ₂, m₃, m₄, it is p = p₀(1 + φ) with

            ½ ηb² ∂φ = δ₁ + [−½ ∂(δ₂p₀) + ⅙ ∂²(m₃p₀) − (1/24) ∂³(m₄p₀)]/p₀.

        A third cumulant κ₃ of the noise makes m₃ = −η³κ₃ + …, and φ of the order of √η; without it all is of order η.
        Of that part momentum μ leaves (1 − μ)/(1 + μ), as for a linear force, where the variance is known, and adds
        what inertia, M = ημ/(1 − μ), does to noise that depends on the place along the slice, a straight line:
        −(M/8) ∂²(b² (b²)' p₀), from the moments of the velocity.

        Args:
            edges: bin edges.
            momentum: μ; η is then that of `Descent`.

        Returns:
            order: ½ if the noise at the minimum of the loss is skewed, else 1.
            tv: total variation between the bin masses of p₀(1 + φ) and p₀.
            skewness: κ₃/κ₂^{3/2} there.

        Source: van Kampen, Stochastic Processes in Physics and Chemistry, chapters VIII–X.
        """

        expansion = self._expanded(edges)
        rest = expansion.excess_slope(momentum)
        excess = expansion.series(2.0 * rest / expansion.noise).integ()
        nodes = bin_nodes(np.asarray(edges, np.float64), (False, False), ERROR_PANELS)
        law = self.law(float(edges[0]), float(edges[-1]))
        log_mass = law.log_density(nodes.z.ravel()).reshape(nodes.z.shape) + nodes.log_weight
        mass = np.exp(log_mass - log_mass.max())
        mass /= mass.sum()
        change = (mass * excess(self._step_place(nodes.z))).sum(axis=1)
        change -= mass.sum(axis=1) * change.sum()
        variance, skew = (float(part[0]) for part in self._increment(np.array([self.middle]))[3:5])
        skewness = skew / variance**1.5 if variance > 0 else 0.0
        return OwnError(0.5 if abs(skewness) > SKEWED else 1.0, 0.5 * float(np.abs(change).sum()), skewness)

    def check_terms(self) -> str | None:
        """Whether ηa and ηb² at the minimum of the loss are those of a step's own series in the kick; if not, a line.

        There the gradient is zero, and to second order in the kick both are the same numbers, from other code: Itô's
        formula with the covariance of all parameters, and the Taylor series of x after a step along the normal.
        """
        z = np.array([self.middle])
        claimed = np.array([float(part[0]) for part in self._of_a_step(z)])
        series = np.asarray(self._increment(z)[5][0], float)
        size = np.abs(claimed) + np.abs(series) + SAME * np.array([np.sqrt(series[1]), 0.0])
        for what, one, other, scale in zip(("drift", "noise"), claimed, series, size, strict=True):
            if not abs(one - other) <= SAME * scale:
                return (
                    f"law sgd: at the minimum of the loss (S) has {what} {one:.4g} a step in {self.name}"
                    f"{', relative to it' if self.multiplies else ''}, and the series of a step {other:.4g}: "
                    "(S) is not the limit of these steps"
                )
        return None

    def _expanded(self, edges: Float[np.ndarray, " edges"]) -> _Expansion:
        """The moments of a step's change over a window."""
        low, high = sorted(float(x) for x in self._step_place(np.asarray(edges, np.float64)[[0, -1]]))
        angles = np.pi * (np.arange(ERROR_DEGREE) + 0.5) / ERROR_DEGREE
        x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angles)
        z = self.sign * np.exp(x) if self.multiplies else x
        moments, symmetric, steepness, *_ = self._increment(z)
        return _Expansion(low, high, x, *self._of_a_step(z), moments, symmetric, steepness)

    def _of_a_step(self, z: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """ηa and ηb² of x."""
        drift, diffusion = (self._lr * part for part in self._drift_and_diffusion(z))
        if not self.multiplies:
            return drift, diffusion
        noise = diffusion / z**2
        return drift / z - 0.5 * noise, noise

    @cached_property
    def _bulk(self) -> tuple[np.ndarray, np.ndarray]:
        """A grid in x over the bulk of law (S), and the mass at its points."""
        x = np.linspace(*self._ends, self._scan)
        log_mass = self._log_mass(x)
        bulk = np.nonzero(log_mass > log_mass.max() - BULK)[0]
        x = np.linspace(x[max(bulk[0] - 1, 0)], x[min(bulk[-1] + 1, self._scan - 1)], self._scan)
        log_mass = self._log_mass(x)
        mass = np.exp(log_mass - log_mass.max())
        return x, mass / mass.sum()

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """Places x far out on either side, no further than the noise reaches.

        Where it vanishes and drift leads back, as of a loss of separable data under weight decay, no chain arrives.
        """
        scale = max(abs(self.middle), 1.0)
        if self.line:
            low, high = self.middle - 50.0 * scale, self.middle + 50.0 * scale
        else:
            low, high = float(np.log(min(abs(self.middle), 1.0) / FAR)), float(np.log(scale * FAR))
        if not self._reached(np.array([low, high]))[0].all():
            x = np.linspace(low, high, self._scan)
            reached, inward = self._reached(x)
            middle = int(np.searchsorted(x, self._place(np.array([self.middle]))[0]))
            below, above = (np.flatnonzero(~part) for part in (reached[:middle], reached[middle:]))
            if below.size and inward[: below[-1] + 1].all():
                low = float(x[below[-1] + 1] + ASIDE)
            if above.size and inward[middle + above[0] :].all():
                high = float(x[middle + above[0] - 1] - ASIDE)
        return low, high

    def _reached(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of places, whether noise moves chains there, and whether drift leads from there to the middle."""
        z = self._value(x)
        drift, diffusion = self._drift_and_diffusion(z)
        outward = drift * (1.0 if self.line else self.sign) * np.sign(x - self._place(np.array([self.middle])))
        return diffusion > FAINT * np.abs(drift * (1.0 if self.line else z)), outward < 0.0

    def _log_mass(self, x: np.ndarray) -> np.ndarray:
        """log (p dz/dx) on a grid, by the trapezoidal rule."""
        pull, log_noise = self._terms(x)
        rise = np.concatenate([[0.0], np.cumsum(0.5 * (pull[1:] + pull[:-1]) * np.diff(x))])
        return rise - log_noise + self._log_jacobian(x)

    def _check_exists(self) -> None:
        """Near the ends of a half-line |z| p(z) is a power of |z|, which has to rise from 0 and to fall to infinity."""
        if self.line:
            return
        near, far = (end + np.array([-ASIDE, ASIDE]) for end in self._ends)
        powers = []
        for x in (near, far):
            pull, log_noise = self._terms(x)
            powers.append(float(pull.mean() - (log_noise[1] - log_noise[0]) + 1.0))
        for power, bad, where in ((powers[0], powers[0] <= 0, "0"), (powers[1], powers[1] >= 0, "infinity")):
            if bad:
                meaning = ""
                if where == "0":
                    meaning = f": the noise is too strong, and chains collapse to {self.name} = 0: {self._remedy}"
                raise (CollapseError if where == "0" else TailError)(
                    f"law sgd: it cannot be normalised at {self.name} = {where}, where its density is like "
                    f"|{self.name}|^({power - 1:.3g}){meaning}"
                )

    def _log_density(self, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
        """log p(z) up to a constant over a range of x, from Chebyshev series that have settled."""
        nodes, relative, pull, log_noise = (np.zeros(0) for _ in range(4))
        for degree in DEGREES:
            nodes = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * (np.arange(degree) + 0.5) / degree)
            pull, log_noise = self._terms(nodes)
            relative = log_noise - 2.0 * self._log_jacobian(nodes)
            if np.exp(relative.min() - relative.max()) < NOISELESS:
                self._at_rest(nodes[np.argmin(relative)])
            rate, noise = (Chebyshev.fit(nodes, part, degree - 1, domain=[low, high]) for part in (pull, log_noise))
            if all(np.abs(s.coef[-4:]).max() < ACCURACY * max(1.0, np.abs(s.coef).max()) for s in (rate, noise)):
                rise = rate.integ()
                return lambda z: rise(self._place(z)) - noise(self._place(z))
        if np.exp(relative.min() - relative.max()) < NEARLY_NOISELESS:
            self._at_rest(nodes[np.argmin(relative)])
        return self._rough_log_density(low, high, nodes, pull, log_noise)

    def _rough_log_density(
        self, low: float, high: float, nodes: np.ndarray, pull: np.ndarray, log_noise: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """The same of a short series, where sums over examples and noisy labels leave small kinks that do not matter.

        They do not where a series through every node says the same, in the bulk.
        """

        def series(degree):
            rate, noise = (Chebyshev.fit(nodes, part, degree, domain=[low, high]) for part in (pull, log_noise))
            rise = rate.integ()
            return lambda x: rise(x) - noise(x)

        short, exact = series(ROUGH_DEGREE), series(len(nodes) - 1)
        change = short(nodes) - exact(nodes)
        bulk = (mass := exact(nodes)) > mass.max() - BULK / 2.0
        if not np.ptp(change[bulk]) <= ROUGH:
            raise LawError(
                f"law sgd: drift and noise of {self.name} are not smooth enough to be integrated on the window"
            )
        return lambda z: short(self._place(z))

    def _terms(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(2a/b²) dz/dx and log b², a and b those of z."""
        drift, diffusion = self._drift_and_diffusion(np.atleast_1d(self._value(x)))
        if not (diffusion > 0).all():
            self._at_rest(np.atleast_1d(x)[~(diffusion > 0)][0])
        return 2.0 * drift / diffusion * (1.0 if self.line else self._value(x)), np.log(diffusion)

    def _at_rest(self, x: float) -> NoReturn:
        raise LawError(
            f"law sgd: the noise vanishes near {self.name} = {float(self._value(np.array(x))):.4g}, "
            "where chains come to rest: there is no density"
        )

    def _place(self, z: np.ndarray) -> np.ndarray:
        return z if self.line else np.log(np.abs(z))

    def _step_place(self, z: np.ndarray) -> np.ndarray:
        """The coordinate in which a step's change is expanded."""
        return np.log(np.abs(z)) if self.multiplies else z

    def _value(self, x: Any) -> np.ndarray:
        return np.asarray(x if self.line else self.sign * np.exp(x))

    def _log_jacobian(self, x: np.ndarray) -> np.ndarray:
        """log |dz/dx|."""
        return np.zeros_like(x) if self.line else x


def label_noise_gamma(target: float, lr: float, label_noise: float) -> Any:
    """Law (S) of uv under label noise in closed form: Gamma of shape y/(ηs²) − ½ and scale ηs², of |z|.

    Returns:
        A frozen SciPy distribution.

    Raises:
        LawError: ηs² ≥ 2|y|: the shape is not positive, chains collapse to z = 0.

    >>> law = label_noise_gamma(1.0, 0.01, 2.0)
    >>> round(float(law.mean()), 12), round(float(law.var()), 12)
    (0.98, 0.0392)
    """
    scale = lr * label_noise**2
    shape = abs(target) / scale - 0.5
    if not shape > 0:
        raise LawError(
            f"law sgd: ηs² = {scale:g} is at least 2|y| = {2 * abs(target):g}: no Gamma law, chains collapse to z = 0"
        )
    return scipy.stats.gamma(shape, scale=scale)
