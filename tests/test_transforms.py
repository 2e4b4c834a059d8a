"""Other slices and other metrics of the same model: eq. (40), whitened geometry, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import starts
from jax.flatten_util import ravel_pytree

from langevin_ib import geometry
from langevin_ib.errors import ModelError
from langevin_ib.geometry import contract
from langevin_ib.geometry.linalg import log_abs_det
from langevin_ib.models import Chart, hadamard, matrix, rotation, uv, with_metric, with_moment_map


@pytest.mark.full
def test_equation_40_holds_for_an_orthogonal_slice_that_is_not_canonical(x64):
    for model in (uv(depth=3), matrix()):

        def moment_map(params, model=model):
            return (1 + jnp.sum(ravel_pytree(params)[0] ** 2)) * model.moment_map(params)

        other = with_moment_map(model, moment_map)
        contract.check_model(other, jax.random.key(1))
        points = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts(other))
        report = geometry.slice_report(other, points)
        assert report.equation_40 < 1e-10
        assert report.canonical_gap > 0.1
        # G = (1 + |θ|²)² H on the slice.
        sizes = [jnp.sum(ravel_pytree(other.section(other.invariants(p)))[0] ** 2) for p in starts(other)]
        wanted = 2 * model.group_dim * np.ptp(np.log(1 + np.array(sizes)))
        np.testing.assert_allclose(report.log_det_spread, wanted, rtol=1e-8)


@pytest.mark.full
def test_equation_40_fails_for_a_slice_that_is_not_orthogonal(x64):
    # On u = 2v: G = 80 v², M = 16 v², H = 5 v², so that 1 − M²/(H G) = 0.36.
    def section(invariants):
        z = invariants["z"]
        modulus = jnp.sqrt(jnp.abs(z) / 2)
        return jnp.stack([2 * modulus, jnp.sign(z) * modulus])

    other = with_moment_map(uv(), lambda p: (p[0] ** 2 - 4 * p[1] ** 2)[None], section)
    contract.check_model(other, jax.random.key(1))
    report = geometry.slice_report(other, jnp.stack(starts(other)))
    np.testing.assert_allclose(report.equation_40, 0.36, rtol=1e-10)


@pytest.mark.full
def test_charges_may_come_in_another_order_than_the_generators(x64):
    model = hadamard(dim=2)
    other = with_moment_map(model, lambda params: jnp.flip(model.moment_map(params)))
    contract.check_model(other, jax.random.key(0))
    for params in starts(model):
        point = model.section(model.invariants(params))
        found = log_abs_det(geometry.coupling(other, point))  # its leading minor is 0
        np.testing.assert_allclose(found, geometry.log_det_gram(model, point), atol=1e-10)


def test_another_slice_without_its_section_is_refused():
    with pytest.raises(ModelError, match="the section misses the slice"):
        contract.check_model(with_moment_map(uv(), lambda p: (p[0] ** 2 - 4 * p[1] ** 2)[None]), jax.random.key(1))


def spd(q):
    root = np.random.default_rng(q).normal(size=(q, q))
    return root @ root.T + np.eye(q)


@pytest.mark.full
@pytest.mark.parametrize("model", [uv(depth=3), hadamard(dim=2), rotation()], ids=lambda model: model.name)
@pytest.mark.parametrize("full", [False, True])
def test_whitened_geometry_is_that_of_the_metric(model, full, x64):
    params = starts(model, 1)[0]
    flat = ravel_pytree(params)[0]
    g = spd(flat.size) if full else np.diag(np.linspace(0.5, 3.0, flat.size))
    white = with_metric(model, g if full else np.diag(g))
    values, vectors = np.linalg.eigh(g)
    phi = (vectors * np.sqrt(values)) @ vectors.T @ flat
    xi, slope = geometry.fundamental_fields(model, params), geometry.moment_jacobian(model, params)
    inverse = np.linalg.inv(g)
    np.testing.assert_allclose(geometry.orbit_gram(white, phi), xi @ g @ xi.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(geometry.coupling(white, phi), slope @ xi.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(geometry.constraint_gram(white, phi), slope @ inverse @ slope.T, rtol=1e-10, atol=1e-12)
    # dφ = −∇L dt is dθ = −g⁻¹ ∇L dt.
    drift = (vectors / np.sqrt(values)) @ vectors.T @ jax.grad(white.loss)(phi)
    np.testing.assert_allclose(drift, inverse @ ravel_pytree(jax.grad(model.loss)(params))[0], rtol=1e-10, atol=1e-12)
    chart = Chart(model)
    x = chart.of(params)
    ds = jax.jacfwd(lambda y: ravel_pytree(chart.section(y))[0])(x)
    wanted = 0.5 * jnp.linalg.slogdet(ds.T @ g @ ds)[1]
    np.testing.assert_allclose(geometry.log_slice_volume(Chart(white), x), wanted, atol=1e-10)
    np.testing.assert_allclose(ravel_pytree(white.invariants(phi))[0], ravel_pytree(model.invariants(params))[0])
    contract.check_model(white, jax.random.key(0))


@pytest.mark.full
def test_a_metric_in_which_a_compact_group_is_no_isometry_is_refused():
    with pytest.raises(ModelError, match="the compact action is no isometry"):
        contract.check_model(
            with_metric(matrix(rows=2, cols=2, group="gl"), np.linspace(1.0, 2.0, 8)), jax.random.key(0)
        )
    contract.check_model(with_metric(matrix(rows=2, cols=2, group="gl"), np.full(8, 2.0)), jax.random.key(0))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (np.array([1.0, -1.0]), "metric must be made of positive weights, got -1 among them"),
        (np.ones(3), r"metric must be 2 weights or a 2 by 2 matrix, got shape \(3,\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "metric must be a symmetric matrix"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "metric must be positive definite, got the eigenvalue -1"),
    ],
)
def test_a_bad_metric_is_refused(metric, message):
    with pytest.raises(ValueError, match=message):
        with_metric(uv(), metric)
