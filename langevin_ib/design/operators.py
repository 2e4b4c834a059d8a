"""Linear operators A: R^d → R^m as matrices with their rank and pseudo-inverse, and the builders of common ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real
from scipy.fft import dct

from langevin_ib.errors import one_line
from langevin_ib.models.checks import among, at_least

Vectors: TypeAlias = Float[np.ndarray, "..."] | Float[Array, "..."]

BOUNDARIES = ("dirichlet", "neumann", "periodic")
ENDS = ("zero", "periodic")
LINEARITY = 1e-6  # of from_function, relative: a function that rounds to float32 passes
TRIALS = 4
LARGEST_CONDITION = 1e8  # half of float64's digits: beyond it A⁺z is unreliable


@dataclass(frozen=True, eq=False)
class Operator:
    """A linear map w ↦ A w.

    Attributes:
        name: what tables and messages call it.
        matrix: A, (m, d) finite numbers; kept as a read-only float64 copy.

    Raises:
        ValueError: the matrix is empty, has another number of axes, or holds a number that is not finite.

    >>> A = Operator("sum", np.array([[1.0, 1.0]]))
    >>> A.rank, A.null_dim, A(np.array([1.0, 2.0])).tolist()
    (1, 1, [3.0])
    """

    name: str
    matrix: Float[np.ndarray, "..."]

    def __post_init__(self):
        a = np.array(finite_array("matrix", self.matrix, 2))
        a.setflags(write=False)
        object.__setattr__(self, "matrix", a)

    def __call__(self, w: Vectors) -> Vectors:
        """A w of a vector (d,), or of the columns of a matrix (d, k); of a JAX array in its own precision."""
        return jnp.asarray(self.matrix, w.dtype) @ w if isinstance(w, jax.Array) else self.matrix @ w

    @cached_property
    def singular_values(self) -> Float[np.ndarray, " k"]:
        """In descending order, min(m, d) of them."""
        return np.linalg.svd(self.matrix, compute_uv=False)

    @cached_property
    def rank(self) -> int:
        """Number of singular values above rounding, max(m, d) ε σ₁."""
        return int(np.sum(self.singular_values > self._rounding))

    @property
    def null_dim(self) -> int:
        """Dimension of the null space, d − rank; 0 for an injective operator."""
        return self.matrix.shape[1] - self.rank

    @cached_property
    def condition(self) -> float:
        """Largest over smallest non-zero singular value; infinite for A = 0."""
        return float(self.singular_values[0] / self.singular_values[self.rank - 1]) if self.rank else float("inf")

    @cached_property
    def pseudo_inverse(self) -> Float[np.ndarray, "d m"]:
        """A⁺, with A⁺A = I for an injective A."""
        left, values, right = np.linalg.svd(self.matrix, full_matrices=False)
        nonzero = slice(self.rank)
        return (right[nonzero].T / values[nonzero]) @ left[:, nonzero].T

    @property
    def is_tall(self) -> bool:
        """Whether there are more features than numbers in w, m > d: then not every z is A w of some w."""
        return self.matrix.shape[0] > self.matrix.shape[1]

    @property
    def _rounding(self) -> float:
        return max(self.matrix.shape) * np.finfo(np.float64).eps * float(self.singular_values[0])


def require_injective(operator: Operator | Real[np.ndarray, "..."]) -> Operator:
    """The operator, built from a matrix if that is given, if A w determines w.

    Raises:
        ValueError: A has a null space, of the dimension that is named; is injective in exact arithmetic only (condition
            number above 1e8); or has a row of zeros, a feature that is always 0.

    >>> require_injective(gradient(4, keep_first=False))
    Traceback (most recent call last):
        ...
    ValueError: operator must be injective, got gradient with a null space of dimension 1
    """
    if not isinstance(operator, Operator):
        operator = from_matrix(operator)
    if operator.null_dim:
        raise ValueError(
            f"operator must be injective, got {operator.name} with a null space of dimension {operator.null_dim}"
        )
    if operator.condition > LARGEST_CONDITION:
        raise ValueError(
            f"operator must be numerically injective, with a condition number up to {LARGEST_CONDITION:g}, "
            f"got {operator.name} with {operator.condition:.3g}"
        )
    zero = np.flatnonzero(~operator.matrix.any(axis=1))
    if zero.size:
        raise ValueError(f"operator must be without rows of zeros, got {operator.name} with row {zero[0] + 1} of zeros")
    return operator


def identity(n: int) -> Operator:
    """A = I."""
    return Operator("identity", np.eye(at_least("n", n, 1)))


def gradient(n: int, keep_first: bool = True) -> Operator:
    """First differences, (A w)_i = w_i − w_{i−1}, i = 2..n.

    Args:
        n: d ≥ 2.
        keep_first: with w_1 itself as first feature, so that A is square and A⁻¹ the cumulative sum; without it, A is
            (n − 1, n) and constants are its null space.

    >>> (gradient(3).pseudo_inverse @ np.array([1.0, 2.0, 4.0])).round(12).tolist()
    [1.0, 3.0, 7.0]
    """
    differences = np.eye(at_least("n", n, 2)) - np.eye(n, k=-1)
    return Operator("gradient", differences if keep_first else differences[1:])


def laplacian(n: int, boundary: str = "dirichlet") -> Operator:
    """Second differences, (A w)_i = w_{i−1} − 2 w_i + w_{i+1}.

    Args:
        n: d ≥ 2.
        boundary: of w beyond its ends: `dirichlet`, w_0 = w_{n+1} = 0; `neumann`, w_0 = w_1 and w_{n+1} = w_n;
            `periodic`. Only the first is injective: constants are in the null space of the other two.

    >>> laplacian(5).null_dim, laplacian(5, "neumann").null_dim, laplacian(5, "periodic").null_dim
    (0, 1, 1)
    """
    at_least("n", n, 2)
    among("boundary", boundary, BOUNDARIES)
    if boundary == "periodic":
        eye = np.eye(n)
        return Operator("laplacian", np.roll(eye, 1, axis=0) + np.roll(eye, -1, axis=0) - 2.0 * eye)
    a = np.eye(n, k=1) + np.eye(n, k=-1) - 2.0 * np.eye(n)
    if boundary == "neumann":
        a[0, 0] = a[-1, -1] = -1.0
    return Operator("laplacian", a)


def cosine(n: int) -> Operator:
    """The orthonormal discrete cosine transform (DCT-II)."""
    return Operator("cosine", np.asarray(dct(np.eye(at_least("n", n, 1)), norm="ortho", axis=0)))


def fourier(n: int) -> Operator:
    """The orthonormal real Fourier transform: the mean, then cosine and sine of each frequency, for even n w_i(−1)^i.

    >>> A = fourier(5).matrix
    >>> bool(np.allclose(A @ A.T, np.eye(5)))
    True
    """
    angle = 2.0 * np.pi * np.arange(at_least("n", n, 1)) / n
    rows = [np.full(n, n**-0.5)]
    for k in range(1, (n + 1) // 2):
        rows += [np.sqrt(2.0 / n) * np.cos(k * angle), np.sqrt(2.0 / n) * np.sin(k * angle)]
    if n % 2 == 0:
        rows.append(n**-0.5 * np.where(np.arange(n) % 2, -1.0, 1.0))
    return Operator("fourier", np.stack(rows))


def haar(n: int) -> Operator:
    """The orthonormal Haar wavelet transform of 2^k numbers: the mean, then differences from coarse to fine.

    Raises:
        ValueError: n is no power of two.
    """
    if n < 1 or n & (n - 1):
        raise ValueError(f"n must be a power of two, got {n}")
    a = np.ones((1, 1))
    while len(a) < n:
        a = np.sqrt(0.5) * np.concatenate([np.kron(a, [1.0, 1.0]), np.kron(np.eye(len(a)), [1.0, -1.0])])
    return Operator("haar", a)


def convolution(kernel: Real[np.ndarray, "..."], n: int, boundary: str = "zero") -> Operator:
    """(A w)_i = Σ_k h_k w_{i−k+c}, c = ⌊(K − 1)/2⌋: an odd kernel is centred, [1, −1] takes differences.

    Args:
        kernel: h, K numbers, K ≤ n.
        n: d ≥ 1, the length of w and of A w.
        boundary: of w beyond its ends: `zero`, or `periodic`.

    Raises:
        ValueError: an argument is out of range, or the kernel is no vector of finite numbers.
    """
    at_least("n", n, 1)
    among("boundary", boundary, ENDS)
    h = finite_array("kernel", kernel, 1)
    if h.size > n:
        raise ValueError(f"kernel must be of at most n numbers ({n}), got {h.size}")
    a = np.zeros((n, n))
    for k, value in enumerate(h):
        shift = k - (h.size - 1) // 2
        a += value * (np.roll(np.eye(n), shift, axis=0) if boundary == "periodic" else np.eye(n, k=-shift))
    return Operator("convolution", a)


def projection(basis: Real[np.ndarray, "..."]) -> Operator:
    """Coefficients of w on an orthonormal basis of the span of the given columns, (d, k); injective if they span R^d.

    The basis is that of the left singular vectors, the strongest direction first.

    >>> projection(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])).null_dim
    2
    """
    columns = Operator("projection", finite_array("basis", basis, 2))
    if not columns.rank:
        raise ValueError("basis must be columns that are not all zero, got zeros")
    return Operator("projection", np.linalg.svd(columns.matrix)[0][:, : columns.rank].T)


def from_matrix(matrix: Real[np.ndarray, "..."], name: str = "matrix") -> Operator:
    """Any matrix A, (m, d)."""
    return Operator(name, finite_array("matrix", matrix, 2))


def from_function(f: Callable, dim: int, name: str = "function") -> Operator:
    """The matrix of a linear function, from its values on the unit vectors.

    Args:
        f: takes a NumPy or a JAX array (d,) of float64 numbers, returns a vector (m,).
        dim: d ≥ 1.
        name: what tables and messages call it.

    Raises:
        ValueError: f fails, returns no vector of finite numbers, or is not linear: f(0) = 0 and f(ax + by) = a f(x) +
            b f(y) on four pairs of random vectors, to 1e-6 of the largest number involved.

    >>> from_function(lambda w: w[1:] - w[:-1], 3).matrix.tolist()
    [[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]]
    >>> from_function(lambda w: w + 1.0, 3)
    Traceback (most recent call last):
        ...
    ValueError: f must be linear, got |f(0)| = 1
    """
    at_least("dim", dim, 1)
    zero = _evaluate(f, np.zeros(dim))
    if zero.any():
        raise ValueError(f"f must be linear, got |f(0)| = {np.abs(zero).max():.3g}")
    a = np.stack([_evaluate(f, unit) for unit in np.eye(dim)], axis=1)
    random = np.random.default_rng(0)
    for _ in range(TRIALS):
        x, y = random.normal(size=(2, dim))
        p, q = random.normal(size=2)
        fx, fy, both = _evaluate(f, x), _evaluate(f, y), _evaluate(f, p * x + q * y)
        # Against the matrix too: a function may be linear on these vectors and another one on the unit vectors.
        gap = max(np.abs(both - p * fx - q * fy).max(), np.abs(fx - a @ x).max())
        if not gap <= LINEARITY * max(np.abs(a).max(), np.abs(fx).max(), np.abs(fy).max()):
            raise ValueError(f"f must be linear, got |f(ax + by) − a f(x) − b f(y)| = {gap:.3g}")
    return Operator(name, a)


def finite_array(name: str, value: object, axes: int) -> Float[np.ndarray, "..."]:
    """A non-empty array of finite float64 numbers with one axis or two.

    Raises:
        ValueError: it is something else.
    """
    expected = "a vector" if axes == 1 else "a matrix"
    try:
        a = np.asarray(value)
        a = a.astype(np.float64, casting="same_kind" if a.dtype.kind in "fc" else "safe")
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {expected} of finite numbers, got {type(value).__name__}") from None
    if a.ndim != axes or a.size == 0:
        raise ValueError(f"{name} must be {expected} of finite numbers, got shape {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} must be {expected} of finite numbers, got {np.sum(~np.isfinite(a))} that are not")
    return a


def _evaluate(f: Callable, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, " m"]:
    with jax.enable_x64(True):
        try:
            try:
                output = np.asarray(f(x.copy()))
            except (AttributeError, TypeError):  # a function that needs JAX's arrays, for x.at[...] for instance
                output = np.asarray(f(jnp.asarray(x)))
        except Exception as error:
            raise ValueError(f"f must be a function of a vector of {x.size} numbers, got {one_line(error)}") from None
    if output.ndim != 1 or output.size == 0:
        raise ValueError(f"f must be a function that returns a vector, got shape {output.shape}")
    return finite_array("f", output, 1)
