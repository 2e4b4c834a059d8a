"""Convex baselines: lasso, fused lasso (total variation) and nuclear norm, the penalty by cross-validation."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Bool, Float, Real

from langevin_ib.design import operators
from langevin_ib.design.operators import Operator, finite_array
from langevin_ib.errors import ConfigError, FailedRunError, one_line

FOLDS = 5
PENALTIES, MATRIX_PENALTIES = 16, 8
SPAN = 1e-3  # of the grid: smallest penalty over the largest
ROUNDING = 1e-12  # relative: a largest penalty below it is 0
ACCURACY, FOLD_ACCURACY = 1e-10, 1e-6  # of coordinate descent: duality gap over |y|²
ITERATIONS = 20_000  # of coordinate descent; then an interior point method takes over
GAP = 1e-6  # of a matrix, duality gap over the objective: larger ones are refused
SMALL = 60  # rows and columns together up to which Clarabel is faster than SCS

# (X (n, d), y (n,), penalties (k,), largest first, accuracy) ↦ the weights of each, (k, d).
Path: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


class LassoFit(NamedTuple):
    """Weights (d,) and the penalty λ they were fitted with."""

    w: Float[np.ndarray, " d"]
    penalty: float


class MatrixFit(NamedTuple):
    """A matrix (m, p) and the penalty λ it was fitted with; 0 in the limit without noise."""

    T: Float[np.ndarray, "m p"]
    penalty: float


def require() -> None:
    """Check that the solvers are installed, before a long run.

    Raises:
        ConfigError: scikit-learn or cvxpy is not installed.
    """
    for name in ("sklearn.linear_model", "cvxpy"):
        _import_module(name)


def lasso(
    X: Real[np.ndarray, "n d"],
    y: Real[np.ndarray, "..."],
    *,
    operator: Operator | None = None,
    penalties: Real[np.ndarray, " k"] | None = None,
    seed: int,
) -> LassoFit:
    """The (generalised) lasso, min_w (1/n) |X w − y|² + λ |A w|₁.

    λ is the one with the smallest squared error on held-out points, of 5 folds; then the fit is to all points.

    Args:
        X: (n, d), n ≥ 2.
        y: (n,).
        operator: A; None for the identity.
        penalties: positive ones to choose from; None for 16, from the smallest λ with A w = 0 to a thousandth of it.
        seed: of the shuffle of points into folds.

    Returns:
        w and λ; λ = 0 if A w = 0 whatever the penalty.

    Raises:
        ValueError: an argument is not of these shapes, or not finite.
        FailedRunError: a solver did not converge.
        ConfigError: scikit-learn or cvxpy is not installed.
    """
    X, y = finite_array("X", X, 2), finite_array("y", y, 1)
    n, d = X.shape
    if len(y) != n or n < 2:
        raise ValueError(f"y must be a vector of as many numbers as X has rows, at least 2, got {len(y)} and {n}")
    if operator is not None and operator.matrix.shape[1] != d:
        raise ValueError(f"operator must be of {d} numbers, the columns of X, got {operator.matrix.shape[1]}")
    penalty_grid = None if penalties is None else _sort_penalties(penalties)
    # Matrices this small are several times slower by two threads than by one.
    with _import_module("threadpoolctl").threadpool_limits(1, user_api="blas"):
        return _fit_lasso(X, y, operator, penalty_grid, seed)


def fused_lasso(
    X: Real[np.ndarray, "n d"],
    y: Real[np.ndarray, "..."],
    *,
    penalties: Real[np.ndarray, " k"] | None = None,
    seed: int,
) -> LassoFit:
    """The fused lasso, min_x (1/n) |X x − y|² + λ Σ_i |x_{i+1} − x_i|: `lasso` of differences, the level x_1 free.

    Arguments, result and what is raised are those of `lasso`; d ≥ 2.
    """
    differences = operators.gradient(finite_array("X", X, 2).shape[1], keep_first=False)
    return lasso(X, y, operator=differences, penalties=penalties, seed=seed)


def nuclear_norm(
    target: Real[np.ndarray, "m p"],
    mask: Real[np.ndarray, "..."] | Bool[np.ndarray, "..."],
    *,
    penalties: Real[np.ndarray, " k"] | None = None,
    seed: int | None = None,
    exact: bool = True,
) -> MatrixFit:
    """The matrix of smallest nuclear norm that has the observed entries, or nearly has them.

    min |T|_* with T = Y on the mask; if not `exact`, min (1/n) Σ_observed (T − Y)² + λ |T|_*, n entries being
    observed, λ from 5 folds of them.

    Args:
        target: Y, (m, p); unobserved entries are ignored.
        mask: 1 where an entry is observed, else 0.
        penalties: positive ones to choose from; None for 8, from the smallest λ with T = 0 to a thousandth of it.
        seed: of the shuffle of entries into folds; not needed if `exact`.
        exact: the limit λ → 0.

    Raises:
        ValueError: an argument is not of these shapes, or nothing is observed; not `exact`, but without a seed.
        FailedRunError: the solver failed, or its duality gap is over a millionth of the objective.
        ConfigError: cvxpy is not installed.
    """
    observed = finite_array("mask", mask, 2) != 0
    if np.shape(target) != observed.shape or not observed.any():
        raise ValueError(
            f"mask must be of target's shape {np.shape(target)} with an observed entry, "
            f"got shape {observed.shape} with {observed.sum()}"
        )
    Y = finite_array("target", np.where(observed, target, 0.0), 2)
    i, j = np.nonzero(observed)
    values, largest = Y[i, j], 2.0 / len(i) * float(np.linalg.norm(Y, 2))
    if exact or not largest:
        return MatrixFit(_build_nuclear_solver(i, j, values, Y.shape)(0.0), 0.0)
    if seed is None or len(i) < 2:
        raise ValueError(f"seed must be given and 2 entries observed if exact is False, got {seed} and {len(i)}")
    penalty_grid = _sort_penalties(_penalty_grid(largest, MATRIX_PENALTIES) if penalties is None else penalties)
    errors = np.zeros(len(penalty_grid))
    for train, test in _folds(len(i), seed) if len(penalty_grid) > 1 else ():
        solve = _build_nuclear_solver(i[train], j[train], values[train], Y.shape)
        errors += [np.sum((solve(penalty)[i[test], j[test]] - values[test]) ** 2) for penalty in penalty_grid]
    best = float(penalty_grid[np.argmin(errors)])
    return MatrixFit(_build_nuclear_solver(i, j, values, Y.shape)(best), best)


def _fit_lasso(
    X: np.ndarray, y: np.ndarray, operator: Operator | None, penalty_grid: np.ndarray | None, seed: int
) -> LassoFit:
    n, d = X.shape
    if operator is None:
        path, largest, scale = _coordinate_descent_path(np.eye(d), np.zeros((d, 0)), X, y)
    elif operator.rank == len(operator.matrix):
        path, largest, scale = _coordinate_descent_path(
            operator.pseudo_inverse, scipy.linalg.null_space(operator.matrix), X, y
        )
    else:
        path, largest, scale = _interior_point_path(operator.matrix, X, y)
    if penalty_grid is None:
        if largest <= ROUNDING * scale:  # no penalty makes a difference
            return LassoFit(path(X, y, np.array([scale or 1.0]), ACCURACY)[0], 0.0)
        penalty_grid = _penalty_grid(largest, PENALTIES)
    errors = np.zeros(len(penalty_grid))
    for train, test in _folds(n, seed) if len(penalty_grid) > 1 else ():
        weights = path(X[train], y[train], penalty_grid, FOLD_ACCURACY)
        errors += np.sum((weights @ X[test].T - y[test]) ** 2, axis=1)
    best = int(np.argmin(errors))
    return LassoFit(path(X, y, penalty_grid[: best + 1], ACCURACY)[-1], float(penalty_grid[best]))


def _coordinate_descent_path(
    back: np.ndarray, null: np.ndarray, X: np.ndarray, y: np.ndarray
) -> tuple[Path, float, float]:
    """For an A with independent rows: w = A⁺z + N v, a lasso in z once the unpenalised v is projected out.

    Returns:
        its path of solutions, the smallest λ with z = 0, and an upper bound of the scale of that λ.
    """
    descend = _import_module("sklearn.linear_model").lasso_path
    failed = _import_module("sklearn.exceptions").ConvergenceWarning

    def project_out_level(X, *columns):
        basis = scipy.linalg.orth(X @ null) if null.size else np.zeros((len(X), 0))
        return [column - basis @ (basis.T @ column) for column in columns]

    def path(X, y, penalties, accuracy):
        features, target = project_out_level(X, X @ back, y)
        # Half: scikit-learn's squared error is over 2n. Least angle regression would be several times faster, and is
        # wrong where columns repeat, as cos 2πkt does at equally spaced t.
        options = {"alphas": penalties / 2.0, "tol": accuracy, "max_iter": ITERATIONS, "precompute": True}
        with warnings.catch_warnings():
            warnings.simplefilter("error", failed)
            try:
                z = descend(features, target, **options)[1]
            except failed:  # badly conditioned features, of second differences for instance
                z = _solve_by_interior_point(np.eye(features.shape[1]), features, target, penalties).T
        w = back @ z
        if null.size:
            w += null @ np.linalg.lstsq(X @ null, y[:, None] - X @ w, rcond=None)[0]
        return _require_finite(w.T)

    features, target = project_out_level(X, X @ back, y)
    scale = 2.0 / len(y) * float(np.linalg.norm(X @ back)) * float(np.linalg.norm(y))
    return path, 2.0 / len(y) * float(np.abs(features.T @ target).max()), scale


def _interior_point_path(A: np.ndarray, X: np.ndarray, y: np.ndarray) -> tuple[Path, float, float]:
    """For any other A, by Clarabel; returns as `_coordinate_descent_path` does."""
    cp = _import_module("cvxpy")

    def path(X, y, penalties, accuracy):
        del accuracy  # an interior point method is exact to 1e-8 at no more cost
        return _require_finite(_solve_by_interior_point(A, X, y, penalties))

    null = scipy.linalg.null_space(A)
    level = null @ np.linalg.lstsq(X @ null, y, rcond=None)[0] if null.size else np.zeros(X.shape[1])
    slope = 2.0 / len(y) * X.T @ (y - X @ level)
    scale = 2.0 / len(y) * float(np.linalg.norm(X)) * float(np.linalg.norm(y))
    size = float(np.linalg.norm(slope))
    if size <= ROUNDING * scale:
        return path, 0.0, scale
    # A w = 0 is optimal once the slope is λ Aᵀu with |u|_∞ ≤ 1; both are in the span of A's rows.
    rows, u = scipy.linalg.orth(A.T), cp.Variable(len(A))
    problem = cp.Problem(cp.Minimize(cp.norm_inf(u)), [(A @ rows).T @ u == rows.T @ slope / size])
    _solve(problem, "lasso", "CLARABEL")
    return path, size * float(problem.value), size


def _solve_by_interior_point(A: np.ndarray, X: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    cp = _import_module("cvxpy")
    unit = float(np.sqrt(np.mean(y**2))) or 1.0
    w, penalty = cp.Variable(X.shape[1]), cp.Parameter(nonneg=True)
    misfit = cp.sum_squares(X @ w - y / unit) / len(y)
    problem = cp.Problem(cp.Minimize(misfit + penalty * cp.norm1(A @ w)))
    solutions = []
    for value in penalties:
        penalty.value = value / unit
        _solve(problem, "lasso", "CLARABEL")
        solutions.append(unit * np.asarray(w.value))
    return np.stack(solutions)


def _build_nuclear_solver(i, j, values: np.ndarray, shape: tuple[int, int]) -> Callable[[float], np.ndarray]:
    """λ ↦ the T of `nuclear_norm` for these entries; 0 for the limit.

    Solved is the dual, max_M ⟨Y, M⟩ − (n λ / 4) |M|² over M that are 0 off the mask with |M|₂ ≤ 1, whose multiplier
    is T: it has n unknowns instead of the (m + p)(m + p + 1)/2 of the usual form.
    """
    # 20 × 20, 80 entries, to a relative 1e-6, seconds a solve: this dual by Clarabel 0.03 and by SCS 0.2; the usual
    # form (cvxpy's normNuc) by SCS 0.15 to 0.5 and by Clarabel 1.1. 50 × 50: this dual by Clarabel 5, by SCS 0.6.
    solver, settings = ("CLARABEL", {}) if sum(shape) <= SMALL else ("SCS", {"eps_abs": 1e-8, "eps_rel": 1e-8})
    cp = _import_module("cvxpy")
    rows, cols = shape
    scatter = scipy.sparse.csr_array((np.ones(len(i)), (j * rows + i, np.arange(len(i)))), (rows * cols, len(i)))
    dual, curvature = cp.Variable(len(i)), cp.Parameter(nonneg=True)
    # In units of |Y|₂, so that the solver's absolute tolerances are relative ones.
    unit = float(np.linalg.norm((scatter @ values).reshape(shape, order="F"), 2))
    if not unit:
        return lambda penalty: np.zeros(shape)
    values = values / unit
    M = cp.reshape(scatter @ dual, shape, order="F")
    ball = cp.bmat([[np.eye(rows), M], [M.T, np.eye(cols)]]) >> 0
    problem = cp.Problem(cp.Maximize(values @ dual - curvature * cp.sum_squares(dual)), [ball])

    def solve(penalty: float) -> np.ndarray:
        curvature.value = c = len(i) * penalty / unit / 4.0
        _solve(problem, "nuclear norm", solver, **settings)
        multiplier = np.asarray(ball.dual_value)
        T = -(multiplier[:rows, rows:] + multiplier[rows:, :rows].T)
        if not penalty:
            T[i, j] = values
        # The gap at the nearest dual point that is feasible to the last digit is a bound, whatever the solver reports.
        dual_point = np.asarray(dual.value)
        dual_point = dual_point / max(1.0, float(np.linalg.norm((scatter @ dual_point).reshape(shape, order="F"), 2)))
        upper = np.linalg.svd(T, compute_uv=False).sum()
        upper += np.sum((T[i, j] - values) ** 2) / (4.0 * c) if c else 0.0
        gap = upper - (values @ dual_point - c * dual_point @ dual_point)
        if not gap <= GAP * upper:
            raise FailedRunError(f"nuclear norm: the duality gap must be at most {GAP:g}, got {gap / upper:.3g}")
        return _require_finite(unit * T)

    return solve


def _solve(problem, name: str, solver: str, **settings: float) -> None:
    cp = _import_module("cvxpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an inaccurate solution, which is refused below
        try:
            problem.solve(solver=solver, **settings)
        except cp.SolverError as error:
            raise FailedRunError(f"{name}: {solver} failed ({one_line(error)})") from None
    if problem.status != cp.OPTIMAL:
        raise FailedRunError(f"{name}: {solver} ended with the status {problem.status}")


def _folds(n: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices to train on and to test on; fewer than 5 times if there are fewer points."""
    order = np.random.default_rng(seed).permutation(n)
    for test in np.array_split(order, min(FOLDS, n)):
        yield np.setdiff1d(order, test), test


def _penalty_grid(largest: float, count: int) -> np.ndarray:
    return largest * np.logspace(0.0, np.log10(SPAN), count)


def _sort_penalties(penalties: Real[np.ndarray, " k"]) -> np.ndarray:
    penalty_grid = np.sort(finite_array("penalties", penalties, 1))[::-1]
    if not penalty_grid[-1] > 0:
        raise ValueError(f"penalties must be positive, got {penalty_grid[-1]:g}")
    return penalty_grid


def _require_finite(solution: np.ndarray) -> np.ndarray:
    if not np.isfinite(solution).all():
        raise FailedRunError("baseline: the solver's result must be finite numbers, got some that are not")
    return solution


def _import_module(name: str) -> ModuleType:
    # Late: an optional extra, and slow to import.
    try:
        return importlib.import_module(name)
    except ImportError as error:
        expected = "solved with scikit-learn and cvxpy, from a clone: pip install -c constraints.txt -e '.[baselines]'"
        raise ConfigError("baselines", expected, one_line(error)) from None
