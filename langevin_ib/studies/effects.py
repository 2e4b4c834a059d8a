"""The attribution of a recovery: the run without noise, with noise, from other starts, and its change of error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from langevin_ib.dynamics.noise import Noise
from langevin_ib.errors import DivergenceError
from langevin_ib.session import Session
from langevin_ib.statistics.seeds import band, paired
from langevin_ib.studies.parts import train_kept
from langevin_ib.studies.problem import Problem
from langevin_ib.studies.recorded import Recorded, Trained
from langevin_ib.studies.result import Effect
from langevin_ib.studies.training import Arm, recovered

ROWS = 20  # recorded times of the runs of a sweep
Errors = Callable[[Float[np.ndarray, "seed ..."]], Float[np.ndarray, " seed"]]


def other_starts(arm: Arm, scales: Sequence[float]) -> dict[str, Arm]:
    """The same arm from starts of other standard deviations."""
    return {f"start {scale:g}": dataclasses.replace(arm, start_scale=scale) for scale in scales}


def label_noises(arm: Arm, sizes: Sequence[float]) -> dict[str, Arm]:
    """The same arm with label noise of each standard deviation s."""
    return {f"label noise {s:g}": dataclasses.replace(arm, noise=Noise("label", None, s)) for s in sizes}


def starts_and_noises(arm: Arm, scales: Sequence[float], sizes: Sequence[float]) -> dict[str, Arm]:
    """An arm without noise from other starts, with label noise, and with isotropic noise as strong as that."""
    isotropic = {
        f"isotropic, as label {s:g}": dataclasses.replace(arm, noise=Noise("label", None, s, isotropized=True))
        for s in sizes
    }
    return other_starts(arm, scales) | label_noises(arm, sizes) | isotropic


def sweep(
    problem: Problem,
    own: Trained,
    errors: Errors,
    arms: Mapping[str, Arm],
    session: Session,
    *,
    reference: str,
    settle: int = 0,
) -> tuple[Effect, ...]:
    """The recovery error under each arm, against that of the reference, paired over seeds.

    Args:
        problem: with its tasks.
        own: the figure's own run, which is the arm `reference`.
        errors: recovered arrays ↦ error of each seed.
        arms: the others.
        session: an open one.
        reference: name of the figure's own arm.
        settle: steps of gradient descent after a run with noise, before its error is taken: that of the last noisy
            iterate would include its jitter, not only the solution that noise selects. It is compared with the
            figure's own run with as many steps more, an effect of its own.

    Returns:
        The reference, then each arm, with intervals such that those of all arms hold together in 95%.
    """

    def end_of(name: str, arm: Arm, starts: Recorded | None = None) -> Recorded:
        return train_kept(session, problem, arm, name, rows=ROWS, starts=starts).ends

    def error_of(ends: Recorded) -> Float[np.ndarray, " seed"]:
        return errors(recovered(problem, ends))

    base = base_settled = error_of(own.ends)
    effects = [Effect(reference, "reference", band(base))]
    noisy = [arm.lr for arm in arms.values() if _kind_of(arm) == "noise"]
    if settle and noisy:
        name = f"{settle} steps more"
        base_settled = error_of(end_of(name, _quiet(noisy[0], settle), own.ends))
        effects.append(Effect(name, "reference", band(base_settled), settled=settle))
    for name, arm in arms.items():
        kind, last_iterate = _kind_of(arm), None
        settles = settle > 0 and kind == "noise"
        try:
            ends = end_of(name, arm)
            if settles:
                last_iterate = band(error_of(ends))
                ends = end_of(f"{name}, {settle} steps more", _quiet(arm.lr, settle), ends)
            error = error_of(ends)
        except DivergenceError as fault:
            diverged = f"{fault.diverged} of {fault.chains} seeds diverged, the first by step {fault.step}"
            effects.append(Effect(name, kind, None, diverged=diverged))
            continue
        effect = paired(error, base_settled if settles else base, len(arms))
        effects.append(
            Effect(name, kind, band(error), effect, settled=settle if settles else 0, last_iterate=last_iterate)
        )
    return tuple(effects)


def _quiet(lr: float, steps: int) -> Arm:
    return Arm(Noise("none"), lr, steps)


def _kind_of(arm: Arm) -> str:
    if not arm.noise.record.noiseless:
        return "noise"
    return "other" if arm.start_scale is None else "start"
