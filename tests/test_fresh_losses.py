"""Fresh examples with losses that are no squares: kicks, covariance and law `map` against NumPy written out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib.dynamics import populations
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.cumulants import along_direction, kicks_of
from langevin_ib.dynamics.kicks import AlongPlaces, Kicks, gathered
from langevin_ib.dynamics.labels import with_noisy_labels
from langevin_ib.dynamics.noise import Noise
from langevin_ib.dynamics.populations import points_of
from langevin_ib.laws.map import MapLaw
from langevin_ib.laws.sgd import Descent
from langevin_ib.laws.step_map import StepMap, check_map
from langevin_ib.models import build_model, data_training, uv
from langevin_ib.models.losses import loss_of
from langevin_ib.models.training import Examples, Fresh, Training, no_penalty

CHAINS = 30_000
POINT = np.array([1.1, 0.7])
DIRECTION = np.array([0.6, 0.8])


def logcosh(f, y):
    return jnp.sum(jnp.logaddexp(f - y, y - f))


def slope_of_huber(z, random, strength):
    x, epsilon = random
    return x * np.clip(x * (z - 1.0) - strength * epsilon, -1.0, 1.0)


def model_of(loss, noise):
    return with_noisy_labels(build_model("uv", {"loss": loss}), noise)


def kicks_at(model, noise, count):
    """Along a direction at a point, with the derivative of z along it."""
    points = points_of(model.training, noise, count)
    along = jax.jit(lambda p, e: along_direction(model.training, noise, p, e, points))(
        jnp.asarray(POINT), jnp.asarray(DIRECTION)
    )
    places = AlongPlaces(*(None if part is None else np.asarray(part)[None] for part in along))
    return kicks_of(noise, places, count), DIRECTION @ POINT[::-1]


def moments(values, weights):
    mean = (weights * values).sum()
    return np.array([mean, *((weights * (values - mean) ** power).sum() for power in (2, 3, 4))])


def test_many_kicks_on_a_few_points_keep_their_moments():
    """Of skewed ones with heavy tails; of fewer points than they spread over it does not."""
    random = np.random.default_rng(0)
    values, weights = random.standard_t(5, (2, 3000)) ** 3, random.uniform(size=(2, 3000))
    weights /= weights.sum(axis=1, keepdims=True)
    many, few = (gathered(Kicks(values, weights), points) for points in (200, 7))
    assert many.values.shape == (2, 200)
    for place in range(2):
        wanted = moments(values[place], weights[place])
        np.testing.assert_allclose(moments(many.values[place], many.weights[place]), wanted, rtol=1e-6)
        assert abs(moments(few.values[place], few.weights[place])[1] / wanted[1] - 1.0) > 1e-3


@pytest.mark.parametrize("batch", [1, 3])
def test_kicks_of_fresh_examples_with_noisy_labels_have_the_moments_of_the_slope(batch, x64):
    """Huber's slope, against a lattice of 10⁶ nodes; of a batch the cumulants are divided. At another strength: off."""
    nodes = np.linspace(-8.5, 8.5, 1001)
    share = np.exp(-0.5 * nodes**2) / np.exp(-0.5 * nodes**2).sum()
    noise = Noise("fresh", batch, 0.7)
    kicks, turn = kicks_at(model_of("huber", noise), noise, 14)
    found = moments(kicks.values[0], kicks.weights[0])

    def wanted(strength):
        values = turn * slope_of_huber(POINT.prod(), (nodes[:, None], nodes), strength)
        mean, second, third, fourth = moments(values, share[:, None] * share)
        excess = (fourth - 3.0 * second**2) / batch**3
        return np.array([mean, second / batch, third / batch**2, excess + 3.0 * (second / batch) ** 2])

    np.testing.assert_allclose(found, wanted(0.7), rtol=2e-3, atol=1e-4)
    assert abs(found[1] / wanted(0.75)[1] - 1.0) > 0.02
    training = model_of("huber", noise).training
    covariance = jax.jit(lambda p: gradient_noise(training, noise, p).covariance)(jnp.asarray(POINT))
    assert DIRECTION @ covariance @ DIRECTION == pytest.approx(wanted(0.7)[1], rel=1e-3)


def test_many_examples_have_the_covariance_of_noisy_labels_as_few_have(x64, monkeypatch):
    """Huber's slope, clipped, of labels 2.8 wide: by the normal integral at each example; the control: 17 nodes."""
    random = np.random.default_rng(0)
    x = random.normal(size=5000)
    y = 2.0 * x + 0.3 * random.normal(size=x.size)
    training = data_training(lambda p, x: x * p[0] * p[1], x, y, loss_of("huber"))
    noise, point = Noise("minibatch", batch_size=1, label_noise=2.8), jnp.array([2.0**0.5, 2.0**0.5])
    epsilon = np.linspace(-8.0, 8.0, 4001)
    share = np.exp(-0.5 * epsilon**2) / np.exp(-0.5 * epsilon**2).sum()
    slopes = np.clip((2.0 * x - y)[:, None] - 2.8 * epsilon, -1.0, 1.0) * x[:, None]
    wanted = 2.0 * ((slopes**2 @ share).mean() - (slopes @ share).mean() ** 2)

    def error():
        return float(gradient_noise(training, noise, point).covariance[0, 0]) / wanted - 1.0

    assert abs(error()) < 5e-3
    monkeypatch.setattr(populations, "FEWER", 17)
    assert abs(error()) > 0.1
    # The two rules that tell the error of `map` are not one.
    assert points_of(training, noise, 14).labels < points_of(training, noise, 28).labels


def test_a_population_of_many_inputs_is_sampled(x64):
    """x ~ N(0, 1) as the mean of five, so that kicks are those of one; another spread of x is far off."""

    def examples(task, normals):
        x = normals.sum(axis=-1) / 5.0**0.5
        return Examples(x, x + 0.5 * jnp.sin(3.0 * x))

    def training(shape, scale=1.0):
        def of(task, normals):
            inputs = normals if shape == (5,) else normals[..., None] * jnp.array([5.0**0.5, 0, 0, 0, 0]) * scale
            return examples(task, inputs)

        loss = loss_of(logcosh)
        return Training(
            lambda p, x: x * p[0] * p[1], {}, lambda task, p: p.sum(), no_penalty, None, Fresh(shape, of), loss
        )

    noise = Noise("fresh", 1)
    one, wide, five = (
        moments(*(part[0] for part in kicks_at(dataclasses.replace(uv(), training=each), noise, 14)[0]))
        for each in (training(()), training((), 1.1), training((5,)))
    )
    assert points_of(training((5,)), noise, 14).sampled
    np.testing.assert_allclose(five[1:2], one[1:2], rtol=2e-2)
    assert abs(wide[1] / one[1] - 1.0) > 0.05


def map_of(loss, noise, lr, middle):
    model = model_of(loss, noise)
    descent = Descent(model, unconfined(), noise, lr)
    check_map(descent, 1)
    return MapLaw(StepMap(descent, 0, np.array([middle]), model.home_of("z")), None)


def chi_square(counts, mass):
    """(χ² − degrees of freedom)/√(2 degrees of freedom) of counts of independent draws, about N(0, 1)."""
    wanted = counts.sum() * mass
    return (((counts - wanted) ** 2 / wanted).sum() - (len(mass) - 1)) / np.sqrt(2.0 * (len(mass) - 1))


def slope_of_logistic(z, random, rate):
    x, uniform = random
    y = np.where(uniform < rate, -1.0, 1.0)  # of an example of the other class all is the same with −x
    return -y * (x + 0.5) / (1.0 + np.exp(y * z * (x + 0.5)))


CASES = {
    "huber": ("huber", Noise("fresh", 1, 0.5), 0.1, 1.0, lambda z, r: slope_of_huber(
        z, (r.normal(size=z.size), r.normal(size=z.size)), 0.5)),
    "flips": ("logistic", Noise("fresh", 1, flip_rate=0.1), 0.1, 0.72, lambda z, r: slope_of_logistic(
        z, (r.normal(size=z.size), r.uniform(size=z.size)), 0.1)),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_law_of_the_map_of_fresh_examples(case, x64):
    """χ² within 5 for the right η fails in 1e-5 of keys; η wrong by a tenth is the control."""
    loss, noise, lr, middle, slope = CASES[case]
    law = map_of(loss, noise, lr, middle)
    edges = np.linspace(*law.window(1e-2), 21)
    mass, error = law.masses(edges)
    assert error < 5e-4

    def counts(rate):
        random, z = np.random.default_rng(0), np.full(CHAINS, middle)
        for _ in range(int(30 / lr)):
            z = z * (1.0 - rate * slope(z, random)) ** 2
        return np.histogram(z, edges)[0]

    assert abs(chi_square(counts(lr), mass)) < 5.0
    assert chi_square(counts(1.15 * lr), mass) > 8.0
