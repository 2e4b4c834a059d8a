"""Losses per example: closed forms, Σ against draws, flips, (S), `map` and the exact law, separable data."""

import dataclasses
import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

import langevin_ib
from langevin_ib import ConfigError, LawError, ModelError, RunConfig
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.cumulants import along_direction, cumulants, kicks_of, states_cumulants
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.kicks import AlongPlaces, label_kicks
from langevin_ib.dynamics.labels import with_noisy_labels
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws.base import bin_masses
from langevin_ib.laws.map import MapLaw
from langevin_ib.laws.sgd import CollapseError, Coordinate, Descent
from langevin_ib.laws.step_map import StepMap, check_growth, check_map
from langevin_ib.models import build_model, data_training, uv
from langevin_ib.models.losses import LOGISTIC, LOSSES, LabelNoise, Loss, huber, loss_of, noisy_labels
from langevin_ib.runs import measured_descent
from langevin_ib.runs.descent_minimum import check_collapse
from langevin_ib.runs.plan import build_reduction
from langevin_ib.runs.processes import sgd as run_of_sgd
from langevin_ib.runs.separable import check_separable
from langevin_ib.session import Session

POINT = np.array([1.3, 0.6])
RATE, DRAWS = 0.2, 20_000


def half_square(prediction, label):
    return 0.5 * jnp.sum((prediction - label) ** 2)


def with_loss(loss, y, x=None, predict=None, **more):
    """uv on labels y, with a loss of its own."""
    x = np.random.default_rng(0).normal(size=len(y)) if x is None else x
    training = data_training(predict or (lambda p, x: x * p[0] * p[1]), x, y, loss, **more)
    return dataclasses.replace(uv(), training=training, loss=lambda p: training.risk(training.task, p))


def signs(n=12, slope=1.0):
    random = np.random.default_rng(0)
    x = random.normal(size=n)
    return np.where(random.uniform(size=n) < special.expit(slope * x), 1.0, -1.0)


def classes_of(p, x):
    """Three classes of two inputs, the second factor left out: a function of the parameters is enough for Σ."""
    return x @ jnp.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.5]], p.dtype) * p[0] * p[1]


def three_classes():
    random = np.random.default_rng(1)
    return with_loss("cross-entropy", random.integers(0, 3, size=10), random.normal(size=(10, 2)), classes_of)


MODELS = {
    "logistic": lambda: with_loss("logistic", signs()),
    "huber": lambda: with_loss(huber(0.7), np.linspace(-2.0, 2.0, 12)),
    "own": lambda: with_loss(lambda f, y: jnp.log(jnp.cosh(f - y)), np.linspace(-2.0, 2.0, 12)),
    "cross-entropy": three_classes,
}


def noises_of(model):
    real = model.training.example_loss.labels == "real"
    strength = {"label_noise": 0.8} if real else {"flip_rate": RATE}
    own = Noise("bernoulli") if real else Noise("minibatch", 3, **strength)
    return [Noise("label", **strength), Noise("minibatch", 3, replace=False, **strength), own]


def test_names_of_losses():
    assert [loss_of(name).name for name in LOSSES] == ["squared", "logistic", "cross-entropy", "huber"]
    assert loss_of(half_square).name == "half_square"
    assert float(LOSSES["cross-entropy"].value(jnp.zeros((2, 3)), jnp.array([0.0, 2.0]))) == pytest.approx(
        2 * np.log(3)
    )
    with pytest.raises(ValueError, match="huber_threshold must be a positive number, got 0"):
        huber(0.0)


@pytest.mark.parametrize("noise", [Noise("label", None, 0.8), Noise("minibatch", 3, 0.8)], ids=lambda n: n.kind)
def test_squares_by_automatic_differentiation_are_those_in_closed_form(noise, x64):
    """Σ, the mean and cumulants of ½|f − y|² as a function, its noise by quadrature, are the closed ones of squares."""
    y, theta, e = np.linspace(-1.0, 2.0, 12), jnp.asarray(POINT), jnp.array([0.6, 0.8])
    closed, own = with_loss("squared", y), with_loss(half_square, y)

    def both(theta):
        known = [gradient_noise(model.training, noise, theta) for model in (closed, with_noisy_labels(own, noise))]
        return known, [cumulants(model.training, noise, theta, e) for model in (own, closed)]

    (wanted, found), moments = jax.jit(both)(theta)
    np.testing.assert_allclose(found.covariance, wanted.covariance, rtol=1e-12)
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12)
    for one, other in zip(*moments, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14)


def standard_errors(model, drawn, stated, stating=None):
    """How far mean and variance of draws of one noise along a direction are off what another states, in errors.

    It is of the same model, or of `stating`.
    """
    stating = model if stating is None else stating
    like, e = jnp.asarray(POINT), jnp.array([0.6, 0.8])
    kernel = sgd(model, like, noise=drawn, lr=1.0)
    start = kernel.init(like, None)

    def everything(key):
        moved = jax.vmap(lambda one: kernel.step(one, start, None)[0].position)(kernel.draw(key, DRAWS))
        known = gradient_noise(stating.training, stated, like)
        along = (like - moved - known.mean) @ e
        slope = jax.grad(with_noisy_labels(model, stated).loss)(like)
        return along, along**2 - e @ known.covariance @ e, known.mean - slope

    along, square, gap = map(np.asarray, jax.jit(everything)(jax.random.key(0)))
    assert np.abs(gap).max() < 1e-12  # the mean that a noise states is the slope of what its steps descend
    return [part.mean() / (part.std() / DRAWS**0.5) for part in (along, square)]


@pytest.mark.full
@pytest.mark.parametrize("name", MODELS)
def test_covariances_are_those_of_the_draws(name, x64):
    """Mean and variance within five standard errors: a right one fails in 1e-6 of keys."""
    model = MODELS[name]()
    for noise in noises_of(model):
        assert np.abs(standard_errors(model, noise, noise)).max() < 5.0


def test_flips_have_the_covariance_of_their_rate_and_not_of_another(x64):
    """Within five standard errors (1e-6 of keys each); of a rate wrong by a fifth the variance is 13 of them off."""
    model, noise = MODELS["logistic"](), Noise("label", flip_rate=RATE)
    assert np.abs(standard_errors(model, noise, noise)).max() < 5.0
    assert abs(standard_errors(model, noise, Noise("label", flip_rate=1.2 * RATE))[1]) > 8.0


def twice(p, x):
    """Two outputs of one example, so that noise of a label that both have is not that of two labels."""
    return jnp.stack([x * p[0] * p[1], x * p[0] * p[1]], axis=-1)


def test_labels_that_are_broadcast_have_noise_of_their_own_at_each_output(x64):
    """Within five standard errors (1e-6 of keys each); of one's own loss, with one label, the variance is larger."""
    e = jnp.array([0.6, 0.8])
    y, x, noise = np.linspace(-2.0, 2.0, 6)[:, None], np.linspace(0.5, 2.0, 6), Noise("label", label_noise=1.3)
    each, one = (with_loss(loss, y, x, twice) for loss in (huber(), lambda f, y: huber().value(f, y)))
    assert np.abs(standard_errors(each, noise, noise)).max() < 5.0
    variances = [e @ gradient_noise(model.training, noise, jnp.asarray(POINT)).covariance @ e for model in (each, one)]
    assert variances[1] > 1.5 * variances[0]


THREE = np.sign(np.random.default_rng(3).normal(size=(6, 3)))


def one_output(p, x):
    """An output of each example that three labels are of."""
    return (x * p[0] * p[1])[:, None]


@pytest.mark.full(only=["huber"])
@pytest.mark.parametrize("loss", ["squared", huber(1e3)], ids=["squared", "huber"])
def test_labels_of_one_output_have_noise_of_their_own_each(loss, x64):
    """Σ = 3 s² E x²/n ∇z ∇zᵀ, and so have draws within five standard errors (1e-6 of keys each).

    Of one ε for all three labels, the control, it would be 9 in place of 3.
    """
    x, noise = np.linspace(0.5, 2.0, 6), Noise("label", label_noise=1.3)
    model, slope = with_loss(loss, THREE, x, one_output), POINT[::-1]
    closed = 3.0 * 1.3**2 * np.mean(x**2) / 6 * np.outer(slope, slope)
    stated = jax.jit(lambda theta: gradient_noise(model.training, noise, theta).covariance)(jnp.asarray(POINT))
    np.testing.assert_allclose(stated, closed, rtol=1e-9)
    assert np.abs(standard_errors(model, noise, noise)).max() < 5.0
    shared = Noise("label", label_noise=1.3 * 3.0**0.5)
    assert abs(standard_errors(model, noise, shared)[1]) > 8.0


@pytest.mark.full
@pytest.mark.parametrize(
    ("loss", "noise"),
    [
        ("logistic", Noise("minibatch", 3, flip_rate=RATE)),
        (Loss("own", lambda f, y: jnp.sum(jnp.log(jnp.cosh(f - y))), additive=True), Noise("label", label_noise=1.3)),
    ],
    ids=["logistic", "own"],
)
def test_labels_of_one_output_have_noise_of_their_own_under_any_sum(loss, noise, x64):
    """Within five standard errors (1e-6 of keys each); and at another strength, the control, not."""
    model = with_loss(loss, THREE, np.linspace(0.5, 2.0, 6), one_output)
    assert np.abs(standard_errors(model, noise, noise)).max() < 5.0
    stronger = dataclasses.replace(noise, label_noise=2.0 * noise.label_noise, flip_rate=2.0 * noise.flip_rate)
    assert abs(standard_errors(model, noise, stronger)[1]) > 8.0


@pytest.mark.parametrize(("outcomes", "flip_rate"), [(False, 0.1), (True, 0.1), (False, 0.0)])
def test_cumulants_that_know_no_flips_are_taken_without_flips_alone(outcomes, flip_rate, x64):
    """Of a noise of one's own, which says so by `outcomes`, as for the law `map`."""
    kind = dataclasses.replace(Noise("minibatch", 3).record, outcomes=outcomes)
    training, e = MODELS["logistic"]().training, jnp.array([0.6, 0.8])
    noise = Noise("minibatch", 3, flip_rate=flip_rate)
    known = outcomes or not flip_rate
    with mock.patch.object(Noise, "record", kind):
        assert states_cumulants(noise, training) == known
        assert states_cumulants(noise, with_loss("squared", signs()).training)
        if not known:
            with pytest.raises(LawError, match=r"cumulants of .* are not known where noise of labels is not normal"):
                cumulants(training, noise, jnp.asarray(POINT), e)


def test_cumulants_of_two_labels_an_example_are_those_of_all_their_outcomes(x64):
    """2⁴ flips of two labels of two examples; at another rate they are others. There is no law `map` of them."""
    y, x = np.array([[1.0, -1.0], [-1.0, -1.0]]), np.array([0.7, 1.6])
    noise, theta, e = Noise("label", flip_rate=RATE), jnp.asarray(POINT), jnp.array([0.6, 0.8])
    training = with_loss("logistic", y, x, lambda p, x: jnp.stack([x * p[0], x * p[1] ** 2], axis=-1)).training
    flips = np.array(list(itertools.product([1.0, -1.0], repeat=4)))
    slope = jax.jit(jax.vmap(lambda y: e @ jax.grad(lambda p: training.risk({**training.task, "y": y}, p))(theta)))
    values = np.asarray(slope(jnp.asarray(y * flips.reshape(-1, 2, 2))))
    chance = np.where(flips > 0, 1.0 - RATE, RATE).prod(axis=1)
    second, third, fourth = (chance @ (values - chance @ values) ** power for power in (2, 3, 4))
    wanted = [second, third, fourth - 3.0 * second**2]
    other = Noise("label", flip_rate=1.2 * RATE)
    stated = jax.jit(lambda theta: [cumulants(training, of, theta, e) for of in (noise, other)])(theta)
    np.testing.assert_allclose(stated[0], wanted, rtol=1e-9)
    assert abs(float(stated[1].second) - wanted[0]) > 0.1 * wanted[0]
    with pytest.raises(LawError, match="law map: with more than one label an example"):
        along_direction(training, noise, theta, e)


def test_a_matrix_has_label_noise_on_its_observed_entries(x64):
    """As little noise as 1e-9 leaves its loss what it was, and as much as 3 does not."""
    model = build_model("matrix", {"loss": "huber", "observed": 0.7})
    theta = model.init(jax.random.key(0))
    little, much = (jax.jit(with_noisy_labels(model, Noise("label", label_noise=s)).loss)(theta) for s in (1e-9, 3.0))
    assert float(little) == pytest.approx(float(model.loss(theta)), rel=1e-6)
    assert float(much) > 1.1 * float(little)


@pytest.mark.parametrize(("loss", "classes"), [("logistic", 2), ("cross-entropy", 4)])
def test_flips_are_as_frequent_as_stated_and_go_to_each_other_class_alike(loss, classes):
    """χ² below its 1e-6 quantile; against a rate wrong by 5% above it."""
    of, n = loss_of(loss), 200_000
    old = jnp.ones(n)
    uniform = jax.random.uniform(jax.random.key(0), (n,))
    new = np.asarray(noisy_labels(of, LabelNoise(0.0, RATE), old, uniform, classes))
    labels = [1.0, -1.0] if loss == "logistic" else [1.0, 2.0, 3.0, 0.0]
    counts = np.array([(new == label).sum() for label in labels])
    assert counts.sum() == n

    def chi_square(rate):
        wanted = n * np.array([1 - rate] + [rate / (classes - 1)] * (classes - 1))
        return ((counts - wanted) ** 2 / wanted).sum()

    limit = stats.chi2(classes - 1).isf(1e-6)
    assert chi_square(RATE) < limit < chi_square(1.05 * RATE)
    assert (np.asarray(noisy_labels(of, LabelNoise(), old, uniform, classes)) == 1.0).all()


def test_the_models_own_loss_has_to_be_the_mean_over_its_examples():
    model = MODELS["logistic"]()
    langevin_ib.check_model(model, jax.random.key(0))
    wrong = dataclasses.replace(model, loss=lambda p: 1.01 * model.loss(p))
    with pytest.raises(
        ModelError, match=r"SGD takes w ℓ\(f, y\), ℓ logistic \(and a penalty\), and the mean over the ex"
    ):
        langevin_ib.check_model(wrong, jax.random.key(0))


@pytest.mark.parametrize(
    ("loss", "y", "predict", "message"),
    [
        ("logistic", [1.0, 0.0], None, "y must be made of −1 and 1 with loss logistic, got 0"),
        ("cross-entropy", [0, 3], classes_of, "y must be made of whole numbers from 0 to 2 with loss cross-ent"),
        ("cross-entropy", [0, 1], None, "loss cross-entropy must be given predictions with a number for each class"),
        (lambda f, y: jnp.stack([f, y]), [0.0, 1.0], None, "each example, got <lambda>, which returns shape (2,)"),
        (lambda f, y: f.nothing, [0.0, 1.0], None, "nothing"),
    ],
    ids=["signs", "classes", "one output", "no number", "fails"],
)  # fmt: skip
def test_what_a_loss_cannot_take_is_said_in_one_line(loss, y, predict, message):
    x = np.ones((2, 2)) if predict else np.ones(2)
    with pytest.raises(ModelError) as caught:
        langevin_ib.check_model(with_loss(loss, np.array(y), x, predict), jax.random.key(0))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda f: f, "positional argument"),
        (lambda f, y: float(f - y), "concrete"),
        (lambda f, y: jnp.stack([f, y]), "scalar"),
        (lambda f, y: np.sqaure(f - y), "AttributeError: "),
        (lambda f, y: {}[0], "KeyError: 0"),
        (lambda f, y: f / 0 + 1 // 0, "ZeroDivisionError: "),
        (lambda f, y: int("no good"), "ValueError: .* 'no good'"),
    ],
    ids=["one argument", "NumPy", "a vector", "a typo", "a key", "a division", "a value"],
)
def test_a_function_that_is_no_loss_is_refused_where_its_slope_is_taken(function, why):
    with pytest.raises(ConfigError, match=f"loss must be a function .* in jax.numpy, got own, which fails: .*{why}"):
        Loss("own", function).slopes(jnp.ones(2), jnp.ones(2))


def test_label_noise_is_that_of_the_labels():
    for loss, noise, message in (
        ("logistic", Noise("minibatch", 2, 0.5), "label_noise must be left out with loss logistic, whose labels are"),
        (huber(), Noise("minibatch", 2, flip_rate=0.1), "flip_rate must be left out with loss huber, whose labels are"),
    ):
        with pytest.raises(ConfigError) as caught:
            noise.check(with_loss(loss, signs()))
        assert str(caught.value).startswith(message)
    two = with_loss(lambda f, y: jnp.sum((f - y) ** 4), np.ones((3, 2)), np.ones((3, 2)), lambda p, x: x * p[0] * p[1])
    with pytest.raises(ConfigError, match="more than one label an example"):
        Noise("label", None, 0.5).check(two)
    with pytest.raises(ConfigError, match="flip_rate must be left out with noise bernoulli"):
        Noise("bernoulli", flip_rate=0.1)


# Laws.


DECAY = 0.05
# Twelve examples whose labels disagree, twelve that a line separates, and twelve whose best slope is almost 0.
MIXED = {"loss": "logistic", "samples": 12, "seed": 1}
SEPARATED = {"loss": "logistic", "samples": 12, "seed": 0, "target": 2.0}
WEAK = {"loss": "logistic", "samples": 12, "seed": 3}


def margins(data):
    task = build_model("uv", data).training.task
    return task["x"] * task["y"]


def step_of(data, noise, lr, decay=DECAY):
    model = with_noisy_labels(build_model("uv", data), noise)
    descent = Descent(model, weight_decay(decay), noise, lr)
    check_map(descent, 1)
    lowest = optimize.minimize_scalar(
        lambda z: float(model.loss(jnp.array([z**0.5, z**0.5])) + decay * z), bounds=(1e-3, 20.0), method="bounded"
    )
    return StepMap(descent, 0, np.array([lowest.x]), model.home_of("z"))


def law_of(data, noise, lr, decay=DECAY):
    step = step_of(data, noise, lr, decay)
    limit = limit_of(step)
    return MapLaw(step, limit), limit


def limit_of(step):
    """(S)."""
    return Coordinate(step.descent, 0, np.array([step.middle]), step.descent.model.home_of("z"))


def simulated(data, lr, steps, flips, batch, start, chains=20_000, decay=DECAY):
    """Ends of chains of z′ = z(1 − η(g + λ))², g of a batch, or of all with flips, written out in NumPy."""
    margin, random = margins(data), np.random.default_rng(0)
    z = np.full(chains, start)
    for _ in range(steps):
        chosen = margin[None] if batch is None else margin[random.integers(0, len(margin), (chains, batch))]
        if flips:
            chosen = chosen * np.where(random.uniform(size=(chains, chosen.shape[1])) < flips, -1.0, 1.0)
        slope = -(chosen * special.expit(-chosen * z[:, None])).mean(axis=1)
        z = z * (1.0 - lr * (slope + decay)) ** 2
    return z


def chi_square(counts, mass):
    wanted = counts.sum() * mass
    return ((counts - wanted) ** 2 / wanted).sum()


@pytest.mark.full
@pytest.mark.parametrize(
    ("data", "noise", "other", "flips", "batch", "decay"),
    [
        (SEPARATED, Noise("minibatch", 2), Noise("minibatch", 2, flip_rate=0.01), 0.0, 2, DECAY),
        (MIXED, Noise("minibatch", 2, flip_rate=0.1), Noise("minibatch", 2, flip_rate=0.11), 0.1, 2, DECAY),
        ({**SEPARATED, "samples": 5}, Noise("label", flip_rate=0.1), Noise("label", flip_rate=0.11), 0.1, None, 0.0),
    ],
    ids=["separable", "minibatch and flips", "separable and flips"],
)
def test_logistic_regression_obeys_the_law_map_and_no_other(data, noise, other, flips, batch, decay, x64):
    """χ² of the ends of independent chains below its 1e-6 quantile; at another rate of flips above twice that.

    Separable data have a law under weight decay, and under flips without it.
    """
    lr = 0.5
    law, _ = law_of(data, noise, lr, decay)
    edges = np.linspace(*law.window(0.01), 21)
    mass, error = law.masses(edges)
    assert error < 2e-4
    ends = simulated(data, lr, 300, flips, batch, start=float(edges.mean()), decay=decay)
    counts, limit = np.histogram(ends, edges)[0], stats.chi2(len(mass) - 1).isf(1e-6)
    assert chi_square(counts, mass) < limit
    assert chi_square(counts, law_of(data, other, lr, decay)[0].masses(edges)[0]) > 2.0 * limit


def test_kicks_of_many_flips_have_the_moments_of_all_their_outcomes():
    """Beyond 1024 outcomes a lattice: its moments up to the seventh are those of the 4096 outcomes of 12 labels."""
    random = np.random.default_rng(0)
    n, chance = 12, np.array([[0.9, 0.1]])
    moves = random.normal(size=(1, n, 1)) * np.array([-0.1, 0.9])
    along = AlongPlaces(
        np.full((1, n), 1 / n),
        random.normal(size=(1, n)),
        (chance[:, None] * moves**2).sum(axis=2),
        np.zeros((1, n, 1)),
        chance,
        moves,
    )
    values, weights = (part[0] for part in label_kicks(Noise("label", flip_rate=0.1), along, 14))
    outcome = np.array(list(itertools.product((0, 1), repeat=n)))
    sums = along.gradient.mean() + moves[0, np.arange(n), outcome].mean(axis=1)
    probability = np.where(outcome == 1, 0.1, 0.9).prod(axis=1)
    mean, scale = probability @ sums, (probability @ sums**2 - (probability @ sums) ** 2) ** 0.5
    for power in range(1, 8):
        wanted = probability @ ((sums - mean) / scale) ** power
        assert weights @ ((values - mean) / scale) ** power == pytest.approx(wanted, abs=1e-6)


def test_kicks_that_do_not_know_flips_give_no_law(x64):
    """Of a plug-in whose kicks take noise on labels for normal; without flips it has a law."""
    along = AlongPlaces(*np.full((3, 1, 2), 0.5), np.ones((1, 2, 1)))
    flipped = along._replace(chance=np.array([[0.9, 0.1]]), moves=np.ones((1, 2, 2)))
    noise = Noise("wrong_kinds:UNLABELLED", 2)
    assert kicks_of(noise, along, 4).values.shape[0] == 1
    with pytest.raises(LawError, match=r"know normal noise of labels alone.*\(outcomes of its NoiseKind\)"):
        kicks_of(noise, flipped, 4)
    assert kicks_of(Noise("minibatch", 2), flipped, 4).values.shape[0] == 1


@pytest.mark.full
def test_a_collapse_is_that_of_the_exponent_over_all_batches(x64):
    """E log |z′/z| near 0 over all 144 batches is what a run says: below 0 at η = 0.5, where chains end at 0; at 0.1
    above. A mean over 20,000 chains within 5 standard errors fails in 1e-6 of keys."""
    margin, noise = margins(WEAK), Noise("minibatch", 2)
    pull = 0.5 * (margin[:, None] + margin).ravel() / 2.0 - DECAY
    for lr, collapses in ((0.5, True), (0.1, False)):
        logs = 2.0 * np.log(np.abs(1.0 + lr * pull))
        step = step_of(WEAK, noise, lr)
        assert step.multiplies is not None
        assert step.multiplies.growth == pytest.approx(logs.mean(), rel=1e-6)
        assert (logs.mean() < 0.0) == collapses
        if collapses:
            with pytest.raises(CollapseError, match=r"every chain ends at z = 0: .* is -0\.0437 ≤ 0"):
                check_growth(step)
            fallen = np.log(simulated(WEAK, lr, 50, 0.0, 2, start=1e-9) / 1e-9) / 50
            assert abs(fallen.mean() - logs.mean()) < 5.0 * fallen.std() / len(fallen) ** 0.5
            assert abs(fallen.mean()) > 10.0 * fallen.std() / len(fallen) ** 0.5
        else:
            check_growth(step)


@pytest.mark.full
def test_s_is_the_limit_of_the_map_for_small_steps(x64):
    """Its distance from `map` falls like η; that of another batch size does not fall."""
    gaps, wrong = [], []
    for lr in (0.4, 0.2):
        law, limit = law_of(SEPARATED, Noise("minibatch", 2), lr)
        low, high = law.window(0.005)
        edges = np.linspace(low, high, 31)
        exact = law.masses(edges)[0]
        for gap, one in ((gaps, limit), (wrong, limit_of(step_of(SEPARATED, Noise("minibatch", 3), lr)))):
            gap.append(0.5 * np.abs(bin_masses(one.law(low, high), edges) - exact).sum())
    assert gaps[1] < 0.6 * gaps[0] < 0.06
    assert wrong[1] > 5 * gaps[1]


@pytest.mark.full
@pytest.mark.parametrize("data", [SEPARATED, WEAK], ids=["separable", "weak"])
def test_the_exact_law_of_logistic_regression_is_that_of_quadrature(data, x64):
    """e^{−ℓ/T} K₀(λz/T) with ℓ in NumPy, by SciPy's adaptive quadrature, to 1e-7; at λ wrong by 5% it is not."""
    options = {name: data[name] for name in ("samples", "seed")}
    settings = {"loss": "logistic", "options": options, "target": data.get("target", 1.0), "beta": 20.0}
    law = langevin_ib.law("exact", window=(0.2, 6.0), confine="weight-decay", weight_decay=DECAY, **settings)
    places, margin = np.linspace(0.2, 6.0, 100), margins(data)
    found = np.asarray(law.log_prob(jnp.asarray(places)))

    def log_weight(z, decay):
        loss = np.logaddexp(0.0, -np.multiply.outer(z, margin)).mean(axis=-1)
        return -20.0 * (loss + decay * z) + np.log(special.k0e(20.0 * decay * z))

    def difference(decay):
        top = log_weight(places, decay).max()
        total, _ = integrate.quad(lambda z: np.exp(log_weight(z, decay) - top), 0.2, 6.0, epsabs=0.0, epsrel=1e-11)
        return np.abs(np.expm1(found - (log_weight(places, decay) - top - np.log(total)))).max()

    assert difference(DECAY) < 1e-7
    assert difference(1.05 * DECAY) > 1e-2


# Noise of labels as runs have it.


class ReachedError(Exception):
    """A run has been planned as far as a test looks."""


@pytest.mark.parametrize("loss", ["logistic", "huber"])
def test_a_run_without_laws_has_the_default_noise_on_its_labels(loss, monkeypatch):
    """What it measures on is the mean over these labels, not the loss of clean ones."""

    def prepare(config, reduction, noise, session):
        raise ReachedError(reduction.model, noise.labels)

    monkeypatch.setattr(measured_descent, "prepare", prepare)
    config = RunConfig(loss=loss, options={"samples": 4, "seed": 1}, sampler="sgd", laws="none")
    with Session().open() as session, pytest.raises(ReachedError) as caught:
        run_of_sgd.prepare(config, session)
    model, labels = caught.value.args
    assert labels == model.training.labels == (LabelNoise(0.0, 0.1) if loss == "logistic" else LabelNoise(5.6, 0.0))
    theta = jnp.array([1.3, 0.6])
    assert abs(float(model.loss(theta) - config.build_model().loss(theta))) > 0.01


def test_a_collapse_by_flips_names_their_rate():
    """Of twelve labels; at a rate of 0.1 the loss is least elsewhere."""
    options = {name: MIXED[name] for name in ("samples", "seed")}
    with Session().open():
        for rate in (0.1, 0.6):
            config = RunConfig(sampler="sgd", noise="label", flip_rate=rate, loss="logistic", options=options)
            given = (config, build_reduction(config, temperature=1.0), np.array([1.0]))
            if rate < 0.5:
                check_collapse(*given)
                continue
            with pytest.raises(ConfigError, match="flip_rate must be lower here: in the mean over flipped labels the"):
                check_collapse(*given)


# Separable data.

SEPARABLE = {"model": "uv", "loss": "logistic", "options": {"samples": 2}}


@pytest.mark.parametrize("protocol", [{}, {"sampler": "sgd", "noise": "minibatch"}], ids=["langevin", "sgd"])
def test_separable_data_are_refused_before_the_run(protocol):
    with pytest.raises(ConfigError) as caught:
        langevin_ib.run(RunConfig(**SEPARABLE, **protocol))
    assert str(caught.value).startswith(
        "confine must be weight-decay with loss logistic here (and a weight_decay): the data are separable, all 2 la"
    )


def separates(x, y, directions=720):
    """Whether labels are those of relu(a·x) − b relu(c·x): all pairs of directions in the plane."""
    angle = np.linspace(0.0, 2.0 * np.pi, directions, endpoint=False)
    out = np.maximum(x @ np.stack([np.cos(angle), np.sin(angle)]), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = out[:, :, None] / out[:, None, :]  # b has to be below it for each y = 1, where neither is 0
    ratio = np.where(out[:, None, :] > 0.0, ratio, np.where(out[:, :, None] > 0.0, np.inf, -1.0))
    least = ratio[y > 0].min(axis=0, initial=np.inf)
    most = np.where(out[y < 0][:, None, :] > 0.0, ratio[y < 0], np.inf).max(axis=0, initial=0.0)
    return bool((most < least).any())


@pytest.mark.full
@pytest.mark.parametrize(("samples", "seed", "separable"), [(6, 0, True), (12, 1, True), (12, 0, False)])
def test_a_network_is_refused_if_and_only_if_it_separates_its_data(samples, seed, separable):
    """L-BFGS alone misses the first. What is true is known by trying all pairs of neurons; a ridge holds them all."""
    options = {"samples": samples, "inputs": 2, "seed": seed}
    for ridge in (0.0, 0.3):
        config = RunConfig(model="relu", loss="logistic", options={**options, "ridge": ridge})
        with Session().open():
            reduction = build_reduction(config)
            task = reduction.model.training.task
            assert separates(task["x"], task["y"]) == separable
            if ridge or not separable:
                check_separable(config, reduction)
                continue
            with pytest.raises(ConfigError, match=f"all {samples} labels right at once"):
                check_separable(config, reduction)


def test_a_penalty_of_the_models_own_is_enough():
    """The ridge of a model that separates its data holds it; without it they are refused."""
    theta = [0.5, -0.7, 0.9]
    for ridge, refused in ((0.1, False), (0.0, True)):
        model = with_loss("logistic", np.sign(theta), theta, penalty=lambda p, c=ridge: c * (p[0] * p[1]) ** 2)
        config = RunConfig(model=model)
        with Session().open():
            reduction = build_reduction(config)
            if not refused:
                check_separable(config, reduction)
                continue
            with pytest.raises(ConfigError, match="all 3 labels right at once"):
                check_separable(config, reduction)


def test_a_loss_by_hand_says_what_its_labels_are():
    hinge = Loss("smooth hinge", lambda f, y: jnp.sum(jax.nn.softplus(4.0 * (1.0 - y * f)) / 4.0), "signs", True)
    model, noise = with_loss(hinge, signs()), Noise("label", flip_rate=RATE)
    assert LOGISTIC.labels == hinge.labels
    covariance = jax.jit(lambda theta: gradient_noise(model.training, noise, theta).covariance)(jnp.asarray(POINT))
    assert np.trace(covariance) > 0.0
