"""Baselines: the conditions of optimality hold, and cross-validation beats both ends of its grid."""

import importlib

import numpy as np
import pytest

from langevin_ib.design import operators
from langevin_ib.errors import ConfigError, FailedRunError
from langevin_ib.studies import baselines
from langevin_ib.studies.recipes import features

TOLERANCE = 1e-4  # of a subgradient, relative to the penalty


def sparse(seed: int, n: int = 32, d: int = 64):
    """Three of d amplitudes, n noisy points: figure 5."""
    random = np.random.default_rng(seed)
    w = np.zeros(d)
    w[[2, 5, d // 2 + 1]] = 1.5, -1.0, 2.0
    X = features(random.uniform(size=n), d)
    return X, X @ w + 0.1 * random.normal(size=n), w


def steps(seed: int, n: int = 60, d: int = 200):
    """Three constant pieces from n noisy measurements: figure 6."""
    random = np.random.default_rng(seed)
    x = np.repeat([1.0, -1.5, 0.5], [d // 2, d // 4, d - d // 2 - d // 4])
    X = random.normal(size=(n, d)) / np.sqrt(n)
    return X, X @ x + 0.1 * random.normal(size=n), x


def rank_two(seed: int, size: int = 20, observed: int = 80):
    random = np.random.default_rng(seed)
    mask = np.zeros(size * size)
    mask[random.choice(size * size, observed, replace=False)] = 1.0
    return random.normal(size=(size, 2)) @ random.normal(size=(2, size)), mask.reshape(size, size)


def check_subgradient(slope, features_of_w, penalty):
    """−slope = λ u with u = sign z where z ≠ 0 and |u| ≤ 1 elsewhere."""
    u = -slope / penalty
    active = np.abs(features_of_w) > 1e-5
    assert active.any()
    np.testing.assert_allclose(u[active], np.sign(features_of_w[active]), atol=TOLERANCE)
    assert np.abs(u).max() <= 1.0 + TOLERANCE


@pytest.mark.parametrize("seed", range(3))
def test_lasso_is_optimal_at_the_chosen_penalty(seed):
    X, y, _ = sparse(seed)
    fit = baselines.lasso(X, y, seed=0)
    slope = 2.0 / len(y) * X.T @ (X @ fit.w - y)
    check_subgradient(slope, fit.w, fit.penalty)


@pytest.mark.full
@pytest.mark.parametrize("operator", [operators.gradient(64), operators.laplacian(64)], ids=lambda a: a.name)
def test_generalised_lasso_is_optimal(operator):
    X, y, _ = sparse(0)
    fit = baselines.lasso(X, y, operator=operator, seed=0)
    slope = 2.0 / len(y) * operator.pseudo_inverse.T @ X.T @ (X @ fit.w - y)
    check_subgradient(slope, operator(fit.w), fit.penalty)


@pytest.mark.parametrize("seed", range(2))
def test_total_variation_is_optimal_and_its_level_is_free(seed):
    X, y, _ = steps(seed)
    fit = baselines.fused_lasso(X, y, seed=0)
    slope = 2.0 / len(y) * X.T @ (X @ fit.w - y)
    assert abs(slope.sum()) < 1e-10
    # x_i = x_1 + Σ_{j<i} z_j: the slope along z_j is the sum of those behind it.
    check_subgradient(np.cumsum(slope[::-1])[::-1][1:], np.diff(fit.w), fit.penalty)


def test_a_tall_operator_goes_to_another_solver_with_the_same_answer():
    X, y, _ = sparse(1, n=20, d=12)
    twice = operators.from_matrix(np.vstack([np.eye(12), np.eye(12)]))
    plain, doubled = baselines.lasso(X, y, seed=3), baselines.lasso(X, y, operator=twice, seed=3)
    assert doubled.penalty == pytest.approx(0.5 * plain.penalty, rel=1e-6)
    np.testing.assert_allclose(doubled.w, plain.w, atol=1e-4)


def test_a_rank_deficient_operator_leaves_its_null_space_free():
    X, y, _ = sparse(2, n=20, d=12)
    ring = operators.laplacian(12, "periodic")
    fit = baselines.lasso(X, y, operator=ring, penalties=np.array([1e4]), seed=0)
    level = (X.sum(axis=1) @ y) / (X.sum(axis=1) @ X.sum(axis=1))
    np.testing.assert_allclose(fit.w, np.full(12, level), atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize(
    "operator", [None, operators.gradient(12, keep_first=False), operators.laplacian(12, "periodic")]
)
def test_the_grid_begins_where_the_penalised_features_appear(operator):
    X, y, _ = sparse(4, n=20, d=12)
    features_of = operator or operators.identity(12)
    # Points without a pattern, so that cross-validation has nothing to find: the largest penalty is in the grid.
    y = np.random.default_rng(0).permutation(y)
    largest = max(baselines.lasso(X, y, operator=operator, seed=seed).penalty for seed in range(8))
    above = baselines.lasso(X, y, operator=operator, penalties=np.array([1.001 * largest]), seed=0)
    below = baselines.lasso(X, y, operator=operator, penalties=np.array([0.98 * largest]), seed=0)
    assert np.abs(features_of(above.w)).max() < 1e-5
    assert np.abs(features_of(below.w)).max() > 1e-4


@pytest.mark.full(but=["lasso-sparse"])
@pytest.mark.parametrize(("solve", "problem"), [(baselines.lasso, sparse), (baselines.fused_lasso, steps)])
def test_cross_validation_beats_both_ends_of_its_grid(solve, problem):
    # Errors of the mean over six data sets: of a single one, an end of the grid may be the better by chance.
    errors = []
    for seed in range(6):
        X, y, truth = problem(seed)
        largest = 2.0 / len(y) * np.abs(X.T @ y).max()
        if solve is baselines.fused_lasso:
            level = X.sum(axis=1)
            rest = y - level * (level @ y) / (level @ level)
            largest = 2.0 / len(y) * np.abs((X @ np.tril(np.ones((len(truth),) * 2)))[:, 1:].T @ rest).max()
        chosen = solve(X, y, seed=seed)
        assert 1.001 * baselines.SPAN < chosen.penalty / largest < 0.999
        ends = [solve(X, y, penalties=largest * np.array([part]), seed=seed) for part in (1.0, baselines.SPAN)]
        errors.append([np.linalg.norm(fit.w - truth) / np.linalg.norm(truth) for fit in (chosen, *ends)])
    best, *others = np.mean(errors, axis=0)
    assert best < 0.85 * min(others)


def test_the_seed_decides_the_folds_alone():
    X, y, _ = sparse(0)
    first, again = (baselines.lasso(X, y, seed=7) for _ in range(2))
    assert first.penalty == again.penalty
    np.testing.assert_array_equal(first.w, again.w)
    folds = list(baselines._folds(32, 7))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(32))
    assert all(not set(train) & set(test) and len(train) + len(test) == 32 for train, test in folds)
    assert any(
        (a != b).any() for (_, a), (_, b) in zip(folds, baselines._folds(32, 8), strict=True) if len(a) == len(b)
    )


def test_repeated_columns_and_units():
    t = np.arange(16) / 16.0
    X = features(t, 32)  # aliases: columns k and 16 − k are the same
    y = 1.5 * X[:, 3] + 0.1 * np.random.default_rng(0).normal(size=16)
    fit = baselines.lasso(X, y, seed=0)
    assert np.mean((X @ fit.w - y) ** 2) < 0.1
    other = baselines.lasso(1e6 * X, 1e-6 * y, seed=0)
    assert other.penalty == pytest.approx(fit.penalty, rel=1e-8)
    np.testing.assert_allclose(1e12 * other.w, fit.w, atol=1e-6)


def test_nothing_to_penalise():
    assert baselines.lasso(np.eye(4), np.zeros(4), seed=0).penalty == 0.0
    fit = baselines.fused_lasso(np.eye(4), np.full(4, 2.0), seed=0)
    assert fit.penalty == 0.0
    np.testing.assert_allclose(fit.w, 2.0)
    for exact in (True, False):
        nothing = baselines.nuclear_norm(np.zeros((3, 2)), np.ones((3, 2)), exact=exact, seed=0)
        assert not nothing.T.any()
        assert nothing.penalty == 0.0


def test_folds_without_anything_in_them():
    target = np.diag([1.0, 0.0, 0.0, 1e-9])
    assert np.isfinite(baselines.nuclear_norm(target, np.ones((4, 4)), exact=False, seed=0).T).all()


@pytest.mark.parametrize("seed", range(3))
def test_nuclear_norm_is_feasible_and_no_feasible_neighbour_is_lower(seed):
    target, mask = rank_two(seed)
    found = baselines.nuclear_norm(target, mask).T
    np.testing.assert_allclose(found[mask > 0], target[mask > 0], rtol=1e-12)
    norm = np.linalg.norm(found, "nuc")
    assert norm <= np.linalg.norm(target, "nuc") * (1 + 1e-6)
    random = np.random.default_rng(seed)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(100):
            other = found + size * (1.0 - mask) * random.normal(size=mask.shape)
            assert np.linalg.norm(other, "nuc") >= norm * (1 - 1e-6)
    zeros = np.where(mask > 0, target, 0.0)
    assert norm < 0.95 * np.linalg.norm(zeros, "nuc")


def test_nuclear_norm_recovers_a_matrix_from_most_of_its_entries():
    target, mask = rank_two(0, size=12, observed=120)
    np.testing.assert_allclose(baselines.nuclear_norm(target, mask).T, target, atol=1e-4)


def test_both_solvers_find_the_same_matrix(monkeypatch):
    target, mask = rank_two(1, size=12, observed=60)
    unseen = np.where(mask > 0, target, np.nan)
    first = baselines.nuclear_norm(unseen, mask.astype(bool)).T
    monkeypatch.setattr(baselines, "SMALL", 0)
    second = baselines.nuclear_norm(1e6 * unseen, mask).T
    assert np.linalg.norm(second, "nuc") / 1e6 == pytest.approx(np.linalg.norm(first, "nuc"), rel=1e-6)
    np.testing.assert_allclose(second / 1e6, first, atol=1e-3)


def test_a_penalised_matrix_is_optimal_at_the_chosen_penalty():
    target, mask = rank_two(2, size=10, observed=60)
    noisy = target + 0.3 * np.random.default_rng(5).normal(size=target.shape)
    found, penalty = baselines.nuclear_norm(noisy, mask, exact=False, seed=0)
    assert penalty > 0.0
    # −slope = λ G with |G|₂ ≤ 1 and ⟨G, T⟩ = |T|_*.
    dual = 2.0 / mask.sum() * mask * (noisy - found) / penalty
    assert np.linalg.norm(dual, 2) <= 1.0 + 1e-3
    assert np.sum(dual * found) == pytest.approx(np.linalg.norm(found, "nuc"), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: baselines.lasso(np.eye(3), np.ones(2), seed=0), "y must be a vector"),
        (lambda: baselines.lasso(np.ones((1, 3)), np.ones(1), seed=0), "y must be a vector"),
        (lambda: baselines.lasso(np.eye(3), np.array([1.0, np.nan, 0.0]), seed=0), "y must be"),
        (lambda: baselines.lasso(np.eye(3), np.ones(3), operator=operators.identity(4), seed=0), "operator must be"),
        (lambda: baselines.lasso(np.eye(3), np.ones(3), penalties=np.zeros(2), seed=0), "penalties must be positive"),
        (lambda: baselines.nuclear_norm(np.eye(3), np.zeros((3, 3))), "mask must be"),
        (lambda: baselines.nuclear_norm(np.eye(3), np.ones((3, 2))), "mask must be"),
        (lambda: baselines.nuclear_norm(np.eye(3), np.ones((3, 3)), exact=False), "seed must be"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_where_coordinate_descent_stops_early_another_solver_goes_on(monkeypatch):
    X, y, _ = sparse(0)
    found = baselines.lasso(X, y, seed=0)
    monkeypatch.setattr(baselines, "ITERATIONS", 2)
    other = baselines.lasso(X, y, seed=0)
    assert other.penalty == found.penalty
    np.testing.assert_allclose(other.w, found.w, atol=1e-5)


def test_a_gap_that_stays_open_is_an_error(monkeypatch):
    monkeypatch.setattr(baselines, "GAP", 0.0)
    with pytest.raises(FailedRunError, match="duality gap"):
        baselines.nuclear_norm(*rank_two(0, size=6, observed=12))


def test_a_status_that_is_not_optimal_is_an_error():
    cp = importlib.import_module("cvxpy")
    x = cp.Variable()
    with pytest.raises(FailedRunError, match="CLARABEL ended with the status unbounded"):
        baselines._solve(cp.Problem(cp.Minimize(x)), "lasso", "CLARABEL")


def test_a_missing_solver_names_the_extra(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(baselines.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install -c constraints.txt -e '.\[baselines\]'") as caught:
        baselines.require()
    assert "\n" not in str(caught.value)
