"""Models of the paper: their contract, and autodiff geometry against the closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib import geometry
from langevin_ib.config import extensions
from langevin_ib.geometry import contract
from langevin_ib.geometry.linalg import log_det_spd
from langevin_ib.models import (
    Chart,
    attention,
    build_model,
    hadamard,
    matrix,
    relu,
    rotation,
    with_moment_map,
)
from langevin_ib.models.families.attention import attend, attend_pairs
from langevin_ib.models.families.relu import population_misfit
from langevin_ib.models.pair import PairPoint, balanced, direction, frame_avoiding, log_sphere, to_chart
from langevin_ib.models.spectrum import polar_factors, singular_values

GL2 = {"rows": 2, "cols": 2, "group": "gl"}
GL3 = {"rows": 3, "cols": 3, "rank": 3, "group": "gl"}
CASES = [
    ("hadamard", {}),
    ("hadamard", {"dim": 2, "operator": "random", "rows": 4, "seed": 3}),
    ("relu", {}),
    ("relu", {"inputs": 2, "width": 3, "population": True}),
    ("attention", {}),
    ("attention", {"inputs": 3, "width": 1, "heads": 2}),
    ("matrix", {}),
    ("matrix", {"rows": 2, "cols": 4, "rank": 1, "observed": 0.6, "noise": 0.1}),
    ("matrix", GL2),
    ("matrix", GL3),
    ("matrix", {"rows": 3, "cols": 2, "rank": 2, "group": "gl"}),
    ("matrix", {"rows": 4, "cols": 3, "rank": 2, "group": "gl"}),
    ("matrix", {"rows": 2, "cols": 3, "rank": 1, "group": "gl"}),
    ("matrix", {"rows": 2, "cols": 2, "rank": 2, "group": "gl", "depth": 3}),
    ("matrix", {"rows": 3, "cols": 3, "rank": 3, "group": "gl", "depth": 4}),
    ("matrix", {"rows": 2, "cols": 2, "rank": 3}),
    ("rotation", {}),
    ("uv", {"depth": 3}),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), CASES)
def test_every_model_keeps_its_contract(name, options):
    contract.check_model(build_model(name, options), jax.random.key(0))


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), CASES)
def test_closed_forms_of_the_slice_are_those_of_the_geometry(name, options, x64):
    model = build_model(name, options)
    chart = Chart(model)
    for params in starts(model):
        x = chart.of(params)
        closed, derived = geometry.slice_terms(chart, x), geometry.derived_slice_terms(chart, x)
        np.testing.assert_allclose(closed, derived, atol=1e-10)
    assert (model.slice_terms is None) == (name in ("rotation", "uv"))
    assert with_moment_map(model, model.moment_map).slice_terms is None  # another slice, other terms


@pytest.mark.full(but=["hadamard-options0", "hadamard-options1", "rotation-options16", "uv-options17"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_float32_parameters_stay_float32_where_float64_is_enabled(name, options, x64):
    model = build_model(name, options)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model.init(jax.random.key(0)))
    t = jnp.zeros(model.group_dim, jnp.float32)
    found = model.invariants(params)
    made = (model.loss(params), model.moment_map(params), model.act(t, params), found, model.section(found))
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(jnp.float32)}


@pytest.mark.full(but=["hadamard", "rotation", "uv"])
@pytest.mark.parametrize("name", extensions.names("model"))
def test_starts_are_at_home_with_finite_gradients(name, x64):
    model = build_model(name)
    for params in starts(model):
        assert np.isfinite(ravel_pytree(jax.grad(model.loss)(params))[0]).all()
        assert bool(Chart(model).at_home(params))


CLOSED = {
    "eq. (15)": (hadamard, lambda p: jnp.log(p["u"] ** 2 + p["v"] ** 2)),
    "eq. (46)": (relu, lambda p: jnp.log(jnp.sum(p["W"] ** 2, 1) + p["v"] ** 2)),
    "eq. (50)": (attention, lambda p: jnp.log(jnp.sum(p["Q"] ** 2, 1) + jnp.sum(p["K"] ** 2, 1))),
    "eq. (58)": (matrix, lambda p: jnp.log(jnp.sum(p["U"] ** 2, 0) + jnp.sum(p["V"] ** 2, 0))),
}


@pytest.mark.full(only=["eq. (15)", "eq. (50)"])
@pytest.mark.parametrize("equation", CLOSED)
def test_log_det_gram_is_the_closed_form_of_the_paper(equation, x64):
    builder, closed = CLOSED[equation]
    model = builder()
    for params in starts(model):
        np.testing.assert_allclose(geometry.log_det_gram(model, params), jnp.sum(closed(params)), atol=1e-10)


@pytest.mark.full(only=["attention"])
@pytest.mark.parametrize("builder", [relu, attention, matrix])
def test_on_the_slice_log_det_gram_is_the_sum_of_log_2s(builder, x64):
    # Eqs. (47), (51), (59): |a_j| = |b_j| = √s_j.
    model = builder()
    for params in starts(model):
        found = model.invariants(params)
        s = jnp.array([value for name, value in Chart(model).scalars_of(params).items() if name.startswith("s_")])
        np.testing.assert_allclose(
            geometry.log_det_gram(model, model.section(found)), jnp.sum(jnp.log(2 * s)), atol=1e-10
        )


@pytest.mark.full(only=["options1"])
@pytest.mark.parametrize("options", [GL2, GL3])
def test_log_det_gram_of_the_full_linear_group_at_balanced_points(options, x64):
    model = matrix(**options)
    for params in starts(model):
        sigma = np.linalg.svd(params["U"] @ params["V"].T, compute_uv=False)
        wanted = np.sum(np.log(2 * sigma)) + sum_of_pairs(sigma)
        section = model.section(model.invariants(params))
        np.testing.assert_allclose(geometry.log_det_gram(model, section), wanted, atol=1e-10)


def sum_of_pairs(sigma):
    """Σ_{i<j} log(σ_i + σ_j)."""
    i, j = np.triu_indices(sigma.size, 1)
    return np.sum(np.log(sigma[i] + sigma[j]))


def slice_law_residuals(model, points):
    """log p(P) dP of the law c = 1 without its energy, minus the closed form of the singular values' law divided by the
    Jacobian Π_{i<j} |σ_i² − σ_j²| of the singular value decomposition: a constant, if the two are one law."""
    chart = Chart(model)

    def log_p(x):
        return -0.5 * geometry.log_det_gram(model, chart.section(x)) + geometry.log_slice_volume(chart, x)

    found = []
    for params in points:
        sigma = np.linalg.svd(params["U"] @ params["V"].T, compute_uv=False)
        i, j = np.triu_indices(sigma.size, 1)
        law = np.sum(np.log(np.abs(sigma[i] - sigma[j]))) - np.sum(np.log(sigma))
        vandermonde = np.sum(np.log(np.abs(sigma[i] ** 2 - sigma[j] ** 2)))
        found.append(float(log_p(chart.of(params))) - law + vandermonde)
    return np.array(found)


@pytest.mark.full
@pytest.mark.parametrize("options", [GL2, GL3])
def test_the_slice_law_of_the_full_linear_group_in_singular_values(options, x64):
    model = matrix(**options)
    points = starts(model, 6)
    assert np.ptp(slice_law_residuals(model, points)) < 1e-9
    # Negative control: the surface measure that forgets the compact part is another law.
    bare = dataclasses.replace(model, compact_act=None, compact_dim=0)
    assert np.ptp(slice_law_residuals(bare, points)) > 0.1


@pytest.mark.full
@pytest.mark.parametrize(("p", "q"), [(2, 2), (2, 4), (3, 2)])
def test_the_volume_of_a_vector_pair(p, q, x64):
    # da db = s^((p+q−2)/2) e^((p−q)t) ds dt dâ db̂, with dw = s^(p−1) ds dâ and db̂ = (2/(1+|η|²))^(q−1) dη.
    model = matrix(rows=p, cols=q, rank=1)
    chart = Chart(model)
    for t, params in zip([0.0, 0.7, -1.3], starts(model, 3), strict=True):
        found = model.invariants(params)
        s, eta = jnp.linalg.norm(found["w"]), found["eta"]
        wanted = ((p + q - 2) / 2 - (p - 1)) * jnp.log(s) + log_sphere(eta)
        x = chart.of(params)
        gram = geometry.orbit_gram(model, chart.section(x))
        volume = 0.5 * log_det_spd(gram) + geometry.log_slice_volume(chart, x)
        np.testing.assert_allclose(volume, wanted, atol=1e-10)
        np.testing.assert_allclose(
            geometry.log_orbit_jacobian(chart, jnp.array([t]), x), wanted + (p - q) * t, atol=1e-10
        )


@pytest.mark.full(but=["3"])
@pytest.mark.parametrize("q", [2, 3, 5])
def test_the_chart_of_a_pair_is_inverted_and_its_pole_avoids_given_directions(q, x64):
    b = jax.random.normal(jax.random.key(q), (4, q))
    a = jax.random.normal(jax.random.key(10 + q), (4, 3))
    frame = frame_avoiding(np.asarray(b[:1]))
    np.testing.assert_allclose(frame @ frame.T, np.eye(q), atol=1e-12)
    cosine = abs(frame[-1] @ np.asarray(b[0] / jnp.linalg.norm(b[0])))
    assert cosine < 0.02
    point = to_chart(a, b, frame)
    back = to_chart(*balanced(PairPoint(point.w, point.eta), frame), frame)
    np.testing.assert_allclose(back.w, point.w, atol=1e-12)
    np.testing.assert_allclose(back.eta, point.eta, rtol=1e-10)


@pytest.mark.full
@pytest.mark.parametrize("q", [2, 3, 5])
def test_the_surface_measure_in_the_chart_of_a_direction(q, x64):
    frame = np.eye(q)
    for eta in 0.1 * jnp.arange(q - 1) + jnp.array([[0.0], [1e-3], [0.7], [-4.0]]):
        jacobian = jax.jacfwd(lambda y: direction(y, frame))(eta)
        wanted = 0.5 * log_det_spd(jacobian.T @ jacobian)
        np.testing.assert_allclose(log_sphere(eta), wanted, atol=1e-10)


@pytest.mark.full
def test_the_chart_of_a_direction_is_finite_next_to_its_pole_in_float32():
    # In float32 the cosine of these angles to the pole is 1, so 1 − cosine would be 0.
    for angle in (1e-4, 1e-6, 1e-12):
        b = jnp.array([np.sin(angle), np.cos(angle)], jnp.float32)
        eta = to_chart(jnp.ones(2, jnp.float32), b, np.eye(2)).eta
        np.testing.assert_allclose(eta, np.arcsinh(2.0 / angle), rtol=1e-5)
        np.testing.assert_allclose(direction(eta, np.eye(2)), b, atol=1e-6)


def network(rng, width, d=3):
    return rng.uniform(-1.5, 1.5, width), rng.normal(size=(width, d))


def z_scores(misfit, networks=6, samples=100_000):
    """(Monte Carlo mean of ½(f − f*)² − closed form) / standard error, over pairs of random networks."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(networks):
        (v, W), (v_teacher, W_teacher) = network(rng, 2), network(rng, 3)
        x = rng.normal(size=(samples, 3))
        error = np.maximum(x @ W.T, 0) @ v - np.maximum(x @ W_teacher.T, 0) @ v_teacher
        values = 0.5 * error**2
        exact = float(misfit(*map(jnp.asarray, (v, W, v_teacher, W_teacher))))
        found.append((values.mean() - exact) / (values.std() / np.sqrt(samples)))
    return np.abs(found)


@pytest.mark.full
def test_population_loss_is_what_samples_estimate(x64):
    # False-positive rate: 6 × P(|N(0,1)| > 4) = 4e-4.
    assert z_scores(population_misfit).max() < 4

    def without_sine(v, W, v_teacher, W_teacher):  # negative control: half of the linear network's loss
        error = v @ W - v_teacher @ W_teacher
        return 0.25 * error @ error

    assert z_scores(without_sine).max() > 4


@pytest.mark.full
def test_population_loss_is_smooth_where_neurons_are_parallel(x64):
    rng = np.random.default_rng(1)
    w = jnp.asarray(rng.normal(size=3))
    v_teacher, W_teacher = jnp.array([1.0, 0.7]), jnp.stack([w, jnp.asarray(rng.normal(size=3))])

    def misfit(flat):
        return population_misfit(flat[:3], flat[3:].reshape(3, 3), v_teacher, W_teacher)

    def differences(function, at, step=1e-5):
        return jnp.stack([(function(at + step * e) - function(at - step * e)) / (2 * step) for e in jnp.eye(12)])

    # Parallel to each other and to the teacher, and opposite to both.
    at = jnp.concatenate([jnp.array([0.5, 1.2, 0.8]), w, 2 * w, -w])
    np.testing.assert_allclose(jax.grad(misfit)(at), differences(misfit, at), atol=1e-7)
    np.testing.assert_allclose(jax.hessian(misfit)(at), differences(jax.grad(misfit), at), atol=1e-3)
    assert np.isfinite(jax.hessian(misfit)(at.at[9:].set(0.0))).all()  # a neuron that is zero: a kink, but no NaN


@pytest.mark.full
def test_the_population_loss_vanishes_at_the_teacher_of_the_data(x64):
    # One seed makes one teacher: a fit of the noiseless data is one of the population.
    from scipy.optimize import minimize  # noqa: PLC0415

    data, population = relu(samples=200, ridge=0.0), relu(population=True, ridge=0.0)
    flat, unravel = ravel_pytree(starts(data, 1, seed=2)[0])
    found = minimize(jax.jit(jax.value_and_grad(lambda x: data.loss(unravel(x)))), flat, jac=True, tol=1e-14)
    assert found.fun < 1e-10
    assert abs(float(population.loss(unravel(jnp.asarray(found.x))))) < 1e-8


@pytest.mark.full
def test_random_signs_of_outgoing_weights_are_drawn_with_each_start_and_change_nothing_else():
    """64 starts × 16 signs: |Σ| < 3.9 √n in all but 1e-4 of keys; without them signs alternate."""
    recipe = {"width": 16, "start_scale": 0.05, "skew": 1.2}
    keys = jax.random.split(jax.random.key(3), 64)
    drawn, alternate = (jax.vmap(relu(**recipe, random_signs=one).init)(keys) for one in (True, False))
    np.testing.assert_array_equal(np.abs(drawn["v"]), np.abs(alternate["v"]))
    np.testing.assert_array_equal(drawn["W"], alternate["W"])
    signs = np.sign(drawn["v"])
    assert abs(signs.sum()) < 3.9 * np.sqrt(signs.size)
    assert len({tuple(row) for row in signs.tolist()}) == 64
    assert len({tuple(row) for row in np.sign(alternate["v"]).tolist()}) == 1


def test_random_signs_are_refused_where_laws_hold_for_one_set_of_them():
    with pytest.raises(ValueError, match="random_signs must be False without start_scale"):
        relu(random_signs=True)


@pytest.mark.full(but=["2"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_singular_values_agree_with_lapack(rank, x64):
    left, right = jax.random.normal(jax.random.key(rank), (2, rank, 4))
    wanted = np.linalg.svd(left.T @ right, compute_uv=False)[:rank]
    np.testing.assert_allclose(singular_values(left, right), wanted, rtol=1e-10)


@pytest.mark.full
def test_two_singular_values_keep_their_digits_in_float32():
    rows = jax.random.normal(jax.random.key(0), (2, 3))
    right = jax.random.normal(jax.random.key(1), (2, 4))
    for angle in (1e-2, 1e-4, 1e-6):
        left = jnp.stack([rows[0], 1.3 * rows[0] + angle * rows[1]])
        found = singular_values(left, right)
        wanted = np.linalg.svd(np.asarray(left, np.float64).T @ np.asarray(right, np.float64), compute_uv=False)[:2]
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
        np.testing.assert_allclose(found[1], wanted[1], rtol=2e-7 / angle)  # the rounding of the input itself


@pytest.mark.full
@pytest.mark.parametrize("n", [2, 3])
def test_polar_factors_balance_and_are_smooth_where_singular_values_coincide(n, x64):
    rotation_matrix = jax.random.orthogonal(jax.random.key(n), n)
    for p in (1.5 * rotation_matrix, jax.random.normal(jax.random.key(7), (n, n))):
        u, v = polar_factors(p)
        np.testing.assert_allclose(u @ v.T, p, atol=1e-10)
        np.testing.assert_allclose(u.T @ u, v.T @ v, atol=1e-10)
        direction = jax.random.normal(jax.random.key(8), (n, n))

        def value(t, p=p, direction=direction):
            return jnp.stack(polar_factors(p + t * direction))

        slope, bend = jax.jacfwd(value)(0.0), jax.jacfwd(jax.jacrev(value))(0.0)
        h = 1e-4
        np.testing.assert_allclose(slope, (value(h) - value(-h)) / (2 * h), atol=1e-5)
        np.testing.assert_allclose(bend, (value(h) - 2 * value(0.0) + value(-h)) / h**2, atol=1e-4)


@pytest.mark.full(only=["attention-2"])
@pytest.mark.parametrize(("builder", "axis"), [(relu, 0), (attention, 2), (matrix, 1)])
def test_scalars_do_not_change_when_equivalent_pairs_are_exchanged(builder, axis, x64):
    model = builder()
    params = starts(model, 1)[0]
    flipped = {name: jnp.flip(leaf, axis) for name, leaf in params.items()}
    np.testing.assert_allclose(model.loss(flipped), model.loss(params), rtol=1e-12)
    before, after = Chart(model).scalars_of(params), Chart(model).scalars_of(flipped)
    assert list(before) == list(after)
    np.testing.assert_allclose(list(before.values()), list(after.values()), rtol=1e-12)
    s = [float(value) for name, value in before.items() if name.startswith("s_")]
    assert s == sorted(s, reverse=True)


@pytest.mark.full
def test_attention_is_the_softmax_of_scaled_products(x64):
    rng = np.random.default_rng(4)
    n, tokens, d, h, r, e = 3, 4, 2, 2, 3, 5
    x, values = rng.normal(size=(n, tokens, d)), rng.normal(size=(h, d, e))
    Q, K = rng.normal(size=(2, h, d, r))
    wanted = np.zeros((n, tokens, e))
    for i in range(n):
        for j in range(h):
            weights = np.exp(x[i] @ Q[j] @ (x[i] @ K[j]).T / np.sqrt(r))
            wanted[i] += weights / weights.sum(axis=1, keepdims=True) @ x[i] @ values[j]
    Q, K = jnp.asarray(Q), jnp.asarray(K)
    np.testing.assert_allclose(attend(jnp.asarray(x), jnp.asarray(values), Q, K), wanted, rtol=1e-10)
    np.testing.assert_allclose(attend_pairs(x, values)(Q, K), wanted, rtol=1e-10)


@pytest.mark.full
def test_scalars_of_several_heads_are_named_by_head():
    assert Chart(attention(heads=2)).scalar_names == ("s_1_1", "s_1_2", "s_2_1", "s_2_2")


def test_hadamard_takes_its_home_from_the_least_squares_solution():
    model = hadamard(matrix=np.eye(3), y=np.array([1.0, -2.0, 0.5]))
    assert [model.home_of(f"z_{i}")[1] > 0 for i in (1, 2, 3)] == [True, False, True]
    z = [model.invariants(model.init(key))["z"] for key in jax.random.split(jax.random.key(0), 20)]
    assert (np.sign(z) == [1, -1, 1]).all()
    assert np.abs(z).min() >= 0.25
    with pytest.raises(ValueError, match=r"y must be 3 finite numbers, got shape \(2,\)"):
        hadamard(matrix=np.eye(3), y=np.ones(2))
    with pytest.raises(ValueError, match=r"matrix must be a matrix of finite numbers, got shape \(3,\)"):
        hadamard(matrix=np.ones(3))


@pytest.mark.full
def test_rotation_is_canonical_on_its_ray_and_its_orbits_have_length_r(x64):
    model = rotation()
    for r in (0.3, 2.0):
        x = jnp.array([r])
        np.testing.assert_allclose(geometry.coupling(model, Chart(model).section(x)), [[r**2]], rtol=1e-12)
        np.testing.assert_allclose(geometry.log_slice_volume(Chart(model), x), 0.0, atol=1e-12)
        length = geometry.log_orbit_jacobian(Chart(model), jnp.array([0.4]), x)
        np.testing.assert_allclose(length, np.log(r), atol=1e-12)
    report = geometry.slice_report(model, jnp.stack(starts(model)))
    assert max(report) < 1e-12


@pytest.mark.full
def test_a_completion_of_everything_has_the_target_for_its_minimum(x64):
    model = matrix(rows=4, cols=3, ridge=0.0)
    from scipy.optimize import minimize  # noqa: PLC0415

    flat, unravel = ravel_pytree(starts(model, 1)[0])
    found = minimize(jax.jit(jax.value_and_grad(lambda x: model.loss(unravel(x)))), flat, jac=True, tol=1e-14)
    scalars = Chart(model).scalars_of(unravel(jnp.asarray(found.x)))
    np.testing.assert_allclose([scalars["sigma_1"], scalars["sigma_2"]], [2.0, 1.0], atol=1e-5)
