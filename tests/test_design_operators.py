"""Operators of features: what each is, what its null space is, and what is refused, in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin_ib.design import operators
from langevin_ib.design.catalogue import injective, over_identity

N = 8


@pytest.mark.parametrize("operator", injective(N), ids=lambda operator: operator.name)
def test_the_injective_ones_are_undone_by_their_pseudo_inverse(operator):
    w = np.random.default_rng(1).normal(size=N)
    assert operator.rank == N
    assert operator.null_dim == 0
    assert not operator.is_tall
    np.testing.assert_allclose(operator.pseudo_inverse @ operator(w), w, atol=1e-12)
    values = np.linalg.svd(operator.matrix, compute_uv=False)
    assert operator.condition == pytest.approx(values[0] / values[-1])


def test_a_tall_one_is_undone_too():
    tall = over_identity(operators.gradient(N))
    assert tall.is_tall
    np.testing.assert_allclose(tall.pseudo_inverse @ tall.matrix, np.eye(N), atol=1e-12)


def test_the_inverse_of_the_gradient_is_the_cumulative_sum():
    z = np.random.default_rng(2).normal(size=N)
    np.testing.assert_allclose(operators.gradient(N).pseudo_inverse @ z, np.cumsum(z), atol=1e-13)
    np.testing.assert_allclose(operators.gradient(N, keep_first=False)(z), np.diff(z), atol=1e-15)


@pytest.mark.parametrize(
    ("operator", "null_dim"),
    [
        (operators.gradient(N, keep_first=False), 1),
        (operators.laplacian(N, "neumann"), 1),
        (operators.laplacian(N, "periodic"), 1),
        (operators.projection(np.eye(N)[:, :3]), N - 3),
        (operators.convolution(np.array([1.0, -1.0]), N, "periodic"), 1),
        (operators.from_matrix(np.zeros((2, N))), N),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_null_spaces(operator, null_dim):
    assert operator.null_dim == null_dim
    w = np.random.default_rng(3).normal(size=N)
    # A A⁺A = A whatever the rank.
    np.testing.assert_allclose(operator.matrix @ (operator.pseudo_inverse @ operator(w)), operator(w), atol=1e-12)


@pytest.mark.parametrize("build", [operators.cosine, operators.fourier, operators.haar])
@pytest.mark.parametrize("n", [1, 2, 8])
def test_transforms_are_orthonormal(build, n):
    np.testing.assert_allclose(build(n).matrix @ build(n).matrix.T, np.eye(n), atol=1e-13)


def test_the_fourier_transform_tells_frequencies_apart():
    angle = 2 * np.pi * np.arange(N) / N
    z = operators.fourier(N)(np.cos(2 * angle) + 3 * np.sin(angle))
    np.testing.assert_allclose(z[[2, 3]], [3 * np.sqrt(N / 2), np.sqrt(N / 2)], atol=1e-12)
    np.testing.assert_allclose(np.delete(z, [2, 3]), 0.0, atol=1e-12)


def test_a_step_has_few_wavelets():
    assert np.sum(np.abs(operators.haar(N)(np.repeat([1.0, 3.0], N // 2))) > 1e-12) == 2


@pytest.mark.parametrize("kernel", [[2.0], [1.0, -1.0], [0.5, 2.0, -1.0], [1.0, 2.0, 3.0, 4.0]])
def test_a_convolution_is_the_sum_that_it_says(kernel):
    w, centre = np.random.default_rng(4).normal(size=N), (len(kernel) - 1) // 2
    found = operators.convolution(np.array(kernel), N)(w)
    np.testing.assert_allclose(found, np.convolve(w, kernel)[centre : centre + N], atol=1e-13)
    round_ = operators.convolution(np.array(kernel), N, "periodic")(w)
    wanted = [sum(h * w[(i - k + centre) % N] for k, h in enumerate(kernel)) for i in range(N)]
    np.testing.assert_allclose(round_, wanted, atol=1e-13)


def test_second_differences_by_convolution_are_the_laplacian():
    kernel = np.array([1.0, -2.0, 1.0])
    np.testing.assert_array_equal(operators.convolution(kernel, N).matrix, operators.laplacian(N).matrix)
    np.testing.assert_array_equal(
        operators.convolution(kernel, N, "periodic").matrix, operators.laplacian(N, "periodic").matrix
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_function_gives_its_matrix(m, d, seed):
    a = np.random.default_rng(seed).normal(size=(m, d))
    np.testing.assert_allclose(operators.from_function(lambda w: a @ w, d).matrix, a, atol=1e-14)


def test_functions_may_be_of_jax_or_round_to_float32():
    found = operators.from_function(lambda w: w.at[0].multiply(2.0), 3)
    np.testing.assert_array_equal(found.matrix, np.diag([2.0, 1.0, 1.0]))
    operators.from_function(lambda w: jnp.cumsum(jnp.asarray(w, jnp.float32)), 3)


def test_whole_numbers_will_do():
    assert operators.from_matrix(np.eye(2, dtype=int)).matrix.dtype == np.float64
    assert operators.convolution(np.array([1, -1]), 3).matrix.dtype == np.float64


def test_an_operator_acts_in_the_precision_of_what_it_is_given():
    assert operators.cosine(3)(jnp.ones(3)).dtype == jnp.float32
    assert operators.cosine(3)(np.ones(3)).dtype == np.float64
    assert jax.jit(operators.cosine(3))(jnp.ones(3)).shape == (3,)


def test_the_matrix_is_a_read_only_copy():
    a = np.eye(2)
    operator = operators.from_matrix(a)
    a[0, 0] = 5.0
    assert operator.matrix[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        operator.matrix[0, 0] = 2.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: operators.identity(0), "n must be at least 1, got 0"),
        (lambda: operators.gradient(1), "n must be at least 2, got 1"),
        (lambda: operators.haar(6), "n must be a power of two, got 6"),
        (lambda: operators.haar(0), "n must be a power of two, got 0"),
        (lambda: operators.laplacian(4, "robin"), "boundary must be one of dirichlet, neumann, periodic, got 'robin'"),
        (lambda: operators.convolution(np.ones(2), 4, "same"), "boundary must be one of zero, periodic, got 'same'"),
        (lambda: operators.convolution(np.ones(5), 4), "kernel must be of at most n numbers (4), got 5"),
        (lambda: operators.convolution(np.ones((2, 2)), 4), "kernel must be a vector of finite numbers, got shape"),
        (lambda: operators.from_matrix(np.ones(3)), "matrix must be a matrix of finite numbers, got shape (3,)"),
        (lambda: operators.from_matrix(np.ones((0, 3))), "matrix must be a matrix of finite numbers, got shape (0, 3)"),
        (lambda: operators.from_matrix(np.full((2, 2), np.inf)), "matrix must be a matrix of finite numbers, got 4"),
        (lambda: operators.projection(np.zeros((3, 2))), "basis must be columns that are not all zero, got zeros"),
        (lambda: operators.projection(np.full((3, 2), np.nan)), "basis must be a matrix of finite numbers, got 6"),
        (lambda: operators.from_function(np.sum, 3), "f must be a function that returns a vector, got shape ()"),
        (lambda: operators.from_function(lambda w: w[5:], 3), "f must be a function that returns a vector, got shape"),
        (lambda: operators.from_function(lambda w: w[5], 3), "f must be a function of a vector of 3 numbers, got"),
        (lambda: operators.from_function(lambda w: w**2, 3), "f must be linear, got |f(ax + by)"),
        (lambda: operators.from_function(np.abs, 3), "f must be linear, got |f(ax + by)"),
        (lambda: operators.from_function(lambda w: w + 2.0, 3), "f must be linear, got |f(0)| = 2"),
        (lambda: operators.from_function(lambda w: w * np.nan, 3), "f must be a vector of finite numbers, got 3"),
        (lambda: operators.from_function(lambda w: w * 1j, 3), "f must be a vector of finite numbers, got"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(build, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
