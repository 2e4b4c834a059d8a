"""The implicit bias and its minimum along an orbit, against the paper's closed forms, in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib import geometry
from langevin_ib.geometry.correction import effective_loss, implicit_bias, minimise_along_orbit
from langevin_ib.models import attention, hadamard, matrix, relu, rotation, uv, with_moment_map

T = 0.3
pytestmark = pytest.mark.usefixtures("x64")


def uv_pairs(params):
    """|a_j| and |b_j| of the vector pairs that a model is made of, after which one may write every closed form."""
    return jnp.abs(params[:1]), jnp.abs(params[1:])


def hadamard_pairs(params):
    return jnp.abs(params["u"]), jnp.abs(params["v"])


def relu_pairs(params):
    return jnp.linalg.norm(params["W"], axis=1), jnp.abs(params["v"])


def attention_pairs(params):
    return tuple(jnp.ravel(jnp.linalg.norm(params[name], axis=1)) for name in "QK")


def matrix_pairs(params):
    return tuple(jnp.linalg.norm(params[name], axis=0) for name in "UV")


PAIRS = {
    "uv": (uv(), uv_pairs),
    "hadamard, eq. (15)": (hadamard(dim=4), hadamard_pairs),
    "relu, eq. (46)": (relu(inputs=3, width=2), relu_pairs),
    "attention, eq. (50)": (attention(inputs=3, width=2), attention_pairs),
    "matrix, eq. (58)": (matrix(rows=4, cols=3, rank=2), matrix_pairs),
}


def orbit_points(model, seed=0):
    """Points of one orbit: a random one, then ratios of factors up to 1e3 and 1e6 in random directions of the group."""
    key_point, key_move = jax.random.split(jax.random.key(seed))
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model.init(key_point))
    far = 0.5 * np.log([1.0, 1e3, 1e6])[:, None] * jax.random.uniform(key_move, (3, model.group_dim), minval=-1.0)
    return jax.vmap(lambda t: model.act(t, start))(far)


def minima(model, points):
    return jax.jit(jax.vmap(lambda point: minimise_along_orbit(model, point)))(points)


@pytest.mark.full(but=["uv"])
@pytest.mark.parametrize("name", PAIRS)
def test_the_bias_is_the_sum_of_logarithms_of_the_paper_at_every_point(name):
    model, pairs = PAIRS[name]
    for params in (model.init(jax.random.key(k)) for k in range(3)):
        a, b = pairs(params)
        np.testing.assert_allclose(implicit_bias(model, params, T), T / 2 * jnp.sum(jnp.log(a**2 + b**2)), atol=1e-10)


@pytest.mark.full
@pytest.mark.parametrize("name", PAIRS)
def test_the_minimum_on_an_orbit_of_pairs_is_the_sum_of_log_2s_at_equal_norms(name):
    """Eqs. (16), (47), (51), (59): from near and from far the same balanced point."""
    model, pairs = PAIRS[name]
    points = orbit_points(model)
    found = minima(model, points)
    a, b = jax.vmap(pairs)(points)
    assert found.converged.all()
    np.testing.assert_allclose(found.log_det, jnp.sum(jnp.log(2 * a * b), axis=1), atol=1e-10)
    balanced_a, balanced_b = jax.vmap(pairs)(found.params)
    np.testing.assert_allclose(balanced_a, balanced_b, rtol=1e-9)
    for moved, wanted in zip(
        jax.tree.leaves(jax.vmap(model.act)(found.t, points)), jax.tree.leaves(found.params), strict=True
    ):
        np.testing.assert_allclose(moved, wanted, rtol=1e-12)
    start = jax.tree.map(lambda leaf: leaf[0], points)
    assert geometry.log_det_gram(model, start) > found.log_det[0] + 1e-3  # the start was no minimum


@pytest.mark.full
@pytest.mark.parametrize("depth", [3, 5])
def test_the_minimum_of_deep_uv_is_depth_times_a_power_of_z(depth):
    """det H is least at equal moduli, where it is D |z|^{2(D−1)/D}: 3 z^{4/3} for D = 3."""
    model = uv(depth=depth)
    found = minima(model, orbit_points(model))
    z = jnp.abs(jax.vmap(lambda p: model.invariants(p)["z"])(orbit_points(model)))
    assert found.converged.all()
    np.testing.assert_allclose(found.log_det, jnp.log(depth) + 2 * (depth - 1) / depth * jnp.log(z), atol=1e-10)


@pytest.mark.full
def test_the_minimum_on_an_orbit_of_the_general_linear_group():
    """Σ log 2σ_i + Σ_{i<j} log(σ_i + σ_j), with a group that does not commute."""
    n = 3
    model = matrix(rows=n, cols=n, rank=n, group="gl")
    points = orbit_points(model)
    found = minima(model, points)
    sigma = np.linalg.svd(jax.vmap(lambda p: p["U"] @ p["V"].T)(points)[0], compute_uv=False)
    wanted = np.log(2 * sigma).sum() + sum(np.log(sigma[i] + sigma[j]) for i in range(n) for j in range(i))
    assert found.converged.all()
    np.testing.assert_allclose(found.log_det, wanted, atol=1e-10)
    np.testing.assert_allclose(jax.vmap(model.moment_map)(found.params), 0.0, atol=1e-8)


@pytest.mark.full
def test_singular_modes_have_the_least_bias_of_all_factors_of_one_matrix():
    """Eqs. (57)–(60): Σ log 2σ_j for columns along the singular vectors, and more for the same product otherwise."""
    model = matrix(rows=3, cols=3, rank=2)
    q, p = (jnp.linalg.qr(jax.random.normal(jax.random.key(k), (3, 2)))[0] for k in (1, 2))
    sigma, stretch = jnp.array([2.0, 0.7]), jnp.array([30.0, 0.2])
    modes = {"U": q * sigma * stretch, "V": p / stretch}
    mix = jnp.array([[1.0, 0.6], [0.0, 1.0]])
    mixed = {"U": modes["U"] @ mix, "V": modes["V"] @ jnp.linalg.inv(mix).T}
    np.testing.assert_allclose(mixed["U"] @ mixed["V"].T, modes["U"] @ modes["V"].T, atol=1e-12)
    found = minima(model, jax.tree.map(lambda *leaves: jnp.stack(leaves), modes, mixed))
    np.testing.assert_allclose(found.log_det[0], jnp.sum(jnp.log(2 * sigma)), atol=1e-10)
    assert found.log_det[1] > found.log_det[0] + 0.1


def test_the_gram_matrix_of_columns_has_no_off_diagonal_part():
    """Eq. (56) gives it one, U_iᵀU_j + V_iᵀV_j for i ≠ j; but χ_i depends on the columns i alone."""
    model = matrix(rows=3, cols=3, rank=2)
    params = model.init(jax.random.key(0))
    gram = geometry.constraint_gram(model, params)
    printed = params["U"].T @ params["U"] + params["V"].T @ params["V"]
    np.testing.assert_allclose(gram, jnp.diag(jnp.diag(printed)), atol=1e-12)
    assert abs(printed[0, 1]) > 0.01


@pytest.mark.full
def test_the_effective_loss_of_uv_is_equation_7():
    loss = effective_loss(uv(), T)
    for z in (0.3, 1.0, 2.5):
        wanted = 0.5 * (z - 1) ** 2 + T / 2 * np.log(2 * z)
        np.testing.assert_allclose(loss({"z": jnp.asarray(z)}), wanted, atol=1e-12)


def test_the_effective_loss_has_the_bias_of_the_minimum_on_the_orbit():
    model, pairs = PAIRS["relu, eq. (46)"]
    params = jax.tree.map(lambda leaf: leaf[1], orbit_points(model))
    a, b = pairs(params)
    wanted = model.loss(params) + T / 2 * jnp.sum(jnp.log(2 * a * b))
    np.testing.assert_allclose(effective_loss(model, T)(model.invariants(params)), wanted, atol=1e-10)


def unequal_weights():
    """(e^t a, e^{−2t} b): the moment map of the Euclidean metric is ½(a² − 2b²)."""
    return dataclasses.replace(
        uv(),
        act=lambda t, p: p * jnp.exp(jnp.concatenate([t, -2 * t])),
        moment_map=lambda p: 0.5 * (p[:1] ** 2 - 2 * p[1:] ** 2),
    )


@pytest.mark.full
def test_with_unequal_weights_the_minimum_is_not_on_the_slice():
    model = unequal_weights()
    found = minimise_along_orbit(model, jnp.array([3.0, 0.1]))
    a, b = found.params
    assert found.converged
    np.testing.assert_allclose(a**2, 8 * b**2, rtol=1e-9)
    assert jnp.abs(model.moment_map(found.params)[0]) > 0.1 * a**2
    np.testing.assert_allclose(geometry.coupling(model, found.params), geometry.orbit_gram(model, found.params))


def test_another_moment_map_of_the_same_slice_changes_the_bias_but_not_the_minimum():
    """χ (1 + z²) vanishes where χ does, with G_χ larger by (1 + z²)² there: log det G is then not log det H."""
    model = uv()
    other = with_moment_map(model, lambda p: model.moment_map(p) * (1 + (p[0] * p[1]) ** 2))
    point = jnp.array([4.0, 0.5])
    first, second = minimise_along_orbit(model, point), minimise_along_orbit(other, point)
    np.testing.assert_allclose(second.log_det, first.log_det, atol=1e-12)
    gap = geometry.log_det_gram(other, first.params) - geometry.log_det_gram(model, first.params)
    np.testing.assert_allclose(gap, 2 * np.log(1 + 2.0**2), atol=1e-10)


NO_MINIMUM = {
    "falls for ever": (uv(), [0.0, 1.5]),
    "falls for ever in two directions": (uv(depth=3), [1.0, 0.0, 1.5]),
    # (x + t, e^{−t} y): H = 1 + y² e^{−2t} tends to 1, and its logarithm's gradient to 0, without end
    "infimum at infinity": (
        dataclasses.replace(uv(), act=lambda t, p: jnp.stack([p[0] + t[0], p[1] * jnp.exp(-t[0])])),
        [0.3, 0.7],
    ),
    "not free": (uv(), [0.0, 0.0]),
    "not a number": (uv(), [jnp.nan, 1.0]),
}


@pytest.mark.full
@pytest.mark.parametrize("name", NO_MINIMUM)
def test_an_orbit_without_a_minimum_is_not_reported_as_converged(name):
    model, point = NO_MINIMUM[name]
    assert not minimise_along_orbit(model, jnp.array(point)).converged


def test_on_a_compact_orbit_of_constant_volume_every_point_is_a_minimum():
    found = minimise_along_orbit(rotation(), jnp.array([3.0, 4.0]))
    assert found.converged
    np.testing.assert_allclose(found.log_det, np.log(25.0), atol=1e-10)
    np.testing.assert_allclose(found.params, [3.0, 4.0], atol=1e-10)


def test_a_float32_point_is_minimised_in_float64():
    with jax.enable_x64(False):
        point = jnp.array([4.0, 0.25])
        found = minimise_along_orbit(uv(), point)
    assert found.log_det.dtype == jnp.float64
    np.testing.assert_allclose(float(found.log_det), np.log(2.0), atol=1e-12)
