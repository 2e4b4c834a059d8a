"""The ensembles of one run: the draws, their companion at half the step, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from langevin_ib.background import Later
from langevin_ib.config.kernels import FOUR_POINT, NORMAL
from langevin_ib.config.run import RunConfig
from langevin_ib.dynamics.kernel import KernelKind, Target, kernel_kind
from langevin_ib.dynamics.schedules import scheduled_kernel
from langevin_ib.ensemble.records import Limit, Schedule, Stage
from langevin_ib.ensemble.runner import Ensemble, starting_points
from langevin_ib.errors import ConfigError
from langevin_ib.geometry import contract
from langevin_ib.laws.family import Reduction
from langevin_ib.models import Params
from langevin_ib.runs.ends import ends_of
from langevin_ib.runs.identities import Claims, langevin_claims, of_inner
from langevin_ib.runs.observe import build_observer, sample_of
from langevin_ib.runs.plan import Plan
from langevin_ib.runs.reference import Coming, Observed, Tuned, reference_schedule, tune
from langevin_ib.runs.scheduled import highest_temperature, target_at
from langevin_ib.session import STREAM, Session, key_of
from langevin_ib.statistics.sample import Sample

RUNAWAY_TEMPERATURES = 1e6  # a chain this far above zero, and 1000 × above every start, has left for good
RUNAWAY_STARTS = 1e3
# Of the run's chains, in the companion and in the reference, by whether the run has draws in plenty, of one coordinate
# by a kernel that is not dear: their steps are several times as dear, and they are to bound a bias by the margin.
CHECK_SHARE = {False: 4, True: 16}
LEAST_CHECK = 256
SELDOM = 16  # records from one with an identity to the next, on four points, where steps cost next to nothing
CHECK_WIDTH = 64  # of a block, so that so few chains use several cores


class Drawn(NamedTuple):
    """An ensemble's statistics and the step size that made them."""

    sample: Sample
    step_size: float


class Chains(NamedTuple):
    """Of an ensemble whose step is set by rule: its stream of keys, its increments, h, how many, and when.

    Values that change do so in the same physical time: `slowed` of its steps are one of the run's.
    """

    stream: str
    increments: str
    step_size: float
    size: int
    schedule: Schedule
    slowed: int = 1


def own_starts(config: RunConfig, reduction: Reduction) -> Later[Params]:
    """The model's own starts of the run's chains, in the background from when they are first asked for."""

    def starts() -> Params:
        return starting_points(reduction.model.init, _starts_key(config, "chains"), config.chains, _dtype(config))

    return reduction.program("starts of the chains", lambda: Later(starts))


def _starts_key(config: RunConfig, stream: str) -> Key[Array, ""]:
    return jax.random.fold_in(key_of(config, "starts"), STREAM[stream])


def _dtype(config: RunConfig) -> Any:
    return jnp.float64 if config.precision == 64 else jnp.float32


@dataclass(frozen=True)
class Sampler:
    """Makes the ensembles that a plan asks for.

    Attributes:
        plan: what to run.
        session: progress, chunks, checkpoints.
    """

    plan: Plan
    session: Session

    @property
    def kernel(self) -> KernelKind:
        """The kernel of the run's own chains."""
        return kernel_kind(str(self.plan.config.integrator))

    def draws(self) -> Coming:
        """The run's own chains."""
        plan = self.plan
        if self.kernel.tuning is None:
            step_size = float(plan.config.step_size)
            claims = langevin_claims(plan, self.kernel, step_size, plan.schedule)
            if plan.config.increments == FOUR_POINT:
                claims = replace(claims, every=SELDOM)
            chains = Chains("chains", str(plan.config.increments), step_size, plan.config.chains, plan.schedule)
            return self._by_rule(self._stage("sampling"), chains, claims)
        settings = plan.config.settings_of("kernel")
        return tune(
            Tuned(self.kernel, settings, plan.config, plan.reduction, plan.config.chains),
            self._observed(self.kernel),
            key=self._key("chains"),
            schedule=plan.schedule,
            step_size=None if isinstance(plan.config.step_size, str) else plan.config.step_size,
            stage=self._stage("sampling"),
        )

    def companion(self, step_size: float) -> Coming:
        """The same physical time at h/2 with fewer chains, on normals whatever drives the run.

        Its distance is that of the step and that of the increments.
        """
        s = self.plan.schedule
        schedule = Schedule(2 * s.burn_in, 2 * s.thin, s.records, s.segments, s.shown)
        claims = langevin_claims(self.plan, self.kernel, 0.5 * step_size, schedule)
        chains = Chains("companion", NORMAL, step_size / 2, self._fewer, schedule, slowed=2)
        return self._by_rule(self._stage("check at h/2", CHECK_WIDTH), chains, claims)

    def reference(self, step_size: float) -> Coming:
        """A kernel without bias on the same potential as the draws, made at `step_size`, with starts of its own."""
        config, kernel = self.plan.config, kernel_kind(self.plan.config.reference)
        time = step_size * self.plan.schedule.steps
        return tune(
            Tuned(kernel, kernel.settings(), config, self.plan.reduction, self._fewer),
            self._observed(kernel),
            key=self._key("reference"),
            schedule=reference_schedule(config.steps, time),
            stage=self._stage("reference", CHECK_WIDTH),
        )

    def drawn(self, coming: Coming) -> Drawn:
        """Run an ensemble."""
        observer, claims = coming.observed
        sample = sample_of(coming.ensemble.run(), observer, self.plan.scalars, claims, coming.schedule)
        return Drawn(sample, coming.step_size)

    def _observed(self, kernel: KernelKind) -> Observed:
        """What is measured on the chains of a kernel whose step is tuned, and what they are held to."""
        return self._observer(langevin_claims(self.plan, kernel, 0.0, None))

    def _observer(self, claims: Claims) -> Observed:
        plan = self.plan
        return Observed(build_observer(plan.reduction, plan.edges, plan.config.slab, claims), claims)

    @property
    def _fewer(self) -> int:
        """Chains of an ensemble that the run is held against."""
        chains, reduction = self.plan.config.chains, self.plan.reduction
        plenty = reduction.chart.dim == 1 and reduction.proper and self.kernel.settings.dear == 1
        share = CHECK_SHARE[plenty]
        return max(chains // share, min(chains, LEAST_CHECK))

    def _by_rule(self, stage: Stage, chains: Chains, claims: Claims) -> Coming:
        stream, increments, step_size, size, schedule, slowed = chains
        config, model = self.plan.config, self.plan.reduction.model
        potential = self.plan.reduction.confinement.potential(model)
        dtype = _dtype(config)
        # The companion's chains begin elsewhere too: the two ensembles are compared as independent.
        reduction = self.plan.reduction
        init = model.init
        if reduction.confinement.orbit == "held":
            windows = {
                name: (float(self.plan.edges[name][0]), float(self.plan.edges[name][-1])) for name in reduction.cut
            }
            init = partial(reduction.chart.start_within, windows)
        starts, key = self._starts(init, stream, size, dtype)
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        settings = config.settings_of("kernel")
        if config.schedules:
            kernel = scheduled_kernel(self.kernel, settings, target_at(config, reduction, like, slowed), step_size)
            claims = of_inner(claims)
        else:
            target = Target(potential, config.temperature, like, model.moment_map)
            kernel = self.kernel.build(settings, target, step_size)
        kernel = kernel if kernel.increments is None else kernel.on(increments)
        highest = float(jax.jit(lambda xs: jnp.max(jax.lax.map(potential, xs, batch_size=1024)))(starts))
        highest_allowed = RUNAWAY_TEMPERATURES * highest_temperature(config) + RUNAWAY_STARTS * highest
        observed = self._observer(claims)
        ensemble = Ensemble(
            kernel,
            starts,
            observed.observer,
            key=key,
            schedule=schedule,
            limit=Limit(step_size, lambda params: potential(params) > highest_allowed, reduction.confinement.remedy),
            stage=stage,
        )
        return Coming(ensemble.compiled(), step_size, observed, schedule)

    def _starts(self, init: Callable, stream: str, size: int, dtype: Any) -> tuple[Params, Key[Array, ""]]:
        """Where chains begin, and their key: of the run's own chains where another's ended, if it is to go on there."""
        config, key = self.plan.config, self._key(stream)
        if stream == "chains" and config.from_run is not None:
            ended = ends_of(config, self.plan.reduction.model)
            return ended.starts(dtype), ended.key(key)
        if stream == "chains" and init is self.plan.reduction.model.init:
            return own_starts(config, self.plan.reduction).result(), key
        return starting_points(init, _starts_key(config, stream), size, dtype), key

    def _key(self, use: str):
        return key_of(self.plan.config, use)

    def _stage(self, stage: str, width: int | None = None) -> Stage:
        made = self.session.stage(self.plan.config, stage)
        if width is None or jax.default_backend() != "cpu":  # an accelerator takes all chains at once
            return made
        return replace(made, placement=replace(made.placement, width=width))


def check_sample(plan: Plan, sample: Sample, remedy: tuple[str, ...] = ()) -> None:
    """Whether the model keeps its contract where the chains went, and each window has draws; before anything else.

    `remedy` is what is said, besides, where one has none.

    Raises:
        BreachError, ConfigError: it does not, one has none.
    """
    if not plan.reduction.measured:
        contract.check_draws(plan.reduction.model, sample.ends)
    for name in sample.empty:
        if plan.config.slab is not None and sample.counted(name) == 0:
            raise ConfigError("slab", "wide enough for some draw to lie on it", f"{plan.config.slab:g}")
        window = f"{plan.edges[name][0]!s} {plan.edges[name][-1]!s}"
        why = "".join(f" ({line})" for line in remedy)
        raise ConfigError("window", f"where the chains go: no draw of {name} fell into it{why}", window)
