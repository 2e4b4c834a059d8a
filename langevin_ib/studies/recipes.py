"""How the problems of figures 2 to 6 are drawn, or made of a user's data: for each seed a task and a truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from langevin_ib import design
from langevin_ib.models import Model, Task, build_model, stack_tasks
from langevin_ib.models.training import gaussian
from langevin_ib.studies.presets import Preset
from langevin_ib.studies.problem import Problem, draw_tasks

SPARSE = 3  # non-zero amplitudes of figure 5
WAVELETS = 6  # non-zero amplitudes of the design that is not in the paper
SEGMENTS = ((50, 1.0), (70, -1.5), (40, 0.5), (40, 2.0))  # lengths and heights of figure 6


def student(preset: Preset, seeds: int, seed: int, **options: Any) -> Problem:
    """Students of random teachers of their own form: `relu` (figure 2) and `attention` (figure 3).

    Args:
        preset: model and options.
        seeds: number of them.
        seed: of all randomness.
        options: that replace the preset's.
    """
    options = {**preset.options, **options}

    def restart(scale: float) -> Model:
        return build_model(preset.model, {**options, "start_scale": scale})

    start_scale = float(options["start_scale"])
    model = restart(start_scale)
    return Problem(model, seeds, seed, draw_tasks(model, seeds, seed), restart, start_scale)


def completion(
    seeds: int,
    seed: int,
    *,
    observed: float = 0.2,
    spectrum: str = "15,5",
    size: int = 20,
    start_scale: float = 0.1,
    data: dict[str, np.ndarray] | None = None,
) -> Problem:
    """Figure 4: a 20 × 20 matrix of rank 2, of which each entry is observed with probability 20%.

    Args:
        data: `T_observed`, `mask` and, if known, `T_true`, for all seeds: these then differ by their starts.
    """
    shape = (size, size) if data is None else data["mask"].shape
    # With a user's data the model's own task is not used.
    options = {"rows": shape[0], "cols": shape[1], "rank": min(shape), "ridge": 0.0, "seed": seed}
    recipe = {"observed": observed, "spectrum": spectrum} if data is None else {"observed": 1.0, "spectrum": "1"}

    def restart(scale: float) -> Model:
        return build_model("matrix", {**options, **recipe, "start_scale": scale})

    model = restart(start_scale)
    tasks: Task
    if data is None:
        tasks = draw_tasks(model, seeds, seed)
        truth = np.asarray(tasks["target"])
    else:
        tasks = stack_tasks([_build_observed_task(data) for _ in range(seeds)])
        truth = _repeat(data.get("T_true"), seeds)
    return Problem(model, seeds, seed, tasks, restart, start_scale, lambda p: p["U"] @ p["V"].T, truth)


def together(parts: list[Problem]) -> Problem:
    """Several matrix problems of one shape as one, all seeds of the first, then all of the second, and so on.

    Their starts are those of as many seeds; their tasks keep the target and the mask alone: gradient descent and
    Bernoulli masks use nothing else.
    """
    first = parts[0]
    tasks = {name: np.concatenate([part.own_tasks[name] for part in parts]) for name in ("target", "mask")}
    truth = [part.truth for part in parts if part.truth is not None]
    return dataclasses.replace(
        first, tasks=tasks, seeds=sum(part.seeds for part in parts), truth=np.concatenate(truth) if truth else None
    )


def _build_observed_task(data: dict[str, np.ndarray]) -> Task:
    mask = data["mask"].astype(float)
    i, j = np.nonzero(mask)
    rows, cols = mask.shape
    x = np.concatenate([np.eye(rows)[i], np.eye(cols)[j]], axis=1)
    target = np.where(mask > 0, data["T_observed"], 0.0)
    return {"target": target, "mask": mask, "x": x, "y": target[i, j], "weight": float(len(x))}


def features(t: Float[np.ndarray, "*n"], frequencies: int) -> Float[np.ndarray, "*n D"]:
    """cos(2πkt), k = 0, ..., D − 1."""
    return np.cos(2.0 * np.pi * np.asarray(t)[..., None] * np.arange(frequencies))


def sparse_spectrum(
    seeds: int,
    seed: int,
    *,
    frequencies: int = 64,
    points: int = 32,
    noise: float = 0.1,
    start_scale: float = 1e-2,
    data: dict[str, np.ndarray] | None = None,
) -> Problem:
    """Figure 5: y = Σ_k w_k cos 2πkt from 32 noisy points, three of 64 amplitudes not zero, w = w₁ ⊙ w₂.

    Args:
        data: `t_train`, `y_train` and, if known, `w_true`, for all seeds.
    """
    if data is None:
        tasks = [_draw_spectrum(np.random.default_rng([seed, i]), frequencies, points, noise) for i in range(seeds)]
        x, y, truth = (np.stack(part) for part in zip(*tasks, strict=True))
    else:
        frequencies = len(data["w_true"]) if "w_true" in data else frequencies
        x = _repeat(features(data["t_train"], frequencies), seeds)
        y, truth = _repeat(data["y_train"], seeds), _repeat(data.get("w_true"), seeds)
    build = partial(design.sparse, design.operators.identity(frequencies))
    return linear_problem(build, x, y, start_scale=start_scale, truth=truth, seed=seed)


def _draw_spectrum(random: np.random.Generator, frequencies: int, points: int, noise: float):
    w = np.zeros(frequencies)
    support = random.choice(np.arange(1, frequencies), SPARSE, replace=False)
    w[support] = random.uniform(1.0, 2.0, SPARSE) * random.choice([-1.0, 1.0], SPARSE)
    x = features(random.uniform(size=points), frequencies)
    return x, x @ w + gaussian(random, (points,), noise), w


def piecewise(
    seeds: int,
    seed: int,
    *,
    measurements: int = 60,
    noise: float = 0.1,
    start_scale: float = 0.3,
    data: dict[str, np.ndarray] | None = None,
) -> Problem:
    """Figure 6: a signal of four constant pieces, N = 200, from 60 noisy Gaussian measurements, x = cumsum(w₁ ⊙ w₂).

    Args:
        data: `A`, `y` and, if known, `x_true`, for all seeds.
    """
    if data is None:
        signal = np.concatenate([np.full(length, height) for length, height in SEGMENTS])
        tasks = [_measure_signal(np.random.default_rng([seed, i]), signal, measurements, noise) for i in range(seeds)]
        x, y = (np.stack(part) for part in zip(*tasks, strict=True))
        truth = _repeat(signal, seeds)
    else:
        x, y = _repeat(data["A"], seeds), _repeat(data["y"], seeds)
        truth = _repeat(data.get("x_true"), seeds)
    build = partial(design.sparse, design.operators.gradient(x.shape[2]))
    return linear_problem(build, x, y, start_scale=start_scale, truth=truth, seed=seed)


def _measure_signal(random: np.random.Generator, signal: Float[np.ndarray, " N"], measurements: int, noise: float):
    x = gaussian(random, (measurements, signal.size), measurements**-0.5)
    return x, x @ signal + gaussian(random, (measurements,), noise)


def wavelet(
    seeds: int, seed: int, *, size: int = 128, measurements: int = 48, noise: float = 0.1, start_scale: float = 1e-2
) -> Problem:
    """A signal x of six Haar wavelets out of N = 128, from 48 noisy Gaussian measurements, x = Hᵀ(w₁ ⊙ w₂).

    Not in the paper. Places are uniform over all wavelets but the mean, amplitudes ±U(1, 2).
    """
    operator = design.operators.haar(size)

    def task(random: np.random.Generator):
        w = np.zeros(size)
        support = random.choice(np.arange(1, size), WAVELETS, replace=False)
        w[support] = random.uniform(1.0, 2.0, WAVELETS) * random.choice([-1.0, 1.0], WAVELETS)
        signal = operator.pseudo_inverse @ w
        return *_measure_signal(random, signal, measurements, noise), signal

    tasks = [task(np.random.default_rng([seed, i])) for i in range(seeds)]
    x, y, truth = (np.stack(part) for part in zip(*tasks, strict=True))
    build = partial(design.sparse, operator)
    return linear_problem(build, x, y, start_scale=start_scale, truth=truth, seed=seed)


def linear_problem(
    build: Callable[..., design.Design],
    x: Real[np.ndarray, "..."],
    y: Real[np.ndarray, "..."],
    *,
    start_scale: float,
    truth: Real[np.ndarray, "..."] | None = None,
    seed: int = 0,
) -> Problem:
    """A linear problem y ≈ X w for a design of any construction, one data set for each seed.

    The loss is the mean squared error, so that η is the paper's.

    Args:
        build: `design.sparse` or `design.spectral` but for the data and the start: takes `measure`, `y`, `start_scale`.
        x: X of each seed, (seed, n, d).
        y: (seed, n).
        start_scale: standard deviation of a start's entries, positive.
        truth: w of each seed, (seed, d), where it is known.
        seed: of the starts.

    Raises:
        ValueError: the shapes do not fit, or a number is not finite.
    """
    X, Y = design.operators.finite_array("x", x, 3), design.operators.finite_array("y", y, 2)
    if Y.shape != X.shape[:2]:
        raise ValueError(f"y must be of shape (seed, n) = {X.shape[:2]} as in x, got {Y.shape}")
    if not start_scale > 0:
        raise ValueError(f"start_scale must be positive, got {start_scale:g}")
    restart = partial(_build_design, build, X[0], Y[0])
    model = restart(start_scale)
    tasks = {"x": X @ model.operator.pseudo_inverse, "y": Y, "weight": np.full(len(Y), 2.0)}
    known = None if truth is None else design.operators.finite_array("truth", truth, 2)
    if known is not None and known.shape != (len(Y), X.shape[2]):
        raise ValueError(f"truth must be of shape (seed, d) = {(len(Y), X.shape[2])}, got {known.shape}")
    return Problem(model, len(Y), seed, tasks, restart, start_scale, model.recover, known)


def _build_design(build: Callable[..., design.Design], x: Any, y: Any, scale: float) -> design.Design:
    return build(measure=x, y=y, start_scale=scale)


def _repeat(array: np.ndarray | None, seeds: int) -> Any:
    return None if array is None else np.broadcast_to(array, (seeds, *array.shape))
