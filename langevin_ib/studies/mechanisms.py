"""Which mechanism balances the factors? One model, from the same starts on the same batches, under five at one η.

Gradient flow keeps the charge χ = ½(|a|² − |b|²), and still the ratio |a|/|b| tends to one where training grows the
norms. A ratio near one is therefore no evidence of noise. Here the same seeds train by gradient descent, by SGD, by SGD
with label noise, by SGD whose noise is isotropized (of the same norm, in a random direction) at each step, and by
gradient descent with weight decay; a sixth run is isotropic Langevin dynamics at the one T that has the strength of
SGD's noise. The reduction of the imbalance under each of them is split into growth and loss of charge, and compared
with that of gradient descent.

    config, runs, statistics → mechanisms → report, plot → `python -m langevin_ib.attribute`
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from langevin_ib import geometry, signals
from langevin_ib.dynamics.noise import kind_of
from langevin_ib.ensemble.checkpoint import resumes
from langevin_ib.ensemble.runner import Stages
from langevin_ib.ensemble.trajectories import record_steps
from langevin_ib.errors import DivergenceError
from langevin_ib.geometry import charges
from langevin_ib.models import Model, Params
from langevin_ib.session import Session, silent
from langevin_ib.studies.balance import across, describe, mean, state
from langevin_ib.studies.config import AttributionConfig
from langevin_ib.studies.settling import (
    DESCENT,
    LANGEVIN,
    MECHANISMS,
    SGD,
    Setting,
    descent,
    follow,
    isotropic_temperature,
    langevin,
    noise_meter,
    settle,
    simulate,
)

SCHEMA_VERSION = 2
NUDGE = 0.1  # along an orbit, to see whether a generator rescales a pair
PAIR = 1e-6


class Attribution(NamedTuple):
    """The settled configuration, the content of `summary.json`, and the folder of states to remove once it is saved."""

    config: AttributionConfig
    summary: dict[str, Any]
    checkpoints: Path | None = None


def attribute(
    config: AttributionConfig, *, report: Stages | None = None, checkpoints: Path | None = None
) -> Attribution:
    """Run every mechanism, and summarise its effect on the ratios and on the charge.

    Args:
        config: what to run.
        report: called with the name of each stage, returns a progress callback for it or None.
        checkpoints: a folder in which a long stage saves its state, and from which the same configuration resumes;
            `langevin_ib.output.attribution.save_attribution` removes it.

    Raises:
        ConfigError: a setting does not fit the model.
        ModelError: a user's model breaks its contract.
        DivergenceError: a seed diverged under a mechanism other than Langevin, whose T is no setting but measured.
    """
    with Session(report or silent).open() as session:
        return _run_mechanisms(config, session, checkpoints)


def _run_mechanisms(config: AttributionConfig, session: Session, checkpoints: Path | None) -> Attribution:
    began, report = time.perf_counter(), session.report
    report("planning")
    setting = settle(config)
    config = setting.config
    place = None if checkpoints is None else checkpoints / f"attribution-{config.name}-{config.digest()}"
    signals.expect(place)
    parameters = {
        name: simulate(setting, descent(setting, name), name, report, place) for name in MECHANISMS if name != LANGEVIN
    }
    report("noise meter")
    temperatures = isotropic_temperature(setting, parameters[SGD])
    meter = noise_meter(setting, parameters[SGD][:, -1])
    diverged = None
    try:
        kernel = langevin(setting, float(temperatures.mean()))
        parameters[LANGEVIN] = simulate(setting, kernel, LANGEVIN, report, place)
    except DivergenceError as error:
        diverged = f"diverged at this T: {error.diverged} of {error.chains} seeds, the first by step {error.step}"
    report("summary")
    paths = {name: follow(setting, trajectory) for name, trajectory in parameters.items()}
    entries: dict[str, Any] = {name: describe(path) for name, path in paths.items()}
    if diverged is not None:
        entries[LANGEVIN] = {"diverged": diverged}
    resumed = resumes(place)

    model = setting.model
    directions = model.group_dim + model.compact_dim
    summary = {
        "schema_version": SCHEMA_VERSION,
        "config": config.to_dict(),
        "model": {"group": model.group, "generators": model.group_dim, "parameters": setting.size},
        "run": {
            "seeds": config.seeds,
            "steps": config.steps,
            "time": config.time,
            "record_steps": record_steps(int(config.steps or 0)),
            "resumed": resumed,
            "wall_s": 0.0,
        },
        "start": state(paths[DESCENT], 0),
        "mechanisms": entries,
        "across": across(paths, DESCENT, SGD),
        "noise": {
            "temperature": mean(temperatures),
            "metered_seeds": len(meter.trace),
            "typical": {name: float(part[0]) for name, part in meter._asdict().items()},
            "mean": {name: float(np.mean(part)) for name, part in meter._asdict().items()},
            "isotropic_orbit_share": directions / setting.size,
        },
        "notes": [*_collect_notes(setting), *([] if session.note is None else [session.note])],
    }
    summary["run"]["wall_s"] = round(time.perf_counter() - began, 1)
    return Attribution(config, summary, place)


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


def _collect_notes(setting: Setting) -> list[str]:
    """Qualifications of the numbers: how seeds differ, how batches are drawn, where ρ is no log ratio."""
    config, training = setting.config, setting.training
    notes = []
    rescales = pair_generators(setting.model, setting.start_of(0))
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
    if kind_of(str(config.noise)).population and training.size > 1:
        notes.append(
            f"gradient descent, weight decay, Langevin, the mean gradient of isotropized noise and the loss use each "
            f"seed's data set of {training.size} examples, which stands in for the population of the fresh batches"
        )
    if "replacement" in kind_of(str(config.noise)).settings.takes:
        notes.append(f"minibatches are {config.batch_size} examples drawn independently, with replacement")
    if setting.tasks is not None and "x" in setting.tasks:
        x = np.asarray(setting.tasks["x"])
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
