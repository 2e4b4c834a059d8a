"""The ensembles of one run: the draws, their companion at half the step, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from langevin_ib.checkpoint import Checkpoint
from langevin_ib.dynamics import euler_maruyama, leimkuhler_matthews
from langevin_ib.ensemble import Observer, Progress, Schedule, run_ensemble, starting_points
from langevin_ib.observe import Sample
from langevin_ib.plan import Plan
from langevin_ib.reference import SCHEDULE as REFERENCE_SCHEDULE
from langevin_ib.reference import run_mala

UNADJUSTED = {"leimkuhler-matthews": leimkuhler_matthews, "euler-maruyama": euler_maruyama}
RUNAWAY_TEMPERATURES = 1e6  # a chain this far above zero, and 1000 × above every start, has left for good
RUNAWAY_STARTS = 1e3
# One stream of random numbers for each use; the numbers are part of the interface "same seed, same run".
STREAM = {"check": 0, "starts": 1, "chains": 2, "companion": 3, "reference": 4}

Report = Callable[[str], Progress | None]


class Drawn(NamedTuple):
    """An ensemble's statistics and the step size that made them."""

    sample: Sample
    step_size: float


@dataclass(frozen=True)
class Sampler:
    """Makes the ensembles that a plan asks for.

    Attributes:
        plan: what to run.
        observer: what is measured on a chain.
        report: called with the name of each stage, returns a progress callback or None.
        chunk_records: records per device call; changes no number.
        checkpoints: folder for checkpoint files; None keeps none.
    """

    plan: Plan
    observer: Observer
    report: Report
    chunk_records: int | None = None
    checkpoints: Path | None = None

    def key(self, use: str):
        """The key of one use of randomness."""
        return jax.random.fold_in(jax.random.key(self.plan.config.seed), STREAM[use])

    def draws(self) -> Drawn:
        """The run's own chains."""
        plan = self.plan
        if plan.config.integrator == "mala":
            made = run_mala(
                plan.config, plan.reduction, self.observer,
                key=self.key("chains"), schedule=plan.schedule, **self._stage("sampling"),
            )  # fmt: skip
            return Drawn(Sample(made.result, self.observer), made.step_size)
        step_size = float(plan.config.step_size)
        return self._unadjusted("sampling", "chains", plan.config.chains, step_size, plan.schedule)

    def companion(self, step_size: float) -> Drawn:
        """The same physical time at h/2 with a quarter of the chains: half the steps of the run in all."""
        s = self.plan.schedule
        schedule = Schedule(2 * s.burn_in, 2 * s.thin, s.records, s.segments)
        chains = max(self.plan.config.chains // 4, min(self.plan.config.chains, 16))
        return self._unadjusted("check at h/2", "companion", chains, step_size / 2, schedule)

    def reference(self) -> Drawn:
        """MALA on the same potential, with its own starts and its own tuned step."""
        config = self.plan.config.replace(integrator="mala", step_size="auto", step_check=False)
        made = run_mala(
            config, self.plan.reduction, self.observer,
            key=self.key("reference"), schedule=REFERENCE_SCHEDULE, **self._stage("reference"),
        )  # fmt: skip
        return Drawn(Sample(made.result, self.observer), made.step_size)

    def _unadjusted(self, stage: str, stream: str, chains: int, step_size: float, schedule: Schedule) -> Drawn:
        config, model = self.plan.config, self.plan.reduction.model
        potential = self.plan.reduction.confinement.potential(model)
        dtype = jnp.float64 if config.precision == 64 else jnp.float32
        # The companion's chains begin elsewhere too: the two ensembles are compared as independent.
        starts = starting_points(model.init, jax.random.fold_in(self.key("starts"), STREAM[stream]), chains, dtype)
        like = jax.tree.map(lambda leaf: leaf[0], starts)
        kernel = UNADJUSTED[config.integrator](potential, like, temperature=config.temperature, step_size=step_size)
        highest = float(jax.jit(lambda xs: jnp.max(jax.lax.map(potential, xs, batch_size=1024)))(starts))
        limit = RUNAWAY_TEMPERATURES * config.temperature + RUNAWAY_STARTS * highest
        result = run_ensemble(
            kernel,
            starts,
            self.observer,
            key=self.key(stream),
            schedule=schedule,
            escaped=lambda params: potential(params) > limit,
            step_size=step_size,
            **self._stage(stage),
        )
        return Drawn(Sample(result, self.observer), step_size)

    def _stage(self, stage: str) -> dict[str, Any]:
        checkpoint = None
        if self.checkpoints is not None:
            name = stage.replace(" ", "-").replace("/", "-")
            versions = f"{version('langevin-ib')} {version('jax')}"
            checkpoint = Checkpoint(
                self.checkpoints / f"{name}.npz", f"{self.plan.config.digest()} {stage} {versions}"
            )  # fmt: skip
        return {
            "stage": stage,
            "progress": self.report(stage),
            "chunk_records": self.chunk_records,
            "checkpoint": checkpoint,
        }
