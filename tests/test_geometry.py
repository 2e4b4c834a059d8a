"""Gram matrices by autodiff against closed forms; a broken model is refused with the right words."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin_ib import geometry
from langevin_ib.errors import ModelError
from langevin_ib.geometry import contract
from langevin_ib.geometry.linalg import log_det_spd
from langevin_ib.models import Chart, matrix, relu, uv

FACTOR = st.floats(0.05, 3.0).flatmap(lambda x: st.sampled_from([x, -x]))


@pytest.mark.full
@settings(max_examples=25, deadline=None)
@given(u=FACTOR, v=FACTOR)
def test_uv_gram_matrices_are_u2_plus_v2(u, v):
    with jax.enable_x64(True):
        params = jnp.array([u, v])
        for gram in (geometry.orbit_gram, geometry.constraint_gram, geometry.coupling):
            np.testing.assert_allclose(gram(uv(), params), [[u**2 + v**2]], rtol=1e-12)
        np.testing.assert_allclose(geometry.log_det_gram(uv(), params), np.log(u**2 + v**2), rtol=1e-10, atol=1e-12)


@pytest.mark.full
@settings(max_examples=25, deadline=None)
@given(u=FACTOR, v=FACTOR, w=FACTOR)
def test_depth_three_gram_matrix_is_the_one_of_the_theory(u, v, w):
    with jax.enable_x64(True):
        model, params = uv(depth=3), jnp.array([u, v, w])
        h = geometry.orbit_gram(model, params)
        np.testing.assert_allclose(h, [[u**2 + v**2, -(v**2)], [-(v**2), v**2 + w**2]], rtol=1e-12)
        det = u**2 * v**2 + u**2 * w**2 + v**2 * w**2
        np.testing.assert_allclose(geometry.log_det_gram(model, params), np.log(det), atol=1e-10)


@pytest.mark.full(only=["5"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_equation_40_and_the_canonical_condition_hold(depth, x64):
    model = uv(depth=depth)
    params = model.init(jax.random.key(0)).astype(jnp.float64)
    m, h = geometry.coupling(model, params), geometry.orbit_gram(model, params)
    np.testing.assert_allclose(m @ jnp.linalg.inv(h) @ m.T, geometry.constraint_gram(model, params), atol=1e-10)
    np.testing.assert_allclose(m, h, atol=1e-12)


@pytest.mark.parametrize(("depth", "power"), [(2, -0.5), (3, -2 / 3), (4, -3 / 4)])
def test_slice_volume_is_the_power_of_z_that_the_section_has(depth, power, x64):
    z = np.array([0.3, 1.0, 2.7])
    values = [geometry.log_slice_volume(Chart(uv(depth=depth)), jnp.array([x])) for x in z]
    constant = np.log(1 / np.sqrt(depth))  # s(z) = z^(1/D) (1, …, 1), so |s'| = √D z^(1/D − 1) / D
    np.testing.assert_allclose(values, constant + power * np.log(z), atol=1e-12)


@pytest.mark.full
def test_orbit_jacobian_is_half_for_uv_wherever_on_the_orbit(x64):
    # u = √z e^t, v = √z e^(−t): du dv = 1 · dt dz, from χ = z sinh 2t and du dv = dz dχ / (u² + v²).
    for t, z in [(0.0, 1.0), (3.0, 0.2), (-15.0, 2.0)]:
        value = geometry.log_orbit_jacobian(Chart(uv()), jnp.array([t]), jnp.array([z]))
        np.testing.assert_allclose(value, 0.0, atol=1e-9)


@pytest.mark.full(but=["1", "2"])
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_log_det_agrees_with_lapack(size, x64):
    a = jax.random.normal(jax.random.key(size), (size, size + 2))
    np.testing.assert_allclose(log_det_spd(a @ a.T), jnp.linalg.slogdet(a @ a.T)[1], atol=1e-10)


@pytest.mark.full(but=["1.0-2"])
@pytest.mark.parametrize("depth", [2, 3, 6])
@pytest.mark.parametrize("target", [1.0, -0.5])
def test_the_models_of_the_registry_pass_their_check(depth, target):
    contract.check_model(uv(target, depth), jax.random.key(0))


BROKEN = {
    "the loss changes along the orbit": {"loss": lambda p: jnp.sum(p**2)},
    "an invariant changes along the orbit": {"invariants": lambda p: {"z": p[0] + p[1]}},
    "the section misses the slice": {"section": lambda i: jnp.stack([i["z"], jnp.ones_like(i["z"])])},
    "the section does not invert": {"section": lambda i: jnp.full((2,), jnp.sqrt(jnp.abs(i["z"])))},
    "the action is not free": {"init": lambda key: jnp.zeros(2)},
    r"moment_map must return shape \(1,\), one number for each of group_dim, got": {"moment_map": lambda p: p},
    "not q − m": {"invariants": lambda p: {"z": p[0] * p[1], "w": p[0]}},
    r"section must return parameters as init does, shape \(2,\), got shape \(\)": {"section": lambda i: i["z"]},
    "section fails: KeyError": {"section": lambda i: i["w"]},
    "x is none of its scalars": {"cut": ("x",)},
    "compact_act and compact_dim = 1 do not go together": {"compact_dim": 1},
    "a discrete invariant changes along the orbit": {
        "invariants": lambda p: {"z": p[0] * p[1], "larger": jnp.sign(jnp.abs(p[0]) - jnp.abs(p[1]))},
        "discrete": ("larger",),
    },
    "a discrete invariant differs from its value at another start": {
        "invariants": lambda p: {"z": p[0] * p[1], "sign": jnp.sign(p[0])},
        "section": lambda i: i["sign"] * uv().section(i),
        "discrete": ("sign",),
    },
}


@pytest.mark.full(
    only=[
        "the loss changes along the orbit",
        "an invariant changes along the orbit",
        "the section misses the slice",
        "the section does not invert",
        "a discrete invariant differs from its value at another start",
    ]
)
@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_model_is_refused_with_what_failed(message):
    with pytest.raises(ModelError, match=message):
        contract.check_model(dataclasses.replace(uv(), **BROKEN[message]), jax.random.key(0))


def test_a_slice_along_the_orbit_is_refused():
    model = dataclasses.replace(uv(), moment_map=lambda p: jnp.stack([jnp.abs(p[0] * p[1]) * 0.0]))
    with pytest.raises(ModelError, match="not transversal"):
        contract.check_model(model, jax.random.key(0))


@pytest.mark.full
def test_starts_in_another_component_are_refused():
    model = relu(inputs=2)
    wrong = dataclasses.replace(model, init=lambda key: model.init(key) | {"v": jax.random.normal(key, (2,))})
    with pytest.raises(ModelError, match="a discrete invariant differs from its value at another start"):
        contract.check_model(wrong, jax.random.key(0))


def turn_of_u(t, params):
    """A rotation of U that leaves V where it is."""
    cos, sin = jnp.cos(t[0]), jnp.sin(t[0])
    return {"U": params["U"] @ jnp.array([[cos, -sin], [sin, cos]]), "V": params["V"]}


def shear(t, params):
    """U ↦ U g, V ↦ V g^(−T) with a unipotent g: it leaves UVᵀ alone, but is not compact."""
    g = jnp.eye(2).at[0, 1].set(t[0])
    back = jnp.eye(2).at[1, 0].set(-t[0])
    return {"U": params["U"] @ g, "V": params["V"] @ back}


@pytest.mark.full
@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("the loss changes under the compact action", {"compact_act": turn_of_u}),
        (
            "an invariant changes under the compact action",
            {"compact_act": turn_of_u, "loss": lambda p: 0.0 * jnp.sum(p["U"])},
        ),
        ("the compact action leaves the slice", {"compact_act": shear}),
    ],
)
def test_a_broken_compact_action_is_refused_with_what_failed(message, changes):
    with pytest.raises(ModelError, match=message):
        contract.check_model(dataclasses.replace(matrix(rows=2, cols=2, group="gl"), **changes), jax.random.key(0))
