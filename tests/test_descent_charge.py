"""χ that a noise lets diffuse: said before the draws by its Σ, and after them by what the draws show."""

import jax
import jax.numpy as jnp
import numpy as np
import own_noises
import pytest

from langevin_ib import RunConfig, run
from langevin_ib.dynamics.covariance import gradient_noise
from langevin_ib.dynamics.meter import measure
from langevin_ib.dynamics.noise import Noise, own_noise
from langevin_ib.models import build_model
from langevin_ib.runs import descent_charge
from langevin_ib.runs.descent_charge import diffusion_doubts, growth_doubts, lies_across
from langevin_ib.runs.descent_details import SgdDetails
from langevin_ib.statistics.sample import Moments

OPTIONS = {"samples": 8, "scatter": 1.0}
FEW = own_noise(own_noises.everywhere, draws=1024, words="a noise everywhere")
ACROSS = own_noise(own_noises.labelled, draws=1024, words="labels")


@pytest.mark.parametrize(
    ("noise", "along"),
    [
        (Noise("label", label_noise=1.0), False),
        (Noise("minibatch", 2), False),
        (Noise("bernoulli"), False),
        (Noise("test_descent_charge:ACROSS"), False),
        (Noise("label", label_noise=1.0, isotropized=True), True),
        (Noise("isotropic", label_noise=1.0), True),
        (Noise("test_descent_charge:FEW"), True),
    ],
    ids=["label", "minibatch", "bernoulli", "function", "isotropized", "isotropic", "everywhere"],
)
@pytest.mark.full(but=["minibatch", "isotropic", "everywhere"])
def test_a_noise_along_the_orbits_is_doubted_where_nothing_confines_chi(noise, along, x64):
    """By Σ at a point; those whose share along the orbits is 0, and every noise with a confinement, are controls."""
    model = build_model("uv", OPTIONS)
    params = jnp.array([1.1, 0.9])
    assert model.training is not None
    meter = measure(model, gradient_noise(model.training, noise, params).covariance, params, 0.1)
    doubts = diffusion_doubts(noise, meter, proper=False)
    assert lies_across(noise, meter) is not along
    assert [doubt.about for doubt in doubts] == ["charge"] * along
    assert diffusion_doubts(noise, meter, proper=True) == []
    if along:
        text = f"{noise.words} on an unconfined model: χ diffuses without end, nothing is stationary"
        assert doubts[0].text == text


def stretches_of(charge, ends=(8, 16, 32, 64, 100)):
    """Moments in each stretch of paths (chain, draw)."""
    parts = np.split(charge[..., None], ends[:-1], axis=1)
    return [Moments(np.full(len(charge), part.shape[1]), part.mean(axis=1), part.var(axis=1)) for part in parts]


def settled(random, chains=64, draws=100):
    """A stationary autoregression, of a correlation time of ten draws, about 0."""
    path, paths = random.normal(size=chains), []
    for _ in range(draws):
        path = 0.9 * path + 0.19**0.5 * random.normal(size=chains)
        paths.append(path)
    return np.stack(paths, axis=1)


@pytest.mark.parametrize("steps", ["normal", "student"])
def test_chi_that_diffuses_from_its_start_is_seen(steps):
    """By 32 chains, of whose steps those of Student's t of 1.5 degrees have no variance; a χ that decays is not."""
    random = np.random.default_rng(0)
    moves = random.normal(size=(32, 100)) if steps == "normal" else random.standard_t(1.5, (32, 100))
    walk = 0.3 * np.cumsum(moves, axis=1)
    (doubt,) = growth_doubts(np.zeros((32, 1)), stretches_of(walk), 1.0, shrinks=True)
    assert "χ has grown in" in doubt.text
    assert (doubt.number or 0.0) < descent_charge.GROWTH_LEVEL
    decay = random.normal(size=(32, 1)) * np.exp(-0.05 * np.arange(1, 101))
    assert growth_doubts(decay[:, :1], stretches_of(decay), 1.0, shrinks=True) == []
    assert growth_doubts(np.zeros((32, 1)), stretches_of(0.01 * walk / np.abs(walk).max()), 1.0, shrinks=True) == []
    assert growth_doubts(np.zeros((16, 1)), stretches_of(walk[:16]), 1.0, shrinks=True) != []  # all of few
    unknown = np.full_like(walk, np.nan)
    assert growth_doubts(np.zeros((32, 1)), stretches_of(unknown), 1.0, shrinks=True) == []


def test_chi_that_still_grows_is_seen_wherever_it_began():
    random = np.random.default_rng(1)
    walk = 0.1 * np.cumsum(random.normal(size=(256, 100)), axis=1)
    (doubt,) = growth_doubts(None, stretches_of(walk), 1.0, shrinks=False)
    assert "χ still grows" in doubt.text
    (doubt,) = growth_doubts(np.ones((256, 1)), stretches_of(walk), 1.0, shrinks=False)
    assert "χ still grows" in doubt.text


def test_how_often_chi_that_does_not_grow_is_doubted(monkeypatch):
    """At a level of 5% in place of 1e-6, over 200 ensembles: more than 23 have a probability of 1e-4 at 5%.

    χ that moves with them grows by nothing, where the test asks for more than 5%; one that has grown by 5% is its null.
    """
    monkeypatch.setattr(descent_charge, "GROWTH_LEVEL", 0.05)
    random = np.random.default_rng(2)
    doubted = 0
    for _ in range(200):
        path = settled(random)
        path[:, 64:] *= 1.0 + descent_charge.OFF_SLICE
        doubted += bool(growth_doubts(None, stretches_of(path), 1.0, shrinks=True))
    assert 0 < doubted <= 23


def test_a_share_of_chains_that_is_half_has_not_grown(monkeypatch):
    """Of the other test, at its own null: each of 64 chains has grown with probability one half."""
    monkeypatch.setattr(descent_charge, "GROWTH_LEVEL", 0.05)
    random = np.random.default_rng(3)
    doubted = 0
    for _ in range(200):
        level = random.choice([0.9, 1.2], size=(64, 1)) * np.ones(100)
        doubted += bool(growth_doubts(np.ones((64, 1)), stretches_of(level), 1.0, shrinks=True))
    assert 0 < doubted <= 23


def away_from_the_minimum(key, params, examples):
    """Labels that move, and a push in every direction that grows with |∇L|: along the orbits, not at the minimum."""
    noisy = examples.gradient(params, labels=examples.y + jax.random.normal(key, examples.y.shape))
    size = 2.0 * jnp.tanh(50.0 * jnp.sum(examples.gradient(params) ** 2))
    return noisy + size * jax.random.normal(jax.random.fold_in(key, 1), params.shape)


RUN = {"sampler": "sgd", "options": OPTIONS, "lr": 0.02, "bins": 8, "burn_in": 1000, "precision": 64}
ELSEWHERE = own_noise(away_from_the_minimum, draws=1024, words="a push away from the minimum")


@pytest.mark.full
def test_a_run_whose_noise_lies_across_the_orbits_at_the_minimum_alone_is_doubted_by_its_draws():
    """Its Σ at the minimum has no part along them; the control, labels alone, leaves χ where it is."""
    settings = RUN | {"chains": 64, "steps": 20_000}
    result = run(RunConfig(noise="test_descent_charge:ELSEWHERE", **settings))
    assert isinstance(result.details, SgdDetails)
    assert result.details.meter.orbit_share < descent_charge.ACROSS
    (doubt,) = [doubt for doubt in result.doubts if doubt.about == "charge"]
    assert "χ has grown in" in doubt.text
    assert set(result.verdicts.values()) == {"undecided"}
    healthy = run(RunConfig(noise="label", label_noise=1.0, **settings))
    assert not [doubt for doubt in healthy.doubts if doubt.about == "charge"]


@pytest.mark.full
def test_a_run_of_a_noise_everywhere_says_so_before_it_draws(caplog):
    settings = RUN | {"chains": 64, "steps": 2_000, "noise": "test_descent_charge:FEW"}
    result = run(RunConfig(**settings))
    text = "a noise everywhere on an unconfined model: χ diffuses without end, nothing is stationary"
    assert text in caplog.text
    assert text in [doubt.text for doubt in result.doubts]
    assert set(result.verdicts.values()) == {"undecided"}
