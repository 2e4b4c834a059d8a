"""What a run finds out of a noise that is a function, from its draws, before its first step."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from langevin_ib.dynamics.cumulants import cumulants, states_cumulants
from langevin_ib.dynamics.descent import check_covariance, sgd
from langevin_ib.dynamics.meter import NoiseReport, measure
from langevin_ib.dynamics.noise import Noise
from langevin_ib.errors import ConfigError
from langevin_ib.models.base import Chart, Model, Params
from langevin_ib.models.training import Training
from langevin_ib.statistics.records import NoiseMeasured, Uncertain
from langevin_ib.statistics.tails import Tail, tail_of

log = logging.getLogger(__name__)

BATCHES, PER_BATCH, BLOCK = 16, 16384, 1024
LEAST_PER_BATCH = 1024  # of a function whose own `draws` are few
DIRECTIONS = 8  # along which the mean is held against ∇L
SIGMAS = 6.0
ROUNDING = 1e-9
CORE = 0.99  # share of the draws that stands for a noise without a variance where a plan needs its size
FROZEN = 1e-6  # error of a mean over itself, below which the draws are one
SILENT = 1e-9  # size of the noise over that at a start, below which there is none


class Drawn(NamedTuple):
    """Draws of ĝ − ∇L at a point.

    Attributes:
        second: mean of their outer products in each batch.
        sizes: their norms.
        core: mean of the outer products of those whose norm is not among the largest.
        along: their parts along some directions.
    """

    second: Float[np.ndarray, "batch q q"]
    sizes: Float[np.ndarray, "batch draw"]
    along: Float[np.ndarray, "batch draw d"]


def per_batch(noise: Noise) -> int:
    """Draws of one of the 16 batches at a point: as many as the function's own `draws`, between 1024 and 16384."""
    hook = noise.record.hook
    wanted = PER_BATCH if hook is None else hook.draws
    return int(np.clip(BLOCK * (wanted // BLOCK), LEAST_PER_BATCH, PER_BATCH))


def drawn_at(model: Model, noise: Noise, params: Params, directions: Float[Array, "q d"], key: Key[Array, ""]) -> Drawn:
    """Draws at θ, of the steps that chains take."""
    kernel = sgd(model, params, noise=noise, lr=1.0)
    start, flat = kernel.init(params, None), ravel_pytree(params)[0]

    def block(key: Key[Array, ""]) -> Any:
        slope = ravel_pytree(jax.grad(model.loss)(params))[0]
        steps = kernel.draw(key, BLOCK)
        spread = jax.vmap(lambda one: flat - ravel_pytree(kernel.step(one, start, None)[0].position)[0] - slope)(steps)
        return spread.T @ spread / BLOCK, jnp.linalg.norm(spread, axis=1), spread @ directions

    blocks = per_batch(noise) // BLOCK
    keys = jax.random.split(key, (BATCHES, blocks))
    second, sizes, along = jax.jit(lambda keys: jax.lax.map(lambda row: jax.lax.map(block, row), keys))(keys)
    return Drawn(
        np.asarray(second.mean(axis=1)),
        np.asarray(sizes).reshape(BATCHES, per_batch(noise)),
        np.asarray(along).reshape(BATCHES, per_batch(noise), -1),
    )


def measure_hook(
    model: Model, noise: Noise, point: Params, start: Params, chart: Chart, lr: float, key: Key[Array, ""]
) -> tuple[NoiseReport, NoiseMeasured]:
    """The noise at the minimum and what is known of it, after its draws have been held against what it states.

    Args:
        model: with what the noise needs.
        noise: of a hook.
        point: the minimum of the loss, in float64.
        start: one of the chains' starts: there is nothing to see where the noise ends at the minimum.
        chart: of the scalars along whose normals skewness is told.
        lr: η.
        key: of the draws.

    Raises:
        ConfigError: its mean is not ∇L, or its covariance or third cumulant not what it states.
    """
    hook = noise.record.hook
    assert hook is not None  # whoever calls has looked
    keys = jax.random.split(key, 4)
    normals = jax.jit(lambda p: _normals(chart, p))
    here, there = (
        drawn_at(model, noise, at, jnp.concatenate([normals(at).T, _frame(at, keys[0])], axis=1), one)
        for at, one in zip((point, start), keys[1:3], strict=True)
    )
    names = chart.scalar_names
    silent = float(np.median(here.sizes)) <= SILENT * float(np.median(there.sizes))
    tail = tail_of(there.sizes)
    if not silent and (own := tail_of(here.sizes)).exponent < tail.exponent:
        tail = own
    _say_tail(noise, tail)
    if tail.mean:
        for drawn in (here, there):
            _check_mean(noise, drawn.along[:, :, len(names) :], model.loss, point)
    if tail.variance and hook.covariance is not None:
        for at in (point, start):
            check_covariance(model, noise, at, keys[3])
    second = here.second if tail.variance else _core(here)
    stated = None
    if hook.covariance is not None and tail.variance and model.training is not None:
        stated = noise.scale**2 * hook.batches(model.training, point)
    whole = jnp.asarray(second.mean(axis=0)) if stated is None else stated[0]
    report = jax.tree.map(float, jax.jit(lambda c: measure(model, c, point, lr))(whole))
    errors = None
    if stated is None and tail.variance and not silent:
        rest = jnp.asarray((second.sum(axis=0) - second) / (BATCHES - 1))
        each = jax.jit(lambda cs: jax.lax.map(lambda c: measure(model, c, point, lr), cs))(rest)
        errors = tuple(float(np.std(np.asarray(part)) * (BATCHES - 1) ** 0.5) for part in each)
    skewness: dict[str, Uncertain] = {}
    if tail.highest >= 3 and not silent:
        skewness = {name: _skewness(here.along[:, :, i]) for i, name in enumerate(names)}
        if hook.third is not None and model.training is not None:
            for i, name in enumerate(names):
                direction = normals(point)[i]
                third = noise.scale**3 * float(hook.stated_third(model.training, point, direction) or 0.0)
                _check_third(noise, here.along[:, :, i], third, name)
                skewness[name] = Uncertain(third / float(direction @ whole @ direction) ** 1.5, None)
    draws = BATCHES * per_batch(noise)
    return report, NoiseMeasured(draws, errors, skewness, tail)


def stated_skewness(training: Training, noise: Noise, point: Params, chart: Chart) -> dict[str, Uncertain]:
    """κ₃/κ₂^{3/2} along the normal of each scalar, of a noise whose kind states its cumulants; else nothing."""
    if noise.record.noiseless or not states_cumulants(noise, training):
        return {}

    def ratios(params: Params) -> Any:
        each = jax.vmap(lambda normal: cumulants(training, noise, params, normal))(_normals(chart, params))
        return each.third / jnp.maximum(each.second, 1e-300) ** 1.5, each.second

    values, second = map(np.asarray, jax.jit(ratios)(point))
    if not (second > 0).all():
        return {}
    return {name: Uncertain(float(value), None) for name, value in zip(chart.scalar_names, values, strict=True)}


def _frame(params: Params, key: Key[Array, ""]) -> Float[Array, "q d"]:
    """Random directions."""
    q = ravel_pytree(params)[0].size
    return jnp.linalg.qr(jax.random.normal(key, (q, q)))[0][:, :DIRECTIONS]


def _normals(chart: Chart, params: Params) -> Float[Array, "k q"]:
    """The unit normals of the scalars."""
    flat, unravel = ravel_pytree(params)

    def scalars(x):
        values = chart.scalars_of(unravel(x))
        return jnp.stack([values[name] for name in chart.scalar_names])

    normals = jax.jacrev(scalars)(flat)
    return normals / jnp.linalg.norm(normals, axis=1, keepdims=True)


def _core(drawn: Drawn) -> Float[np.ndarray, "batch q q"]:
    """A covariance that all draws have but the largest, scaled from that of all by what these are of tr Σ̂."""
    kept = drawn.sizes <= np.quantile(drawn.sizes, CORE)
    share = float((drawn.sizes**2 * kept).sum() / (drawn.sizes**2).sum())
    return share * drawn.second


def _skewness(along: Float[np.ndarray, "batch draw"]) -> Uncertain:
    """κ₃/κ₂^{3/2} with its standard error, by the jackknife over batches."""
    second, third = (along**2).mean(axis=1), (along**3).mean(axis=1)
    rest = [(part.sum() - part) / (len(part) - 1) for part in (second, third)]
    each = rest[1] / np.maximum(rest[0], 1e-300) ** 1.5
    whole = third.mean() / max(float(second.mean()), 1e-300) ** 1.5
    return Uncertain(float(whole), float(np.std(each) * (len(each) - 1) ** 0.5))


def _check_mean(noise: Noise, along: Float[np.ndarray, "batch draw d"], loss: Any, point: Params) -> None:
    """The mean of ĝ − ∇L has to vanish along each direction, within six standard errors.

    Refused wrongly with probability below 1e-6 where the noise has a variance.
    """
    flat = along.reshape(-1, along.shape[-1])
    mean, error = flat.mean(axis=0), flat.std(axis=0) / len(flat) ** 0.5
    size = float(np.abs(flat).mean())
    wrong = ~(np.abs(mean) <= SIGMAS * error + ROUNDING * (size + float(np.abs(loss(point))) + 1.0))
    if wrong.any():
        i = int(np.argmax(np.where(wrong, np.abs(mean) / np.maximum(error, 1e-300), 0.0)))
        got = (
            f"{noise.kind}: along a direction, at a point, the mean of ĝ − ∇L over {len(flat)} draws is "
            f"{mean[i]:.4g} ± {error[i]:.1g}"
        )
        if error[i] <= FROZEN * np.abs(mean[i]):
            got += ": it does not vary with the key (NumPy's random numbers are drawn once, when it is traced)"
        raise ConfigError("noise", "a function whose mean over keys is the gradient of the loss", got)


def _check_third(noise: Noise, along: Float[np.ndarray, "batch draw"], stated: float, name: str) -> None:
    cubes = along.ravel() ** 3
    mean, error = float(cubes.mean()), float(cubes.std()) / cubes.size**0.5
    if not abs(mean - stated) <= SIGMAS * error + ROUNDING * float(np.abs(cubes).mean()):
        got = (
            f"{noise.kind}: along the normal of {name} the third moment of its draws is {mean:.4g} ± {error:.1g}, and "
            f"it states {stated:.4g}"
        )
        raise ConfigError("noise", "a function whose draws have the third cumulant that it states", got)


def _say_tail(noise: Noise, tail: Tail) -> None:
    """Before the first step: which moments of a noise its draws do not have."""
    if tail.highest < 3:
        log.warning("%s", heavy(noise.words, tail))


def heavy(words: str, tail: Tail) -> str:
    """Which moment a noise lacks, and what follows, in one line."""
    if not tail.variance:
        mean = "" if tail.mean else ", and may not even have a mean"
        return (
            f"the noise of {words} has no variance{mean} ({tail.words}): there is no covariance Σ, and no law that "
            "needs one"
        )
    return f"the noise of {words} has no third moment ({tail.words}): there is no skewness, and no own error of (S)"
