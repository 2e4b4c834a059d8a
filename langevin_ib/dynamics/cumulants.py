"""Cumulants of a step's gradient along a direction, and its whole distribution there where a kind knows it."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from langevin_ib.dynamics.covariance import each_example
from langevin_ib.dynamics.hook import Hook
from langevin_ib.dynamics.kicks import AlongPlaces, Kicks
from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.noise_records import Along, Cumulants, Each
from langevin_ib.dynamics.populations import USUAL, Points, points_of
from langevin_ib.errors import LawError
from langevin_ib.models.base import Params
from langevin_ib.models.losses import LabelSpread
from langevin_ib.models.training import Training


def cumulants(training: Training, noise: Noise, params: Params, direction: Float[Array, " q"]) -> Cumulants:
    """Cumulants of e·ĝ for independent steps.

    Args:
        training: of the model.
        noise: with independent steps, not isotropized.
        params: θ.
        direction: e.

    Raises:
        LawError: those of this noise are not known (`states_cumulants`).
    """
    known, m = noise.record.cumulants, noise.scale
    if noise.record.hook is not None and not noise.isotropized:
        stated = _hook_cumulants(training, noise.record.hook, params, direction)
        return Cumulants(m**2 * stated.second, m**3 * stated.third, m**4 * stated.fourth)
    if known is None or not states_cumulants(noise, training):
        labels = "" if known is None or noise.isotropized else " where noise of labels is not normal (outcomes)"
        raise LawError(f"law sgd: the third and fourth cumulants of {noise.words} are not known{labels}")
    each = each_example(training, noise, params, None)
    stated = known(noise, _along(noise, each, direction))
    return stated if m == 1.0 else Cumulants(m**2 * stated.second, m**3 * stated.third, m**4 * stated.fourth)


def states_cumulants(noise: Noise, training: Training | None) -> bool:
    """Whether its kind states the cumulants of its steps, and knows the noise of their labels if that is not normal."""
    kind = noise.record
    if kind.cumulants is None or noise.isotropized:
        return False
    return kind.outcomes or noise.labels.silent or training is None or training.example_loss.squared


def _hook_cumulants(training: Training, hook: Hook, params: Params, direction: Float[Array, " q"]) -> Cumulants:
    """Those that it states, the others from the draws behind its Σ."""
    second, third, fourth = hook.moments(training, params, direction).mean(axis=0)
    excess = fourth - 3.0 * second**2
    if hook.covariance is not None:
        second = direction @ hook.batches(training, params)[0] @ direction
    stated = hook.stated_third(training, params, direction)
    return Cumulants(second, third if stated is None else stated, excess)


def kicks_of(noise: Noise, along: AlongPlaces, count: int) -> Kicks:
    """The distribution of e·ĝ of a noise whose kind knows it, scaled about its mean."""
    known = noise.record.kicks
    if known is None:
        raise LawError(f"law map: {noise.words} says nothing of the distribution of its kicks (kicks of its NoiseKind)")
    if along.moves is not None and not noise.record.outcomes:
        raise LawError(
            f"law map: the kicks of {noise.words} know normal noise of labels alone, and that of this loss is another "
            "(outcomes of its NoiseKind)"
        )
    kicks = known(noise, along, count)
    if noise.scale == 1.0:
        return kicks
    mean = (kicks.weights * kicks.values).sum(axis=1, keepdims=True)
    return Kicks(mean + noise.scale * (kicks.values - mean), kicks.weights)


def along_direction(
    training: Training, noise: Noise, params: Params, direction: Float[Array, " q"], points: Points | None = None
) -> Along:
    """What each example gives along e; of a population by a finer quadrature than its covariance asks for.

    Args:
        training: of the model.
        noise: of the steps.
        params: θ.
        direction: e.
        points: of the examples and their noisy labels; None for the usual ones of a kick.

    Raises:
        LawError: an example has more than one noisy label of a loss that is no square, whose outcomes are not listed.
    """
    each = each_example(training, noise, params, None, points or points_of(training, noise, USUAL))
    if each.spread is not None and each.spread.moves.shape[2] > 1:
        raise LawError("law map: with more than one label an example the kicks of label noise are not known")
    return _along(noise, each, direction)


def _along(noise: Noise, each: Each, direction: Float[Array, " q"]) -> Along:
    slope = each.jacobian @ direction
    if each.spread is not None:
        return _along_outcomes(each, each.spread, slope, direction)
    label = (each.weight * noise.label_noise) ** 2 * jnp.sum(slope**2, axis=1)
    return Along(each.share, each.gradients @ direction, label, each.weight * slope)


def _along_outcomes(
    each: Each, spread: LabelSpread, slope: Float[Array, "n o"], direction: Float[Array, " q"]
) -> Along:
    """`_along` where noisy labels have outcomes of their own: cumulants of an example are sums over its labels."""
    n, _, labels, _ = spread.moves.shape
    moves = each.weight * jnp.einsum("nked,ned->nek", spread.moves, slope.reshape(n, labels, -1))
    second, third, fourth = (moves**power @ spread.chance for power in (2, 3, 4))
    listed = (spread.chance, moves[:, 0]) if labels == 1 else (None, None)
    return Along(
        each.share,
        each.gradients @ direction,
        jnp.sum(second, axis=1),
        each.weight * slope,
        *listed,
        jnp.sum(third, axis=1),
        jnp.sum(fourth - 3.0 * second**2, axis=1),
    )


def batch_cumulants(noise: Noise, along: Along) -> Cumulants:
    """Of B examples drawn independently: those of one example divided by B, B², B³.

    With h_i = e·g_i and l_i² = w² s² |J_i e|², the central moments of an example are Var h + E l², E (h − h̄)³ +
    3 E (h − h̄) l² and E (h − h̄)⁴ + 6 E (h − h̄)² l² + 3 E l⁴; where label noise is not normal, κ₃ of it joins them as
    E κ₃, and as 4 E (h − h̄) κ₃, and κ₄ as E κ₄.
    """
    share, label, size = along.share, along.label, noise.batch_size or along.share.size
    spread = along.gradient - share @ along.gradient
    second = share @ (spread**2 + label)
    third = share @ (spread**3 + 3.0 * spread * label)
    fourth = share @ (spread**4 + 6.0 * spread**2 * label + 3.0 * label**2) - 3.0 * second**2
    if along.third is not None and along.fourth is not None:
        third = third + share @ along.third
        fourth = fourth + share @ (4.0 * spread * along.third + along.fourth)
    return Cumulants(second / size, third / size**2, fourth / size**3)


def gaussian_cumulants(noise: Noise, along: Along) -> Cumulants:
    """Of label noise on the whole data set: Gaussian, of variance E l²/n, or a mean of n independent outcomes."""
    del noise
    zero, n = jnp.zeros_like(along.label[0]), along.share.size
    second = along.share @ along.label / n
    if along.third is None or along.fourth is None:
        return Cumulants(second, zero, zero)
    return Cumulants(second, along.share @ along.third / n**2, along.share @ along.fourth / n**3)
