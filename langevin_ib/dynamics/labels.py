"""A model under noisy labels: where ℓ is no square, SGD descends the mean of ℓ over them, which is another loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Array, Float

from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.populations import from_population, points_of, population_of
from langevin_ib.models.base import Invariants, Model, Params, SliceTerms
from langevin_ib.models.losses import mean_over_labels
from langevin_ib.models.training import Task, Training, cast, data_risk


def with_noisy_labels(model: Model, noise: Noise) -> Model:
    """The model whose loss is w E ℓ(f, ỹ) + penalty, ỹ the noisy labels of a step: what the step descends on average.

    Itself for squares, to whose gradient noise on labels adds mean zero, and without such noise.

    Args:
        model: any.
        noise: of the steps.

    Raises:
        ConfigError: the model has not what the noise needs.
    """
    training = model.training
    if training is None or noise.labels.silent or training.example_loss.squared:
        return model
    noise.check(model)
    noisy = replace(training, labels=noise.labels, risk=_risk(training, noise))

    def loss(params: Params) -> Float[Array, ""]:
        return noisy.risk(training.task, params)

    terms = model.slice_terms

    def slice_terms(z: Invariants) -> SliceTerms:
        assert terms is not None
        return terms(z)._replace(loss=loss(model.section(z)))

    notes = (*model.notes, "the loss is the mean over noisy labels, which is what these steps descend")
    return replace(model, loss=loss, training=noisy, slice_terms=None if terms is None else slice_terms, notes=notes)


def _risk(training: Training, noise: Noise) -> Callable[[Task, Params], Float[Array, ""]]:
    """(task, θ) ↦ the mean over examples and noisy labels; over a population by quadrature."""
    loss = mean_over_labels(training.example_loss, noise.labels)
    if not from_population(training, noise):
        mean = data_risk(training.predict, training.penalty, loss)
        # A step takes examples as they are; of a matrix the mask is one of its entries, not of those observed.
        return lambda task, params: mean({name: task[name] for name in task if name != "mask"}, params)
    points = points_of(training, noise)

    def risk(task: Task, params: Params) -> Float[Array, ""]:
        examples, share, weight = population_of(training, noise, cast(task, params), params, points)
        return weight * (share @ loss.each(training.predict(params, examples.x), examples.y)) + training.penalty(params)

    return risk
