"""The record of pure functions that describes a model with a continuous symmetry, and the chart of its quotient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from langevin_ib.models.training import Params, Training

if TYPE_CHECKING:
    # Type checkers lose a shape that stands in an alias.
    Invariants: TypeAlias = Mapping[str, jax.Array]
    Scalars: TypeAlias = Mapping[str, jax.Array]
else:
    Invariants: TypeAlias = Mapping[str, Float[Array, "..."]]
    Scalars: TypeAlias = Mapping[str, Float[Array, ""]]
Branch: TypeAlias = tuple[float, float]

HOME_TRIES = 100
LINE: Branch = (-math.inf, math.inf)
POSITIVE: Branch = (0.0, math.inf)
NEGATIVE: Branch = (-math.inf, 0.0)
RESERVED = ("energy", "potential", "charge", "chain", "draw", "generator")  # taken in files of draws


class SliceTerms(NamedTuple):
    """What a reduced law needs of the slice at s(z).

    Attributes:
        log_det: log det G_χ.
        log_volume: log dσ_S/dz in the coordinates of the chart.
        loss: the reduced loss ℓ(z) = L(s(z)).
    """

    log_det: Any
    log_volume: Any
    loss: Any


@dataclass(frozen=True)
class Model:
    """A loss L(θ) = ℓ(h(θ)) that is invariant under a group G, and the coordinates of its quotient.

    All functions act on one parameter pytree, never on a batch, and are differentiable where the action is free.

    Attributes:
        name: what it is called on the command line.
        group: the group and its action, in words, for tables and figures.
        group_dim: m, the dimension of G (of its non-compact part, where `compact_dim` is given).
        loss: L(θ), a scalar.
        act: (t ∈ R^m, θ) ↦ exp(t·e)·θ.
        moment_map: χ(θ) ∈ R^m, eq. (5); the slice is χ⁻¹(0).
        invariants: {name: z(θ)}, coordinates on Θ/G: q − m numbers in all, besides the discrete ones.
        section: z ↦ the balanced representative s(z) of the orbit, χ(s(z)) = 0.
        init: key ↦ θ, where a chain starts; always in the same component where there are discrete invariants.
        scalars: z ↦ {name: number}, what is put into histograms; by default every coordinate of z.
        branches: {scalar: open intervals on which the action is free}; by default the whole line.
        home: {scalar: the branch that holds the minimum of the loss}; by default the only branch.
        cut: scalars at the end of whose branch a law may not be integrable: the laws are those of draws inside the
            windows of these scalars.
        flat: (name, z ↦ log density in the coordinates z) of the measure that `printed` and `naive` are read against,
            where it is not Lebesgue measure in z: for an angle that z holds in a chart without bounds, say.
        slice_terms: z ↦ log det G, log dσ_S/dz and ℓ in closed form, where there is one: `geometry.slice_terms` takes
            it in place of automatic differentiation, which is 10–60 times slower, and `check_model` compares the two.
        discrete: invariants that are constant on each component of Θ/G (signs); not coordinates.
        compact_dim: dimension of a compact group that acts by isometries, preserves the slice and `invariants`,
            and is divided out together with G.
        compact_act: (t ∈ R^compact_dim, θ) ↦ its action.
        compact_orbits: whether G is compact, so that exp(−L/T) dθ is proper without confinement.
        notes: what a reader of the result has to know about the model, one line each.
        training: the examples that L is a mean over, for models trained by SGD.
        charted: whether `invariants` are coordinates of Θ/G, and `section` leads back; if not, runs measure only, and
            `invariants` are whatever scalars of θ they measure (`models.measure_only`).
        canonical: whether ∇χ = ξ everywhere, which is checked: then M = G, and log |det M| need not be computed.
        no_law: why a model without a chart has no law, where that is known; empty where nobody has given coordinates.
        orbit_dim: of a model without a chart, q minus the dimension of what L depends on, where that is not the group's
            dimension.

    Source: arXiv:2601.06597, Methods, eqs. (19)–(22).

    >>> import langevin_ib
    >>> model = Model(
    ...     name="product",
    ...     group="R_{>0}",
    ...     group_dim=1,
    ...     loss=lambda p: 0.5 * (p[0] * p[1] - 1.0) ** 2,
    ...     act=lambda t, p: p * jnp.exp(t * jnp.array([1.0, -1.0])),
    ...     moment_map=lambda p: jnp.stack([0.5 * (p[0] ** 2 - p[1] ** 2)]),
    ...     invariants=lambda p: {"z": p[0] * p[1]},
    ...     section=lambda z: jnp.sqrt(z["z"]) * jnp.ones(2),
    ...     init=lambda key: 0.5 + jax.random.uniform(key, (2,)),
    ...     branches={"z": (POSITIVE,)},
    ...     cut=("z",),
    ... )
    >>> langevin_ib.check_model(model, jax.random.key(0))
    """

    name: str
    group: str
    group_dim: int
    loss: Callable[[Params], Float[Array, ""]]
    act: Callable[[Float[Array, " m"], Params], Params]
    moment_map: Callable[[Params], Float[Array, " m"]]
    invariants: Callable[[Params], Invariants]
    section: Callable[[Invariants], Params]
    init: Callable[[Key[Array, ""]], Params]
    scalars: Callable[[Invariants], Scalars] | None = None
    branches: Mapping[str, tuple[Branch, ...]] = field(default_factory=dict)
    home: Mapping[str, Branch] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    flat: tuple[str, Callable[[Invariants], Float[Array, ""]]] | None = None
    slice_terms: Callable[[Invariants], SliceTerms] | None = None
    discrete: tuple[str, ...] = ()
    compact_dim: int = 0
    compact_act: Callable[[Float[Array, " mc"], Params], Params] | None = None
    compact_orbits: bool = False
    notes: tuple[str, ...] = ()
    training: Training | None = None
    charted: bool = True
    canonical: bool = False
    no_law: str = ""
    orbit_dim: int | None = None

    @property
    def bounded_orbits(self) -> bool:
        """Whether every orbit has a finite volume, being compact or a point, so that exp(−L/T) dθ is proper."""
        return self.compact_orbits or self.group_dim == 0

    def branches_of(self, scalar: str) -> tuple[Branch, ...]:
        """The intervals on which a scalar's laws live."""
        return self.branches.get(scalar, (LINE,))

    def home_of(self, scalar: str) -> Branch:
        """The branch that the laws of a scalar are written on."""
        return self.home.get(scalar, self.branches_of(scalar)[-1])


def _start(model: Model) -> tuple[Params, Invariants]:
    params = model.init(jax.random.key(0))
    return params, model.invariants(params)


def _labels(model: Model) -> dict[str, Array]:
    invariants = _start(model)[1]
    return {name: invariants[name] for name in model.discrete}


class Chart:
    """The coordinates of Θ/G as one flat vector x ∈ R^k, discrete invariants held at their home values.

    `of` maps parameters to x, `invariants` and `section` map x back; `scalars` gives the numbers that are histogrammed;
    by default these are the coordinates, under `coordinate_names`.

    >>> from langevin_ib.models.families.uv import uv
    >>> chart = Chart(uv())
    >>> chart.dim, chart.scalar_names
    (1, ('z',))
    >>> chart.section(jnp.array([4.0])).tolist()
    [2.0, 2.0]
    """

    model: Model
    params_shape: Any
    labels: dict[str, Float[Array, "..."]]
    shapes: dict[str, tuple[int, ...]]
    sizes: dict[str, int]
    dim: int
    coordinate_names: tuple[str, ...]
    scalar_names: tuple[str, ...]

    def __init__(self, model: Model):
        self.model = model
        # Traced, not computed: every operation that is done on its own is a program to compile.
        order: list[str] = []  # the model's own, for what comes of a trace is sorted by name

        def start() -> tuple[Params, Invariants]:
            params, invariants = _start(model)
            order[:] = invariants
            return params, invariants

        self.params_shape, invariants = jax.eval_shape(start)
        invariants = {name: invariants[name] for name in order}
        self.labels = jax.jit(lambda: _labels(model))() if model.discrete else {}
        self.shapes = {name: jnp.shape(value) for name, value in invariants.items() if name not in model.discrete}
        self.sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        self.dim = sum(self.sizes.values())
        self.coordinate_names = tuple(
            name if shape == () else f"{name}_{i + 1}"
            for name, shape in self.shapes.items()
            for i in range(self.sizes[name])
        )
        names: list[str] = []

        def scalars(invariants: Invariants) -> None:
            names[:] = self._scalars({name: invariants[name] for name in order})

        jax.eval_shape(scalars, invariants)
        self.scalar_names = tuple(names)

    def of(self, params: Params) -> Float[Array, " k"]:
        """x(θ)."""
        return self.flatten(self.model.invariants(params))

    def flatten(self, invariants: Invariants) -> Float[Array, " k"]:
        """z as one vector, in the order in which the model names its invariants."""
        return jnp.concatenate([jnp.ravel(invariants[name]) for name in self.shapes])

    def invariants(self, x: Float[Array, " k"]) -> Invariants:
        """x as the mapping that the model's section takes."""
        parts, start = {}, 0
        for name, shape in self.shapes.items():
            parts[name] = x[start : start + self.sizes[name]].reshape(shape)
            start += self.sizes[name]
        return parts | {name: value.astype(x.dtype) for name, value in self.labels.items()}

    def section(self, x: Float[Array, " k"]) -> Params:
        """s(x)."""
        return self.model.section(self.invariants(x))

    def scalars(self, x: Float[Array, " k"]) -> Scalars:
        """The scalars at x."""
        return self._scalars(self.invariants(x))

    def scalars_of(self, params: Params) -> Scalars:
        """The scalars of a point of the full space."""
        return self._scalars(self.model.invariants(params))

    def at_home(self, params: Params) -> Array:
        """Whether θ lies in the component of the quotient that the laws are written on."""
        invariants = self.model.invariants(params)
        agree = [
            jnp.all(invariants[name] == value.astype(invariants[name].dtype)) for name, value in self.labels.items()
        ]
        return jnp.all(jnp.stack(agree)) if agree else jnp.asarray(True)

    def start_within(self, windows: Mapping[str, Branch], key: Key[Array, ""]) -> Params:
        """The model's start, drawn again (100 times at most) until every scalar lies in its window, or else its branch.

        A chain that is held on the slice cannot leave its component: z > 0 and z < 0 of uv meet in one point.
        """
        home = {name: windows.get(name, self.model.home_of(name)) for name in self.scalar_names}

        def away(carry):
            params, _, tries = carry
            scalars = self.scalars_of(params)
            inside = [(scalars[name] > low) & (scalars[name] < high) for name, (low, high) in home.items()]
            return ~jnp.all(jnp.stack(inside)) & (tries < HOME_TRIES)

        def again(carry):
            _, key, tries = carry
            key, fresh = jax.random.split(key)
            return self.model.init(fresh), key, tries + 1

        return jax.lax.while_loop(away, again, (self.model.init(key), key, 0))[0]

    def _scalars(self, invariants: Invariants) -> Scalars:
        if self.model.scalars is not None:
            return dict(self.model.scalars(invariants))
        return dict(zip(self.coordinate_names, self.flatten(invariants), strict=True))
