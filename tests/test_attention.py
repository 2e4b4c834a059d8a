"""Attention as it is computed, sequences last and head by head, against the formula of eq. (48)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from langevin_ib.models.families.attention import attend

TOLERANCE = 1e-12


def formula(x, values, Q, K):
    """Σ_heads softmax(XQ (XK)ᵀ/√r) X V."""
    scores = jnp.einsum("nld,hdr,nkc,hcr->hnlk", x, Q, x, K) / Q.shape[2] ** 0.5
    return jnp.einsum("hnlk,nkd,hde->nle", jax.nn.softmax(scores, axis=-1), x, values)


def arrays(heads, scale=1.0):
    random = np.random.default_rng(heads)
    n, tokens, d, r, e = 5, 4, 3, 2, 6
    shapes = ((n, tokens, d), (heads, d, e), (heads, d, r), (heads, d, r))
    return tuple(jnp.asarray(scale * random.normal(size=shape)) for shape in shapes)


@pytest.mark.full
@pytest.mark.parametrize("heads", [1, 3])
def test_values_and_gradients_are_those_of_the_formula(heads, x64):
    given = arrays(heads)
    weight = jnp.asarray(np.random.default_rng(9).normal(size=(5, 4, 6)))

    def total(function):
        return jax.value_and_grad(lambda *a: jnp.sum(weight * function(*a)), argnums=(0, 1, 2, 3))

    np.testing.assert_allclose(attend(*given), formula(*given), rtol=TOLERANCE, atol=TOLERANCE)
    found, wanted = (jax.jit(total(function))(*given) for function in (attend, formula))
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE)
    # With queries and keys exchanged it is another function.
    x, values, Q, K = given
    assert np.abs(attend(x, values, K, Q) - formula(*given)).max() > 1e-2


@pytest.mark.full
def test_sequences_do_not_see_each_other(x64):
    x, values, Q, K = arrays(3)
    for i in range(len(x)):
        np.testing.assert_allclose(
            attend(x, values, Q, K)[i], attend(x[i : i + 1], values, Q, K)[0], rtol=TOLERANCE, atol=TOLERANCE
        )


@pytest.mark.full
def test_scores_beyond_the_range_of_exp_are_no_overflow(x64):
    """Of order 10⁵: one token has all the weight."""
    given = arrays(1, 20.0)
    found, gradient = jax.value_and_grad(lambda *a: jnp.sum(attend(*a)), argnums=2)(*given)
    np.testing.assert_allclose(attend(*given), formula(*given), rtol=1e-9)
    assert np.isfinite(found)
    assert np.isfinite(gradient).all()
