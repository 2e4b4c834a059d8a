"""Losses per example: closed forms, Σ against draws, flips, (S), `map` and the exact law, separable data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import langevin_ib
from langevin_ib import ConfigError, ModelError, RunConfig
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.descent import sgd
from langevin_ib.dynamics.labels import with_noisy_labels
from langevin_ib.dynamics.noise import Noise, cumulants, gradient_noise
from langevin_ib.laws.base import bin_masses
from langevin_ib.laws.map import MapLaw
from langevin_ib.laws.sgd import Coordinate, Descent
from langevin_ib.laws.step_map import StepMap, check_map
from langevin_ib.models import build_model, data_training, uv
from langevin_ib.models.losses import LOGISTIC, LOSSES, LabelNoise, Loss, huber, loss_of, noisy_labels
from langevin_ib.runs.plan import build_reduction
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


def standard_errors(model, drawn, stated):
    """How far mean and variance of draws of one noise along a direction are off what another states, in errors."""
    like, e = jnp.asarray(POINT), jnp.array([0.6, 0.8])
    kernel = sgd(model, like, noise=drawn, lr=1.0)
    start = kernel.init(like, None)

    def everything(key):
        moved = jax.vmap(lambda one: kernel.step(one, start, None)[0].position)(kernel.draw(key, DRAWS))
        known = gradient_noise(model.training, stated, like)
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
    """Within five standard errors (1e-6 of keys each); a rate wrong by a fifth is the control, by its variance."""
    model, noise = MODELS["logistic"](), Noise("label", flip_rate=RATE)
    assert np.abs(standard_errors(model, noise, noise)).max() < 5.0
    assert np.abs(standard_errors(model, noise, Noise("label", flip_rate=1.2 * RATE))).max() > 8.0


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
        (lambda f, y: jnp.stack([f, y]), [0.0, 1.0], None, "must be one number for each example, got shape (2,)"),
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


def logistic_uv():
    return {"loss": "logistic", "samples": 12, "seed": 0, "target": 2.0}


def law_of(noise, lr, decay=DECAY):
    model = with_noisy_labels(build_model("uv", logistic_uv()), noise)
    descent = Descent(model, weight_decay(decay), noise, lr)
    check_map(descent, 1)
    branch = model.home_of("z")
    lowest = optimize.minimize_scalar(
        lambda z: float(model.loss(jnp.array([z**0.5, z**0.5])) + decay * z), bounds=(1e-3, 20.0), method="bounded"
    )
    middle = np.array([lowest.x])
    coordinate = Coordinate(descent, 0, middle, branch)
    return MapLaw(StepMap(descent, 0, middle, branch), coordinate), coordinate


def simulated(edges, lr, steps, flips, batch, start, chains=20_000):
    """Counts of chains of z′ = z(1 − η(g + λ))², g of a batch, or of all with flips, written out in NumPy."""
    task = build_model("uv", logistic_uv()).training.task
    margin, random = task["x"] * task["y"], np.random.default_rng(0)
    z = np.full(chains, start)
    for _ in range(steps):
        chosen = margin[None] if batch is None else margin[random.integers(0, len(margin), (chains, batch))]
        if flips:
            chosen = chosen * np.where(random.uniform(size=(chains, chosen.shape[1])) < flips, -1.0, 1.0)
        slope = -(chosen * special.expit(-chosen * z[:, None])).mean(axis=1)
        z = z * (1.0 - lr * (slope + DECAY)) ** 2
    return np.histogram(z, edges)[0]


def chi_square(counts, mass):
    """(χ² − degrees of freedom)/√(2 degrees of freedom) of counts of independent draws, about N(0, 1)."""
    wanted = counts.sum() * mass
    return (((counts - wanted) ** 2 / wanted).sum() - (len(mass) - 1)) / np.sqrt(2.0 * (len(mass) - 1))


@pytest.mark.full
@pytest.mark.parametrize(
    ("noise", "other", "flips", "batch"),
    [
        (Noise("minibatch", 2), Noise("minibatch", 2, flip_rate=0.02), 0.0, 2),
        (Noise("minibatch", 2, flip_rate=0.1), Noise("minibatch", 2, flip_rate=0.12), 0.1, 2),
        (Noise("label", flip_rate=0.1), Noise("label", flip_rate=0.12), 0.1, None),
    ],
    ids=["minibatch", "minibatch and flips", "flips"],
)
def test_logistic_regression_obeys_the_law_map_and_no_other(noise, other, flips, batch, x64):
    """χ² within 5 for the right noise fails in 1e-5 of keys; another rate of flips is the control."""
    lr = 0.5
    law, _ = law_of(noise, lr)
    low, high = law.window(0.01) if hasattr(law, "window") else (0.1, 5.0)
    edges = np.linspace(low, high, 21)
    mass, error = law.masses(edges)
    assert error < 2e-3
    counts = simulated(edges, lr, 600, flips, batch, start=float(0.5 * (low + high)))
    assert abs(chi_square(counts, mass)) < 5.0
    assert chi_square(counts, law_of(other, lr)[0].masses(edges)[0]) > 20.0


@pytest.mark.full
def test_s_is_the_limit_of_the_map_for_small_steps(x64):
    """Its distance from `map` falls like η; that of another batch size does not fall."""
    gaps, wrong = [], []
    for lr in (0.4, 0.2, 0.1):
        law, coordinate = law_of(Noise("minibatch", 2), lr)
        other = law_of(Noise("minibatch", 3), lr)[1]
        low, high = law.window(0.005)
        edges = np.linspace(low, high, 31)
        exact = law.masses(edges)[0]
        for gap, one in ((gaps, coordinate), (wrong, other)):
            gap.append(0.5 * np.abs(bin_masses(one.law(low, high), edges) - exact).sum())
    assert gaps[2] < 0.6 * gaps[1] < 0.6 * 0.6 * gaps[0] < 0.1
    assert wrong[2] > 5 * gaps[2]


def test_the_exact_law_of_logistic_regression_is_that_of_quadrature():
    """e^{−ℓ/T} K₀(λz/T) with ℓ in NumPy, to 1e-3; at λ wrong by 5% it is not."""
    settings = {"loss": "logistic", "options": {"samples": 12}, "target": 2.0, "beta": 20.0}
    task = build_model("uv", logistic_uv()).training.task
    edges = np.linspace(0.2, 6.0, 400)
    law = langevin_ib.law("exact", window=(0.2, 6.0), confine="weight-decay", weight_decay=DECAY, **settings)
    loss = np.logaddexp(0.0, -np.outer(edges, task["x"] * task["y"])).mean(axis=1)

    def density(decay):
        weight = np.exp(-20.0 * (loss - loss.min()) - 20.0 * decay * edges) * special.k0e(20.0 * decay * edges)
        return weight / np.trapezoid(weight, edges)

    found = np.exp(np.asarray(law.log_prob(jnp.asarray(edges))))
    right, wrong = (np.abs(found / density(decay) - 1.0).max() for decay in (DECAY, 1.05 * DECAY))
    assert right < 1e-3
    assert wrong > 1e-2


# Separable data.

SEPARABLE = {"model": "uv", "loss": "logistic", "options": {"samples": 2}}


@pytest.mark.parametrize("protocol", [{}, {"sampler": "sgd", "noise": "minibatch"}], ids=["langevin", "sgd"])
def test_separable_data_are_refused_before_the_run(protocol):
    with pytest.raises(ConfigError) as caught:
        langevin_ib.run(RunConfig(**SEPARABLE, **protocol))
    assert str(caught.value).startswith(
        "confine must be weight-decay with loss logistic here (and a weight_decay): the data are separable, all 2 la"
    )


@pytest.mark.full
def test_separable_data_have_a_law_under_weight_decay_and_under_flips():
    law = langevin_ib.law("exact", RunConfig(**SEPARABLE, confine="weight-decay", weight_decay=0.05))
    assert 0.0 < float(law.cdf(3.0)) < 1.0
    flips = {"sampler": "sgd", "noise": "label", "flip_rate": 0.1, "lr": 0.1}
    assert 0.0 < float(langevin_ib.law("map", RunConfig(**SEPARABLE, **flips)).cdf(3.0)) < 1.0


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
    assert np.trace(gradient_noise(model.training, noise, jnp.asarray(POINT)).covariance) > 0.0
