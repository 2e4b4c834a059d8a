"""The orbit integral against its Bessel functions, and its refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from langevin_ib.confinement import stiff, weight_decay
from langevin_ib.errors import LawError
from langevin_ib.laws.orbit import check_splits, log_orbit_integral, traces
from langevin_ib.models import Chart, Model

T = 0.1
pytestmark = pytest.mark.usefixtures("x64")


def pair_model(p, q, pairs=1):
    """`pairs` independent pairs whose loss depends on the moduli alone; only the action and χ matter here."""

    def act(t, params):
        return {"a": params["a"] * jnp.exp(t)[:, None], "b": params["b"] * jnp.exp(-t)[:, None]}

    def moduli(params):
        return jnp.linalg.norm(params["a"], axis=1) * jnp.linalg.norm(params["b"], axis=1)

    def moment_map(params):
        return 0.5 * (jnp.sum(params["a"] ** 2, axis=1) - jnp.sum(params["b"] ** 2, axis=1))

    def section(invariants):
        root = jnp.sqrt(invariants["s"])[:, None]
        return {"a": jnp.eye(1, p) * root, "b": jnp.eye(1, q) * root}

    return Model(
        name="pair",
        group="rescaling",
        group_dim=pairs,
        loss=lambda params: jnp.sum((moduli(params) - 1.0) ** 2),
        act=act,
        moment_map=moment_map,
        invariants=lambda params: {"s": moduli(params)},
        section=section,
        init=lambda key: {"a": jax.random.normal(key, (pairs, p)), "b": jnp.ones((pairs, q))},
    )


S = np.array([0.02, 0.3, 1.0, 4.0])


def orbit_integrals(p, q, confinement, s):
    chart = Chart(pair_model(p, q))
    one = jax.jit(lambda x: log_orbit_integral(chart, confinement, T, chart.section(x[None])))
    return np.array([one(x) for x in jnp.asarray(s)])


@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 3), (2, 2), (3, 5), (6, 2)])
@pytest.mark.parametrize("strength", [0.05, 1.0, 50.0])
def test_under_weight_decay_it_is_a_bessel_function_of_order_half_the_difference(p, q, strength):
    x = strength * S / T
    wanted = np.log(special.kve(0.5 * (p - q), x))  # 2 K_ν(x) e^x, halved: u = 2t
    np.testing.assert_allclose(orbit_integrals(p, q, weight_decay(strength), S), wanted, atol=1e-9)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 3), (2, 2), (3, 5)])
@pytest.mark.parametrize("kappa", [1.0, 40.0, 400.0])
def test_under_stiff_confinement_it_is_a_scaled_bessel_function_of_order_a_quarter_of_the_difference(p, q, kappa):
    x = kappa * S**2 / (4 * T)
    wanted = np.log(0.5 * special.kve(0.25 * (p - q), x))
    np.testing.assert_allclose(orbit_integrals(p, q, stiff(kappa), S), wanted, atol=1e-9)


def test_two_pairs_give_the_product_of_two():
    chart = Chart(pair_model(1, 3, pairs=2))
    both = log_orbit_integral(chart, weight_decay(0.5), T, chart.section(jnp.array([0.3, 1.0])))
    np.testing.assert_allclose(both, orbit_integrals(1, 3, weight_decay(0.5), [0.3, 1.0]).sum(), atol=1e-9)


def test_the_generators_traces_are_the_difference_of_the_dimensions():
    chart = Chart(pair_model(2, 5))
    np.testing.assert_allclose(traces(chart, chart.section(jnp.array([1.0]))), [2 - 5], atol=1e-12)


def test_a_confinement_that_couples_the_generators_is_refused():
    chart, point = Chart(pair_model(2, 2, pairs=2)), {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))}
    check_splits(chart, stiff(4.0), point)
    coupled = dataclasses.replace(stiff(4.0), energy=lambda model, params: jnp.sum(model.moment_map(params)) ** 2)
    with pytest.raises(LawError, match="no sum over the generators"):
        check_splits(chart, coupled, point)


def test_an_action_that_is_not_linear_is_refused():
    model = pair_model(1, 1)
    bent = dataclasses.replace(model, act=lambda t, p: {"a": p["a"] + t[:, None], "b": p["b"] - t[:, None]})
    with pytest.raises(LawError, match="not linear"):
        check_splits(Chart(bent), stiff(4.0), {"a": jnp.ones((1, 1)), "b": jnp.ones((1, 1))})
