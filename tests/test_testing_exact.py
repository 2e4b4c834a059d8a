"""Exact draws on the plane against quadrature and MALA, and the checks of what kinds state of themselves."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from langevin_ib.dynamics.kernel import Target, kernel_kind
from langevin_ib.errors import ConfigError
from langevin_ib.testing import ConformanceError, check_invariance, checks_of, exact_draws
from langevin_ib.testing.exact import _quantile, log_density_along

T = 0.1
CASES = {"stiff": {"kappa": 10.0}, "weight-decay": {"weight_decay": 0.1}}
MUCH = {"steps": 100, "draws": 32768}


@pytest.fixture(scope="module")
def draws():
    return {name: exact_draws(beta=10.0, confine=name, **case) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_quantiles_along_an_orbit_are_those_of_quadrature(name, draws, x64):
    """Oracle: ∫ exp(−C(t)/T) dt by SciPy; on the orbits of uv dθ = dt dz."""
    shares, reduction = np.linspace(0.001, 0.999, 9), draws[name].reduction
    quantile = jax.jit(
        jax.vmap(lambda share, z: _quantile(lambda t: log_density_along(reduction, t, z), share), in_axes=(0, None))
    )
    for z in (0.02, 0.7, -1.6):

        def along(t, z=z):
            chi, square = abs(z) * np.sinh(2 * t), 2 * abs(z) * np.cosh(2 * t)
            return np.exp(-(5.0 * chi**2 if name == "stiff" else 0.05 * square) / T)

        ends = np.asarray(quantile(jnp.asarray(shares), jnp.asarray(z)))
        below = [integrate.quad(along, 0.0, t, limit=200)[0] for t in ends]
        total = 2 * integrate.quad(along, 0.0, 12.0, points=[0.1, 1.0, 4.0], limit=400)[0]
        np.testing.assert_allclose(np.array(below) / total + 0.5, shares, atol=1e-6)


def test_draws_are_in_every_quadrant_and_have_the_virial_of_their_temperature(draws, x64):
    """E θ_i ∂V/∂θ_i = T of each, within five standard errors."""
    x = draws["stiff"].sample(jax.random.key(0), (40_000,))
    quadrants = np.mean((np.sign(np.asarray(x)) == np.array([[[1, 1]], [[-1, -1]], [[1, -1]], [[-1, 1]]])).all(-1), 1)
    assert abs(quadrants[0] - quadrants[1]) < 0.02
    assert quadrants[0] > 0.4
    assert quadrants.min() > 0.001
    heat = np.asarray(x * jax.jit(jax.vmap(jax.grad(draws["stiff"].loss)))(x))
    assert np.all(np.abs(heat.mean(axis=0) - T) < 5 * heat.std(axis=0) / 200)


def mala(draws, factor):
    kind = kernel_kind("mala")
    target = Target(draws.loss, factor * T, jnp.zeros(2), lambda x: jnp.zeros(0))
    kernel = kind.build(kind.settings(), target, 0.03)
    return lambda key, x: kernel.step(key, kernel.init(x, None), None)[0].position


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_mala_on_the_plane_keeps_its_law_and_not_at_another_temperature(name, draws, x64):
    """A right step is refused with probability 1e-5; T is 5% too large in the control."""
    law = draws[name]
    assert check_invariance(mala(law, 1.0), law, key=1, **MUCH)
    wrong = check_invariance(mala(law, 1.05), law, key=1, **MUCH)
    assert not wrong
    assert wrong.shifts["log p"].value < 0


def walk(temperature):
    """Random-walk Metropolis in NumPy, on uv under stiff confinement, all chains at once."""

    def energy(x):
        u, v = x.T
        return 0.5 * (u * v - 1) ** 2 + 5.0 * (0.5 * (u * u - v * v)) ** 2

    def step(rng, x):
        there = x + 0.3 * rng.normal(size=x.shape)
        accepted = np.log(rng.uniform(size=len(x))) < (energy(x) - energy(there)) / temperature
        return np.where(accepted[:, None], there, x)

    return step


def test_a_step_in_numpy_moves_all_chains_or_one(draws, x64):
    law = draws["stiff"]
    assert check_invariance(walk(T), law, key=1, steps=20, draws=1024, batched=True)
    assert not check_invariance(walk(2 * T), law, key=1, steps=20, draws=1024, batched=True)
    assert check_invariance(lambda rng, x: x * rng.choice([-1, 1]), law, key=1, draws=1024)
    assert not check_invariance(lambda rng, x: x * rng.choice([-1, 2]), law, key=1, draws=1024)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "model must be of one coordinate and a group of one dimension, on the plane"),
        ({"confine": "hard"}, "confine must be one that lets chains spread"),
        ({"confine": "none"}, "confine must be one that lets chains spread"),
    ],
)
def test_what_has_no_exact_draws_is_refused_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        exact_draws(**settings)
    assert "\n" not in str(caught.value)


def test_a_model_whose_orbits_do_not_fill_the_plane_is_refused(monkeypatch):
    """That of the plug-in has s > 0 only."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "plugin"))
    with pytest.raises(ConfigError, match=r"up to signs of parameters, fill the plane, got boost, where \d+ of 32"):
        exact_draws(model="orbit_extras.boost:boost")


def test_a_step_that_fails_or_changes_its_shape_is_refused(draws):
    law = draws["stiff"]
    with pytest.raises(ConfigError, match=r"got one that fails: jax: .*; numpy: "):
        check_invariance(lambda key, x: key.nothing, law, key=1, draws=64)
    with pytest.raises(ConfigError, match=re.escape("step must be one that keeps the position's shape (2,), got (1,)")):
        check_invariance(lambda key, x: x[:1], law, key=1, draws=64)


FAULTS = [
    ("kernel", "HOT", "mean after", "mean_after gives"),
    ("kernel", "HOT", "innovation", "φ less its innovation"),
    ("kernel", "HOT_PROJECTED", "virial", "on a flat slice virial gives"),
    ("kernel", "ALL_HOT_PROJECTED", "temperature", "its temperature is"),
    ("kernel", "HOT_MALA", "full space", "The law does not stay"),
    ("kernel", "WRONG_INNOVATION", "innovation", "φ less its innovation changes"),
    ("kernel", "NO_NORMALS", "increments", "increments have to be standard normals: moment 2"),
    ("confinement", "WRONG_STRENGTHS", "strengths", "the gradient of its energy is not that of Strengths"),
    ("noise", "WIDER", "kicks", "as stated"),
    ("noise", "DOUBLED", "mean after", "after a step of SGD the mean of"),
]


@pytest.mark.full(
    but=[
        "mean after-HOT", "innovation-WRONG_INNOVATION", "increments-NO_NORMALS", "strengths-WRONG_STRENGTHS",
    ]
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "name", "check", "words"), FAULTS, ids=[f"{check}-{name}" for _, name, check, _ in FAULTS]
)
def test_a_fault_of_five_percent_is_found_by_its_check(kind, name, check, words):
    """15% of a temperature on a slice, where nothing is stated, and 10% of a covariance."""
    settings = {"kappa": 3.0} if kind == "confinement" else {}
    (found,) = (one for one in checks_of(kind, f"wrong_kinds:{name}", **settings) if one.name == check)
    with pytest.raises(ConformanceError, match=words):
        found()
