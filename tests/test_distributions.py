"""Laws as NumPyro distributions: normalised, the quantile the inverse of the distribution, draws of it, gradients."""

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
from langevin_ib.laws import bin_masses, law_kind
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


REFUSED = {
    "many coordinates": (lambda: law("exact", model="relu"), ConfigError, "of one coordinate"),
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


@pytest.mark.full(but=["a prior without a window", "no such window", "SGD"])
@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(case):
    make, kind, text = REFUSED[case]
    with pytest.raises(kind, match=text) as refused:
        make()
    assert "\n" not in str(refused.value)
