"""Law `map`: against simulations of the map, closed forms, thresholds of collapse, and a run that obeys it."""

import jax
import numpy as np
import pytest
from scipy import stats

import langevin_ib
from langevin_ib import ConfigError, LawError, RunConfig
from langevin_ib.dynamics.confinements.none import unconfined
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.dynamics.kicks import AlongPlaces, Kicks, batch_kicks, coin_kicks, compressed
from langevin_ib.dynamics.noise import Noise
from langevin_ib.laws.map import MapLaw
from langevin_ib.laws.sgd import CollapseError, Coordinate, Descent, label_noise_gamma
from langevin_ib.laws.step_map import StepMap, check_map
from langevin_ib.models import build_model

CHAINS = 40_000
DATA = {"samples": 16, "scatter": 2.0, "seed": 2}


def law_of(noise, lr, options=None, confinement=None, name="uv", middle=1.0):
    model = build_model(name, options or {})
    descent = Descent(model, confinement or unconfined(), noise, lr)
    check_map(descent, 1)
    branch = model.home_of(descent.chart.scalar_names[0])
    step = StepMap(descent, 0, np.array([middle]), branch)
    return MapLaw(step, Coordinate(descent, 0, np.array([middle]), branch))


def labels(strength):
    return Noise("label", None, strength)


def simulated(step, edges, steps, start=1.0):
    """Counts of independent chains of a map written out by hand, and how many there are in the window."""
    rng = np.random.default_rng(0)
    z = np.full(CHAINS, start)
    for _ in range(steps):
        z = step(z, rng)
    return np.histogram(z, edges)[0]


def chi_square(counts, mass):
    """(χ² − degrees of freedom)/√(2 degrees of freedom) of counts of independent draws, about N(0, 1)."""
    wanted = counts.sum() * mass
    return (((counts - wanted) ** 2 / wanted).sum() - (len(mass) - 1)) / np.sqrt(2.0 * (len(mass) - 1))


@pytest.mark.full
@pytest.mark.parametrize(("lr", "gap"), [(0.05, 0.0157), (0.1, 0.0447)])
def test_it_is_the_law_of_the_map_under_label_noise(lr, gap, x64):
    """χ² within 5 for the right η fails in 1e-5 of keys; η wrong by 10% and (S) are the controls."""
    law = law_of(labels(2.0), lr)
    edges = np.linspace(0.05, 3.0, 31)
    mass, error = law.masses(edges)
    assert error < 5e-4

    def step(z, rng):
        return z * (1.0 - lr * (z - 1.0 - 2.0 * rng.normal(size=z.size))) ** 2

    counts = simulated(step, edges, int(20 / lr))
    assert abs(chi_square(counts, mass)) < 5.0
    assert chi_square(counts, law_of(labels(2.0), 1.1 * lr).masses(edges)[0]) > 10.0
    gamma = np.diff(label_noise_gamma(1.0, lr, 2.0).cdf(edges))
    assert chi_square(counts, gamma / gamma.sum()) > 5.0
    low, high = label_noise_gamma(1.0, lr, 2.0).ppf([1e-3, 0.999])
    window = np.linspace(low, high, 31)
    gamma = np.diff(label_noise_gamma(1.0, lr, 2.0).cdf(window))
    assert 0.5 * np.abs(law.masses(window)[0] - gamma / gamma.sum()).sum() == pytest.approx(gap, rel=0.05)


@pytest.mark.full
@pytest.mark.parametrize(("batch", "label"), [(1, 0.0), (2, 1.0), (16, 0.0)])
def test_it_is_the_law_of_the_map_over_a_data_set(batch, label, x64):
    """As above; a batch of one is listed, the others are put on a lattice."""
    training = build_model("uv", DATA).training
    assert training is not None
    task = training.task
    x, y = np.asarray(task["x"]), np.asarray(task["y"])
    best = float(x @ y / (x @ x))
    law = law_of(Noise("minibatch", batch, label), 0.03, DATA, middle=best)
    edges = np.linspace(*law.window(1e-2), 21)

    def step(z, rng):
        drawn = rng.integers(0, 16, (z.size, batch))
        noisy = y[drawn] + label * rng.normal(size=drawn.shape)
        return z * (1.0 - 0.03 * (x[drawn] * (x[drawn] * z[:, None] - noisy)).mean(axis=1)) ** 2

    counts = simulated(step, edges, 600, best)
    assert abs(chi_square(counts, law.masses(edges)[0])) < 5.0
    wrong = law_of(Noise("minibatch", batch, label), 0.033, DATA, middle=best).masses(edges)[0]
    assert chi_square(counts, wrong) > 10.0


@pytest.mark.full
def test_rotation_is_half_normal_at_any_rate(x64, monkeypatch):
    """r' = |r(1 − η) + ηsε|: of variance ηs²/(2 − η), folded at 0, while (S) has ηs²/2; on a grid refined to 1e-7."""
    monkeypatch.setattr("langevin_ib.laws.map.SETTLED", 1e-7)
    law = law_of(labels(2.0), 0.3, name="rotation")
    edges = np.linspace(0.0, 2.5, 26)
    cdf = jax.scipy.stats.norm.cdf(edges / np.sqrt(0.3 * 4.0 / 1.7))
    np.testing.assert_allclose(law.masses(edges)[0], np.diff(cdf) / (cdf[-1] - cdf[0]), atol=1e-6)


@pytest.mark.full
def test_it_is_a_distribution(x64):
    """Of rotation in closed form, on the branch; of uv that of the bins."""
    settings = {"sampler": "sgd", "noise": "label", "label_noise": 2.0}
    radius = langevin_ib.law("map", model="rotation", lr=0.3, window="branch", **settings)
    r = np.linspace(0.0, 4.0, 17)
    wanted = stats.halfnorm(scale=np.sqrt(0.3 * 4.0 / 1.7))
    np.testing.assert_allclose(radius.cdf(r), wanted.cdf(r), atol=3e-5)
    np.testing.assert_allclose(radius.log_prob(r[1:]), wanted.logpdf(r[1:]), atol=2e-3)
    product = langevin_ib.law("map", RunConfig(lr=0.05, **settings))
    edges = np.linspace(*product.window, 21)
    mass, _ = law_of(labels(2.0), 0.05).masses(edges)
    np.testing.assert_allclose(np.diff(product.cdf(edges)), mass, atol=1e-5)
    for wrong in ({"sampler": "langevin"}, {**settings, "momentum": 0.5}, {**settings, "model": "hadamard"}):
        with pytest.raises((ConfigError, LawError)):
            langevin_ib.law("map", RunConfig(**wrong))


@pytest.mark.full
def test_for_small_steps_it_is_law_s(x64):
    """The distance from the Gamma law falls like η at fixed ηs²."""
    far = []
    for lr in (0.02, 0.01, 0.005):
        gamma = label_noise_gamma(1.0, lr, np.sqrt(0.04 / lr))
        low, high = gamma.ppf([1e-3, 0.999])
        edges = np.linspace(low, high, 31)
        mass = np.diff(gamma.cdf(edges))
        far.append(
            0.5 * np.abs(law_of(labels(float(np.sqrt(0.04 / lr))), lr).masses(edges)[0] - mass / mass.sum()).sum()
        )
    assert np.log2(far[0] / far[1]) == pytest.approx(1.0, abs=0.1)
    assert np.log2(far[1] / far[2]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.full
def test_weight_decay_is_in_the_step(x64):
    """z' = z (1 − η(z − y − sε + λ))², as u = v."""
    law = law_of(labels(2.0), 0.05, confinement=weight_decay(0.3))
    edges = np.linspace(0.05, 2.0, 21)

    def step(z, rng):
        return z * (1.0 - 0.05 * (z - 1.0 - 2.0 * rng.normal(size=z.size) + 0.3)) ** 2

    counts = simulated(step, edges, 400)
    assert abs(chi_square(counts, law.masses(edges)[0])) < 5.0
    assert chi_square(counts, law_of(labels(2.0), 0.05).masses(edges)[0]) > 10.0


@pytest.mark.full
@pytest.mark.parametrize(("lr", "threshold"), [(0.01, 1.969), (0.05, 1.812), (0.1, 1.701)])
def test_collapse_has_its_threshold_where_the_lyapunov_exponent_changes_sign(lr, threshold, x64):
    """ηs² a little below and above; above it nothing is judged, and the error says how fast chains fall."""
    model = build_model("uv")

    def growth(strength):
        descent = Descent(model, unconfined(), labels(float(np.sqrt(strength / lr))), lr)
        near = StepMap(descent, 0, np.array([1.0]), model.home_of("z")).multiplies
        assert near is not None
        return near.growth

    assert growth(threshold - 0.001) > 0.0 > growth(threshold + 0.001)
    config = RunConfig(sampler="sgd", lr=lr, label_noise=float(np.sqrt(1.02 * threshold / lr)), chains=16, steps=200)
    with pytest.raises(CollapseError, match="chains collapse to z = 0: use a smaller --lr or --label-noise"):
        langevin_ib.run(config.replace(momentum=0.5, lr=2.0 * lr))
    with pytest.raises(
        CollapseError,
        match=r"every chain ends at z = 0: near it E log \|z'/z\| of a step is -.* use a smaller --lr or --label-noise",
    ):
        langevin_ib.run(config)


@pytest.mark.full
def test_near_the_threshold_most_of_the_law_is_near_0(x64):
    """η = 0.05, ηs² = 1.7: 62% below 1e-6, as the simulation of the map has it (40 000 chains: ±0.24%)."""
    strength = float(np.sqrt(1.7 / 0.05))
    law = law_of(labels(strength), 0.05)

    def step(z, rng):
        return z * (1.0 - 0.05 * (z - 1.0 - strength * rng.normal(size=z.size))) ** 2

    share = simulated(step, np.array([0.0, 1e-6]), 20_000)[0] / CHAINS
    assert law.below(1e-6) == pytest.approx(share, abs=0.012)
    assert law.below(1e-6) == pytest.approx(0.62, abs=0.01)


def test_a_gauss_rule_has_the_moments_of_what_it_stands_for():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 40)) ** 3
    kicks = Kicks(values, np.full(values.shape, 1.0 / 40))
    rule = compressed(kicks, 5)
    for order in range(1, 10):
        wanted = (kicks.weights * values**order).sum(axis=1)
        np.testing.assert_allclose((rule.weights * rule.values**order).sum(axis=1), wanted, rtol=1e-9)


@pytest.mark.parametrize(("size", "label"), [(1, 0.0), (2, 0.0), (8, 0.0), (1, 1.0), (3, 0.5)])
def test_kicks_have_the_cumulants_of_batches(size, label):
    rng = np.random.default_rng(1)
    h = rng.normal(size=(2, 12)) ** 3
    kicks = batch_kicks(
        Noise("minibatch", size, label),
        AlongPlaces(np.full(h.shape, 1 / 12), h, np.full(h.shape, label**2), h[..., None]),
        16,
    )
    away = kicks.values - h.mean(axis=1, keepdims=True)
    spread = h - h.mean(axis=1, keepdims=True)
    np.testing.assert_allclose((kicks.weights * away).sum(axis=1), 0.0, atol=1e-10)
    second = (np.mean(spread**2, axis=1) + label**2) / size
    np.testing.assert_allclose((kicks.weights * away**2).sum(axis=1), second, rtol=1e-6)
    third = np.mean(spread**3, axis=1) / size**2
    np.testing.assert_allclose((kicks.weights * away**3).sum(axis=1), third, rtol=1e-6)


@pytest.mark.parametrize("examples", [4, 16])
def test_coins_have_the_variance_of_their_examples(examples):
    h = np.random.default_rng(2).normal(size=(2, examples))
    kicks = coin_kicks(
        Noise("bernoulli"), AlongPlaces(np.full(h.shape, 1 / examples), h, np.zeros(h.shape), h[..., None]), 16
    )
    away = kicks.values - h.mean(axis=1, keepdims=True)
    np.testing.assert_allclose((kicks.weights * away).sum(axis=1), 0.0, atol=1e-10)
    np.testing.assert_allclose((kicks.weights * away**2).sum(axis=1), (h**2).sum(axis=1) / examples**2, rtol=1e-8)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("hadamard", {"operator": "random"}, "leaves the slice or mixes"), ("relu", {}, "leaves the slice or mixes")],
)
def test_where_a_step_depends_on_more_than_its_coordinate_it_says_so(name, options, message, x64):
    descent = Descent(build_model(name, options), unconfined(), labels(1.0), 0.01)
    with pytest.raises(LawError, match=message):
        check_map(descent, 1)


@pytest.mark.full
def test_a_run_obeys_it_where_law_s_is_off_and_says_which_part_is_whose():
    config = RunConfig(sampler="sgd", lr=0.1, label_noise=2.0, chains=256, steps=4000)
    with jax.enable_x64(True):
        result = langevin_ib.run(config)
    summary = result.summary
    assert summary["verdicts"]["map"] == "agrees"
    assert summary["verdicts"]["sgd"] == "differs"
    laws = result.invariants["z"].laws
    assert (laws["map"].about.role, laws["sgd"].about.role) == ("own", "limit")
    assert summary["descent"]["map"]["z"]["from_s"] == pytest.approx(0.045, rel=0.05)
    with jax.enable_x64(True):
        momentum = langevin_ib.run(config.replace(momentum=0.5, lr=0.02))
    assert momentum.invariants["z"].laws["sgd"].about.role == "own"
    assert any("with momentum a step depends on the velocity" in line for line in momentum.missing)
