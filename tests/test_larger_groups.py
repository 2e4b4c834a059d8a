"""Larger groups: rectangular and layered matrices under GL(r), what has no law, orbit integrals of many generators."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from jax.flatten_util import ravel_pytree

import langevin_ib
from langevin_ib import RunConfig
from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.confinements.weight_decay import weight_decay
from langevin_ib.errors import ConfigError, ModelError
from langevin_ib.geometry import contract
from langevin_ib.geometry.gram import DENSE, largest_curvature
from langevin_ib.geometry.linalg import largest_eigenvalue
from langevin_ib.laws import Reduction
from langevin_ib.laws.orbit_table import MANY, shared_orbit_integral
from langevin_ib.models import Chart, Model, matrix
from langevin_ib.models.general_linear import product_of
from langevin_ib.models.spectrum import exp_antisymmetric, exp_symmetric, power_spd2, root_spd
from langevin_ib.runs.judge import dimensions
from langevin_ib.runs.plan import build_reduction

T = 0.1
pytestmark = pytest.mark.usefixtures("x64")


def start(model: Model, seed: int = 0):
    return jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(seed)))


def log_det_of(sigma: np.ndarray, depth: int = 2) -> float:
    """log det G at balanced points, by singular values."""
    pairs = [(x, y) for i, x in enumerate(sigma) for y in sigma[i:]]
    return sum(np.log(sum((x**i * y ** (depth - 1 - i)) ** (2 / depth) for i in range(depth))) for x, y in pairs)


@pytest.mark.full(but=["layers"])
@pytest.mark.parametrize(
    "options",
    [{"rows": 3, "cols": 2, "rank": 2}, {"rows": 2, "cols": 2, "rank": 2, "depth": 3}],
    ids=["rectangular", "layers"],
)
def test_log_det_of_the_slice_is_that_of_the_singular_values(options):
    model = matrix(group="gl", **options)
    assert model.scalars is not None
    assert model.slice_terms is not None
    z = model.invariants(start(model))
    sigma = np.array(list(model.scalars(z).values()))
    assert model.slice_terms(z).log_det == pytest.approx(log_det_of(sigma, options.get("depth", 2)), abs=1e-10)


@pytest.mark.full
def test_the_coordinates_of_a_rectangular_matrix_have_the_surface_measure_of_its_rank():
    """`flat` is that of the embedding (A, X, Y) ↦ P, and dσ_S is det G^(−1/2) Π σ^(−(n+p−2r)/2) dP."""
    model = matrix(rows=3, cols=2, rank=2, group="gl")
    assert model.slice_terms is not None
    assert model.flat is not None
    chart = Chart(model)
    x = chart.of(start(model))

    def product(x):
        point = chart.section(x)
        return jnp.ravel(point["U"] @ point["V"].T)

    jacobian = jax.jacfwd(product)(x)
    wanted = 0.5 * np.linalg.slogdet(jacobian.T @ jacobian)[1]
    z = chart.invariants(x)
    terms, sigma = model.slice_terms(z), np.array(list(chart.scalars(x).values()))
    np.testing.assert_allclose(model.flat[1](z), wanted, atol=1e-10)
    np.testing.assert_allclose(
        terms.log_volume, wanted - 0.5 * terms.log_det - 0.5 * (3 + 2 - 4) * np.sum(np.log(sigma)), atol=1e-10
    )


@pytest.mark.full
def test_a_wrong_power_of_the_singular_values_is_refused():
    """The same check passes the model itself (`test_models.py`)."""
    model = matrix(rows=3, cols=2, rank=2, group="gl")
    right = model.slice_terms
    assert right is not None

    def wrong(z):
        terms = right(z)
        return terms._replace(log_volume=terms.log_volume + 0.5 * jnp.linalg.slogdet(z["A"])[1])

    with pytest.raises(ModelError, match="slice_terms gives another log_volume"):
        contract.check_model(dataclasses.replace(model, slice_terms=wrong), jax.random.key(0))
    skew = dataclasses.replace(model, moment_map=lambda p: 2.0 * model.moment_map(p), slice_terms=None, canonical=True)
    with pytest.raises(ModelError, match="not canonical"):
        contract.check_model(skew, jax.random.key(0))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"rows": 3, "cols": 2, "rank": 3}, "rank 2 at most, below r = 3"),
        ({"rows": 2, "cols": 2, "rank": 2, "spectrum": "1.5"}, "the data have rank 1, below r = 2"),
        ({"rows": 2, "cols": 2, "rank": 2, "spectrum": "1.5", "depth": 3}, "the data have rank 1"),
    ],
)
def test_where_the_group_does_not_act_freely_there_is_no_law(options, why):
    model = matrix(group="gl", **options)
    assert not model.charted
    assert why in model.no_law
    config = RunConfig(model="matrix", options={"group": "gl", **options}, laws=("slice",))
    assert build_reduction(config).measured
    with pytest.raises(ConfigError, match=why):
        langevin_ib.run(config)


@pytest.mark.full
def test_an_over_parameterised_matrix_is_measured_and_says_why():
    result = langevin_ib.run(
        RunConfig(
            model="matrix",
            options={"group": "gl", "rows": 2, "cols": 2, "rank": 3},
            confine="weight-decay",
            weight_decay=0.3,
            chains=64,
            steps=2000,
            step_check=False,
        )
    )
    assert result.verdicts == {}
    assert "below r = 3" in result.missing[0]
    assert set(result.invariants) == {"sigma_1", "sigma_2"}


@pytest.mark.full(but=["weight decay"])
@pytest.mark.parametrize("confinement", [stiff(7.0), weight_decay(0.3)], ids=["stiff", "weight decay"])
def test_many_orbit_integrals_are_those_of_bessel_functions(confinement):
    reduction = Reduction(_pairs(2, 3), confinement, T)
    point = reduction.chart.section(jnp.linspace(0.05, 3.0, MANY))
    integral = shared_orbit_integral(reduction, point)
    assert integral is not None
    s = np.linspace(0.2, 4.0, MANY)
    found = float(integral(reduction.chart.section(jnp.asarray(s))))
    if confinement.name == "stiff":
        wanted = np.log(0.5 * scipy.special.kve(0.25, 7.0 * s**2 / (4 * T)))
    else:
        wanted = np.log(scipy.special.kve(0.5, 0.3 * s / T))
    assert found == pytest.approx(wanted.sum(), abs=1e-8)


def test_of_another_confinement_the_quadrature_stays():
    quartic = dataclasses.replace(
        stiff(1.0), energy=lambda model, params: jnp.sum(model.moment_map(params) ** 2 + model.moment_map(params) ** 4)
    )
    reduction = Reduction(_pairs(2, 2), quartic, T)
    assert shared_orbit_integral(reduction, reduction.chart.section(jnp.linspace(0.5, 1.0, MANY))) is None
    few = Reduction(_pairs(2, 2, 3), stiff(1.0), T)
    assert shared_orbit_integral(few, few.chart.section(jnp.ones(3))) is None


def _pairs(p: int, q: int, pairs: int = MANY) -> Model:
    """Independent pairs whose invariants are their moduli alone; only the action and χ matter here."""

    def moduli(params):
        return jnp.linalg.norm(params["a"], axis=1) * jnp.linalg.norm(params["b"], axis=1)

    def section(z):
        root = jnp.sqrt(z["s"])[:, None]
        return {"a": jnp.eye(1, p) * root, "b": jnp.eye(1, q) * root}

    return Model(
        name="pairs",
        group="rescaling",
        group_dim=pairs,
        loss=lambda params: jnp.sum((moduli(params) - 1.0) ** 2),
        act=lambda t, params: {
            "a": params["a"] * jnp.exp(t)[:, None], "b": params["b"] * jnp.exp(-t)[:, None]
        },
        moment_map=lambda params: 0.5 * (jnp.sum(params["a"] ** 2, axis=1) - jnp.sum(params["b"] ** 2, axis=1)),
        invariants=lambda params: {"s": moduli(params)},
        section=section,
        init=lambda key: {"a": jax.random.normal(key, (pairs, p)), "b": jnp.ones((pairs, q))},
    )  # fmt: skip


@pytest.mark.full
def test_functions_of_small_matrices_are_those_of_scipy():
    random = np.random.default_rng(0)
    for n in (2, 3):
        root = random.normal(size=(n, n))
        a, skew = root @ root.T + 0.1 * np.eye(n), root - root.T
        np.testing.assert_allclose(
            root_spd(jnp.asarray(a), 3), scipy.linalg.fractional_matrix_power(a, 1 / 3), atol=1e-12
        )
        np.testing.assert_allclose(exp_symmetric(jnp.asarray(a)), scipy.linalg.expm(a), rtol=1e-10)
        np.testing.assert_allclose(exp_antisymmetric(jnp.asarray(skew)), scipy.linalg.expm(skew), atol=1e-12)
    # Where both eigenvalues are one the derivative is smooth, too.
    slope = jax.jacfwd(lambda x: power_spd2(jnp.eye(2) * 4.0 + x * jnp.diag(jnp.array([1.0, -1.0])), 0.5))(0.0)
    np.testing.assert_allclose(slope, np.diag([0.25, -0.25]), atol=1e-12)


def test_where_the_group_acts_freely_nowhere_the_orbits_are_smaller_than_it():
    """UVᵀ is any 2 × 2 matrix: 16 parameters, orbits of dimension 12 in the place of GL(4)'s 16, and (q − m)/2 = 2."""
    options = {"group": "gl", "rows": 2, "cols": 2, "rank": 4}
    reduction = build_reduction(RunConfig(model="matrix", options=options, confine="weight-decay"))
    assert dimensions(reduction) == (16, 12)
    product = jax.jacfwd(lambda x: jnp.ravel(product_of(unravel(x))))
    flat, unravel = ravel_pytree(start(reduction.model))
    assert np.linalg.matrix_rank(product(flat)) == 16 - 12
    free = RunConfig(model="matrix", options=options | {"rank": 2})
    assert dimensions(build_reduction(free)) == (8, 4)


# All eigenvalues against products, at 24 points each; 24 steps fall short by 9e-3 of hadamard's, 48 by 1.2e-10.
CURVED = {
    "relu": {"width": 20, "inputs": 8},
    "hadamard": {"dim": 128},
    "attention": {"width": 16, "heads": 4},
}


@pytest.mark.full(but=["relu"])
@pytest.mark.parametrize("name", CURVED)
def test_the_largest_curvature_of_many_is_found_by_products(name):
    reduction = build_reduction(RunConfig(model=name, options=CURVED[name]))
    model, potential = reduction.model, reduction.confinement.potential(reduction.model)
    unravel = ravel_pytree(start(model))[1]
    points = jnp.stack(
        [(1.0, 0.3, 3.0)[i % 3] * ravel_pytree(start(model, i))[0] for i in range(24)]  # flatter and steeper
    )

    def curvatures(theta):
        hessian = jax.hessian(lambda x: potential(unravel(x)))(theta)
        few = largest_eigenvalue(lambda v: hessian @ v, jnp.cos(jnp.arange(theta.size)), 4)
        return jnp.abs(jnp.linalg.eigvalsh(hessian)).max(), largest_curvature(potential, unravel(theta)), few

    wanted, found, few = map(np.asarray, jax.jit(lambda: jax.lax.map(curvatures, points))())
    assert points.shape[1] > DENSE
    assert np.all(found <= wanted * (1 + 1e-12))
    assert np.all(found >= wanted * (1 - 1e-8))
    assert not np.all(few >= wanted * (1 - 1e-8))  # what four steps find is not enough
