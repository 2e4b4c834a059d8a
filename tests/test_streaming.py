"""Accumulators are monoids that agree with numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langevin_ib.ensemble import accumulators

EDGES = [0.0, 0.5, 1.0, 2.0]
DRAWS = st.lists(st.floats(-1.0, 3.0, width=32), max_size=12)


def window_draw(x):
    return accumulators.WindowDraw(jnp.asarray(x), jnp.asarray(True))


CASES = {
    "histogram": (accumulators.window_histogram(EDGES), window_draw),
    "moments": (accumulators.moments(), jnp.asarray),
    "masked sum": (accumulators.masked_sum(), lambda x: (jnp.asarray(2.0 * x), jnp.asarray(x > 0.5))),
    "count": (accumulators.count(), lambda x: x),
}


def collect(part, wrap, values):
    acc = part.init()
    for x in values:
        acc = part.update(acc, wrap(x))
    return acc


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9), a, b)


@pytest.mark.full(only=["histogram"])
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=20, deadline=None)
@given(a=DRAWS, b=DRAWS, c=DRAWS)
def test_merging_is_associative_neutral_and_equal_to_one_pass(case, a, b, c):
    with jax.enable_x64(True):
        part, wrap = CASES[case]
        x, y, z = (collect(part, wrap, values) for values in (a, b, c))
        assert_close(part.merge(part.merge(x, y), z), part.merge(x, part.merge(y, z)))
        assert_close(part.merge(x, part.init()), x)
        assert_close(part.merge(part.init(), x), x)
        assert_close(part.finalize(part.merge(x, y)), part.finalize(collect(part, wrap, a + b)))


def test_histogram_counts_like_numpy_and_loses_nothing(x64):
    values = np.random.default_rng(0).uniform(-1, 3, 300)
    part, wrap = CASES["histogram"]
    acc = collect(part, wrap, values)
    np.testing.assert_array_equal(acc.counts, np.histogram(values, EDGES)[0])
    assert int(acc.below) == (values < 0).sum()
    assert int(acc.above) == (values >= 2).sum()
    assert int(acc.total) == values.size


def test_a_draw_that_does_not_count_leaves_no_mark(x64):
    part, _ = CASES["histogram"]
    draw = accumulators.WindowDraw(jnp.asarray(0.7), jnp.asarray(False))
    assert_close(part.update(part.init(), draw), part.init())
    total = CASES["masked sum"][0]
    assert_close(total.update(total.init(), (jnp.asarray(jnp.inf), jnp.asarray(False))), total.init())


def test_moments_agree_with_numpy_far_from_zero(x64):
    values = 1e6 + np.random.default_rng(1).standard_normal(500)
    found = CASES["moments"][0].finalize(collect(*CASES["moments"], values))
    np.testing.assert_allclose(found.mean, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.variance, values.var(), rtol=1e-6)


def test_counts_do_not_saturate_in_32_bits(x64):
    part, wrap = CASES["histogram"]
    acc = part.init()._replace(counts=jnp.full(3, 2**31 - 1))
    assert int(part.update(acc, wrap(0.7)).counts[1]) == 2**31
