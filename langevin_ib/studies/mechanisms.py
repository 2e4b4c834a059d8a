"""Which mechanism balances the factors? One model, from the same starts on the same batches, under five at one η.

Gradient flow keeps the charge χ = ½(|a|² − |b|²), and still the ratio |a|/|b| tends to one where training grows the
norms. A ratio near one is therefore no evidence of noise. Here the same seeds train by gradient descent, by SGD, by SGD
with label noise, by SGD whose noise is isotropized (of the same norm, in a random direction) at each step, and by
gradient descent with weight decay; a sixth run is isotropic Langevin dynamics at the one T that has the strength of
SGD's noise. The reduction of the imbalance under each of them is split into growth and loss of charge, and compared
with that of gradient descent.

    config, presets → settling → training, following, meter → balance → `StudyResult`
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from langevin_ib import geometry, signals
from langevin_ib.dynamics.meter import NoiseReport
from langevin_ib.dynamics.noise import kind_of
from langevin_ib.ensemble.checkpoint import refusals, resumes
from langevin_ib.errors import DivergenceError
from langevin_ib.geometry import charges
from langevin_ib.models import Model, Params
from langevin_ib.session import Session
from langevin_ib.statistics.records import Meter
from langevin_ib.statistics.seeds import mean
from langevin_ib.studies.balance import (
    DESCENT,
    LANGEVIN,
    SGD,
    Balance,
    Diverged,
    ModelFacts,
    NoiseFacts,
    RunFacts,
    across,
    describe,
    state,
)
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.following import follow
from langevin_ib.studies.meter import isotropic_temperature, noise_meter
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import KEPT, OFF_BY, Paths, Trained
from langevin_ib.studies.result import StudyResult, Values, folder_name
from langevin_ib.studies.settling import arms, batch_noise, langevin, settle
from langevin_ib.studies.training import Arm, train

NUDGE = 0.1  # along an orbit, to see whether a generator rescales a pair
PAIR = 1e-6


def attribute(config: AttributionConfig, session: Session) -> StudyResult:
    """Run every mechanism, and summarise its effect on the ratios and on the charge.

    Args:
        config: what to run.
        session: an open one. Under its `checkpoints` a long stage saves its state, and the same configuration resumes;
            whoever saves the result removes them.

    Raises:
        ConfigError: a setting does not fit the model.
        ModelError: a user's model breaks its contract.
        DivergenceError: a seed diverged under a mechanism other than Langevin, whose T is no setting but measured.
    """
    began, report = time.perf_counter(), session.report
    report("planning")
    problem, config = settle(config)
    signals.name(folder_name("attribution", config.name, config.to_dict()))
    runs, temperatures, meter, diverged = _run_mechanisms(problem, config, session)
    report("summary")
    paths = {name: follow(problem, run) for name, run in runs.items()}
    size = runs[SGD].flat.shape[-1]
    balance = Balance(
        config=config,
        model=ModelFacts(problem.model.group, problem.model.group_dim, size),
        run=_run_facts(config, runs[SGD], session),
        start=state(paths[DESCENT], 0),
        mechanisms={name: describe(path) for name, path in paths.items()} | diverged,
        across=across(paths),
        noise=_noise_facts(problem, temperatures, meter, size),
    )
    return StudyResult(
        name="attribution",
        subject=config.name,
        config=config.to_dict(),
        seeds=config.seeds,
        rows={name: _row(path) for name, path in paths.items()},
        balance=balance,
        notes=(*_collect_notes(problem, config), *refusals(session.checkpoints)),
        wall_s={"attribution": round(time.perf_counter() - began, 1)},
        checkpoints=session.checkpoints,
    )


class _Runs(NamedTuple):
    """Of each mechanism that did not diverge, its run; the T and the meter of SGD's noise; how Langevin diverged."""

    trained: dict[str, Trained]
    temperatures: Float[np.ndarray, " seed"]
    meter: NoiseReport
    diverged: dict[str, Diverged]


def _run_mechanisms(problem: Problem, config: AttributionConfig, session: Session) -> _Runs:
    report = session.report

    def trained(name: str, arm: Arm) -> Trained:
        kept = session.checkpoint(config.digest(), name)
        return train(problem, arm, stage=name, progress=report(name), checkpoint=kept)

    protocols = arms(config)
    runs = {name: trained(name, arm) for name, arm in protocols.items()}
    report("noise meter")
    temperatures = isotropic_temperature(problem, protocols[SGD], runs[SGD])
    meter = noise_meter(problem, protocols[SGD], runs[SGD])
    try:
        runs[LANGEVIN] = trained(LANGEVIN, langevin(config, float(temperatures.mean())))
    except DivergenceError as error:
        how = f"diverged at this T: {error.diverged} of {error.chains} seeds, the first by step {error.step}"
        return _Runs(runs, temperatures, meter, {LANGEVIN: Diverged(how)})
    return _Runs(runs, temperatures, meter, {})


def _run_facts(config: AttributionConfig, trained: Trained, session: Session) -> RunFacts:
    steps = tuple(int(step) for step in trained.steps)
    batches = batch_noise(config).batches
    return RunFacts(config.seeds, steps[-1], config.time, steps, batches, resumes(session.checkpoints))


def _noise_facts(
    problem: Problem, temperatures: Float[np.ndarray, " seed"], meter: NoiseReport, size: int
) -> NoiseFacts:
    model = problem.model
    return NoiseFacts(
        temperature=mean(temperatures),
        metered_seeds=len(meter.trace),
        typical=Meter(*(float(part[0]) for part in meter)),
        mean=Meter(*(float(np.mean(part)) for part in meter)),
        isotropic_orbit_share=(model.group_dim + model.compact_dim) / size,
    )


def _row(paths: Paths) -> Mapping[str, Values]:
    """What each seed came to."""
    return {OFF_BY: paths.off_by[:, -1], KEPT: paths.charge_left[:, -1], "loss": paths.loss[:, -1]}


def pair_generators(model: Model, params: Params) -> Bool[np.ndarray, " m"]:
    """Which generators rescale a vector pair, ρ_a(exp(t e_a)·θ) = ρ_a(θ) + 2t, of conserved charge, ∇χ_a = ξ_a."""

    @jax.jit
    def check_generators(params: Params) -> Bool[Array, " m"]:
        moves = NUDGE * jnp.eye(model.group_dim)
        before = charges.log_ratio(model, params)
        after = jnp.diagonal(jax.vmap(lambda t: charges.log_ratio(model, model.act(t, params)))(moves))
        fields, gradients = geometry.fundamental_fields(model, params), geometry.moment_jacobian(model, params)
        conserved = jnp.max(jnp.abs(fields - gradients), axis=1) < PAIR * (1.0 + jnp.max(jnp.abs(fields), axis=1))
        return conserved & (jnp.abs(after - before - 2.0 * NUDGE) < PAIR)

    return np.asarray(check_generators(params))


def _collect_notes(problem: Problem, config: AttributionConfig) -> list[str]:
    """Qualifications of the numbers: how seeds differ, how batches are drawn, where ρ is no log ratio."""
    training, tasks, record = problem.training, problem.tasks, kind_of(str(config.noise))
    notes = []
    rescales = pair_generators(problem.model, jax.tree.map(lambda leaf: leaf[0], problem.starts()))
    if not rescales.all():
        notes.append(
            f"{int((~rescales).sum())} of {rescales.size} generators do not rescale a vector pair of conserved charge: "
            "for them ρ = artanh(2χ/|ξ|²) is no log ratio of norms, "
            "and the split into growth and charge is one of numbers"
        )
    if training.draw_task is None:
        notes.append("the model has one task: seeds differ by start and batches only")
    elif config.one_task:
        notes.append("all seeds train on the model's own task: they differ by start and batches only")
    if record.population and training.size > 1:
        notes.append(
            f"gradient descent, weight decay, Langevin, the mean gradient of isotropized noise and the loss use each "
            f"seed's data set of {training.size} examples, which stands in for the population of the fresh batches"
        )
    if "replacement" in record.settings.takes:
        notes.append(f"minibatches are {config.batch_size} examples drawn independently, with replacement")
    if tasks is not None and "x" in tasks:
        x = np.asarray(tasks["x"])
        sizes = np.any(x.reshape(*x.shape[:2], -1) != 0, axis=-1).sum(axis=1)
        if sizes.min() < sizes.max():
            notes.append(
                f"data sets have {sizes.min()} to {sizes.max()} examples and are filled up to the longest, so that a "
                "batch from a shorter one holds fewer of its own: its Σ is larger, by up to "
                f"{sizes.max() / sizes.min() - 1:.0%}"
            )
    if config.momentum:
        notes.append("Langevin has no momentum; its step is η/(1 − μ), and T is that of this rate")
    return notes
