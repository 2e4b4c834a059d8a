"""Laws of one coordinate as NumPyro distributions: an implicit bias that can stand as a prior in a model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro.distributions import Distribution, constraints

from langevin_ib.config.run import AUTO, RunConfig
from langevin_ib.errors import ConfigError, LawError
from langevin_ib.geometry import contract
from langevin_ib.laws.family import Reduction
from langevin_ib.laws.law import law_kind
from langevin_ib.laws.map import NAME
from langevin_ib.laws.moments import moments
from langevin_ib.laws.table import Piece, Stretch, Table, tabulate, tabulate_known
from langevin_ib.models.base import Model
from langevin_ib.runs.descent_laws import build_laws
from langevin_ib.runs.descent_minimum import at_minimum
from langevin_ib.runs.descent_plan import TAIL
from langevin_ib.runs.plan import build_reduction, resolve
from langevin_ib.runs.processes.langevin import without_symmetry
from langevin_ib.runs.windows import rounded_window, scalar_window
from langevin_ib.session import Session, key_of

ROUNDS = 60  # of bisection and Newton within a panel, at most
FARTHEST_LOG = 80.0  # of a derivative of a quantile: e^80 is a float32
WINDOWS = "auto, branch, all or two numbers"
Window = tuple[float, float] | str


def law(
    name: str, config: RunConfig | None = None, /, *, window: Window = "auto", loss: bool | str = True, **settings: Any
) -> LawDistribution:
    """A law of a model of one coordinate, as a NumPyro distribution.

    It is the density that a run of the same settings is compared with, normalised on the window: the log density is
    interpolated to 1e-8 and the distribution function to 1e-9, in float64. Further than 30 below its top the log
    density is known to 3e-10 of how far it is below, until it is 1e9 below, |z| leaves (e⁻⁷⁰⁰, e⁷⁰⁰), or the law's own
    quadrature fails (that of `exact` under weight decay below |z| = 1e-32); from there on log(p dz/dx) is a straight
    line in x, the log of the distance to the end. Build it outside of a NumPyro model and use it inside, for it is
    tabulated here.

    Args:
        name: as in `--laws`: `exact`, `slice`, `hard`, `pushforward`, `printed`, `naive`, or one of your own; or `map`,
            the stationary law of SGD at its learning rate, known to about 1e-5 of TV, and within 1e-9 of its top.
        config: settings of a run of Langevin dynamics, of `map` of one of SGD; by default those of `RunConfig()`.
        window: where z lies: `auto`, the window of the run; `branch`, all of the branch that the laws are written on;
            `all`, all branches; or two numbers, which may be infinite.
        loss: whether ℓ is in it; a name is the setting `loss`. False leaves it out: what symmetry, noise and
            confinement prefer by themselves, a
            prior.
        settings: of the run, in place of those of `config`.

    Raises:
        ConfigError: a setting is wrong, or the model has more coordinates than one.
        LawError: there is no such law here, or it cannot be normalised on the window.

    >>> import langevin_ib
    >>> slice_law = langevin_ib.law("slice", beta=10.0)
    >>> slice_law.window
    (0.2265, 2.265)
    >>> round(float(slice_law.cdf(slice_law.icdf(0.25))), 5)
    0.25

    The prior that weight decay induces on z = uv, K₀(λ|z|/T) λ/πT; at λ = T it is the law of the product of two
    standard normals:

    >>> prior = langevin_ib.law("exact", confine="weight-decay", weight_decay=0.1, loss=False, window="all")
    >>> round(float(jnp.exp(prior.log_prob(1.0))), 4)  # K₀(1)/π
    0.134
    """
    if not isinstance(config, RunConfig | None):
        wanted = "a RunConfig, or left out with settings by name, law(NAME, beta=10.0)"
        raise ConfigError("config", wanted, f"a {type(config).__name__}")
    window = _window(window)
    if isinstance(loss, str):  # ℓ of an example, a setting
        settings["loss"], loss = loss, True
    if name == NAME and "sampler" not in settings and config is None:
        settings["sampler"] = "sgd"
    config = RunConfig(**settings) if config is None else config.replace(**settings)
    if name == NAME:
        return _of_descent(config, window, loss)
    if not config.process.gibbs:
        raise ConfigError("sampler", "one whose laws are those of a Gibbs measure, such as langevin", config.sampler)
    kind = law_kind(name)
    with Session().open():
        reduction = build_reduction(config)
        contract.check_model(reduction.model, key_of(config, "check"))
        if reduction.model.group_dim == 0:
            config = without_symmetry(config)
            reduction = build_reduction(config)
        if reduction.chart.dim != 1:
            got = f"{config.model_name}, which has {reduction.chart.dim}"
            got += ": langevin_ib.run(config).to_xarray() has draws of it"
            raise ConfigError("model", "of one coordinate, for its law to be a distribution", got)
        if window == AUTO:
            if not loss:
                raise ConfigError("window", "given, branch or all, where the loss is left out", AUTO)
            plan = resolve(config, reduction)
            reduction, edges = plan.reduction, plan.edges[reduction.name]
            window = float(edges[0]), float(edges[-1])
        if not loss:
            reduction = replace(reduction, model=_without_loss(reduction.model), programs={})
        density = kind.law(reduction)
        stretches = _stretches(reduction, window)
        return LawDistribution(tabulate(density, reduction, stretches), density.name, density.measure, density.formula)


def _of_descent(config: RunConfig, window: Window, loss: bool) -> LawDistribution:
    """The law `map` of a run of SGD."""
    if config.sampler != "sgd":
        raise ConfigError("sampler", f"sgd for the law {NAME}", config.sampler)
    if not loss:
        raise ConfigError("laws", f"others than {NAME} where the loss is left out, for it is what steps follow", NAME)
    with Session().open():
        at = at_minimum(config)
        chart = at.reduction.chart
        if chart.dim != 1:
            wanted = f"of one coordinate, for a distribution (of {chart.dim} coordinates a run has draws)"
            raise ConfigError("model", wanted, config.model_name)
        own = build_laws(at.descent, at.middle, plain=not config.momentum, cumulants=at.cumulants)
        if own.maps is None or own.windowed is None:
            raise LawError("; ".join(own.missing))
        scalar = chart.scalar_names[0]
        exact, usual = own.maps[scalar], rounded_window(*own.windowed[scalar].window(TAIL))
        exact.masses(np.linspace(*usual, at.config.bins + 1))  # raises where it is not known well
        if window == AUTO:
            window = usual if at.config.window == AUTO else scalar_window(at.config, at.reduction).window
        if window == "all":
            window = "branch"  # no step leaves it
        table = tabulate_known(exact.law, _stretches(at.reduction, window), exact.fine.known)
        return LawDistribution(table, exact.law.name, exact.law.measure, exact.law.formula)


def _window(window: Any) -> Window:
    """As given, checked."""
    if isinstance(window, str):
        if window not in (AUTO, "branch", "all"):
            raise ConfigError("window", WINDOWS, window)
        return window
    try:
        low, high = (float(end) for end in window if not isinstance(end, str))
    except (TypeError, ValueError):
        raise ConfigError("window", WINDOWS, window) from None
    if not low < high:
        raise ConfigError("window", "two increasing numbers", f"{low:g} {high:g}")
    return low, high


def _without_loss(model: Model) -> Model:
    """The same with L = 0."""
    terms = model.slice_terms
    return replace(
        model,
        loss=lambda params: jnp.zeros((), jax.tree.leaves(params)[0].dtype),
        slice_terms=None if terms is None else lambda z: terms(z)._replace(loss=0.0 * terms(z).log_det),
    )


def _stretches(reduction: Reduction, window: Window) -> list[Stretch]:
    """The parts of the window on the branches, in increasing order."""
    model, name = reduction.model, reduction.name
    if isinstance(window, str):
        branches = [model.home_of(name)] if window == "branch" else model.branches_of(name)
        window = -math.inf, math.inf
    else:
        branches = model.branches_of(name)
    low, high = window
    parts = [(max(low, start), min(high, stop), start, stop) for start, stop in sorted(branches)]
    stretches = [
        Stretch(float(first), float(last), first == start, last == stop)
        for first, last, start, stop in parts
        if first < last
    ]
    if not stretches:
        where = ", ".join(f"({start:g}, {stop:g})" for start, stop in branches)
        raise ConfigError("window", f"on a branch of {name}: {where}", f"{low:g} {high:g}")
    return stretches


class LawDistribution(Distribution):
    """A law of one coordinate, normalised; made by `law`.

    `log_prob`, `cdf` and `icdf` take arrays of any shape, in float64 where JAX has it on. `log_prob` can be
    differentiated, `icdf` once. For other scales and for vectors there are NumPyro's own means:
    `TransformedDistribution(prior, AffineTransform(0.0, scale))`, `prior.expand([p])`.

    Attributes:
        name, measure, formula: of the law.
        window: its support's ends.

    >>> import langevin_ib
    >>> naive = langevin_ib.law("naive", beta=10.0)
    >>> naive.sample(jax.random.key(0), (3,)).shape
    (3,)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    pytree_data_fields = ("_arrays",)
    pytree_aux_fields = ("_pieces", "_moments", "name", "measure", "formula")

    def __init__(self, table: Table, name: str, measure: str, formula: str, *, validate_args: bool | None = None):
        self._arrays = table.log_density, table.mass, table.below, table.starts, table.widths
        self._pieces, self._moments = table.pieces, moments(table)
        self.name, self.measure, self.formula = name, measure, formula
        super().__init__(batch_shape=(), event_shape=(), validate_args=validate_args)

    def __repr__(self) -> str:
        return f"LawDistribution({self.name} [{self.measure}], {self.formula}, on {self.window})"

    @property
    def window(self) -> tuple[float, float]:
        """From the lowest to the highest z."""
        return self._pieces[0].stretch.low, self._pieces[-1].stretch.high

    @constraints.dependent_property(is_discrete=False, event_dim=0)  # pyright: ignore[reportArgumentType]
    def support(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The line, a half-line or an interval."""
        low, high = self.window
        if math.isinf(low) and math.isinf(high):
            return constraints.real
        if math.isinf(high):
            return constraints.greater_than(low)
        return constraints.less_than(high) if math.isinf(low) else constraints.interval(low, high)

    @property
    def mean(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """E z, by quadrature; ±∞ where the integral is, NaN where it is infinite on both sides.

        >>> import langevin_ib
        >>> slice_law = langevin_ib.law("slice", beta=10.0)
        >>> print(f"{slice_law.mean:.4f} {slice_law.variance:.5f}")
        0.8937 0.10065
        """
        return jnp.asarray(self._moments[0])

    @property
    def variance(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """E (z − E z)², by quadrature; ∞ where that is infinite."""
        return jnp.asarray(self._moments[1])

    def log_prob(self, value: Any) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """log p(z), the density being that in dz whatever the measure of the formula; −∞ outside of the window.

        At the end of a branch it is the limit of log p, the larger one where two branches meet; ∞ is possible.
        """
        z = _float(value)
        logs, _, _, starts, widths = self._arrays_in(z.dtype)
        result = jnp.full_like(z, -jnp.inf)
        for piece in self._pieces:
            inside, x, at, panel, t = _locate(piece, starts, widths, z)
            beyond = jnp.where(x < at, piece.slopes[0], -piece.slopes[1]) * (x - at)
            density = _polynomial(logs[panel], t) + beyond - piece.stretch.log_jacobian(x, jnp)
            result = jnp.where(inside, density, result)
        for piece in self._pieces:
            for end, limit in zip((piece.stretch.low, piece.stretch.high), piece.limits, strict=True):
                result = jnp.where(z == end, jnp.maximum(result, limit), result)
        return result

    def cdf(self, value: Any) -> Array:
        """P(Z ≤ z)."""
        z = _float(value)
        _, mass, below, starts, widths = self._arrays_in(z.dtype)
        result = jnp.zeros_like(z)
        for piece in self._pieces:
            inside, x, at, panel, t = _locate(piece, starts, widths, z)
            middle = below[panel] + _polynomial(mass[panel], t)
            under = piece.start + piece.tails[0] * jnp.exp(jnp.minimum(piece.slopes[0] * (x - at), 0.0))
            over = piece.end - piece.tails[1] * jnp.exp(jnp.minimum(-piece.slopes[1] * (x - at), 0.0))
            here = jnp.where(x < at, under, jnp.where(x > at, over, middle))
            here = jnp.where(z <= piece.stretch.low, piece.start, here)
            result = jnp.where(inside, here, jnp.where(z >= piece.stretch.high, piece.end, result))
        return jnp.clip(result, 0.0, 1.0)

    def icdf(self, q: Any) -> Array:
        """The z with P(Z ≤ z) = q; its derivative is 1/p(z)."""
        q = _float(q)
        fixed = jax.lax.stop_gradient(q)
        z = jax.lax.stop_gradient(self._quantile(fixed))
        # The first derivative of a root, without one of the search for it; what is added is 0.
        rate = jnp.exp(jnp.clip(-self.log_prob(z), -FARTHEST_LOG, FARTHEST_LOG))
        return z + (q - fixed) * jax.lax.stop_gradient(rate)

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Quantiles of uniform numbers: of the middles of 2²³ cells in float32, 2⁵² in float64, so never of 0 or 1."""
        dtype = jnp.result_type(float)
        return self.icdf(jax.random.uniform(key, sample_shape, dtype) + 0.5 * jnp.finfo(dtype).eps)

    def _arrays_in(self, dtype: Any) -> tuple[Array, ...]:
        return tuple(jnp.asarray(values, dtype) for values in self._arrays)

    def _quantile(self, q: Array) -> Array:
        logs, mass, below, starts, widths = self._arrays_in(q.dtype)
        panel = jnp.clip(jnp.searchsorted(below, q, side="right") - 1, 0, below.size - 1)
        t = _root(logs[panel], mass[panel], q - below[panel], 0.5 * widths[panel])
        middle = starts[panel] + 0.5 * widths[panel] * (1.0 + t)
        result = jnp.zeros_like(q)
        for piece in self._pieces:
            under = piece.x0 + _log_share(q - piece.start, piece.tails[0]) / piece.slopes[0]
            over = piece.x1 - _log_share(piece.end - q, piece.tails[1]) / piece.slopes[1]
            x = jnp.clip(middle, piece.x0, piece.x1)  # of another piece's panels it may overflow
            x = jnp.where(q < piece.start + piece.tails[0], under, jnp.where(q > piece.end - piece.tails[1], over, x))
            z = jnp.clip(piece.stretch.value(x, jnp), piece.stretch.low, piece.stretch.high)
            result = jnp.where(q >= piece.start, z, result) if piece.first else z
        return result


def _float(values: Any) -> Array:
    values = jnp.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(jnp.result_type(float))


def _locate(piece: Piece, starts: Array, widths: Array, z: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Of points: whether they lie on a stretch, x, the nearest x that has a panel, the panel, the place on it."""
    low, high = piece.stretch.low, piece.stretch.high
    _, _, open_low, open_high = piece.stretch.range(1.0)  # in x: the log of a distance of 0 is not finite
    inside = (z > low if open_low else z >= low) & (z < high if open_high else z <= high)
    # Any point inside in place of those outside, where logarithms and their derivatives are not finite.
    x = piece.stretch.place(jnp.where(inside, z, piece.stretch.value(piece.middle)), jnp)
    at = jnp.clip(x, piece.x0, piece.x1)
    own = starts[piece.first : piece.first + piece.panels]
    k = jnp.searchsorted(own, jax.lax.stop_gradient(at), side="right") - 1
    panel = piece.first + jnp.clip(k, 0, piece.panels - 1)
    return inside, x, at, panel, 2.0 * (at - starts[panel]) / widths[panel] - 1.0


def _polynomial(coefficients: Array, t: Array) -> Array:
    """Σ_k a_k T_k(t), by Clenshaw's recurrence; the last axis of the coefficients is k."""
    first, second = jnp.zeros_like(t), jnp.zeros_like(t)
    for k in range(coefficients.shape[-1] - 1, 0, -1):
        first, second = 2.0 * t * first - second + coefficients[..., k], first
    return t * first - second + coefficients[..., 0]


def _root(logs: Array, mass: Array, wanted: Array, half: Array) -> Array:
    """The t of a panel up to which the mass is that; `half` is half the panel's width."""

    def narrow(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        n, low, high, t, _ = carry
        gap = _polynomial(mass, t) - wanted
        low, high = jnp.where(gap < 0, t, low), jnp.where(gap < 0, high, t)
        newton = t - gap / (half * jnp.exp(_polynomial(logs, t)))
        nearer = jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        return n + 1, low, high, nearer, jnp.abs(nearer - t)

    def moving(carry: tuple[Any, ...]) -> Array:
        return (carry[0] < ROUNDS) & jnp.any(carry[4] > 8.0 * jnp.finfo(wanted.dtype).eps)

    ones = jnp.ones_like(wanted)
    return jax.lax.while_loop(moving, narrow, (0, -ones, ones, 0.0 * ones, ones))[3]


def _log_share(mass: Array, tail: float) -> Array:
    """How far out in a tail, as a log."""
    return jnp.log(jnp.maximum(mass, jnp.finfo(mass.dtype).tiny) / max(tail, float(jnp.finfo(mass.dtype).tiny)))
