"""Identities of a step: exact over the noise, zero on healthy runs, and far from it where a run is not what it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from jax.flatten_util import ravel_pytree

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.descent import SGDState, sgd
from langevin_ib.dynamics.descent_mean import DescentClaim
from langevin_ib.dynamics.kernel import Smoothed, Target, kernel_kind
from langevin_ib.dynamics.kernels import leimkuhler_matthews as lm
from langevin_ib.dynamics.noise import Noise
from langevin_ib.ensemble.accumulators import GapDraw, telescoped_gaps
from langevin_ib.laws import Reduction
from langevin_ib.models import build_model, uv
from langevin_ib.runs import descent_chains as descent
from langevin_ib.runs.identities import Words, _functions
from langevin_ib.statistics.identities import (
    LEVEL,
    About,
    Gaps,
    GapSums,
    Identity,
    identities_of,
    identity_doubts,
)
from langevin_ib.statistics.records import Absent

T, H = 0.1, 0.05
WITHIN = 4.0  # standard errors; of a healthy identity once in 16 000 times
SMALL = {"chains": 256, "steps": 8000, "step_check": False, "reference": "none"}
DESCENT = {"sampler": "sgd", "chains": 256, "steps": 12_000, "burn_in": 4000}
EXAMPLES = {"noise": "minibatch", "batch_size": 2, "options": {"samples": 16, "scatter": 2.0}}
RELU = DESCENT | {"model": "relu", "options": {"samples": 16}, "law_draws": 20_000}
MAIN = {"beta": 10.0, "step_check": False, "reference": "none"}
WORDS = Words("heat", "balance", "spread")


def functions(model, like, here, *, bent=False, **kinds):
    """The changes of |θ|²/2 and of what follows from χ, about a point."""
    reduction = Reduction(model, stiff(1.0), 1.0)
    return replace(_functions(reduction, like, WORDS, **kinds)[0], bent=bent).about(here)


def nodes(size):
    """Gauss–Hermite points of a normal vector, exact for polynomials of degree seven in each entry."""
    x, w = np.polynomial.hermite_e.hermegauss(4)
    grid = np.stack([part.ravel() for part in np.meshgrid(*[x] * size, indexing="ij")], axis=-1)
    weight = np.prod(np.stack([part.ravel() for part in np.meshgrid(*[w] * size, indexing="ij")]), axis=0)
    return grid, weight / weight.sum()


@pytest.mark.parametrize("name", ["euler-maruyama", "leimkuhler-matthews"])
@pytest.mark.parametrize("model", ["uv", "relu"])
def test_what_a_kernel_claims_is_the_mean_over_its_noise(name, model, x64):
    """Of |θ|²/2, of χ and of χ²/2, by a rule of quadrature that is exact for polynomials of their degree."""
    model = build_model(model, {} if model == "uv" else {"inputs": 2, "width": 1})
    kind, like = kernel_kind(name), jax.tree.map(lambda x: x.astype(jnp.float64), model.init(jax.random.key(3)))
    flat, unravel = ravel_pytree(like)
    target = Target(stiff(3.0).potential(model), T, like, model.moment_map)
    kernel = kind.build(kind.settings(), target, H)
    first = unravel(jnp.linspace(-1.0, 1.2, flat.size))
    state = kernel.step(first, kernel.init(like, None), None)[0]
    phi = functions(model, like, state.position, fourth=True)
    grid, weight = nodes(flat.size)
    after = jax.vmap(lambda noise: phi(kernel.step(unravel(noise), state, None)[0].position))(jnp.asarray(grid))
    mean_after = kind.claimed(kind.settings(), target, H)
    assert mean_after is not None
    np.testing.assert_allclose(mean_after(phi, state, None), weight @ np.asarray(after), rtol=1e-10, atol=1e-14)
    assert isinstance(phi, Smoothed)


def test_the_innovation_is_what_the_last_increment_added(x64):
    model, like = uv(), jnp.array([1.3, 0.4])
    kind, target = kernel_kind("leimkuhler-matthews"), Target(stiff(3.0).potential(model), T, like, model.moment_map)
    kernel = kind.build(kind.settings(), target, H)
    state = kernel.step(jnp.array([0.3, -1.1]), kernel.init(like, None), None)[0]
    phi = functions(model, like, like + 0.1, fourth=True)
    grid, weight = nodes(2)
    assert kind.innovation is not None
    innovation = kind.innovation(kind.settings(), target, H)
    each = jax.vmap(lambda noise: innovation(phi, kernel.step(noise, state, None)[0]))(jnp.asarray(grid))
    np.testing.assert_allclose(weight @ np.asarray(each), 0.0, atol=1e-14)
    assert np.abs(each).max() > 0.01


NOISES = {
    "label": Noise("label", None, 1.5),
    "minibatch": Noise("minibatch", 2),
    "minibatch with label noise": Noise("minibatch", 2, 0.7),
    "bernoulli": Noise("bernoulli"),
    "fresh": Noise("fresh", 3, 0.4),
}


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("name", NOISES)
def test_what_sgd_claims_is_the_mean_over_its_noise(name, momentum, x64):
    """Over 40 000 draws, each within four standard errors; and not with η 5% larger."""
    model = uv() if name == "fresh" else build_model("uv", {"samples": 6, "scatter": 1.0})
    noise, lr, decay, draws = NOISES[name], 0.3, 0.2, 40_000
    like, training = jnp.array([1.6, 0.5]), model.training
    assert training is not None
    kernel = sgd(model, like, noise=noise, lr=lr, momentum=momentum, weight_decay=decay)
    before = kernel.init(like, None)
    drawn = kernel.draw(jax.random.key(4), draws + 1)
    state = kernel.step(jax.tree.map(lambda x: x[0], drawn), before, None)[0]
    ends = jax.jit(jax.vmap(lambda one: kernel.step(one, state, None)[0]))(jax.tree.map(lambda x: x[1:], drawn))
    claim = DescentClaim(lambda p: model.loss(p) + decay * jnp.sum(p**2) / 2, training, noise, lr, momentum)
    phi = functions(model, like, state.position, bent=True)
    wanted = np.asarray(jax.vmap(phi)(ends.position))
    claimed = np.asarray(claim.mean_after(phi, state, None))
    if momentum:
        wanted = np.append(wanted, np.asarray(jax.vmap(claim.velocity_square)(ends))[:, None], axis=1)
        claimed = np.append(claimed, claim.velocity_gap(state) + claim.velocity_square(state))
    errors = (wanted.mean(axis=0) - claimed) / scipy.stats.sem(wanted)
    assert np.abs(errors).max() < WITHIN
    other = replace(claim, lr=1.05 * lr)
    assert abs(wanted.mean(axis=0)[0] - float(other.mean_after(phi, state, None)[0])) > 3 * scipy.stats.sem(wanted)[0]
    assert isinstance(state, SGDState)


def errors_of(result):
    """{name: standard errors off zero}."""
    return {one.name: one.errors for one in result.identities if isinstance(one, Identity)}


def run(**settings):
    return langevin_ib.run(RunConfig(**settings))


HEALTHY = {
    "leimkuhler-matthews": SMALL,
    "euler-maruyama": SMALL | {"integrator": "euler-maruyama"},
    "mala": {"chains": 256, "steps": 4000, "reference": "none", "integrator": "mala"},
    "hard": SMALL | {"confine": "hard"},
    "hard, curved": SMALL | {"confine": "hard", "model": "relu", "law_draws": 20_000},
    "weight-decay": SMALL | {"confine": "weight-decay"},
    "unconfined": SMALL | {"confine": "none"},
    "hadamard": SMALL | {"model": "hadamard", "options": {"dim": 2}, "law_draws": 20_000},
    "relu": SMALL | {"model": "relu", "law_draws": 20_000},
    "matrix": SMALL | {"model": "matrix", "law_draws": 20_000},
    "slab": SMALL | {"confine": "none", "slab": 0.5},
    "label noise": DESCENT,
    "sgd, relu": RELU,
    "minibatch": DESCENT | EXAMPLES,
    "momentum": DESCENT | {"momentum": 0.8},
    "decay": DESCENT | {"confine": "weight-decay", "weight_decay": 0.1},
    "isotropic": DESCENT | {"noise": "isotropic", "confine": "weight-decay"},
}
TESTED = {
    "minibatch": 1,  # χ is rounding there
    "decay": 1,
    "matrix": 5,
    "relu": 5,
    "sgd, relu": 3,
    "slab": 2,
    "hard": 1,
    "hard, curved": 1,
    "unconfined": 2,
    "hadamard": 5,
    "momentum": 3,
}


@pytest.mark.full(but=["leimkuhler-matthews"])
@pytest.mark.parametrize("name", HEALTHY)
def test_the_identities_of_a_healthy_run_are_zero(name):
    """Each within four standard errors: all of a run's once in 3000 times or more seldom."""
    result = run(**HEALTHY[name])
    errors = errors_of(result)
    assert len(errors) == TESTED.get(name, 2 if name in ("label noise", "isotropic") else 3)
    assert np.abs(list(errors.values())).max() < WITHIN
    assert not [doubt for doubt in result.doubts if doubt.about == "identity"]


def hotter(monkeypatch, factor):
    """Kernels whose steps are at another temperature than they were asked for."""
    own = lm.leimkuhler_matthews

    def wrong(potential, like, *, temperature, step_size):
        return own(potential, like, temperature=factor * temperature, step_size=step_size)

    monkeypatch.setattr(lm, "leimkuhler_matthews", wrong)


def stiffer(monkeypatch, factor):
    """A confinement that is not as strong as its settings say."""
    monkeypatch.setattr("langevin_ib.dynamics.confinements.stiff.stiff", lambda kappa: stiff(factor * kappa))


def altered(monkeypatch, **factors):
    """SGD with other numbers than it was asked for."""

    def wrong(model, like, *, noise, lr, momentum, weight_decay):
        momentum *= factors.get("mu", 1.0)
        lr *= factors.get("eta", 1.0)
        noise = replace(noise, label_noise=factors.get("s", 1.0) * noise.label_noise)
        decay = weight_decay * factors.get("decay", 1.0)
        return sgd(model, like, noise=noise, lr=lr, momentum=momentum, weight_decay=decay)

    monkeypatch.setattr(descent, "sgd", wrong)


FAULTS = {
    # On normals, where every draw is held against them: four points are cheap, and one in sixteen is.
    "T": (hotter, {"factor": 1.03}, SMALL | {"increments": "normal"}),
    "T by a hundredth": (hotter, {"factor": 1.01}, MAIN),
    "s": (altered, {"s": 1.1}, DESCENT),
    "η": (altered, {"eta": 1.1}, DESCENT),
    "η, minibatch": (altered, {"eta": 1.1}, DESCENT | EXAMPLES),
    "s, relu": (altered, {"s": 1.1}, RELU),
    "η, relu": (altered, {"eta": 1.1}, RELU),
    "κ": (stiffer, {"factor": 1.05}, SMALL | {"increments": "normal"}),
    "μ": (altered, {"mu": 0.9}, DESCENT | {"momentum": 0.8}),
}


@pytest.mark.full(but=["T"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_run_that_is_not_what_it_says_is_in_doubt(name, monkeypatch):
    """The same code and sample size as of the healthy ones."""
    fault, by, settings = FAULTS[name]
    fault(monkeypatch, **by)
    result = run(**settings)
    assert "identity" in {doubt.about for doubt in result.doubts}, errors_of(result)


def walk(steps, chains, drift, seed):
    """A walk with a drift as an accumulator's draws, (chain, step, …): φ = x²/2, E[x′ − x|x] = drift."""
    x = np.cumsum(drift + np.random.default_rng(seed).normal(size=(chains, steps)), axis=1)[..., None]
    gap = np.full_like(x, 0.5 * (1.0 + drift**2))
    return GapDraw(*map(jnp.asarray, (x, np.full_like(x, drift), gap, 0.5 * x**2)))


def telescoped(draws, thin):
    """Of each chain."""
    accumulator = telescoped_gaps(draws.position.shape[-1], 1, thin)

    def one(chain):
        acc = jax.lax.scan(lambda acc, draw: (accumulator.update(acc, draw), None), accumulator.init(), chain)[0]
        return accumulator.finalize(acc)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(draws))


@pytest.mark.parametrize("thin", [1, 5])
def test_chains_that_drift_have_mean_zero_once_their_change_is_taken_off(thin, x64):
    draws = walk(400, 2000, 0.3, 1)
    draws = jax.tree.map(lambda x: x[:, ::thin], draws)
    sums = telescoped(draws, thin)
    assert (sums.n == draws.gap.shape[1] - 2).all()
    means = sums.total[:, 0] / sums.n
    assert abs(means.mean()) < WITHIN * scipy.stats.sem(means)
    plain = telescoped(draws, 0).total[:, 0]
    assert plain.mean() > 100 * scipy.stats.sem(plain)  # the negative control


def test_about_the_first_draw_the_noise_is_that_of_the_distance_from_there(x64):
    """A walk that begins at 100: the same gaps about 0 have a noise of 100 a step."""
    draws = walk(50, 500, 0.0, 2)
    there = draws.position + 100.0
    far = draws._replace(position=there, value=0.5 * there**2)
    near, moved = telescoped(draws, 1), telescoped(far, 1)
    np.testing.assert_allclose(near.total, moved.total, atol=1e-8)
    none = jnp.zeros((*far.gap.shape[:2], 0))
    about_zero = telescoped(GapDraw(none, none, far.gap, far.value), 1)
    assert about_zero.total.std() > 10 * moved.total.std()


def test_the_level_of_a_doubt_is_that_of_five_errors_shared_by_those_tested():
    chains = 100_000
    rng = np.random.default_rng(2)
    size = np.ones((chains, 2))

    def doubts(errors):
        total = rng.normal(size=(chains, 2))
        total = (total - total.mean(axis=0)) / total.std(axis=0, ddof=1) + np.array([errors, 0.0]) / chains**0.5
        gaps = Gaps((About("one", "T"), About("two", "κ")), GapSums(np.full(chains, 4), 4 * total, size))
        results = identities_of(gaps)
        assert isinstance(results[0], Identity)
        assert results[0].errors == pytest.approx(errors, rel=1e-6)
        return identity_doubts(results)

    assert pytest.approx(5.733e-7, rel=1e-3) == LEVEL
    assert not doubts(5.1)
    (doubt,) = doubts(-5.2)
    assert doubt.limit == LEVEL / 2
    assert "identity one is -5.2 standard errors off" in doubt.text


def test_what_is_not_tested_says_why():
    (unchecked,) = identities_of(None)
    assert isinstance(unchecked, Absent)
    assert unchecked.why.startswith("unchecked")
    sums = GapSums(np.full(3, 4), np.zeros((3, 1)), np.ones((3, 1)))
    (still,) = identities_of(Gaps((About("virial", "T"),), sums))
    assert isinstance(still, Absent)
    assert "scatter" in still.why
    (few,) = identities_of(Gaps((About("virial", "T"),), sums._replace(n=np.array([4, 0, 4]))))
    assert isinstance(few, Absent)


@pytest.mark.parametrize(("charge", "why"), [
    (1e-9, "χ is 0 to rounding where the chains end"), (0.5, "the noise of a step moves χ by no more than rounding"),
])  # fmt: skip
def test_of_a_charge_that_tests_nothing_the_reason_is_said(charge, why):
    value = np.stack([np.ones(64), np.full(64, charge)], axis=1)
    sums = GapSums(np.full(64, 100), np.stack([np.random.default_rng(0).normal(size=64), np.zeros(64)], axis=1), value)
    tested = (About("virial", "T"), About("Ward", "the drift", 1))
    _, ward = identities_of(Gaps(tested, sums))
    assert isinstance(ward, Absent)
    assert ward.why.startswith(why)
