"""Statistics over seeds against naive computations, and intervals that cover as often as they say."""

import numpy as np
import pytest
from scipy import stats

from langevin_ib.statistics.seeds import (
    Count,
    band,
    curve,
    mean,
    median_interval,
    paired,
    ratio_of_sums,
    spread,
)

RARE = 1e-4
RANDOM = np.random.default_rng(0)


def test_spreads_are_quantiles_and_counts():
    values = RANDOM.normal(size=41)
    ordered = np.sort(values)
    assert spread(values) == band(values) == (ordered[20], ordered[2], ordered[38])
    assert spread(values > 0) == Count(int((values > 0).sum()), 41)


def test_a_curve_is_a_band_at_each_place():
    values = RANDOM.normal(size=(9, 4))
    np.testing.assert_array_equal(np.stack(curve(values)), np.transpose([band(values[:, i]) for i in range(4)]))


def test_a_mean_has_students_interval():
    values = RANDOM.normal(size=7)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(mean(values), (values.mean(), stats.sem(values), wanted.low, wanted.high), rtol=1e-12)


def test_the_interval_of_a_median_is_one_of_order_statistics_that_cover_in_95_of_100():
    """Of 12 draws the third and the tenth from below: the median is outside with probability 2 P(B(12, ½) ≤ 2)."""
    values = np.random.default_rng(1).permutation(12.0 * np.arange(12))
    assert median_interval(values) == (24.0, 108.0)
    assert stats.binom.cdf(2, 12, 0.5) * 2 < 0.05 < stats.binom.cdf(3, 12, 0.5) * 2


def test_the_error_of_a_ratio_of_sums_is_that_of_pairs():
    """20 000 sets of 40 pairs: their spread to 3%, six standard errors; pairs torn apart have over twice that."""
    random = np.random.default_rng(2)
    bottom = 3.0 + 0.5 * random.normal(size=(20_000, 40))
    top = 0.5 * bottom + 0.1 * random.normal(size=bottom.shape)
    ratios = top.sum(axis=1) / bottom.sum(axis=1)
    found = [ratio_of_sums(*pair) for pair in zip(top[:200], bottom[:200], strict=True)]
    np.testing.assert_allclose([one.value for one in found], ratios[:200], rtol=1e-12)
    assert np.mean([one.se for one in found]) == pytest.approx(ratios.std(), rel=0.03)
    apart = [ratio_of_sums(a, b[::-1]).se for a, b in zip(top[:200], bottom[:200], strict=True)]
    assert np.mean(apart) > 2.0 * ratios.std()


def test_an_effect_is_the_paired_mean_of_log_ratios():
    values, reference = np.exp(RANDOM.normal(size=(2, 7)))
    test = stats.ttest_rel(np.log(values), np.log(reference))
    interval = test.confidence_interval(0.95)
    found = paired(values, reference)
    np.testing.assert_allclose(found.ratio, stats.gmean(values / reference), rtol=1e-12)
    np.testing.assert_allclose([found.low95, found.high95], np.exp([interval.low, interval.high]), rtol=1e-12)
    assert paired(values[:1], reference[:1]) is None
    assert paired(np.append(values, 0.0), np.append(reference, 1.0)) is None
    assert paired(np.append(values, 1.0), np.append(reference, np.nan)) is None


def test_the_interval_of_an_effect_covers_in_95_of_100():
    """400 data sets of 4 seeds, a count outside the central 1 − 10⁻⁴ of the binomial rejects; so does Gauss's 1.96."""
    random, truth, wrong = np.random.default_rng(5), 1.3, stats.norm.ppf(0.975) / stats.t.ppf(0.975, 3)
    covered = {"t": 0, "normal": 0}
    for _ in range(400):
        reference = np.exp(random.normal(size=4))
        found = paired(truth * reference * np.exp(0.3 * random.normal(size=4)), reference)
        ends = np.log([found.low95, found.high95])
        middle, gap = np.log(found.ratio), np.log(truth)
        covered["t"] += bool(ends[0] <= gap <= ends[1])
        covered["normal"] += bool(abs(gap - middle) <= wrong * (ends[1] - middle))
    low, high = stats.binom.ppf([RARE / 2, 1 - RARE / 2], 400, 0.95)
    assert low <= covered["t"] <= high
    assert not low <= covered["normal"] <= high


def test_intervals_of_several_comparisons_hold_together():
    """Of 200 experiments of 10 null comparisons each, 5% may err in any; more than 24 (12%) has a probability of 2e-5.

    The control, an interval of 95% for each of the ten, errs in 40% of them.
    """
    random = np.random.default_rng(3)
    wrong = {1: 0, 10: 0}
    for _ in range(200):
        pairs = [np.exp(random.normal(size=(2, 16))) for _ in range(10)]
        for level in wrong:
            found = [paired(a, b, level) for a, b in pairs]
            wrong[level] += any(one.low95 > 1.0 or one.high95 < 1.0 for one in found)
    assert wrong[10] <= 24
    assert wrong[1] > 48


def test_a_ratio_is_one_of_the_same_seeds():
    with pytest.raises(ValueError, match=r"values must be one for each seed of the reference, got \(4,\)"):
        paired(np.ones(4), np.ones(1))
