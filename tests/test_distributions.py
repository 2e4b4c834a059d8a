"""Laws as NumPyro distributions: normalised, the quantile the inverse of the distribution, draws of it, gradients."""

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy
from numpyro.infer import MCMC, NUTS
from scipy import stats

from langevin_ib import ConfigError, LawError, RunConfig, law
from langevin_ib.distributions import LawDistribution, _window
from langevin_ib.laws import Law, bin_masses, law_kind
from langevin_ib.laws.moments import moments
from langevin_ib.laws.table import Piece, Stretch, Table, tabulate
from langevin_ib.runs.plan import build_reduction, resolve

FALSE_POSITIVE = 1e-3  # of each statistical test, at its fixed key
DECAY = {"confine": "weight-decay", "weight_decay": 0.1}  # λ = T at β = 10
CASES = {
    "exact, stiff": ("exact", {}),
    "slice": ("slice", {}),
    "naive, on two branches": ("naive", {"window": (-1.0, 2.0)}),
    "exact, weight decay, to both ends": ("exact", {**DECAY, "window": "branch"}),
    "a prior on the line": ("exact", {**DECAY, "window": "all", "loss": False}),
    "hard, up to a window's end": ("hard", {"window": (0.0, 1.5)}),
    "hard, below 0": ("hard", {"window": (-1.5, 0.0), "loss": False}),
    "of the radius": ("exact", {"model": "rotation", "confine": "none", "window": "branch"}),
    "beyond a window's lower end": ("naive", {"window": (0.5, np.inf)}),
}
FULL = [case for case in CASES if case not in ("slice", "a prior on the line", "hard, up to a window's end")]


@pytest.fixture(scope="module")
def built():
    """Laws, each made once."""
    made = {}

    def of(case):
        if case not in made:
            name, settings = CASES[case]
            made[case] = law(name, **settings)
        return made[case]

    return of


@pytest.mark.full(only=FULL)
@pytest.mark.parametrize("case", CASES)
def test_the_density_integrates_to_the_distribution(case, built, x64):
    """By SciPy's quadrature between quantiles, cdf∘icdf to 1e-12, and all of it is 1."""
    one = built(case)
    q = np.concatenate([[1e-6, 1e-3], np.linspace(0.01, 0.99, 25), [0.999, 1 - 1e-6]])
    z = np.asarray(one.icdf(q))
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(one.cdf(z), q, atol=1e-12)
    density = jax.jit(lambda z: jnp.exp(one.log_prob(z)))
    for i in (1, 8, 20, 26):
        breaks = [0.0] if z[i] < 0 < z[i + 1] else None
        mass, _ = scipy.integrate.quad(density, z[i], z[i + 1], epsabs=1e-11, epsrel=1e-10, points=breaks)
        assert mass == pytest.approx(q[i + 1] - q[i], abs=2e-9)
    low, high = one.window
    assert float(one.cdf(low)) == 0.0
    assert float(one.cdf(high)) == pytest.approx(1.0, abs=1e-12)
    assert np.isneginf(one.log_prob(low - 1.0))
    assert np.isneginf(one.log_prob(high + 1.0))


@pytest.mark.full
@pytest.mark.parametrize("name", ["exact", "slice", "naive"])
def test_its_masses_are_those_that_a_run_compares_with(name, x64):
    one = law(name, beta=10.0)
    config = RunConfig(beta=10.0)
    plan = resolve(config, build_reduction(config))
    edges = plan.edges["z"]
    masses = bin_masses(law_kind(name).law(plan.reduction), edges)
    np.testing.assert_allclose(np.diff(one.cdf(edges)), masses, atol=1e-9)


def test_the_prior_of_weight_decay_is_the_law_of_a_product_of_normals(built, x64):
    """K₀(|z|)/π at λ = T, at any distance from 0; not the density of the Laplace law."""
    z = np.array([-20.0, -3.0, -0.2, 1e-9, 1e-4, 1.0, 7.0])
    expected = np.log(scipy.special.k0(np.abs(z)) / np.pi)
    np.testing.assert_allclose(built("a prior on the line").log_prob(z), expected, atol=1e-9)
    assert np.abs(stats.laplace.logpdf(z) - expected).max() > 0.5


def test_draws_are_of_the_law_and_not_of_another(x64, built):
    """Kolmogorov and Smirnov on 20 000 draws, with 1e-3 of false alarms; the control is the law next to it."""
    draws = np.asarray(built("slice").sample(jax.random.key(1), (20_000,)))
    control = law("exact", beta=10.0, kappa=0.5, window=built("slice").window)
    assert stats.kstest(draws, lambda z: np.asarray(built("slice").cdf(z))).pvalue > FALSE_POSITIVE
    assert stats.kstest(draws, lambda z: np.asarray(control.cdf(z))).pvalue < FALSE_POSITIVE


def test_derivatives(built, x64):
    """Of log p by finite differences, of the quantile 1/p; on a half-line, near its end too."""
    for case, points in (("slice", (0.4, 1.1)), ("a prior on the line", (-2.0, 1e-3, 0.7))):
        one = built(case)
        for z in points:
            h = 1e-5 * abs(z)
            finite = (one.log_prob(z + h) - one.log_prob(z - h)) / (2 * h)
            assert float(jax.grad(one.log_prob)(z)) == pytest.approx(float(finite), rel=1e-5)
            q = float(one.cdf(z))
            assert float(jax.grad(one.icdf)(q)) == pytest.approx(float(jnp.exp(-one.log_prob(z))), rel=1e-6)


def test_in_float32_and_in_any_shape(built):
    one = built("a prior on the line")
    z = jnp.linspace(-3.0, 3.0, 6).reshape(2, 3)
    assert one.log_prob(z).dtype == jnp.float32
    expected = scipy.special.k0(np.abs(z)) / np.pi
    np.testing.assert_allclose(jnp.exp(one.log_prob(z)), expected, rtol=1e-4)
    np.testing.assert_allclose(one.cdf(one.icdf(jnp.array([0.01, 0.4, 0.9]))), [0.01, 0.4, 0.9], atol=1e-5)
    assert one.sample(jax.random.key(0), (4, 2)).shape == (4, 2)
    assert one.log_prob(1).shape == ()
    assert one.expand([3]).sample(jax.random.key(0)).shape == (3,)


def test_it_passes_through_jit_and_vmap(built):
    one = built("slice")
    z = jnp.array([0.5, 1.0])
    np.testing.assert_allclose(jax.jit(lambda d, z: d.log_prob(z))(one, z), one.log_prob(z), rtol=1e-5)
    assert jax.tree.unflatten(jax.tree.structure(one), jax.tree.leaves(one)).window == one.window
    assert "slice [dσ_S]" in repr(one)


SUPPORTS = {"slice": "Interval", "a prior on the line": "Real", "beyond a window's lower end": "GreaterThan"}


@pytest.mark.parametrize("case", SUPPORTS)
def test_support(case, built):
    assert SUPPORTS[case] in type(built(case).support).__name__


@pytest.mark.full
def test_nuts_on_a_model_with_the_prior_finds_the_posterior(built, x64):
    """y = w + ε: the posterior's mean by quadrature; chains are the unit, |t| below its 99.9% point.

    The control is the posterior's mean under a Laplace prior.
    """
    prior, y, noise = built("a prior on the line"), 1.5, 0.7

    def model():
        w = numpyro.sample("w", dist.TransformedDistribution(prior, dist.transforms.AffineTransform(0.0, 1.0)))
        numpyro.sample("y", dist.Normal(w, noise), obs=y)

    chains = 16
    sampler = MCMC(
        NUTS(model, target_accept_prob=0.95),
        num_warmup=1000,
        num_samples=2000,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    sampler.run(jax.random.key(2))
    means = np.asarray(sampler.get_samples(group_by_chain=True)["w"]).mean(axis=1)

    def mean(log_prior):
        z = np.linspace(-12, 12, 400_001)[:-1] + 3e-5
        log_p = log_prior(z) + stats.norm.logpdf(y, z, noise)
        p = np.exp(log_p - log_p.max())
        return float((p * z).sum() / p.sum())

    assert stats.ttest_1samp(means, mean(lambda z: np.log(scipy.special.k0(np.abs(z))))).pvalue > FALSE_POSITIVE
    assert stats.ttest_1samp(means, mean(stats.laplace.logpdf)).pvalue < FALSE_POSITIVE


NARROW = {
    "1e4": (1e4, (0.1, 5.0)),
    "1e5": (1e5, (0.5, 2.0)),
    "1000 standard deviations": (1e6, (0.5, 1.5)),
    "two branches": (1e7, (-3.0, 3.0)),
    "no lower end": (1e7, (-np.inf, 2.0)),
}


@pytest.mark.full(but=["1000 standard deviations", "two branches"])
@pytest.mark.parametrize("case", NARROW)
def test_a_law_that_is_narrow_in_its_window(case, x64):
    """`naive` at a quadratic loss is N(1, 1/β), whose mass outside of these windows is below e⁻¹⁰⁰⁰.

    The control is a normal whose mean is a hundredth of a standard deviation off.
    """
    beta, window = NARROW[case]
    one, normal = law("naive", beta=beta, window=window), stats.norm(1.0, beta**-0.5)
    z = 1.0 + np.linspace(-9.0, 9.0, 181) * beta**-0.5
    np.testing.assert_allclose(one.cdf(z), normal.cdf(z), atol=1e-11)
    np.testing.assert_allclose(one.log_prob(z), normal.logpdf(z), atol=1e-8)
    assert np.abs(stats.norm(1.0 + 0.01 * beta**-0.5, beta**-0.5).cdf(z) - normal.cdf(z)).max() > 1e-3
    far = np.array([0.6, 1.4])  # 40 to 1300 standard deviations
    np.testing.assert_allclose(one.log_prob(far), normal.logpdf(far), rtol=1e-9)


@pytest.mark.parametrize("name", ["hard", "exact"])
def test_quantiles_of_narrow_laws_of_two_branches(name, x64):
    one = law(name, beta=1e7, window=(-3.0, 3.0))
    q = np.array([1e-9, 0.01, 0.3, 0.5, 0.9, 1.0 - 1e-9])
    np.testing.assert_allclose(one.cdf(one.icdf(q)), q, atol=1e-12)
    np.testing.assert_allclose(one.icdf(0.9), stats.norm(1.0, 1e-3 * 0.1**0.5).ppf(0.9), atol=1e-6)


def test_two_narrow_wells_on_one_branch(x64):
    """e^(−ℓ/T) at ℓ = (z² − 1)²/4 on the line: half the mass at each, by the table itself."""
    beta = 1e5

    def energy(z):
        return beta * (z**2 - 1.0) ** 2 / 4.0

    reduction = build_reduction(RunConfig())
    reduction.__dict__["terms"] = lambda z: types.SimpleNamespace(energy=energy(z))
    table = tabulate(Law("double", "dz", "", lambda z: -energy(z)), reduction, [Stretch(-3.0, 3.0, False, False)])
    one = LawDistribution(table, "double", "dz", "")
    assert float(one.cdf(0.0)) == pytest.approx(0.5, abs=1e-11)
    z = 1.0 + np.linspace(-5.0, 5.0, 11) * (2 * beta) ** -0.5
    mass = [scipy.integrate.quad(lambda z: np.exp(-energy(z)), 0.9, end, epsabs=0.0, points=[1.0])[0] for end in z]
    whole = scipy.integrate.quad(lambda z: np.exp(-energy(z)), 0.9, 1.1, epsabs=0.0, points=[1.0])[0]
    np.testing.assert_allclose(one.cdf(z), 0.5 + 0.5 * np.array(mass) / whole, atol=1e-9)


def test_tails_of_the_prior_against_its_formula(built, x64):
    """log K₀ and its derivative, from |z| = 1e-30 to 1e6; a straight line in log z from e⁻³⁰ of the top on is the
    control: it was 28 off at 100."""
    one = built("a prior on the line")
    z = np.array([1e-30, 1e-20, 1e-12, 0.1, 20.0, 40.0, 100.0, 700.0, 1e4, 1e6])
    expected = np.log(scipy.special.k0e(z) / np.pi) - z
    for side in (-1.0, 1.0):
        np.testing.assert_allclose(one.log_prob(side * z), expected, rtol=1e-9, atol=1e-8)
        slope = jax.vmap(jax.grad(one.log_prob))(jnp.asarray(side * z))
        np.testing.assert_allclose(slope, -side * scipy.special.k1e(z) / scipy.special.k0e(z), rtol=1e-3)


@pytest.mark.parametrize("name", ["naive", pytest.param("slice", marks=pytest.mark.full)])
def test_tails_of_a_half_line(name, x64):
    """−β(z − 1)²/2, less log z of `slice` (G = 2z, dσ_S = dz/√z·…, so p ∝ e^(−ℓ/T)/z), up to one constant."""
    one = law(name, beta=10.0, window=(0.2, np.inf))

    def shape(z):
        return -5.0 * (z - 1.0) ** 2 - (np.log(z) if name == "slice" else 0.0)

    z = np.array([1.0, 0.2, 3.0, 5.0, 10.0, 100.0, 1000.0])
    found = np.asarray(one.log_prob(z))
    np.testing.assert_allclose(found - found[0], shape(z) - shape(1.0), rtol=1e-9, atol=1e-8)
    slope = float(jax.grad(one.log_prob)(10.0))
    assert slope == pytest.approx(-90.0 - (0.1 if name == "slice" else 0.0), rel=1e-6)


def test_between_two_branches_log_prob_is_its_limit(built, x64):
    """Finite for `naive`, whose density is; ∞ where the density is infinite, −∞ beyond a window."""
    naive = built("naive, on two branches")
    assert float(naive.log_prob(0.0)) == pytest.approx(float(naive.log_prob(1e-12)), abs=1e-8)
    assert np.isposinf(built("a prior on the line").log_prob(0.0))
    flat = law("naive", **DECAY, loss=False, window="all")  # Laplace's
    assert float(jnp.exp(flat.log_prob(0.0))) == pytest.approx(0.5, abs=1e-8)
    np.testing.assert_allclose(flat.log_prob(np.array([-0.0, 0.0])), np.log(0.5), atol=1e-8)
    assert bool(flat.support(0.0))
    # What NumPyro asks of a start.
    info = numpyro.infer.util.initialize_model(
        jax.random.key(0),
        lambda: numpyro.sample("w", flat),
        init_strategy=numpyro.infer.init_to_value(values={"w": 0.0}),
    )
    assert float(info.param_info.potential_energy) == pytest.approx(np.log(2.0), abs=1e-8)


@pytest.mark.parametrize("x", [False, True])
def test_the_outermost_draws(built, x, monkeypatch):
    """The least and the largest number of `jax.random.uniform` become draws that lie as far out on either side."""
    one = built("a prior on the line")
    with jax.enable_x64(x):
        eps = float(jnp.finfo(jnp.result_type(float)).eps)
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype, **_: jnp.array([0.0, 1.0 - eps], dtype))
        low, high = (float(z) for z in one.sample(jax.random.key(0), (2,)))
    expected = scipy.optimize.brentq(
        lambda z: scipy.integrate.quad(scipy.special.k0, z, z + 40.0, epsabs=0.0)[0] / np.pi - eps / 2, 1, 40
    )
    # In float64 q is 1e-16, of which the table knows no digit; in float32 1 − q has one digit.
    assert -low == pytest.approx(expected, abs=2.0 if x else 0.01)
    assert high == pytest.approx(expected, abs=2.0 if x else 0.8)


REFUSED = {
    "many coordinates": (lambda: law("exact", model="relu"), ConfigError, "of one coordinate"),
    "a table of settings": (
        lambda: inspect.unwrap(law)("exact", {"beta": 10}),
        ConfigError,
        "be a RunConfig, or left out",
    ),
    "SGD": (lambda: law("exact", sampler="sgd", noise="label"), ConfigError, "a Gibbs measure"),
    "a prior without a window": (lambda: law("exact", loss=False), ConfigError, "where the loss is left out"),
    "a window that decreases": (lambda: law("slice", window=(2.0, 1.0)), ConfigError, "increasing"),
    "no such window": (lambda: law("slice", window="half"), ConfigError, "auto, branch, all"),
    "off the branch": (
        lambda: law("exact", model="rotation", confine="none", window=(-2.0, -1.0)),
        ConfigError,
        "on a branch of r",
    ),
    "no such law": (lambda: law("cut"), ConfigError, "law"),
    "not normalisable at 0": (lambda: law("slice", window="branch"), LawError, "cannot be normalised towards 0"),
}


@pytest.mark.full(
    only=["many coordinates", "a window that decreases", "off the branch", "no such law", "not normalisable at 0"]
)
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(case):
    make, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("window", [1.0, None, (1.0,), (1.0, 2.0, 3.0), ("a", "b"), ("1", 2.0), "half"])
def test_a_window_that_is_none_is_refused(window):
    """By `law`'s first line: what it gets is refused here before, by the tests' type checker."""
    with pytest.raises(ConfigError, match="window must be auto, branch, all or two numbers, got "):
        _window(window)


def test_a_window_without_order_is_refused():
    for window in ((np.nan, 1.0), (1.0, 1.0)):
        with pytest.raises(ConfigError, match="window must be two increasing numbers, got "):
            _window(window)


def test_moments_are_those_of_known_laws_and_of_another_quadrature(x64):
    """K₀ with λ = T is the law of a product of two normals: variance 1; its pushforward is Laplace's: variance 2."""
    prior = {"confine": "weight-decay", "weight_decay": 0.1, "loss": False, "window": "all"}
    for name, variance in (("exact", 1.0), ("pushforward", 2.0)):
        made = law(name, **prior)
        assert float(made.mean) == pytest.approx(0.0, abs=1e-8)
        assert float(made.variance) == pytest.approx(variance, rel=1e-8)
    made = law("slice", beta=10.0)
    z = np.linspace(*made.window, 20_001)
    p = np.exp(np.asarray(made.log_prob(z)))
    mean = scipy.integrate.trapezoid(p * z, z)
    assert float(made.mean) == pytest.approx(mean, abs=1e-7)
    assert float(made.variance) == pytest.approx(scipy.integrate.trapezoid(p * (z - mean) ** 2, z), abs=1e-7)
    assert abs(float(made.mean) - float(law("hard", beta=10.0).mean)) > 0.01


@pytest.mark.parametrize(("slope", "finite"), [(0.5, (False, False)), (1.5, (True, False)), (2.5, (True, True))])
def test_a_tail_decides_which_moments_are_finite(slope, finite):
    """All mass beyond z = e, where p ∝ z^(−1−s) as Pareto's: the mean is e s/(s − 1) for s > 1."""
    piece = Piece(Stretch(0.0, np.inf, True, True), 0, 1, 1.0, 1.0, 1.0, (1.0, slope), (0.0, 1.0), 0.0, 1.0, (0.0, 0.0))
    panels = np.full((1, 17), 0.0), np.zeros((1, 18)), np.zeros(1), np.ones(1), np.zeros(1)  # one of no width
    found = moments(Table(*panels, (piece,)))
    assert tuple(np.isfinite(found)) == finite
    if finite[0]:
        assert found[0] == pytest.approx(np.e * slope / (slope - 1))
