"""The orbit integral against its Bessel functions, and its refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.errors import LawError
from langevin_ib.laws import Reduction
from langevin_ib.laws.named.exact import exact, exact_formula
from langevin_ib.laws.orbit import check_splits, log_orbit_integral, traces
from langevin_ib.laws.pair import decayed_law, stiff_law
from langevin_ib.models import Chart, Model, build_model

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


@pytest.mark.full
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 3), (2, 2), (3, 5), (6, 2)])
@pytest.mark.parametrize("strength", [0.05, 1.0, 50.0])
def test_under_weight_decay_it_is_a_bessel_function_of_order_half_the_difference(p, q, strength):
    x = strength * S / T
    wanted = np.log(special.kve(0.5 * (p - q), x))  # 2 K_ν(x) e^x, halved: u = 2t
    np.testing.assert_allclose(orbit_integrals(p, q, weight_decay(strength), S), wanted, atol=1e-9)


@pytest.mark.full
@pytest.mark.parametrize(("p", "q"), [(1, 1), (1, 3), (2, 2), (3, 5)])
@pytest.mark.parametrize("kappa", [1.0, 40.0, 400.0])
def test_under_stiff_confinement_it_is_a_scaled_bessel_function_of_order_a_quarter_of_the_difference(p, q, kappa):
    x = kappa * S**2 / (4 * T)
    wanted = np.log(0.5 * special.kve(0.25 * (p - q), x))
    np.testing.assert_allclose(orbit_integrals(p, q, stiff(kappa), S), wanted, atol=1e-9)


@pytest.mark.full
def test_two_pairs_give_the_product_of_two():
    chart = Chart(pair_model(1, 3, pairs=2))
    both = log_orbit_integral(chart, weight_decay(0.5), T, chart.section(jnp.array([0.3, 1.0])))
    np.testing.assert_allclose(both, orbit_integrals(1, 3, weight_decay(0.5), [0.3, 1.0]).sum(), atol=1e-9)


@pytest.mark.full
def test_the_generators_traces_are_the_difference_of_the_dimensions():
    chart = Chart(pair_model(2, 5))
    np.testing.assert_allclose(traces(chart, chart.section(jnp.array([1.0]))), [2 - 5], atol=1e-12)


@pytest.mark.full
def test_a_confinement_that_couples_the_generators_is_refused():
    chart, point = Chart(pair_model(2, 2, pairs=2)), {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))}
    check_splits(chart, stiff(4.0), point)
    coupled = dataclasses.replace(stiff(4.0), energy=lambda model, params: jnp.sum(model.moment_map(params)) ** 2)
    with pytest.raises(LawError, match="no sum over the generators"):
        check_splits(chart, coupled, point)


@pytest.mark.full
def test_an_action_that_is_neither_linear_nor_affine_is_refused():
    """The control is a translation; the second action doubles with its argument and is not linear for that."""
    model = pair_model(1, 1)
    point = {"a": jnp.ones((1, 1)), "b": 2.0 * jnp.ones((1, 1))}

    def acting(act):
        return Chart(dataclasses.replace(model, act=act))

    check_splits(acting(lambda t, p: {"a": p["a"] + t[:, None], "b": p["b"] - t[:, None]}), stiff(4.0), point)
    for bent in (
        lambda t, p: {"a": p["a"] + t[:, None] * p["b"] ** 2, "b": p["b"]},
        lambda t, p: {"a": p["a"] + t[:, None] * jnp.hypot(p["a"], p["b"]), "b": p["b"]},
    ):
        with pytest.raises(LawError, match="neither linear nor affine"):
            check_splits(acting(bent), stiff(4.0), point)


def shifts(n, loss=lambda z: 0.5 * jnp.sum((z - 1.0) ** 2)) -> Model:
    """θ ∈ R^n under θ ↦ θ + t(1, …, 1): z_i = θ_i − θ_n, χ = Σθ_i, ∇χ = ξ."""

    def section(found):
        theta = jnp.append(found["z"], 0.0)
        return theta - jnp.mean(theta)

    return Model(
        name="shifts",
        group="translations along (1, …, 1)",
        group_dim=1,
        loss=lambda theta: loss(theta[:-1] - theta[-1]),
        act=lambda t, theta: theta + t,
        moment_map=lambda theta: jnp.sum(theta)[None],
        invariants=lambda theta: {"z": theta[:-1] - theta[-1]},
        section=section,
        init=lambda key: jax.random.normal(key, (n,)),
    )


@pytest.mark.full(but=["stiff-0.0001-2"])
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("strength", [1e-9, 1e-4, 1.0, 1e10])
@pytest.mark.parametrize("confinement", [stiff, weight_decay])
def test_along_a_translation_the_integral_is_gaussian(n, strength, confinement):
    """C rises by κn²t²/2 or λnt²/2 from the slice: √(2πT/κn²) and √(2πT/λn), of any size."""
    chart = Chart(shifts(n))
    x = jnp.linspace(0.5, 2.0, n - 1)
    check_splits(chart, confinement(strength), chart.section(x))
    found = jax.jit(lambda x: log_orbit_integral(chart, confinement(strength), T, chart.section(x)))(x)
    rise = strength * (n**2 if confinement is stiff else n)
    rounding = 1e-15 * float(confinement(strength).energy(chart.model, chart.section(x))) / T
    np.testing.assert_allclose(found, 0.5 * np.log(2 * np.pi * T / rise), rtol=0, atol=1e-9 + rounding)


@pytest.mark.full
@pytest.mark.parametrize("strength", [1e-4, 1e4])
def test_exact_along_a_translation_is_the_gibbs_law_in_one_and_many_coordinates(strength):
    """Translations keep all lengths: e^{−ℓ/T} dz under stiff confinement, and e^{−(ℓ + λ|s|²/2)/T} dz, |s|² = z²/2."""
    z = np.linspace(-2.0, 3.0, 11)
    for confinement, extra in ((stiff(strength), 0.0), (weight_decay(strength), 0.25 * strength * z**2 / T)):
        law = exact(Reduction(shifts(2), confinement, T))
        wanted = -((z - 1.0) ** 2) / (2 * T) - extra
        np.testing.assert_allclose(np.ptp(law.log_density(z) - wanted), 0.0, atol=1e-8)
        reduction = Reduction(shifts(3), confinement, T)
        points = np.random.default_rng(0).normal(size=(5, 2))
        made = exact_formula(reduction)
        assert made.with_orbit

        def log_p(x, reduction=reduction, made=made):
            orbit = log_orbit_integral(reduction.chart, reduction.confinement, T, reduction.chart.section(x))
            return made.log_density(reduction.terms_at(x)._replace(log_orbit=orbit))

        found = np.asarray(jax.jit(jax.vmap(log_p))(jnp.asarray(points)))
        square = np.sum(points**2, axis=1) - np.sum(points, axis=1) ** 2 / 3
        penalty = 0.0 if confinement.name == "stiff" else 0.5 * strength * square / T
        wanted = -0.5 * np.sum((points - 1.0) ** 2, axis=1) / T - penalty
        np.testing.assert_allclose(np.ptp(found - wanted), 0.0, atol=1e-8)


def turned_pair(turn_b=True) -> Model:
    """A pair a, b ∈ R² under rescaling and, apart, rotations of either (or of a alone): z = |a||b|, and b's angle."""

    def rotate(angle, x):
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([cos * x[0] - sin * x[1], sin * x[0] + cos * x[1]])

    def invariants(p):
        size = jnp.linalg.norm(p["a"]) * jnp.linalg.norm(p["b"])
        return {"z": size} if turn_b else {"z": size, "w": p["b"][1] / p["b"][0]}

    def section(found):
        root = jnp.sqrt(found["z"])
        b = jnp.array([1.0, 0.0]) if turn_b else jnp.stack([jnp.ones_like(root), found["w"]])
        return {"a": root * jnp.array([1.0, 0.0]), "b": root * b / jnp.linalg.norm(b)}

    def compact_act(t, p):
        return {"a": rotate(t[0], p["a"]), "b": rotate(t[1], p["b"]) if turn_b else p["b"]}

    return Model(
        name="turned",
        group="rescaling and rotations",
        group_dim=1,
        loss=lambda p: 0.5 * (invariants(p)["z"] - 1.0) ** 2 + (0.0 if turn_b else 0.5 * invariants(p)["w"] ** 2),
        act=lambda t, p: {"a": p["a"] * jnp.exp(t[0]), "b": p["b"] * jnp.exp(-t[0])},
        moment_map=lambda p: 0.5 * (jnp.sum(p["a"] ** 2) - jnp.sum(p["b"] ** 2))[None],
        invariants=invariants,
        section=section,
        init=lambda key: {"a": jnp.array([1.0, 0.3]), "b": jnp.array([0.9, 0.1])},
        compact_dim=2 if turn_b else 1,
        compact_act=compact_act,
    )


@pytest.mark.full
def test_a_compact_part_that_acts_by_isometries_counts_by_the_volume_of_its_orbits():
    """Oracle: the Bessel law of the pair (2, 2), whose marginal of s is the same. Without the volume it is another."""
    z = np.linspace(0.2, 2.5, 12)

    def loss(s):
        return 0.5 * (s - 1.0) ** 2

    for confinement, bessel_law in ((stiff(4.0), stiff_law), (weight_decay(0.3), decayed_law)):
        wanted = bessel_law(2, 2, loss, T, confinement.strength).log_density(z)
        one = exact(Reduction(turned_pair(), confinement, T)).log_density(z)
        np.testing.assert_allclose(np.ptp(one - wanted), 0.0, atol=1e-8)
        assert np.ptp(one - bessel_law(1, 1, loss, T, confinement.strength).log_density(z)) > 1.0
        # Two coordinates, one of them b's slope w = tan φ: dφ = dw/(1 + w²).
        reduction = Reduction(turned_pair(turn_b=False), confinement, T)
        points = np.stack([z, np.linspace(-1.0, 1.5, z.size)], axis=1)
        made = exact_formula(reduction)

        def log_p(x, reduction=reduction, made=made):
            orbit = log_orbit_integral(reduction.chart, reduction.confinement, T, reduction.chart.section(x))
            return made.log_density(reduction.terms_at(x)._replace(log_orbit=orbit))

        found = np.asarray(jax.jit(jax.vmap(log_p))(jnp.asarray(points)))
        angle = -0.5 * points[:, 1] ** 2 / T - np.log1p(points[:, 1] ** 2)
        np.testing.assert_allclose(np.ptp(found - wanted - angle), 0.0, atol=1e-8)


@pytest.mark.full
def test_a_compact_part_that_does_not_commute_or_changes_the_confinement_is_refused():
    model = turned_pair()
    point = model.section({"z": jnp.asarray(1.3)})
    check_splits(Chart(model), stiff(4.0), point)
    lopsided = dataclasses.replace(stiff(4.0), energy=lambda model, p: p["a"][0] ** 2)
    with pytest.raises(LawError, match="changes along compact orbits"):
        check_splits(Chart(model), lopsided, point)
    swap = dataclasses.replace(model, compact_act=lambda t, p: {"a": p["b"] + 0 * t[0], "b": -p["a"]})
    with pytest.raises(LawError, match="does not commute"):
        check_splits(Chart(swap), weight_decay(1.0), point)


def test_under_a_confinement_that_is_constant_on_compact_orbits_their_volume_is_exact():
    """r e^{−(1 + λ)r²/2T} dr; a charge changes along the circle, and is refused."""
    r = np.linspace(0.1, 1.5, 8)
    law = exact(Reduction(build_model("rotation"), weight_decay(0.5), T))
    np.testing.assert_allclose(np.ptp(law.log_density(r) - np.log(r) + 1.5 * r**2 / (2 * T)), 0.0, atol=1e-10)
    with pytest.raises(LawError, match="compact orbit under a confinement that changes along it"):
        exact(Reduction(build_model("rotation"), stiff(4.0), T))
