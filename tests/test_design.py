"""Inverse design: the derived correction is the penalty asked for, and the two forms of a tall operator differ."""

import dataclasses
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from langevin_ib.design import Design, operators, sparse, spectral, verify
from langevin_ib.design.__main__ import main
from langevin_ib.design.catalogue import cases, over_identity, refused
from langevin_ib.geometry.contract import check_model
from langevin_ib.models import Model, build_model, hadamard, uv

EXACT = 1e-8
MANY = 16  # the same number everywhere, so that each construction is compiled once
ANGLES = 2 * np.pi * np.arange(3) / 3
FRAME = operators.from_matrix(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), "frame")


def label(case):
    return f"{case.operator}-{case.construction}" if hasattr(case, "construction") else None


@pytest.mark.full
@pytest.mark.parametrize("case", list(cases(4)), ids=label)
def test_the_derived_correction_is_the_requested_penalty(case):
    found = verify(case.build(), features=MANY)
    assert found.error < EXACT
    assert found.gradient < 1e-9
    assert np.ptp(found.requested) > 0.5  # the features differ, or nothing would be tested


@pytest.mark.full
@pytest.mark.parametrize(
    ("design", "constant"),
    [
        (sparse(operators.gradient(4)), 2.0 * np.log(2.0)),
        (sparse(operators.gradient(4), depth=3), 2.0 * np.log(3.0)),
        (sparse(operators.gradient(4), groups=[0, 0, 1, "alone"]), 1.5 * np.log(2.0)),
        (spectral(operators.cosine(4), (2, 2)), np.log(2.0)),
    ],
    ids=["depth 2", "depth 3", "blocks", "spectral"],
)
def test_the_constant_is_that_of_theory_and_does_not_depend_on_the_features(design, constant):
    for seed in range(3):
        assert verify(design, features=MANY, seed=seed).constant == pytest.approx(constant, abs=EXACT)


@pytest.mark.full
def test_a_wrong_penalty_is_found_out():
    """Negative controls: another shape, another strength, another operator, another invariant of the same blocks."""
    depth_2, depth_3 = (sparse(operators.gradient(4), depth=depth) for depth in (2, 3))
    for design, penalty in (
        (depth_2, lambda z: 0.5 * jnp.sum(jnp.abs(z))),
        (depth_3, depth_2.penalty),
        (depth_2, depth_3.penalty),
        (depth_2, lambda z: depth_2.penalty(jnp.cumsum(z))),
        (sparse(operators.gradient(4), groups=[0, 0, 1, "alone"]), depth_2.penalty),
        (spectral(operators.gradient(4), (2, 2)), lambda z: 0.5 * jnp.sum(jnp.linalg.norm(z.reshape(2, 2), ord="nuc"))),
    ):
        assert verify(dataclasses.replace(design, penalty=penalty), features=MANY).error > 0.1


def test_features_that_are_not_the_factored_ones_are_found_out():
    design = sparse(operators.gradient(4))
    cubed = dataclasses.replace(design, features_of=lambda invariants: invariants["z"] ** 3)
    assert verify(cubed, features=MANY).error > 0.1


@pytest.mark.full
def test_along_the_orbit_alone_the_spectral_penalty_is_not_reached():
    """Eq. (18): rescalings give Σ log|u_j||v_j|; the minimum over all factorisations gives Σ log σ_j."""
    design = spectral(operators.cosine(4), (2, 2))
    assert (
        verify(dataclasses.replace(design, fibre=None, fibre_dim=0), features=MANY).error < EXACT
    )  # starts at the modes
    orbit = dataclasses.replace(design, invariants_at=lambda z: _skewed(design, z), fibre=None, fibre_dim=0)
    assert verify(orbit, features=MANY).error > 0.01
    fibre = dataclasses.replace(design, invariants_at=lambda z: _skewed(design, z))
    assert verify(fibre, features=MANY).error < EXACT


def _skewed(design, z):
    params = design.section(design.invariants_at(z))
    g = jnp.array([[1.0, 0.6], [0.1, 1.2]])
    return design.invariants({"U": params["U"] @ g, "V": jnp.linalg.solve(g, params["V"].T).T})


@pytest.mark.full
@pytest.mark.parametrize(
    "design",
    [
        sparse(operators.gradient(2), depth=3, measure=np.array([[1.0, -2.0]]), y=np.array([-1.5])),
        sparse(operators.cosine(4), groups=[1, 1, 1, 2], y=np.array([-1.0, 2.0, 0.5, 1.0])),
        sparse(FRAME, form="analysis", tie=3.0, start_scale=0.3),
        spectral(operators.cosine(4), (2, 2), rank=1, ridge=0.5, y=np.array([1.0, -1.0, 2.0, 0.0]), start_scale=0.5),
    ],
    ids=lambda design: f"{design.operator.name}, {design.construction}, {design.form}",
)
def test_designs_keep_the_contract_of_a_model(design):
    check_model(design, jax.random.key(1))


@pytest.mark.full
def test_signs_of_the_data_decide_the_branches_and_the_starts():
    design = sparse(operators.gradient(3), y=np.array([1.0, -1.0, 2.0]), depth=3)
    for key in jax.random.split(jax.random.key(0), 8):
        z = design.features(design.init(key))
        np.testing.assert_array_equal(np.sign(z), [1.0, -1.0, 1.0])
        assert all(low < value < high for value, (low, high) in zip(z, design.home.values(), strict=True))


@pytest.mark.full
def test_the_identity_is_the_hadamard_model():
    design, model = sparse(operators.identity(3)), hadamard(dim=3)
    params = model.init(jax.random.key(3))
    np.testing.assert_allclose(design.loss(params), model.loss(params), rtol=1e-6)
    np.testing.assert_array_equal(design.moment_map(params), model.moment_map(params))


@pytest.mark.full
def test_the_loss_is_that_of_the_recovered_predictor(x64):
    measure, y = np.random.default_rng(0).normal(size=(3, 4)), np.array([1.0, -2.0, 0.5])
    for design in (
        sparse(operators.gradient(4), measure=measure, y=y, depth=3),
        spectral(operators.gradient(4), (2, 2), measure=measure, y=y),
    ):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), design.init(jax.random.key(0)))
        w = design.recover(params)
        np.testing.assert_allclose(design.loss(params), 0.5 * np.sum((measure @ w - y) ** 2), rtol=1e-10)
        np.testing.assert_allclose(design.operator(w), design.features(params), atol=1e-10)


def test_the_default_data_have_no_zero_feature():
    """Of (1.2, 1, 0.8) this operator's range holds (1, b, 0): other features are tried."""
    b = (1 + np.sqrt(1.8)) / 2
    unlucky = operators.from_matrix(np.array([[1.0, 4.0], [b, 0.0], [0.0, -1.0]]))
    first = unlucky(unlucky.pseudo_inverse @ np.array([1.2, 1.0, 0.8]))
    np.testing.assert_allclose(first, [1.0, b, 0.0], atol=1e-12)
    for operator in (unlucky, FRAME, over_identity(operators.laplacian(4))):
        w = sparse(operator).training.task["y"]  # Φ = I
        assert np.abs(operator(w)).min() > 1e-4


def _l1_synthesis(operator, w):
    """min Σ|z_i| over A⁺z = w, as a linear program in the positive and negative parts of z."""
    m = operator.matrix.shape[0]
    inverse = operator.pseudo_inverse
    return linprog(np.ones(2 * m), A_eq=np.hstack([inverse, -inverse]), b_eq=w, bounds=(0, None))


def test_synthesis_reaches_more_zeros_than_analysis():
    """One column of A⁺ is one feature; A w of that w has no zero."""
    w = FRAME.pseudo_inverse[:, 0]
    found = _l1_synthesis(FRAME, w)
    z = found.x[:3] - found.x[3:]
    np.testing.assert_allclose(FRAME.pseudo_inverse @ z, w, atol=1e-9)
    assert np.sum(np.abs(z) < 1e-9) == 2
    assert np.sum(np.abs(FRAME(w)) < 1e-9) == 0
    # In ℓ1 both are finite, and the first strictly lower.
    assert found.fun == pytest.approx(1.0)
    assert np.abs(FRAME(w)).sum() == pytest.approx(4.0 / 3.0)


@pytest.mark.parametrize("seed", range(5))
def test_synthesis_is_never_above_analysis(seed):
    random = np.random.default_rng(seed)
    operator, w = operators.from_matrix(random.normal(size=(6, 3))), random.normal(size=3)
    found = _l1_synthesis(operator, w)
    assert found.fun < np.abs(operator(w)).sum() - 1e-6
    assert np.sum(np.abs(found.x[:6] - found.x[6:]) > 1e-9) <= operator.rank


def test_for_a_square_operator_both_forms_are_one_model():
    params = sparse(operators.gradient(4)).init(jax.random.key(2))
    one, other = (sparse(operators.gradient(4), form=form, tie=7.0) for form in ("synthesis", "analysis"))
    assert one.loss(params) == other.loss(params)
    assert one.home == other.home


def test_descent_ends_in_the_range_the_closer_the_stronger_the_tie(x64):
    off_range = np.eye(3) - FRAME.matrix @ FRAME.pseudo_inverse
    ends = {}
    for tie in (0.0, 0.3, 1.0, 3.0):
        design = sparse(FRAME, form="analysis", tie=tie, y=np.array([0.7, -1.1]))

        def step(_, params, design=design):
            return jax.tree.map(lambda leaf, slope: leaf - 0.02 * slope, params, jax.grad(design.loss)(params))

        start = {"u": jnp.array([1.0, 0.6, 0.9]), "v": jnp.array([0.5, 1.2, 1.0])}
        params = jax.jit(lambda start, step=step: jax.lax.fori_loop(0, 1500, step, start))(start)
        ends[tie] = float(np.linalg.norm(off_range @ design.features(params)))
        np.testing.assert_allclose(design.recover(params), [0.7, -1.1], atol=1e-3)
    assert ends[0.0] > 0.1
    assert ends[0.0] > ends[0.3] > ends[1.0] > ends[3.0]
    assert ends[3.0] < 1e-6


def test_notes_name_condition_number_and_form():
    assert "condition number 1.732" in sparse(operators.from_matrix(np.diag([1.0, 3**0.5]))).notes[0]
    assert "synthesis" in sparse(FRAME).notes[1]
    assert "tie" in sparse(FRAME, form="analysis").notes[1]
    assert len(sparse(operators.gradient(3)).notes) == 1


def test_the_registry_takes_a_function_that_returns_a_design(monkeypatch):
    module = types.ModuleType("designs")
    module.step = lambda n=3: sparse(operators.gradient(n))
    monkeypatch.setitem(sys.modules, "designs", module)
    model = build_model("designs:step", {"n": 4})
    assert isinstance(model, Model)
    assert isinstance(model, Design)
    assert model.group_dim == 4


@pytest.mark.parametrize("case", refused(8), ids=label)
def test_what_is_no_design_is_refused_in_one_line(case):
    with pytest.raises(ValueError, match=r"^\w+ must be .*, got ") as caught:
        case.build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: sparse(operators.gradient(4, keep_first=False)),
            "operator must be injective, got gradient with a null space of dimension 1",
        ),
        (
            lambda: sparse(operators.from_matrix(np.diag([1.0, 1e-9]))),
            "operator must be numerically injective, with a condition number up to 1e+08, got matrix with 1e+09",
        ),
        (
            lambda: sparse(operators.from_matrix(np.eye(3, 2))),
            "operator must be without rows of zeros, got matrix with row 3 of zeros",
        ),
        (lambda: sparse(FRAME, depth=1), "depth must be at least 2, got 1"),
        (lambda: sparse(FRAME, form="both"), "form must be one of synthesis, analysis, got 'both'"),
        (lambda: sparse(FRAME, tie=-1.0), "tie must be a number from 0, got -1"),
        (lambda: sparse(FRAME, start_scale=float("nan")), "start_scale must be a number from 0, got nan"),
        (lambda: sparse(FRAME, groups="ab"), "groups must be 3 labels, one for each feature, got 2"),
        (lambda: sparse(FRAME, measure=np.eye(3)), "measure must be a matrix of 2 columns, got shape (3, 3)"),
        (lambda: sparse(FRAME, measure=np.full((1, 2), np.nan)), "measure must be a matrix of finite numbers, got 2"),
        (lambda: sparse(FRAME, y=np.ones(3)), "y must be 2 finite numbers, got 3"),
        (lambda: sparse(FRAME, y=np.array([1.0, np.nan])), "y must be a vector of finite numbers, got 1"),
        (lambda: spectral(FRAME, (1, 3)), "shape must be two whole numbers from 2 whose product is 3, got (1, 3)"),
        (
            lambda: spectral(operators.identity(6), (2, 3), rank=3),
            "rank must be at most 2, the smaller side of T, got 3",
        ),
        (lambda: spectral(operators.identity(6), (2, 3), rank=0), "rank must be at least 1, got 0"),
        (lambda: verify(uv()), "model must be one that sparse or spectral returned, got uv"),
        (lambda: verify(sparse(FRAME), features=1), "features must be at least 2, got 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(build, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build()
    assert str(caught.value).startswith(message)


@pytest.mark.full
def test_the_command_prints_cases_and_refusals(capsys, monkeypatch):
    few = [case for case in cases(4) if case.operator in ("laplacian", "laplacian over I")]
    monkeypatch.setattr("langevin_ib.design.catalogue.cases", lambda n: few)
    assert main(["--size", "4", "--features", str(MANY)]) == 0
    out = capsys.readouterr().out
    assert "null space of dimension 1" in out
    assert "condition number up to 1e+08" in out.replace("\n", " ")
    assert "accepted" not in out
    assert f"{len(few)} designs x {MANY} features" in out
    assert main(["--size", "6"]) == 2
    assert main(["--features", "1"]) == 2


def test_the_command_fails_where_an_error_is_large(capsys, monkeypatch):
    wrong = dataclasses.replace(sparse(operators.gradient(4)), penalty=lambda z: jnp.sum(jnp.abs(z)))
    case = next(cases(4))._replace(build=lambda: wrong)
    monkeypatch.setattr("langevin_ib.design.catalogue.cases", lambda n: [case])
    assert main(["--size", "4", "--features", str(MANY)]) == 1
