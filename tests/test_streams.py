"""Words of each chain, the increments made of them, and steps as scalar arithmetic."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from langevin_ib.dynamics.confinements.stiff import stiff
from langevin_ib.dynamics.increments import (
    BATCH,
    BITS,
    FOUR_POINT,
    INNER,
    NORMAL,
    OUTER,
    PER_DRAW,
    four_points,
    normals,
)
from langevin_ib.dynamics.kernels.euler_maruyama import euler_maruyama
from langevin_ib.dynamics.kernels.leimkuhler_matthews import leimkuhler_matthews
from langevin_ib.ensemble import accumulators, unrolled
from langevin_ib.ensemble.records import Limit, Observer, Schedule, Stage
from langevin_ib.ensemble.runner import run_ensemble, starting_points
from langevin_ib.ensemble.streams import Stream, next_word, seeded
from langevin_ib.models import build_model
from langevin_ib.statistics import compare

RARE = 1e-4  # false-positive rate of each statistical test
REFERENCE = [641, 1573767, 3222811527, 3517856514, 836907274, 4247214768]  # of the authors' C code, from 1, 2, 3, 4


def words(stream, count):
    """The next words of every lane, (count, …)."""
    return np.asarray(jax.lax.scan(lambda s, _: next_word(s), stream, None, count)[1])


def test_words_are_those_of_the_reference_code():
    stream = Stream(*(jnp.uint32(i) for i in (1, 2, 3, 4)))
    assert words(stream, 6).tolist() == REFERENCE


def test_a_chains_words_depend_on_its_index_alone():
    key = jax.random.key(3)
    some, one = seeded(key, jnp.arange(5), 2), seeded(key, jnp.array([3]), 2)
    np.testing.assert_array_equal(words(some, 4)[:, 3], words(one, 4)[:, 0])
    assert not np.array_equal(words(some, 4)[:, 2], words(one, 4)[:, 0])
    assert not np.array_equal(words(one, 4)[:, 0, 0], words(one, 4)[:, 0, 1])


def normal_pairs(drawn, dtype=jnp.float32):
    """(2, n) normals of words (2n, …), two of a stream at a time."""
    radius, angle = drawn[::2].ravel(), drawn[1::2].ravel()
    return np.asarray(jnp.stack(normals(jnp.asarray(radius), jnp.asarray(angle), dtype)), np.float64)


@pytest.mark.parametrize(("keep", "holds"), [(0xFFFFFFFF, True), (0xFFFFFFFD, False), (0xFFFFFFFE, False)])
def test_two_words_of_a_stream_are_two_independent_normals(keep, holds):
    """Chi square of 10⁶ pairs in 32 × 32 cells of equal mass, and of radii in 64; a lost reflection is rejected."""
    x, y = normal_pairs(words(seeded(jax.random.key(8), jnp.arange(512)), 4096) & np.uint32(keep))
    first, second = (np.minimum(stats.norm.cdf(v) * 32, 31).astype(int) for v in (x, y))
    cells = np.bincount(32 * first + second, minlength=1024)
    radii = np.bincount(np.minimum(stats.chi2.cdf(x**2 + y**2, 2) * 64, 63).astype(int), minlength=64)
    assert (stats.chisquare(cells).pvalue > RARE) == holds
    if holds:
        assert stats.chisquare(radii).pvalue > RARE
        assert stats.poisson.cdf(beyond := int(np.sum(np.abs((x, y)) > 4.5)), mean := 2 * x.size * 6.795e-6) > RARE
        assert stats.poisson.sf(beyond - 1, mean) > RARE


def test_normals_are_the_same_in_either_precision(x64):
    drawn = words(seeded(jax.random.key(9), jnp.arange(64)), 2048)
    single, double = normal_pairs(drawn), normal_pairs(drawn, jnp.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4)  # where x is near 1, its rounding is that of the root
    assert np.quantile(np.abs(single - double), 0.99) < 1e-6
    edges = normals(jnp.uint32([0, 2**32 - 1]), jnp.uint32([0, 0]), jnp.float32)
    assert bool(jnp.all(jnp.isfinite(jnp.stack(edges))))


def correlation(first, second):
    """Of two sets of words as numbers in (0, 1), times the root of their number: about N(0, 1)."""
    x, y = (values.astype(float).ravel() / 2**32 - 0.5 for values in (first, second))
    return float(np.mean(x * y) * 12.0 * math.sqrt(x.size))


def test_neighbouring_chains_lanes_and_words_are_uncorrelated():
    """10⁶ words of 256 chains in 2 lanes: |z| < 3.9 in all but 1e-4 of keys; a chain against itself is the control."""
    bound = stats.norm.isf(RARE / 2)
    drawn = words(seeded(jax.random.key(1), jnp.arange(256), 2), 2048)
    assert abs(correlation(drawn[:, :-1], drawn[:, 1:])) < bound
    assert abs(correlation(drawn[..., 0], drawn[..., 1])) < bound
    assert abs(correlation(drawn[:-1], drawn[1:])) < bound
    assert abs(correlation(drawn, drawn)) > 100 * bound


def test_every_bit_is_even():
    """Chi square of 32 bits over 10⁶ words; words that lack their last bit are rejected."""
    drawn = words(seeded(jax.random.key(2), jnp.arange(512)), 2048)

    def even(values):
        ones = np.array([np.sum((values >> bit) & 1) for bit in range(32)], float)
        z = (ones - values.size / 2) / math.sqrt(values.size / 4)
        return stats.chi2.sf(np.sum(z**2), 32) > RARE

    assert even(drawn)
    assert not even(drawn & np.uint32(0xFFFFFFFE))


def increments_of(drawn):
    """The ten increments of each word, on a last axis."""
    shifts = np.uint32(BITS) * np.arange(PER_DRAW[FOUR_POINT], dtype=np.uint32)
    return np.asarray(four_points(jnp.asarray(drawn)[..., None] >> shifts, jnp.float32))


LAGS = range(-3, 4)
APART = {"next chain": (1, 1), "chain 256 further": (1, 256), "other lane": (2, 1), "next in the word": (3, 1)}


def correlations(values):
    """z, about N(0, 1), of the increments (word, chain, lane, place) of neighbours of each kind at lags of words."""
    found = {}
    for name, (axis, by) in APART.items():
        size = values.shape[axis]
        first, second = (np.take(values, places, axis) for places in (range(size - by), range(by, size)))
        for lag in LAGS:
            early, late = (first, second) if lag >= 0 else (second, first)
            x, y = early[: len(early) - abs(lag)], late[abs(lag) :]
            found[name, lag] = float(np.mean(x * y)) * math.sqrt(x.size)
    return found


def weak_words(count, chains, lanes):
    """A linear congruential generator for each chain, with the seed of the one before plus 1."""
    state = np.arange(chains * lanes, dtype=np.uint32).reshape(chains, lanes)
    rows = []
    for _ in range(count):
        state = np.uint32(1664525) * state + np.uint32(1013904223)
        rows.append(state)
    return np.stack(rows)


def test_increments_of_neighbours_are_uncorrelated():
    """28 correlations of about 10⁶ pairs each: the largest |z| exceeds its bound in 1e-4 of keys.

    A chain that repeats its neighbour, and the seeds s, s + 1, … of a weak generator are the controls.
    """
    bound = stats.norm.isf(RARE / 2 / (len(APART) * len(LAGS)))
    drawn = words(seeded(jax.random.key(6), jnp.arange(512), 2), 256)
    found = correlations(increments_of(drawn))
    assert max(map(abs, found.values())) < bound, found
    repeated = np.repeat(drawn[:, ::2], 2, axis=1)
    assert correlations(increments_of(repeated))["next chain", 0] > 10 * bound
    weak = correlations(increments_of(weak_words(256, 512, 2)))
    assert max(abs(z) for (name, _), z in weak.items() if name == "next chain") > 10 * bound


def cells_test(cells, number):
    """p-value of χ² of even cells."""
    return float(stats.chisquare(np.bincount(cells.ravel(), minlength=number)).pvalue)


def independence(drawn):
    """Least p-value, after Bonferroni, of the ten fields of a word: each pair, neighbouring triples, all ten together.

    Of ten fields together there are 2³⁰ cells; the exclusive or of all of them is even if they are independent.
    """
    fields = [(drawn >> np.uint32(BITS * j)) & np.uint32(7) for j in range(PER_DRAW[FOUR_POINT])]
    found = [cells_test(8 * fields[i] + fields[j], 64) for j in range(PER_DRAW[FOUR_POINT]) for i in range(j)]
    found += [cells_test(64 * x + 8 * y + z, 512) for x, y, z in zip(fields, fields[1:], fields[2:], strict=False)]
    found.append(cells_test(np.bitwise_xor.reduce(fields), 8))
    return min(found) * len(found)


def test_the_ten_increments_of_a_word_are_independent():
    """χ² over 10⁶ words, rejected in 1e-4 of keys; a field that repeats another, and a parity, are the controls."""
    drawn = words(seeded(jax.random.key(8), jnp.arange(512)), 2048)
    assert independence(drawn) > RARE
    field = np.uint32(7)
    repeated = (drawn & ~(field << np.uint32(9))) | (((drawn >> np.uint32(21)) & field) << np.uint32(9))
    assert independence(repeated) < RARE
    fields = [(drawn >> np.uint32(BITS * j)) & field for j in range(1, PER_DRAW[FOUR_POINT])]
    parity = (drawn & ~field) | np.bitwise_xor.reduce(fields)
    assert independence(parity) < RARE


def test_increments_are_four_points_with_the_first_five_moments_of_a_normal(x64):
    values = np.asarray(four_points(jnp.arange(8, dtype=jnp.uint32), jnp.float64))
    assert sorted(np.unique(np.abs(values))) == pytest.approx([INNER, OUTER])
    for power, moment in enumerate((0.0, 1.0, 0.0, 3.0, 0.0), start=1):
        assert np.mean(values**power) == pytest.approx(moment, abs=1e-14)
    assert np.mean(values**6) == pytest.approx(15.0, rel=0.5)  # not a normal's: five moments and no more
    assert abs(np.mean(values**6) - 15.0) > 1.0


MODELS = ("uv", "hadamard", "relu", "attention", "matrix", "rotation")


def kernel_of(name, scheme=leimkuhler_matthews, step_size=1e-3):
    model = build_model(name)
    potential = model.loss if name == "rotation" else stiff(50.0).potential(model)
    starts = starting_points(model.init, jax.random.key(0), 7, jnp.float32)
    like = jax.tree.map(lambda leaf: leaf[0], starts)
    return scheme(potential, like, temperature=0.1, step_size=step_size), starts, like, potential


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scheme", [leimkuhler_matthews, euler_maruyama])
def test_a_step_as_scalar_arithmetic_is_the_step(name, scheme, x64, monkeypatch):
    """To the rounding of float32; that of another temperature is not, which is the control."""
    monkeypatch.setattr(unrolled, "MOST", 10_000)
    kernel, starts, like, potential = kernel_of(name, scheme)
    state = jax.vmap(lambda params: kernel.init(params, None))(starts)
    noise = kernel.draw(jax.random.key(5), 7)
    step = unrolled.unroll(lambda n, s: kernel.step(n, s, None)[0], like, kernel.init(like, None))
    assert step is not None
    columns = [unrolled.columns_of(leaf) for leaf in jax.tree.leaves((noise, state))]
    found = [unrolled.joined(part, 7) for part in step(columns)]
    other = scheme(potential, like, temperature=0.11, step_size=1e-3)
    for which, accepted in ((kernel, True), (other, False)):
        expected = jax.tree.leaves(jax.vmap(lambda n, s, k=which: k.step(n, s, None)[0])(noise, state))
        gap = max(float(jnp.max(jnp.abs(x - y) / (1 + jnp.abs(y)))) for x, y in zip(found, expected, strict=True))
        assert (gap < 1e-5) == accepted


def test_what_cannot_be_unrolled_is_left_to_vmap(x64):
    assert (
        unrolled.unroll(lambda x: jax.lax.while_loop(lambda y: y[0] < 1.0, lambda y: y + 1.0, x), jnp.zeros(2)) is None
    )
    assert unrolled.unroll(lambda x: jnp.sum(jnp.outer(x, x) @ jnp.outer(x, x)), jnp.zeros(12)) is None
    assert unrolled.unroll(lambda x: x[jnp.argmax(x)], jnp.zeros(3)) is None


DATA = jnp.array([0.3, 2.5, 1.5, -0.7])
ZOO = {
    "gather in bounds": lambda x: x * jnp.take(DATA, jnp.array([0, 3, 1])),
    "gather out of bounds": lambda x: x * DATA.at[jnp.array([1, 9, 2])].get(mode="fill", fill_value=0.0),
    "gather of nan": lambda x: x * jnp.take(DATA, jnp.array([0, 7, 1])),
    "gather clipped": lambda x: x * jnp.take(DATA, jnp.array([0, 7, 1]), mode="clip"),
    "remat": jax.checkpoint(lambda x: jnp.sin(x) * x),
    "maximum of constants": lambda x: jnp.where(jnp.max(DATA) > 2.0, x, 0.0),
    "maximum beside a column": lambda x: jnp.concatenate([jnp.max(DATA.reshape(2, 2), axis=1), x]),
    "sum of nothing": lambda x: x + jnp.sum(x[:0]),
    "product over nothing": lambda x: x + jnp.zeros((3, 0)) @ x[:0],
    "padding": lambda x: jnp.pad(x, (1, 2), constant_values=1.5) * jnp.arange(6.0),
    "reversed and split": lambda x: jnp.concatenate(jnp.split(x[::-1], [1])),
    "logarithm of a sum": lambda x: jax.nn.logsumexp(jnp.outer(x, DATA), axis=0),
    "hyperbolic": lambda x: jnp.tanh(x) + jax.nn.softplus(x) - jnp.log1p(x**2),
    "solve": lambda x: jnp.linalg.solve(jnp.eye(3) + jnp.outer(x, x), x),
    "sorted": jnp.sort,
    "integers": lambda x: x * jnp.floor(x).astype(jnp.int32) % 2,
}


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("derived", [False, True])
def test_what_is_unrolled_is_what_vmap_computes_or_is_left_to_it(name, derived):
    """To rounding, with its gradient too; the control is the function of another point."""

    def function(x):
        return jax.grad(lambda y: jnp.sum(jnp.sin(ZOO[name](y))))(x) if derived else ZOO[name](x)

    x = jax.random.normal(jax.random.key(3), (5, 3), jnp.float32)
    found = unrolled.unroll(function, x[0])
    if found is None:
        assert name not in ("gather in bounds", "gather clipped", "padding", "reversed and split", "remat")
        return
    (result,) = found([unrolled.columns_of(x)])
    expected = jax.vmap(function)(x)
    np.testing.assert_allclose(unrolled.joined(result, 5), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(unrolled.joined(result, 5)[:-1], expected[1:], rtol=1e-5, atol=1e-6)


LIMIT = Limit(1e-3)


def test_a_kernel_with_draws_of_its_own_keeps_them():
    kernel = kernel_of("uv")[0]
    assert kernel.on(BATCH) == kernel
    with pytest.raises(ValueError, match="source must be one of batch, normal, four-point, got ten-point"):
        kernel.on("ten-point")
    own = dataclasses.replace(kernel, increments=None)
    with pytest.raises(ValueError, match="source must be batch for a kernel with draws of its own, got four-point"):
        own.on(FOUR_POINT)


def test_all_sources_sample_one_law(x64):
    """Means of ℓ/T of uv over 512 chains: |z| < 4.1, twice, in all but 1e-4 of keys; control: twice the T."""

    def mean_energy(source, temperature):
        model = build_model("uv")
        potential = stiff(20.0).potential(model)
        starts = starting_points(model.init, jax.random.key(0), 512, jnp.float32)
        kernel = leimkuhler_matthews(potential, starts[0], temperature=temperature, step_size=4e-3)
        result = run_ensemble(
            kernel.on(source),
            starts,
            Observer(lambda s: potential(s.position), accumulators.moments(), lambda x: {"energy": x}),
            key=jax.random.key(7),
            schedule=Schedule(5000, 25, 400, (400,)),
            limit=LIMIT,
            stage=Stage("test"),
        )
        means = np.asarray(result.segments[0].mean)
        return means.mean(), means.std(ddof=1) / len(means) ** 0.5

    first, error = mean_energy(BATCH, 0.1)
    for source in (NORMAL, FOUR_POINT):
        second, other = mean_energy(source, 0.1)
        assert abs(first - second) < 4.1 * math.hypot(error, other)
    hot, wide = mean_energy(FOUR_POINT, 0.2)
    assert abs(first - hot) > 10 * math.hypot(error, wide)


def on_counters(kernel):
    """The same step on four points from threefry words of the run's key: the other way to draw them, in batches."""
    like = kernel.increments

    def draw(key, chains):
        bits = jax.random.bits(key, (chains, like.size), jnp.uint32)
        return four_points(bits, like.dtype).reshape(chains, *like.shape)

    return dataclasses.replace(kernel, draw=draw)


def test_increments_of_streams_and_of_counters_sample_one_law(x64):
    """Histograms of uv over 512 chains, p > 1e-4 in all but 1e-4 of keys; a temperature 10% off is the control."""
    model, edges = build_model("uv"), np.linspace(0.2, 2.0, 25)
    potential = stiff(20.0).potential(model)
    starts = starting_points(model.init, jax.random.key(0), 512, jnp.float32)

    def histogram(kernel):
        result = run_ensemble(
            kernel,
            starts,
            Observer(
                lambda state: accumulators.WindowDraw(jnp.prod(state.position), jnp.asarray(True)),
                accumulators.window_histogram(edges),
                lambda draw: {"z": draw.value},
            ),
            key=jax.random.key(9),
            schedule=Schedule(5000, 25, 400, (400,)),
            limit=LIMIT,
            stage=Stage("test"),
        )
        return compare.histogram_of(np.asarray(result.segments[0].counts))

    def kernel(temperature):
        return leimkuhler_matthews(potential, starts[0], temperature=temperature, step_size=4e-3)

    counted = histogram(on_counters(kernel(0.1)))
    assert compare.p_value_of_samples(histogram(kernel(0.1).on(FOUR_POINT)), counted) > RARE
    assert compare.p_value_of_samples(histogram(kernel(0.11).on(FOUR_POINT)), counted) < RARE
